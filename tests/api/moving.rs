//! A session moves between its transports, and loses nothing by it.

use crate::half_read::until_stuck;
use crate::outflow::{Outflow, offsets};
use crate::raw::{CLOSE, RawSocket, close_payload};
use crate::stage::Socket;
use crate::transports::{publish, publish_long, stage};
use futures_util::StreamExt;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_tungstenite::tungstenite::Message;

/// Events that each transport of the story brings at least.
const EACH: usize = 40;

/// Says goodbye and reads all that was sent before the answer to it.
pub async fn close(mut socket: Socket) -> Vec<Value> {
    socket.socket.close(None).await.expect("a goodbye");
    let mut last = Vec::new();
    while let Some(Ok(message)) = socket.socket.next().await {
        if let Message::Text(text) = message {
            last.push(serde_json::from_str(&text).expect("JSON"));
        }
    }
    last
}

async fn read_socket(socket: &mut Socket, seen: &mut Vec<Value>) {
    for _ in 0..EACH {
        seen.push(socket.json().await);
    }
}

/// The story of a client whose network changes under it while others publish without pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_comes_once_and_in_order_whichever_way_the_session_goes() {
    let stage = Arc::new(stage(&["--poll-time", "1s"]).await);
    let session = stage.session(&stage.alice).await;
    let goes_on = Arc::new(AtomicBool::new(true));
    let mut socket = stage.connect(&session).await;
    socket.subscribe("/acme/door").await;
    let publisher = tokio::spawn({
        let (stage, goes_on) = (Arc::clone(&stage), Arc::clone(&goes_on));
        async move {
            while goes_on.load(Ordering::Relaxed) {
                publish(&stage, "/acme/door", 1).await;
            }
        }
    });
    let mut seen = Vec::new();
    for _ in 0..2 {
        read_socket(&mut socket, &mut seen).await;
        seen.extend(close(socket).await);
        let wanted = seen.len() + EACH;
        while seen.len() < wanted {
            seen.extend(stage.poll(&session).await);
        }
        let mut lines = Outflow::open(&stage, &session, "streaming").await;
        for _ in 0..EACH {
            seen.push(lines.line().await);
        }
        // The stream is taken over, and what it still brings is read to its end.
        let mut events = Outflow::open(&stage, &session, "events").await;
        let rest = lines.rest().await;
        let rest = rest.lines().filter(|line| !line.is_empty());
        let mut rest: Vec<Value> = rest.map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let goaway = rest.pop().expect("a goodbye");
        assert_eq!(
            (&goaway["type"], &goaway["body"]["reason"]),
            (&"goaway".into(), &"session.moved".into())
        );
        seen.extend(rest);
        for _ in 0..EACH {
            seen.push(events.event().await.json());
        }
        socket = stage.connect(&session).await;
        loop {
            let event = events.event().await;
            if event.event == "goaway" {
                break;
            }
            seen.push(event.json());
        }
    }
    read_socket(&mut socket, &mut seen).await;
    goes_on.store(false, Ordering::Relaxed);
    publisher.await.expect("no panic");
    let wanted: Vec<u64> = (1..=seen.len() as u64).collect();
    assert_eq!(offsets(&seen), wanted);
    drop(socket);
    let Ok(stage) = Arc::try_unwrap(stage) else {
        panic!("nobody else has it");
    };
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_closed_socket_followed_the_next_poll_brings_and_the_next_socket_does_not() {
    let stage = stage(&["--poll-time", "1s"]).await;
    let session = stage.session(&stage.alice).await;
    let mut socket = stage.connect(&session).await;
    socket.subscribe("/acme/door").await;
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(socket.json().await["offset"], 1);
    assert_eq!(close(socket).await, Vec::<Value>::new());
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(offsets(&stage.poll(&session).await), [2]);
    // A socket takes over what the poll followed; but what an ended socket followed, it does not.
    let mut socket = stage.connect(&session).await;
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(socket.json().await["offset"], 3);
    close(socket).await;
    let mut socket = stage.connect(&session).await;
    publish(&stage, "/acme/door", 1).await;
    socket.assert_quiet().await;
    close(socket).await;
    assert_eq!(
        stage.poll(&session).await,
        Vec::<Value>::new(),
        "and then it is forgotten"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_took_comes_first_to_the_socket_that_takes_over() {
    let stage = stage(&[]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    publish(&stage, "/acme/door", 3).await;
    let mut socket = stage.connect(&session).await;
    // Asked at once, and yet answered after what came before.
    socket
        .send(r#"{"msgId":1,"type":"subscribe","path":"/acme/door","last":1}"#)
        .await;
    for offset in 1..=3 {
        assert_eq!(socket.json().await["offset"], offset);
    }
    let ack = socket.json().await;
    assert_eq!(
        (&ack["head"]["msgId"], &ack["body"]["streams"][0]["offset"]),
        (&1.into(), &3.into())
    );
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(socket.json().await["offset"], 4);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terms_move_along() {
    let stage = stage(&["--poll-time", "1s"]).await;
    let session = stage.session(&stage.alice).await;
    let mut socket = stage.connect(&session).await;
    let ack = socket
        .ask(r#"{"msgId":1,"type":"subscribe","path":"/acme/door","filter":"offset % 2 == 0"}"#)
        .await;
    assert!(ack.contains(r#""ok":true"#), "{ack}");
    close(socket).await;
    publish(&stage, "/acme/door", 4).await;
    let mut came = stage.poll(&session).await;
    while came.len() < 2 {
        came.extend(stage.poll(&session).await);
    }
    assert_eq!(offsets(&came), [2, 4]);
    let mut socket = stage.connect(&session).await;
    publish(&stage, "/acme/door", 2).await;
    assert_eq!(socket.json().await["offset"], 6);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_calls_events_drops_does_so_everywhere() {
    let stage = stage(&["--poll-time", "1s"]).await;
    let session = stage.session(&stage.alice).await;
    let mut socket = stage.connect(&session).await;
    let ack = socket
        .ask(r#"{"msgId":1,"object":"drop","type":"subscribe","path":"/acme/door"}"#)
        .await;
    assert!(ack.contains(r#""ok":true"#), "{ack}");
    close(socket).await;
    publish(&stage, "/acme/door", 1).await;
    let came = stage.poll(&session).await;
    assert_eq!(came[0]["value"]["flowId"], came[0]["resource"]);
    let mut socket = stage.connect(&session).await;
    publish(&stage, "/acme/door", 1).await;
    let event = socket.json().await;
    assert_eq!(event["value"]["flowId"], event["resource"]);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_takes_over_from_who_read_before() {
    let stage = stage(&["--poll-time", "20s"]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let mut oldest = Outflow::open(&stage, &session, "streaming").await;
    let later = async {
        // Tells that the poll has come.
        assert_eq!(oldest.line().await["body"]["reason"], "session.moved");
        assert_eq!(oldest.any_line().await, None);
        Outflow::open(&stage, &session, "streaming").await
    };
    let (came, mut lines) = tokio::join!(stage.poll(&session), later);
    assert_eq!(came, Vec::<Value>::new());
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(lines.line().await["offset"], 1);
    drop(lines);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_source_that_comes_again_goes_on_where_it_was() {
    let stage = stage(&[]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    stage.follow(&session, "/acme/window").await;
    let mut events = Outflow::open(&stage, &session, "events").await;
    publish(&stage, "/acme/door", 3).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(events.event().await.id);
    }
    publish(&stage, "/acme/window", 1).await;
    assert_eq!(events.event().await.json()["value"]["path"], "/acme/window");
    // As if only the first had come through.
    let seen = [("Last-Event-ID", &*ids[0])];
    let mut events = Outflow::open_with(&stage, &session, "events", &seen).await;
    let mut came = Vec::new();
    for _ in 0..3 {
        let event = events.event().await.json();
        came.push(format!("{} {}", event["value"]["path"], event["offset"]));
    }
    came.sort();
    assert_eq!(came, [r#""/acme/door" 2"#, r#""/acme/door" 3"#, r#""/acme/window" 1"#]);
    drop(events);
    stage.end().await;
}

/// A socket that was cut off while events waited for it: what was not written to it whole comes next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_written_to_a_lost_socket_comes_by_the_next_poll() {
    let stage = stage(&["--max-outbox-bytes", "65536", "--poll-time", "1s"]).await;
    let session = stage.session(&stage.alice).await;
    // From a hundred on, all offsets have three digits, and so all frames one length.
    publish_long(&stage, 100).await;
    let mut slow = RawSocket::connect_narrow(stage.address).await;
    slow.upgrade(&session).await;
    slow.subscribe("/acme/door").await;
    publish_long(&stage, 1).await;
    let length = slow.next().await.payload.len() as u64 + 4;
    let mut last = 101;
    while stage.metric("subscriptions_behind_total").await == 0 {
        publish_long(&stage, 10).await;
        last += 10;
    }
    until_stuck(&stage).await;
    let watched = stage.get("/v5.0/acme/connection").await["connections"][0].take();
    let [sent, waiting] = ["sent", "waiting"].map(|name| watched[name].as_u64().expect("a number"));
    assert!(waiting > length, "{watched}");
    drop(slow);
    stage.until_metric("connections", 0).await;
    let mut came = Vec::new();
    while came.last().is_none_or(|event: &Value| event["offset"] != last) {
        came.extend(stage.poll(&session).await);
    }
    // Its kernel may have taken some more since, before it was cut off.
    let first = offsets(&came)[0];
    let least = 100 + sent - waiting.div_ceil(length) + 1;
    assert!((least..=100 + sent + 1).contains(&first), "{first}: {watched}");
    assert_eq!(offsets(&came), (first..=last).collect::<Vec<_>>());
    stage.end().await;
}

/// A socket that is closed while it is not read owes nothing that is not on its way: the rest is there for
/// who reads next, at once and only there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_socket_that_says_goodbye_comes_by_the_next_poll_and_not_by_the_socket() {
    let stage = stage(&["--max-outbox-bytes", "65536", "--poll-time", "1s"]).await;
    let session = stage.session(&stage.alice).await;
    let mut slow = RawSocket::connect_narrow(stage.address).await;
    slow.upgrade(&session).await;
    slow.subscribe("/acme/door").await;
    let mut last = 0;
    while stage.metric("subscriptions_behind_total").await == 0 {
        publish_long(&stage, 10).await;
        last += 10;
    }
    until_stuck(&stage).await;
    let watched = stage.get("/v5.0/acme/connection").await["connections"][0].take();
    let sent = watched["sent"].as_u64().expect("a number");
    slow.send_frame(CLOSE, &close_payload(1000, "")).await;
    let mut came = Vec::new();
    while came.last().is_none_or(|event: &Value| event["offset"] != last) {
        came.extend(stage.poll(&session).await);
    }
    let first = offsets(&came)[0];
    assert!(first <= sent, "{first}: {watched}");
    let mut seen = Vec::new();
    loop {
        let frame = slow.next().await;
        if frame.first == CLOSE {
            break;
        }
        seen.push(serde_json::from_slice(&frame.payload).expect("JSON"));
    }
    seen.extend(came);
    assert_eq!(offsets(&seen), (1..=last).collect::<Vec<_>>());
    slow.assert_ended().await;
    drop(slow);
    stage.end().await;
}

/// A socket whose peer had gone to another one knows nothing of what its peer saw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_socket_that_is_found_dead_takes_no_event_from_who_comes_next() {
    let stage = stage(&["--ping-interval", "150ms", "--dead-after", "600ms", "--poll-time", "1s"]).await;
    let session = stage.session(&stage.alice).await;
    let mut older = RawSocket::connect(stage.address).await;
    older.upgrade(&session).await;
    older.subscribe("/acme/door").await;
    let mut newer = stage.connect(&session).await;
    newer.subscribe("/acme/door").await;
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(newer.json().await["offset"], 1);
    close(newer).await;
    publish(&stage, "/acme/door", 1).await;
    stage.until_metric("peers_dead_total", 1).await;
    stage.until_metric("connections", 0).await;
    assert_eq!(offsets(&stage.poll(&session).await), [2]);
    drop(older);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_follows_nothing_that_was_left() {
    let stage = stage(&[]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    stage.follow(&session, "/acme/window").await;
    let mut events = Outflow::open(&stage, &session, "events").await;
    publish(&stage, "/acme/door", 2).await;
    let id = events.event().await.id;
    assert_eq!(events.event().await.json()["offset"], 2);
    let answer = stage
        .ask(&session, r#"{"msgId":1,"type":"unsubscribe","path":"/acme/door"}"#)
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = [("Last-Event-ID", &*id)];
    let mut events = Outflow::open_with(&stage, &session, "events", &seen).await;
    publish(&stage, "/acme/door", 1).await;
    publish(&stage, "/acme/window", 1).await;
    assert_eq!(events.event().await.json()["value"]["path"], "/acme/window");
    drop(events);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_names_no_stream_that_was_left() {
    let stage = stage(&[]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    stage.follow(&session, "/acme/window").await;
    let mut events = Outflow::open(&stage, &session, "events").await;
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(events.event().await.id.split(',').count(), 2);
    let answer = stage
        .ask(&session, r#"{"msgId":1,"type":"unsubscribe","path":"/acme/door"}"#)
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    publish(&stage, "/acme/window", 1).await;
    let event = events.event().await;
    assert_eq!(event.json()["value"]["path"], "/acme/window");
    assert_eq!(event.id.split(',').count(), 1, "{}", event.id);
    drop(events);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_of_a_stream_that_keeps_nothing_is_there_for_who_comes_again() {
    let stage = stage(&["--poll-time", "10ms"]).await;
    stage.add_stream(&stage.alice, "/acme/bell", 0).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/bell").await;
    let mut events = Outflow::open(&stage, &session, "events").await;
    publish(&stage, "/acme/bell", 1).await;
    let id = events.event().await.id;
    // Takes over, and has gone when this is answered.
    assert_eq!(stage.poll(&session).await, Vec::<Value>::new());
    publish(&stage, "/acme/bell", 3).await;
    let seen = [("Last-Event-ID", &*id)];
    let mut events = Outflow::open_with(&stage, &session, "events", &seen).await;
    for offset in 2..=4 {
        let event = events.event().await;
        assert_eq!((&*event.event, &event.json()["offset"]), ("", &offset.into()));
    }
    drop(events);
    stage.end().await;
}
