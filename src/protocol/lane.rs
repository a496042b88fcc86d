//! The short way for what is asked most: publishing, and opening a session.
//!
//! A back end does both without pause on connections that it keeps, so these requests are read and
//! answered here, by the functions that the `App`'s routes call too: parsed in place, answered into
//! one buffer, a timer a connection and not one a request. Invariant: whatever is unusual about a
//! request (a page sent it, a coding, an escaped path, a long body) goes to the `App` byte for byte, and so
//! does the connection from then on; nothing is refused here that the `App` would take.

pub mod wire;

use crate::broker::Broker;
use crate::domain::person::PublicUrl;
use crate::domain::visitor::Proxies;
use crate::protocol::extract::{Caller, Headers};
use crate::protocol::lane::wire::{Errand, Parsed, Request};
use crate::protocol::names::Names;
use crate::protocol::reply::{self, Answer, Envelope};
use crate::protocol::rest::verbs::{Letter, publish_letter};
use crate::protocol::session::verbs::open_for;
use crate::protocol::socket::Socket;
use crate::protocol::traffic::{Told, Visit};
use actix_server::GracefulShutdownSignal;
use actix_web::http::Method;
use bytes::{Buf, BytesMut};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

/// Room for what comes first; most connections go on to the `App` with it.
const FIRST_BYTES: usize = 2_048;
/// Room for what comes at once after that.
const READ_BYTES: usize = 16_384;
/// Answers that gather before they are written.
const WRITE_BYTES: usize = 65_536;
/// How long a request may take to be there; after that the `App` waits for the rest of it.
const WHOLE_TIME: Duration = Duration::from_secs(5);

/// How long a stopping server waits for what is on its way already.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// What the lane needs of a worker.
pub struct Lane {
    /// The product.
    pub broker: Arc<Broker>,
    /// Whose word is taken for where a request comes from.
    pub proxies: Arc<Proxies>,
    /// Where people reach this server.
    pub url: Arc<PublicUrl>,
    /// The server stops.
    pub stopping: GracefulShutdownSignal,
    /// How long a connection may idle between requests, or not read its answers.
    pub keep_alive: Duration,
}

/// A connection while it is in the lane.
struct Guest {
    socket: Socket,
    peer: Option<SocketAddr>,
    /// What has come and is not answered.
    inbox: BytesMut,
    /// Answers that are not written.
    outbox: Vec<u8>,
    timer: Pin<Box<Sleep>>,
    /// Whether something was answered.
    is_known: bool,
    /// Since when it idles, or the request that is not all there yet has been coming.
    since: Instant,
}

/// What there is to read.
enum Read {
    /// More than before.
    More,
    /// Nothing in time.
    Late,
    /// Nothing any more.
    End,
}

impl Lane {
    /// Answers what it can; returns the connection, and what has come and is for the `App`. An error
    /// is the connection's end, of whatever kind.
    pub async fn serve(&self, socket: Socket, peer: Option<SocketAddr>) -> io::Result<(Socket, BytesMut)> {
        let since = Instant::now();
        let mut guest = Guest {
            socket,
            peer,
            inbox: BytesMut::with_capacity(FIRST_BYTES),
            outbox: Vec::new(),
            timer: Box::pin(tokio::time::sleep_until(since + WHOLE_TIME)),
            is_known: false,
            since,
        };
        // One for all turns: to be put on the list of those who wait costs more than to stay there.
        let mut stopping = std::pin::pin!(self.stopping.notified());
        loop {
            let (read, is_last) = tokio::select! {
                biased;
                // What has come already is answered, though it be that the server stops.
                () = &mut stopping => {
                    let last = tokio::time::timeout(LAST_LOOK, guest.read(self.keep_alive)).await;
                    (last.unwrap_or(Ok(Read::End)), true)
                }
                read = guest.read(self.keep_alive) => (read, false),
            };
            let stays = match read? {
                Read::More => self.answer_all(&mut guest).await?,
                Read::Late if guest.idles() => return Err(io::ErrorKind::TimedOut.into()),
                Read::Late => false,
                Read::End => return Err(io::ErrorKind::ConnectionAborted.into()),
            };
            guest.write(self.keep_alive).await?;
            if !stays {
                return Ok((guest.socket, guest.inbox));
            }
            if is_last {
                guest.socket.shutdown().await?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            guest.make_room();
        }
    }

    /// Answers every whole request that has come; returns whether the rest is for the lane too.
    async fn answer_all(&self, guest: &mut Guest) -> io::Result<bool> {
        loop {
            let mut fields = wire::FIELDS;
            let request = match wire::parse(&guest.inbox, &mut fields, self.broker.limits().max_body_bytes) {
                Parsed::Whole(request) => request,
                Parsed::Part => return Ok(true),
                Parsed::Other => return Ok(false),
            };
            self.answer(&request, guest.peer, &mut guest.outbox).await;
            let length = request.length;
            guest.inbox.advance(length);
            guest.since = Instant::now();
            guest.is_known = true;
            if guest.outbox.len() >= WRITE_BYTES {
                guest.write(self.keep_alive).await?;
            }
        }
    }

    async fn answer(&self, request: &Request<'_>, peer: Option<SocketAddr>, outbox: &mut Vec<u8>) {
        let visit = Visit::begin().await;
        let caller = Caller {
            headers: Headers::List(request.fields),
            peer: peer.map(|peer| peer.ip()),
            proxies: Some(&self.proxies),
            url: Some(&self.url),
        };
        let answer = match request.errand {
            Errand::Open => {
                let opened = open_for(&self.broker, caller, async |_| Ok(request.body)).await;
                reply::settle(self.broker.metrics(), Envelope::Session, opened)
            }
            Errand::Publish { company, stream, query } => {
                let letter = Letter {
                    caller,
                    names: Names::Octave,
                    company,
                    stream,
                    query,
                };
                let published = publish_letter(&self.broker, &letter, async |_| Ok(request.body)).await;
                reply::settle(self.broker.metrics(), Envelope::Rest, published)
            }
        };
        wire::put(outbox, &answer);
        let Answer { status, .. } = answer;
        let told = Told {
            peer,
            method: &Method::POST,
            route: Some(request.errand.route()),
            status: status.as_u16(),
        };
        visit.end(&self.broker, &told);
    }
}

impl Guest {
    /// Room for what comes next; who idles is not to keep what a long request took.
    fn make_room(&mut self) {
        if self.inbox.is_empty() && self.inbox.capacity() > 2 * READ_BYTES {
            self.inbox = BytesMut::new();
        }
        self.inbox.reserve(READ_BYTES);
    }

    /// Whether it is between two requests.
    fn idles(&self) -> bool {
        self.is_known && self.inbox.is_empty()
    }

    async fn read(&mut self, keep_alive: Duration) -> io::Result<Read> {
        let idles = self.idles();
        let patience = if idles { keep_alive } else { WHOLE_TIME };
        let came = within(
            &mut self.timer,
            self.since + patience,
            self.socket.read_buf(&mut self.inbox),
        )
        .await;
        if idles {
            self.since = Instant::now();
        }
        match came.transpose()? {
            Some(0) => Ok(Read::End),
            Some(_) => Ok(Read::More),
            None => Ok(Read::Late),
        }
    }

    async fn write(&mut self, patience: Duration) -> io::Result<()> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let end = Instant::now() + patience;
        let writing = async {
            self.socket.write_all(&self.outbox).await?;
            // Behind TLS, what was taken may still wait for the kernel.
            self.socket.flush().await
        };
        let written = within(&mut self.timer, end, writing).await;
        written.ok_or(io::ErrorKind::TimedOut)??;
        self.outbox.clear();
        if self.outbox.capacity() > 2 * READ_BYTES {
            self.outbox = Vec::new();
        }
        Ok(())
    }
}

/// What comes of `task`, if it does before `end`. The timer may be set for earlier, and is looked at
/// then: setting it each time would cost more than all else here.
async fn within<T>(timer: &mut Pin<Box<Sleep>>, end: Instant, task: impl Future<Output = T>) -> Option<T> {
    let mut task = std::pin::pin!(task);
    if timer.deadline() > end {
        timer.as_mut().reset(end);
    }
    loop {
        tokio::select! {
            biased;
            done = &mut task => return Some(done),
            () = timer.as_mut() => {
                if end <= Instant::now() {
                    return None;
                }
                timer.as_mut().reset(end);
            }
        }
    }
}
