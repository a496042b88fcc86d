//! What arrives on a socket: frames into messages, strictly as RFC 6455 says.
//!
//! Bytes in, messages out; no I/O. Frames are decoded by the codec that actix-ws is built on,
//! which checks masks, reserved bits, opcodes, fragments and close codes. Invariant: no more is
//! held than one message of the permitted size, compressed or not.

use crate::domain::error::{Code, Refusal};
use crate::protocol::deflate::{self, Packing, Wrong};
use crate::protocol::frame::RSV1;
use actix_codec::Decoder;
use actix_http::ws::{Codec, Frame};
use actix_ws::{CloseReason, Item, ProtocolError};
use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;

/// The longest frame that the protocol knows.
const LONGEST: u64 = u64::MAX >> 1;

/// The reading half of a connection.
pub struct Inbound {
    codec: Codec,
    /// The start of a frame whose end has not come.
    pub partial: BytesMut,
    /// The fragments of a message so far; boxed, because most connections never have any.
    fragments: Option<Box<Fragments>>,
    /// Bytes of a frame that are passed over, if it was too long.
    skip: u64,
    max_bytes: usize,
}

/// What is done about a message that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// Nothing can follow it.
    Refuse,
    /// It is passed over, and what follows is read.
    Skip,
}

#[derive(Default)]
struct Fragments {
    is_text: bool,
    is_packed: bool,
    /// It was too long, so none of it is kept.
    is_over: bool,
    bytes: Vec<u8>,
}

/// Something whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A text message, valid UTF-8.
    Text(ByteString),
    /// A binary message.
    Binary,
    /// A message that was too long.
    TooLong,
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
            skip: 0,
            max_bytes,
        }
    }

    /// The next whole thing in `buffer`; `None` when more bytes are needed. `packing` is what was
    /// agreed on, the same at every call, as is `too_long`.
    ///
    /// Refused with `frame.protocol`, `frame.encoding` or `frame.size`; nothing can follow that.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        packing: Packing,
        too_long: TooLong,
    ) -> Result<Option<Arrival>, Refusal> {
        loop {
            if !self.pass_over(buffer) {
                return Ok(None);
            }
            if announced(buffer) > self.max_bytes as u64 {
                if too_long == TooLong::Refuse || is_control(buffer) {
                    return Err(self.too_big());
                }
                match self.begin_skip(buffer)? {
                    Some(true) => return Ok(Some(Arrival::TooLong)),
                    Some(false) => continue,
                    None => return Ok(None),
                }
            }
            // The codec knows nothing of compression, so the bit is taken away while it looks.
            let is_packed = packing == Packing::Deflate && begins_packed(buffer);
            if is_packed {
                buffer[0] &= !RSV1;
            }
            let Some(frame) = self.codec.decode(buffer).map_err(|error| self.refuse(&error))? else {
                if is_packed {
                    buffer[0] |= RSV1;
                }
                return Ok(None);
            };
            let arrival = match frame {
                Frame::Text(bytes) => self.text(bytes, is_packed)?,
                Frame::Binary(_) => Arrival::Binary,
                Frame::Ping(body) => Arrival::Ping(body),
                Frame::Pong(_) => Arrival::Pong,
                Frame::Close(reason) => Arrival::Close(reason),
                Frame::Continuation(item) => match self.gather(item, is_packed, too_long)? {
                    Some(arrival) => arrival,
                    None => continue,
                },
            };
            return Ok(Some(arrival));
        }
    }

    fn text(&self, bytes: Bytes, is_packed: bool) -> Result<Arrival, Refusal> {
        if !is_packed {
            return Ok(Arrival::Text(decode(bytes)?));
        }
        let whole = deflate::unpack(&bytes, self.max_bytes).map_err(|wrong| match wrong {
            Wrong::TooLong => self.too_big(),
            Wrong::Malformed => Refusal::new(Code::FrameEncoding, "a compressed message is raw DEFLATE"),
        })?;
        Ok(Arrival::Text(decode(whole.into())?))
    }

    /// Throws away what is left of a frame that was too long; returns whether that is all.
    fn pass_over(&mut self, buffer: &mut BytesMut) -> bool {
        let count = self.skip.min(buffer.len() as u64);
        self.skip -= count;
        buffer.advance(count as usize);
        self.skip == 0
    }

    /// Passes over the frame at the start of the buffer, of which the codec is shown an empty one in its
    /// place; returns whether the message ends with it, or nothing if its header has not come.
    fn begin_skip(&mut self, buffer: &mut BytesMut) -> Result<Option<bool>, Refusal> {
        let Some(header) = header_bytes(buffer) else {
            return Ok(None);
        };
        let length = announced(buffer);
        if length > LONGEST {
            let text = "a frame's length has its highest bit set (RFC 6455 §5.2)";
            return Err(Refusal::new(Code::FrameProtocol, text));
        }
        let mut empty = BytesMut::from(&[buffer[0], buffer[1] & 0x80, 0, 0, 0, 0][..]);
        self.skip = length + header;
        let frame = self.codec.decode(&mut empty).map_err(|error| self.refuse(&error))?;
        let is_last = !matches!(
            frame,
            Some(Frame::Continuation(
                Item::FirstText(_) | Item::FirstBinary(_) | Item::Continue(_)
            ))
        );
        if is_last {
            self.fragments = None;
        } else {
            let fragments = self.fragments.get_or_insert_default();
            (fragments.is_over, fragments.bytes) = (true, Vec::new());
        }
        Ok(Some(is_last))
    }

    fn gather(&mut self, item: Item, is_packed: bool, too_long: TooLong) -> Result<Option<Arrival>, Refusal> {
        let mut begin = |is_text, bytes| {
            let fragments = self.fragments.get_or_insert_default();
            (fragments.is_text, fragments.is_packed) = (is_text, is_packed);
            (false, bytes)
        };
        let (is_last, bytes) = match item {
            Item::FirstText(bytes) => begin(true, bytes),
            Item::FirstBinary(bytes) => begin(false, bytes),
            Item::Continue(bytes) => (false, bytes),
            Item::Last(bytes) => (true, bytes),
        };
        let fragments = self.fragments.get_or_insert_default();
        if fragments.bytes.len() + bytes.len() > self.max_bytes {
            if too_long == TooLong::Refuse {
                return Err(self.too_big());
            }
            (fragments.is_over, fragments.bytes) = (true, Vec::new());
        }
        if !fragments.is_over {
            fragments.bytes.extend_from_slice(&bytes);
        }
        if !is_last {
            return Ok(None);
        }
        let whole = self.fragments.take().unwrap_or_default();
        if whole.is_over {
            return Ok(Some(Arrival::TooLong));
        }
        if !whole.is_text {
            return Ok(Some(Arrival::Binary));
        }
        self.text(whole.bytes.into(), whole.is_packed).map(Some)
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

/// Whether a compressed message begins with the buffer. Only the first frame of a text or binary
/// message says so (RFC 7692 §6).
fn begins_packed(buffer: &[u8]) -> bool {
    let is_first = |first: &u8| first & RSV1 != 0 && matches!(first & 0x0f, 1 | 2);
    buffer.first().is_some_and(is_first)
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

/// How long the header of the frame at the start of the buffer is, once it has come.
fn header_bytes(buffer: &[u8]) -> Option<u64> {
    let second = *buffer.get(1)?;
    let length = match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let header = length + if second & 0x80 == 0 { 0 } else { 4 };
    (buffer.len() >= header).then_some(header as u64)
}

fn is_control(buffer: &[u8]) -> bool {
    buffer.first().is_some_and(|first| first & 0x08 != 0)
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
        read_as(Packing::Plain, bytes, max_bytes)
    }

    fn read_as(packing: Packing, bytes: &[u8], max_bytes: usize) -> (Vec<Arrival>, Option<Code>) {
        let mut inbound = Inbound::new(max_bytes);
        let mut buffer = BytesMut::from(bytes);
        let mut arrivals = Vec::new();
        loop {
            match inbound.next(&mut buffer, packing, TooLong::Refuse) {
                Ok(Some(arrival)) => arrivals.push(arrival),
                Ok(None) => return (arrivals, None),
                Err(refusal) => return (arrivals, Some(refusal.code)),
            }
        }
    }

    /// What is read of bytes that come so many at a time, if long messages are passed over.
    fn read_skipping(bytes: &[u8], at_once: usize, max_bytes: usize) -> Vec<Arrival> {
        let mut inbound = Inbound::new(max_bytes);
        let (mut buffer, mut arrivals) = (BytesMut::new(), Vec::new());
        for some in bytes.chunks(at_once) {
            buffer.extend_from_slice(some);
            while let Some(arrival) = inbound
                .next(&mut buffer, Packing::Plain, TooLong::Skip)
                .expect("legal frames")
            {
                arrivals.push(arrival);
            }
            assert!(buffer.len() <= max_bytes + 14, "no more is held than a message");
        }
        arrivals
    }

    #[test]
    fn a_long_message_is_passed_over_however_it_comes() {
        let (long, longest) = ([b'x'; 200], vec![b'x'; 70_000]);
        let bytes = [
            frame(0x81, b"a"),
            frame(0x81, &long),
            frame(0x81, b"b"),
            frame(0x82, &longest),
            // Too long by its first piece, with a ping between.
            frame(0x01, &long),
            frame(0x89, b"?"),
            frame(0x80, b"rest"),
            frame(0x81, b"c"),
            // By its last one.
            frame(0x01, b"start"),
            frame(0x80, &long),
            // By all of them together.
            frame(0x01, &[b'x'; 60]),
            frame(0x00, &[b'x'; 60]),
            frame(0x80, &[b'x'; 60]),
            frame(0x81, b"d"),
        ]
        .concat();
        let text = |text: &'static str| Arrival::Text(ByteString::from_static(text));
        let ping = Arrival::Ping(Bytes::from_static(b"?"));
        let expected = [
            text("a"),
            Arrival::TooLong,
            text("b"),
            Arrival::TooLong,
            ping,
            Arrival::TooLong,
            text("c"),
            Arrival::TooLong,
            Arrival::TooLong,
            text("d"),
        ];
        for at_once in [1, 7, 100] {
            assert_eq!(
                read_skipping(&bytes, at_once, 100),
                expected,
                "{at_once} bytes at a time"
            );
        }
    }

    #[test]
    fn a_length_that_no_frame_can_have_is_no_reason_to_wait() {
        let mut bytes = BytesMut::from(&[0x81, 0xff][..]);
        bytes.extend_from_slice(&[0xff; 14]);
        let refused = Inbound::new(100).next(&mut bytes, Packing::Plain, TooLong::Skip);
        assert_eq!(refused.expect_err("no such frame").code, Code::FrameProtocol);
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

    /// "Hello", as RFC 7692 §7.2.3.1 has it.
    const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

    /// A message as a client would send it compressed: what its first frame begins with, and what is sent.
    fn packed(message: &str) -> (u8, Vec<u8>) {
        let framed = deflate::text(message);
        let head = match framed[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        (framed[0] & RSV1, framed[head..].to_vec())
    }

    #[test]
    fn compressed_messages_are_read_whole_and_in_fragments_and_plain_ones_beside_them() {
        let bytes = [
            frame(0xc1, HELLO),
            frame(0x81, b"plain"),
            frame(0x41, &HELLO[..3]),
            frame(0x89, b"?"),
            frame(0x00, b""),
            frame(0x80, &HELLO[3..]),
            frame(0x01, b"pl"),
            frame(0x80, b"ain"),
            frame(0xc2, b"no matter what"),
        ]
        .concat();
        let (hello, plain) = (|| Arrival::Text("Hello".into()), || Arrival::Text("plain".into()));
        let ping = Arrival::Ping(Bytes::from_static(b"?"));
        let expected = vec![hello(), plain(), ping, hello(), plain(), Arrival::Binary];
        assert_eq!(read_as(Packing::Deflate, &bytes, 14), (expected, None));
    }

    #[test]
    fn what_compression_does_not_allow_is_refused_with_its_code() {
        let bomb = packed(&"x".repeat(161)).1;
        let fragmented_bomb = [frame(0x41, &bomb[..2]), frame(0x80, &bomb[2..])].concat();
        let no_text = [0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0x00];
        let cases = [
            ("a ping", frame(0xc9, b""), Code::FrameProtocol),
            ("a pong", frame(0xca, b""), Code::FrameProtocol),
            ("a goodbye", frame(0xc8, b""), Code::FrameProtocol),
            ("another reserved bit", frame(0xa1, HELLO), Code::FrameProtocol),
            ("two reserved bits", frame(0xe1, HELLO), Code::FrameProtocol),
            (
                "a later fragment",
                [frame(0x41, HELLO), frame(0xc0, b"")].concat(),
                Code::FrameProtocol,
            ),
            (
                "a message within another",
                [frame(0x01, b"x"), frame(0xc1, HELLO)].concat(),
                Code::FrameProtocol,
            ),
            ("a bomb", frame(0xc1, &bomb), Code::FrameSize),
            ("a bomb in fragments", fragmented_bomb, Code::FrameSize),
            ("too much as it is", frame(0xc1, &[0; 161]), Code::FrameSize),
            ("no DEFLATE", frame(0xc1, &[0x06]), Code::FrameEncoding),
            ("no UTF-8", frame(0xc1, &no_text), Code::FrameEncoding),
        ];
        for (name, bytes, code) in cases {
            assert_eq!(read_as(Packing::Deflate, &bytes, 160), (vec![], Some(code)), "{name}");
        }
        let unasked = [frame(0xc1, HELLO), frame(0x41, HELLO), frame(0xc2, HELLO)];
        for bytes in unasked {
            assert_eq!(read(&bytes, 160), (vec![], Some(Code::FrameProtocol)), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn messages_survive_any_cutting(
            messages in proptest::collection::vec(("\\PC{0,200}", any::<bool>()), 1..5),
            pieces in proptest::collection::vec(1..40_usize, 1..20),
            cuts in proptest::collection::vec(1..90_usize, 1..40),
        ) {
            let mut bytes = Vec::new();
            let mut pieces = pieces.into_iter().cycle();
            for (message, is_packed) in &messages {
                let (packed, sent) = match is_packed {
                    true => packed(message),
                    false => (0, message.clone().into_bytes()),
                };
                let parts: Vec<&[u8]> = sent.chunks(pieces.next().unwrap_or(1)).collect();
                let parts = if parts.is_empty() { vec![&b""[..]] } else { parts };
                for (place, part) in parts.iter().enumerate() {
                    let opcode = if place == 0 { 1 | packed } else { 0 };
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
                while let Some(arrival) = inbound.next(&mut buffer, Packing::Deflate, TooLong::Refuse).expect("legal frames") {
                    got.push(arrival);
                }
            }
            let expected: Vec<Arrival> = messages.into_iter().map(|(text, _)| Arrival::Text(text.into())).collect();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, 64);
            let _ = read_as(Packing::Deflate, &bytes, 64);
        }
    }
}
