//! A TCP connection whose bytes are sealed by TLS.
//!
//! Reads and writes as far as the kernel takes and gives, in terms of text. What the kernel does not
//! take of a record that was sealed waits here, one record at most, and goes before anything else.
//! Invariant: idle, it holds keys and no buffers; reading shares the worker's memory.

pub mod porch;
mod records;

use crate::protocol::tls::records::{Records, TEXT_BYTES};
use bytes::{Buf, BytesMut};
use rustls::ServerConfig;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// What is read at once: about a record.
const READ_BYTES: usize = 16_384;

thread_local! {
    /// Reading and joining need memory only while they happen, so the worker's connections share it.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connected socket that speaks TLS, as its server.
pub struct Tls {
    stream: TcpStream,
    records: RefCell<Records>,
    /// Text that came and nobody has read yet.
    text: BytesMut,
}

impl Tls {
    /// Shakes hands. `turns` is asked for each time there is something to compute, so that who shakes
    /// hands leaves the worker to others in between.
    pub async fn accept(stream: TcpStream, config: Arc<ServerConfig>, turns: &Semaphore) -> io::Result<Self> {
        let records = RefCell::new(Records::new(config).map_err(io::Error::other)?);
        let text = BytesMut::new();
        let mut tls = Self { stream, records, text };
        while tls.records.get_mut().is_handshaking() {
            tls.stream.readable().await?;
            let turn = turns.acquire().await.map_err(io::Error::other)?;
            match tls.read_ahead() {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            tokio::task::yield_now().await;
            drop(turn);
            poll_fn(|context| tls.poll_drained(context)).await?;
        }
        Ok(tls)
    }

    /// The socket below.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Takes away the text that came and that nobody has read yet.
    pub fn take_text(&mut self) -> BytesMut {
        std::mem::take(&mut self.text)
    }

    /// Writes text, as much as goes into a record; returns how many bytes were taken. The kernel may
    /// have taken fewer: see [`Tls::owes`].
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut records = self.records.borrow_mut();
        drain(&self.stream, &mut records)?;
        let count = seal(&mut records, slices)?;
        match drain(&self.stream, &mut records) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    /// Appends text that has come to `buffer`: how many bytes, 0 at the end, or that there is nothing.
    pub fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let before = buffer.len();
        let mut records = self.records.borrow_mut();
        while buffer.len() == before && !records.has_ended() {
            let received = SCRATCH.with_borrow_mut(|scratch| match self.stream.try_read(scratch)? {
                0 => Ok(None),
                count => Ok::<_, io::Error>(Some(records.receive(&mut scratch[..count], buffer))),
            })?;
            // Alerts, tickets, new keys: if the kernel does not take them now, it will later.
            let drained = drain(&self.stream, &mut records);
            match received {
                None => return Ok(0),
                Some(Err(error)) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                Some(Ok(())) => {}
            }
            match drained {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(buffer.len() - before)
    }

    /// Whether the kernel has not taken everything yet that was written.
    pub fn owes(&self) -> bool {
        !self.records.borrow().waiting().is_empty()
    }

    /// Has the kernel take what it would not take before.
    pub fn drain(&self) -> io::Result<()> {
        drain(&self.stream, &mut self.records.borrow_mut())
    }

    /// Says that this was all.
    pub fn close(&self) {
        // Who cannot be told is gone, which is as good.
        let _ = self.records.borrow_mut().close();
        let _ = self.drain();
    }

    /// Reads into what is kept here until somebody wants it.
    fn read_ahead(&mut self) -> io::Result<usize> {
        let mut text = std::mem::take(&mut self.text);
        let came = self.try_read(&mut text);
        self.text = text;
        came
    }

    fn poll_drained(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.drain() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(context))?;
                }
                drained => return Poll::Ready(drained),
            }
        }
    }
}

/// Whoever lets go of a connection, and however: the peer is told that this was all, if it can be.
impl Drop for Tls {
    fn drop(&mut self) {
        self.close();
    }
}

impl AsyncRead for Tls {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.text.is_empty() {
            match this.read_ahead() {
                Ok(0) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(this.stream.poll_read_ready(context))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
                Ok(_) => {}
            }
        }
        let count = this.text.len().min(buffer.remaining());
        buffer.put_slice(&this.text[..count]);
        this.text.advance(count);
        if this.text.is_empty() {
            this.text = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tls {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drained(context))?;
        Poll::Ready(this.try_write(&[IoSlice::new(bytes)]))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drained(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.close();
        ready!(this.poll_drained(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

fn drain(stream: &TcpStream, records: &mut Records) -> io::Result<()> {
    while !records.waiting().is_empty() {
        let count = stream.try_write(records.waiting())?;
        records.wrote(count);
    }
    Ok(())
}

/// Seals the first bytes of what is to be written as one record; returns how many.
fn seal(records: &mut Records, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let first = slices.first().map_or(&[][..], |slice| slice);
    if slices.len() <= 1 || first.len() >= TEXT_BYTES {
        let text = &first[..first.len().min(TEXT_BYTES)];
        records.seal(text).map_err(io::Error::other)?;
        return Ok(text.len());
    }
    JOINED.with_borrow_mut(|joined| {
        joined.clear();
        for slice in slices {
            let room = TEXT_BYTES - joined.len();
            joined.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        records.seal(joined).map_err(io::Error::other)?;
        Ok(joined.len())
    })
}
