//! What arrives on a socket: frames into messages, strictly as RFC 6455 says.
//!
//! Bytes in, messages out; no I/O. Frames are decoded by the codec that actix-ws is built on,
//! which checks masks, reserved bits, opcodes, fragments and close codes. Invariant: no more is
//! held than one message of the permitted size.

use crate::domain::error::{Code, Refusal};
use actix_codec::Decoder;
use actix_http::ws::{Codec, Frame};
use actix_ws::{CloseReason, Item, ProtocolError};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

/// The reading half of a connection.
pub struct Inbound {
    codec: Codec,
    /// The start of a frame whose end has not come.
    pub partial: BytesMut,
    /// The fragments of a message so far; boxed, because most connections never have any.
    fragments: Option<Box<Fragments>>,
    max_bytes: usize,
}

#[derive(Default)]
struct Fragments {
    is_text: bool,
    bytes: Vec<u8>,
}

/// Something whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A text message, valid UTF-8.
    Text(ByteString),
    /// A binary message.
    Binary,
    /// A ping to be answered with the same body.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The peer's goodbye.
    Close(Option<CloseReason>),
}

impl Inbound {
    /// Takes messages of up to `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            codec: Codec::new().max_size(max_bytes),
            partial: BytesMut::new(),
            fragments: None,
            max_bytes,
        }
    }

    /// The next whole thing in `buffer`; `None` when more bytes are needed.
    ///
    /// Refused with `frame.protocol`, `frame.encoding` or `frame.size`; nothing can follow that.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Arrival>, Refusal> {
        loop {
            if announced(buffer) > self.max_bytes as u64 {
                return Err(self.too_big());
            }
            let Some(frame) = self.codec.decode(buffer).map_err(|error| self.refuse(&error))? else {
                return Ok(None);
            };
            let arrival = match frame {
                Frame::Text(bytes) => Arrival::Text(decode(bytes)?),
                Frame::Binary(_) => Arrival::Binary,
                Frame::Ping(body) => Arrival::Ping(body),
                Frame::Pong(_) => Arrival::Pong,
                Frame::Close(reason) => Arrival::Close(reason),
                Frame::Continuation(item) => match self.gather(item)? {
                    Some(arrival) => arrival,
                    None => continue,
                },
            };
            return Ok(Some(arrival));
        }
    }

    fn gather(&mut self, item: Item) -> Result<Option<Arrival>, Refusal> {
        let (is_last, bytes) = match item {
            Item::FirstText(bytes) => {
                self.fragments.get_or_insert_default().is_text = true;
                (false, bytes)
            }
            Item::FirstBinary(bytes) => {
                self.fragments.get_or_insert_default().is_text = false;
                (false, bytes)
            }
            Item::Continue(bytes) => (false, bytes),
            Item::Last(bytes) => (true, bytes),
        };
        let fragments = self.fragments.get_or_insert_default();
        if fragments.bytes.len() + bytes.len() > self.max_bytes {
            return Err(self.too_big());
        }
        fragments.bytes.extend_from_slice(&bytes);
        if !is_last {
            return Ok(None);
        }
        let whole = self.fragments.take().unwrap_or_default();
        if !whole.is_text {
            return Ok(Some(Arrival::Binary));
        }
        Ok(Some(Arrival::Text(decode(whole.bytes.into())?)))
    }

    fn too_big(&self) -> Refusal {
        let text = format!("a message has at most {} bytes", self.max_bytes);
        Refusal::new(Code::FrameSize, text)
    }

    fn refuse(&self, error: &ProtocolError) -> Refusal {
        match error {
            ProtocolError::Overflow => self.too_big(),
            // What the codec says of a close frame whose code or reason is not allowed.
            ProtocolError::BadOpCode => {
                Refusal::new(Code::FrameProtocol, "a close frame has a legal code and a UTF-8 reason")
            }
            error => Refusal::new(Code::FrameProtocol, error.to_string()),
        }
    }
}

fn decode(bytes: Bytes) -> Result<ByteString, Refusal> {
    let text = "a text message is UTF-8";
    ByteString::try_from(bytes).map_err(|_| Refusal::new(Code::FrameEncoding, text))
}

/// How long the frame at the start of the buffer says its payload is, so that one too long is
/// refused before it has come.
fn announced(buffer: &[u8]) -> u64 {
    let be = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    match buffer.get(1).map(|second| second & 0x7f) {
        Some(126) => buffer.get(2..4).map_or(0, be),
        Some(127) => buffer.get(2..10).map_or(0, be),
        Some(short) => u64::from(short),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A client's frame, masked with zeros.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u64;
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
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    fn read(bytes: &[u8], max_bytes: usize) -> (Vec<Arrival>, Option<Code>) {
        let mut inbound = Inbound::new(max_bytes);
        let mut buffer = BytesMut::from(bytes);
        let mut arrivals = Vec::new();
        loop {
            match inbound.next(&mut buffer) {
                Ok(Some(arrival)) => arrivals.push(arrival),
                Ok(None) => return (arrivals, None),
                Err(refusal) => return (arrivals, Some(refusal.code)),
            }
        }
    }

    #[test]
    fn fragments_with_control_frames_between_are_one_message() {
        let bytes = [
            frame(0x01, b"he"),
            frame(0x89, b"?"),
            frame(0x00, b"l"),
            frame(0x8a, b""),
            frame(0x80, b"lo"),
        ]
        .concat();
        let expected = vec![
            Arrival::Ping(Bytes::from_static(b"?")),
            Arrival::Pong,
            Arrival::Text("hello".into()),
        ];
        assert_eq!(read(&bytes, 9), (expected, None));
    }

    #[test]
    fn what_the_rfc_forbids_is_refused_with_its_code() {
        let unmasked = vec![0x81, 1, b'x'];
        let endless = [&[0x81, 0xff][..], &u64::MAX.to_be_bytes()].concat();
        let huge = [&[0x81, 0xff][..], &(1_u64 << 40).to_be_bytes()].concat();
        let long_fragments = [frame(0x01, &[b'x'; 90]), frame(0x80, &[b'x'; 90])].concat();
        let cases = [
            (unmasked, Code::FrameProtocol),
            (frame(0xc1, b"x"), Code::FrameProtocol),
            (frame(0x91, b"x"), Code::FrameProtocol),
            (frame(0x83, b"x"), Code::FrameProtocol),
            (frame(0x09, b"x"), Code::FrameProtocol),
            (frame(0x80, b"x"), Code::FrameProtocol),
            ([frame(0x01, b"x"), frame(0x81, b"x")].concat(), Code::FrameProtocol),
            (frame(0x88, &[3]), Code::FrameProtocol),
            (frame(0x88, &999_u16.to_be_bytes()), Code::FrameProtocol),
            (frame(0x88, &1005_u16.to_be_bytes()), Code::FrameProtocol),
            (frame(0x88, &2999_u16.to_be_bytes()), Code::FrameProtocol),
            (frame(0x89, &[b'x'; 126]), Code::FrameProtocol),
            (frame(0x81, &[0xff, 0xfe]), Code::FrameEncoding),
            (
                [frame(0x01, &[0xc3]), frame(0x80, &[0x28])].concat(),
                Code::FrameEncoding,
            ),
            (frame(0x81, &[b'x'; 161]), Code::FrameSize),
            (long_fragments, Code::FrameSize),
            (endless, Code::FrameSize),
            (huge, Code::FrameSize),
        ];
        for (bytes, code) in cases {
            assert_eq!(read(&bytes, 160), (vec![], Some(code)), "{bytes:?}");
        }
    }

    #[test]
    fn a_character_may_be_split_between_fragments() {
        let bytes = [frame(0x01, &[0xc3]), frame(0x80, &[0xbc])].concat();
        assert_eq!(read(&bytes, 9), (vec![Arrival::Text("ü".into())], None));
    }

    proptest! {
        #[test]
        fn messages_survive_any_cutting(
            messages in proptest::collection::vec("\\PC{0,200}", 1..5),
            pieces in proptest::collection::vec(1..40_usize, 1..20),
            cuts in proptest::collection::vec(1..90_usize, 1..40),
        ) {
            let mut bytes = Vec::new();
            let mut pieces = pieces.into_iter().cycle();
            for message in &messages {
                let parts: Vec<&[u8]> = message.as_bytes().chunks(pieces.next().unwrap_or(1)).collect();
                let parts = if parts.is_empty() { vec![&b""[..]] } else { parts };
                for (place, part) in parts.iter().enumerate() {
                    let opcode = u8::from(place == 0);
                    let fin = if place + 1 == parts.len() { 0x80 } else { 0 };
                    bytes.extend(frame(fin | opcode, part));
                }
            }
            let mut inbound = Inbound::new(4_096);
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            let mut rest = &bytes[..];
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let cut = cuts.next().unwrap_or(1).min(rest.len());
                buffer.extend_from_slice(&rest[..cut]);
                rest = &rest[cut..];
                while let Some(arrival) = inbound.next(&mut buffer).expect("legal frames") {
                    got.push(arrival);
                }
            }
            let expected: Vec<Arrival> = messages.into_iter().map(|text| Arrival::Text(text.into())).collect();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, 64);
        }
    }
}
