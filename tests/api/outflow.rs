//! A client of the HTTP transports of a session: reads what comes, as it comes.

use crate::stage::{Answer, DEADLINE, Stage};
use serde_json::Value;

/// A response that goes on.
pub struct Outflow {
    response: reqwest::Response,
    unread: Vec<u8>,
}

/// One message of Server-Sent Events.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub event: String,
    pub id: String,
    pub data: String,
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Outflow {
    /// Opens `/session/<session>/<way>`, which must succeed.
    pub async fn open(stage: &Stage, session: &str, way: &str) -> Self {
        Self::open_with(stage, session, way, &[]).await
    }

    /// The same with some headers.
    pub async fn open_with(stage: &Stage, session: &str, way: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = stage
            .http
            .get(format!("http://{}/session/{session}/{way}", stage.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = tokio::time::timeout(DEADLINE, request.send()).await;
        let response = response.expect("an answer in time").expect("an answer");
        let unread = Vec::new();
        let status = response.status().as_u16();
        let this = Self { response, unread };
        match status {
            200 => this,
            _ => panic!("{status}: {}", this.rest().await),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.response.headers().get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }

    /// All that still comes.
    pub async fn rest(mut self) -> String {
        while self.read().await {}
        String::from_utf8(self.unread).expect("text")
    }

    /// Whether something more came, or it ended.
    async fn read(&mut self) -> bool {
        let chunk = tokio::time::timeout(DEADLINE, self.response.chunk()).await;
        match chunk.expect("something in time") {
            Ok(Some(chunk)) => {
                self.unread.extend_from_slice(&chunk);
                true
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// The next line, empty or not, without its end; none at the end.
    pub async fn any_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(end + 1);
                let line = std::mem::replace(&mut self.unread, rest);
                return Some(String::from_utf8(line[..end].to_vec()).expect("text"));
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The next line that says something.
    pub async fn line(&mut self) -> Value {
        loop {
            let line = self.any_line().await.expect("a line, not the end");
            if !line.is_empty() {
                return serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            }
        }
    }

    /// The next message, whatever it has; comments are passed over.
    pub async fn message(&mut self) -> Option<Message> {
        let mut message = Message::default();
        loop {
            let line = self.any_line().await?;
            match line.split_once(": ") {
                None if line.is_empty() && message != Message::default() => return Some(message),
                None if line == "id" => message.id = String::new(),
                Some(("event", value)) => message.event = value.to_owned(),
                Some(("id", value)) => message.id = value.to_owned(),
                Some(("data", value)) => message.data = value.to_owned(),
                _ => assert!(line.is_empty() || line.starts_with(':'), "{line}"),
            }
        }
    }

    /// The next message with data.
    pub async fn event(&mut self) -> Message {
        loop {
            let message = self.message().await.expect("a message, not the end");
            if !message.data.is_empty() {
                return message;
            }
        }
    }
}

impl Stage {
    /// What a poll answers, which must succeed.
    pub async fn poll(&self, session: &str) -> Vec<Value> {
        let answer = self
            .request("GET", &format!("/session/{session}/polling"), None, "")
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        match answer.json() {
            Value::Array(came) => came,
            other => panic!("an array was expected, not {other}"),
        }
    }

    /// `POST /session/<session>/requests`.
    pub async fn ask(&self, session: &str, request: &str) -> Answer {
        self.request("POST", &format!("/session/{session}/requests"), None, request)
            .await
    }

    /// Has a session follow a stream, by HTTP.
    pub async fn follow(&self, session: &str, path: &str) {
        let request = format!(r#"{{"msgId":"s","object":"event","type":"subscribe","path":"{path}"}}"#);
        let answer = self.ask(session, &request).await;
        let wanted = r#"{"head":{"msgId":"s","ok":true,"errors":[],"messages":["Your request has been processed successfully."]},"body":{}}"#;
        assert_eq!((answer.status, &*answer.text), (200, wanted));
    }
}

/// The offsets of events in whole lines, or in messages of Server-Sent Events.
pub fn places(text: &str) -> Vec<u64> {
    let lines = text.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    let events = lines.filter(|line| line.starts_with(r#"{"type":"message""#));
    let values: Vec<_> = events.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    offsets(&values)
}

/// The offsets of events.
pub fn offsets(events: &[Value]) -> Vec<u64> {
    let events = events
        .iter()
        .inspect(|event| assert_eq!(event["type"], "message", "{event}"));
    events
        .map(|event| event["offset"].as_u64().expect("an offset"))
        .collect()
}
