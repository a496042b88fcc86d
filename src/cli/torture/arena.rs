//! What all actors of a run share: the streams, who asks, what was found, how far the run is.
//!
//! One thread, so plain cells; no borrow lives across an await.

use crate::cli::torture::oracle::{Level, Nature, Oracle, print};
use crate::cli::torture::verdict::Figures;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// How soon to look again whether publishing is allowed.
const HUSH_LOOK: Duration = Duration::from_millis(10);

/// A kind of stream to be made.
pub struct Kind {
    /// The last segment of its path.
    pub name: &'static str,
    /// Events it keeps.
    pub capacity: u64,
    /// How safe its events are, if a publisher asks for nothing.
    pub level: Level,
    /// Largest padding of an event, in bytes.
    pub padding: usize,
    /// Whether nobody ever asks for less than durable.
    pub is_firm: bool,
}

const fn kind(name: &'static str, capacity: u64, level: Level, padding: usize) -> Kind {
    Kind {
        name,
        capacity,
        level,
        padding,
        is_firm: false,
    }
}

impl Kind {
    fn nature(&self) -> Nature {
        Nature {
            name: self.name,
            capacity: self.capacity,
            is_firm: self.is_firm,
        }
    }
}

/// One of each that behaves differently. The loud one fills the buffers of readers that stall.
pub const KINDS: &[Kind] = &[
    kind("durable", 1_000, Level::Durable, 200),
    kind("long", 100_000, Level::Durable, 100),
    kind("small", 50, Level::Durable, 200),
    kind("written", 1_000, Level::Written, 200),
    kind("accepted", 1_000, Level::Accepted, 200),
    kind("loud", 50, Level::Accepted, 45_000),
    kind("nothing", 0, Level::Accepted, 200),
    Kind {
        is_firm: true,
        ..kind("firm", 1_000, Level::Durable, 200)
    },
];

/// A stream that was made.
pub struct Stream {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: &'static Kind,
}

/// Who asks.
pub struct Account {
    /// The company.
    pub company: String,
    /// Its user.
    pub user: String,
    /// The user's master token.
    pub token: String,
}

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Load and faults.
    Load,
    /// No faults and no new events; what was begun is finished.
    Settling,
    /// All that will ever come is there; readers take it and go.
    Draining,
}

/// The shared state.
pub struct Arena {
    /// Everything that is decided follows from it.
    pub seed: u64,
    /// Who asks.
    pub account: Account,
    /// Where the server listens, always.
    pub port: u16,
    /// In the order of [`KINDS`].
    pub streams: Vec<Stream>,
    /// What was promised, and what was found.
    pub oracle: RefCell<Oracle>,
    /// What was done.
    pub figures: RefCell<Figures>,
    /// The newest offset of each stream, once nothing comes any more; 0 if none is stored.
    pub heads: RefCell<Vec<u64>>,
    generation: Cell<u32>,
    is_hushed: Cell<bool>,
    phase: Cell<Phase>,
}

impl Arena {
    /// Before anything happens.
    pub fn new(seed: u64, account: Account, port: u16) -> Self {
        Self {
            oracle: RefCell::default(),
            seed,
            account,
            port,
            streams: Vec::new(),
            figures: RefCell::default(),
            heads: RefCell::default(),
            generation: Cell::new(1),
            is_hushed: Cell::new(false),
            phase: Cell::new(Phase::Load),
        }
    }

    /// The same with streams, which are made before anything else.
    pub fn with_streams(mut self, streams: Vec<Stream>) -> Self {
        let natures = streams.iter().map(|stream| stream.kind.nature());
        self.oracle = RefCell::new(Oracle::new(natures));
        self.streams = streams;
        self
    }

    /// Which life of the server this is, from 1.
    pub fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// The server that was is gone; what is answered from now on, another one answers.
    pub fn next_generation(&self) {
        self.generation.set(self.generation.get() + 1);
    }

    /// Nobody but the hand that tortures publishes now, or they do again.
    pub fn hush(&self, is_hushed: bool) {
        self.is_hushed.set(is_hushed);
    }

    /// Waits until publishing is allowed.
    pub async fn wait_for_leave(&self) {
        while self.is_hushed.get() {
            tokio::time::sleep(HUSH_LOOK).await;
        }
    }

    /// How far the run is.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// The run goes on to this.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// Counts something.
    pub fn count(&self, count: impl FnOnce(&mut Figures)) {
        count(&mut self.figures.borrow_mut());
    }

    /// The place of a stream in the list.
    pub fn stream_of(&self, id: &str) -> Option<usize> {
        self.streams.iter().position(|stream| stream.id == id)
    }
}

/// The randomness of one actor, apart from that of all others.
pub fn rng(seed: u64, actor: &str, number: usize) -> StdRng {
    StdRng::seed_from_u64(print(&format!("{seed} {actor} {number}")))
}
