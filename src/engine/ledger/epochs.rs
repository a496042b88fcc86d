//! How long the ledger's numbering is valid: what the disk knows of it, and when it ends.
//!
//! A stream is loose while events may have been shown that are not synced. The disk knows that
//! before they are shown, so that a server that finds it loose begins a new epoch. Invariant: of a
//! stream that is stored and not loose nothing is shown before it is synced.

use crate::domain::id::{Stem, StreamId};
use crate::domain::position::{Epoch, Offset};
use crate::domain::stream::Stream;
use crate::engine::ledger::Ledger;
use crate::engine::record::{Place, Stored};
use std::sync::Arc;

impl Ledger {
    /// Takes over what the disk knows of a stream.
    pub fn restore(&mut self, stream: &Stream, place: &Place) {
        self.restore_epoch(stream, place.epoch);
        let tail = self.tail(stream);
        tail.head = tail.head.max(place.head);
        tail.numbered = tail.head;
        tail.first = tail.first.max(place.first);
        self.confirm(place);
    }

    /// What is restored of a stream from now on is named after this epoch.
    pub fn restore_epoch(&mut self, stream: &Stream, epoch: Epoch) {
        let tail = self.tail(stream);
        tail.epoch = epoch;
        tail.stem = Stem::of(&stream.id, epoch);
    }

    /// Everything up to the head is in chunks, or was let go of.
    pub fn restore_settled(&mut self, stream: &StreamId) {
        if let Some(tail) = self.streams.get_mut(stream) {
            tail.settled = tail.head;
        }
    }

    /// Takes over an event of the journal, unless chunks have it or it was let go of. Returns
    /// whether it was taken.
    ///
    /// The head says nothing here: a place may have been noted when later events were shown
    /// already, which stand in later rows.
    pub fn restore_event(&mut self, stream: &Stream, stored: Stored) -> bool {
        let tail = self.tail(stream);
        let newest = tail.events.back().map_or(Offset(0), |event| event.offset);
        if stored.offset <= newest.max(tail.settled) || stored.offset < tail.first {
            return false;
        }
        let event = Arc::new(tail.event(stream.id, stored));
        tail.numbered = tail.numbered.max(event.offset);
        self.keep(&event);
        true
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
        } else if tail.is_stored {
            // The journal says that it is loose; before that row goes, its place must say so.
            self.note_unsettled(stream);
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
