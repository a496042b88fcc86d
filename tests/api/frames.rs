//! Frames as RFC 6455 has them, legal and not, sent byte by byte.
//!
//! A legal frame is understood however it is cut. An illegal one ends the connection with the
//! close code that the RFC names and a reason that a person can read, then with the end of the
//! TCP stream; afterwards the server holds nothing of the connection.

use crate::raw::{
    BINARY, CLOSE, ENDS, GOES_ON, PING, PONG, RawSocket, TEXT, TEXT_BEGINS, close_payload, frame, header,
    subscribe_frame, upgrade_request,
};
use crate::stage::Stage;

/// A request of exactly `length` bytes, and how its acknowledgement begins.
fn request(msg_id: u32, length: usize) -> (String, String) {
    let request = format!(r#"{{"msgId":{msg_id},"object":"event","type":"unsubscribe","path":"/acme/door""#);
    let request = format!("{request}{}}}", " ".repeat(length - request.len() - 1));
    (request, format!(r#"{{"head":{{"msgId":{msg_id},"ok":true,"#))
}

async fn assert_answer(socket: &mut RawSocket, expected: &str) {
    let ack = socket.text().await;
    assert!(ack.starts_with(expected), "{ack}");
}

/// Sends `bytes` on a new connection and asserts how the server ends it.
async fn assert_refused(stage: &Stage, name: &str, bytes: &[u8], close: u16, code: &str) {
    let refusals = format!(r#"refusals_total{{code="{code}"}}"#);
    let before = stage.metric(&refusals).await;
    let mut socket = RawSocket::open(stage, &stage.alice).await;
    socket.send(bytes).await;
    let (got, reason) = socket.closed().await;
    assert_eq!(got, close, "{name}: {reason}");
    let sentence = reason.strip_prefix(&format!("{code}: "));
    assert!(sentence.is_some_and(|sentence| sentence.len() > 3), "{name}: {reason}");
    drop(socket);
    stage.until_metric("connections", 0).await;
    assert_eq!(stage.metric(&refusals).await, before + 1, "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_with_a_ping_between_are_one_message_and_the_ping_is_answered() {
    let stage = Stage::start().await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    let (text, expected) = request(1, 200);
    let (start, rest) = text.as_bytes().split_at(50);
    let (middle, end) = rest.split_at(70);
    socket.send_frame(TEXT_BEGINS, start).await;
    socket.send_frame(PING, b"between").await;
    // Answered before the message is whole: it is not held back behind it.
    let pong = socket.next().await;
    assert_eq!((pong.first, &pong.payload[..]), (PONG, &b"between"[..]));
    socket.send_frame(GOES_ON, middle).await;
    socket.send_frame(PONG, b"unasked").await;
    socket.send_frame(GOES_ON, b"").await;
    socket.send_frame(ENDS, end).await;
    assert_answer(&mut socket, &expected).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_is_answered_with_its_body() {
    let stage = Stage::start().await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    for body in [vec![], b"still there?".to_vec(), vec![0xff; 125]] {
        socket.send_frame(PING, &body).await;
        let pong = socket.next().await;
        assert_eq!((pong.first, pong.payload.to_vec()), (PONG, body));
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_may_dribble_in_one_byte_at_a_time() {
    let stage = Stage::start().await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    socket.stream.set_nodelay(true).expect("a socket");
    // Long enough for the two lengths of a header, and for the second to be cut everywhere.
    for (msg_id, length) in [(1, 110), (2, 300)] {
        let (text, expected) = request(msg_id, length);
        for byte in frame(TEXT, text.as_bytes()) {
            socket.send(&[byte]).await;
            tokio::task::yield_now().await;
        }
        assert_answer(&mut socket, &expected).await;
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_in_one_write_are_answered_in_order() {
    let stage = Stage::start().await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    let mut bytes = Vec::new();
    for msg_id in 0..300 {
        bytes.extend(frame(TEXT, request(msg_id, 100).0.as_bytes()));
        bytes.extend(frame(PING, &msg_id.to_be_bytes()));
    }
    socket.send(&bytes).await;
    for msg_id in 0..300 {
        assert_answer(&mut socket, &request(msg_id, 100).1).await;
        let pong = socket.next().await;
        assert_eq!((pong.first, &pong.payload[..]), (PONG, &msg_id.to_be_bytes()[..]));
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_come_with_the_upgrade_are_not_lost() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let session = stage.session(&stage.alice).await;
    let subscribe = subscribe_frame("/acme/door");
    let (start, end) = subscribe.split_at(20);
    let mut socket = RawSocket::connect(stage.address).await;
    let first = frame(PING, b"early");
    let early = [upgrade_request(&session).as_bytes(), &first, start].concat();
    socket.send(&early).await;
    let head = socket.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let pong = socket.next().await;
    assert_eq!((pong.first, &pong.payload[..]), (PONG, &b"early"[..]));
    socket.send(end).await;
    assert_answer(&mut socket, r#"{"head":{"msgId":"s","ok":true,"#).await;
    stage.publish(&stage.alice, "/acme/door", r#"{"open":true}"#).await;
    assert_answer(&mut socket, r#"{"type":"message","#).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_granted_with_the_key_that_the_rfc_computes() {
    let stage = Stage::start().await;
    let session = stage.session(&stage.alice).await;
    let mut socket = RawSocket::connect(stage.address).await;
    socket.send(upgrade_request(&session).as_bytes()).await;
    let head = socket.head().await.to_ascii_lowercase();
    // The key and its answer are the example of RFC 6455 §1.3.
    for line in [
        "http/1.1 101 switching protocols\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
    ] {
        assert!(head.contains(line), "{head}");
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_is_not_utf_8_ends_with_1007() {
    let stage = Stage::start().await;
    let valid_start = [frame(TEXT_BEGINS, b"{\"msgId\":\"\xc3"), frame(ENDS, b"(\"}")].concat();
    let cut_off = [frame(TEXT_BEGINS, b"abc"), frame(ENDS, b"\xe2\x82")].concat();
    let cases = [
        ("never UTF-8", frame(TEXT, b"{\"msgId\":\"\xff\xfe\"}")),
        ("an encoded surrogate", frame(TEXT, b"\xed\xa0\x80")),
        ("overlong", frame(TEXT, b"\xc0\xaf")),
        ("ends within a character", frame(TEXT, b"abc\xe2\x82")),
        ("a wrong character over two fragments", valid_start),
        ("fragments that end within a character", cut_off),
    ];
    for (name, bytes) in cases {
        assert_refused(&stage, name, &bytes, 1007, "frame.encoding").await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_character_may_be_split_between_fragments() {
    let stage = Stage::start().await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    socket.send_frame(TEXT_BEGINS, b"{\"msgId\":\"gr\xc3").await;
    socket.send_frame(ENDS, b"\xbcn\"}").await;
    assert_answer(&mut socket, r#"{"head":{"msgId":"grün","ok":false,"#).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_rfc_forbids_ends_with_1002() {
    let stage = Stage::start().await;
    let hello = b"{\"msgId\":1}";
    let unmasked = [&[TEXT, hello.len() as u8][..], hello].concat();
    let message_inside = [frame(TEXT_BEGINS, b"{"), frame(TEXT, hello)].concat();
    let fragments_inside = [frame(TEXT_BEGINS, b"{"), frame(TEXT_BEGINS, hello)].concat();
    let cases = [
        ("unmasked", unmasked),
        ("an unmasked ping", vec![PING, 0]),
        ("reserved bit 1", frame(TEXT | 0x40, hello)),
        ("reserved bit 2", frame(TEXT | 0x20, hello)),
        ("reserved bit 3", frame(TEXT | 0x10, hello)),
        ("a reserved bit in a fragment", frame(TEXT_BEGINS | 0x40, hello)),
        ("a reserved bit in a ping", frame(PING | 0x40, b"")),
        ("unknown opcode 3", frame(0x83, hello)),
        ("unknown opcode 7", frame(0x87, hello)),
        ("unknown control opcode 11", frame(0x8b, b"")),
        ("unknown control opcode 15", frame(0x8f, b"")),
        ("a fragmented ping", frame(PING & 0x7f, b"x")),
        ("a fragmented close", frame(CLOSE & 0x7f, &1000_u16.to_be_bytes())),
        ("a ping too long", frame(PING, &[b'x'; 126])),
        ("a close too long", frame(CLOSE, &close_payload(1000, &"x".repeat(124)))),
        ("a continuation without a start", frame(ENDS, hello)),
        ("a middle without a start", frame(GOES_ON, hello)),
        ("a message inside fragments", message_inside),
        ("fragments inside fragments", fragments_inside),
    ];
    for (name, bytes) in cases {
        assert_refused(&stage, name, &bytes, 1002, "frame.protocol").await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_code_that_nobody_may_send_ends_with_1002() {
    let stage = Stage::start().await;
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        let bytes = frame(CLOSE, &close_payload(code, "so it is"));
        assert_refused(&stage, &format!("close code {code}"), &bytes, 1002, "frame.protocol").await;
    }
    let half_a_code = frame(CLOSE, &[3]);
    assert_refused(&stage, "half a close code", &half_a_code, 1002, "frame.protocol").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_reason_that_is_not_utf_8_is_refused() {
    let stage = Stage::start().await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    socket.send_frame(CLOSE, b"\x03\xe8\xff\xfe").await;
    // The RFC wants the connection failed and leaves open whether as 1002 or as 1007.
    let (code, reason) = socket.closed().await;
    assert!([1002, 1007].contains(&code), "{code} {reason}");
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legal_goodbye_is_answered_with_its_own_code() {
    let stage = Stage::start().await;
    for code in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
        let mut socket = RawSocket::open(&stage, &stage.alice).await;
        socket.send_frame(CLOSE, &close_payload(code, "bye")).await;
        assert_eq!(socket.closed().await.0, code);
        drop(socket);
        stage.until_metric("connections", 0).await;
    }
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    socket.send_frame(CLOSE, b"").await;
    assert_eq!(socket.closed().await.0, 1005, "no code is answered with no code");
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_goodbye_nothing_more_is_listened_to() {
    let stage = Stage::start().await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    let close = frame(CLOSE, &1000_u16.to_be_bytes());
    let bytes = [close, frame(PING, b"one more thing"), frame(TEXT, b"nonsense")].concat();
    socket.send(&bytes).await;
    assert_eq!(socket.closed().await.0, 1000);
    assert_eq!(stage.metric(r#"refusals_total{code="frame.malformed"}"#).await, 0);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_the_permitted_size_is_taken_whole_or_in_fragments() {
    let stage = Stage::with(&["--max-frame-bytes", "1000"]).await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    let (text, expected) = request(1, 1_000);
    socket.send_frame(TEXT, text.as_bytes()).await;
    assert_answer(&mut socket, &expected).await;
    let (text, expected) = request(2, 1_000);
    socket.send_frame(TEXT_BEGINS, &text.as_bytes()[..600]).await;
    socket.send_frame(ENDS, &text.as_bytes()[600..]).await;
    assert_answer(&mut socket, &expected).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_too_big_ends_with_1009_before_it_has_come() {
    let stage = Stage::with(&["--max-frame-bytes", "1000"]).await;
    let second_fragment = [frame(TEXT_BEGINS, &[b'x'; 600]), frame(GOES_ON, &[b'x'; 401])].concat();
    let many = [frame(TEXT_BEGINS, b"x"), frame(GOES_ON, &[b'x'; 100]).repeat(10)].concat();
    let cases = [
        // The header is all that is ever sent.
        ("a header of one byte too many", header(TEXT, 1_001)),
        ("a header of 65,536 bytes", header(TEXT, 65_536)),
        ("a header of a terabyte", header(TEXT, 1 << 40)),
        ("a header of all bits", header(TEXT, u64::MAX)),
        ("a fragment's header", header(TEXT_BEGINS, 1_001)),
        ("two fragments", second_fragment),
        ("many fragments", many),
    ];
    for (name, bytes) in cases {
        assert_refused(&stage, name, &bytes, 1009, "frame.size").await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binary_message_ends_with_1003() {
    let stage = Stage::start().await;
    let fragments = [frame(BINARY & 0x7f, b"{"), frame(ENDS, b"}")].concat();
    let cases = [
        ("whole", frame(BINARY, b"{\"msgId\":1}")),
        ("empty", frame(BINARY, b"")),
        ("in fragments", fragments),
    ];
    for (name, bytes) in cases {
        assert_refused(&stage, name, &bytes, 1003, "frame.binary").await;
    }
    stage.end().await;
}

/// Sends a head on a new connection and returns the answer's head, after checking its body.
async fn refused_upgrade(stage: &Stage, request: &str) -> String {
    let mut socket = RawSocket::connect(stage.address).await;
    socket.send(request.as_bytes()).await;
    let (head, body) = socket.answer().await;
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    assert!(body.starts_with(r#"{"head":{"ok":false,"status":4"#), "{body}");
    assert!(body.ends_with(r#"],"code":"upgrade.malformed"},"body":{}}"#), "{body}");
    // Either the connection ends and says so, or it goes on as HTTP.
    if head.contains("\r\nconnection: close\r\n") {
        socket.assert_ended().await;
    } else {
        socket
            .send(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert!(socket.head().await.starts_with("HTTP/1.1 200 "));
    }
    head
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_is_none_is_refused_in_plain_http() {
    let stage = Stage::start().await;
    let session = stage.session(&stage.alice).await;
    let request = upgrade_request(&session);
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let cases = [
        ("no key", request.replace(key, "")),
        ("no version", request.replace("Sec-WebSocket-Version: 13\r\n", "")),
        ("no upgrade", request.replace("Upgrade: websocket\r\n", "")),
        (
            "POST",
            request
                .replace("GET ", "POST ")
                .replace(key, &format!("{key}Content-Length: 0\r\n")),
        ),
    ];
    for (name, request) in cases {
        let head = refused_upgrade(&stage, &request).await;
        assert!(head.starts_with("http/1.1 400 "), "{name}: {head}");
    }
    assert_eq!(stage.metric("connections_opened_total").await, 0);
    stage.end().await;
}

/// RFC 6455 §4.2.2: the answer to a version that is not understood names those that are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_version_is_refused_with_the_one_that_is_known() {
    let stage = Stage::start().await;
    let session = stage.session(&stage.alice).await;
    let request = upgrade_request(&session).replace("Version: 13", "Version: 8");
    let head = refused_upgrade(&stage, &request).await;
    assert!(
        head.starts_with("http/1.1 400 ") || head.starts_with("http/1.1 426 "),
        "{head}"
    );
    assert!(head.contains("\r\nsec-websocket-version: 13\r\n"), "{head}");
    stage.end().await;
}
