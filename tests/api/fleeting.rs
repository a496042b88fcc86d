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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_what_nobody_declared_goes_over_to_what_somebody_does() {
    let stage = Stage::start().await;
    let mut reader = stage.socket(&stage.alice).await;
    reader.subscribe("/acme/notices").await;
    stage.publish(&stage.alice, "/acme/notices", r#"{"n":1}"#).await;
    assert_eq!(reader.json().await["value"]["elems"]["n"], 1);
    let declared = stage.add_stream(&stage.alice, "/acme/notices", 10).await;
    for n in 2..50 {
        let elems = format!(r#"{{"n":{n}}}"#);
        stage.publish(&stage.alice, "/acme/notices", &elems).await;
    }
    for n in 2..50 {
        let event = reader.json().await;
        assert_eq!(event["value"]["elems"]["n"], n, "{event}");
        assert_eq!(event["resource"], declared.as_str());
    }
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
