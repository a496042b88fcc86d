//! A session's socket: the frames of the server, taken apart with little more work than counting.
//!
//! A server's frames are whole and unmasked (it never fragments), so a frame is a slice of what was
//! read. Ours are masked with zeros, which RFC 6455 lets a client choose and costs nothing.

use crate::bench::failure;
use crate::bench::server::Server;
use serde_json::{Value, json};
use socket2::{Domain, Socket as Raw, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Room for what is read at once.
const BUFFER_BYTES: usize = 262_144;
/// A masked pong without a body.
pub const PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];
/// How every event begins; its offset follows.
const EVENT: &[u8] = br#"{"type":"message","resource":"s000000000000000000000000","offset":"#;
/// The part of it that is the same for all streams.
const EVENT_START: &[u8] = br#"{"type":"message","#;

/// What came.
#[derive(Debug)]
pub enum Heard<'a> {
    /// An event.
    Event {
        /// Its place.
        offset: u64,
        /// All of its message.
        text: &'a [u8],
    },
    /// A notice that events do not come.
    Gap {
        /// The first of them.
        from: u64,
        /// The last.
        to: u64,
    },
    /// An answer to a request.
    Reply,
    /// Wants a pong.
    Ping,
}

/// Bytes that came, and how far they were looked at.
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// Where the next frame is.
#[derive(Clone, Copy)]
struct Bounds {
    opcode: u8,
    start: usize,
    end: usize,
}

impl Inbox {
    /// Nothing came.
    pub fn new() -> Self {
        Self::of(BUFFER_BYTES)
    }

    /// The same with room for so many bytes at first.
    pub fn of(room: usize) -> Self {
        let bytes = vec![0; room];
        Self {
            bytes,
            start: 0,
            end: 0,
        }
    }

    /// Where to read to; never empty.
    pub fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.bytes.len() {
            self.bytes.resize(2 * self.end, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes were read there; none is the end of the connection.
    pub fn filled(&mut self, count: usize) -> std::io::Result<()> {
        self.end += count;
        match count {
            0 => Err(failure("the server ended the socket")),
            _ => Ok(()),
        }
    }

    /// The next frame, if it is there as a whole.
    pub fn next(&mut self) -> std::io::Result<Option<Heard<'_>>> {
        let Some(Bounds { opcode, start, end }) = self.bounds() else {
            return Ok(None);
        };
        self.start = end;
        understand(opcode, &self.bytes[start..end]).map(Some)
    }

    fn bounds(&self) -> Option<Bounds> {
        let bytes = &self.bytes[self.start..self.end];
        let (head, length) = match bytes.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
            short => (2, usize::from(*short)),
        };
        let (opcode, start) = (bytes[0] & 0x0f, self.start + head);
        let end = start + length;
        (end <= self.end).then_some(Bounds { opcode, start, end })
    }
}

fn understand(opcode: u8, payload: &[u8]) -> std::io::Result<Heard<'_>> {
    match opcode {
        1 if payload.starts_with(EVENT_START) => event(payload),
        1 => notice(payload),
        9 => Ok(Heard::Ping),
        _ => {
            let text = String::from_utf8_lossy(payload);
            Err(failure(format!("a frame of opcode {opcode}: {text}")))
        }
    }
}

fn event(text: &[u8]) -> std::io::Result<Heard<'_>> {
    let digits = text.get(EVENT.len()..).unwrap_or_default();
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let offset = digits.fold(0, |offset, digit| offset * 10 + u64::from(digit - b'0'));
    match offset {
        0 => Err(failure(format!("no offset: {}", String::from_utf8_lossy(text)))),
        _ => Ok(Heard::Event { offset, text }),
    }
}

fn notice(text: &[u8]) -> std::io::Result<Heard<'_>> {
    let value: Value = serde_json::from_slice(text)?;
    let (from, to) = (value["body"]["from"].as_u64(), value["body"]["to"].as_u64());
    match (value["type"].as_str(), from, to) {
        (Some("gap"), Some(from), Some(to)) => Ok(Heard::Gap { from, to }),
        _ if value["head"]["ok"] == json!(true) => Ok(Heard::Reply),
        _ => Err(failure(format!("refused: {value}"))),
    }
}

/// A connected socket.
pub struct Socket {
    stream: TcpStream,
    inbox: Inbox,
}

impl Socket {
    /// Connects to a session of its own. `receive_bytes` is how much the system is to take for a
    /// client that does not read; as it likes if nothing is said.
    pub fn connect(server: &Server, receive_bytes: Option<usize>) -> std::io::Result<Self> {
        Self::connect_with(server, receive_bytes, "")
    }

    /// As [`Socket::connect`], with more headers, each with the end of its line.
    pub fn connect_with(server: &Server, receive_bytes: Option<usize>, headers: &str) -> std::io::Result<Self> {
        let session = server.open_session()?;
        let raw = Raw::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(bytes) = receive_bytes {
            raw.set_recv_buffer_size(bytes)?;
        }
        raw.connect(&server.address.into())?;
        let mut stream = TcpStream::from(raw);
        stream.set_nodelay(true)?;
        let upgrade = upgrade(server.address, &session);
        let head = upgrade.strip_suffix("\r\n").unwrap_or(&upgrade);
        stream.write_all(format!("{head}{headers}\r\n").as_bytes())?;
        let mut head = Vec::new();
        // Byte by byte, so that nothing behind it is taken.
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(failure(String::from_utf8_lossy(&head)));
        }
        let inbox = Inbox::new();
        Ok(Self { stream, inbox })
    }

    /// Where this end is.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The socket itself and what came.
    pub fn into_parts(self) -> (TcpStream, Inbox) {
        (self.stream, self.inbox)
    }

    /// A second handle of the same socket, to write with.
    pub fn writer(&self) -> std::io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Asks for a stream's events, from now on or after an offset. The answer comes as any frame.
    pub fn subscribe(&mut self, stream: &str, since: Option<u64>) -> std::io::Result<()> {
        let mut request = json!({"msgId": 1, "object": "event", "type": "subscribe", "streamId": stream});
        if let Some(since) = since {
            request["since"] = json!(since);
        }
        self.stream.write_all(&framed(&request.to_string()))
    }

    /// Waits for the answer to a request, before anything else came.
    pub fn expect_reply(&mut self) -> std::io::Result<()> {
        match self.hear(Duration::from_secs(60))? {
            Some(Heard::Reply) => Ok(()),
            other => Err(failure(format!("not an answer: {other:?}"))),
        }
    }

    /// Shows that this end lives, without reading.
    pub fn beat(&mut self) -> std::io::Result<()> {
        self.stream.write_all(PONG)
    }

    /// The next frame; nothing if none came for so long.
    pub fn hear(&mut self, longest: Duration) -> std::io::Result<Option<Heard<'_>>> {
        while self.inbox.bounds().is_none() {
            self.stream.set_read_timeout(Some(longest))?;
            match self.stream.read(self.inbox.room()) {
                Ok(count) => self.inbox.filled(count)?,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let heard = self.inbox.next()?;
        if matches!(heard, Some(Heard::Ping)) {
            self.stream.write_all(PONG)?;
        }
        Ok(heard)
    }
}

/// The request that makes a connection a session's socket.
pub fn upgrade(server: SocketAddr, session: &str) -> String {
    format!(
        "GET /session/{session}/ws HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3RyZWFtZ2F0ZSBiZW5jaA==\r\n\r\n"
    )
}

/// A text as a client's frame.
pub fn framed(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81];
    match text.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length => {
            bytes.push(0x80 | 126);
            let length = u16::try_from(length).expect("a request is short");
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
