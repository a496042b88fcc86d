//! RootSocket's clients: each rule that is known of them, by a client of the same manners.
//!
//! The rules are those of rootsocketjs (rootsocket.ts, message.ts, jwt.ts, connection.ts), of
//! RootSocket's documentation ("Architecture", "API") and of its dashboard (front). What is said frame
//! by frame stands in `transcripts/channels/`.

mod hostile;
mod reach;

use crate::raw::{PING, PONG, RawSocket, TEXT, frame};
use crate::stage::{Answer, Socket, Stage};
use base64::Engine;
use futures_util::SinkExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_tungstenite::tungstenite::Message;

pub const CONNECTIONS: &str = "/api/v1/connections/";
pub const TOKENS: &str = "/api/v1/tokens/";
pub const MESSAGES: &str = "/api/v1/messages/";

impl Stage {
    /// A request by whoever has this key.
    pub async fn ask_with_key(&self, method: &str, path: &str, key: &str, body: &str) -> Answer {
        self.request_with(method, path, &[("Authorization", key)], body).await
    }

    /// A connection token of a key's.
    pub async fn connection_token(&self, key: &str) -> String {
        token(&self.ask_with_key("POST", CONNECTIONS, key, "").await)
    }

    /// A channel token of a key's.
    pub async fn channel_token(&self, key: &str, channel: &str) -> String {
        let body = json!({"category": 1, "channel": channel}).to_string();
        token(&self.ask_with_key("POST", TOKENS, key, &body).await)
    }

    /// Tries to connect with a connection token, as rootsocketjs puts the address together.
    pub async fn try_channels(&self, token: &str) -> Result<Socket, (u16, String)> {
        self.try_channels_with(token, &[]).await
    }

    /// The same, with some headers.
    pub async fn try_channels_with(&self, token: &str, headers: &[(&str, &str)]) -> Result<Socket, (u16, String)> {
        let url = format!("ws://{}/api/v1/ws/{token}/", self.address);
        self.try_open(&url, headers).await
    }

    /// A socket of a key's.
    pub async fn channels(&self, key: &str) -> Socket {
        let token = self.connection_token(key).await;
        let connected = self.try_channels(&token).await;
        connected.unwrap_or_else(|refusal| panic!("refused: {refusal:?}"))
    }

    /// Sends a text to a channel and asserts that it was taken.
    pub async fn send_message(&self, key: &str, channel: &str, text: &str) {
        let body = json!({"channel": channel, "data": text}).to_string();
        let answer = self.ask_with_key("POST", MESSAGES, key, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

impl Socket {
    /// Joins a channel and waits until that was done: a ping after it is answered.
    pub async fn join(&mut self, channel: &str) {
        self.send(&json!({"event": "subscription-add", "data": {"channel": channel}}).to_string())
            .await;
        self.assert_silent().await;
    }

    /// Asserts that nothing has come: the next frame answers a ping sent now.
    pub async fn assert_silent(&mut self) {
        assert_eq!(self.ask(r#"{"event":"ping"}"#).await, r#"{"event":"pong"}"#);
    }

    /// The next frame, which is a message: its channel and its text.
    pub async fn message(&mut self) -> (String, String) {
        let frame = self.json().await;
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{frame}")).to_owned();
        (text(&frame["event"]), text(&frame["data"]["raw"]))
    }
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["token"].as_str().expect("a token").to_owned()
}

/// As rootsocketjs jwt.ts does: without the key, without a library, and with its own idea of padding.
pub fn decoded(jwt: &str) -> Value {
    let payload = jwt
        .split('.')
        .nth(1)
        .expect("claims")
        .replace('-', "+")
        .replace('_', "/");
    let padding = match payload.len() % 4 {
        0 => "",
        2 => "==",
        3 => "=",
        _ => panic!("bad string"),
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(payload + padding);
    serde_json::from_slice(&bytes.expect("base64")).expect("JSON")
}

pub fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_decodes_its_token_and_finds_what_it_obeys() {
    let stage = Stage::start().await;
    let mut ids = BTreeSet::new();
    let mut applications = BTreeSet::new();
    for (settings, expected) in [
        (json!({}), [false, true, false]),
        (json!({"allowClientSend": true}), [true, true, false]),
        (
            json!({"allowClientSend": false, "allowChannelSubscription": false, "allowChannelAuthorization": true}),
            [false, false, true],
        ),
    ] {
        stage.settle(settings).await;
        let before = now_s();
        let claims = decoded(&stage.connection_token(&stage.alice.token).await);
        let obeyed = [
            "allowClientSend",
            "allowChannelSubscription",
            "allowChannelAuthorization",
        ];
        assert_eq!(obeyed.map(|name| claims[name].as_bool().expect("a boolean")), expected);
        assert_eq!(
            (&claims["allowClientData"], &claims["category"]),
            (&json!(true), &json!("connect"))
        );
        let expires = claims["exp"].as_u64().expect("a time");
        assert!((before + 300..=now_s() + 300).contains(&expires), "{claims}");
        ids.insert(claims["id"].as_str().expect("an id").to_owned());
        applications.insert(claims["applicationIdentifier"].as_str().expect("an id").to_owned());
    }
    let is_id = |id: &String| id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(ids.len() == 3 && ids.iter().all(is_id), "{ids:?}");
    assert!(
        applications.len() == 1 && applications.iter().all(is_id),
        "{applications:?}"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_is_the_same_application_after_a_restart_and_another_is_not() {
    let mut stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let application = async |key: &str| {
        let claims = decoded(&stage.connection_token(key).await);
        claims["applicationIdentifier"].clone()
    };
    let before = application(&stage.alice.token).await;
    assert_ne!(before, application(&albert.token).await);
    let token = stage.connection_token(&stage.alice.token).await;
    stage.restart().await;
    let claims = decoded(&stage.connection_token(&stage.alice.token).await);
    assert_eq!(before, claims["applicationIdentifier"]);
    // What it was given before is good still.
    drop(stage.try_channels(&token).await.expect("a socket"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_sent_raw_and_without_a_word_before_it() {
    let stage = Stage::start().await;
    let key = stage.alice.token.clone();
    assert_eq!(stage.ask_with_key("POST", CONNECTIONS, &key, "").await.status, 200);
    for wrong in [
        format!("Bearer {key}"),
        format!("{key}x"),
        "x".to_owned(),
        String::new(),
    ] {
        let answer = stage.ask_with_key("POST", CONNECTIONS, &wrong, "").await;
        assert_eq!((answer.status, &*answer.code()), (401, "auth.refused"), "{answer:?}");
    }
    let answer = stage.request_with("POST", CONNECTIONS, &[], "").await;
    assert_eq!((answer.status, &*answer.code()), (401, "auth.missing"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_the_socket_is_good_with_its_slash_and_without() {
    let stage = Stage::start().await;
    for slash in ["/", ""] {
        let token = stage.connection_token(&stage.alice.token).await;
        let url = format!("ws://{}/api/v1/ws/{token}{slash}", stage.address);
        let mut socket = stage.try_open(&url, &[]).await.expect("a socket");
        socket.assert_silent().await;
    }
    stage.end().await;
}

/// rootsocketjs pings every 45 s and leaves if nothing answered for three minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_ping_is_answered_at_once_and_its_pong_is_not() {
    let stage = Stage::start().await;
    let mut socket = stage.channels(&stage.alice.token).await;
    for _ in 0..3 {
        socket.send(r#"{"event":"pong"}"#).await;
        socket.assert_silent().await;
    }
    drop(socket);
    stage.end().await;
}

/// The server may ping, and a client answers at once: whichever ping it knows of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_is_pinged_by_a_frame_and_lives_as_long_as_it_answers() {
    let flags = ["--ping-interval", "150ms", "--dead-after", "600ms"];
    let stage = Stage::with(&flags).await;
    for answers_frames in [true, false] {
        let token = stage.connection_token(&stage.alice.token).await;
        let mut silent = RawSocket::connect(stage.address).await;
        silent.open_at(&format!("/api/v1/ws/{token}/")).await;
        // Twelve come in no less than three times the time after which the dead are ended.
        for _ in 0..12 {
            let ping = silent.next().await;
            assert_eq!((ping.first, ping.payload.len()), (PING, 0));
            let ping = silent.next().await;
            assert_eq!((ping.first, ping.text()), (TEXT, r#"{"event":"ping"}"#));
            let answer = match answers_frames {
                true => frame(TEXT, br#"{"event":"pong"}"#),
                false => frame(PONG, b""),
            };
            silent.send(&answer).await;
        }
    }
    assert_eq!(stage.metric("peers_dead_total").await, 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_is_subscribed_hears_itself_like_anybody() {
    let stage = Stage::start().await;
    stage.settle(json!({"allowClientSend": true})).await;
    let mut sender = stage.channels(&stage.alice.token).await;
    let mut other = stage.channels(&stage.alice.token).await;
    sender.join("a.b").await;
    other.join("a.b").await;
    for n in 0..500 {
        sender
            .send(&format!(r#"{{"event":"a.b","data":{{"raw":"{n}"}}}}"#))
            .await;
    }
    for socket in [&mut sender, &mut other] {
        for n in 0..500 {
            assert_eq!(socket.message().await, ("a.b".to_owned(), n.to_string()));
        }
    }
    drop((sender, other));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_or_no_text_is_told_and_the_socket_stays() {
    let stage = Stage::start().await;
    stage.settle(json!({"allowClientSend": true})).await;
    let mut socket = stage.channels(&stage.alice.token).await;
    socket.join("a").await;
    let message = |length: usize| {
        let around = r#"{"event":"a","data":{"raw":""}}"#.len();
        json!({"event": "a", "data": {"raw": "x".repeat(length - around)}}).to_string()
    };
    socket.send(&message(1_048_577)).await;
    assert_eq!(
        socket.text().await,
        r#"{"event":"error","data":{"detail":"a frame has at most 1048576 bytes; this one was not read","code":"frame.size"}}"#
    );
    // What is as long as allowed is a message, and so is what comes after.
    socket.send(&message(1_048_576)).await;
    assert_eq!(socket.text().await, message(1_048_576));
    socket.send(&message(100)).await;
    assert_eq!(socket.text().await, message(100));
    socket.socket.send(Message::binary(&b"ping"[..])).await.expect("sent");
    assert_eq!(
        socket.text().await,
        r#"{"event":"error","data":{"detail":"a frame is text; this one was not read","code":"frame.binary"}}"#
    );
    socket.assert_silent().await;
    drop(socket);
    stage.end().await;
}

/// front debug.vue shows the reason of a close frame to people.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_of_an_end_is_a_sentence() {
    let mut stage = Stage::start().await;
    let reader = stage.add_token(&[("/acme/**", "read")], None).await;
    let mut socket = stage.channels(&reader.token).await;
    socket.assert_silent().await;
    let address = format!("/v5.0/acme/token/{}", reader.key);
    let answer = stage.request("DELETE", &address, Some(&stage.alice), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(socket.closed().await, (4001, "the token was revoked".to_owned()));
    let mut socket = stage.channels(&stage.alice.token).await;
    socket.assert_silent().await;
    let stopping = stage.begin_stop();
    let (code, reason) = socket.closed().await;
    assert_eq!((code, &*reason), (1001, "the server is stopping, connect again"));
    drop(socket);
    stopping.await.expect("an end without panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_again_but_not_for_two_connections_at_once() {
    let stage = Stage::start().await;
    let token = stage.connection_token(&stage.alice.token).await;
    for _ in 0..3 {
        let mut socket = stage.try_channels(&token).await.expect("a socket");
        socket.assert_silent().await;
        let (status, text) = stage.try_channels(&token).await.err().expect("another one");
        assert_eq!(
            (status, &*text),
            (
                409,
                r#"{"detail":"a live connection has this token; each client needs its own","code":"ticket.used"}"#
            )
        );
        socket.assert_silent().await;
        drop(socket);
        stage.until_metric("connections", 0).await;
    }
    stage.end().await;
}

/// front store/application.ts parses each value by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_connections_are_listed_as_texts_that_clients_parse() {
    let stage = Stage::start().await;
    let reader = stage.add_token(&[("/acme/**", "read")], None).await;
    let agent = format!("Mozilla \"5.0\"/{}", "x".repeat(1_000));
    let before = now_s();
    let token = stage.connection_token(&reader.token).await;
    let named = [("user-agent", &*agent)];
    let mut first = stage.try_channels_with(&token, &named).await.expect("a socket");
    first.assert_silent().await;
    let mut second = stage.channels(&stage.alice.token).await;
    second.assert_silent().await;
    // Other protocols' connections are not of this list.
    let mut session = stage.socket(&stage.alice).await;
    session.assert_quiet().await;
    let answer = stage.ask_with_key("GET", CONNECTIONS, &stage.alice.token, "").await;
    assert_eq!(
        (answer.status, &answer.headers["x-total-count"]),
        (200, &"2".parse().expect("a value"))
    );
    let listed = answer.json();
    assert_eq!(listed.as_object().expect("an object").len(), 2, "{listed}");
    let id = decoded(&token)["id"].as_str().expect("an id").to_owned();
    let told: Value = serde_json::from_str(listed[&id].as_str().expect("a text")).expect("JSON");
    assert_eq!(told["userAgent"], agent[..256]);
    assert!((before..=now_s()).contains(&told["createdAt"].as_u64().expect("seconds")));
    // A restricted key sees those that it let in.
    let answer = stage.ask_with_key("GET", CONNECTIONS, &reader.token, "").await;
    let listed = answer.json();
    assert_eq!(listed.as_object().expect("an object").keys().collect::<Vec<_>>(), [&id]);
    // The dashboard's list has them all, by what they speak.
    let connections = stage.get("/v5.0/acme/connection").await;
    let spoken: BTreeSet<&str> = connections["connections"]
        .as_array()
        .expect("an array")
        .iter()
        .filter_map(|connection| connection["protocol"].as_str())
        .collect();
    assert_eq!(spoken, ["channels", "ws"].into());
    drop((first, second, session));
    stage.until_metric("connections", 0).await;
    let answer = stage.ask_with_key("GET", CONNECTIONS, &stage.alice.token, "").await;
    assert_eq!((answer.status, &*answer.text), (200, "{}"));
    stage.end().await;
}

/// Some apps ask for their connection token from the browser.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_page_may_ask_for_its_token_and_connect() {
    let origin = "https://app.example.com";
    let stage = Stage::with(&["--allowed-origins", origin]).await;
    let key = stage.alice.token.clone();
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    let preflight = stage.request_with("OPTIONS", CONNECTIONS, &headers, "").await;
    assert_eq!(preflight.status, 200, "{preflight:?}");
    assert_eq!(preflight.headers["access-control-allow-origin"], origin);
    let allowed = preflight.headers["access-control-allow-headers"]
        .to_str()
        .expect("text");
    assert!(allowed.to_lowercase().contains("authorization"), "{allowed}");
    let headers = [("Origin", origin), ("Authorization", &*key)];
    let answer = stage.request_with("POST", CONNECTIONS, &headers, "").await;
    assert_eq!(answer.headers["access-control-allow-origin"], origin);
    let token = token(&answer);
    let evil = [("origin", "https://evil.example.com")];
    let (status, text) = stage
        .try_channels_with(&token, &evil)
        .await
        .err()
        .expect("another origin");
    assert_eq!(status, 403);
    assert!(text.starts_with(r#"{"detail":"pages of this origin"#), "{text}");
    assert!(text.ends_with(r#","code":"origin.denied"}"#), "{text}");
    let own = [("origin", origin)];
    drop(stage.try_channels_with(&token, &own).await.expect("a socket"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_token_is_good_for_its_channel_and_no_other() {
    let stage = Stage::start().await;
    stage.settle(json!({"allowChannelAuthorization": true})).await;
    let key = stage.alice.token.clone();
    let token = stage.channel_token(&key, "a.b").await;
    let claims = decoded(&token);
    assert_eq!(
        (&claims["channel"], &claims["category"]),
        (&json!("a.b"), &json!("subscription"))
    );
    let mut socket = stage.channels(&key).await;
    let join = |channel: &str, auth: &str| {
        json!({"event": "subscription-add", "data": {"channel": channel, "auth": auth}}).to_string()
    };
    let refused = socket.ask(&join("a.c", &token)).await;
    assert_eq!(
        refused,
        r#"{"event":"error","data":{"detail":"cannot subscribe: the channel token is for another channel","where":"a.c","code":"channel.denied"}}"#
    );
    socket.send(&join("a.b", &token)).await;
    socket.assert_silent().await;
    stage.send_message(&key, "a.c", "not heard").await;
    stage.send_message(&key, "a.b", "heard").await;
    assert_eq!(socket.message().await, ("a.b".to_owned(), "heard".to_owned()));
    drop(socket);
    stage.end().await;
}
