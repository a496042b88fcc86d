//! Publishing over HTTP, seen from both ends: what the publisher is answered and what arrives.
//!
//! Single requests and their refusals are in `transcripts/rest`; here are bodies that do not fit a
//! line, batches that must leave no trace, and who is named as the creator.

use crate::stage::{Answer, Socket, Stage};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

const DOOR: &str = "/acme/door";
const WINDOW: &str = "/acme/window";
const EVENT: &str = "/v5.0/acme/event";

async fn stage_with_a_door() -> (Stage, Socket) {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 1_000).await;
    stage.add_stream(&stage.alice, WINDOW, 0).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe(DOOR).await;
    socket.subscribe(WINDOW).await;
    (stage, socket)
}

async fn post(stage: &Stage, body: &str) -> Answer {
    stage.request("POST", EVENT, Some(&stage.alice), body).await
}

/// Ends a story in which nothing was published.
async fn end_without_events(stage: Stage, mut socket: Socket) {
    socket.assert_quiet().await;
    assert_eq!(stage.metric("events_published_total").await, 0);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pretty_printed_event_arrives_on_one_line_and_as_it_was() {
    let (stage, mut socket) = stage_with_a_door().await;
    let body = "{\n\t\"path\": \"/acme/door\",\r\n  \"elems\": {\n    \"a\": 1.10,\n\t\t\"b\": [1E5,\r\n 12345678901234567890],\n \"text\": \"two\\nlines\\t\\u00e9 \u{e9}\"\n  }\n}\n";
    let answer = post(&stage, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let event = socket.text().await;
    for text in [&answer.text, &event] {
        assert!(!text.contains(['\n', '\r', '\t']), "{text}");
        let compact = text.replace(' ', "");
        let elems = "\"elems\":{\"a\":1.10,\"b\":[1E5,12345678901234567890],\"text\":\"two\\nlines\\t\\u00e9\u{e9}\"}";
        assert!(compact.contains(elems), "{text}");
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_json_whatever_its_content_type_says() {
    let (stage, mut socket) = stage_with_a_door().await;
    for kind in [
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain; charset=latin1",
    ] {
        let headers = [
            ("X-Auth-User", "alice"),
            ("X-Auth-Token", &*stage.alice.token),
            ("Content-Type", kind),
        ];
        let body = "{\"path\":\"/acme/door\",\"elems\":{\"text\":\"\u{e9}\"}}";
        let answer = stage.request_with("POST", EVENT, &headers, body).await;
        assert_eq!(answer.status, 201, "{kind}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(socket.json().await["value"]["elems"]["text"], "\u{e9}");
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_and_delivered_in_its_order() {
    let (stage, mut socket) = stage_with_a_door().await;
    let events: Vec<String> = (0..30)
        .map(|n| {
            let path = if n % 3 == 0 { WINDOW } else { DOOR };
            format!(r#"{{"path":"{path}","elems":{{"n":{n}}}}}"#)
        })
        .collect();
    let answer = post(&stage, &format!("[{}]", events.join(","))).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let answered = answer.json()["body"].as_array().expect("an array").clone();
    assert_eq!(answered.len(), 30);
    // Each stream has its own order; between two streams nothing is promised.
    let mut arrived = HashMap::<String, Vec<Value>>::new();
    for _ in 0..30 {
        let event = socket.json().await;
        let path = event["value"]["path"].as_str().expect("a path").to_owned();
        arrived.entry(path).or_default().push(event);
    }
    for (n, answered) in answered.iter().enumerate() {
        assert_eq!(answered["elems"]["n"], n);
        let path = if n % 3 == 0 { WINDOW } else { DOOR };
        assert_eq!(answered["path"], path);
        let event = arrived.get_mut(path).expect("events of the stream").remove(0);
        assert_eq!(event["value"]["elems"]["n"], n);
        assert_eq!(event["value"]["id"], answered["id"]);
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_batch_with_one_bad_event_nothing_is_published() {
    let (stage, socket) = stage_with_a_door().await;
    let good = r#"{"path":"/acme/door","elems":{}}"#;
    let deep = format!(
        r#"{{"path":"/acme/door","elems":{{"a":{}{}}}}}"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    for (bad, status, code) in [
        (r#"{"path":"/acme/nowhere","elems":{}}"#, 404, "stream.unknown"),
        (r#"{"path":"/umbrella/door","elems":{}}"#, 404, "stream.unknown"),
        (r#"{"path":"/acme/door","elems":[]}"#, 400, "event.malformed"),
        (r#"{"path":"/acme/door"}"#, 400, "event.malformed"),
        (r#"{"elems":{}}"#, 400, "event.malformed"),
        (r#"{"path":"door","elems":{}}"#, 400, "path.malformed"),
        (r#"{"path":7,"elems":{}}"#, 400, "body.malformed"),
        (r#"{"path":"/acme/door","elems":{},"hash":7}"#, 400, "body.malformed"),
        (&deep, 400, "limit.depth"),
        ("7", 400, "body.malformed"),
        ("null", 400, "body.malformed"),
    ] {
        for body in [
            format!("[{good},{bad}]"),
            format!("[{bad},{good}]"),
            format!("[{good},{bad},{good}]"),
        ] {
            let answer = post(&stage, &body).await;
            assert_eq!((answer.status, &*answer.code()), (status, code), "{body}: {answer:?}");
        }
    }
    end_without_events(stage, socket).await;
}

/// A parser that takes an array for a struct would read it as `elems`, `hash` and `path`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_array_is_no_event() {
    let (stage, socket) = stage_with_a_door().await;
    for body in [r#"[[{"open":true},null,"/acme/door"]]"#, "[[{},null,null]]", "[[]]"] {
        let answer = post(&stage, body).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (400, "body.malformed"),
            "{body}: {answer:?}"
        );
    }
    end_without_events(stage, socket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_text_is_refused() {
    let (stage, socket) = stage_with_a_door().await;
    let request = stage
        .http
        .post(format!("http://{}{EVENT}", stage.address))
        .header("X-Auth-User", "alice")
        .header("X-Auth-Token", &stage.alice.token)
        .body(b"{\"path\":\"/acme/door\",\"elems\":{\"a\":\"\xff\"}}".to_vec());
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 400);
    let text = response.text().await.expect("a body");
    assert!(text.contains(r#""errors":["the body is not UTF-8"]"#), "{text}");
    end_without_events(stage, socket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_names_its_creator_and_its_time() {
    let (stage, mut socket) = stage_with_a_door().await;
    let bob = stage.add_user("acme", "bob").await;
    let writer = stage.add_token(&[(DOOR, "write")], None).await;
    let now_ms = || {
        let since = std::time::UNIX_EPOCH.elapsed().expect("a time after 1970");
        u64::try_from(since.as_millis()).expect("a time before the end")
    };
    let mut creators = Vec::new();
    for account in [&stage.alice, &stage.alice, &bob, &writer] {
        let before = now_ms();
        let answer = stage.publish(account, DOOR, "{}").await.json();
        let (event, after) = (socket.json().await, now_ms());
        let created = event["value"]["creationDate"].as_u64().expect("a time");
        assert!((before..=after).contains(&created), "{before} {created} {after}");
        assert_eq!(event["value"]["generatedDate"], created);
        assert_eq!(answer["body"]["creationDate"], created);
        assert_eq!(answer["body"]["id"], event["value"]["id"]);
        creators.push(event["value"]["creatorId"].as_str().expect("an identity").to_owned());
    }
    assert_eq!(creators[0], creators[1]);
    assert_ne!(creators[0], creators[2]);
    // A restricted token is nobody's: the system itself.
    assert_eq!(creators[3], "i000000000000000000000001");
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_events_have_the_same_id() {
    let (stage, socket) = stage_with_a_door().await;
    let batch = vec![r#"{"path":"/acme/door","elems":{}}"#; 100].join(",");
    let mut ids = HashSet::new();
    for _ in 0..3 {
        let answer = post(&stage, &format!("[{batch}]")).await.json();
        for event in answer["body"].as_array().expect("an array") {
            let id = event["id"].as_str().expect("an id").to_owned();
            assert!(id.len() == 25 && id.starts_with('e'), "{id}");
            assert!(ids.insert(id), "twice: {event}");
        }
    }
    assert_eq!(ids.len(), 300);
    drop(socket);
    stage.end().await;
}
