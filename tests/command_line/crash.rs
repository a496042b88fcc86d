//! Servers that are killed while they publish: what was answered as durable is there, in its place,
//! and whatever a crash may have taken back is known to be of another epoch.

use crate::publisher::{Ledger, Publisher, Seen, remember};
use crate::server::{Account, Server};
use crate::shell::{Shell, until};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const STREAMS: usize = 4;

fn path(number: usize) -> String {
    format!("/demo/crash/{}", number % STREAMS)
}

/// Adds streams that keep everything; returns their ids.
fn add_streams(server: &Server, demo: &Account) -> Vec<String> {
    let publisher = Publisher::new(server, demo);
    (0..STREAMS)
        .map(|number| publisher.add_stream(&path(number), 100_000))
        .collect()
}

/// Has several publish until the server is killed, which is once `count` were answered.
fn publish_until_killed(server: Server, demo: &Account, count: usize, batch: usize, answered: &mut Ledger) {
    let here = Mutex::new(std::mem::take(answered));
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for publisher in 0..3_usize {
            let (server, here, done) = (&server, &here, &done);
            scope.spawn(move || {
                let client = Publisher::new(server, demo);
                for number in 0.. {
                    let event = |place| {
                        let elems = json!({"by": publisher, "number": number, "place": place, "fill": "x".repeat(300)});
                        json!({"path": path(publisher + number + place), "elems": elems})
                    };
                    let events: Vec<Value> = (0..batch).map(event).collect();
                    let Some(answer) = client.publish(&Value::Array(events), "durable") else {
                        return;
                    };
                    remember(&answer, &mut here.lock().expect("nobody panics with it"));
                    done.fetch_add(batch, Ordering::Relaxed);
                }
            });
        }
        until("enough was answered", || done.load(Ordering::Relaxed) >= count);
        server.program.signal("KILL");
    });
    server.program.until_end();
    *answered = here.into_inner().expect("nobody panics with it");
}

fn epochs(server: &Server, demo: &Account, streams: &[String]) -> Vec<String> {
    let publisher = Publisher::new(server, demo);
    streams.iter().map(|stream| publisher.place(stream).0).collect()
}

fn check_all(server: &Server, demo: &Account, streams: &[String], answered: &Ledger) {
    let publisher = Publisher::new(server, demo);
    for stream in streams {
        publisher.check_all_is_there(stream, answered);
    }
}

#[test]
fn a_kill_takes_nothing_that_was_answered_as_durable() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    let streams = add_streams(&server, &demo);
    let before = epochs(&server, &demo, &streams);
    let mut answered = Ledger::new();
    // An epoch is firm once a durable event is there.
    for number in 0..STREAMS {
        let publisher = Publisher::new(&server, &demo);
        let event = json!({"path": path(number), "elems": {}});
        remember(&publisher.publish(&event, "durable").expect("an answer"), &mut answered);
    }
    publish_until_killed(server, &demo, 300, 1, &mut answered);
    // The second time nothing was published in between.
    for _ in 0..2 {
        let server = Server::start(&shell, &[], &[]);
        assert_eq!(epochs(&server, &demo, &streams), before);
        check_all(&server, &demo, &streams, &answered);
        server.stop("KILL");
    }
    let server = Server::start(&shell, &[], &[]);
    let publisher = Publisher::new(&server, &demo);
    let (_, head) = publisher.place(&streams[0]);
    assert_eq!(publisher.published(&path(0), json!({}), "durable").offset, head + 1);
}

#[test]
fn kills_while_events_are_settled_lose_and_repeat_nothing() {
    let shell = Shell::new();
    let small = [("STREAMGATE_MAX_LOG_BYTES", "65536")];
    let (server, demo) = Server::first_start(&shell, &small);
    let streams = add_streams(&server, &demo);
    let mut answered = Ledger::new();
    publish_until_killed(server, &demo, 300, 10, &mut answered);
    let server = Server::start(&shell, &small, &[]);
    let before = epochs(&server, &demo, &streams);
    publish_until_killed(server, &demo, 100, 10, &mut answered);
    for round in 0..12 {
        let server = Server::start(&shell, &small, &[]);
        // At different places of a pass each time.
        publish_until_killed(server, &demo, 100 + 37 * (round % 5), 10, &mut answered);
    }
    let verified = shell.json(&["verify", "streamgate.db"]);
    assert!(verified["settled"].as_u64() > Some(1_000), "{verified}");
    let server = Server::start(&shell, &small, &[]);
    assert_eq!(epochs(&server, &demo, &streams), before);
    check_all(&server, &demo, &streams, &answered);
}

#[test]
fn what_was_only_accepted_is_of_another_epoch_after_a_kill() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    let publisher = Publisher::new(&server, &demo);
    let stream = publisher.add_stream("/demo/weak", 100);
    let first = publisher.published("/demo/weak", json!({"n": 1}), "durable");
    publisher.published("/demo/weak", json!({"n": 2}), "accepted");
    let (before, _) = publisher.place(&stream);
    server.stop("KILL");
    let server = Server::start(&shell, &[], &[]);
    let publisher = Publisher::new(&server, &demo);
    let (after, head) = publisher.place(&stream);
    assert_ne!(after, before);
    let kept = publisher.replay(&stream);
    assert_eq!(kept.len() as u64, head);
    assert_eq!(kept.first(), Some(&first), "what was durable is there");
    let position = json!({"epoch": before, "offset": 2});
    assert_eq!(publisher.resume(&stream, &position).0["state"], "gap");
    let said = publisher.said(&stream, &position);
    assert_eq!(said[0]["body"]["streams"][0]["state"], "gap", "{said:?}");
    let told = (&said[1]["type"], &said[1]["body"]["reason"]);
    assert_eq!(told, (&json!("gap"), &json!("epoch")), "{said:?}");
    assert_eq!(said.len() as u64, 2 + head);
}

#[test]
fn an_orderly_end_keeps_what_was_accepted_and_the_epoch() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    let publisher = Publisher::new(&server, &demo);
    let stream = publisher.add_stream("/demo/weak", 1_000);
    let mut seen: Vec<Seen> = Vec::new();
    for number in 0..200 {
        let ack = match number % 50 {
            7 => "durable",
            9 => "written",
            _ => "accepted",
        };
        seen.push(publisher.published("/demo/weak", json!({"n": number}), ack));
    }
    let place = publisher.place(&stream);
    let mut server = server;
    for _ in 0..3 {
        assert_eq!(server.stop("TERM").code, Some(0));
        server = Server::start(&shell, &[], &[]);
        let publisher = Publisher::new(&server, &demo);
        assert_eq!(publisher.place(&stream), place);
        assert_eq!(publisher.replay(&stream), seen);
    }
}

#[test]
fn a_key_gets_the_same_answer_after_a_kill() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    let publisher = Publisher::new(&server, &demo);
    let stream = publisher.add_stream("/demo/once", 100);
    let event = json!([{"path": "/demo/once", "elems": {"n": 1}}, {"path": "/demo/once", "elems": {"n": 2}}]);
    let ask = |publisher: &Publisher, key: &str| {
        let path = "/v5.0/demo/event";
        let answer = publisher.send("POST", path, &[("Idempotency-Key", key)], &event.to_string());
        let answer = answer.expect("a server that lives");
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    };
    let first = ask(&publisher, "one");
    server.stop("KILL");
    for _ in 0..2 {
        let server = Server::start(&shell, &[], &[]);
        let publisher = Publisher::new(&server, &demo);
        assert_eq!(ask(&publisher, "one"), first);
        assert_eq!(publisher.place(&stream).1, 2);
        server.stop("KILL");
    }
    let server = Server::start(&shell, &[], &[]);
    let publisher = Publisher::new(&server, &demo);
    assert_ne!(ask(&publisher, "two"), first);
    assert_eq!(publisher.place(&stream).1, 4);
}

#[test]
fn streams_that_keep_nothing_begin_a_new_epoch_with_each_start() {
    let shell = Shell::new();
    let (mut server, demo) = Server::first_start(&shell, &[]);
    let stream = Publisher::new(&server, &demo).add_stream("/demo/nothing", 0);
    let mut seen = Vec::new();
    for signal in ["TERM", "KILL", "TERM"] {
        let publisher = Publisher::new(&server, &demo);
        assert_eq!(publisher.published("/demo/nothing", json!({}), "accepted").offset, 1);
        let (epoch, head) = publisher.place(&stream);
        assert_eq!(head, 1);
        assert!(!seen.contains(&epoch), "{epoch} in {seen:?}");
        seen.push(epoch);
        server.stop(signal);
        server = Server::start(&shell, &[], &[]);
    }
}
