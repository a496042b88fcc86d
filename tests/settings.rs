//! `.env.example` lists every environment variable there is, with its default and what it is for.
//!
//! The truth is the grammar of the command line itself: the server's settings and those of the
//! client's commands. `config` reads the same grammar, and a test of the command line feeds the
//! uncommented example to the real binary.

use clap::{Arg, Command};
use std::collections::BTreeMap;

/// Name → default and help.
type Settings = BTreeMap<String, (String, String)>;

/// What the grammar knows, its subcommands included.
fn known() -> Settings {
    let mut found = Settings::new();
    collect(&streamgate::cli::command(), &mut found);
    found
}

fn collect(command: &Command, found: &mut Settings) {
    for argument in command.get_arguments() {
        let Some(name) = argument.get_env() else {
            continue;
        };
        let name = name.to_string_lossy().into_owned();
        let setting = (default(argument), help(argument));
        if let Some(before) = found.insert(name.clone(), setting.clone()) {
            assert_eq!(before, setting, "{name} means two things");
        }
    }
    for subcommand in command.get_subcommands() {
        collect(subcommand, found);
    }
}

fn default(argument: &Arg) -> String {
    let values: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    values.join(",")
}

/// The help text; clap drops the full stop.
fn help(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    help.trim_end_matches('.').to_owned()
}

/// What an example lists: commented assignments, each right below its help.
fn listed(example: &str) -> Settings {
    let mut found = Settings::new();
    let mut above = "";
    for line in example.lines() {
        let assignment = line.strip_prefix("# STREAMGATE_").and_then(|line| line.split_once('='));
        if let Some((name, value)) = assignment {
            let help = above.strip_prefix("# ").unwrap_or_default().trim_end_matches('.');
            let setting = (value.to_owned(), help.to_owned());
            let before = found.insert(format!("STREAMGATE_{name}"), setting);
            assert!(before.is_none(), "STREAMGATE_{name} is listed twice");
        }
        above = line;
    }
    found
}

fn example() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example");
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What to change in an example to make it true.
fn differences(example: &str) -> Vec<String> {
    let (known, listed) = (known(), listed(example));
    let mut found = Vec::new();
    for (name, (default, help)) in &known {
        let wanted = format!("# {help}.\n# {name}={default}");
        match listed.get(name) {
            None => found.push(format!("is missing:\n{wanted}")),
            Some(setting) if *setting != (default.clone(), help.clone()) => {
                found.push(format!("should be:\n{wanted}\nbut is {setting:?}"));
            }
            Some(_) => {}
        }
    }
    let extra = listed.keys().filter(|name| !known.contains_key(*name));
    found.extend(extra.map(|name| format!("does not exist: {name}")));
    found
}

#[test]
fn the_example_lists_every_setting_with_its_default_and_its_help() {
    let found = differences(&example());
    assert!(found.is_empty(), "\n\nIn .env.example …\n\n{}\n", found.join("\n\n"));
}

#[test]
fn the_grammar_has_settings_of_the_server_and_of_the_client() {
    let known = known();
    for name in [
        "STREAMGATE_LISTEN",
        "STREAMGATE_MAX_FRAME_BYTES",
        "STREAMGATE_URL",
        "STREAMGATE_TOKEN",
    ] {
        assert!(known.contains_key(name), "{name}");
    }
    assert!(known.values().all(|(_, help)| !help.is_empty()), "{known:?}");
    assert!(known.keys().all(|name| name.starts_with("STREAMGATE_")), "{known:?}");
}

#[test]
fn missing_extra_and_outdated_lines_are_found() {
    let example = example();
    let (first, _) = listed(&example).pop_first().expect("there are settings");
    let missing = example.replace(&format!("# {first}="), "# Not a setting ");
    let extra = format!("{example}\n# What it was.\n# STREAMGATE_NO_MORE=1\n");
    let outdated = example.replace("STREAMGATE_LISTEN=", "STREAMGATE_LISTEN=9");
    let unexplained = example.replace("# Where to listen", "# Where to hear");
    for wrong in [missing, extra, outdated, unexplained] {
        assert_eq!(differences(&wrong).len(), differences(&example).len() + 1);
    }
}

#[test]
fn nothing_in_the_example_is_in_force() {
    let example = example();
    let bare = example.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(bare, None, "copied as it is, it changes nothing");
}
