//! A connected socket, plain or behind TLS, read and written in the same words.
//!
//! HTTP reads and writes it as a stream; a [`Line`](crate::protocol::line::Line) as far as the kernel
//! takes and gives at once. Invariant: a plain one is no larger than its TCP stream.

use crate::protocol::tls::Tls;
use bytes::BytesMut;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connected socket.
pub enum Socket {
    /// As it comes.
    Plain(TcpStream),
    /// Behind TLS, with its keys.
    Tls(Box<Tls>),
    /// With what was read of it and is to be read again.
    Begun(Box<Begun>),
}

/// A socket that somebody has begun to read.
pub struct Begun {
    socket: Socket,
    read: BytesMut,
}

impl Socket {
    fn stream(&self) -> &TcpStream {
        match self {
            Socket::Plain(stream) => stream,
            Socket::Tls(tls) => tls.stream(),
            Socket::Begun(begun) => begun.socket.stream(),
        }
    }

    /// Where it is connected to.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream().peer_addr().ok()
    }

    /// A socket of which `read` was read, and is to be read again.
    pub fn begun(socket: Self, read: BytesMut) -> Self {
        match read.is_empty() {
            true => socket,
            false => Socket::Begun(Box::new(Begun { socket, read })),
        }
    }

    /// The socket itself, and what has come already and nobody has read yet.
    pub fn into_parts(mut self) -> (Self, BytesMut) {
        match self {
            Socket::Plain(_) => (self, BytesMut::new()),
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

    /// Writes the first bytes of what is to be written: how many were taken, or that it would block.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => match slices {
                [slice] => stream.try_write(slice),
                slices => stream.try_write_vectored(slices),
            },
            Socket::Tls(tls) => tls.try_write(slices),
            Socket::Begun(begun) => begun.socket.try_write(slices),
        }
    }

    /// Appends what has come to `buffer`: how many bytes, 0 at the end, or that there is nothing.
    pub fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.try_read_buf(buffer),
            Socket::Tls(tls) => tls.try_read(buffer),
            // A line is made of the socket itself.
            Socket::Begun(begun) => begun.socket.try_read(buffer),
        }
    }

    /// Whether the kernel has not taken everything yet that [`Socket::try_write`] took.
    pub fn owes(&self) -> bool {
        match self {
            Socket::Plain(_) => false,
            Socket::Tls(tls) => tls.owes(),
            Socket::Begun(begun) => begun.socket.owes(),
        }
    }

    /// Has the kernel take what is owed to it, or would block.
    pub fn drain(&self) -> io::Result<()> {
        match self {
            Socket::Plain(_) => Ok(()),
            Socket::Tls(tls) => tls.drain(),
            Socket::Begun(begun) => begun.socket.drain(),
        }
    }

    /// Has the peer know, in the words of TLS, that this was all; that may be owed then.
    pub fn close(&self) {
        match self {
            Socket::Plain(_) => {}
            Socket::Tls(tls) => tls.close(),
            Socket::Begun(begun) => begun.socket.close(),
        }
    }

    /// Says to the kernel that nothing more will be written.
    pub fn shut_down(&self) {
        // The peer may be gone already, which is as good.
        let _ = SockRef::from(self.stream()).shutdown(Shutdown::Write);
    }

    /// Waits until something may have come.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read_ready(context)
    }

    /// Waits until the kernel may take more.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_write_ready(context)
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
                    return Pin::new(&mut begun.socket).poll_read(context, buffer);
                }
                buffer.put_slice(&begun.read.split_to(again));
                if begun.read.is_empty() {
                    begun.read = BytesMut::new();
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_write(context, bytes),
            Socket::Begun(begun) => Pin::new(&mut begun.socket).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(context),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
            Socket::Begun(begun) => Pin::new(&mut begun.socket).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(context),
            Socket::Begun(begun) => Pin::new(&mut begun.socket).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_socket_pays_nothing_for_tls() {
        assert_eq!(size_of::<Socket>(), size_of::<TcpStream>());
    }
}
