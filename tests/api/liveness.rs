//! Who is alive and who is not: pings find out, and what the dead held is given back.
//!
//! The last test takes a subscriber's network away without a word, by a network namespace of its
//! own; that needs root and iproute2, and fails where either is missing.

use crate::raw::{PING, PONG, RawSocket, close_payload, subscribe_frame};
use crate::stage::{DEADLINE, Stage};
use futures_util::StreamExt;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// Pinged soon, dead after three times that; sessions lapse soon as well.
const QUICK: &[&str] = &[
    "--ping-interval",
    "150ms",
    "--dead-after",
    "600ms",
    "--session-ttl",
    "1s",
];

/// Asserts that the server holds nothing of anybody, sessions included.
async fn assert_all_freed(stage: &Stage) {
    for metric in ["connections", "subscriptions", "sessions"] {
        stage.until_metric(metric, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_answers_pings_lives_on() {
    let stage = Stage::with(QUICK).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut silent = stage.socket(&stage.alice).await;
    silent.subscribe("/acme/door").await;
    // Twelve pings come in no less than three times the time after which the dead are ended. The
    // library answers each while it is read from.
    for _ in 0..12 {
        let next = tokio::time::timeout(DEADLINE, silent.socket.next()).await;
        let message = next.expect("a ping in time").expect("a ping").expect("a ping");
        assert_eq!(message, Message::Ping(Default::default()));
    }
    stage.publish(&stage.alice, "/acme/door", r#"{"open":true}"#).await;
    assert!(silent.text().await.starts_with(r#"{"type":"message","#));
    assert_eq!(stage.metric("peers_dead_total").await, 0);
    drop(silent);
    assert_all_freed(&stage).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_answers_is_ended_and_everything_it_held_is_freed() {
    let stage = Stage::with(QUICK).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut dead = RawSocket::open(&stage, &stage.alice).await;
    dead.subscribe("/acme/door").await;
    assert_eq!(stage.metric("subscriptions").await, 1);
    let mut pings = 0;
    while let Some(frame) = dead.next_or_end().await {
        assert_eq!((frame.first, frame.payload.len()), (PING, 0));
        pings += 1;
    }
    assert!(pings > 0, "ended without having been asked");
    assert_eq!(stage.metric("peers_dead_total").await, 1);
    assert_all_freed(&stage).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_client_sends_is_a_sign_of_life() {
    let stage = Stage::with(QUICK).await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    // As many looks of its own as a dead one would not live to see, and never a pong.
    for round in 0..12 {
        while socket.next().await.first != PING {}
        match round % 2 {
            0 => socket.send_frame(0x81, br#"{"type":"heartbeat"}"#).await,
            _ => socket.send_frame(PING, b"").await,
        }
    }
    assert_eq!(stage.metric("peers_dead_total").await, 0);
    socket.send_frame(0x88, &close_payload(1000, "")).await;
    while [PING, PONG].contains(&socket.next().await.first) {}
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_events_and_never_answers_a_ping_is_ended_all_the_same() {
    let stage = Stage::with(QUICK).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut dead = RawSocket::open(&stage, &stage.alice).await;
    dead.subscribe("/acme/door").await;
    // That the kernel on this side took bytes says nothing about the other side.
    while stage.metric("peers_dead_total").await == 0 {
        stage.publish(&stage.alice, "/acme/door", r#"{"open":true}"#).await;
    }
    while dead.next_or_end().await.is_some() {}
    assert_all_freed(&stage).await;
    stage.end().await;
}

/// A network of its own, joined to this one by a cable.
struct Island {
    name: String,
    /// The first three numbers of its addresses: those of this process only.
    subnet: String,
}

impl Island {
    fn new() -> Self {
        let id = std::process::id();
        let name = format!("sg{id}");
        let subnet = format!("10.{}.{}", 200 + id / 250 % 50, id % 250);
        ip(&["netns", "add", &name]);
        let island = Self { name, subnet };
        let (here, there) = (island.near_end(), island.far_end());
        ip(&[
            "link",
            "add",
            &here,
            "type",
            "veth",
            "peer",
            "name",
            &there,
            "netns",
            &island.name,
        ]);
        ip(&["address", "add", &format!("{}/30", island.shore()), "dev", &here]);
        ip(&["link", "set", &here, "up"]);
        ip(&[
            "-n",
            &island.name,
            "address",
            "add",
            &format!("{}.2/30", island.subnet),
            "dev",
            &there,
        ]);
        ip(&["-n", &island.name, "link", "set", &there, "up"]);
        island
    }

    /// The address of this side.
    fn shore(&self) -> String {
        format!("{}.1", self.subnet)
    }

    fn near_end(&self) -> String {
        format!("{}n", self.name)
    }

    fn far_end(&self) -> String {
        format!("{}f", self.name)
    }

    /// From now on nothing gets across, and nobody is told.
    fn cut_the_cable(&self) {
        ip(&["-n", &self.name, "link", "set", &self.far_end(), "down"]);
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // The near end first: a namespace is only gone once the last one in it is.
        for words in [["link", "del", &self.near_end()], ["netns", "del", &self.name]] {
            let _ = Command::new("ip").args(words).status();
        }
    }
}

fn ip(words: &[&str]) {
    let done = Command::new("ip")
        .args(words)
        .output()
        .expect("iproute2, for a network to cut");
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {}: {complaint}", words.join(" "));
}

/// A client that runs inside the namespace, which no thread of ours can enter without unsafe code:
/// upgrades, subscribes, answers pings, and says what came, a word a line.
const ISLANDER: &str = r#"
import socket, sys
address, port, session, subscribe = sys.argv[1:]
shore = socket.create_connection((address, int(port)))
lines = ["GET /session/" + session + "/ws HTTP/1.1", "Host: shore", "Connection: Upgrade", "Upgrade: websocket",
         "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
shore.sendall("\r\n".join(lines).encode() + bytes.fromhex(subscribe))
while data := shore.recv(65536):
    if b'"type":"message"' in data:
        print("event", flush=True)
    if data.endswith(b"\x89\x00"):
        shore.sendall(b"\x8a\x80\0\0\0\0")
        print("ping", flush=True)
"#;

/// A subscriber on the island.
struct Islander {
    python: Child,
    /// The words it says; bounded, because a test has an end.
    words: mpsc::Receiver<String>,
}

impl Islander {
    fn start(island: &Island, stage: &Stage, session: &str) -> Self {
        let port = stage.address.port().to_string();
        let subscribe = subscribe_frame("/acme/door");
        let subscribe: String = subscribe.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut python = Command::new("ip")
            .args(["netns", "exec", &island.name, "python3", "-c", ISLANDER])
            .args([&island.shore(), &port, session, &subscribe])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 in the namespace");
        let lines = BufReader::new(python.stdout.take().expect("a pipe")).lines();
        let (tell, words) = mpsc::channel(1_000);
        // Ends with the pipe, at the latest when the client is killed.
        std::thread::spawn(move || {
            let told = lines
                .map_while(Result::ok)
                .try_for_each(|word| tell.blocking_send(word));
            drop(told);
        });
        Self { python, words }
    }

    async fn wait_for(&mut self, wanted: &str) {
        loop {
            let word = tokio::time::timeout(DEADLINE, self.words.recv()).await;
            if word.expect("a word in time").expect("a client that lives") == wanted {
                return;
            }
        }
    }
}

impl Drop for Islander {
    fn drop(&mut self) {
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_whose_network_is_gone_is_freed_within_the_dead_peer_time() {
    let island = Island::new();
    let stage = Stage::listening_on(&format!("{}:0", island.shore()), QUICK).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let session = stage.session(&stage.alice).await;
    let mut islander = Islander::start(&island, &stage, &session);
    stage.until_metric("subscriptions", 1).await;
    stage.publish(&stage.alice, "/acme/door", r#"{"open":true}"#).await;
    islander.wait_for("event").await;
    // With six pings behind it, it has outlived the dead-peer time.
    for _ in 0..6 {
        islander.wait_for("ping").await;
    }
    assert_eq!(stage.metric("connections").await, 1);
    island.cut_the_cable();
    // What is published now waits for somebody who will never read it.
    stage.publish(&stage.alice, "/acme/door", r#"{"open":false}"#).await;
    assert_all_freed(&stage).await;
    assert_eq!(stage.metric("peers_dead_total").await, 1);
    drop(islander);
    stage.end().await;
}
