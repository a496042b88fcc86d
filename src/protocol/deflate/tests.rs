//! What is compressed comes back, and nothing else does any harm.

use super::*;
use proptest::prelude::*;

/// A compressed message as other programs make it, by the backend's plain means.
fn packed(message: &[u8], level: u32, flush: FlushCompress) -> Vec<u8> {
    let mut compress = Compress::new(Level::new(level), false);
    let mut out = Vec::with_capacity(message.len() + 1_024);
    compress.compress_vec(message, &mut out, flush).expect("compressed");
    out
}

fn without_tail(mut packed: Vec<u8>) -> Vec<u8> {
    assert_eq!(packed.split_off(packed.len() - TAIL.len()), TAIL);
    packed
}

/// The payload of a frame of ours.
fn payload(frame: &[u8]) -> &[u8] {
    match frame[1] {
        126 => &frame[4..],
        127 => &frame[10..],
        _ => &frame[2..],
    }
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    // RFC 7692 §7.2.3.1 to §7.2.3.5: one block, stored, closed for good, two blocks.
    let one: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let stored: &[u8] = &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    let closed: &[u8] = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two: &[u8] = &[
        0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
    ];
    for bytes in [one, stored, closed, two] {
        assert_eq!(unpack(bytes, 5), Ok(b"Hello".to_vec()), "{bytes:x?}");
        assert_eq!(unpack(bytes, 4), Err(Wrong::TooLong), "{bytes:x?}");
    }
    assert_eq!(unpack(&[0x00], 5), Ok(Vec::new()));
}

#[test]
fn a_message_is_framed_as_compressed_only_if_that_is_shorter() {
    let long = "again and again, ".repeat(40);
    let framed = text(&long);
    assert_eq!(framed[0], 0xc1);
    assert!(framed.len() < long.len() / 4, "{} bytes", framed.len());
    assert_eq!(unpack(payload(&framed), long.len()), Ok(long.into_bytes()));
    assert_eq!(text("zq"), frame::text("zq"));
    assert_eq!(text(""), frame::text(""));
}

#[test]
fn the_same_message_looks_the_same_whatever_came_before() {
    let message = "one message".repeat(9);
    let first = text(&message);
    text("another one that has much in common with one message");
    assert_eq!(text(&message), first);
}

#[test]
fn what_was_compressed_is_counted_once() {
    take_counts();
    let long = "x".repeat(1_000);
    let after = (text(&long).len() + text("zq").len()) as u64;
    let expected = Counts {
        messages: 2,
        before: 1_004 + 4,
        after,
    };
    assert_eq!(take_counts(), expected);
    assert_eq!(take_counts(), Counts::default());
}

#[test]
fn a_bomb_ends_before_it_has_grown() {
    let bomb = without_tail(packed(&vec![0; 5_000_000], 9, FlushCompress::Sync));
    assert!(bomb.len() < 65_536, "{} bytes", bomb.len());
    assert_eq!(unpack(&bomb, 65_536), Err(Wrong::TooLong));
    let exact = without_tail(packed(&[0; 65_536], 9, FlushCompress::Sync));
    let whole = unpack(&exact, 65_536).expect("as long as it may be");
    assert_eq!((whole.len(), whole.capacity() <= 65_537), (65_536, true));
}

#[test]
fn what_is_no_deflate_is_refused() {
    let cases: &[(&str, &[u8])] = &[
        ("a kind of block that there is not", &[0x06]),
        ("lengths of a stored block that differ", &[0x00, 0x00, 0x00, 0x00, 0x00]),
        ("too many symbols", &[0xfc, 0x00, 0x00]),
        ("code lengths that are no code", &[0x04, 0x00, 0xfe, 0xff]),
        ("no end of the block", &[0x04, 0x00, 0x24, 0xe9, 0xff, 0x6d]),
        ("a distance that there is not", &[0x02, 0x7e, 0xff, 0xff]),
        (
            "a distance to before the beginning",
            &[0x0c, 0xc0, 0x81, 0, 0, 0, 0, 0, 0x90, 0xff, 0x6b, 0x04, 0x00],
        ),
    ];
    for (name, bytes) in cases {
        assert_eq!(unpack(bytes, 1_000), Err(Wrong::Malformed), "{name}");
    }
}

proptest! {
    #[test]
    fn whatever_is_compressed_comes_back(message in "\\PC{0,3000}") {
        let framed = text(&message);
        match framed[0] {
            0xc1 => prop_assert_eq!(unpack(payload(&framed), message.len()), Ok(message.into_bytes())),
            _ => prop_assert_eq!(framed, frame::text(&message)),
        }
    }

    #[test]
    fn whatever_others_compress_is_read(
        message in proptest::collection::vec(0..20_u8, 0..5000),
        level in 0..10_u32,
        closes in any::<bool>(),
    ) {
        let bytes = match closes {
            true => [packed(&message, level, FlushCompress::Finish), vec![0]].concat(),
            false => without_tail(packed(&message, level, FlushCompress::Sync)),
        };
        prop_assert_eq!(unpack(&bytes, 5_000), Ok(message.clone()));
        if let Some(most) = message.len().checked_sub(1) {
            prop_assert_eq!(unpack(&bytes, most), Err(Wrong::TooLong));
        }
    }

    #[test]
    fn garbage_neither_panics_nor_grows(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(whole) = unpack(&bytes, 64) {
            prop_assert!(whole.capacity() <= 65);
        }
    }
}
