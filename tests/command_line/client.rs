//! `publish` and `tail` against a running server: what they print, and what they say when
//! something is wrong.

use crate::server::{Account, Server};
use crate::shell::{Ended, Shell};
use serde_json::{Value, json};
use std::net::TcpListener;

/// A running server, its first user, and a command typed by that user.
struct Scene {
    shell: Shell,
    server: Server,
    demo: Account,
}

impl Scene {
    fn new() -> Self {
        let shell = Shell::new();
        let (server, demo) = Server::first_start(&shell, &[]);
        Self { shell, server, demo }
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let url = self.server.url();
        self.shell.run_with(&self.demo.variables(&url), arguments)
    }

    /// A restricted token that the server knows of.
    fn restricted(&self, rules: &[&str]) -> Account {
        let made = self.shell.json(&[&["token", "add", "demo"], rules].concat());
        let account = Account::of(&made);
        self.server.until_admitted(&account, true);
        account
    }
}

/// A refusal for scripts: the code and the sentence, which is also told to people.
fn refusal(ended: &Ended) -> (String, String) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let json = ended.json();
    let text = |name: &str| json["error"][name].as_str().expect("a text").to_owned();
    assert!(ended.err.contains(&text("message")), "{ended:?}");
    (text("code"), text("message"))
}

#[test]
fn what_one_publishes_another_sees() {
    let scene = Scene::new();
    let url = scene.server.url();
    let variables = scene.demo.variables(&url);
    let follow = ["tail", "/demo/hello", "--count", "2"];
    let text = scene.shell.start(&variables, &follow);
    let json = scene.shell.start(&variables, &[&follow[..], &["--json"]].concat());
    scene.server.until_subscriptions(2);
    // Order and numbers would not survive being read and written again.
    let first = r#"{"b":1.50,"a":12345678901234567890123,"c":"Tür"}"#;
    let said = scene.run(&["publish", "/demo/hello", first]).done();
    assert!(said.contains("published to /demo/hello"), "{said}");
    assert_eq!(text.until_out("\n"), format!("1\t{first}\n"), "each line at once");
    let published = scene.run(&["publish", "/demo/hello", r#"{"n":2}"#, "--json"]);
    let published = published.json();
    assert_eq!(
        (&published["path"], &published["elems"]),
        (&json!("/demo/hello"), &json!({"n": 2}))
    );
    assert_eq!(text.until_end().done(), format!("1\t{first}\n2\t{{\"n\":2}}\n"));
    let lines = json.until_end().done();
    assert!(lines.contains(&format!("\"elems\":{first},")), "{lines}");
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["offset"], &lines[1]["offset"]), (&json!(1), &json!(2)));
    assert_eq!(
        (&lines[1]["type"], &lines[1]["value"]["id"]),
        (&json!("message"), &published["id"])
    );
    scene.server.until_subscriptions(0);
}

#[test]
fn publish_shows_scripts_the_event_as_it_was_written() {
    let scene = Scene::new();
    let event = r#"{"b":1.50,"a":12345678901234567890123}"#;
    let said = scene.run(&["publish", "/demo/hello", event, "--json"]).done();
    assert!(said.contains(&format!("\"elems\":{event}")), "{said}");
}

#[test]
fn a_restricted_token_needs_no_user_and_no_company() {
    let scene = Scene::new();
    let reader = scene.restricted(&["--read", "/demo/**"]);
    let writer = scene.restricted(&["--write", "/demo/hello"]);
    let url = scene.server.url();
    let tail = scene
        .shell
        .start(&reader.variables(&url), &["tail", "/demo/hello", "--count", "1"]);
    scene.server.until_subscriptions(1);
    let publish = ["publish", "/demo/hello", "{}"];
    let json = [&publish[..], &["--json"]].concat();
    let denied = scene.shell.run_with(&reader.variables(&url), &json);
    assert_eq!(refusal(&denied).0, "scope.denied");
    let denied = scene
        .shell
        .run_with(&writer.variables(&url), &["tail", "/demo/hello", "--json"]);
    assert_eq!(refusal(&denied).0, "scope.denied");
    scene.shell.run_with(&writer.variables(&url), &publish).done();
    assert_eq!(tail.until_end().done(), "1\t{}\n");
}

#[test]
fn flags_say_who_asks_as_well_as_the_environment() {
    let scene = Scene::new();
    let url = scene.server.url();
    let account = [
        "--url",
        &url,
        "--company",
        "demo",
        "--user",
        "admin",
        "--token",
        &scene.demo.token,
    ];
    let publish = [&["publish", "/demo/hello", "{}"], &account[..]].concat();
    scene.shell.run(&publish).done();
    let wrong = [("STREAMGATE_URL", "http://127.0.0.1:1"), ("STREAMGATE_TOKEN", "wrong")];
    scene.shell.run_with(&wrong, &publish).done();
}

#[test]
fn what_the_server_refuses_keeps_its_code() {
    let scene = Scene::new();
    let refusals: &[(&[&str], &str)] = &[
        (&["publish", "/demo/hello", "{}", "--token", "wrong"], "auth.refused"),
        (&["publish", "/demo/hello", "{}", "--user", "nobody"], "auth.refused"),
        (&["publish", "/demo/nowhere", "{}"], "stream.unknown"),
        (&["publish", "/demo/hello", "[1]"], "event.malformed"),
        (&["tail", "/demo/hello", "--token", "wrong"], "auth.refused"),
        (&["tail", "/demo/nowhere"], "stream.unknown"),
        (&["tail", "/other/hello"], "stream.unknown"),
    ];
    for (arguments, code) in refusals {
        let ended = scene.run(&[*arguments, &["--json"]].concat());
        assert_eq!(refusal(&ended).0, *code, "{arguments:?}: {ended:?}");
    }
}

#[test]
fn mistakes_are_told_before_anybody_is_asked() {
    let shell = Shell::new();
    let token = [("STREAMGATE_TOKEN", "some-token")];
    let mistakes: &[(&[&str], &str, &str)] = &[
        (&["publish", "/demo/hello", "{open"], "body.malformed", "no JSON"),
        (&["publish", "/demo/hello", ""], "body.malformed", "no JSON"),
        (&["publish", "demo", "{}"], "path.malformed", "/"),
        (&["tail", "/demo/*"], "path.malformed", "segments"),
        (
            &["tail", "/demo/hello", "--url", "localhost:8080"],
            "body.malformed",
            "http://",
        ),
        (
            &["publish", "/demo/hello", "{}", "--url", "ftp://x"],
            "body.malformed",
            "STREAMGATE_URL",
        ),
    ];
    for (arguments, code, named) in mistakes {
        let ended = shell.run_with(&token, &[*arguments, &["--json"]].concat());
        let (told, message) = refusal(&ended);
        assert_eq!(told, *code, "{arguments:?}: {ended:?}");
        assert!(message.contains(named), "{arguments:?}: {ended:?}");
    }
    for command in [
        &["publish", "/demo/hello", "{}", "--json"][..],
        &["tail", "/demo/hello", "--json"],
    ] {
        for unset in [&[][..], &[("STREAMGATE_TOKEN", "")]] {
            let (_, message) = refusal(&shell.run_with(unset, command));
            assert!(message.contains("STREAMGATE_TOKEN"), "{message}");
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_told_with_its_address() {
    let shell = Shell::new();
    // Bound and let go: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let url = format!("http://{}", free.expect("a free port"));
    let variables = [("STREAMGATE_URL", url.as_str()), ("STREAMGATE_TOKEN", "some-token")];
    for command in [
        &["publish", "/demo/hello", "{}", "--json"][..],
        &["tail", "/demo/hello", "--json"],
    ] {
        let ended = shell.run_with(&variables, command);
        let (_, message) = refusal(&ended);
        assert!(message.contains(&url) && message.contains("running"), "{message}");
        assert!(!ended.said().contains("some-token"), "{ended:?}");
    }
}

#[test]
fn a_server_that_ends_without_a_word_ends_a_tail_with_an_error() {
    let scene = Scene::new();
    let url = scene.server.url();
    let tail = scene.shell.start(&scene.demo.variables(&url), &["tail", "/demo/hello"]);
    scene.server.until_subscriptions(1);
    scene.server.stop("KILL");
    let ended = tail.until_end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("the connection was lost"), "{ended:?}");
}

#[test]
fn help_never_shows_the_token_in_force() {
    let shell = Shell::new();
    let token = [("STREAMGATE_TOKEN", "some-token")];
    for arguments in [
        &["tail", "--help"][..],
        &["publish", "--help"],
        &["publish", "-h"],
        &["--help"],
    ] {
        let help = shell.run_with(&token, arguments);
        assert!(!help.said().contains("some-token"), "{arguments:?}");
        assert!(help.done().contains("Usage: streamgate"), "{arguments:?}");
    }
}
