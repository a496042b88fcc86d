//! Who is connected: shown to the company's users with live numbers, and closed if they want it.

use crate::stage::{Answer, Stage};
use serde_json::{Value, json};

const ADDRESS: &str = "/v5.0/acme/connection";

/// The connections of acme, as alice sees them.
async fn listed(stage: &Stage, query: &str) -> Vec<Value> {
    let body = stage.get(&format!("{ADDRESS}{query}")).await;
    body["connections"].as_array().expect("an array").clone()
}

async fn close(stage: &Stage, id: &Value) -> Answer {
    let address = format!("{ADDRESS}/{}", id.as_str().expect("an id"));
    stage.request("DELETE", &address, Some(&stage.alice), "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_listed_with_its_numbers_as_long_as_it_lives() {
    let stage = Stage::start().await;
    let reader = stage.add_token(&[("/acme/**", "read")], None).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    assert_eq!(stage.get(ADDRESS).await, json!({"connections": [], "total": 0}));
    let first = stage.socket(&stage.alice).await;
    stage.until_metric("connections", 1).await;
    let session = stage.session(&reader).await;
    let mut second = stage.connect(&session).await;
    second.subscribe("/acme/door").await;
    // The answer to the upgrade waits like anything else, and what was written is noted after it was.
    let has_written = |shown: &Value| shown["waiting"] == 0;
    stage
        .until("nothing waits any more", || async {
            let shown = listed(&stage, "").await;
            shown.len() == 2 && shown.iter().all(has_written)
        })
        .await;
    let shown = listed(&stage, "").await;
    let (newest, oldest) = (&shown[0], &shown[1]);
    assert_eq!(newest["session"], session.split('.').next().expect("a half"));
    assert_eq!(newest["token"], reader.key.to_string());
    assert_eq!((&newest["user"], &oldest["user"]), (&Value::Null, &json!("alice")));
    assert_eq!(
        (&newest["protocol"], &newest["label"]),
        (&json!("ws"), &json!("made by a test"))
    );
    assert!(
        newest["address"]
            .as_str()
            .expect("an address")
            .starts_with("127.0.0.1:")
    );
    assert!(newest["since"].as_u64() >= oldest["since"].as_u64());
    assert_eq!((&newest["subscriptions"], &newest["sent"]), (&json!(1), &json!(0)));
    assert_eq!(&oldest["subscriptions"], &json!(0));
    for _ in 0..3 {
        stage.publish(&stage.alice, "/acme/door", "{}").await;
        assert_eq!(second.json().await["type"], "message");
    }
    stage
        .until("what was sent is shown", || async {
            listed(&stage, "").await[0]["sent"] == 3
        })
        .await;
    let page = stage.get(&format!("{ADDRESS}?start=1&limit=1")).await;
    assert_eq!(
        (&page["connections"][0]["id"], &page["total"]),
        (&oldest["id"], &json!(2))
    );
    drop((first, second));
    stage.until_metric("connections", 0).await;
    assert_eq!(stage.get(ADDRESS).await, json!({"connections": [], "total": 0}));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_stream_is_no_subscription_any_more() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe("/acme/door").await;
    assert_eq!(listed(&stage, "").await[0]["subscriptions"], 1);
    let deleted = stage
        .request("DELETE", &format!("/v5.0/acme/stream/{id}"), Some(&stage.alice), "")
        .await;
    assert_eq!(deleted.status, 200);
    stage
        .until("it is not counted", || async {
            listed(&stage, "").await[0]["subscriptions"] == 0
        })
        .await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_closed_is_told_so_and_the_others_stay() {
    let stage = Stage::start().await;
    let session = stage.session(&stage.alice).await;
    let mut closed = stage.connect(&session).await;
    stage.until_metric("connections", 1).await;
    let mut stays = stage.connect(&session).await;
    stage.until_metric("connections", 2).await;
    let shown = listed(&stage, "").await;
    assert_eq!(close(&stage, &shown[1]["id"]).await.status, 200);
    assert_eq!(
        closed.closed().await,
        (4004, "connection.closed: closed by an operator".to_owned())
    );
    let id = shown[1]["id"].as_str().expect("an id").to_owned();
    let entry = ["connection.closed".to_owned(), id, "alice".to_owned()];
    stage
        .until("it is in the audit", || async { stage.audited(1).await[0] == entry })
        .await;
    drop(closed);
    stage.until_metric("connections", 1).await;
    stays.assert_quiet().await;
    assert_eq!(listed(&stage, "").await[0]["id"], shown[0]["id"]);
    let again = close(&stage, &shown[1]["id"]).await;
    assert_eq!((again.status, again.code().as_str()), (404, "connection.unknown"));
    let none = close(&stage, &json!("nobody")).await;
    assert_eq!((none.status, none.code().as_str()), (404, "connection.unknown"));
    // Its session is as good as before.
    let back = stage.connect(&session).await;
    drop((stays, back));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_for_users_of_their_company_only() {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let token = stage.add_token(&[("/acme/**", "manage")], None).await;
    let socket = stage.socket(&stage.alice).await;
    stage.until_metric("connections", 1).await;
    let id = listed(&stage, "").await[0]["id"].as_str().expect("an id").to_owned();
    for (method, address) in [("GET", ADDRESS.to_owned()), ("DELETE", format!("{ADDRESS}/{id}"))] {
        let denied = stage.request(method, &address, Some(&token), "").await;
        assert_eq!((denied.status, denied.code().as_str()), (403, "scope.denied"));
        let refused = stage.request(method, &address, Some(&albert), "").await;
        assert_eq!((refused.status, refused.code().as_str()), (401, "auth.refused"));
    }
    let theirs = stage
        .request("GET", "/v5.0/umbrella/connection", Some(&albert), "")
        .await;
    assert_eq!(theirs.json()["body"], json!({"connections": [], "total": 0}));
    let address = format!("/v5.0/umbrella/connection/{id}");
    let unknown = stage.request("DELETE", &address, Some(&albert), "").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "connection.unknown"));
    assert_eq!(listed(&stage, "").await.len(), 1);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_reader_that_does_not_read_is_shown() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe("/acme/door").await;
    let long = format!(r#"{{"elems":{{"x":"{}"}}}}"#, "x".repeat(500_000));
    let address = format!("/v5.0/acme/event/{id}");
    let waits = || async {
        let answer = stage.request("POST", &address, Some(&stage.alice), &long).await;
        assert_eq!(answer.status, 201);
        listed(&stage, "").await[0]["waiting"].as_u64() > Some(100_000)
    };
    stage.until("the socket takes no more", waits).await;
    drop(socket);
    stage.end().await;
}
