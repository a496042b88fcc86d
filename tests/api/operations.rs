//! What operators rely on: health, metrics, routes that say what they take, and that a running
//! server sees what another process does to its database file.

use crate::raw::RawSocket;
use crate::stage::{Answer, BY, DEADLINE, Stage};
use std::collections::{HashMap, HashSet};
use std::time::Instant;

const DOOR: &str = "/acme/door";

/// One line of `/metrics` that is no comment.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

/// The exposition by its own grammar: every sample belongs to a family that has a type and a help
/// text before it, and `# EOF` is the last line.
fn samples(text: &str) -> Vec<Sample<'_>> {
    let body = text.strip_suffix("# EOF\n").expect("an end that is marked");
    let (mut types, mut helps) = (HashMap::new(), HashSet::new());
    let mut samples = Vec::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(types.insert(name, kind).is_none(), "twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(help.len() > 5 && helps.insert(name), "{line}");
        } else {
            let sample = sample(line);
            let kinds = [
                ("_total", "counter"),
                ("_bucket", "histogram"),
                ("_sum", "histogram"),
                ("_count", "histogram"),
            ];
            let ending = kinds
                .iter()
                .find_map(|(end, kind)| Some((sample.name.strip_suffix(end)?, *kind)));
            let (family, kind) = ending.unwrap_or((sample.name, "gauge"));
            assert_eq!(types.get(family), Some(&kind), "{line}");
            assert!(helps.contains(family), "{line}");
            samples.push(sample);
        }
    }
    samples
}

fn sample(line: &str) -> Sample<'_> {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("the labels' end")),
        None => (series, ""),
    };
    let legal = |b: u8| b.is_ascii_lowercase() || b == b'_';
    assert!(name.bytes().all(legal), "{line}");
    let value = value.parse().expect("a number");
    Sample { name, labels, value }
}

async fn scrape(stage: &Stage) -> Answer {
    let answer = stage.request("GET", "/metrics", None, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_is_alive_and_ready() {
    let stage = Stage::start().await;
    for address in ["/health/live", "/health/ready"] {
        let answer = stage.request("GET", address, None, "").await;
        assert_eq!((answer.status, &*answer.text), (200, r#"{"ok":true}"#), "{address}");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    stage.end().await;
}

/// A peer that does not answer the goodbye keeps the server stopping for as long as we look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_is_alive_but_not_ready() {
    let mut stage = Stage::start().await;
    let mut socket = stage.socket(&stage.alice).await;
    // One connection for all: new ones are not accepted any more.
    let mut kept = RawSocket::connect(stage.address).await;
    assert!(look(&mut kept, "/health/ready").await.0.starts_with("HTTP/1.1 200 "));
    let looking = async {
        let started = Instant::now();
        let (head, body) = loop {
            let answer = look(&mut kept, "/health/ready").await;
            if !answer.0.starts_with("HTTP/1.1 200 ") {
                break answer;
            }
            assert!(started.elapsed() < DEADLINE, "it never stopped");
        };
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(
            body.contains(r#""ok":false"#) && body.contains("server.stopping"),
            "{body}"
        );
        assert!(look(&mut kept, "/health/live").await.0.starts_with("HTTP/1.1 200 "));
        let (code, reason) = socket.closed().await;
        assert_eq!(
            (code, &*reason),
            (1001, "server.stopping: the server is stopping, connect again")
        );
        drop((socket, kept));
    };
    tokio::join!(stage.stop(), looking);
}

async fn look(kept: &mut RawSocket, path: &str) -> (String, String) {
    kept.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
        .await;
    kept.answer().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_openmetrics_and_hold_the_documented_names() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 10).await;
    let answer = scrape(&stage).await;
    let kind = answer.headers["content-type"].to_str().expect("text");
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let samples = samples(&answer.text);
    let names: HashSet<&str> = samples.iter().map(|sample| sample.name).collect();
    for name in [
        "connections",
        "connections_opened_total",
        "subscriptions",
        "sessions",
        "sessions_issued_total",
        "events_published_total",
        "events_delivered_total",
        "events_missed_total",
        "subscriptions_behind_total",
        "mailbox_overflows_total",
        "socket_bytes_total",
        "peers_dead_total",
        "delivery_seconds_count",
        "disk_free_bytes",
        "log_events",
        "log_bytes",
        "streams",
        "http_requests_total",
        "faults_total",
    ] {
        assert!(names.contains(&*format!("streamgate_{name}")), "{name} is missing");
    }
    let mut series = HashSet::new();
    for sample in &samples {
        assert!(series.insert((sample.name, sample.labels)), "{} twice", sample.name);
        assert!(sample.value >= 0.0, "{}", sample.name);
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_what_happens() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 2).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = stage.socket(&stage.alice).await;
        socket.subscribe(DOOR).await;
        sockets.push(socket);
    }
    for _ in 0..4 {
        stage.publish(&stage.alice, DOOR, "{}").await;
        for socket in &mut sockets {
            socket.text().await;
        }
    }
    sockets[0]
        .ask(r#"{"msgId":1,"object":"event","type":"subscribe","path":"/acme/no"}"#)
        .await;
    stage.until_metric("events_delivered_total", 12).await;
    for (name, value) in [
        ("connections", 3),
        ("connections_opened_total", 3),
        ("subscriptions", 3),
        ("sessions", 3),
        ("sessions_issued_total", 3),
        ("events_published_total", 4),
        ("events_missed_total", 0),
        ("log_events", 2),
        ("streams", 1),
        ("faults_total", 0),
        (r#"refusals_total{code="stream.unknown"}"#, 1),
        (r#"refusals_total{code="scope.denied"}"#, 0),
    ] {
        assert_eq!(stage.metric(name).await, value, "{name}");
    }
    assert!(stage.metric("socket_bytes_total").await > 12 * 200);
    assert!(stage.metric("log_bytes").await > 0);
    drop(sockets);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_name_nobody_and_nothing() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 10).await;
    let session = stage.session(&stage.alice).await;
    let mut socket = stage.connect(&session).await;
    socket.subscribe(DOOR).await;
    stage.publish(&stage.alice, DOOR, r#"{"secret":"payload"}"#).await;
    socket.text().await;
    stage.request("GET", "/secret/address", Some(&stage.alice), "").await;
    let text = scrape(&stage).await.text;
    for secret in [
        &*stage.alice.token,
        &session,
        "acme",
        "alice",
        DOOR,
        "payload",
        "secret",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    drop(socket);
    stage.end().await;
}

/// RFC 9110 §15.5.6 asks for it, and the refusal's advice points there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_does_not_take_a_method_lists_those_it_takes() {
    let stage = Stage::start().await;
    let id = "s000000000000000000000000";
    for (address, takes) in [
        ("/session".to_owned(), vec!["POST"]),
        ("/health/live".to_owned(), vec!["GET", "HEAD"]),
        ("/health/ready".to_owned(), vec!["GET", "HEAD"]),
        ("/metrics".to_owned(), vec!["GET"]),
        ("/v5.0/acme/event".to_owned(), vec!["DELETE", "GET", "MGET", "POST"]),
        (format!("/v5.0/acme/event/{id}"), vec!["DELETE", "GET", "MGET", "POST"]),
        (format!("/v5.0/acme/event/{id}/{id}"), vec!["DELETE", "GET"]),
        ("/v5.0/acme/stream".to_owned(), vec!["GET", "MGET", "POST"]),
        ("/v0.1/acme/drop".to_owned(), vec!["DELETE", "GET", "MGET", "POST"]),
        (format!("/v0.1/acme/drop/{id}/aggregate"), vec!["POST"]),
        (format!("/v5.0/acme/stream/{id}"), vec!["DELETE", "GET", "PUT"]),
    ] {
        let answer = stage.request("PATCH", &address, Some(&stage.alice), "").await;
        assert_eq!((answer.status, &*answer.code()), (405, "method.unknown"), "{address}");
        let text = answer
            .headers
            .get("allow")
            .map_or("", |value| value.to_str().expect("text"));
        let mut listed: Vec<&str> = text.split(',').map(str::trim).collect();
        listed.sort_unstable();
        assert_eq!(listed, takes, "{address}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_changes_on_the_file_is_seen() {
    let stage = Stage::start().await;
    let mut socket = stage.socket(&stage.alice).await;
    let id = stage.add_stream_on_file(DOOR).await;
    let listed = || async { stage.metric("streams").await == 1 };
    stage.until("the server sees the stream", listed).await;
    socket.subscribe(DOOR).await;
    stage.publish(&stage.alice, DOOR, "{}").await;
    assert_eq!(socket.json().await["resource"], *id);

    // A token and a user are waited for in the same way, until they can be used.
    let token = stage.add_token(&[(DOOR, "write")], None).await;
    stage.publish(&token, DOOR, "{}").await;
    assert_eq!(socket.json().await["offset"], 2);
    let bob = stage.add_user("acme", "bob").await;
    stage.publish(&bob, DOOR, "{}").await;
    assert_eq!(socket.json().await["offset"], 3);
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    stage.add_stream(&albert, "/umbrella/door", 1).await;

    let door = streamgate::domain::id::StreamId::parse(&id).expect("an id");
    assert!(stage.catalogue.remove_stream(door, &BY).await.expect("a database"));
    stage.until_metric("subscriptions", 0).await;
    let body = r#"{"path":"/acme/door","elems":{}}"#;
    let answer = stage
        .request("POST", "/v5.0/acme/event", Some(&stage.alice), body)
        .await;
    assert_eq!((answer.status, &*answer.code()), (404, "stream.unknown"));
    drop(socket);
    stage.end().await;
}
