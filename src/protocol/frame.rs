//! Frames that we send, as bytes that any number of connections can share.
//!
//! A server's frames are unmasked (RFC 6455 §5.1), so one framed event serves every client.

use crate::domain::error::Refusal;
use actix_http::ws::{OpCode, Parser};
use actix_ws::{CloseCode, CloseReason};
use bytes::{Bytes, BytesMut};

/// The longest reason that fits into a close frame.
const REASON_BYTES: usize = 123;
/// The longest frame header we write.
const HEADER_BYTES: usize = 10;
/// The bit of a frame's first byte that says: compressed.
pub const RSV1: u8 = 0x40;
/// The first byte of a whole text message.
pub const TEXT: u8 = 0x81;
/// The same of one that was compressed.
pub const PACKED: u8 = TEXT | RSV1;

/// A whole text message.
pub fn text(message: &str) -> Bytes {
    frame(message.as_bytes(), OpCode::Text)
}

/// A whole text message that was compressed (RFC 7692 §6).
pub fn packed(message: &[u8]) -> Bytes {
    let mut bytes = open_frame(message, OpCode::Text);
    bytes[0] |= RSV1;
    bytes.freeze()
}

/// How long a frame with so much in it is, in bytes.
pub fn length(payload: usize) -> usize {
    payload
        + match payload {
            0..126 => 2,
            126..65_536 => 4,
            _ => HEADER_BYTES,
        }
}

/// The first of frames that we made: its first byte, what is in it, and how long it is in all.
pub fn split(frames: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, begin) = (*frames.first()?, frames.get(1)?);
    let (header, payload) = match begin {
        126 => (4, u64::from(u16::from_be_bytes(frames.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(frames.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(*short)),
    };
    let length = header + usize::try_from(payload).ok()?;
    Some((first, frames.get(header..length)?, length))
}

/// A ping without a body.
pub fn ping() -> Bytes {
    Bytes::from_static(&[0x89, 0])
}

/// The answer to a ping.
pub fn pong(body: &[u8]) -> Bytes {
    frame(body, OpCode::Pong)
}

/// The end, with a readable reason, cut where it would not fit.
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = CloseReason {
        code: CloseCode::from(code),
        description: Some(reason[..end].to_owned()),
    };
    let mut bytes = BytesMut::with_capacity(REASON_BYTES + HEADER_BYTES);
    Parser::write_close(&mut bytes, Some(reason), false);
    bytes.freeze()
}

/// The end that a refusal brings: its close code, and `code: sentence` as the reason.
pub fn close_for(refusal: &Refusal) -> Bytes {
    let entry = refusal.code.entry();
    close(entry.close.unwrap_or(1008), &format!("{}: {refusal}", entry.code))
}

/// The answer to a peer's close frame: its own code back.
pub fn close_back(reason: Option<&CloseReason>) -> Bytes {
    let mut bytes = BytesMut::with_capacity(4);
    let code = reason.map(|reason| CloseReason::from(reason.code));
    Parser::write_close(&mut bytes, code, false);
    bytes.freeze()
}

fn frame(payload: &[u8], opcode: OpCode) -> Bytes {
    open_frame(payload, opcode).freeze()
}

fn open_frame(payload: &[u8], opcode: OpCode) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(payload.len() + HEADER_BYTES);
    Parser::write_message(&mut bytes, payload, opcode, true, false);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_the_rfc_says() {
        assert_eq!(text("hi")[..], [0x81, 2, b'h', b'i']);
        assert_eq!(text(&"x".repeat(126))[..4], [0x81, 126, 0, 126]);
        assert_eq!(text(&"x".repeat(65_536))[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(ping(), frame(b"", OpCode::Ping));
        assert_eq!(packed(b"hi")[..], [0xc1, 2, b'h', b'i']);
        for payload in [0, 125, 126, 65_535, 65_536] {
            assert_eq!(length(payload), text(&"x".repeat(payload)).len());
        }
    }

    #[test]
    fn frames_come_apart_as_they_were_put_together() {
        for payload in [0, 125, 126, 65_535, 65_536] {
            let message = "x".repeat(payload);
            let frames = [text(&message), packed(b"hi"), ping()].concat();
            let (first, inside, length) = split(&frames).expect("a frame");
            assert_eq!((first, inside), (TEXT, message.as_bytes()));
            let rest = &frames[length..];
            assert_eq!(split(rest), Some((PACKED, &b"hi"[..], 4)));
            assert_eq!(split(&rest[4..]), Some((0x89, &b""[..], 2)));
            assert_eq!(split(&rest[6..]), None);
            assert_eq!(split(&frames[..length - 1]).map(|_| ()), None);
        }
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character() {
        let bytes = close(1001, &"ü".repeat(100));
        assert_eq!(bytes[..4], [0x88, 2 + 122, 0x03, 0xe9]);
        assert!(std::str::from_utf8(&bytes[4..]).is_ok());
    }
}
