//! The published Python client of flowthings.io (PyPI `flowthings`), driven against a real server, and the
//! rules that the clients of that service were seen to rely on.
//!
//! `tests/run` installs the client and says where its Python is. What it is asked is in
//! `tests/flowthings/stories.py`.

use crate::raw::{RawSocket, TEXT, frame};
use crate::stage::{Account, DEADLINE, Stage};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

const STORIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/flowthings/stories.py");

fn python() -> PathBuf {
    let usual = || concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/flowthings/bin/python").into();
    let python = std::env::var_os("STREAMGATE_TEST_FLOWTHINGS").map_or_else(usual, PathBuf::from);
    assert!(
        python.exists(),
        "{} is missing: run tests/run, which installs the client of flowthings.io there",
        python.display()
    );
    python
}

/// Has the client tell a story as alice, at both bases.
async fn tell(story: &str) {
    for version in ["0.1", "4.0"] {
        let stage = Stage::start().await;
        let address = stage.address.to_string();
        let alice = &stage.alice;
        let mut client = Command::new("timeout");
        client
            .arg((3 * DEADLINE).as_secs().to_string())
            .arg(python())
            .args([STORIES, story, &address, &alice.company, &alice.token, version])
            .env("NO_PROXY", "*");
        let told = tokio::task::spawn_blocking(move || client.output());
        let told = told.await.expect("no panic").expect("a program");
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success(), "{story} at {version}: {said}");
        stage.end().await;
    }
}

macro_rules! stories {
    ($($test:ident: $story:literal,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            tell($story).await;
        })*
    };
}

stories! {
    the_python_client_keeps_flows: "flows",
    the_python_client_keeps_drops: "drops",
    the_python_client_finds_in_several_flows: "multi_find",
    the_python_client_aggregates: "aggregate",
    the_python_client_keeps_tokens: "tokens",
    the_python_client_subscribes_and_unsubscribes_in_order: "socket",
}

/// Alice as older clients are: with the account's name and a token, and nothing else.
fn as_account(account: &Account) -> [(&str, &str); 2] {
    [("x-auth-account", &account.company), ("x-auth-token", &account.token)]
}

async fn ask(stage: &Stage, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let answer = stage.request_with(method, path, headers, body).await;
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_auth_account_is_x_auth_company() {
    let stage = Stage::start().await;
    let restricted = stage.add_token(&[("/acme/**", "read")], None).await;
    for account in [&stage.alice, &restricted] {
        let (status, opened) = ask(&stage, "POST", "/session", &as_account(account), "").await;
        assert_eq!((status, &opened["head"]["status"]), (201, &json!(201)));
        assert!(opened["body"]["id"].is_string());
        for path in ["/v5.0/acme/stream", "/v0.1/acme/flow"] {
            assert_eq!(
                ask(&stage, "GET", path, &as_account(account), "").await.0,
                200,
                "{path}"
            );
        }
    }
    // Two names for one thing say the same, or nobody knows what is meant.
    let token = ("x-auth-token", &*restricted.token);
    let both = |company, account| [("X-Auth-Company", company), ("X-Auth-Account", account), token];
    assert_eq!(ask(&stage, "POST", "/session", &both("acme", "acme"), "").await.0, 201);
    let (status, refused) = ask(&stage, "POST", "/session", &both("acme", "umbrella"), "").await;
    assert_eq!((status, &refused["head"]["code"]), (401, &json!("auth.refused")));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_token_is_enough_only_for_who_knows_of_no_users() {
    let stage = Stage::start().await;
    let token = [("X-Auth-Token", &*stage.alice.token)];
    let flow = r#"{"path":"/acme/a"}"#;
    assert_eq!(ask(&stage, "POST", "/v0.1/acme/flow", &token, flow).await.0, 201);
    for (path, company) in [("/v5.0/acme/stream", None), ("/session", Some("acme"))] {
        let company = company.map(|name| ("X-Auth-Company", name));
        let headers: Vec<_> = token.into_iter().chain(company).collect();
        let (status, refused) = ask(&stage, "POST", path, &headers, "").await;
        assert_eq!(
            (status, &refused["head"]["code"]),
            (401, &json!("auth.refused")),
            "{path}"
        );
    }
    // Naming an account is no way around it, unless it is the one that is meant.
    let token = token[0];
    for (account, status) in [("acme", 200), ("umbrella", 401), ("", 401)] {
        let headers = [token, ("X-Auth-Account", account)];
        let told = ask(&stage, "GET", "/v5.0/acme/user", &headers, "").await;
        assert_eq!(told.0, status, "{account:?}: {}", told.1);
    }
    let token = [token];
    // Whoever names a user has it checked, and nobody comes into another company.
    let wrong = [("X-Auth-Token", &*stage.alice.token), ("X-Auth-User", "bob")];
    assert_eq!(ask(&stage, "GET", "/v0.1/acme/flow", &wrong, "").await.0, 401);
    stage.add_company("umbrella").await;
    assert_eq!(ask(&stage, "GET", "/v0.1/umbrella/flow", &token, "").await.0, 401);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_may_send_the_older_headers_and_methods() {
    let stage = Stage::with(&["--allowed-origins", "https://app.example.com"]).await;
    for (path, method) in [
        ("/session", "POST"),
        ("/v0.1/acme/drop", "MGET"),
        ("/v4.0/acme/flow", "POST"),
    ] {
        let headers = [
            ("Origin", "https://app.example.com"),
            ("Access-Control-Request-Method", method),
            (
                "Access-Control-Request-Headers",
                "content-type,x-auth-account,x-auth-token",
            ),
        ];
        let answer = stage.request_with("OPTIONS", path, &headers, "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let told = |name: &str| answer.headers[name].to_str().expect("text").to_ascii_lowercase();
        assert!(
            told("access-control-allow-headers").contains("x-auth-account"),
            "{path}"
        );
        assert!(
            told("access-control-allow-methods").contains(&method.to_ascii_lowercase()),
            "{path}"
        );
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_clients_first_number_is_nought_and_comes_back_as_a_number() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket
        .send(r#"{"type":"subscribe","object":"drop","path":"/acme/door","msgId":0}"#)
        .await;
    let ack = socket.json().await;
    assert_eq!((&ack["head"]["msgId"], &ack["body"]), (&json!(0), &json!({})));
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_of_what_had_no_number_has_the_member_with_null() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket
        .send(r#"{"type":"subscribe","object":"drop","path":"/acme/door"}"#)
        .await;
    let ack = socket.json().await;
    assert_eq!(ack["head"].get("msgId"), Some(&Value::Null));
    assert!(ack.get("body").is_some());
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_has_a_status_an_error_and_a_body() {
    let stage = Stage::start().await;
    let restricted = stage.add_token(&[("/acme/other", "read")], None).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut socket = stage.socket(&restricted).await;
    let frames = [
        (
            r#""type":"subscribe","object":"drop","flowId":"f53b1d1600cf27b75148de0ac""#,
            404,
        ),
        (r#""type":"subscribe","object":"drop","path":"/acme/door""#, 403),
        (r#""type":"findmany","object":"drop","path":"/acme/door""#, 403),
        (r#""type":"update","object":"drop","path":"/acme/door","id":"d1""#, 400),
    ];
    for (members, status) in frames {
        socket.send(&format!(r#"{{"msgId":"x",{members}}}"#)).await;
        let ack = socket.json().await;
        let head = &ack["head"];
        assert_eq!(
            (&head["ok"], &head["status"]),
            (&json!(false), &json!(status)),
            "{members}"
        );
        assert!(head["errors"][0].is_string(), "{ack}");
        assert_eq!(ack["body"], json!({}));
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_is_met_with_silence_and_nothing_comes_without_a_head_but_messages() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 1).await;
    stage.publish_numbers(&id, 0..3).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.send(r#"{"type":"heartbeat"}"#).await;
    socket.send(r#"{"type" : "heartbeat"}"#).await;
    // The acknowledgement, the notice that two are gone, and the one that is there.
    let subscribe = r#"{"msgId":1,"type":"subscribe","object":"drop","path":"/acme/door","since":0}"#;
    socket.send(subscribe).await;
    let came = [socket.json().await, socket.json().await, socket.json().await];
    assert_eq!(came[0]["head"]["msgId"], json!(1), "{came:?}");
    for frame in &came {
        assert!(frame["type"] == "message" || frame["head"].is_object(), "{frame}");
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_names_its_stream_by_resource_flow_id_and_path() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut older = stage.socket(&stage.alice).await;
    let mut newer = stage.socket(&stage.alice).await;
    // The browser client subscribes once more when its last listener goes.
    for _ in 0..2 {
        older
            .send(r#"{"msgId":1,"type":"subscribe","object":"drop","path":"/acme/door"}"#)
            .await;
        assert_eq!(older.json().await["head"]["ok"], json!(true));
    }
    newer.subscribe("/acme/door").await;
    stage.publish_numbers(&id, 7..8).await;
    let (drop_frame, event_frame) = (older.json().await, newer.json().await);
    for frame in [&drop_frame, &event_frame] {
        assert_eq!((&frame["type"], &frame["resource"]), (&json!("message"), &json!(id)));
        let value = &frame["value"];
        assert_eq!((&value["streamId"], &value["path"]), (&json!(id), &json!("/acme/door")));
    }
    assert_eq!(drop_frame["value"]["flowId"], json!(id));
    assert_eq!(event_frame["value"].get("flowId"), None);
    older.assert_quiet().await;
    drop((older, newer));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_over_the_socket_fits_the_java_clients_messages() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 100).await;
    let elems = json!({"x": "x".repeat(60_000)}).to_string();
    for _ in 0..20 {
        stage.publish(&stage.alice, "/acme/door", &elems).await;
    }
    let mut socket = stage.socket(&stage.alice).await;
    for (limit, is_found) in [(10, true), (20, false)] {
        let options = format!(r#"{{"limit":"{limit}"}}"#);
        let find = format!(r#"{{"msgId":1,"object":"drop","type":"findmany","flowId":"{id}","options":{options}}}"#);
        let ack = socket.ask(&find).await;
        assert!(ack.len() < 1_048_576, "{}", ack.len());
        let ack: Value = serde_json::from_str(&ack).expect("JSON");
        let code = &ack["head"]["code"];
        assert_eq!(
            (&ack["head"]["ok"], code == "limit.find"),
            (&json!(is_found), !is_found),
            "{code}"
        );
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_fhash_is_a_hash_where_events_are_drops_and_nothing_elsewhere() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let event = format!("/v5.0/acme/event/{id}");
    let older = format!("/v0.1/acme/drop/{id}");
    for (address, body, status) in [
        (&event, r#"{"elems":{},"fhash":"a"}"#, 201),
        (&event, r#"{"elems":{},"fhash":"a"}"#, 201),
        (&event, r#"{"elems":{},"hash":"b","fhash":"b"}"#, 201),
        (&older, r#"{"elems":{},"fhash":"b"}"#, 409),
        (&older, r#"{"elems":{},"hash":"c","fhash":"d"}"#, 400),
        // As it is sent to those who call it a drop.
        (&older, r#"{"elems":{},"hash":"c","fhash":"c"}"#, 201),
        (&older, r#"{"elems":{},"hash":"c","fhash":"c"}"#, 409),
    ] {
        let answer = stage.request("POST", address, Some(&stage.alice), body).await;
        assert_eq!(answer.status, status, "{address} {body}: {answer:?}");
    }
    let mut socket = stage.socket(&stage.alice).await;
    for (object, is_taken) in [("event", true), ("drop", false)] {
        let value = r#"{"elems":{},"fhash":"c"}"#;
        let create = format!(r#"{{"msgId":1,"type":"create","object":"{object}","streamId":"{id}","value":{value}}}"#);
        socket.send(&create).await;
        let ack = socket.json().await;
        assert_eq!(ack["head"]["ok"], json!(is_taken), "{object}: {ack}");
    }
    drop(socket);
    stage.end().await;
}

/// What may wait for a connection, if nothing else is set.
const OUTBOX: u64 = 1_048_576;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_read_what_was_found_waits_for_the_next() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 100).await;
    let elems = json!({"x": "x".repeat(60_000)}).to_string();
    for _ in 0..15 {
        stage.publish(&stage.alice, "/acme/door", &elems).await;
    }
    let waiting = async || {
        let body = stage.get("/v5.0/acme/connection").await;
        body["connections"][0]["waiting"].as_u64().expect("a number")
    };
    let mut socket = RawSocket::open_narrow(&stage, &stage.alice).await;
    for number in 0..100 {
        let find = format!(r#"{{"msgId":{number},"object":"drop","type":"findmany","flowId":"{id}"}}"#);
        socket.send(&frame(TEXT, find.as_bytes())).await;
    }
    let is_full = || async { waiting().await > OUTBOX };
    stage.until("more waits than an outbox holds", is_full).await;
    for number in 0..100 {
        let came = socket.text().await;
        assert!(came.len() > 900_000, "{came}");
        let head = format!(r#"{{"head":{{"msgId":{number},"ok":true,"#);
        assert!(came.starts_with(&head), "{}", &came[..100]);
        let waits = waiting().await;
        assert!(waits < 2 * OUTBOX, "{waits} bytes wait before answer {number} of 100");
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrowed_session_does_to_streams_what_it_was_narrowed_to() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    stage.add_stream(&stage.alice, "/acme/bell", 10).await;
    let opened = stage
        .open_session(&stage.alice, r#"{"paths":{"/acme/door":{"read":true}}}"#)
        .await;
    let session = opened.json()["body"]["id"].as_str().expect("an id").to_owned();
    let mut socket = stage.connect(&session).await;
    for (frame, status) in [
        (r#""type":"create","object":"flow","value":{"path":"/acme/bell"}"#, 403),
        (r#""type":"delete","object":"flow","path":"/acme/door""#, 403),
        (r#""type":"delete","object":"flow","path":"/acme/bell""#, 403),
        (r#""type":"delete","object":"flow","path":"/acme/nowhere""#, 403),
        (r#""type":"delete","object":"flow","path":"/umbrella/door""#, 404),
        (&*format!(r#""type":"delete","object":"flow","id":"{id}""#), 404),
        (
            r#""type":"update","object":"flow","path":"/acme/door","value":{"capacity":1}"#,
            403,
        ),
        (
            r#""type":"delete","object":"drop","path":"/acme/door","id":"e53b1d1600cf27b75148de0ac""#,
            403,
        ),
        (
            r#""type":"find","object":"drop","path":"/acme/bell","id":"e53b1d1600cf27b75148de0ac""#,
            403,
        ),
        (
            r#""type":"find","object":"drop","path":"/acme/door","id":"e53b1d1600cf27b75148de0ac""#,
            404,
        ),
        (
            r#""type":"create","object":"drop","value":{"path":"/acme/door","elems":{}}"#,
            403,
        ),
    ] {
        socket.send(&format!(r#"{{"msgId":1,{frame}}}"#)).await;
        let ack = socket.json().await;
        assert_eq!(ack["head"]["status"], json!(status), "{frame}: {ack}");
    }
    socket.send(r#"{"msgId":1,"type":"findmany","object":"flow"}"#).await;
    assert_eq!(socket.json().await["body"].as_array().map(Vec::len), Some(1));
    drop(socket);
    stage.end().await;
}
