//! Restricted and master tokens: made, listed, rotated, revoked, and what a running server makes
//! of that.

use crate::server::{Account, Server};
use crate::shell::{Shell, until};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn acme() -> Shell {
    let shell = Shell::new();
    shell.run(&["company", "add", "acme"]).done();
    shell
}

fn listed(shell: &Shell, id: &Value) -> Value {
    let list = shell.json(&["token", "list", "acme"]);
    let found = list.as_array().into_iter().flatten().find(|token| token["id"] == *id);
    found.unwrap_or_else(|| panic!("no {id} in {list}")).clone()
}

fn line(shell: &Shell, id: &Value) -> String {
    let list = shell.run(&["token", "list", "acme"]).done();
    let id = id.as_str().expect("an id");
    let found = list.lines().find(|line| line.contains(id));
    found.unwrap_or_else(|| panic!("no {id} in {list}")).to_owned()
}

#[test]
fn a_restricted_token_may_what_its_patterns_say() {
    let shell = acme();
    let arguments = "token add acme --read /acme/door/** --read /acme/bell --write /acme/bell --manage /acme/new/*";
    let mut arguments: Vec<&str> = arguments.split(' ').collect();
    arguments.extend(["--label", "for the porch", "--expires", "30d"]);
    let made = shell.json(&arguments);
    let paths = json!({
        "/acme/bell": {"read": true, "write": true}, "/acme/door/**": {"read": true}, "/acme/new/*": {"manage": true},
    });
    assert_eq!(made["paths"], paths);
    assert_eq!(
        (&made["company"], &made["label"]),
        (&json!("acme"), &json!("for the porch"))
    );
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as u64;
    let expires_ms = made["expires"].as_u64().expect("a time");
    assert!((29 * DAY_MS..31 * DAY_MS).contains(&(expires_ms - now_ms)), "{made}");
    let id = made["id"].as_str().expect("an id");
    assert!(id.len() == 17 && id.starts_with('k'), "{id}");
    let token = listed(&shell, &made["id"]);
    assert_eq!((&token["paths"], &token["label"]), (&paths, &made["label"]));
    assert_eq!((&token["user"], &token["expires"]), (&Value::Null, &made["expires"]));
    let line = line(&shell, &made["id"]);
    assert!(line.contains("restricted") && line.contains("/acme/door/**"), "{line}");
    assert!(line.contains("until ") && line.contains("for the porch"), "{line}");
}

#[test]
fn a_token_is_refused_that_could_do_nothing_or_too_much() {
    let shell = acme();
    let refusals: &[(&[&str], &str, &str)] = &[
        (&["token", "add", "acme"], "body.malformed", "--read"),
        (
            &["token", "add", "acme", "--read", "/other/**"],
            "scope.denied",
            "/acme/",
        ),
        (
            &["token", "add", "acme", "--read", "/acme/x", "--write", "/other/x"],
            "scope.denied",
            "/acme/",
        ),
        (
            &["token", "add", "acme", "--read", "/acme/**/x"],
            "path.malformed",
            "**",
        ),
        (&["token", "add", "acme", "--read", "acme"], "path.malformed", "/"),
        (
            &["token", "add", "nowhere", "--read", "/nowhere/**"],
            "company.unknown",
            "nowhere",
        ),
        (&["token", "list", "nowhere"], "company.unknown", "nowhere"),
        (
            &["token", "revoke", "k0123456789abcdef"],
            "token.unknown",
            "k0123456789abcdef",
        ),
        (&["token", "revoke", "k01"], "name.malformed", "16"),
    ];
    for (arguments, code, named) in refusals {
        let ended = shell.run(&[*arguments, &["--json"]].concat());
        assert_eq!(
            (ended.code, &ended.json()["error"]["code"]),
            (Some(1), &json!(code)),
            "{ended:?}"
        );
        assert!(ended.err.contains(named), "{ended:?}");
    }
    let list = shell.run(&["token", "list", "acme"]).done();
    assert!(list.contains("acme has no tokens"), "{list}");
}

#[test]
fn a_list_shows_whose_each_token_is_and_its_state() {
    let shell = acme();
    let alice = shell.json(&["user", "add", "acme", "alice"]);
    let porch = shell.json(&["token", "add", "acme", "--read", "/acme/porch"]);
    let brief = shell.json(&["token", "add", "acme", "--read", "/acme/brief", "--expires", "1ms"]);
    let master = line(&shell, &alice["id"]);
    assert!(
        master.contains("master of alice") && master.contains("never used"),
        "{master}"
    );
    assert_eq!(listed(&shell, &alice["id"])["user"], "alice");
    assert!(line(&shell, &porch["id"]).contains("good"));
    until("the brief one has expired", || {
        line(&shell, &brief["id"]).contains("expired ")
    });
    let revoked = shell.json(&["token", "revoke", porch["id"].as_str().expect("an id")]);
    assert_eq!(revoked, json!({"id": porch["id"], "revoked": true}));
    assert!(line(&shell, &porch["id"]).contains("revoked "));
    assert!(listed(&shell, &porch["id"])["revoked"].is_u64());
    shell
        .run(&["token", "revoke", porch["id"].as_str().expect("an id")])
        .done();
}

#[test]
fn a_list_tells_when_a_token_was_used() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    assert_eq!(server.open_session(&demo).0, 201);
    server.stop("TERM");
    let list = shell.run(&["token", "list", "demo"]).done();
    assert!(list.contains("  used 20") && !list.contains("never used"), "{list}");
}

#[test]
fn a_rotated_user_is_let_in_with_the_new_token_only() {
    let shell = Shell::new();
    let (server, old) = Server::first_start(&shell, &[]);
    assert_eq!(server.open_session(&old).0, 201);
    let made = shell.json(&["user", "rotate", "demo", "admin"]);
    let new = Account::of(&made);
    assert_eq!((&new.company, &new.user), (&old.company, &old.user));
    server.until_admitted(&new, true);
    server.until_admitted(&old, false);
    let list = shell.json(&["token", "list", "demo"]);
    let good = list
        .as_array()
        .into_iter()
        .flatten()
        .filter(|token| token["revoked"].is_null());
    assert_eq!(good.map(|token| &token["id"]).collect::<Vec<_>>(), [&made["id"]]);
}

#[test]
fn whoever_follows_with_a_token_that_is_revoked_is_told() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    let made = shell.json(&["token", "add", "demo", "--read", "/demo/**"]);
    let reader = Account::of(&made);
    server.until_admitted(&reader, true);
    let url = server.url();
    let tail = shell.start(&reader.variables(&url), &["tail", "/demo/hello"]);
    let masters = shell.start(&demo.variables(&url), &["tail", "/demo/hello", "--count", "1"]);
    server.until_subscriptions(2);
    shell
        .run(&["token", "revoke", made["id"].as_str().expect("an id")])
        .done();
    let ended = tail.until_end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("the token was revoked"), "{ended:?}");
    server.until_admitted(&reader, false);
    let publish = ["publish", "/demo/hello", r#"{"still":"here"}"#];
    shell.run_with(&demo.variables(&url), &publish).done();
    assert_eq!(
        masters.until_end().done(),
        "1\t{\"still\":\"here\"}\n",
        "others stay connected"
    );
}

#[test]
fn a_token_is_rotated_asked_and_held_to_places() {
    let shell = acme();
    let arguments = "token create acme --read /acme/door/* --origin https://App.example.com --cidr 10.0.0.0/8";
    let made = shell.json(&arguments.split(' ').collect::<Vec<_>>());
    let places = |token: &Value| [token["origins"].clone(), token["addresses"].clone()];
    let expected = [json!(["https://app.example.com"]), json!(["10.0.0.0/8"])];
    assert_eq!(places(&made), expected);
    let id = made["id"].as_str().expect("an id");
    let can = shell.json(&["token", "can", id, "read", "/acme/door/1"]);
    assert_eq!(
        (&can["allowed"], &can["rule"]["pattern"]),
        (&json!(true), &json!("/acme/door/*"))
    );
    let cannot = shell.run(&["token", "can", id, "write", "/acme/door/1"]).done();
    assert!(cannot.starts_with("no: "), "{cannot}");

    let rotated = shell.json(&["token", "rotate", id, "--overlap", "1h"]);
    assert_eq!(rotated["old"], made["id"]);
    assert_ne!(rotated["token"], made["token"]);
    assert_eq!(places(&listed(&shell, &rotated["id"])), expected);
    assert!(line(&shell, &made["id"]).contains("until ") && line(&shell, &rotated["id"]).contains("good"));
    shell.json(&["token", "rotate", rotated["id"].as_str().expect("an id")]);
    assert!(line(&shell, &rotated["id"]).contains("revoked "));
    let again = shell.run(&["token", "rotate", rotated["id"].as_str().expect("an id"), "--json"]);
    assert_eq!(
        (again.code, &again.json()["error"]["code"]),
        (Some(1), &json!("token.ended"))
    );
}
