//! From an HTTP request to a socket: everything is checked first, so refusals are plain HTTP.
//!
//! actix-http hands every WebSocket upgrade here and not to the `App`, which frees the connection
//! from its HTTP buffers. Invariant: returns at once; the connection lives on as its own task.

use crate::broker::{Broker, Seat};
use crate::domain::error::{Code, Refusal};
use crate::domain::origin::Origins;
use crate::domain::path::CompanyName;
use crate::domain::visitor::{Proxies, Visitor};
use crate::protocol::conversation::{Conversation, Opening};
use crate::protocol::deflate::{Compression, offer};
use crate::protocol::extract::{self, Caller, Headers};
use crate::protocol::line::Line;
use crate::protocol::pump::Desk;
use crate::protocol::reply::{self, Envelope};
use crate::protocol::socket::Socket;
use crate::protocol::speech::Speech;
use actix_codec::{Encoder, Framed};
use actix_http::body::BodySize;
use actix_http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_VERSION};
use actix_http::ws::{handshake_response, verify_handshake};
use actix_http::{ConnectionType, HttpMessage, Request, Response, h1};
use bytes::{Bytes, BytesMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a refused client may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// Bytes that a refused client may still send.
const DISCARD_BYTES: usize = 65_536;

/// What a path of the socket kind asks for.
pub struct Door<'a> {
    /// The part of the path that says who may come in, as it was written.
    pub key: &'a str,
    /// The protocol behind this door.
    pub speech: &'static Speech,
    /// The same for who agrees on compression, where there is such a thing.
    pub deflated: Option<&'static Speech>,
    /// Decides who comes in.
    pub admit: fn(&Doorkeeper, &Request, &str) -> Result<Seat, Refusal>,
    /// How those are told who do not.
    pub refusing: Refusing,
}

/// How somebody is told that they are not let in.
#[derive(Clone, Copy)]
pub enum Refusing {
    /// By an HTTP answer instead of the upgrade; makes the body of it.
    Answer(fn(&Refusal) -> String),
    /// By an upgrade and an end without a word, where clients wait for nothing else (Webinate/users,
    /// comms-controller.ts). What is no upgrade at all is answered as the session protocol would.
    Drop,
}

/// What a worker needs to let sockets in.
pub struct Doorkeeper {
    /// The product.
    pub broker: Arc<Broker>,
    /// Which pages may come.
    pub origins: Arc<Origins>,
    /// Whose word is taken for where a request comes from.
    pub proxies: Arc<Proxies>,
    /// Whose a path is that should name a company and does not, where a listener has such.
    pub lobby: Option<CompanyName>,
    /// Whether clients are let compress.
    pub compression: Compression,
    /// The worker.
    pub desk: Rc<Desk>,
    /// Finds the door of a path.
    pub door: fn(&str) -> Option<Door<'_>>,
}

type Upgrade = Framed<Socket, h1::Codec>;

impl Doorkeeper {
    /// Lets a socket in, or answers why not.
    pub async fn admit(self: Rc<Self>, request: Request, framed: Upgrade) {
        let parts = framed.into_parts();
        let mut codec = parts.codec;
        let (mut socket, unread) = parts.io.into_parts();
        let mut early = parts.read_buf;
        if !unread.is_empty() {
            early.unsplit(unread);
        }
        // Answers to requests before this one that have not been written yet go first.
        let mut answer = parts.write_buf;
        let peer = request.head().peer_addr;
        match self.check(&request) {
            Ok((seat, door)) => {
                let mut response = handshake_response(request.head()).finish().drop_body();
                let agreed = door.deflated.and_then(|speech| Some((self.agree(&request)?, speech)));
                let speech = match agreed {
                    Some((answer, deflated)) => {
                        response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, answer);
                        self.broker.metrics().connections_compressed.inc();
                        deflated
                    }
                    None => door.speech,
                };
                encode(&mut codec, response, BodySize::None, &mut answer);
                let token = &seat.access.token;
                tracing::info!(target: "streamgate::access", peer = peer.map(tracing::field::display), company = %token.company, token = %token.key, "connection opened");
                let opening = Opening {
                    line: Line::new(socket),
                    peer,
                    speech,
                    early,
                    answer: answer.freeze(),
                };
                Conversation::start(Rc::clone(&self.desk), seat, opening);
            }
            Err((refusal, refusing)) => {
                let entry = refusal.code.entry();
                self.broker.metrics().count_refusal(refusal.code);
                self.broker.metrics().count_request(entry.status);
                tracing::info!(target: "streamgate::access", peer = peer.map(tracing::field::display), status = entry.status, code = entry.code, "connection refused");
                match refusing {
                    Refusing::Answer(body) => refuse(&mut codec, &refusal, body(&refusal), &mut answer),
                    Refusing::Drop => {
                        let response = handshake_response(request.head()).finish().drop_body();
                        encode(&mut codec, response, BodySize::None, &mut answer);
                    }
                }
                // Whether it arrives is the client's business; that it ends is ours.
                let _ = tokio::time::timeout(REFUSAL_TIME, tell(&mut socket, &answer)).await;
            }
        }
    }

    /// What to answer whom we agree with on compression.
    fn agree(&self, request: &Request) -> Option<HeaderValue> {
        match self.compression {
            Compression::Off => None,
            Compression::On => offer::accept(request.headers().get_all(SEC_WEBSOCKET_EXTENSIONS)),
        }
    }

    fn check<'a>(&self, request: &'a Request) -> Result<(Seat, Door<'a>), (Refusal, Refusing)> {
        let usual = Refusing::Answer(|refusal| Envelope::Session.failure(refusal));
        let unknown = || Refusal::new(Code::RouteUnknown, "there is no socket at this address");
        let door = (self.door)(request.path()).ok_or_else(|| (unknown(), usual))?;
        let spoken = match door.refusing {
            Refusing::Drop => usual,
            own => own,
        };
        verify_handshake(request.head())
            .map_err(|error| (Refusal::new(Code::UpgradeMalformed, error.to_string()), spoken))?;
        match (door.admit)(self, request, door.key) {
            Ok(seat) => Ok((seat, door)),
            Err(refusal) => Err((refusal, door.refusing)),
        }
    }

    /// Where a request comes from.
    pub fn visitor<'a>(&'a self, request: &'a Request) -> Visitor<'a> {
        extract::visitor(Caller {
            headers: Headers::Map(request.headers()),
            peer: request.head().peer_addr.map(|peer| peer.ip()),
            proxies: Some(&self.proxies),
            url: None,
        })
    }

    /// Refused with `origin.denied` if a page of another origin than those that may sends it.
    pub fn check_origin(&self, request: &Request) -> Result<(), Refusal> {
        extract::check_origin(Headers::Map(request.headers()), &self.origins)
    }
}

/// Writes the answer and reads what the client still sends, so that no reset overtakes the answer.
pub(super) async fn tell(socket: &mut Socket, answer: &[u8]) -> std::io::Result<()> {
    socket.write_all(answer).await?;
    socket.shutdown().await?;
    let (mut buffer, mut discarded) = ([0; 1_024], 0);
    while discarded < DISCARD_BYTES {
        match socket.read(&mut buffer).await? {
            0 => break,
            count => discarded += count,
        }
    }
    Ok(())
}

fn refuse(codec: &mut h1::Codec, refusal: &Refusal, body: String, answer: &mut BytesMut) {
    let mut response = Response::new(reply::status(refusal.code)).drop_body();
    response.head_mut().set_connection_type(ConnectionType::Close);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(later) = reply::retry_after(refusal) {
        headers.insert(RETRY_AFTER, HeaderValue::from(later));
    }
    if refusal.code == Code::UpgradeMalformed {
        // RFC 6455 §4.2.2: who asks for another version is told which there is.
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    encode(codec, response, BodySize::Sized(body.len() as u64), answer);
    let chunk = h1::Message::Chunk(Some(Bytes::from(body)));
    // Encoding into memory fails for no input that we give.
    let _ = codec.encode(chunk, answer);
}

fn encode(codec: &mut h1::Codec, response: Response<()>, size: BodySize, answer: &mut BytesMut) {
    // As above.
    let _ = codec.encode(h1::Message::Item((response, size)), answer);
}
