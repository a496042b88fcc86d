//! WebSocket frames as they come, in pieces of any size.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use streamgate::protocol::deflate::Packing;
use streamgate::protocol::inbound::{Inbound, TooLong};

/// The longest message.
const MOST: usize = 512;
/// The longest header of a frame with its mask.
const HEADER: usize = 14;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let packing = [Packing::Plain, Packing::Deflate][usize::from(first & 1)];
    let too_long = [TooLong::Refuse, TooLong::Skip][usize::from(first >> 1 & 1)];
    let at_once = usize::from(first >> 2) + 1;
    let (mut inbound, mut buffer) = (Inbound::new(MOST), BytesMut::new());
    for some in bytes.chunks(at_once) {
        buffer.extend_from_slice(some);
        loop {
            match inbound.next(&mut buffer, packing, too_long) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(buffer.len() <= MOST + HEADER, "no more is held than a message");
    }
});
