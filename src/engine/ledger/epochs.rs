//! How long the ledger's numbering is valid: what the disk knows of it, and when it ends.
//!
//! A stream is loose while events may have been shown that are not synced. The disk knows that
//! before they are shown, so that a server that finds it loose begins a new epoch. Invariant: of a
//! stream that is stored and not loose nothing is shown before it is synced.

use crate::domain::id::{Stem, StreamId};
use crate::domain::position::Epoch;
use crate::domain::stream::Stream;
use crate::engine::ledger::Ledger;
use crate::engine::record::{Place, Stored};
use std::sync::Arc;

impl Ledger {
    /// Takes over what the disk knows of a stream.
    pub fn restore(&mut self, stream: &Stream, place: &Place) {
        let tail = self.tail(stream);
        tail.epoch = place.epoch;
        tail.stem = Stem::of(&stream.id, place.epoch);
        tail.head = tail.head.max(place.head);
        tail.numbered = tail.head;
        tail.first = tail.first.max(place.first);
        self.confirm(place);
    }

    /// Everything up to the head is in chunks, or was let go of.
    pub fn restore_settled(&mut self, stream: &StreamId) {
        if let Some(tail) = self.streams.get_mut(stream) {
            tail.settled = tail.head;
        }
    }

    /// Takes over an event that the disk has and chunks have not.
    pub fn restore_event(&mut self, stream: &Stream, stored: Stored) {
        let tail = self.tail(stream);
        if stored.offset <= tail.head {
            return;
        }
        let event = Arc::new(tail.event(stream.id, stored));
        tail.numbered = event.offset;
        self.take(&event);
    }

    /// Whether the numbering of any stream may not hold.
    pub fn has_loose(&self) -> bool {
        !self.loose.is_empty()
    }

    /// A crash may have taken back what was shown of these streams: their numbering ends.
    pub fn end_loose_epochs(&mut self) -> Vec<Place> {
        let loose: Vec<StreamId> = self.loose.drain().collect();
        loose.iter().filter_map(|stream| self.end_epoch(stream)).collect()
    }

    /// The numbering of every stream ends.
    pub fn end_all_epochs(&mut self) -> Vec<Place> {
        self.loose.clear();
        let all: Vec<StreamId> = self.streams.keys().copied().collect();
        all.iter().filter_map(|stream| self.end_epoch(stream)).collect()
    }

    fn end_epoch(&mut self, stream: &StreamId) -> Option<Place> {
        let tail = self.streams.get_mut(stream)?;
        tail.epoch = Epoch::fresh();
        tail.stem = Stem::of(stream, tail.epoch);
        tail.is_loose = false;
        self.note_unsettled(stream);
        self.place(stream)
    }

    /// Something is shown that a crash would take back.
    pub fn weaken(&mut self, stream: &StreamId, now_ms: u64) {
        let Some(tail) = self.streams.get_mut(stream) else {
            return;
        };
        tail.loosened_ms = now_ms;
        if !tail.is_stored && tail.capacity > 0 {
            tail.is_loose = true;
            self.loose.insert(*stream);
        }
    }

    /// What the disk must know before events of a stream are shown; `weak` if they are shown unsynced.
    pub fn news(&self, stream: &StreamId, weak: bool) -> Option<Place> {
        let tail = self.streams.get(stream)?;
        if tail.is_stored && (tail.is_loose || !weak) {
            return None;
        }
        let loose = tail.is_loose || weak;
        self.place(stream).map(|place| Place { loose, ..place })
    }

    /// The disk knows this.
    pub fn confirm(&mut self, place: &Place) {
        if let Some(tail) = self.streams.get_mut(&place.stream) {
            tail.is_stored = true;
            tail.is_loose = place.loose;
        }
        if place.loose {
            self.loose.insert(place.stream);
        } else {
            self.loose.remove(&place.stream);
        }
    }

    /// Loose streams in which nothing was loosened since `before_ms`: nothing is shown unsynced any
    /// more, and the disk is to know that. Only to be asked when everything shown is synced.
    pub fn firm_up(&mut self, before_ms: u64) -> Vec<Place> {
        let streams = &self.streams;
        let quiet = |stream: &&StreamId| {
            let tail = streams.get(*stream);
            tail.is_none_or(|tail| tail.loosened_ms <= before_ms && tail.waiting == 0)
        };
        let quiet: Vec<StreamId> = self.loose.iter().filter(quiet).copied().collect();
        for stream in &quiet {
            self.loose.remove(stream);
            if let Some(tail) = self.streams.get_mut(stream) {
                tail.is_loose = false;
            }
            self.note_unsettled(stream);
        }
        quiet.iter().filter_map(|stream| self.place(stream)).collect()
    }
}
