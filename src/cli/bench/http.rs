//! One keep-alive connection that asks and reads the answer, with as little work as HTTP/1.1 allows.
//!
//! Of an answer only the status and the Content-Length are looked at; the body is lent to the caller. Invariant: no
//! wait is without an end, and no answer takes more memory than is allowed here.

use crate::cli::bench::target::Target;
use crate::cli::bench::wire::Wire;
use crate::cli::{client, failure};
use crate::domain::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest head and largest body.
const HEAD_BYTES: usize = 16 << 10;
const BODY_BYTES: usize = 16 << 20;

/// A connection.
pub struct Http {
    wire: Wire,
    buffer: Vec<u8>,
    /// Bytes that were read behind the last answer.
    behind: usize,
}

/// An answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: &'a [u8],
}

/// Where an answer's body is.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body: usize,
    end: usize,
}

impl Answer<'_> {
    /// The body of a success; what the server said against it otherwise.
    pub fn success(&self) -> Result<&[u8], Error> {
        match self.status {
            200..300 => Ok(self.body),
            _ => Err(self.refusal()),
        }
    }

    /// What the server said against the request.
    pub fn refusal(&self) -> Error {
        let unknown = || failure(format!("the server answers with status {}", self.status));
        client::refusal(self.body).unwrap_or_else(unknown)
    }
}

impl Http {
    /// Connects.
    pub async fn connect(target: &Target, number: usize) -> Result<Self, Error> {
        let wire = target.connect(number).await?;
        Ok(Self {
            wire,
            buffer: Vec::new(),
            behind: 0,
        })
    }

    /// Sends a request and reads its answer, whatever its status is.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>, Error> {
        let head = match timeout(PATIENCE, self.exchange(request)).await {
            Err(_) => Err(failure(format!("no answer for {} s", PATIENCE.as_secs()))),
            Ok(head) => head.map_err(|error| failure(format!("the connection was lost: {error}"))),
        }?;
        Ok(Answer {
            status: head.status,
            body: &self.buffer[head.body..head.end],
        })
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<Head> {
        self.wire.write_all(request).await?;
        self.wire.flush().await?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
            if self.buffer.len() > HEAD_BYTES {
                return Err(io::Error::other("the answer's head is too long"));
            }
            self.read().await?;
        };
        if head.end - head.body > BODY_BYTES {
            return Err(io::Error::other("the answer is too long"));
        }
        while self.buffer.len() < head.end {
            self.read().await?;
        }
        self.behind = self.buffer.len() - head.end;
        Ok(head)
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.wire.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::other("the server closed it")),
            _ => Ok(()),
        }
    }

    /// Whether the server has closed it while nothing was asked.
    pub async fn is_over(&mut self) -> bool {
        let wire = &mut self.wire;
        poll_fn(|context| {
            let mut byte = [0];
            let read = Pin::new(&mut *wire).poll_read(context, &mut ReadBuf::new(&mut byte));
            // Nobody speaks unasked here, so anything that there is to read is the end.
            Poll::Ready(read.is_ready())
        })
        .await
    }

    /// Sends an upgrade; the connection it becomes, and what was read behind the answer's head.
    pub async fn switch(mut self, request: &[u8]) -> Result<(Wire, Vec<u8>), Error> {
        let answer = self.ask(request).await?;
        if answer.status != 101 {
            return Err(answer.refusal());
        }
        let end = self.buffer.len() - self.behind;
        let rest = self.buffer.split_off(end);
        Ok((self.wire, rest))
    }
}

impl Head {
    /// Nothing if not all of it came yet.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(length) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let wrong = |what: &str| io::Error::other(format!("the answer is not understood: {what}"));
        let text = std::str::from_utf8(&bytes[..length]).map_err(|_| wrong("its head is no text"))?;
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| wrong("it has no status"))?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let content = match (status, lengths.next()) {
            (101 | 204, _) => 0,
            (_, None) => return Err(wrong("it has no Content-Length")),
            (_, Some((_, value))) => value.trim().parse().map_err(|_| wrong("its Content-Length"))?,
        };
        let body = length + 4;
        let end = body.saturating_add(content);
        Ok(Some(Self { status, body, end }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_far_as_they_are_needed() {
        let parse = |text: &str| Head::parse(text.as_bytes());
        let head = |status, body, end| Some(Head { status, body, end });
        assert_eq!(parse("HTTP/1.1 200 OK\r\ncontent-LENGTH: 5").ok(), Some(None));
        assert_eq!(
            parse("HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhello").ok(),
            Some(head(200, 38, 43))
        );
        assert_eq!(parse("HTTP/1.1 101 X\r\n\r\n\x01").ok(), Some(head(101, 18, 18)));
        for wrong in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
