//! A small client of a running server: publish an event, follow a stream.

use crate::cli::{Output, failure, malformed};
use crate::domain::error::Error;
use crate::domain::path::Path;
use actix_http::ws::{Frame, Message};
use awc::Client;
use bytes::Bytes;
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::Write;

/// The largest frame that is taken.
const FRAME_BYTES: usize = 16 << 20;

/// Where the server is, and who asks.
#[derive(Args)]
struct Account {
    /// The server.
    #[arg(long, env = "STREAMGATE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The company; if not given, the path's first segment.
    #[arg(long, env = "STREAMGATE_COMPANY")]
    company: Option<String>,
    /// The user, with a master token.
    #[arg(long, env = "STREAMGATE_USER")]
    user: Option<String>,
    /// The token.
    #[arg(long, env = "STREAMGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[derive(Args)]
pub struct Publish {
    /// The stream's path.
    path: String,
    /// The event: a JSON object.
    event: String,
    #[command(flatten)]
    account: Account,
}

#[derive(Args)]
pub struct Tail {
    /// The stream's path.
    path: String,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    account: Account,
}

impl Account {
    /// Sends a request and returns the answer's body, or what the server said against it.
    async fn post(&self, path: &Path, address: &str, body: String) -> Result<Value, Error> {
        let token = self.token.as_deref().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| malformed("STREAMGATE_TOKEN is not set: whose token is to be used?"))?;
        let company = self.company.as_deref().unwrap_or(path.company());
        let url = format!("{}{address}", self.base()?);
        let mut request = Client::default()
            .post(&url)
            .insert_header(("X-Auth-Company", company))
            .insert_header(("X-Auth-Token", token))
            .insert_header(("Content-Type", "application/json"));
        if let Some(user) = self.user.as_deref().filter(|user| !user.is_empty()) {
            request = request.insert_header(("X-Auth-User", user));
        }
        let answer = request.send_body(body).await;
        let mut answer = answer.map_err(|error| failure(format!("{url}: {error}; is the server running?")))?;
        let body = answer.body().limit(FRAME_BYTES).await;
        let body = body.map_err(|error| failure(format!("{url}: {error}")))?;
        let json: Value = serde_json::from_slice(&body)
            .map_err(|_| failure(format!("{url} is no Streamgate: {}", answer.status())))?;
        match json["head"]["ok"].as_bool() {
            Some(true) => Ok(json["body"].clone()),
            _ => {
                let (code, text) = (&json["head"]["code"], &json["head"]["errors"][0]);
                let text = format!(
                    "{} ({})",
                    text.as_str().unwrap_or("refused"),
                    code.as_str().unwrap_or("no code")
                );
                Err(failure(text))
            }
        }
    }

    fn base(&self) -> Result<&str, Error> {
        let url = self.url.trim_end_matches('/');
        if url.starts_with("http://") {
            return Ok(url);
        }
        Err(malformed(format!(
            "STREAMGATE_URL is \"{url}\": http://host:port is wanted; this client does not speak TLS yet"
        )))
    }
}

impl Publish {
    pub async fn run(self) -> Result<Output, Error> {
        let path = Path::parse(&self.path)?;
        let event: &RawValue = serde_json::from_str(&self.event)
            .map_err(|error| malformed(format!("the event is no JSON: {error}; quote it: '{{\"open\":true}}'")))?;
        let body = format!(r#"{{"path":"{path}","elems":{event}}}"#);
        let address = format!("/v5.0/{}/event", path.company());
        let event = self.account.post(&path, &address, body).await?;
        let text = format!("{} published to {path}", event["id"].as_str().unwrap_or("the event"));
        Ok(Output { json: event, text })
    }
}

impl Tail {
    /// Prints each event as a line: its offset and what was published, or as JSON the whole message.
    pub async fn run(self, as_json: bool) -> Result<(), Error> {
        let path = Path::parse(&self.path)?;
        let session = self.account.post(&path, "/session", String::new()).await?;
        let id = session["id"].as_str().unwrap_or_default();
        let url = format!("{}/session/{id}/ws", self.account.base()?.replacen("http", "ws", 1));
        let connected = Client::default().ws(&url).max_frame_size(FRAME_BYTES).connect().await;
        let (_, mut socket) = connected.map_err(|error| failure(format!("the socket was refused: {error}")))?;
        let request = json!({"msgId": "tail", "object": "event", "type": "subscribe", "path": path});
        let lost = |error: awc::error::WsProtocolError| failure(format!("the connection was lost: {error}"));
        socket
            .send(Message::Text(request.to_string().into()))
            .await
            .map_err(lost)?;
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0
            && let Some(frame) = socket.next().await
        {
            match frame.map_err(lost)? {
                Frame::Text(text) => left -= u64::from(show(&text, as_json)?),
                Frame::Ping(body) => socket.send(Message::Pong(body)).await.map_err(lost)?,
                Frame::Close(reason) => {
                    let reason = reason.and_then(|reason| reason.description).unwrap_or_default();
                    return Err(failure(format!("the server closed the connection: {reason}")));
                }
                _ => {}
            }
        }
        if left > 0 {
            return Err(failure("the connection was lost"));
        }
        // The server need not answer: everything that was asked for is here.
        let _ = socket.send(Message::Close(None)).await;
        Ok(())
    }
}

/// Prints an event, or tells what else the server said; returns whether it was an event.
fn show(frame: &Bytes, as_json: bool) -> Result<bool, Error> {
    let message: Value =
        serde_json::from_slice(frame).map_err(|error| failure(format!("the server sent no JSON: {error}")))?;
    if message["type"] == "message" {
        let whole = String::from_utf8_lossy(frame);
        let line = if as_json {
            whole.into_owned()
        } else {
            format!("{}\t{}", message["offset"], elems(frame)?)
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(|error| failure(error.to_string()))?;
        return Ok(true);
    }
    match message["head"]["ok"].as_bool() {
        Some(false) => Err(failure(message["head"]["errors"][0].as_str().unwrap_or("refused"))),
        _ if message["type"] == "gap" => {
            eprintln!(
                "{}",
                message["head"]["messages"][0]
                    .as_str()
                    .unwrap_or("events were not delivered")
            );
            Ok(false)
        }
        _ => Ok(false),
    }
}

/// What was published, as it was written.
fn elems(frame: &Bytes) -> Result<String, Error> {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        value: Event<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        elems: &'a RawValue,
    }
    let message: Envelope<'_> =
        serde_json::from_slice(frame).map_err(|error| failure(format!("the server sent no event: {error}")))?;
    Ok(message.value.elems.get().to_owned())
}
