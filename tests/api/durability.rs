//! How safe an event is when its publisher is answered, and what the answer says of it.

use crate::stage::Stage;
use streamgate::domain::durability::Durability;
use streamgate::domain::error::Code;

const STREAM: &str = "/v5.0/acme/stream";

async fn add(stage: &Stage, path: &str, rest: &str) -> String {
    let body = format!(r#"{{"path":"{path}"{rest}}}"#);
    let answer = stage.request("POST", STREAM, Some(&stage.alice), &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["body"]["id"].as_str().expect("an id").to_owned();
    format!("/v5.0/acme/event/{id}")
}

fn level(word: &str) -> Durability {
    Durability::parse(word, Code::QueryMalformed).expect("a level")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_names_what_was_reached_and_that_is_never_less_than_asked() {
    let stage = Stage::start().await;
    for asked in ["accepted", "written", "durable"] {
        let door = add(&stage, &format!("/acme/{asked}"), "").await;
        for n in 1..=5 {
            let answer = stage
                .post_with(&format!("{door}?ack={asked}"), &[], r#"{"elems":{}}"#)
                .await;
            let event = answer.json()["body"].clone();
            assert_eq!(event["offset"], n, "{answer:?}");
            let reached = level(event["ack"].as_str().expect("a level"));
            assert!(reached >= level(asked), "{answer:?}");
        }
        // A stream that is new shows at once what is to be accepted only.
        let new = add(&stage, &format!("/acme/new/{asked}"), "").await;
        let answer = stage
            .post_with(&format!("{new}?ack={asked}"), &[], r#"[{"elems":{}},{"elems":{}}]"#)
            .await;
        for event in answer.json()["body"].as_array().expect("an array") {
            match asked {
                "written" => assert!(level(event["ack"].as_str().expect("a level")) >= level("written")),
                asked => assert_eq!(event["ack"], asked),
            }
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_its_own_way_unless_the_request_says_otherwise() {
    let mut stage = Stage::start().await;
    let door = add(&stage, "/acme/door", r#","ack":"accepted""#).await;
    let key = [("Idempotency-Key", "k")];
    let matches = [("If-Offset-Match", "0")];
    let by_rule = stage.post_with(&door, &matches, r#"{"elems":{}}"#).await;
    assert_eq!(by_rule.json()["body"]["ack"], "accepted", "{by_rule:?}");
    let by_request = stage
        .post_with(&format!("{door}?ack=durable"), &[], r#"{"elems":{}}"#)
        .await;
    assert_eq!(by_request.json()["body"]["ack"], "durable", "{by_request:?}");
    // A key is remembered on the disk, and so is what it stands for.
    let by_key = stage
        .post_with(&format!("{door}?ack=accepted"), &key, r#"{"elems":{}}"#)
        .await;
    assert_eq!(by_key.json()["body"]["ack"], "durable", "{by_key:?}");
    stage.restart().await;
    assert_eq!(stage.get(&door).await.as_array().map(Vec::len), Some(3));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_nothing_accepts_only() {
    let stage = Stage::start().await;
    let relay = add(&stage, "/acme/relay", r#","capacity":0"#).await;
    let answer = stage
        .post_with(&format!("{relay}?ack=durable"), &[], r#"{"elems":{}}"#)
        .await;
    assert_eq!(answer.json()["body"]["ack"], "accepted", "{answer:?}");
    assert_eq!(stage.metric("log_commits_total").await, 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_nothing_is_told_nothing_new() {
    let stage = Stage::start().await;
    let door = add(&stage, "/acme/door", "").await;
    let plain = stage.post_with(&door, &[], r#"{"elems":{}}"#).await.json()["body"].clone();
    assert!(plain["offset"].is_null() && plain["ack"].is_null(), "{plain}");
    for bad in ["", "safe", "Durable", "durable,written"] {
        let answer = stage
            .post_with(&format!("{door}?ack={bad}"), &[], r#"{"elems":{}}"#)
            .await;
        assert_eq!((answer.status, &*answer.code()), (400, "query.malformed"), "{bad}");
    }
    assert_eq!(stage.get(&door).await.as_array().map(Vec::len), Some(1));
    stage.end().await;
}
