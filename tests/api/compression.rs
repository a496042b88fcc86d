//! `permessage-deflate`: what is agreed on, that an event is compressed once for all who agreed, and
//! that they get what the others get.
//!
//! Frames are taken apart by hand, so that every bit that the extension gives a meaning is seen.

use crate::raw::{ENDS, PING, PONG, RawFrame, RawSocket, TEXT, subscribe_frame, upgrade_request};
use crate::reading::{DOOR, NO_MEMORY, Tally, following, offset, until_on_disk};
use crate::stage::Stage;
use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use serde_json::{Value, json};
use std::io::Read;
use std::ops::RangeInclusive;

const ON: [&str; 2] = ["--compression", "on"];
const OFFER: &str = "permessage-deflate; client_max_window_bits";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// The bit that says: compressed.
const RSV1: u8 = 0x40;

async fn stage_with(flags: &[&str]) -> Stage {
    let stage = Stage::with(&[&ON[..], flags].concat()).await;
    stage.add_stream(&stage.alice, DOOR, 1_000).await;
    stage
}

/// Asks for the upgrade with an offer; the head of the answer.
async fn upgrade(stage: &Stage, socket: &mut RawSocket, offer: &str) -> String {
    let session = stage.session(&stage.alice).await;
    let request = upgrade_request(&session);
    let request = request.trim_end();
    let more = format!("{request}\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n");
    socket.send(more.as_bytes()).await;
    let head = socket.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    head
}

/// What the answer says was agreed on.
fn agreed(head: &str) -> Option<&str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let line = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"));
    line.map(|(_, value)| value)
}

async fn deflating(stage: &Stage) -> RawSocket {
    let mut socket = RawSocket::connect(stage.address).await;
    assert_eq!(agreed(&upgrade(stage, &mut socket, OFFER).await), Some(AGREED));
    socket
}

/// Follows a stream with further members, and passes over the acknowledgement.
async fn follow(socket: &mut RawSocket, members: &str) {
    socket.send_frame(TEXT, following(DOOR, members).as_bytes()).await;
    let ack = socket.text().await;
    assert!(ack.contains(r#""ok":true"#), "{ack}");
}

/// A message as other programs compress it: closed for good, which the RFC allows.
fn packed(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = DeflateEncoder::new(message, Compression::best());
    encoder.read_to_end(&mut bytes).expect("compressed");
    bytes.push(0);
    bytes
}

/// The text of a frame, which has to be compressed.
fn unpacked(frame: &RawFrame) -> String {
    assert_eq!(frame.first, TEXT | RSV1, "{frame:?}");
    // The tail that is not sent, and an end.
    let whole = [&frame.payload[..], &[0, 0, 0xff, 0xff, 3, 0]].concat();
    let mut text = String::new();
    DeflateDecoder::new(&whole[..])
        .read_to_string(&mut text)
        .expect("DEFLATE");
    text
}

/// What a frame says, compressed or not.
fn said(frame: &RawFrame) -> String {
    match frame.first {
        TEXT => frame.text().to_owned(),
        _ => unpacked(frame),
    }
}

async fn take(socket: &mut RawSocket, count: usize) -> Vec<RawFrame> {
    let mut frames = Vec::new();
    while frames.len() < count {
        frames.push(socket.next().await);
    }
    frames
}

/// Bytes on the wire, headers included.
fn wire_bytes(frames: &[RawFrame]) -> u64 {
    let length = |frame: &RawFrame| match frame.payload.len() {
        short @ 0..126 => short + 2,
        length => length + 4,
    };
    frames.iter().map(length).sum::<usize>() as u64
}

/// Publishes numbered events of `letters` letters each that hardly repeat themselves.
async fn publish(stage: &Stage, numbers: RangeInclusive<u64>, letters: usize) {
    let mut state = 1_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (state >> 33) as u8 % 64)
    };
    let mut event = |n: u64| {
        let text: String = (0..letters).map(|_| letter()).collect();
        json!({"path": DOOR, "elems": {"n": n, "text": text}})
    };
    let events: Vec<Value> = numbers.map(&mut event).collect();
    for part in events.chunks(100) {
        let body = json!(part).to_string();
        let answer = stage
            .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unless_it_is_switched_on_an_offer_is_passed_over() {
    let stage = Stage::start().await;
    let undated = |head: &str| -> Vec<String> {
        let lines = head.lines().filter(|line| !line.starts_with("date: "));
        lines.map(str::to_owned).collect()
    };
    let mut unasked = RawSocket::connect(stage.address).await;
    let session = stage.session(&stage.alice).await;
    unasked.send(upgrade_request(&session).as_bytes()).await;
    let expected = undated(&unasked.head().await);
    let mut socket = RawSocket::connect(stage.address).await;
    assert_eq!(undated(&upgrade(&stage, &mut socket, OFFER).await), expected);
    socket.send_frame(TEXT | RSV1, &packed(b"{}")).await;
    let (code, reason) = socket.closed().await;
    assert_eq!((code, reason.split(':').next()), (1002, Some("frame.protocol")));
    assert_eq!(stage.metric("connections_compressed_total").await, 0);
    drop((unasked, socket));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_agreed_on_is_and_the_rest_gets_plain_messages() {
    let stage = stage_with(&[]).await;
    let limited = format!("{AGREED}; server_max_window_bits=15");
    let cases = [
        (OFFER, Some(AGREED)),
        ("permessage-deflate; server_max_window_bits=15", Some(limited.as_str())),
        ("permessage-deflate; server_max_window_bits=10", None),
        (
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            Some(AGREED),
        ),
        (
            "x-unknown\r\nSec-WebSocket-Extensions: permessage-deflate",
            Some(AGREED),
        ),
        ("permessage-deflate; client_max_window_bits=99", None),
        ("permessage-deflate; level=9", None),
        ("x-unknown", None),
    ];
    for (n, (offer, expected)) in cases.into_iter().enumerate() {
        let mut socket = RawSocket::connect(stage.address).await;
        let head = upgrade(&stage, &mut socket, offer).await;
        assert_eq!(agreed(&head), expected, "{offer}");
        socket.subscribe(DOOR).await;
        publish(&stage, n as u64..=n as u64, 10).await;
        let frame = socket.next().await;
        assert_eq!(frame.first == TEXT | RSV1, expected.is_some(), "{offer}: {frame:?}");
        assert_eq!(offset(&said(&frame)), n as u64 + 1);
    }
    let agreements = cases.iter().filter(|(_, expected)| expected.is_some()).count() as u64;
    assert_eq!(stage.metric("connections_compressed_total").await, agreements);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_followers_share_one_compression_and_read_what_plain_ones_read() {
    let stage = stage_with(&[]).await;
    let (mut deflated, mut plain) = (Vec::new(), Vec::new());
    for n in 0..104 {
        let mut socket = match n % 26 {
            0 => RawSocket::open(&stage, &stage.alice).await,
            _ => deflating(&stage).await,
        };
        socket.subscribe(DOOR).await;
        if n % 26 == 0 {
            plain.push(socket);
        } else {
            deflated.push(socket);
        }
    }
    // One alone, some at once, and one more: what was counted twice before would show by then.
    publish(&stage, 1..=1, 60).await;
    publish(&stage, 2..=30, 60).await;
    publish(&stage, 31..=31, 60).await;
    let expected = take(&mut plain[0], 31).await;
    for socket in &mut plain[1..] {
        assert_eq!(take(socket, 31).await, expected);
    }
    let shared = take(&mut deflated[0], 31).await;
    for socket in &mut deflated[1..] {
        assert_eq!(take(socket, 31).await, shared);
    }
    let texts: Vec<String> = shared.iter().map(unpacked).collect();
    assert_eq!(texts, expected.iter().map(said).collect::<Vec<_>>());
    let (before, after) = (wire_bytes(&expected), wire_bytes(&shared));
    assert!(after < before * 3 / 4, "{after} of {before} bytes");
    stage.until_metric("events_compressed_total", 31).await;
    assert_eq!(stage.metric("compressed_before_bytes_total").await, before);
    assert_eq!(stage.metric("compressed_after_bytes_total").await, after);
    assert_eq!(stage.metric("connections_compressed_total").await, 100);
    stage.until_metric("events_delivered_total", 104 * 31).await;
    drop((deflated, plain));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_compressed_when_nobody_follows_who_agreed() {
    let stage = stage_with(&[]).await;
    let idle = deflating(&stage).await;
    let mut plain = RawSocket::open(&stage, &stage.alice).await;
    plain.subscribe(DOOR).await;
    publish(&stage, 1..=20, 60).await;
    for n in 1..=20 {
        assert_eq!(offset(&plain.text().await), n);
    }
    stage.until_metric("events_delivered_total", 20).await;
    assert_eq!(stage.metric("events_compressed_total").await, 0);
    drop((idle, plain));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_may_be_compressed_whole_and_in_fragments() {
    let stage = stage_with(&[]).await;
    let mut socket = deflating(&stage).await;
    let request = following(DOOR, r#""last":1"#);
    let bytes = packed(request.as_bytes());
    let (start, end) = bytes.split_at(bytes.len() / 2);
    socket.send_frame(0x01 | RSV1, start).await;
    socket.send_frame(PING, b"between").await;
    assert_eq!(socket.next().await.first, PONG);
    socket.send_frame(ENDS, end).await;
    let ack = socket.text().await;
    assert!(ack.starts_with(r#"{"head":{"msgId":"f","ok":true"#), "{ack}");
    let create = format!(
        r#"{{"msgId":2,"object":"event","type":"create","path":"{DOOR}","value":{{"elems":{{"x":"{}"}}}}}}"#,
        "again ".repeat(2_000)
    );
    let bytes = packed(create.as_bytes());
    assert!(bytes.len() < create.len() / 10);
    socket.send_frame(TEXT | RSV1, &bytes).await;
    let frames = take(&mut socket, 2).await;
    let mut texts = frames.iter().map(said);
    assert!(texts.any(|text| text.contains("again again") && text.starts_with(r#"{"type":"message""#)));
    // And a plain one is still one.
    socket.send(&subscribe_frame(DOOR)).await;
    socket.text().await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_extension_forbids_ends_the_connection() {
    let stage = stage_with(&["--max-frame-bytes", "4096"]).await;
    let bomb = packed(&vec![b' '; 10_000_000]);
    let small_bomb = packed(&[b' '; 4_097]);
    assert!(small_bomb.len() < 4_096);
    let cases = [
        ("a compressed ping", PING | RSV1, &b""[..], 1002, "frame.protocol"),
        ("another reserved bit", TEXT | 0x20, b"{}", 1002, "frame.protocol"),
        ("no DEFLATE", TEXT | RSV1, &[0x06], 1007, "frame.encoding"),
        ("a bomb", TEXT | RSV1, &small_bomb, 1009, "frame.size"),
        (
            "one that is too long as it comes",
            TEXT | RSV1,
            &bomb,
            1009,
            "frame.size",
        ),
    ];
    for (name, first, payload, close, code) in cases {
        let mut socket = deflating(&stage).await;
        socket.send_frame(first, payload).await;
        let (got, reason) = socket.closed().await;
        assert_eq!((got, reason.split(':').next()), (close, Some(code)), "{name}: {reason}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_compressed_once_and_goes_on_live() {
    for flags in [&[][..], &NO_MEMORY] {
        let stage = stage_with(flags).await;
        publish(&stage, 1..=300, 60).await;
        if flags == NO_MEMORY {
            until_on_disk(&stage).await;
        }
        let mut sockets = [deflating(&stage).await, deflating(&stage).await];
        for socket in &mut sockets {
            follow(socket, r#""since":0"#).await;
            let mut tally = Tally::default();
            for frame in take(socket, 300).await {
                tally.add(&unpacked(&frame));
            }
            assert_eq!(tally.told(), 0);
        }
        if flags != NO_MEMORY {
            stage.until_metric("events_compressed_total", 300).await;
        }
        publish(&stage, 301..=301, 60).await;
        for socket in &mut sockets {
            assert_eq!(offset(&unpacked(&socket.next().await)), 301);
        }
        drop(sockets);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_falls_behind_and_is_given_everything_compressed() {
    let stage = stage_with(&["--max-outbox-bytes", "65536"]).await;
    let mut slow = RawSocket::connect_narrow(stage.address).await;
    assert_eq!(agreed(&upgrade(&stage, &mut slow, OFFER).await), Some(AGREED));
    slow.subscribe(DOOR).await;
    let mut plain = RawSocket::open(&stage, &stage.alice).await;
    plain.subscribe(DOOR).await;
    publish(&stage, 1..=900, 1_000).await;
    let expected: Vec<String> = take(&mut plain, 900).await.iter().map(said).collect();
    stage.until_behind().await;
    let got: Vec<String> = take(&mut slow, 900).await.iter().map(unpacked).collect();
    assert_eq!(got, expected);
    publish(&stage, 901..=901, 1_000).await;
    assert_eq!(unpacked(&slow.next().await), plain.text().await);
    assert_eq!(stage.metric("events_missed_total").await, 0);
    drop((slow, plain));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_filter_the_same_way_share_what_is_compressed() {
    let stage = stage_with(&[]).await;
    let mut plain = RawSocket::open(&stage, &stage.alice).await;
    let mut deflated = [deflating(&stage).await, deflating(&stage).await];
    let members = r#""filter":"n % 10 == 0""#;
    follow(&mut plain, members).await;
    for socket in &mut deflated {
        follow(socket, members).await;
    }
    publish(&stage, 1..=200, 60).await;
    let expected: Vec<String> = take(&mut plain, 20).await.iter().map(said).collect();
    let shared = take(&mut deflated[0], 20).await;
    assert_eq!(take(&mut deflated[1], 20).await, shared);
    assert_eq!(shared.iter().map(unpacked).collect::<Vec<_>>(), expected);
    stage.until_metric("events_delivered_total", 60).await;
    stage.until_metric("events_compressed_total", 20).await;
    drop((plain, deflated));
    stage.end().await;
}
