//! `streamgate config`: what is in force and where it comes from, secrets masked.

use crate::cli::Output;
use crate::cli::arguments::command;
use clap::{Arg, ArgMatches};
use serde_json::{Map, Value};

/// Every setting by the name of its variable.
pub fn show() -> Output {
    let command = command();
    // This command line was parsed before, or we would not be here.
    let matches = command
        .clone()
        .try_get_matches_from(std::env::args_os())
        .unwrap_or_default();
    let mut json = Map::new();
    let mut lines = Vec::new();
    for setting in command.get_arguments() {
        let Some(variable) = setting.get_env().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        let (value, origin) = in_force(setting, &matches);
        lines.push(format!("{variable}={value}  # {origin}"));
        json.insert(variable, Value::String(value));
    }
    let client = [
        "STREAMGATE_URL",
        "STREAMGATE_COMPANY",
        "STREAMGATE_USER",
        "STREAMGATE_TOKEN",
    ];
    for variable in client {
        let Ok(value) = std::env::var(variable) else {
            continue;
        };
        let value = if variable.ends_with("TOKEN") {
            "(hidden)".to_owned()
        } else {
            value
        };
        lines.push(format!("{variable}={value}  # environment"));
        json.insert(variable.to_owned(), Value::String(value));
    }
    Output::new(
        &Value::Object(json),
        lines.join(
            "
",
        ),
    )
}

fn in_force(setting: &Arg, matches: &ArgMatches) -> (String, &'static str) {
    use clap::parser::ValueSource;
    let id = setting.get_id().as_str();
    let raw = matches.get_raw(id).and_then(|mut values| values.next());
    let value = raw
        .map(|value| value.to_string_lossy().into_owned())
        .unwrap_or_default();
    let origin = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => "command line",
        Some(ValueSource::EnvVariable) => "environment",
        _ => "default",
    };
    (value, origin)
}
