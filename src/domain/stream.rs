//! A stream as the catalogue describes it.

use crate::domain::durability::Durability;
use crate::domain::id::{IdentityId, StreamId};
use crate::domain::path::Path;
use std::ops::RangeInclusive;

/// Events a stream keeps if nothing else is said, unless the limit is lower (docs.octave.dev,
/// "Adding a new stream").
pub const DEFAULT_CAPACITY: u64 = 1_000;

/// How many seconds or bytes a rule may say: what every JSON parser and the database take.
pub const RULE_NUMBERS: RangeInclusive<u64> = 1..=(1 << 53) - 1;

/// An ordered sequence of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its name for programs.
    pub id: StreamId,
    /// Its name for people.
    pub path: Path,
    /// What it is for.
    pub description: String,
    /// How many events it keeps; 0 keeps nothing, 1 keeps the last.
    pub capacity: u64,
    /// What else is agreed about its events.
    pub rules: Rules,
    /// Who made it.
    pub creator: IdentityId,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Who changed it last, and when.
    pub edited: Option<(IdentityId, u64)>,
}

/// How a stream takes and keeps its events, beside its capacity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How safe an event is when its publisher is answered, unless the request says otherwise.
    pub ack: Durability,
    /// What it takes; the text of a filter.
    pub filter: Option<String>,
    /// How old events get before it lets go of them, in seconds.
    pub max_age_s: Option<u64>,
    /// How many bytes of events it keeps at most, counted in whole pieces.
    pub max_bytes: Option<u64>,
}

/// A stream to be made.
#[derive(Clone, Debug)]
pub struct NewStream {
    /// Where; its company must exist.
    pub path: Path,
    /// What for.
    pub description: String,
    /// How many events it keeps.
    pub capacity: u64,
    /// What else is agreed about its events.
    pub rules: Rules,
}

/// What is to be different; `None` stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StreamChange {
    /// What it is for.
    pub description: Option<String>,
    /// How many events it keeps.
    pub capacity: Option<u64>,
    /// How safe an event is when its publisher is answered.
    pub ack: Option<Durability>,
    /// What it takes; `Some(None)` takes everything.
    pub filter: Option<Option<String>>,
    /// How old events get, in seconds; `Some(None)` for any age.
    pub max_age_s: Option<Option<u64>>,
    /// How many bytes of events it keeps; `Some(None)` for any number.
    pub max_bytes: Option<Option<u64>>,
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamPage {
    /// How many to pass over.
    pub start: usize,
    /// How many to return.
    pub limit: usize,
}

/// Which stream somebody means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one of this id.
    Id(StreamId),
    /// The one at this path.
    Path(Path),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Id(id) => id.fmt(f),
            Target::Path(path) => path.fmt(f),
        }
    }
}
