//! One actor's way to the server: requests over connections of its own, and sockets.
//!
//! Knows when to give up waiting, not what is said. Invariant: no wait is without an end, as the
//! server may be stopped, killed or gone at any moment.

use crate::cli::torture::arena::Arena;
use actix_codec::{Framed, FramedParts};
use actix_http::ws::{Codec, Frame, Message};
use actix_web::http::Method;
use awc::Client;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(3);
/// The largest answer and the largest frame.
const BODY_BYTES: usize = 256 << 20;
const FRAME_BYTES: usize = 16 << 20;
/// Longest head of an answer to an upgrade.
const HEAD_BYTES: usize = 16 << 10;
/// A reader's receive buffer; small, so that a stall is felt.
const RECEIVE_BYTES: u32 = 16 << 10;

/// An answer.
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
}

/// HTTP connections of one actor.
pub struct Link {
    arena: Rc<Arena>,
    client: Client,
}

impl Link {
    /// Nothing is connected yet.
    pub fn new(arena: &Rc<Arena>) -> Self {
        Self {
            arena: Rc::clone(arena),
            client: Client::builder().timeout(ANSWER).finish(),
        }
    }

    /// Ends the connections that idle.
    pub fn hang_up(&mut self) {
        *self = Self::new(&self.arena);
    }

    /// Asks; nothing if no whole answer came.
    pub async fn ask(&self, method: Method, address: &str, key: Option<&str>, body: String) -> Option<Reply> {
        let account = &self.arena.account;
        let url = format!("http://127.0.0.1:{}{address}", self.arena.port);
        let mut request = self
            .client
            .request(method, url)
            .insert_header(("X-Auth-Company", account.company.as_str()))
            .insert_header(("X-Auth-User", account.user.as_str()))
            .insert_header(("X-Auth-Token", account.token.as_str()));
        if let Some(key) = key {
            request = request.insert_header(("Idempotency-Key", key));
        }
        let mut answer = request.send_body(body).await.ok()?;
        let status = answer.status().as_u16();
        let body = timeout(ANSWER, answer.body().limit(BODY_BYTES)).await.ok()?.ok()?;
        Some(Reply { status, body })
    }

    /// Asks without a body.
    pub async fn get(&self, address: &str) -> Option<Reply> {
        self.ask(Method::GET, address, None, String::new()).await
    }

    /// Whether the server says that it can serve.
    pub async fn is_ready(&self) -> bool {
        self.get("/health/ready").await.is_some_and(|reply| reply.status == 200)
    }
}

/// A session's socket.
pub struct Socket {
    framed: Framed<TcpStream, Codec>,
}

/// What came on a socket.
#[derive(Debug)]
pub enum Heard {
    /// A text.
    Text(Bytes),
    /// Something that needs no attention.
    Noise,
    /// Nothing for as long as was waited.
    Silence,
    /// It is over.
    End,
}

impl Socket {
    /// Connects to a session; nothing if the server does not want to or is not there.
    pub async fn connect(port: u16, session: &str) -> Option<Self> {
        timeout(ANSWER, Self::upgrade(port, session)).await.ok()?.ok()?
    }

    async fn upgrade(port: u16, session: &str) -> std::io::Result<Option<Self>> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        let mut stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        let request = format!(
            "GET /session/{session}/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = BytesMut::new();
        let end = loop {
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if head.len() > HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
                return Ok(None);
            }
        };
        let rest = head.split_off(end);
        let codec = Codec::new().client_mode().max_size(FRAME_BYTES);
        let framed = Framed::from_parts(FramedParts::with_read_buf(stream, codec, rest));
        Ok(head.starts_with(b"HTTP/1.1 101").then_some(Self { framed }))
    }

    /// Sends a text; false if the socket is over.
    pub async fn say(&mut self, text: String) -> bool {
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> bool {
        matches!(timeout(ANSWER, self.framed.send(message)).await, Ok(Ok(())))
    }

    /// Waits for what comes next, so long at most.
    pub async fn hear(&mut self, longest: Duration) -> Heard {
        match timeout(longest, self.framed.next()).await {
            Err(_) => Heard::Silence,
            Ok(Some(Ok(Frame::Text(text)))) => Heard::Text(text),
            Ok(Some(Ok(Frame::Ping(body)))) => match self.send(Message::Pong(body)).await {
                true => Heard::Noise,
                false => Heard::End,
            },
            Ok(Some(Ok(Frame::Pong(_)))) => Heard::Noise,
            Ok(_) => Heard::End,
        }
    }

    /// Says goodbye, as a client should.
    pub async fn close(mut self) {
        self.send(Message::Close(None)).await;
    }
}
