//! The audit: every change is in it, with who and from where; nothing takes it out again.

use crate::stage::{BY, Stage};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use streamgate::domain::path::{CompanyName, UserName};

const AUDIT: &str = "/v5.0/acme/audit";

async fn ask(stage: &Stage, method: &str, path: &str, body: &str) -> Value {
    let answer = stage.request(method, path, Some(&stage.alice), body).await;
    assert!(answer.status < 300, "{method} {path}: {answer:?}");
    answer.json()["body"].take()
}

fn actions(entries: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, name: &str| entry[name].as_str().expect("text").to_owned();
    let entries = entries.as_array().expect("a list").iter();
    entries
        .map(|entry| (text(entry, "action"), text(entry, "subject")))
        .collect()
}

/// Each entry says who did it and from where; the first was made on the command line.
fn assert_who(entries: &Value, alice: &str) {
    for (number, entry) in entries.as_array().expect("a list").iter().rev().enumerate() {
        assert_eq!(entry["id"], number + 1, "without holes");
        let who = match (number, entry["action"].as_str().expect("text")) {
            (0, _) => json!([null, null, null]),
            (_, "password.set" | "login.opened") => json!(["bob", null, "127.0.0.1"]),
            _ => json!(["alice", alice, "127.0.0.1"]),
        };
        assert_eq!(json!([entry["user"], entry["token"], entry["address"]]), who, "{entry}");
        assert!(entry["detail"].is_object() && entry["time"].is_u64(), "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_written_down_with_who_did_it() {
    let stage = Stage::start().await;
    let stream = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    ask(
        &stage,
        "PUT",
        &format!("/v5.0/acme/stream/{stream}"),
        r#"{"capacity":5}"#,
    )
    .await;
    let event = stage.publish(&stage.alice, "/acme/door", "{}").await;
    let event = event.json()["body"]["id"].as_str().expect("an id").to_owned();
    ask(&stage, "DELETE", &format!("/v5.0/acme/event/{stream}/{event}"), "").await;
    ask(&stage, "DELETE", &format!("/v5.0/acme/event/{stream}"), "").await;
    ask(&stage, "DELETE", &format!("/v5.0/acme/stream/{stream}"), "").await;
    let token = ask(
        &stage,
        "POST",
        "/v5.0/acme/token",
        r#"{"paths":{"/acme/x":{"read":true}}}"#,
    )
    .await;
    let token = token["id"].as_str().expect("an id").to_owned();
    let rotated = ask(&stage, "POST", &format!("/v5.0/acme/token/{token}/rotate"), "").await;
    let rotated = rotated["id"].as_str().expect("an id").to_owned();
    ask(&stage, "DELETE", &format!("/v5.0/acme/token/{rotated}"), "").await;
    let added = ask(&stage, "POST", "/v5.0/acme/user", r#"{"user":"bob"}"#).await;
    let link = added["link"].as_str().expect("a link");
    let code = link.rsplit('/').next().expect("a code");
    let body = json!({"code": code, "password": "correct horse"}).to_string();
    assert_eq!(
        stage.request_with("POST", "/login/password", &[], &body).await.status,
        201
    );
    ask(&stage, "PUT", "/v5.0/acme/user/bob", r#"{"manages":true}"#).await;
    ask(&stage, "POST", "/v5.0/acme/user/bob/reset", "").await;
    ask(&stage, "DELETE", "/v5.0/acme/user/bob", "").await;

    let entries = ask(&stage, "GET", AUDIT, "").await;
    let expected: [(&str, &str); 15] = [
        ("user.removed", "bob"),
        ("user.reset", "bob"),
        ("user.changed", "bob"),
        ("login.opened", "bob"),
        ("password.set", "bob"),
        ("user.added", "bob"),
        ("token.revoked", &*rotated),
        ("token.rotated", &*rotated),
        ("token.created", &*token),
        ("stream.deleted", "/acme/door"),
        ("events.deleted", "/acme/door"),
        ("events.deleted", "/acme/door"),
        ("stream.changed", "/acme/door"),
        ("stream.created", "/acme/door"),
        ("user.added", "alice"),
    ];
    let expected = expected.map(|(action, subject)| (action.to_owned(), subject.to_owned()));
    assert_eq!(actions(&entries), expected);
    assert_who(&entries, &stage.alice.key.to_string());
    let text = entries.to_string();
    assert!(!text.contains(code) && !text.contains("correct horse") && !text.contains("argon2"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_audit_is_found() {
    let stage = Stage::start().await;
    for number in 0..5 {
        stage.add_stream(&stage.alice, &format!("/acme/door/{number}"), 1).await;
    }
    stage.add_user("acme", "bob").await;
    let found = async |query: &str| -> Vec<String> {
        let entries = ask(&stage, "GET", &format!("{AUDIT}?{query}"), "").await;
        actions(&entries).into_iter().map(|(_, subject)| subject).collect()
    };
    assert_eq!(found("action=user.added").await, ["bob", "alice"]);
    assert_eq!(
        found("user=alice&start=1&limit=2").await,
        ["/acme/door/3", "/acme/door/2"]
    );
    assert_eq!(
        found("user=alice&action=stream.created&limit=1").await,
        ["/acme/door/4"]
    );
    assert!(found("user=nobody").await.is_empty() && found("limit=0").await.is_empty());
    for query in ["action=other", "limit=1001", "start=x"] {
        let path = format!("{AUDIT}?{query}");
        let answer = stage.request("GET", &path, Some(&stage.alice), "").await;
        assert_eq!((answer.status, &*answer.code()), (400, "query.malformed"), "{query}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_sign_ins_are_written_down_but_a_stranger_cannot_fill_the_disk() {
    let stage = Stage::start().await;
    let (acme, alice) = (CompanyName::parse("acme"), UserName::parse("alice"));
    let (acme, alice) = (acme.expect("a name"), alice.expect("a name"));
    stage.catalogue.reset_user(&acme, &alice, &BY).await.expect("a link");
    for user in ["alice", "my-secret-in-the-wrong-field"] {
        let body = json!({"company": "acme", "user": user, "password": "wrong horse"}).to_string();
        assert_eq!(stage.request_with("POST", "/login", &[], &body).await.status, 401);
    }
    for number in 0..25 {
        // Each another user, so that none has to wait before the address has.
        let body = json!({"company": "acme", "user": format!("u{number}"), "password": "x"}).to_string();
        stage.request_with("POST", "/login", &[], &body).await;
    }
    let refused = ask(&stage, "GET", &format!("{AUDIT}?action=login.refused&limit=1000"), "").await;
    let listed = actions(&refused);
    assert!(listed.len() <= 20, "{} entries", listed.len());
    let subjects: Vec<&str> = listed.iter().rev().take(2).map(|(_, subject)| &**subject).collect();
    assert_eq!(subjects, ["alice", ""], "a name that nobody has is not kept");
    assert_eq!(refused[0]["address"], "127.0.0.1");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_itself_refuses_to_change_the_audit() {
    let stage = Stage::start().await;
    let url = format!("sqlite:{}/test.db", stage.folder().display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the file");
    for statement in [
        "update audit set user = 'mallory'",
        "delete from audit",
        "delete from audit where number = 1",
        "insert into audit select company_id, number + 2, time_ms, user, token, address, action, subject, detail from audit",
        "insert or replace into audit select company_id, number, time_ms, 'mallory', token, address, action, subject, detail from audit",
    ] {
        let refused = sqlx::query(statement).execute(&mut connection).await;
        let refused = refused.expect_err(statement).to_string();
        assert!(refused.contains("the audit is"), "{statement}: {refused}");
    }
    // Only what is older than the newest hundred thousand goes, and by itself.
    let fill = "with recursive n(i) as (select 2 union all select i + 1 from n where i < 100010)
        insert into audit select (select min(company_id) from company), i, 0, null, null, null, 'x', '', '{}' from n";
    sqlx::query(fill).execute(&mut connection).await.expect("it is filled");
    let kept = "select count(*), min(number), max(number) from audit";
    let kept: (i64, i64, i64) = sqlx::query_as(kept).fetch_one(&mut connection).await.expect("a count");
    assert_eq!(kept, (100_000, 11, 100_010));
    connection.close().await.expect("closed");
    stage.end().await;
}
