//! Who may not use a session's HTTP transports, and what may not be asked of them.

use crate::outflow::Outflow;
use crate::stage::{Answer, Stage};
use crate::transports::{publish, stage};

const WAYS: [(&str, &str); 5] = [
    ("GET", "streaming"),
    ("GET", "polling"),
    ("GET", "events"),
    ("GET", "events?path=/acme/door"),
    ("POST", "requests"),
];

/// What every way answers, with these headers.
async fn answers(stage: &Stage, session: &str, headers: &[(&str, &str)]) -> Vec<(&'static str, Answer)> {
    let mut answers = Vec::new();
    for (method, way) in WAYS {
        let body = if method == "POST" {
            r#"{"type":"heartbeat"}"#
        } else {
            ""
        };
        let path = format!("/session/{session}/{way}");
        answers.push((way, stage.request_with(method, &path, headers, body).await));
    }
    answers
}

async fn assert_refused(stage: &Stage, session: &str, headers: &[(&str, &str)], status: u16, code: &str) {
    for (way, answer) in answers(stage, session, headers).await {
        assert_eq!((answer.status, &*answer.code()), (status, code), "{way}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_session_is_refused_before_anything_is_set_up() {
    let stage = stage(&[]).await;
    assert_refused(&stage, "nonsense", &[], 401, "session.unknown").await;
    let session = stage.session(&stage.alice).await;
    let evil = [("Origin", "https://evil.example.com")];
    assert_refused(&stage, &session, &evil, 403, "origin.denied").await;
    let other = if session.ends_with('A') { "E" } else { "A" };
    let changed = format!("{}{other}", &session[..43]);
    assert_refused(&stage, &changed, &[], 401, "session.unknown").await;
    let short = stage.open_session(&stage.alice, r#"{"ttl":1}"#).await;
    let short = short.json()["body"]["id"].as_str().expect("an id").to_owned();
    stage.until_metric("sessions", 0).await;
    assert_refused(&stage, &short, &[], 401, "session.lapsed").await;
    assert_eq!(stage.metric("connections_opened_total").await, 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_read_where_they_may() {
    let stage = stage(&["--allowed-origins", "https://app.example.com", "--poll-time", "10ms"]).await;
    let session = stage.session(&stage.alice).await;
    let page = [("Origin", "https://app.example.com")];
    let path = format!("/session/{session}/polling");
    let answer = stage.request_with("GET", &path, &page, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example.com");
    let way = "events?path=/acme/door";
    let events = Outflow::open_with(&stage, &session, way, &page).await;
    assert_eq!(events.header("access-control-allow-origin"), "https://app.example.com");
    drop(events);
    // What a polyfill's page asks before it sends the header by itself.
    let preflight = [
        page[0],
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "last-event-id"),
    ];
    let path = format!("/session/{session}/events");
    let answer = stage.request_with("OPTIONS", &path, &preflight, "").await;
    let allowed = answer.headers["access-control-allow-headers"].to_str().expect("text");
    assert!(allowed.eq_ignore_ascii_case("last-event-id"), "{answer:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_and_leaves_nothing() {
    let stage = stage(&[]).await;
    let session = stage.session(&stage.alice).await;
    let paths = "path=/acme/door&".repeat(17);
    for (query, status, code) in [
        ("path=/acme/nowhere", 404, "stream.unknown"),
        ("path=/acme/door&path=/acme/nowhere", 404, "stream.unknown"),
        ("path=/umbrella/door", 404, "stream.unknown"),
        ("path=nowhere", 400, "path.malformed"),
        ("path=/acme/door&since=x", 400, "query.malformed"),
        ("path=/acme/door&filter=((", 400, "filter.malformed"),
        ("path=/acme/door&whenSlow=never", 400, "query.malformed"),
        ("since=1", 400, "query.malformed"),
        ("lastEventId=41", 400, "query.malformed"),
        (&paths, 400, "query.malformed"),
    ] {
        let path = format!("/session/{session}/events?{query}");
        let answer = stage.request("GET", &path, None, "").await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{query}: {answer:?}");
    }
    let path = format!("/session/{session}/events?path=/acme/door");
    let answer = stage
        .request_with("GET", &path, &[("Last-Event-ID", "x.y.z")], "")
        .await;
    assert_eq!((answer.status, &*answer.code()), (400, "query.malformed"));
    stage.until_metric("connections", 0).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrowed_session_reads_no_more_than_it_may() {
    let stage = stage(&[]).await;
    let body = r#"{"paths":{"/acme/door":{"read":true}}}"#;
    let answer = stage.open_session(&stage.alice, body).await;
    let session = answer.json()["body"]["id"].as_str().expect("an id").to_owned();
    let path = format!("/session/{session}/events?path=/acme/window");
    let answer = stage.request("GET", &path, None, "").await;
    assert_eq!((answer.status, &*answer.code()), (403, "scope.denied"));
    let request = r#"{"msgId":1,"type":"subscribe","path":"/acme/window"}"#;
    let answer = stage.ask(&session, request).await;
    assert_eq!((answer.status, &*answer.code()), (403, "scope.denied"));
    // Nor by a place that somebody made up.
    let window = stage.get("/v5.0/acme/stream?path=/acme/window").await;
    let id = window[0]["id"].as_str().expect("an id");
    let seen = format!("{id}.00000000.0");
    publish(&stage, "/acme/window", 1).await;
    let mut events = Outflow::open_with(&stage, &session, "events", &[("Last-Event-ID", &*seen)]).await;
    stage.follow(&session, "/acme/door").await;
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(events.event().await.json()["value"]["path"], "/acme/door");
    drop(events);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_as_on_a_socket() {
    let stage = stage(&["--max-frame-bytes", "1000"]).await;
    let session = stage.session(&stage.alice).await;
    let answer = stage.ask(&session, r#"{"type":"heartbeat"}"#).await;
    assert_eq!((answer.status, &*answer.text), (204, ""));
    let answer = stage
        .ask(
            &session,
            r#"{"msgId":1,"type":"create","path":"/acme/door","value":{"elems":{"n":1}}}"#,
        )
        .await;
    assert_eq!(
        (answer.status, &answer.json()["body"]["offset"]),
        (200, &1.into()),
        "{answer:?}"
    );
    let answer = stage
        .ask(
            &session,
            r#"{"msgId":2,"type":"subscribe","path":"/acme/door","last":1}"#,
        )
        .await;
    assert_eq!(answer.json()["body"]["streams"][0]["state"], "behind", "{answer:?}");
    assert_eq!(stage.poll(&session).await[0]["offset"], 1);
    let answer = stage.ask(&session, r#"{"msgId":3,"type":"dance"}"#).await;
    assert_eq!((answer.status, &answer.json()["head"]["msgId"]), (400, &3.into()));
    let answer = stage.ask(&session, "hello").await;
    let head = answer.json()["head"].take();
    assert_eq!(
        (answer.status, &head["code"], head["msgId"].is_null()),
        (400, &"frame.malformed".into(), true)
    );
    let long = format!(r#"{{"msgId":4,"type":"{}"}}"#, "x".repeat(1_000));
    let answer = stage.ask(&session, &long).await;
    assert_eq!((answer.status, &*answer.code()), (413, "frame.size"));
    stage.end().await;
}
