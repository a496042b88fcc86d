//! Parsing the command line and the environment, with all mistakes told at once.

use crate::cli::{Cli, usage};
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::process::ExitCode;

/// The whole grammar. The server's settings are known before and after a subcommand, and shown
/// by `--help`, not by `-h`.
pub fn command() -> Command {
    let settings = crate::config::Config::augment_args(Command::new("settings"));
    let ids: Vec<String> = settings.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    ids.into_iter().fold(Cli::command(), |command, id| {
        command.mut_arg(id, |arg| {
            arg.global(true).hide_short_help(true).help_heading("Settings")
        })
    })
}

/// Parses what this process was started with. Help and mistakes are printed here; the status is
/// what to end with.
pub fn parse() -> Result<Cli, ExitCode> {
    let mut command = command();
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let mut mistakes = Vec::new();
    loop {
        match command.clone().try_get_matches_from(&arguments) {
            Ok(matches) => {
                let cli = Cli::from_arg_matches(&matches).map_err(|error| print(&error))?;
                mistakes.extend(cli.config.contradictions());
                return if mistakes.is_empty() {
                    Ok(cli)
                } else {
                    Err(usage(&mistakes))
                };
            }
            Err(error) => match bad_setting(&command, &error) {
                Some(id) => {
                    mistakes.push(describe(&command, &id, &error));
                    command = command.mut_arg(&id, |arg| arg.env(Resettable::Reset));
                    strip(&mut arguments, &id);
                }
                None if mistakes.is_empty() => return Err(print(&error)),
                None => return Err(usage(&mistakes)),
            },
        }
    }
}

/// The setting whose value was bad, so that it can be set aside to look for more mistakes.
fn bad_setting(command: &Command, error: &clap::Error) -> Option<String> {
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return None;
    }
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let mut settings = command.get_arguments().filter(|arg| arg.is_global_set());
    let named = |long: &str| shown.split([' ', '=']).next() == Some(&format!("--{long}"));
    let setting = settings.find(|arg| arg.get_long().is_some_and(named))?;
    Some(setting.get_id().to_string())
}

/// Name, bad value and what would be right, in one line.
fn describe(command: &Command, id: &str, error: &clap::Error) -> String {
    let setting = command.get_arguments().find(|arg| arg.get_id() == id);
    let variable = setting.and_then(|arg| arg.get_env()).map(|name| name.to_string_lossy());
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.as_str(),
        _ => "",
    };
    let why = match (std::error::Error::source(error), error.get(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        (None, Some(ContextValue::Strings(valid))) => format!("one of {} is wanted", valid.join(", ")),
        _ => "another value is wanted".to_owned(),
    };
    format!("{} is \"{value}\": {why}", variable.as_deref().unwrap_or(id))
}

/// Takes a flag and its value out of the arguments.
fn strip(arguments: &mut Vec<OsString>, id: &str) {
    let flag = format!("--{}", id.replace('_', "-"));
    let joined = format!("{flag}=");
    arguments.retain(|argument| !argument.to_string_lossy().starts_with(&joined));
    while let Some(place) = arguments.iter().position(|argument| *argument == *flag) {
        arguments.drain(place..(place + 2).min(arguments.len()));
    }
}

/// Help goes to standard output; a mistake also becomes a JSON value where one is wanted.
fn print(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let text = text.lines().next().unwrap_or_default();
        return usage(&[text.trim_start_matches("error: ").to_owned()]);
    }
    // Standard output may be closed; there is nobody left to tell.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_bad_flag_is_taken_out_in_both_forms() {
        let mut arguments = ["x", "--workers=a", "--workers", "b", "serve"]
            .map(OsString::from)
            .to_vec();
        strip(&mut arguments, "workers");
        assert_eq!(arguments, ["x", "serve"]);
    }
}
