//! An event: immutable, at one offset of one stream, with the frames made of it.
//!
//! Invariant: the bytes made for a wire protocol are made at most once and shared by everyone.

use crate::domain::id::{EventId, IdentityId, StreamId};
use crate::domain::path::Path;
use crate::domain::payload::Payload;
use crate::domain::position::Offset;
use bytes::Bytes;
use std::sync::OnceLock;

/// About what a frame adds to what was published.
const ENVELOPE_BYTES: usize = 400;

/// What a publisher asks to have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The publisher's own JSON object.
    pub elems: Payload,
    /// The publisher's own key for it.
    pub hash: Option<Box<str>>,
}

/// The forms in which wire protocols render events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// `/session/<id>/ws`.
    Session,
    /// The same, compressed.
    SessionDeflated,
    /// The same, plain, for who calls events drops.
    Drops,
    /// A session over plain HTTP: a line for each event.
    Lines,
    /// The same for who calls events drops.
    DropLines,
    /// RootSocket's messages.
    Channels,
    /// The users server's notices.
    Notices,
}

impl Wire {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// The word in a list of connections.
    pub const fn word(self) -> &'static str {
        match self {
            Wire::Session | Wire::SessionDeflated | Wire::Drops => "ws",
            Wire::Lines | Wire::DropLines => "http",
            Wire::Channels => "channels",
            Wire::Notices => "notices",
        }
    }
}

/// What was written, and where.
#[derive(Debug)]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// The stream's path when it was written.
    pub path: Path,
    /// Its place in the stream.
    pub offset: Offset,
    /// Who published it.
    pub creator: IdentityId,
    /// When it was written, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it was asked for, if this process knows.
    pub asked: Stamp,
    /// What was published.
    pub draft: Draft,
    /// What was made of it for sockets; new events have none.
    pub frames: Frames,
}

/// A moment in microseconds of this process's own clock, which begins anew after more than an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(pub u32);

impl Stamp {
    /// The moment of what another process wrote.
    pub const UNKNOWN: Self = Self(0);
}

/// The bytes made of an event, one piece for each form that was asked for. What few ask for stands
/// apart, so that it costs an event next to nothing.
#[derive(Debug, Default)]
pub struct Frames {
    session: OnceLock<Bytes>,
    others: OnceLock<Box<[OnceLock<Bytes>; Wire::COUNT]>>,
}

impl Event {
    /// The framed bytes for `wire`, made by `render` if nobody asked before.
    pub fn frame(&self, wire: Wire, render: impl FnOnce(&Event) -> Bytes) -> Bytes {
        let place = match wire {
            Wire::Session => &self.frames.session,
            other => &self.frames.others.get_or_init(Box::default)[other as usize],
        };
        place.get_or_init(|| render(self)).clone()
    }

    /// About how long its frame is, in bytes.
    pub fn frame_bytes(&self) -> usize {
        let hash = self.draft.hash.as_ref().map_or(0, |hash| hash.len());
        ENVELOPE_BYTES + self.draft.elems.as_str().len() + hash
    }

    /// About what it costs to keep it with its frame, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Event>() + self.draft.elems.as_str().len() + self.frame_bytes()
    }
}
