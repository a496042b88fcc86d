//! What the programs in this folder share: the server they measure, clients that cost little, and how
//! figures are taken.
//!
//! Everything blocks, on a thread each, so that a reading of the clock is not late by a runtime's turn.
//! Knows nothing of the server's inside: it is its executable, reached over loopback. Only `machines`
//! looks inside, and `streams` knows a table.
#![allow(dead_code, reason = "each program uses a part of it")]

pub mod cores;
pub mod cpu;
pub mod crowd;
pub mod figures;
pub mod http;
pub mod letters;
pub mod load;
pub mod machines;
pub mod memory;
pub mod plot;
pub mod scene;
pub mod server;
pub mod socket;
pub mod streams;
pub mod table;
pub mod tally;

use std::time::{Duration, Instant};

/// Waits until then; returns at once if that is over.
pub fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if left > Duration::ZERO {
        #[expect(
            clippy::disallowed_methods,
            reason = "a thread of its own, and a runtime's timer is late by up to two milliseconds"
        )]
        std::thread::sleep(left);
    }
}

/// An error in words.
pub fn failure(text: impl Into<String>) -> std::io::Error {
    std::io::Error::other(text.into())
}

/// A number of things on the command line.
pub fn at_least_1(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err("a whole number from 1 on is wanted".to_owned()),
    }
}

/// What a thread returned.
pub fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().expect("its own panic has been printed")
}
