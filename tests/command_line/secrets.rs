//! What must never be seen twice: tokens are shown when they are made and nowhere else; neither
//! they nor session ids nor payloads get into the log, however talkative it is.

use crate::server::{Account, Server};
use crate::shell::Shell;
use serde_json::Value;

/// Everything secret that a story came by, and what was printed where none of it belongs.
#[derive(Default)]
struct Story {
    secrets: Vec<String>,
    printed: Vec<String>,
}

impl Story {
    fn keep_account(&mut self, made: &Value) -> Account {
        let account = Account::of(made);
        self.secrets.push(account.token.clone());
        account
    }

    /// Opens a session; its id is secret as a whole, and so is the half that proves it.
    fn keep_session(&mut self, server: &Server, account: &Account) {
        let (status, body) = server.open_session(account);
        assert_eq!(status, 201, "{body}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let id = body["body"]["id"].as_str().expect("an id");
        let (_, proof) = id.split_once('.').expect("two halves");
        self.secrets.extend([id.to_owned(), proof.to_owned()]);
        // Asked for, refused, and asked for wrongly: whatever is logged of it is logged now.
        for path in ["ws", "nothing"] {
            server.get(&format!("/session/{id}/{path}"));
        }
    }

    /// Makes a connection token, which is secret as a whole, and so is the half that proves it.
    fn keep_connection_token(&mut self, server: &Server, account: &Account) {
        let (status, body) = server.connection_token(account);
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let jwt = body["token"].as_str().expect("a token");
        let (_, proof) = jwt.rsplit_once('.').expect("three parts");
        self.secrets.extend([jwt.to_owned(), proof.to_owned()]);
        for path in [format!("{jwt}/"), format!("x{jwt}"), format!("{jwt}/nothing")] {
            server.get(&format!("/api/v1/ws/{path}"));
        }
    }

    fn holds(&self) {
        assert!(self.secrets.len() >= 8, "a story without secrets proves nothing");
        for secret in &self.secrets {
            assert!(secret.len() >= 8, "found by accident: {secret}");
            for printed in &self.printed {
                assert!(!printed.contains(secret.as_str()), "{secret} in:\n{printed}");
            }
        }
    }
}

fn tell(log: &str, format: &str) {
    let shell = Shell::new();
    let mut story = Story::default();
    let talkative = [("STREAMGATE_LOG", log), ("STREAMGATE_LOG_FORMAT", format)];
    let (server, demo) = Server::first_start(&shell, &talkative);
    let url = server.url();
    story.secrets.push(demo.token.clone());
    story.keep_session(&server, &demo);

    shell.json(&["company", "add", "acme"]);
    let alice = story.keep_account(&shell.json(&["user", "add", "acme", "alice"]));
    let restricted = shell.json(&["token", "add", "demo", "--read", "/demo/**"]);
    let reader = story.keep_account(&restricted);
    let admin = story.keep_account(&shell.json(&["user", "rotate", "demo", "admin"]));
    for account in [&alice, &reader, &admin] {
        server.until_admitted(account, true);
        story.keep_session(&server, account);
        story.keep_connection_token(&server, account);
    }
    // The old one is still presented after it ended, and a wrong one too.
    server.until_admitted(&demo, false);
    let wrong = Account {
        token: "wrong-token-that-nobody-has".to_owned(),
        ..admin.clone()
    };
    assert_eq!(server.open_session(&wrong).0, 401);
    assert_eq!(server.connection_token(&wrong).0, 401);
    story.secrets.push(wrong.token);

    let tail = shell.start(&reader.variables(&url), &["tail", "/demo/hello", "--count", "1"]);
    server.until_subscriptions(1);
    let publish = ["publish", "/demo/hello", r#"{"payload":"for-readers-only"}"#];
    story
        .printed
        .push(shell.run_with(&admin.variables(&url), &publish).said());
    let seen = tail.until_end().done();
    assert!(seen.contains("for-readers-only"), "{seen}");
    story.secrets.push("for-readers-only".to_owned());

    shell.json(&["token", "revoke", restricted["id"].as_str().expect("an id")]);
    server.until_admitted(&reader, false);
    for company in ["demo", "acme"] {
        let list = ["token", "list", company];
        story.printed.push(shell.run(&list).said());
        story.printed.push(shell.json(&list).to_string());
    }
    story.printed.push(server.get("/metrics").1);
    story.printed.push(server.stop("TERM").err);
    story.holds();
}

#[test]
fn secrets_are_in_no_list_no_metric_and_no_line_of_the_log() {
    tell("info", "text");
}

#[test]
fn secrets_are_not_logged_when_everything_is() {
    tell("trace", "json");
}
