//! Places in a stream.
//!
//! Invariant: offsets of one stream rise by one for each event and never repeat within an epoch.

use serde::Serialize;
use std::fmt;

/// How many events a stream has had up to and including this one; 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// The place of the event after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The place of the event before this one.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Events that a subscriber will not get: `from` to `to`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first missing event's place.
    pub from: Offset,
    /// The last missing event's place.
    pub to: Offset,
    /// Why they are missing.
    pub reason: GapReason,
}

impl Gap {
    /// How many events are missing.
    pub const fn count(&self) -> u64 {
        self.to.0 - self.from.0 + 1
    }
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The stream keeps fewer events than the subscriber fell behind.
    Retention,
    /// The stream keeps nothing, and the subscriber did not read in time.
    Slow,
}

impl GapReason {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            GapReason::Retention => "retention",
            GapReason::Slow => "slow",
        }
    }
}
