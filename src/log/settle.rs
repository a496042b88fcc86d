//! Moves what is in the journal into chunks by stream, a small step at a time.
//!
//! A pass takes every stream that has something new, writes it in pieces, and then lets the
//! journal rows go that were there when it began. What capacity has dropped meanwhile is never
//! written. Invariant: a journal row goes only after all of it stands in chunks. Neither waits for
//! a sync: the write-ahead log is read in its order, so whoever finds the row gone finds the chunks.

mod orders;

pub use orders::Order;

use crate::domain::error::Fault;
use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::engine::keys::Digest;
use crate::engine::ledger::Piece;
use crate::engine::record::{Body, Place};
use crate::log::Shared;
use crate::log::book::{Book, digest};
use crate::log::store::{ChunkRow, Settlement, Store};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of one chunk's events, about.
const CHUNK_BYTES: usize = 32_768;
/// Bytes of events in one step, about, unless the journal grows faster. Publishers wait for it.
const STEP_BYTES: usize = 65_536;
/// About what a step writes that lets go of chunks.
const DROPPED_BYTES: usize = 65_536;
/// Streams in one step.
const STEP_STREAMS: usize = 64;
/// Bounded streams that are looked at in one round.
const LOOKS: usize = 64;
/// Steps of purging in one round.
const PURGES: usize = 4;

/// Where the moving is.
pub struct Settling {
    /// Rows that are not settled: number and bytes.
    journal: VecDeque<(i64, usize)>,
    journal_bytes: usize,
    due_bytes: usize,
    /// Bytes added since the last step.
    added: usize,
    pass: Option<Pass>,
    wanted: bool,
    /// Streams that may have let go of more than the disk has.
    trailing: VecDeque<Vec<Place>>,
    bounded_at: usize,
}

struct Pass {
    streams: VecDeque<StreamId>,
    keys: VecDeque<Digest>,
    /// Rows up to this one go at the end.
    journal_to: i64,
}

impl Settling {
    /// Passes begin when `due_bytes` are in the journal.
    pub fn new(due_bytes: usize) -> Self {
        Self {
            journal: VecDeque::new(),
            journal_bytes: 0,
            due_bytes,
            added: 0,
            pass: None,
            wanted: false,
            trailing: VecDeque::new(),
            bounded_at: 0,
        }
    }

    /// These streams have let go of chunks that are on the disk still.
    pub fn trail(&mut self, places: Vec<Place>) {
        let parts = places.chunks(STEP_STREAMS).map(<[Place]>::to_vec);
        self.trailing.extend(parts);
    }

    /// A row was appended to the journal.
    pub fn add(&mut self, journal_id: i64, bytes: usize) {
        self.journal.push_back((journal_id, bytes));
        self.journal_bytes += bytes;
        self.added += bytes;
    }

    /// Whether there is something to do.
    pub fn is_due(&self) -> bool {
        self.pass.is_some() || self.wanted || !self.trailing.is_empty() || self.journal_bytes >= self.due_bytes
    }

    /// Settles everything there is.
    pub async fn settle_all(&mut self, store: &mut Store, shared: &Shared) -> Result<(), sqlx::Error> {
        self.wanted = true;
        while self.is_due() {
            self.step(store, shared).await?;
        }
        Ok(())
    }

    /// Does one step; returns about how many bytes it wrote.
    pub async fn step(&mut self, store: &mut Store, shared: &Shared) -> Result<usize, sqlx::Error> {
        if let Some(places) = self.trailing.front() {
            if !store.drop_some(places).await? {
                self.trailing.pop_front();
            }
            return Ok(DROPPED_BYTES);
        }
        if self.pass.is_none() {
            self.pass = Some(self.begin(shared));
        }
        let budget = STEP_BYTES.max(2 * std::mem::take(&mut self.added));
        let Some(pass) = &mut self.pass else {
            return Ok(0);
        };
        let (pieces, unfinished) = pass.pieces(shared, budget);
        let mut settlement = settlement(&pieces);
        let keys = pass.receipts(shared, &mut settlement);
        let is_last = pass.streams.is_empty() && pass.keys.is_empty() && unfinished.is_none();
        if is_last {
            settlement.journal_to = journal_to(&self.journal, pass.journal_to, budget);
        }
        let bytes = settlement.chunks.iter().map(|chunk| chunk.body.len()).sum();
        let has_more = match store.settle(&settlement).await {
            Ok(has_more) => has_more,
            Err(error) => {
                let again = pieces.iter().map(|piece| piece.place.stream);
                pass.streams.extend(again);
                pass.keys.extend(keys);
                return Err(error);
            }
        };
        pass.streams.extend(unfinished);
        if has_more {
            self.trail(settlement.places);
        }
        self.finish(shared, &pieces, settlement.journal_to, is_last);
        Ok(bytes)
    }

    fn begin(&mut self, shared: &Shared) -> Pass {
        self.wanted = false;
        // What came while nothing was settled says nothing of how much comes now.
        self.added = 0;
        let mut book = shared.book.lock();
        Pass {
            streams: book.ledger.take_unsettled(),
            keys: std::mem::take(&mut book.fresh_keys).into(),
            journal_to: self.journal.back().map_or(0, |(id, _)| *id),
        }
    }

    /// What was written is settled; a pass without anything left is over.
    fn finish(&mut self, shared: &Shared, pieces: &[Piece], journal_to: Option<i64>, is_last: bool) {
        let mut book = shared.book.lock();
        for piece in pieces {
            book.ledger.confirm(&piece.place);
            book.ledger.settle(&piece.place.stream, piece.place.head);
        }
        shared.measure(&book);
        drop(book);
        if let Some(to) = journal_to {
            while self.journal.front().is_some_and(|(id, _)| *id <= to)
                && let Some((_, bytes)) = self.journal.pop_front()
            {
                self.journal_bytes -= bytes;
            }
        }
        let ends_at = self.pass.as_ref().map_or(0, |pass| pass.journal_to);
        if is_last && self.journal.front().is_none_or(|(id, _)| *id > ends_at) {
            self.pass = None;
            forget_hashes(shared);
        }
    }

    /// Lets go of events that are too old or too many bytes, and of streams that are no more.
    pub async fn let_go_of_old(&mut self, store: &mut Store, shared: &Shared) -> Result<(), Fault> {
        for _ in 0..PURGES {
            let Some(stream) = shared.gone.lock().front().copied() else {
                break;
            };
            if !store.purge(&stream).await? {
                shared.gone.lock().pop_front();
            }
        }
        let bounded = shared.bounded.lock().clone();
        let count = bounded.len().min(LOOKS);
        for place in self.bounded_at..self.bounded_at + count {
            let bound = bounded[place % bounded.len()];
            let first = match bound.first(shared).await {
                Ok(first) => first,
                Err(fault) => {
                    // One stream that cannot be read holds up no other.
                    tracing::warn!(stream = %bound.stream, "its old events are not let go of: {fault}");
                    continue;
                }
            };
            let mut book = shared.book.lock();
            let before = book.ledger.view(&bound.stream).map(|view| view.first);
            if before.is_some_and(|before| first > before) {
                book.ledger.raise_first(&bound.stream, first);
                self.wanted = true;
            }
        }
        self.bounded_at = (self.bounded_at + count) % bounded.len().max(1);
        Ok(())
    }
}

impl Pass {
    /// The next streams' pieces, and the stream of which there is more.
    fn pieces(&mut self, shared: &Shared, budget: usize) -> (Vec<Piece>, Option<StreamId>) {
        let book = shared.book.lock();
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        while pieces.len() < STEP_STREAMS && bytes < budget {
            let Some(stream) = self.streams.pop_front() else {
                break;
            };
            let Some((piece, has_more)) = book.ledger.piece(&stream, budget - bytes) else {
                continue;
            };
            bytes += piece
                .events
                .iter()
                .map(|event| event.draft.elems.as_str().len() + 64)
                .sum::<usize>();
            pieces.push(piece);
            if has_more {
                return (pieces, Some(stream));
            }
        }
        (pieces, None)
    }

    fn receipts(&mut self, shared: &Shared, settlement: &mut Settlement) -> Vec<Digest> {
        let book = shared.book.lock();
        settlement.horizon_ms = book.keys.horizon(super::now_ms());
        let keys: Vec<Digest> = self.keys.drain(..self.keys.len().min(STEP_STREAMS)).collect();
        for key in &keys {
            if let Some(receipt) = book.keys.receipt(key) {
                settlement
                    .receipts
                    .push((*key, receipt.used_ms, Body::receipt(receipt)));
            }
        }
        keys
    }
}

/// The rows that one step lets go of: about as many bytes as it may write, for that costs as much.
fn journal_to(journal: &VecDeque<(i64, usize)>, most: i64, budget: usize) -> Option<i64> {
    let mut bytes = 0;
    let fits = |(id, size): &&(i64, usize)| {
        let before = bytes;
        bytes += size;
        *id <= most && before < budget
    };
    journal.iter().take_while(fits).last().map(|(id, _)| *id)
}

fn settlement(pieces: &[Piece]) -> Settlement {
    let mut settlement = Settlement::default();
    for piece in pieces {
        settlement.chunks.extend(chunk_rows(&piece.place, &piece.events));
        settlement.places.push(piece.place);
        for event in &piece.events {
            if let Some(hash) = &event.draft.hash {
                settlement.hashes.push((event.stream, digest(hash), event.offset));
            }
        }
    }
    settlement
}

fn chunk_rows(place: &Place, events: &[Arc<Event>]) -> Vec<ChunkRow> {
    let mut rows = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let mut body = Body::chunk(place.epoch);
        let fits = rest.iter().take_while(|event| {
            let before = body.len();
            if before < CHUNK_BYTES {
                body.put_bare(event);
            }
            before < CHUNK_BYTES
        });
        let (part, later) = rest.split_at(fits.count());
        rest = later;
        rows.extend(chunk_row(part, body));
    }
    rows
}

fn chunk_row(events: &[Arc<Event>], body: Body) -> Option<ChunkRow> {
    Some(ChunkRow {
        stream: events.first()?.stream,
        first: events.first()?.offset,
        last: events.last()?.offset,
        newest_ms: events.iter().map(|event| event.created_ms).max()?,
        body: body.finish(),
    })
}

/// Hashes of settled events are found in the database.
fn forget_hashes(shared: &Shared) {
    let mut book = shared.book.lock();
    let Book { hashes, ledger, .. } = &mut *book;
    hashes.retain(|(stream, _), offset| ledger.view(stream).is_some_and(|view| view.settled < *offset));
}
