//! Where connections wait on a worker until their TLS handshake is done.
//!
//! Who does not get on is sent away: after a time, or when too many wait, the longest there first.
//! Invariant: who only knocks never keeps out who comes in.

use crate::broker::Broker;
use crate::domain::error::{Code, Refusal};
use crate::protocol::reply::Envelope;
use crate::protocol::socket::Socket;
use crate::protocol::tls::Tls;
use crate::protocol::upgrade;
use actix_server::GracefulShutdownSignal;
use rustls::ServerConfig;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// The most handshakes that a worker has under way.
const HANDSHAKES: usize = 2_048;
/// Handshakes that may compute before a worker's other tasks get their turn.
const TURNS: usize = 4;

/// One worker's handshakes.
pub struct Porch {
    config: Arc<ServerConfig>,
    broker: Arc<Broker>,
    stopping: GracefulShutdownSignal,
    turns: Semaphore,
    places: RefCell<Places>,
}

/// Who waits, by order of arrival.
#[derive(Default)]
struct Places {
    taken: BTreeMap<u64, Rc<Notify>>,
    arrivals: u64,
}

impl Places {
    /// Takes a place among at most `most`, if need be of who has waited longest, who is told.
    fn take(&mut self, most: usize) -> (u64, Rc<Notify>) {
        if self.taken.len() >= most
            && let Some((_, longest)) = self.taken.pop_first()
        {
            longest.notify_one();
        }
        let (number, place) = (self.arrivals, Rc::new(Notify::new()));
        self.arrivals += 1;
        self.taken.insert(number, Rc::clone(&place));
        (number, place)
    }
}

impl Porch {
    /// An empty one; `config` is shared by all workers. When the server stops, all are sent away.
    pub fn new(config: Arc<ServerConfig>, broker: Arc<Broker>, stopping: GracefulShutdownSignal) -> Self {
        Self {
            config,
            broker,
            stopping,
            turns: Semaphore::new(TURNS),
            places: RefCell::default(),
        }
    }

    /// Shakes hands with who has connected.
    pub async fn enter(&self, stream: TcpStream) -> io::Result<Socket> {
        let peer = stream.peer_addr().ok();
        let (number, dismissed) = self.places.borrow_mut().take(HANDSHAKES);
        let entered = tokio::select! {
            entered = tokio::time::timeout(HANDSHAKE_TIME, self.receive(stream)) => {
                entered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            () = self.stopping.notified() => Err(io::ErrorKind::ConnectionAborted.into()),
            () = dismissed.notified() => Err(io::ErrorKind::ConnectionAborted.into()),
        };
        self.places.borrow_mut().taken.remove(&number);
        match &entered {
            Ok(_) => self.broker.metrics().tls_handshakes.inc(),
            Err(error) => {
                // Anybody can cause it, so it is not for the usual log.
                tracing::debug!(target: "streamgate::access", peer = peer.map(tracing::field::display), "no TLS: {error}");
                self.broker.metrics().tls_handshakes_failed.inc()
            }
        };
        entered
    }

    /// Keys are made only for who has said something, and something that can be TLS.
    async fn receive(&self, stream: TcpStream) -> io::Result<Socket> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0].is_ascii_uppercase() {
            let refusal = Refusal::new(Code::TlsWanted, "this address speaks TLS only");
            self.broker.metrics().count_refusal(refusal.code);
            upgrade::tell(&mut Socket::Plain(stream), plain_answer(&refusal).as_bytes()).await?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let tls = Tls::accept(stream, Arc::clone(&self.config), &self.turns).await?;
        Ok(Socket::Tls(Box::new(tls)))
    }
}

/// The answer to who speaks plain HTTP.
fn plain_answer(refusal: &Refusal) -> String {
    let body = Envelope::Session.failure(refusal);
    let length = body.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn who_has_waited_longest_makes_room() {
        let mut places = Places::default();
        let taken: Vec<_> = (0..5).map(|_| places.take(3)).collect();
        assert_eq!(places.taken.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
        let told = taken.iter().map(|(_, place)| place.notified().now_or_never().is_some());
        assert_eq!(told.collect::<Vec<_>>(), [true, true, false, false, false]);
        places.taken.remove(&3);
        places.take(3);
        assert_eq!(places.taken.keys().copied().collect::<Vec<_>>(), [2, 4, 5]);
    }
}
