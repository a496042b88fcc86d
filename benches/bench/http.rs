//! One keep-alive connection that asks and reads the answer, with as little work as HTTP/1.1 allows.
//!
//! Requests are bytes that were written out before. Of an answer only the status and the Content-Length
//! are looked at; its body is read whole and lent to the caller.

use crate::bench::failure;
use crate::bench::server::Account;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for an answer; only a server that is broken comes to that.
const PATIENCE: Duration = Duration::from_secs(60);
/// Room for a head, and for most answers.
const BUFFER_BYTES: usize = 65_536;

/// A connection.
pub struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: &'a [u8],
}

/// Where an answer's body is.
pub struct Head {
    /// What the answer says of itself.
    pub status: u16,
    /// Where the body begins.
    pub body: usize,
    /// Where it ends.
    pub end: usize,
}

/// A whole request of `account`.
pub fn request(method: &str, target: &str, account: &Account, body: &str) -> Vec<u8> {
    let Account { company, user, token } = account;
    let user = match user {
        Some(user) => format!("X-Auth-User: {user}\r\n"),
        None => String::new(),
    };
    format!(
        "{method} {target} HTTP/1.1\r\nHost: streamgate\r\nX-Auth-Company: {company}\r\n{user}\
         X-Auth-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Http {
    /// Connects.
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let buffer = vec![0; BUFFER_BYTES];
        Ok(Self { stream, buffer })
    }

    /// Sends a request and reads its answer, whatever the status is.
    pub fn ask(&mut self, request: &[u8]) -> std::io::Result<Answer<'_>> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        let head = loop {
            filled += self.read(filled)?;
            if let Some(head) = Head::parse(&self.buffer[..filled])? {
                break head;
            }
        };
        if self.buffer.len() < head.end {
            self.buffer.resize(head.end, 0);
        }
        while filled < head.end {
            filled += self.read(filled)?;
        }
        let body = &self.buffer[head.body..head.end];
        Ok(Answer {
            status: head.status,
            body,
        })
    }

    /// The same for what has to succeed; otherwise the error says what was answered.
    pub fn demand(&mut self, request: &[u8]) -> std::io::Result<&[u8]> {
        let answer = self.ask(request)?;
        match answer.status {
            200..300 => Ok(answer.body),
            status => Err(failure(format!("{status}: {}", String::from_utf8_lossy(answer.body)))),
        }
    }

    fn read(&mut self, filled: usize) -> std::io::Result<usize> {
        match self.stream.read(&mut self.buffer[filled..])? {
            0 => Err(failure(
                "the server ended the connection, or its answer has too long a head",
            )),
            count => Ok(count),
        }
    }
}

impl Head {
    /// Nothing if not all of it came yet.
    pub fn parse(bytes: &[u8]) -> std::io::Result<Option<Self>> {
        let Some(length) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..length]).map_err(|_| failure("the answer's head is no text"))?;
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| failure(format!("no status: {text}")))?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let content = lengths.next().and_then(|(_, value)| value.trim().parse::<usize>().ok());
        let content = content.ok_or_else(|| failure(format!("no Content-Length: {text}")))?;
        let body = length + 4;
        let end = body + content;
        Ok(Some(Self { status, body, end }))
    }
}
