//! A connected socket, plain or behind TLS, read and written in the same words.
//!
//! HTTP reads and writes it as a stream; a [`Line`](crate::protocol::line::Line) as far as the kernel
//! takes and gives at once. Invariant: a plain one is no larger than its TCP stream.

use crate::engine::outbox::Outbox;
use crate::protocol::relay::Relay;
use crate::protocol::tether::Tether;
use crate::protocol::tls::Tls;
use bytes::BytesMut;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Polls without a byte in or out after which a connection counts as one that burns time. There are some for
/// every event that a reader's pipe has room for, and none for who just waits.
const MAX_IDLE_POLLS: u32 = 10_000;
/// Bytes that the kernel holds of an answer before it has sent them. It would hold megabytes of a long one, and
/// say nothing of how slowly these are read until a third of them has been.
const UNSENT_BYTES: u32 = 65_536;
/// Chunks joined into one write.
const SLICES: usize = 32;

/// A connected socket.
pub enum Socket {
    /// As it comes.
    Plain(TcpStream),
    /// Behind TLS, with its keys.
    Tls(Box<Tls>),
    /// As HTTP has it.
    Begun(Box<Begun>),
    /// None: a conversation's words leave by HTTP responses instead.
    Relay(Box<Relay>),
}

/// A socket that somebody has begun to read, as all are that HTTP has.
pub struct Begun {
    socket: Socket,
    /// What was read of it and is to be read again.
    read: BytesMut,
    tether: Rc<Tether>,
    /// How long the peer may take nothing of what is written.
    patience: Duration,
    /// Runs as long as it takes nothing.
    fuse: Option<Pin<Box<Sleep>>>,
    /// Polls since the last byte.
    idle_polls: u32,
    /// Whether the kernel holds [`UNSENT_BYTES`] only.
    is_held_short: bool,
}

impl Socket {
    fn stream(&self) -> Option<&TcpStream> {
        match self {
            Socket::Plain(stream) => Some(stream),
            Socket::Tls(tls) => Some(tls.stream()),
            Socket::Begun(begun) => begun.socket.stream(),
            Socket::Relay(_) => None,
        }
    }

    /// Where it is connected to.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream()?.peer_addr().ok()
    }

    /// What an answer over this connection can know of it.
    pub fn tether(&self) -> Option<&Rc<Tether>> {
        match self {
            Socket::Begun(begun) => Some(&begun.tether),
            Socket::Plain(_) | Socket::Tls(_) | Socket::Relay(_) => None,
        }
    }

    /// A socket for HTTP, of which `read` was read, and is to be read again. Whoever takes nothing for as
    /// long as `patience` of what is written to it is cut off.
    pub fn begun(socket: Self, read: BytesMut, patience: Duration) -> Self {
        let tether = Rc::new(Tether::new(matches!(socket, Socket::Plain(_))));
        Socket::Begun(Box::new(Begun {
            socket,
            read,
            tether,
            patience,
            fuse: None,
            idle_polls: 0,
            is_held_short: false,
        }))
    }

    /// The socket itself, and what has come already and nobody has read yet.
    pub fn into_parts(mut self) -> (Self, BytesMut) {
        match self {
            Socket::Plain(_) | Socket::Relay(_) => (self, BytesMut::new()),
            Socket::Tls(ref mut tls) => {
                let text = tls.take_text();
                (self, text)
            }
            Socket::Begun(begun) => {
                let (socket, unread) = begun.socket.into_parts();
                let mut read = begun.read;
                if !unread.is_empty() {
                    read.unsplit(unread);
                }
                (socket, read)
            }
        }
    }

    /// Writes what waits, in one call: how many bytes were taken, or that it would block.
    pub fn try_write_from(&self, outbox: &Outbox) -> io::Result<usize> {
        if let Socket::Relay(relay) = self {
            return relay.write(outbox.chunks());
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = outbox.slices(&mut slices);
        self.try_write(&slices[..filled])
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => match slices {
                [slice] => stream.try_write(slice),
                slices => stream.try_write_vectored(slices),
            },
            Socket::Tls(tls) => tls.try_write(slices),
            Socket::Begun(begun) => begun.socket.try_write(slices),
            Socket::Relay(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Appends what has come to `buffer`: how many bytes, 0 at the end, or that there is nothing.
    pub fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.try_read_buf(buffer),
            Socket::Tls(tls) => tls.try_read(buffer),
            // A line is made of the socket itself.
            Socket::Begun(begun) => begun.socket.try_read(buffer),
            Socket::Relay(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether the kernel has not taken everything yet that [`Socket::try_write`] took.
    pub fn owes(&self) -> bool {
        match self {
            Socket::Plain(_) | Socket::Relay(_) => false,
            Socket::Tls(tls) => tls.owes(),
            Socket::Begun(begun) => begun.socket.owes(),
        }
    }

    /// Has the kernel take what is owed to it, or would block.
    pub fn drain(&self) -> io::Result<()> {
        match self {
            Socket::Plain(_) | Socket::Relay(_) => Ok(()),
            Socket::Tls(tls) => tls.drain(),
            Socket::Begun(begun) => begun.socket.drain(),
        }
    }

    /// Has the peer know, in the words of TLS, that this was all; that may be owed then.
    pub fn close(&self) {
        match self {
            Socket::Plain(_) | Socket::Relay(_) => {}
            Socket::Tls(tls) => tls.close(),
            Socket::Begun(begun) => begun.socket.close(),
        }
    }

    /// Says to the kernel that nothing more will be written.
    pub fn shut_down(&self) {
        if let Some(stream) = self.stream() {
            // The peer may be gone already, which is as good.
            let _ = SockRef::from(stream).shutdown(Shutdown::Write);
        }
    }

    /// Waits until something may have come.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()
            .map_or(Poll::Pending, |stream| stream.poll_read_ready(context))
    }

    /// Waits until the kernel may take more.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Socket::Relay(relay) = self {
            return relay.poll_room(context).map(Ok);
        }
        self.stream()
            .map_or(Poll::Pending, |stream| stream.poll_write_ready(context))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_read(context, buffer),
            Socket::Begun(begun) => {
                let again = begun.read.len().min(buffer.remaining());
                if again == 0 {
                    return begun.poll_more(context, buffer);
                }
                buffer.put_slice(&begun.read.split_to(again));
                if begun.read.is_empty() {
                    begun.read = BytesMut::new();
                }
                Poll::Ready(Ok(()))
            }
            Socket::Relay(_) => Poll::Pending,
        }
    }
}

impl Begun {
    fn poll_more(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.remaining() < before {
            self.idle_polls = 0;
        } else if matches!(read, Poll::Ready(Ok(()))) && before > 0 {
            self.tether.end();
        }
        read
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.is_held_short && (self.tether.is_answering() || bytes.len() > UNSENT_BYTES as usize) {
            self.hold_short();
        }
        let socket = Pin::new(&mut self.socket);
        let written = self.tether.pass(|| socket.poll_write(context, bytes));
        if written.is_ready() {
            self.idle_polls = 0;
        }
        self.watch(context, written)
    }

    fn hold_short(&mut self) {
        self.is_held_short = true;
        #[cfg(target_os = "linux")]
        if let Some(stream) = self.socket.stream() {
            // Where this cannot be set, who reads very slowly is cut off.
            let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Pin::new(&mut self.socket);
        let flushed = self.tether.flush(|| socket.poll_flush(context));
        self.watch(context, flushed)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(context);
        self.watch(context, shut)
    }

    /// Lets a peer wait that takes nothing, for a while. actix-http has no end for who does not read an answer.
    fn watch<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        // actix-http polls on and on while more requests wait than it reads, also behind an answer without end.
        self.idle_polls += 1;
        if self.idle_polls > MAX_IDLE_POLLS && (outcome.is_pending() || self.tether.is_answering()) {
            self.tether.die();
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if outcome.is_ready() {
            self.fuse = None;
            return outcome;
        }
        let fuse = self.fuse.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        ready!(fuse.as_mut().poll(context));
        self.tether.die();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_write(context, bytes),
            Socket::Begun(begun) => begun.poll_write(context, bytes),
            Socket::Relay(_) => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(context),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
            Socket::Begun(begun) => begun.poll_flush(context),
            Socket::Relay(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(context),
            Socket::Begun(begun) => begun.poll_shutdown(context),
            Socket::Relay(_) => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::pipe::{Parting, pipe};
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[test]
    fn a_plain_socket_pays_nothing_for_tls() {
        assert_eq!(size_of::<Socket>(), size_of::<TcpStream>());
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_of_an_answer_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let peer = TcpStream::connect(address).await.expect("a connection");
        let (stream, _) = listener.accept().await.expect("a connection");
        let patience = Duration::from_millis(20);
        // Also if nothing of it has been read yet.
        let mut socket = Socket::begun(Socket::Plain(stream), BytesMut::new(), patience);
        let (inlet, outlet) = pipe(9);
        let tether = Rc::clone(socket.tether().expect("HTTP's"));
        tether.owe(&Rc::new(outlet));
        let error = loop {
            if let Err(error) = socket.write_all(&[0; 65_536]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let parting = poll_fn(|context| inlet.poll_left(context)).await;
        assert_eq!(parting, Parting::Dead);
        drop(peer);
    }
}
