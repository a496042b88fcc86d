//! What a reader of one stream got, counted exactly against the order in which it should come.
//!
//! Invariant: every offset up to the newest one that was seen is delivered, told as missing, or a hole;
//! holes that are left in the end are lost.

use std::collections::BTreeSet;

/// The counts of one reader.
#[derive(Debug, Default)]
pub struct Tally {
    /// Events that came, duplicates included.
    pub events: u64,
    /// Events that were told as a gap.
    pub told: u64,
    /// Events that came again.
    pub duplicated: u64,
    /// Events that came after a later one.
    pub swapped: u64,
    newest: u64,
    holes: BTreeSet<u64>,
}

impl Tally {
    /// Begins after this offset.
    pub fn after(offset: u64) -> Self {
        let newest = offset;
        Self {
            newest,
            ..Self::default()
        }
    }

    /// An event came.
    pub fn event(&mut self, offset: u64) {
        self.events += 1;
        if offset > self.newest {
            self.holes.extend(self.newest + 1..offset);
            self.newest = offset;
        } else if self.holes.remove(&offset) {
            self.swapped += 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// It was told that these do not come.
    pub fn gap(&mut self, from: u64, to: u64) {
        self.told += (to + 1).saturating_sub(from);
        if to > self.newest {
            self.holes.extend(self.newest + 1..from);
            self.newest = to;
        } else {
            self.swapped += 1;
        }
    }

    /// The newest offset that came or was told.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Events that did not come up to `last` and were not told.
    pub fn lost(&self, last: u64) -> u64 {
        self.holes.len() as u64 + last.saturating_sub(self.newest)
    }
}

/// What is wrong with what several readers got, all of it together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wrongs {
    /// Events that did not come and were not told.
    pub lost: u64,
    /// Events that came again.
    pub duplicated: u64,
    /// Events and notices that came after a later one.
    pub swapped: u64,
}

impl Wrongs {
    /// Adds what a reader got that should have come up to `last`.
    pub fn add(&mut self, tally: &Tally, last: u64) {
        self.lost += tally.lost(last);
        self.duplicated += tally.duplicated;
        self.swapped += tally.swapped;
    }
}

impl std::fmt::Display for Wrongs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            lost,
            duplicated,
            swapped,
        } = self;
        write!(f, "{lost} lost, {duplicated} duplicated, {swapped} swapped")
    }
}
