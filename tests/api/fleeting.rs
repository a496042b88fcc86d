//! Streams that nobody declared: a company's notices, which always exist.

use crate::stage::Stage;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notices_exist_without_being_declared_and_keep_nothing() {
    let stage = Stage::start().await;
    let answer = stage
        .publish(&stage.alice, "/acme/notices", r#"{"eventType":20}"#)
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let mut reader = stage.socket(&stage.alice).await;
    let ack: Value = reader
        .ask(r#"{"msgId":1,"type":"subscribe","path":"/acme/notices","last":5}"#)
        .await
        .parse()
        .expect("JSON");
    assert_eq!(ack["body"]["streams"][0]["offset"], 1, "{ack}");
    stage
        .publish(&stage.alice, "/acme/notices", r#"{"eventType":21}"#)
        .await;
    assert_eq!(reader.json().await["value"]["elems"]["eventType"], 21);
    assert_eq!(stage.metric("streams").await, 0, "nobody declared it");
    drop(reader);
    stage.end().await;
}

/// Publishes to the notices of acme.
async fn publish(stage: &Stage, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let elems = format!(r#"{{"n":{n}}}"#);
        stage.publish(&stage.alice, "/acme/notices", &elems).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_while_it_is_followed_goes_on_as_the_same_stream() {
    let stage = Stage::start().await;
    let mut reader = stage.socket(&stage.alice).await;
    reader.subscribe("/acme/notices").await;
    publish(&stage, 1..2).await;
    let first = reader.json().await;
    let declared = stage.add_stream(&stage.alice, "/acme/notices", 10).await;
    publish(&stage, 2..50).await;
    for n in 2..50 {
        let event = reader.json().await;
        assert_eq!(event["value"]["elems"]["n"], n, "{event}");
        assert_eq!(event["offset"], n, "its numbering goes on");
    }
    assert_eq!(first["resource"], declared.as_str());
    // What it was told at first still names it.
    let ack = reader
        .ask(&format!(r#"{{"type":"unsubscribe","streamId":"{declared}"}}"#))
        .await;
    assert!(ack.contains(r#""ok":true"#), "{ack}");
    assert_eq!(stage.metric("subscriptions").await, 0);
    assert_eq!(
        stage
            .find_numbers(&format!("/v5.0/acme/event/{declared}?limit=3"))
            .await,
        [49, 48, 47]
    );
    drop(reader);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_what_nobody_declared_goes_over_to_what_another_process_does() {
    let stage = Stage::start().await;
    let mut reader = stage.socket(&stage.alice).await;
    reader.subscribe("/acme/notices").await;
    publish(&stage, 1..2).await;
    let before = reader.json().await;
    let declared = stage.add_stream_on_file("/acme/notices").await;
    // Changes are followed in order: whoever knows a later one knows this.
    stage.add_token(&[("/acme/later", "read")], None).await;
    publish(&stage, 2..50).await;
    for n in 2..50 {
        let event = reader.json().await;
        assert_eq!(event["value"]["elems"]["n"], n, "{event}");
        assert_eq!(event["resource"], declared.as_str());
    }
    assert_ne!(before["resource"], declared.as_str());
    assert_eq!(stage.metric("subscriptions").await, 1);
    drop(reader);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_elses_notices_are_there_to_be_found() {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    for path in ["/umbrella/notices", "/nobody/notices"] {
        let body = format!(r#"{{"path":"{path}","elems":{{}}}}"#);
        let answer = stage
            .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "stream.unknown"),
            "{path}"
        );
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_channel_is_deleted_is_told_as_if_they_had_been_refused_and_may_come_again() {
    let stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let key = stage.alice.token.clone();
    let mut client = stage.channels(&key).await;
    client.join("door").await;
    client.join("other").await;
    let path = format!("/v5.0/acme/stream/{door}");
    let answer = stage.request("DELETE", &path, Some(&stage.alice), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let frame = client.json().await;
    assert_eq!(
        (&frame["event"], &frame["data"]["where"]),
        (&"error".into(), &"door".into())
    );
    let detail = frame["data"]["detail"].as_str().expect("a sentence");
    assert!(detail.contains("cannot subscribe"), "{detail}");
    client.join("door").await;
    stage.send_message(&key, "door", "back").await;
    assert_eq!(client.message().await, ("door".to_owned(), "back".to_owned()));
    stage.send_message(&key, "other", "still").await;
    assert_eq!(client.message().await, ("other".to_owned(), "still".to_owned()));
    drop(client);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_notices_parts_when_their_stream_is_deleted_rather_than_be_deaf() {
    let stage = Stage::start().await;
    let notices = stage.add_stream(&stage.alice, "/acme/notices", 10).await;
    let url = format!("ws://{}/users/acme/ws", stage.address);
    let key = [("users-api-key", &*stage.alice.token)];
    let mut before = stage.try_open(&url, &key).await.expect("let in");
    let echo = r#"{"eventType":10,"message":"there?"}"#;
    assert_eq!(before.ask(echo).await, echo);
    let path = format!("/v5.0/acme/stream/{notices}");
    stage.request("DELETE", &path, Some(&stage.alice), "").await;
    let (_, reason) = before.closed().await;
    assert!(reason.contains("the stream was deleted"), "{reason}");
    let mut after = stage.try_open(&url, &key).await.expect("let in");
    assert_eq!(after.ask(echo).await, echo);
    publish(&stage, 1..2).await;
    assert_eq!(after.json().await["n"], 1);
    drop((before, after));
    stage.end().await;
}
