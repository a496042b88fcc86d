//! Publishes to a server that may die at any moment, and reads back what it kept.
//!
//! Nobody here trusts the server: what it answered is remembered, and compared with what is read
//! through a socket later.

use super::server::{Account, Server};
use super::shell::DEADLINE;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::collections::BTreeMap;
use std::path::Path;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;

/// Somebody who publishes and reads.
pub struct Publisher {
    runtime: Runtime,
    http: reqwest::Client,
    address: String,
    account: Account,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub retry_after: Option<String>,
}

/// An event as it was answered or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub stream: String,
    pub offset: u64,
    pub id: String,
    pub elems: Value,
}

/// What was answered, by stream and place.
pub type Ledger = BTreeMap<(String, u64), Seen>;

impl Seen {
    fn of(offset: &Value, event: &Value) -> Self {
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        Self {
            stream: text("streamId"),
            offset: offset.as_u64().expect("an offset"),
            id: text("id"),
            elems: event["elems"].clone(),
        }
    }
}

impl Publisher {
    pub fn new(server: &Server, account: &Account) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            runtime: runtime.expect("a runtime"),
            http: reqwest::Client::new(),
            address: server.address.clone(),
            account: account.clone(),
        }
    }

    /// Any request; nothing if the server died meanwhile.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.http.request(method, format!("http://{}{path}", self.address));
        let request = request
            .header("X-Auth-Company", &self.account.company)
            .header("X-Auth-User", self.account.user.as_deref().expect("a user"))
            .header("X-Auth-Token", &self.account.token);
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        self.runtime.block_on(async {
            let answer = request.timeout(DEADLINE).body(body.to_owned()).send().await.ok()?;
            let status = answer.status().as_u16();
            let retry_after = answer.headers().get("retry-after").cloned();
            let text = answer.text().await.ok()?;
            Some(Answer {
                status,
                body: serde_json::from_str(&text).unwrap_or(Value::Null),
                retry_after: retry_after.map(|value| value.to_str().expect("ASCII").to_owned()),
            })
        })
    }

    /// Publishes an event or an array of them; nothing if the server died meanwhile.
    pub fn publish(&self, events: &Value, ack: &str) -> Option<Answer> {
        let path = format!("/v5.0/{}/event?ack={ack}", self.account.company);
        self.send("POST", &path, &[], &events.to_string())
    }

    /// Publishes one event, which must be taken.
    pub fn published(&self, path: &str, elems: Value, ack: &str) -> Seen {
        let answer = self.publish(&json!({"path": path, "elems": elems}), ack);
        let answer = answer.expect("a server that lives");
        assert_eq!(answer.status, 201, "{answer:?}");
        let event = &answer.body["body"];
        Seen::of(&event["offset"], event)
    }

    /// Adds a stream; returns its id.
    pub fn add_stream(&self, path: &str, capacity: u64) -> String {
        let address = format!("/v5.0/{}/stream", self.account.company);
        let body = json!({"path": path, "capacity": capacity}).to_string();
        let answer = self.send("POST", &address, &[], &body).expect("a server that lives");
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["body"]["id"].as_str().expect("an id").to_owned()
    }

    /// What a session is told about a position in a stream, and the session's id.
    pub fn resume(&self, stream: &str, position: &Value) -> (Value, String) {
        let body = json!({"positions": {stream: position}}).to_string();
        let answer = self.send("POST", "/session", &[], &body).expect("a server that lives");
        assert_eq!(answer.status, 201, "{answer:?}");
        let body = &answer.body["body"];
        let session = body["id"].as_str().expect("an id").to_owned();
        (body["streams"][stream].clone(), session)
    }

    /// A stream's epoch and head.
    pub fn place(&self, stream: &str) -> (String, u64) {
        let (told, _) = self.resume(stream, &json!({"offset": 0}));
        let epoch = told["epoch"].as_str().expect("an epoch").to_owned();
        (epoch, told["head"].as_u64().expect("a head"))
    }

    /// Subscribes from a position on and returns everything that is said until the stream's head.
    pub fn said(&self, stream: &str, since: &Value) -> Vec<Value> {
        let (told, session) = self.resume(stream, &json!({"offset": 0}));
        let head = told["head"].as_u64().expect("a head");
        let subscribe = json!({"msgId": 1, "object": "event", "type": "subscribe", "streamId": stream, "since": since});
        let url = format!("ws://{}/session/{session}/ws", self.address);
        let talk = async {
            let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("a socket");
            let request = Message::text(subscribe.to_string());
            socket.send(request).await.expect("a socket that takes a message");
            let mut said: Vec<Value> = Vec::new();
            let reaches = |frame: &Value| frame["offset"].as_u64() == Some(head);
            while !said.last().is_some_and(reaches) {
                let next = socket.next().await.expect("a frame, not the end").expect("a frame");
                if let Message::Text(text) = next {
                    said.push(serde_json::from_str(&text).expect("JSON"));
                }
            }
            said
        };
        let said = self
            .runtime
            .block_on(async { tokio::time::timeout(DEADLINE, talk).await });
        said.expect("all frames in time")
    }

    /// All events of a stream that keeps some; nothing else may be said.
    pub fn replay(&self, stream: &str) -> Vec<Seen> {
        if self.place(stream).1 == 0 {
            return Vec::new();
        }
        let said = self.said(stream, &json!(0));
        let (ack, events) = said.split_first().expect("an acknowledgement");
        assert_eq!(ack["head"]["ok"], true, "{ack}");
        let seen = |frame: &Value| {
            assert_eq!(frame["type"], "message", "{frame}");
            Seen::of(&frame["offset"], &frame["value"])
        };
        events.iter().map(seen).collect()
    }

    /// Replays a stream that keeps everything: no hole, and all that was answered as it was.
    pub fn check_all_is_there(&self, stream: &str, answered: &Ledger) {
        let replayed = self.replay(stream);
        let offsets: Vec<u64> = replayed.iter().map(|seen| seen.offset).collect();
        assert!(offsets.iter().copied().eq(1..=offsets.len() as u64), "{offsets:?}");
        for ((owner, offset), event) in answered {
            if owner == stream {
                assert_eq!(replayed.get(*offset as usize - 1), Some(event));
            }
        }
    }
}

/// The events of an answer that was 201.
pub fn remember(answer: &Answer, ledger: &mut Ledger) {
    assert_eq!(answer.status, 201, "{answer:?}");
    let one = std::slice::from_ref(&answer.body["body"]);
    for event in answer.body["body"].as_array().map_or(one, Vec::as_slice) {
        let seen = Seen::of(&event["offset"], event);
        let place = (seen.stream.clone(), seen.offset);
        assert_eq!(ledger.insert(place, seen), None, "a place was given twice");
    }
}

/// What a statement finds in a database file, as a number.
pub fn number_in(file: &Path, statement: &'static str) -> i64 {
    with_database(file, async |connection| {
        sqlx::query_scalar(statement)
            .fetch_one(connection)
            .await
            .expect("a number")
    })
}

/// Does something with a database file as another program would.
pub fn with_database<T>(file: &Path, act: impl AsyncFnOnce(&mut sqlx::SqliteConnection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let options = SqliteConnectOptions::new().filename(file);
        let mut connection = options.connect().await.expect("a database");
        let done = act(&mut connection).await;
        sqlx::Connection::close(connection).await.expect("an end");
        done
    })
}
