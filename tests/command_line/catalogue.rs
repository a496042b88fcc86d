//! Companies, users and streams: what their commands print, what they refuse, and that several
//! commands and a running server get along on one file.

use crate::server::{Account, Server};
use crate::shell::{Ended, Program, Shell, until};
use serde_json::json;
use std::fs::OpenOptions;
use std::process::Stdio;

/// Runs a command for people, then for scripts; both are refused alike. Returns the code.
fn refused(shell: &Shell, arguments: &[&str]) -> String {
    let text = shell.run(arguments);
    assert_eq!((text.code, text.out.as_str()), (Some(1), ""), "{arguments:?}: {text:?}");
    let ended = shell.run(&[arguments, &["--json"]].concat());
    assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
    let json = ended.json();
    let (code, message) = (&json["error"]["code"], &json["error"]["message"]);
    let (code, message) = (code.as_str().expect("a code"), message.as_str().expect("a message"));
    assert_eq!(json, json!({"error": {"code": code, "message": message}}));
    assert!(text.err.contains(message) && text.err.contains(code), "{text:?}");
    code.to_owned()
}

#[test]
fn a_company_is_added_once() {
    let shell = Shell::new();
    let said = shell.run(&["company", "add", "acme"]).done();
    assert!(
        said.contains("acme") && said.contains("streamgate user add acme"),
        "{said}"
    );
    assert_eq!(refused(&shell, &["company", "add", "acme"]), "company.exists");
    assert_eq!(shell.json(&["company", "add", "other"]), json!({"company": "other"}));
}

#[test]
fn a_company_has_settings_that_are_shown_and_set_one_at_a_time() {
    let shell = Shell::new();
    shell.run(&["company", "add", "acme"]).done();
    let shown = shell.run(&["company", "show", "acme"]).done();
    assert!(shown.contains("approvedSocketDomains      none\n"), "{shown}");
    let expressions = [r"^https://app\.acme\.com$", "localhost"];
    let domains = ["company", "set", "acme", "approvedSocketDomains"];
    let set = shell.json(&[&domains[..], &expressions].concat());
    assert_eq!(set["settings"]["approvedSocketDomains"], json!(expressions));
    let set = shell.json(&["company", "set", "acme", "allowClientSend", "true"]);
    assert_eq!(set["settings"]["allowClientSend"], true);
    assert_eq!(shell.json(&["company", "show", "acme"]), set);
    assert_eq!(shell.json(&domains)["settings"]["approvedSocketDomains"], json!([]));
    for bad in [
        &["allowClientSend", "maybe"][..],
        &["allowClientSend"],
        &["allowClientSend", "true", "false"],
        &["approvedSocketDomains", "("],
        &["nothing", "true"],
    ] {
        let arguments = [&["company", "set", "acme"], bad].concat();
        assert_eq!(refused(&shell, &arguments), "body.malformed", "{bad:?}");
    }
    assert_eq!(refused(&shell, &["company", "show", "other"]), "company.unknown");
    assert_eq!(
        refused(&shell, &["company", "set", "other", "allowClientSend", "true"]),
        "company.unknown"
    );
}

#[test]
fn a_user_is_added_once_and_shown_a_token() {
    let shell = Shell::new();
    shell.run(&["company", "add", "acme"]).done();
    let bob = shell.run(&["user", "add", "acme", "bob"]).done();
    let token = bob
        .lines()
        .find_map(|line| line.strip_prefix("token "))
        .expect("a token");
    let token = token.split_whitespace().next().expect("a token");
    assert!(token.len() >= 22, "too short to be hard to guess: {token}");
    let alice = shell.json(&["user", "add", "acme", "alice"]);
    assert_eq!((&alice["company"], &alice["user"]), (&json!("acme"), &json!("alice")));
    assert_ne!(alice["token"].as_str().expect("a token"), token);
    assert_eq!(refused(&shell, &["user", "add", "acme", "alice"]), "user.exists");
}

#[test]
fn users_manage_are_reset_and_go() {
    let shell = Shell::new();
    shell.run(&["company", "add", "acme"]).done();
    let url = ["--public-url", "https://stream.example.com"];
    let alice = shell.json(&[&["user", "add", "acme", "alice"][..], &url].concat());
    assert_eq!(alice["manages"], true, "the first one does");
    let link = |said: &serde_json::Value| said["link"].as_str().expect("a link").to_owned();
    assert!(
        link(&alice).starts_with("https://stream.example.com/#/welcome/"),
        "{alice}"
    );
    let bob = shell.json(&["user", "add", "acme", "bob"]);
    assert_eq!(bob["manages"], false);
    assert_eq!(refused(&shell, &["user", "remove", "acme", "alice"]), "user.last");
    assert_eq!(
        refused(&shell, &["user", "set", "acme", "alice", "--manages", "false"]),
        "user.last"
    );
    shell.run(&["user", "set", "acme", "bob", "--manages", "true"]).done();
    let reset = shell.json(&["user", "reset", "acme", "alice"]);
    assert_ne!(link(&reset), link(&alice));
    assert!(link(&reset).starts_with("http://127.0.0.1:8080/#/welcome/"), "{reset}");
    let list = shell.json(&["user", "list", "acme"]);
    let names: Vec<&serde_json::Value> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|user| &user["user"])
        .collect();
    assert_eq!(names, ["alice", "bob"]);
    assert_eq!((&list[1]["manages"], &list[1]["token"]), (&json!(true), &bob["id"]));
    shell.run(&["user", "remove", "acme", "alice"]).done();
    assert_eq!(refused(&shell, &["user", "reset", "acme", "alice"]), "user.unknown");
    let left = shell.json(&["token", "list", "acme"]);
    assert_eq!(left.as_array().map(Vec::len), Some(1), "her tokens go with her: {left}");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_code() {
    let shell = Shell::new();
    shell.run(&["company", "add", "acme"]).done();
    shell.run(&["stream", "add", "/acme/door"]).done();
    let long = "a".repeat(65);
    let long_path = format!("/acme/{}", "a".repeat(123));
    let refusals: &[(&[&str], &str)] = &[
        (&["company", "add", "Acme"], "name.malformed"),
        (&["company", "add", ""], "name.malformed"),
        (&["company", "add", "a b"], "name.malformed"),
        (&["company", "add", "../x"], "name.malformed"),
        (&["company", "add", &long], "name.malformed"),
        (&["user", "add", "acme", "a b"], "name.malformed"),
        (&["user", "add", "acme", ""], "name.malformed"),
        (&["user", "add", "nowhere", "bob"], "company.unknown"),
        (&["user", "rotate", "nowhere", "bob"], "company.unknown"),
        (&["user", "rotate", "acme", "bob"], "user.unknown"),
        (&["stream", "add", "acme/door"], "path.malformed"),
        (&["stream", "add", "/acme"], "path.malformed"),
        (&["stream", "add", "/acme//door"], "path.malformed"),
        (&["stream", "add", "/acme/*"], "path.malformed"),
        (&["stream", "add", &long_path], "path.malformed"),
        (&["stream", "add", "/nowhere/door"], "company.unknown"),
        (&["stream", "add", "/acme/door"], "stream.exists"),
        (&["stream", "add", "/acme/a", "--capacity", "100001"], "limit.capacity"),
        (&["stream", "add", "/acme/a", "--filter", "n >"], "filter.malformed"),
        (&["stream", "set", "/acme/door"], "body.malformed"),
        (
            &["stream", "set", "/acme/door", "--capacity", "100001"],
            "limit.capacity",
        ),
        (&["stream", "set", "/acme/nowhere", "--capacity", "1"], "stream.unknown"),
        (&["stream", "set", "acme/door", "--capacity", "1"], "path.malformed"),
        (&["stream", "list", "nowhere"], "company.unknown"),
    ];
    for (arguments, code) in refusals {
        assert_eq!(refused(&shell, arguments), *code, "{arguments:?}");
    }
    assert_eq!(
        shell.json(&["stream", "list", "acme"]).as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn what_is_not_understood_ends_with_status_2() {
    let shell = Shell::new();
    let misunderstood: &[(&[&str], &str)] = &[
        (&["bogus"], "bogus"),
        (&["company", "add"], "<NAME>"),
        (&["user", "add", "acme"], "<NAME>"),
        (&["company", "add", "acme", "--bogus"], "--bogus"),
        (&["stream", "add", "/acme/a", "--capacity", "many"], "--capacity"),
        (&["stream", "add", "/acme/a", "--ack", "safe"], "--ack"),
        (&["stream", "add", "/acme/a", "--max-age", "0s"], "--max-age"),
        (&["stream", "add", "/acme/a", "--max-age", "1500ms"], "--max-age"),
        (&["stream", "add", "/acme/a", "--max-bytes", "0"], "--max-bytes"),
        (&["stream", "set"], "<PATH>"),
        (
            &["token", "add", "acme", "--read", "/acme/**", "--expires", "soon"],
            "--expires",
        ),
    ];
    for (arguments, named) in misunderstood {
        let ended = shell.run(arguments);
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(2), ""),
            "{arguments:?}: {ended:?}"
        );
        assert!(ended.err.contains(named), "{arguments:?}: {ended:?}");
        assert_eq!(
            shell.run(&[*arguments, &["--json"]].concat()).code,
            Some(2),
            "{arguments:?}"
        );
    }
    let left = std::fs::read_dir(shell.folder()).expect("a folder").count();
    assert_eq!(left, 0, "nothing is made for what was not understood");
}

#[test]
fn a_stream_is_added_with_what_it_was_asked_for() {
    let shell = Shell::new();
    shell.run(&["company", "add", "acme"]).done();
    let none = shell.run(&["stream", "list", "acme"]).done();
    assert!(none.contains("acme has no streams"), "{none}");
    assert_eq!(shell.json(&["stream", "list", "acme"]), json!([]));
    let door = shell.json(&[
        "stream",
        "add",
        "/acme/door/1",
        "--capacity",
        "7",
        "--description",
        "Tür \"1\"",
    ]);
    let id = door["id"].as_str().expect("an id");
    assert!(id.len() == 25 && id.starts_with('s'), "{id}");
    assert_eq!(door["path"], "/acme/door/1");
    assert_eq!(door["capacity"], 7);
    assert_eq!(door["description"], "Tür \"1\"");
    let said = shell.run(&["stream", "add", "/acme/bell"]).done();
    assert!(said.contains("/acme/bell"), "{said}");
    let listed = shell.json(&["stream", "list", "acme"]);
    let bell = listed
        .as_array()
        .into_iter()
        .flatten()
        .find(|stream| stream["path"] == "/acme/bell");
    assert_eq!(bell.expect("it is listed")["capacity"], 1_000, "the default");
    assert!(listed.as_array().is_some_and(|all| all.contains(&door)), "{listed}");
    let text = shell.run(&["stream", "list", "acme"]).done();
    let line = text
        .lines()
        .find(|line| line.contains("/acme/door/1"))
        .expect("it is listed");
    assert!(line.contains(id) && line.contains("capacity 7"), "{line}");
}

#[test]
fn a_streams_rules_are_set_and_taken_away() {
    let shell = Shell::new();
    shell.run(&["company", "add", "acme"]).done();
    let add = ["stream", "add", "/acme/door", "--ack", "written", "--filter", "n > 1"];
    let rest = ["--max-age", "30d", "--max-bytes", "10000000"];
    let door = shell.json(&[&add[..], &rest].concat());
    let rules = |stream: &serde_json::Value| {
        ["capacity", "ack", "filter", "maxAge", "maxBytes"].map(|name| stream[name].clone())
    };
    let expected = [
        json!(1_000),
        json!("written"),
        json!("n > 1"),
        json!(2_592_000),
        json!(10_000_000),
    ];
    assert_eq!(rules(&door), expected);
    assert_eq!(shell.json(&["stream", "list", "acme"]), json!([door]));
    let said = shell.run(&["stream", "set", "/acme/door", "--capacity", "7"]).done();
    assert!(said.contains("capacity 7") && said.contains("maxAge 2592000"), "{said}");
    let none = ["--max-age", "none", "--max-bytes", "none", "--filter", "none"];
    let set = shell.json(&[&["stream", "set", "/acme/door", "--description", "The door"][..], &none].concat());
    assert_eq!(set["description"], "The door");
    let expected = [json!(7), json!("written"), json!(null), json!(null), json!(null)];
    assert_eq!(rules(&set), expected);
    let set = shell.json(&["stream", "set", "/acme/door", "--ack", "durable"]);
    assert!(set.get("ack").is_none(), "{set}");
    assert_eq!(shell.json(&["stream", "list", "acme"]), json!([set]));
}

#[test]
fn a_running_server_sees_what_commands_did() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    shell.run(&["company", "add", "acme"]).done();
    let alice = Account::of(&shell.json(&["user", "add", "acme", "alice"]));
    server.until_admitted(&alice, true);
    shell.run(&["stream", "add", "/acme/door"]).done();
    let url = server.url();
    let publish = || shell.run_with(&alice.variables(&url), &["publish", "/acme/door", "{}"]);
    until("the server knows the stream", || publish().code == Some(0));
    let foreign = shell.run_with(&demo.variables(&url), &["publish", "/acme/door", "{}"]);
    assert_eq!(foreign.code, Some(1), "another company's user: {foreign:?}");
}

#[test]
fn commands_may_run_at_once_even_on_a_file_that_is_not_there_yet() {
    let names: Vec<String> = (0..8).map(|number| format!("company-{number}")).collect();
    // Who is first is chance; a few fresh files make it likely that several are.
    for _ in 0..4 {
        let shell = Shell::new();
        let add = |name: &String| shell.start(&[], &["company", "add", name]);
        let started: Vec<Program> = names.iter().map(add).collect();
        let ended: Vec<Ended> = started.into_iter().map(Program::until_end).collect();
        let failed: Vec<&Ended> = ended.iter().filter(|ended| ended.code != Some(0)).collect();
        assert!(failed.is_empty(), "{failed:#?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_no_panic() {
    let shell = Shell::new();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut command = shell.command(env!("CARGO_BIN_EXE_streamgate"));
    command
        .args(["company", "add", "acme"])
        .stdout(full)
        .stderr(Stdio::piped());
    let output = command.output().expect("it runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error:") && !err.contains("panicked"), "{err}");
}
