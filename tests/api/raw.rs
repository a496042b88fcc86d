//! A WebSocket client that checks nothing: every byte it sends is chosen by the test.
//!
//! For what a well-behaved client library would never send, or never let its user see: frames in
//! pieces, illegal frames, silence, and a window so small that the server soon cannot write.

use crate::stage::{Account, DEADLINE, Stage};
use bytes::{Buf, Bytes, BytesMut};
use socket2::{Domain, SockRef, Socket, Type};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A mask that is not zero, so that a server which forgets to unmask is found out.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// First bytes of frames that are whole.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;
/// First bytes of fragments: the first one of a text message, one in between, the last one.
pub const TEXT_BEGINS: u8 = 0x01;
pub const GOES_ON: u8 = 0x00;
pub const ENDS: u8 = 0x80;

/// A connection whose bytes are the test's own business.
pub struct RawSocket {
    pub stream: TcpStream,
    /// What was read and not yet looked at.
    pub read: BytesMut,
}

/// A frame as the server sent it.
#[derive(Debug, PartialEq, Eq)]
pub struct RawFrame {
    pub first: u8,
    pub payload: Bytes,
}

impl RawFrame {
    /// The payload as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("UTF-8")
    }
}

/// A client's frame, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The header of a client's frame, mask included.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// A close frame's payload.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// The request that asks for the upgrade.
pub fn upgrade_request(session: &str) -> String {
    upgrade_at(&format!("/session/{session}/ws"), "")
}

/// The request that asks for an upgrade at any path; each header ends with a line break.
pub fn upgrade_at(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A request to subscribe, as a frame.
pub fn subscribe_frame(path: &str) -> Vec<u8> {
    let text = format!(r#"{{"msgId":"s","object":"event","type":"subscribe","path":"{path}"}}"#);
    frame(TEXT, text.as_bytes())
}

impl RawSocket {
    /// Around a TCP connection to the server.
    pub fn new(stream: TcpStream) -> Self {
        let read = BytesMut::new();
        Self { stream, read }
    }

    /// Connected, and nothing said yet.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("a connection"))
    }

    /// Connected in a way that the kernels hold little of what is sent to it: about 50 KB.
    ///
    /// A small segment size also keeps the server's send buffer small, which on loopback would
    /// otherwise take megabytes before a write would block.
    pub async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a small window");
        socket.set_tcp_mss(536).expect("small segments");
        socket.connect(&address.into()).expect("a connection");
        socket.set_nonblocking(true).expect("a socket for tokio");
        Self::new(TcpStream::from_std(socket.into()).expect("a socket for tokio"))
    }

    /// An open WebSocket on a new session.
    pub async fn open(stage: &Stage, account: &Account) -> Self {
        let session = stage.session(account).await;
        let mut socket = Self::connect(stage.address).await;
        socket.upgrade(&session).await;
        socket
    }

    /// As [`RawSocket::open`], by [`RawSocket::connect_narrow`].
    pub async fn open_narrow(stage: &Stage, account: &Account) -> Self {
        let session = stage.session(account).await;
        let mut socket = Self::connect_narrow(stage.address).await;
        socket.upgrade(&session).await;
        socket
    }

    /// Asks for the upgrade and asserts that it is granted.
    pub async fn upgrade(&mut self, session: &str) {
        self.open_at(&format!("/session/{session}/ws")).await;
    }

    /// The same, at any path.
    pub async fn open_at(&mut self, path: &str) {
        self.send(upgrade_at(path, "").as_bytes()).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// Sends exactly these bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        let sent = tokio::time::timeout(DEADLINE, self.stream.write_all(bytes)).await;
        sent.expect("sent in time").expect("a connection that takes bytes");
    }

    /// Sends a masked frame.
    pub async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(&frame(first, payload)).await;
    }

    /// The head of an HTTP answer.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.read.split_to(end + 4);
                return String::from_utf8(head.into()).expect("a head in ASCII");
            }
            assert!(self.read_more().await > 0, "the end instead of a head");
        }
    }

    /// An HTTP answer with a `content-length`: head and body.
    pub async fn answer(&mut self) -> (String, String) {
        let head = self.head().await;
        let mut lines = head.lines().map(str::to_ascii_lowercase);
        let length = lines.find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
        let length: usize = length.expect("a length").parse().expect("a number");
        while self.read.len() < length {
            assert!(self.read_more().await > 0, "the end within a body");
        }
        let body = self.read.split_to(length);
        (head, String::from_utf8(body.into()).expect("UTF-8"))
    }

    /// The next frame.
    pub async fn next(&mut self) -> RawFrame {
        self.next_or_end().await.expect("a frame, not the end")
    }

    /// The next frame, or `None` when the server has ended the connection between two frames.
    pub async fn next_or_end(&mut self) -> Option<RawFrame> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            if self.read_more().await == 0 {
                assert!(self.read.is_empty(), "the end within a frame: {:?}", self.read);
                return None;
            }
        }
    }

    /// The next frame, which must be a text message.
    pub async fn text(&mut self) -> String {
        let frame = self.next().await;
        assert_eq!(frame.first, TEXT, "a text message was expected, not {frame:?}");
        frame.text().to_owned()
    }

    /// Subscribes by path and asserts that it was done.
    pub async fn subscribe(&mut self, path: &str) {
        self.send(&subscribe_frame(path)).await;
        let ack = self.text().await;
        assert!(ack.starts_with(r#"{"head":{"msgId":"s","ok":true"#), "{ack}");
    }

    /// Asserts that the server says goodbye next and then ends the connection: code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        let frame = self.next().await;
        assert_eq!(frame.first, CLOSE, "a close frame was expected, not {frame:?}");
        self.assert_ended().await;
        let Some((code, reason)) = frame.payload.split_first_chunk::<2>() else {
            return (1005, String::new());
        };
        let reason = std::str::from_utf8(reason).expect("a readable reason");
        (u16::from_be_bytes(*code), reason.to_owned())
    }

    /// Asserts that the server has nothing more to say and ended the connection.
    pub async fn assert_ended(&mut self) {
        if let Some(frame) = self.next_or_end().await {
            panic!("the end was expected, not {frame:?}");
        }
    }

    /// Everything until the end of the connection, orderly or not.
    pub async fn rest(&mut self) -> BytesMut {
        let reading = async {
            loop {
                self.read.reserve(16_384);
                if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                    return self.read.split();
                }
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.expect("an end in time")
    }

    /// Closes the connection with a reset instead of an orderly end.
    pub fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket");
    }

    async fn read_more(&mut self) -> usize {
        self.read.reserve(16_384);
        let read = tokio::time::timeout(DEADLINE, self.stream.read_buf(&mut self.read)).await;
        read.expect("something in time")
            .expect("a connection that was not reset")
    }

    /// Takes a whole frame from what was read.
    fn take_frame(&mut self) -> Option<RawFrame> {
        let (first, second) = (*self.read.first()?, *self.read.get(1)?);
        assert!(second < 0x80, "a server's frame is not masked");
        let (header, length) = match second {
            126 => (4, be(self.read.get(2..4)?)),
            127 => (10, be(self.read.get(2..10)?)),
            short => (2, usize::from(short)),
        };
        if self.read.len() < header + length {
            return None;
        }
        self.read.advance(header);
        let payload = self.read.split_to(length).freeze();
        Some(RawFrame { first, payload })
    }
}

fn be(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}
