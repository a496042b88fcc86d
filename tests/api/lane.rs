//! What is asked most is answered before the `App` has the connection, and not to be told from what
//! the `App` answers.

use crate::raw::RawSocket;
use crate::stage::Stage;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// What sends a request to the `App` and means nothing.
const APP: &str = "Content-Encoding: identity\r\n";

/// An answer without what differs from one to the next: the date, and of a success the digits of ids,
/// offsets and times, and how many those are.
fn comparable(head: &str, body: &str) -> (Vec<String>, String) {
    let is_success = head.starts_with("HTTP/1.1 2");
    // The `App` ends a connection on which it has not read a stranger's body; the lane has read it.
    let differs = |line: &String| {
        let is = |name| line.starts_with(name);
        is("date: ") || is("connection: ") || is_success && is("content-length: ")
    };
    let lines = head.lines().map(str::to_ascii_lowercase);
    let mut lines: Vec<String> = lines.filter(|line| !differs(line)).collect();
    lines.sort_unstable();
    let kept = |letter: &char| !letter.is_ascii_alphanumeric() && !"-_".contains(*letter);
    let body = match is_success {
        true => body.chars().filter(kept).collect(),
        false => body.to_owned(),
    };
    (lines, body)
}

/// What a connection of its own answers to these bytes.
async fn ask(stage: &Stage, request: &str) -> (Vec<String>, String) {
    let mut socket = RawSocket::connect(stage.address).await;
    socket.send(request.as_bytes()).await;
    let (head, body) = socket.answer().await;
    comparable(&head, &body)
}

/// Who asks, as lines of a head.
fn asker(stage: &Stage) -> String {
    let alice = &stage.alice;
    let user = alice.user.as_deref().expect("a user");
    format!(
        "X-Auth-Company: {}\r\nX-AUTH-USER: {user}\r\nx-auth-token: {}\r\n",
        alice.company, alice.token
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_tell_the_lane_from_the_app() {
    let stage = Stage::with(&["--max-body-bytes", "2000", "--rate-attempts", "3"]).await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let asker = asker(&stage);
    let event = r#"{"elems":{"open":true}}"#;
    let long = format!(r#"{{"elems":{{"x":"{}"}}}}"#, "x".repeat(2_000));
    let stream = format!("/v5.0/acme/event/{id}");
    let host = "Host: localhost\r\n";
    let wrong = "X-Auth-Company: acme\r\nX-Auth-User: alice\r\nX-Auth-Token: no\r\n";
    let cases: &[(&str, String, &str)] = &[
        (&stream, format!("{host}{asker}"), event),
        (&stream, format!("{host}{asker}"), r#"[{"elems":{}},{"elems":{}}]"#),
        (&stream, format!("{host}{asker}If-Offset-Match: 0\r\n"), event),
        (&stream, format!("{host}{asker}Idempotency-Key: \u{7f}\r\n"), event),
        (&format!("{stream}?ack=accepted"), format!("{host}{asker}"), event),
        (&format!("{stream}?ack=never"), format!("{host}{asker}"), event),
        (&format!("{stream}?ack=durable#x"), format!("{host}{asker}"), event),
        (
            "/v5.0/acme/event",
            format!("{host}{asker}"),
            r#"{"path":"/acme/door","elems":{}}"#,
        ),
        ("/v5.0/acme/event", format!("{host}{asker}"), "no json"),
        ("/v5.0/acme/event", format!("{host}{asker}"), ""),
        ("/v5.0/umbrella/event", format!("{host}{asker}"), event),
        (&stream, format!("{host}{asker}"), &long),
        (&stream, format!("{host}{wrong}"), event),
        (&stream, host.to_owned(), event),
        (&stream, format!("{host}X-Auth-Token: \u{e9}\r\n"), event),
        ("/session", format!("{host}{asker}"), ""),
        ("/session", format!("{host}{asker}"), r#"{"ttl":5}"#),
        ("/session", format!("{host}{asker}"), r#"{"ttl":0}"#),
        ("/session", format!("{host}{asker}"), &long),
        ("/session", format!("{host}Authorization: Bearer x.y.z\r\n"), ""),
        ("/session", host.to_owned(), ""),
    ];
    for (target, lines, body) in cases {
        let length = body.len();
        let request =
            |more: &str| format!("POST {target} HTTP/1.1\r\n{lines}{more}Content-Length: {length}\r\n\r\n{body}");
        let (lane, app) = (ask(&stage, &request("")).await, ask(&stage, &request(APP)).await);
        assert_eq!(lane, app, "{target} {body:.40}");
    }
    // Too many attempts, which the ones before have brought about, are told alike as well.
    let request = |more: &str| format!("POST /session HTTP/1.1\r\n{host}{wrong}{more}\r\n");
    let mut tries = Vec::new();
    for more in ["", APP, "", APP, "", APP] {
        tries.push(ask(&stage, &request(more)).await);
    }
    let [.., lane, app] = &tries[..] else {
        panic!("six were made")
    };
    assert_eq!((lane, lane.1.contains("limit.attempts")), (app, true));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_others_refuse_is_refused() {
    let stage = Stage::start().await;
    let asker = asker(&stage);
    for (hosts, status) in [("Host: a\r\n", "201"), ("", "400"), ("Host: a\r\nHost: b\r\n", "400")] {
        let mut socket = RawSocket::connect(stage.address).await;
        let request = format!("POST /session HTTP/1.1\r\n{hosts}{asker}\r\n");
        socket.send(request.as_bytes()).await;
        let head = socket.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{hosts:?}: {head}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_a_row_are_answered_in_order_whoever_answers() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let asker = asker(&stage);
    let post = |more: &str, body: &str| {
        let length = body.len();
        format!("POST /v5.0/acme/event/{id} HTTP/1.1\r\nHost: x\r\n{asker}{more}Content-Length: {length}\r\n\r\n{body}")
    };
    let all = [
        post("", r#"{"elems":{"n":1}}"#),
        post("", r#"{"elems":2}"#),
        post("", r#"{"elems":{"n":3}}"#),
        "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        post("", r#"{"elems":{"n":4}}"#),
        post(APP, r#"{"elems":{"n":5}}"#),
    ]
    .concat();
    // All at once, and cut in two anywhere.
    for cut in [0, 10, 60, 150, 400, all.len() - 3] {
        let mut socket = RawSocket::connect(stage.address).await;
        socket.send(&all.as_bytes()[..cut]).await;
        tokio::task::yield_now().await;
        socket.send(&all.as_bytes()[cut..]).await;
        let mut told = Vec::new();
        for _ in 0..6 {
            let (head, body) = socket.answer().await;
            let number = body.split_once(r#""n":"#).map(|(_, rest)| rest[..1].to_owned());
            told.push((head[9..12].to_owned(), number.unwrap_or_default()));
        }
        let told: Vec<_> = told.iter().map(|(status, number)| (&status[..], &number[..])).collect();
        let expected = [
            ("201", "1"),
            ("400", ""),
            ("201", "3"),
            ("200", ""),
            ("201", "4"),
            ("201", "5"),
        ];
        assert_eq!(told, expected, "cut at {cut}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_and_hangs_up_is_answered() {
    let stage = Stage::start().await;
    let request = format!("POST /session HTTP/1.1\r\nHost: x\r\n{}\r\n", asker(&stage));
    let mut socket = RawSocket::connect(stage.address).await;
    socket.send(request.repeat(3).as_bytes()).await;
    socket.stream.shutdown().await.expect("a connection");
    let answers = String::from_utf8(socket.rest().await.to_vec()).expect("text");
    assert_eq!(answers.matches("HTTP/1.1 201 Created").count(), 3, "{answers}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_while_the_server_stops_is_answered() {
    let mut stage = Stage::start().await;
    let request = format!("POST /session HTTP/1.1\r\nHost: x\r\n{}\r\n", asker(&stage));
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = RawSocket::connect(stage.address).await;
        socket.send(request.as_bytes()).await;
        let (head, _) = socket.answer().await;
        assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
        socket.send(request.as_bytes()).await;
        sockets.push(socket);
    }
    let task = stage.begin_stop();
    for mut socket in sockets {
        let (head, _) = socket.answer().await;
        assert!(["201", "503"].contains(&&head[9..12]), "{head}");
        assert!(socket.rest().await.is_empty(), "nothing more is said");
    }
    let ended = tokio::time::timeout(Duration::from_secs(20), task).await;
    ended.expect("an end in time").expect("an end without panic");
}
