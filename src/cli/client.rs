//! A small client of a running server: publish an event, follow a stream.

use crate::cli::{Output, complain, failure, malformed, print};
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::path::Path;
use crate::protocol::reply::PROCESSED;
use actix_http::ws::{Frame, Message};
use awc::Client;
use bytes::Bytes;
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// The largest frame that is taken.
const FRAME_BYTES: usize = 16 << 20;

/// Where the server is, and who asks.
#[derive(Args)]
pub(in crate::cli) struct Account {
    /// The server.
    #[arg(
        long,
        alias = "server",
        env = "STREAMGATE_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    url: String,
    /// The company; if not given, the first segment of the path where there is one.
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

/// An answer of the server in either envelope.
#[derive(Deserialize)]
struct Envelope<'a> {
    head: Head,
    /// Kept as it was written, so that what is shown is what was published.
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Head {
    ok: bool,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    messages: Vec<String>,
    code: Option<String>,
}

impl Head {
    /// The server's refusal as our own: the same code, the same words.
    fn refusal(self) -> Error {
        let known = |name: String| Code::ALL.iter().find(|code| code.entry().code == name).copied();
        let text = self.errors.into_iter().next().unwrap_or_else(|| "refused".to_owned());
        match self.code.and_then(known) {
            Some(code) => Refusal::new(code, text).into(),
            None => failure(text),
        }
    }
}

impl Account {
    /// The token; refused if none was given.
    pub(in crate::cli) fn token(&self) -> Result<&str, Error> {
        let token = self.token.as_deref().filter(|token| !token.is_empty());
        token.ok_or_else(|| malformed("STREAMGATE_TOKEN is not set: whose token is to be used?"))
    }

    /// The company, if one was given.
    pub(in crate::cli) fn company(&self) -> Option<&str> {
        self.company.as_deref().filter(|company| !company.is_empty())
    }

    /// The user, if one was given.
    pub(in crate::cli) fn user(&self) -> Option<&str> {
        self.user.as_deref().filter(|user| !user.is_empty())
    }

    /// Sends a request and returns the answer's body, or what the server said against it.
    async fn post(&self, path: &Path, address: &str, body: String) -> Result<Box<RawValue>, Error> {
        let token = self.token()?;
        let company = self.company().unwrap_or(path.company());
        let url = format!("{}{address}", self.base()?);
        let mut request = Client::default()
            .post(&url)
            .insert_header(("X-Auth-Company", company))
            .insert_header(("X-Auth-Token", token))
            .insert_header(("Content-Type", "application/json"));
        if let Some(user) = self.user() {
            request = request.insert_header(("X-Auth-User", user));
        }
        let answer = request.send_body(body).await;
        let mut answer = answer.map_err(|error| failure(format!("{url}: {error}; is the server running?")))?;
        let body = answer.body().limit(FRAME_BYTES).await;
        let body = body.map_err(|error| failure(format!("{url}: {error}")))?;
        let envelope: Envelope<'_> = serde_json::from_slice(&body)
            .map_err(|_| failure(format!("{url} is no Streamgate: {}", answer.status())))?;
        if envelope.head.ok {
            Ok(envelope.body.to_owned())
        } else {
            Err(envelope.head.refusal())
        }
    }

    /// The server's address without a slash behind it, as it was typed.
    pub(in crate::cli) fn url(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    fn base(&self) -> Result<&str, Error> {
        let url = self.url();
        if url.starts_with("http://") {
            return Ok(url);
        }
        Err(malformed(format!(
            "STREAMGATE_URL is \"{url}\": http://host:port is wanted; this client does not speak TLS yet"
        )))
    }
}

/// What an answer's body says against a request; nothing if it is no refusal of ours.
pub(in crate::cli) fn refusal(body: &[u8]) -> Option<Error> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    (!envelope.head.ok).then(|| envelope.head.refusal())
}

impl Publish {
    pub async fn run(self) -> Result<Output, Error> {
        let path = Path::parse(&self.path)?;
        let event: &RawValue = serde_json::from_str(&self.event)
            .map_err(|error| malformed(format!("the event is no JSON: {error}; quote it: '{{\"open\":true}}'")))?;
        let body = format!(r#"{{"path":"{path}","elems":{event}}}"#);
        let address = format!("/v5.0/{}/event", path.company());
        let event = self.account.post(&path, &address, body).await?;
        let Named { id } = parse(event.get())?;
        let text = format!("{id} published to {path}");
        let json = event.get().to_owned();
        let is_good = true;
        Ok(Output { json, text, is_good })
    }
}

impl Tail {
    /// Prints each event as a line: its offset and what was published, or as JSON the whole message.
    pub async fn run(self, as_json: bool) -> Result<(), Error> {
        let path = Path::parse(&self.path)?;
        let session = self.account.post(&path, "/session", String::new()).await?;
        let Named { id } = parse(session.get())?;
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

/// Anything that has an id.
#[derive(Deserialize)]
struct Named {
    id: String,
}

/// What comes on the socket: an event, a notice or an acknowledgement.
#[derive(Deserialize)]
struct Incoming<'a> {
    offset: Option<u64>,
    #[serde(borrow)]
    value: Option<Event<'a>>,
    head: Option<Head>,
}

#[derive(Deserialize)]
struct Event<'a> {
    /// What was published, as it was written.
    #[serde(borrow)]
    elems: &'a RawValue,
}

/// Prints an event, or tells what else the server said; returns whether it was an event.
fn show(frame: &Bytes, as_json: bool) -> Result<bool, Error> {
    let text = String::from_utf8_lossy(frame);
    let message: Incoming<'_> = parse(&text)?;
    match message {
        Incoming {
            offset: Some(offset),
            value: Some(event),
            ..
        } => {
            let line = if as_json {
                text.to_string()
            } else {
                format!("{offset}\t{}", event.elems)
            };
            print(&line)?;
            Ok(true)
        }
        Incoming { head: Some(head), .. } if !head.ok => Err(head.refusal()),
        Incoming { head: Some(head), .. } => {
            // The acknowledgement is the sign to start publishing; a notice says what was lost.
            let told = head.messages.iter().map(|message| match message.as_str() {
                PROCESSED => "subscribed".to_owned(),
                notice => notice.to_owned(),
            });
            complain(&told.collect::<Vec<_>>(), None);
            Ok(false)
        }
        _ => Ok(false),
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| failure(format!("the server's answer is not understood: {error}")))
}
