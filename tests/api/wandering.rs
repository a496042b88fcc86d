//! One session that goes from way to way at random, as clients do whose network changes: every event
//! comes once and in order, whatever the way before did.

use crate::moving::close;
use crate::outflow::{Outflow, offsets, places};
use crate::stage::Stage;
use crate::transports::publish_long;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ways that are gone.
const ROUNDS: usize = 100;
/// Bursts that are published meanwhile.
const BURSTS: [usize; 6] = [1, 1, 1, 5, 20, 60];

/// A client, and what it has.
struct Wanderer<'a> {
    stage: &'a Stage,
    session: String,
    /// The response that is open.
    reader: Option<Outflow>,
    /// What its lines said so far.
    came: Vec<u64>,
}

impl Wanderer<'_> {
    fn note(&mut self, way: &str, more: &[u64]) {
        for offset in more {
            let before = self.came.last().copied().unwrap_or(0);
            assert_eq!(*offset, before + 1, "by {way}");
            self.came.push(*offset);
        }
    }

    /// Reads the response that is open to its end, which it comes to when another way is gone.
    async fn leave(&mut self) {
        if let Some(reader) = self.reader.take() {
            let rest = reader.rest().await;
            assert!(rest.contains("session.moved"), "{rest}");
            self.note("a response's rest", &places(&rest));
        }
    }

    async fn poll(&mut self) {
        let (stage, session) = (self.stage, self.session.clone());
        let (came, ()) = tokio::join!(stage.poll(&session), self.leave());
        self.note("a poll", &offsets(&came));
    }

    async fn listen(&mut self, messages: usize) {
        let mut socket = self.stage.connect(&self.session).await;
        self.leave().await;
        for _ in 0..messages {
            let message = socket.json().await;
            self.note("a socket", &offsets(&[message]));
        }
        let last = close(socket).await;
        self.note("a socket's last words", &offsets(&last));
    }

    async fn read(&mut self, way: &str, lines: usize) {
        let mut reader = Outflow::open(self.stage, &self.session, way).await;
        self.leave().await;
        let mut count = 0;
        while count < lines {
            let line = reader.any_line().await.expect("a line, not the end");
            let more = places(&line);
            count += more.len();
            self.note(way, &more);
        }
        self.reader = Some(reader);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_wanders_gets_every_event_once_and_in_order() {
    let flags = ["--max-outbox-bytes", "65536", "--poll-time", "300ms"];
    let stage = Arc::new(Stage::with(&flags).await);
    stage.add_stream(&stage.alice, "/acme/door", 100_000).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let goes_on = Arc::new(AtomicBool::new(true));
    let publisher = tokio::spawn({
        let (stage, goes_on) = (Arc::clone(&stage), Arc::clone(&goes_on));
        let mut random = StdRng::seed_from_u64(seed + 1);
        async move {
            let mut last = 0;
            while goes_on.load(Ordering::Relaxed) {
                let burst = BURSTS[random.random_range(0..BURSTS.len())];
                publish_long(&stage, burst).await;
                last += burst as u64;
            }
            last
        }
    });
    let mut wanderer = Wanderer {
        stage: &stage,
        session,
        reader: None,
        came: Vec::new(),
    };
    let mut was_socket = false;
    for _ in 0..ROUNDS {
        let some = [0, 0, 1, 10, 100][random.random_range(0..5)];
        let way = random.random_range(0..6);
        // Who opens a socket after a socket subscribes anew.
        match way {
            0 if !was_socket => wanderer.listen(some).await,
            0 | 1 => wanderer.poll().await,
            2 | 3 => wanderer.read("streaming", some).await,
            _ => wanderer.read("events", some).await,
        }
        was_socket = way == 0 && !was_socket;
    }
    goes_on.store(false, Ordering::Relaxed);
    let last = publisher.await.expect("no panic");
    while wanderer.came.last() != Some(&last) {
        wanderer.poll().await;
    }
    drop(wanderer);
    // The session outlasts its readers.
    Arc::into_inner(stage).expect("nobody else has it").stop().await;
}
