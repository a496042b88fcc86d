//! The listener that is for the users server's clients alone: any path, one company or another.

use crate::authority;
use crate::raw::RawSocket;
use crate::stage::{DEADLINE, Socket, Stage};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const LISTEN: [&str; 2] = ["--notices-listen", "127.0.0.1:0"];

async fn stage_with(flags: &[&str]) -> Stage {
    let stage = Stage::with(&[&LISTEN, flags].concat()).await;
    stage.settle(json!({"approvedSocketDomains": ["localhost"]})).await;
    stage
}

/// A socket at any path of the listener.
async fn come(stage: &Stage, path: &str) -> Socket {
    let url = format!("ws://{}{path}", stage.notices.expect("a listener"));
    let header = [("Origin", "http://localhost:8000")];
    stage.try_open(&url, &header).await.expect("an upgrade")
}

/// Whether an echo comes back; if not, the end came instead.
async fn is_let_in(stage: &Stage, path: &str) -> bool {
    let mut socket = come(stage, path).await;
    let echo = r#"{"eventType":10}"#;
    // Who is not let in may find that out while sending.
    let _ = socket.socket.send(Message::text(echo)).await;
    matches!(socket.socket.next().await, Some(Ok(Message::Text(text))) if text == echo)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_path_does_whose_first_segment_is_the_company() {
    let stage = stage_with(&[]).await;
    stage.add_company("umbrella").await;
    stage.add_user("umbrella", "albert").await;
    for (path, may) in [
        ("/acme", true),
        ("/acme/", true),
        ("/acme/any/thing?at=all", true),
        ("/umbrella", false),
        ("/nobodies/acme", false),
        ("/", false),
        ("/users/acme/ws", false),
        ("/ACME", false),
        ("//acme", false),
    ] {
        assert_eq!(is_let_in(&stage, path).await, may, "{path}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_names_no_company_is_of_the_one_that_is_set() {
    let stage = stage_with(&["--notices-company", "acme"]).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    for (path, may) in [
        ("/", true),
        ("/nobodies", true),
        ("/socket.io/?a=1", true),
        ("/acme", true),
        // It has said nothing of whom it approves, and that it is there is its own business.
        ("/umbrella", true),
    ] {
        assert_eq!(is_let_in(&stage, path).await, may, "{path}");
    }
    stage.until_metric("connections", 0).await;
    let key = [("users-api-key", &*albert.token)];
    let url = format!("ws://{}/users/umbrella/ws", stage.address);
    let umbrella = stage.try_open(&url, &key).await.expect("an upgrade");
    let acme = come(&stage, "/acme").await;
    // Who is approved by the one only hears that; who has a key of the other hears the other.
    let mut guest = come(&stage, "/umbrella").await;
    let url = format!("ws://{}/umbrella", stage.notices.expect("a listener"));
    let mut holder = stage.try_open(&url, &key).await.expect("an upgrade");
    stage.until_metric("subscriptions", 4).await;
    stage.publish(&stage.alice, "/acme/notices", r#"{"eventType":6}"#).await;
    stage.publish(&albert, "/umbrella/notices", r#"{"eventType":7}"#).await;
    assert_eq!(guest.text().await, r#"{"eventType":6}"#);
    assert_eq!(holder.text().await, r#"{"eventType":7}"#);
    drop((umbrella, acme, guest, holder));
    for path in ["/acme", "/umbrella", "/nobodies"] {
        let url = format!("ws://{}{path}", stage.notices.expect("a listener"));
        let evil = [("Origin", "https://evil.example.com")];
        let mut socket = stage.try_open(&url, &evil).await.expect("an upgrade");
        let next = socket.socket.next().await;
        assert!(matches!(next, None | Some(Err(_))), "{path}: {next:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_listeners_lead_to_the_same_notices() {
    let mut stage = stage_with(&[]).await;
    let url = format!("ws://{}/users/acme/ws", stage.address);
    let header = [("Origin", "http://localhost")];
    let mut main = stage.try_open(&url, &header).await.expect("an upgrade");
    let mut own = Vec::new();
    for _ in 0..6 {
        own.push(come(&stage, "/acme").await);
    }
    stage.until_metric("subscriptions", 7).await;
    stage.publish(&stage.alice, "/acme/notices", r#"{"eventType":7}"#).await;
    let broadcast = r#"{"eventType":10,"message":"all","broadcast":true}"#;
    assert_eq!(main.text().await, r#"{"eventType":7}"#);
    main.send(broadcast).await;
    assert_eq!(main.text().await, r#"{"eventType":10,"message":"all"}"#);
    for socket in &mut own {
        assert_eq!(socket.text().await, r#"{"eventType":7}"#);
        assert_eq!(socket.text().await, r#"{"eventType":10,"message":"all"}"#);
    }
    let stopped = stage.begin_stop();
    for socket in own.iter_mut().chain([&mut main]) {
        assert_eq!(socket.closed().await.0, 1001);
    }
    drop((own, main));
    tokio::time::timeout(DEADLINE, stopped)
        .await
        .expect("in time")
        .expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_websocket_client_is_answered_in_plain_http() {
    let stage = stage_with(&[]).await;
    let address = stage.notices.expect("a listener");
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/acme"),
        ("POST", "/session"),
        ("PUT", "/v5.0/acme/settings"),
    ] {
        let mut socket = RawSocket::connect(address).await;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        socket.send(request.as_bytes()).await;
        let (head, body) = socket.answer().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{method} {path}: {head}");
        assert_eq!(body, "This port is for WebSockets.\n");
    }
    // Half an upgrade is told what is missing.
    let mut half = RawSocket::connect(address).await;
    half.send(b"GET /acme HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    let (head, body) = half.answer().await;
    assert!(
        head.starts_with("HTTP/1.1 400 ") && body.contains("upgrade.malformed"),
        "{head}{body}"
    );
    drop(half);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_speaks_tls_when_the_server_does() {
    let stage = Stage::secure(&LISTEN).await;
    stage.settle(json!({"approvedSocketDomains": ["localhost"]})).await;
    let authority = &stage.secure.as_ref().expect("a bridge").authority;
    let address = stage.notices.expect("a listener");
    for (origin, may) in [("https://localhost", true), ("https://example.com", false)] {
        let tls = authority::connect(authority.client(), address)
            .await
            .expect("a handshake");
        let mut request = "ws://localhost/acme".into_client_request().expect("a request");
        request.headers_mut().insert("Origin", origin.parse().expect("a value"));
        let (mut socket, _) = tokio_tungstenite::client_async(request, tls).await.expect("an upgrade");
        let echo = r#"{"eventType":10}"#;
        // Who is not let in may find that out while sending.
        let _ = socket.send(Message::text(echo)).await;
        let next = socket.next().await;
        let is_let_in = matches!(next, Some(Ok(Message::Text(text))) if text == echo);
        assert_eq!(is_let_in, may, "{origin}");
    }
    stage.end().await;
}
