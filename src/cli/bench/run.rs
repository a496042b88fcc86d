//! What all threads of a run share: the server, the clock, whether it is over, and the counts as they stand.
//!
//! Knows nothing of what is measured. Invariant: the first failure ends the run and is the one that is told.

use crate::cli::bench::schedule::{Clock, Micros, micros};
use crate::cli::bench::target::Target;
use crate::domain::error::Error;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How soon those who wait look again whether the run is over.
const LOOK: Duration = Duration::from_millis(100);

/// A run.
pub struct Run {
    /// The server, and who asks.
    pub target: Target,
    /// Its own name, which is in the paths of its streams.
    pub name: String,
    /// What time it is.
    pub clock: Clock,
    is_over: AtomicBool,
    failure: Mutex<Option<Error>>,
    failed: Notify,
}

impl Run {
    /// It begins.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            name: format!("{:016x}", rand::random::<u64>()),
            clock: Clock::start(),
            is_over: AtomicBool::new(false),
            failure: Mutex::new(None),
            failed: Notify::new(),
        }
    }

    /// Where its streams are.
    pub fn folder(&self) -> String {
        format!("/{}/bench/{}", self.target.company, self.name)
    }

    /// Whether everybody is to stop.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Has everybody stop.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Ends it because of this, unless it is over already.
    pub fn fail(&self, error: Error) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            *self.failure.lock() = Some(error);
            self.failed.notify_one();
        }
    }

    /// Waits for what makes it fail; for ever if nothing does.
    pub async fn failed(&self) -> Error {
        loop {
            if let Some(error) = self.failure.lock().take() {
                return error;
            }
            self.failed.notified().await;
        }
    }

    /// Blocks the thread until then; false if the run is over before.
    ///
    /// A runtime's timer would be late by a millisecond or two.
    pub fn wait_until(&self, due: Micros) -> bool {
        loop {
            let left = Duration::from_micros(due.saturating_sub(self.clock.now()));
            if left.is_zero() || self.is_over() {
                return !self.is_over();
            }
            std::thread::park_timeout(left.min(LOOK));
        }
    }
}

/// Deliveries as they stand: those that publishing made due, and those that came.
#[derive(Default)]
pub struct Board {
    events: AtomicU64,
    owed: AtomicU64,
    settled: AtomicU64,
    /// Publishers that wait for deliveries.
    waiting: AtomicU64,
    gate: Mutex<()>,
    room: Condvar,
}

impl Board {
    /// Events are about to be sent, each to so many subscribers.
    pub fn owe(&self, events: u64, deliveries: u64) {
        self.events.fetch_add(events, Ordering::SeqCst);
        self.owed.fetch_add(deliveries, Ordering::SeqCst);
    }

    /// They were refused.
    pub fn forgive(&self, events: u64, deliveries: u64) {
        self.events.fetch_sub(events, Ordering::SeqCst);
        self.owed.fetch_sub(deliveries, Ordering::SeqCst);
    }

    /// So many came, or were told as missing.
    pub fn settle(&self, deliveries: u64) {
        self.settled.fetch_add(deliveries, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            drop(self.gate.lock());
            self.room.notify_all();
        }
    }

    /// Events that were sent and not refused.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::SeqCst)
    }

    /// Deliveries that came.
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::SeqCst)
    }

    /// Deliveries that are under way.
    pub fn outstanding(&self) -> u64 {
        self.owed.load(Ordering::SeqCst).saturating_sub(self.settled())
    }

    /// Blocks the thread until there is room for more deliveries among at most so many, or none is under way, or the
    /// run is over.
    pub fn wait_for_room(&self, run: &Run, more: u64, most: u64) {
        let is_full = || self.outstanding() > 0 && self.outstanding() + more > most;
        if !is_full() {
            return;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut gate = self.gate.lock();
        while is_full() && !run.is_over() {
            self.room.wait_for(&mut gate, LOOK);
        }
        drop(gate);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits until everything came; gives up after `patience` in which nothing did, or when the run is over.
    pub async fn drained(&self, run: &Run, patience: Duration) {
        let (mut settled, mut since) = (self.settled(), run.clock.now());
        while self.outstanding() > 0 && !run.is_over() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if self.settled() != settled {
                (settled, since) = (self.settled(), run.clock.now());
            }
            if run.clock.now() - since > micros(patience) {
                break;
            }
        }
    }
}
