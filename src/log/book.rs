//! What is behind the log's lock: the ledger, who waits for the disk, and what was shown before it
//! was written.
//!
//! Knows no SQL and never waits. Invariants: what is shown of a stream is in order of offset;
//! nothing that is to be durable is shown or answered before it is synced; a request is written as
//! a whole or not at all.

use crate::domain::durability::Durability;
use crate::domain::error::{Code, Refusal};
use crate::domain::event::{Draft, Event, Frames, Stamp};
use crate::domain::id::{IdentityId, StreamId};
use crate::domain::position::Offset;
use crate::domain::stream::Stream;
use crate::engine::keys::{Digest, Keys, Known};
use crate::engine::ledger::Ledger;
use crate::log::batch::Taken;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What somebody asks to have written.
pub struct Publication {
    /// Who publishes.
    pub creator: IdentityId,
    /// When, in milliseconds since 1970.
    pub now_ms: u64,
    /// The same by the clock that latencies are measured with.
    pub asked: Stamp,
    /// What, and to which streams, in order.
    pub drafts: Vec<(Arc<Stream>, Draft)>,
    /// How safe it is to be before it is answered; each stream's own way if not said.
    pub ack: Option<Durability>,
    /// Refused unless the stream, one alone, is there.
    pub expected: Option<Offset>,
    /// The publisher's key and what came with it.
    pub key: Option<RequestKey>,
}

/// An Idempotency-Key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// Of whose it is and its text.
    pub key: Digest,
    /// Of the request that it came with.
    pub request: Digest,
}

/// What was written.
#[derive(Clone)]
pub struct Published {
    /// The events, in the order of the drafts.
    pub events: Vec<Arc<Event>>,
    /// How safe they all are.
    pub reached: Durability,
}

/// Where an answer goes.
pub type Answer = oneshot::Sender<Result<Published, Refusal>>;

/// What came of a look at the book.
pub enum Entry {
    /// It is done.
    Done(Published),
    /// The writer will answer.
    Waits(oneshot::Receiver<Result<Published, Refusal>>),
}

/// What is behind the lock.
pub struct Book {
    /// Every stream's numbering and newest events.
    pub ledger: Ledger,
    /// Idempotency-Keys.
    pub keys: Keys,
    /// Hashes of events that are not settled.
    pub hashes: HashMap<(StreamId, Digest), Offset>,
    /// Why nothing can be written, if so.
    pub failing: Option<Code>,
    /// Keys that were answered and are not settled.
    pub fresh_keys: Vec<Digest>,
    pub(super) queue: VecDeque<(Publication, Answer)>,
    pub(super) queue_bytes: usize,
    /// Shown, and not in the journal yet.
    pub(super) unwritten: Vec<Arc<Event>>,
    pub(super) unwritten_bytes: usize,
    max_pending_bytes: usize,
}

impl Publication {
    /// How safe its event in a stream is to be.
    pub fn durability(&self, stream: &Stream) -> Durability {
        if stream.capacity == 0 {
            return Durability::Accepted;
        }
        self.ack.unwrap_or(stream.rules.ack)
    }

    fn bytes(&self) -> usize {
        self.drafts.iter().map(|(_, draft)| weight(draft)).sum()
    }

    /// Whether anything of it belongs on the disk.
    pub fn needs_disk(&self) -> bool {
        self.key.is_some() || self.drafts.iter().any(|(stream, _)| stream.capacity > 0)
    }
}

/// About what a draft costs while it waits, in bytes.
pub fn weight(draft: &Draft) -> usize {
    draft.elems.as_str().len() + 256
}

/// Enough of a hash to compare it by.
pub fn digest(text: &str) -> Digest {
    short(&[text.as_bytes()])
}

fn short(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

impl RequestKey {
    /// The key of one who publishes; another's of the same text is another. `request` is all that
    /// came with it.
    pub fn new(creator: IdentityId, key: &str, request: &[u8]) -> Self {
        Self {
            key: short(&[creator.bytes(), key.as_bytes()]),
            request: short(&[request]),
        }
    }
}

impl Book {
    /// Nothing waits; `max_pending_bytes` may.
    pub fn new(ledger: Ledger, keys: Keys, max_pending_bytes: usize) -> Self {
        Self {
            ledger,
            keys,
            hashes: HashMap::new(),
            failing: None,
            fresh_keys: Vec::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            unwritten: Vec::new(),
            unwritten_bytes: 0,
            max_pending_bytes,
        }
    }

    /// Takes a request: shows it at once if it may overtake the disk, else lets it wait.
    ///
    /// `show` gets the events in order of offset. Refused while nothing can be written, when too
    /// much waits, and by the publisher's key.
    pub fn enter(&mut self, publication: Publication, show: impl FnOnce(&[Arc<Event>])) -> Result<Entry, Refusal> {
        for (stream, _) in &publication.drafts {
            self.ledger.open(stream);
        }
        if let Some(key) = publication.key
            && let Some(published) = self.look_up(key, &publication)?
        {
            return Ok(Entry::Done(published));
        }
        if self.may_overtake(&publication) {
            if let Some(expected) = publication.expected {
                self.check_offset(&publication, expected)?;
            }
            self.check_room(&publication)?;
            return Ok(Entry::Done(self.show_at_once(publication, show)));
        }
        if let Err(refusal) = self.check_queue() {
            if let Some(key) = publication.key {
                self.keys.give_up(&key.key);
            }
            return Err(refusal);
        }
        let (answer, receiver) = oneshot::channel();
        for (stream, _) in &publication.drafts {
            self.ledger.wait(&stream.id, 1);
        }
        self.queue_bytes += publication.bytes();
        self.queue.push_back((publication, answer));
        Ok(Entry::Waits(receiver))
    }

    fn look_up(&mut self, key: RequestKey, publication: &Publication) -> Result<Option<Published>, Refusal> {
        let receipt = match self.keys.begin(key.key, publication.now_ms) {
            Known::New => return Ok(None),
            Known::Busy => {
                let text = "a request with this Idempotency-Key is being dealt with";
                return Err(Refusal::new(Code::KeyBusy, text));
            }
            Known::Full => {
                let text = "no more Idempotency-Keys can be remembered now";
                return Err(Refusal::new(Code::LimitKeys, text));
            }
            Known::Answered(receipt) if receipt.request != key.request => {
                let text = "this Idempotency-Key came with another request before";
                return Err(Refusal::new(Code::KeyReused, text));
            }
            Known::Answered(receipt) => receipt,
        };
        let event = |(id, (stream, draft)): (_, &(Arc<Stream>, Draft))| {
            Arc::new(Event {
                id,
                stream: stream.id,
                path: stream.path.clone(),
                offset: id.offset(),
                creator: publication.creator,
                created_ms: receipt.used_ms,
                asked: Stamp::UNKNOWN,
                draft: draft.clone(),
                frames: Frames::default(),
            })
        };
        let events = receipt.ids().zip(&publication.drafts).map(event).collect();
        let keeps_all = publication.drafts.iter().all(|(stream, _)| stream.capacity > 0);
        let reached = reached(true, keeps_all);
        Ok(Some(Published { events, reached }))
    }

    fn may_overtake(&self, publication: &Publication) -> bool {
        let free = |(stream, draft): &(Arc<Stream>, Draft)| {
            publication.durability(stream) == Durability::Accepted
                && (draft.hash.is_none() || stream.capacity == 0)
                && self.ledger.is_free(&stream.id)
        };
        publication.key.is_none() && publication.drafts.iter().all(free)
    }

    fn check_room(&self, publication: &Publication) -> Result<(), Refusal> {
        match publication.needs_disk() {
            true => self.check_queue(),
            false => Ok(()),
        }
    }

    /// Also for what keeps nothing, if it waits behind what does.
    fn check_queue(&self) -> Result<(), Refusal> {
        if let Some(code) = self.failing {
            return Err(unwritable(code));
        }
        if self.queue_bytes + self.unwritten_bytes >= self.max_pending_bytes {
            let text = "events come faster than the disk takes them";
            return Err(Refusal::new(Code::LimitPending, text));
        }
        Ok(())
    }

    pub(super) fn check_offset(&self, publication: &Publication, expected: Offset) -> Result<(), Refusal> {
        let Some((stream, _)) = publication.drafts.first() else {
            return Ok(());
        };
        let head = self.ledger.numbered(&stream.id);
        if head == expected {
            return Ok(());
        }
        let text = format!("the stream is at offset {head}, not {expected}");
        Err(Refusal::new(Code::OffsetMismatch, text))
    }

    fn show_at_once(&mut self, publication: Publication, show: impl FnOnce(&[Arc<Event>])) -> Published {
        let mut events = Vec::with_capacity(publication.drafts.len());
        for (stream, draft) in publication.drafts {
            let event = self.ledger.number(
                &stream,
                publication.creator,
                publication.now_ms,
                publication.asked,
                draft,
            );
            self.ledger.take(&event);
            self.ledger.weaken(&stream.id, publication.now_ms);
            if stream.capacity > 0 {
                self.unwritten_bytes += weight(&event.draft);
                self.unwritten.push(Arc::clone(&event));
            }
            events.push(event);
        }
        show(&events);
        let reached = Durability::Accepted;
        Published { events, reached }
    }

    /// What waits for the writer, up to about `max_bytes`.
    pub fn take(&mut self, max_bytes: usize) -> Option<Taken> {
        if self.queue.is_empty() && self.unwritten.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let mut requests = Vec::new();
        while bytes < max_bytes
            && let Some((publication, answer)) = self.queue.pop_front()
        {
            bytes += publication.bytes();
            requests.push((publication, answer));
        }
        self.queue_bytes -= bytes;
        self.unwritten_bytes = 0;
        let unwritten = std::mem::take(&mut self.unwritten);
        Some(Taken { requests, unwritten })
    }

    /// Whether nobody waits, though something is to be written.
    pub fn is_patient(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether nothing is on its way to the disk.
    pub fn is_written(&self) -> bool {
        self.queue.is_empty() && self.unwritten.is_empty()
    }

    /// How many bytes wait for the disk.
    pub fn pending_bytes(&self) -> usize {
        self.queue_bytes + self.unwritten_bytes
    }

    /// Remembers the hash of an event that is not settled.
    pub fn note_hash(&mut self, event: &Event) {
        let is_kept = self
            .ledger
            .view(&event.stream)
            .is_some_and(|view| view.first <= event.offset);
        if let Some(hash) = &event.draft.hash
            && is_kept
        {
            self.hashes.insert((event.stream, digest(hash)), event.offset);
        }
    }
}

impl Publication {
    /// Hashes that its streams must not have; who keeps nothing has none.
    pub fn hashes(&self) -> impl Iterator<Item = (StreamId, Digest)> {
        let kept = self.drafts.iter().filter(|(stream, _)| stream.capacity > 0);
        kept.filter_map(|(stream, draft)| Some((stream.id, digest(draft.hash.as_deref()?))))
    }
}

/// What a request reached.
pub fn reached(synced: bool, keeps_all: bool) -> Durability {
    match (keeps_all, synced) {
        (false, _) => Durability::Accepted,
        (true, false) => Durability::Written,
        (true, true) => Durability::Durable,
    }
}

/// Why nothing is written now.
pub fn unwritable(code: Code) -> Refusal {
    let text = match code {
        Code::LogFull => "the server's disk is full",
        _ => "the server cannot write to its disk",
    };
    Refusal::new(code, text)
}

#[cfg(test)]
mod tests;
