//! Settings: where they come from, which source wins, what is said about bad ones, what
//! `streamgate config` shows, and how the log looks.

use crate::server::Server;
use crate::shell::{Ended, Shell};
use serde_json::Value;
use std::fs;

fn write(shell: &Shell, name: &str, text: &str) {
    fs::write(shell.folder().join(name), text).expect("a file can be written");
}

/// The names of the server's settings.
fn names(shell: &Shell) -> Vec<String> {
    let settings = shell.json(&["config"]);
    settings.as_object().expect("an object").keys().cloned().collect()
}

/// A command line that is not understood: nothing is printed but mistakes, one a line.
fn mistakes(ended: &Ended) -> Vec<&str> {
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    let lines = ended.err.lines();
    lines
        .map(|line| line.strip_prefix("error: ").unwrap_or_else(|| panic!("{ended:?}")))
        .collect()
}

#[test]
fn config_shows_each_value_and_where_it_comes_from() {
    let shell = Shell::new();
    let variables = [("STREAMGATE_WORKERS", "3"), ("STREAMGATE_LISTEN", "127.0.0.1:1")];
    let arguments = ["config", "--listen", "127.0.0.1:2", "--max-batch-events=7"];
    let shown = shell.run_with(&variables, &arguments).done();
    for line in [
        "STREAMGATE_WORKERS=3  # environment",
        "STREAMGATE_LISTEN=127.0.0.1:2  # command line",
        "STREAMGATE_MAX_BATCH_EVENTS=7  # command line",
        "STREAMGATE_SESSION_TTL=60s  # default",
        "STREAMGATE_DATABASE_URL=sqlite:streamgate.db  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no {line:?} in:\n{shown}");
    }
    let json = shell.run_with(&variables, &[&arguments[..], &["--json"]].concat());
    let json = json.json();
    assert_eq!(json["STREAMGATE_WORKERS"], "3");
    assert_eq!(json["STREAMGATE_LISTEN"], "127.0.0.1:2");
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(shown.lines().count()));
    let made = fs::read_dir(shell.folder()).expect("a folder").count();
    assert_eq!(made, 0, "looking makes no database");
}

#[test]
fn config_masks_the_token() {
    let shell = Shell::new();
    let variables = [
        ("STREAMGATE_TOKEN", "some-token"),
        ("STREAMGATE_URL", "http://example.com"),
    ];
    let text = shell.run_with(&variables, &["config"]);
    let json = shell.run_with(&variables, &["config", "--json"]);
    assert!(!text.said().contains("some-token") && !json.said().contains("some-token"));
    assert!(
        text.out.contains("STREAMGATE_TOKEN=(hidden)"),
        "that it is set is told: {text:?}"
    );
    assert_eq!(json.json()["STREAMGATE_TOKEN"], "(hidden)");
    assert_eq!(json.json()["STREAMGATE_URL"], "http://example.com");
}

#[test]
fn all_bad_settings_are_named_at_once_wherever_they_come_from() {
    let shell = Shell::new();
    write(&shell, ".env", "STREAMGATE_DATABASE_URL=postgres://localhost/x\n");
    let variables = [
        ("STREAMGATE_LOG_FORMAT", "xml"),
        ("STREAMGATE_MAX_FRAME_BYTES", "0"),
        ("STREAMGATE_DEAD_AFTER", "1s"),
    ];
    let flags = ["--listen", "nowhere", "--session-ttl=5"];
    let wanted = [
        ("STREAMGATE_DATABASE_URL", "postgres://localhost/x", "sqlite:"),
        ("STREAMGATE_LOG_FORMAT", "xml", "json"),
        ("STREAMGATE_MAX_FRAME_BYTES", "0", "at least 1"),
        ("STREAMGATE_LISTEN", "nowhere", "127.0.0.1:8080"),
        ("STREAMGATE_SESSION_TTL", "5", "60s"),
    ];
    for command in [&[][..], &["serve"], &["config"], &["company", "add", "acme"]] {
        for arguments in [[command, &flags].concat(), [&flags, command].concat()] {
            let ended = shell.run_with(&variables, &arguments);
            let mut said = mistakes(&ended);
            for (name, value, right) in wanted {
                let start = format!("{name} is \"{value}\": ");
                let at = said.iter().position(|line| line.starts_with(&start));
                let line = said.remove(at.unwrap_or_else(|| panic!("no {start}… in {ended:?}")));
                assert!(line.contains(right), "{line}");
            }
            // Good by itself, but not beside the ping interval.
            assert!(
                matches!(said[..], [line] if line.starts_with("STREAMGATE_DEAD_AFTER must be longer")),
                "{said:?}"
            );
        }
    }
}

#[test]
fn of_every_bad_setting_it_is_said_what_would_be_right() {
    let shell = Shell::new();
    // A target of that name may log, so for the log nothing is bad but what cannot be read; and a company
    // may be called so.
    let rubbish = |name: &str| match name {
        "STREAMGATE_LOG" => "a=b=c",
        "STREAMGATE_NOTICES_COMPANY" => "Rubbish!",
        _ => "rubbish",
    };
    let names = names(&shell);
    let variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), rubbish(name))).collect();
    let ended = shell.run_with(&variables, &["serve"]);
    let said = mistakes(&ended);
    assert!(names.len() > 20 && said.len() == names.len(), "{ended:?}");
    for name in &names {
        let start = format!("{name} is \"{}\": ", rubbish(name));
        let why = said.iter().find_map(|line| line.strip_prefix(&start));
        let why = why.unwrap_or_else(|| panic!("no {start}… in {ended:?}"));
        assert!(why.contains("wanted") || why.contains("such as"), "{name}: {why}");
    }
}

#[test]
fn settings_that_contradict_one_another_are_refused() {
    let shell = Shell::new();
    let contradictions: &[(&[&str], &str)] = &[
        (&["--notices-company", "acme"], "STREAMGATE_NOTICES_COMPANY"),
        (
            &["--listen", "127.0.0.1:8080", "--notices-listen", "127.0.0.1:8080"],
            "STREAMGATE_NOTICES_LISTEN",
        ),
        (
            &["--ping-interval", "10s", "--dead-after", "10s"],
            "STREAMGATE_DEAD_AFTER",
        ),
        (&["--ping-interval", "0s"], "STREAMGATE_PING_INTERVAL"),
        (&["--session-ttl", "100ms"], "STREAMGATE_SESSION_TTL"),
        (&["--session-ttl", "2h"], "STREAMGATE_SESSION_TTL_MAX"),
        (&["--max-outbox-bytes", "1000"], "STREAMGATE_MAX_OUTBOX_BYTES"),
    ];
    for (flags, name) in contradictions {
        let ended = shell.run(&[&["serve"], *flags].concat());
        assert!(mistakes(&ended)[0].contains(name), "{flags:?}: {ended:?}");
    }
    let several = shell.run(&[
        "serve",
        "--ping-interval=0s",
        "--dead-after=0s",
        "--max-outbox-bytes=1000",
    ]);
    assert_eq!(mistakes(&several).len(), 3, "{several:?}");
}

#[test]
fn the_environment_beats_the_file_and_flags_beat_both() {
    let shell = Shell::new();
    write(
        &shell,
        ".env",
        "# Ours.\nSTREAMGATE_WORKERS=1\nSTREAMGATE_SESSION_TTL=\"11s\"\nexport STREAMGATE_LOG=warn\n",
    );
    let variables = [("STREAMGATE_SESSION_TTL", "12s"), ("STREAMGATE_LOG", "error")];
    let ended = shell.run_with(&variables, &["config", "--json", "--log", "debug"]);
    let settings = ended.json();
    assert_eq!(settings["STREAMGATE_WORKERS"], "1", "the file's");
    assert_eq!(settings["STREAMGATE_SESSION_TTL"], "12s", "the environment's");
    assert_eq!(settings["STREAMGATE_LOG"], "debug", "the flag's");
    assert_eq!(settings["STREAMGATE_DEAD_AFTER"], "60s", "nobody's");
}

#[test]
fn the_client_reads_the_file_too() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    let url = server.url();
    let variables = demo.variables(&url).into_iter();
    let lines: String = variables.map(|(name, value)| format!("{name}={value}\n")).collect();
    write(&shell, ".env", &lines);
    shell.run(&["publish", "/demo/hello", "{}"]).done();
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_its_values_are_not_shown() {
    let shell = Shell::new();
    write(&shell, ".env", "STREAMGATE_WORKERS=1\nSTREAMGATE_TOKEN=\"some-token\n");
    for command in [&[][..], &["config"], &["tail", "/demo/hello"]] {
        let ended = shell.run(command);
        assert!(mistakes(&ended)[0].contains(".env"), "{ended:?}");
        assert!(
            !ended.said().contains("some-token"),
            "a token is not for the terminal's history: {ended:?}"
        );
    }
}

#[test]
fn the_example_uncommented_changes_nothing() {
    let shell = Shell::new();
    let before = shell.json(&["config"]);
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example")).expect(".env.example");
    let server: Vec<&str> = example
        .lines()
        .filter_map(|line| line.strip_prefix("# STREAMGATE_"))
        .filter(|line| {
            before
                .get(format!("STREAMGATE_{}", line.split('=').next().unwrap_or_default()))
                .is_some()
        })
        .collect();
    assert_eq!(before.as_object().map(serde_json::Map::len), Some(server.len()));
    let lines: String = server.iter().map(|line| format!("STREAMGATE_{line}\n")).collect();
    write(&shell, ".env", &lines);
    assert_eq!(shell.json(&["config"]), before);
    let shown = shell.run(&["config"]).done();
    assert!(!shown.contains("# default"), "every line was read:\n{shown}");
}

#[test]
fn a_log_in_json_has_one_object_a_line() {
    let shell = Shell::new();
    let format = [("STREAMGATE_LOG_FORMAT", "json"), ("STREAMGATE_LOG", "debug")];
    let (server, demo) = Server::first_start(&shell, &format);
    let url = server.url();
    let tail = shell.start(&demo.variables(&url), &["tail", "/demo/hello", "--count", "1"]);
    server.until_subscriptions(1);
    shell
        .run_with(&demo.variables(&url), &["publish", "/demo/hello", "{}"])
        .done();
    tail.until_end().done();
    server.get("/nowhere/\"quoted\"");
    let ended = server.stop("TERM");
    let lines: Vec<Value> = ended
        .err
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        assert!(
            line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(),
            "{line}"
        );
    }
    for said in [
        "listening on http://",
        "connection opened",
        "connection closed",
        "request",
        "stopped",
    ] {
        let found = lines
            .iter()
            .any(|line| line["message"].as_str().is_some_and(|message| message.contains(said)));
        assert!(found, "{said}: {}", ended.err);
    }
}

#[test]
fn the_log_has_the_lines_that_were_asked_for() {
    let shell = Shell::new();
    let (server, _) = Server::first_start(&shell, &[("STREAMGATE_LOG", "off,streamgate::cli=info")]);
    server.get("/health/live");
    let ended = server.stop("TERM");
    assert_eq!(ended.err.lines().count(), 1, "no line but where it listens: {ended:?}");
}
