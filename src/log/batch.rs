//! A batch on its way to the disk: numbered, then either shown and answered as a whole, or taken
//! back as a whole.
//!
//! The other half of the book, used by the writer only. Invariants: offsets that were given and
//! not committed are taken back before anybody else is numbered; a refused request is answered
//! with its own reason whatever becomes of the batch.

use crate::domain::durability::Durability;
use crate::domain::error::{Code, Refusal};
use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::position::Offset;
use crate::engine::keys::{Digest, Receipt};
use crate::engine::record::{Body, Place};
use crate::log::book::{Answer, Book, Publication, Published, RequestKey, reached, unwritable, weight};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What the writer takes at once.
pub struct Taken {
    /// Requests, in order.
    pub requests: Vec<(Publication, Answer)>,
    /// Events that were shown before.
    pub unwritten: Vec<Arc<Event>>,
}

/// What is to be committed, and what follows from it.
pub struct Batch {
    /// The journal row.
    pub body: Body,
    /// Whether it must be synced before it is shown.
    pub sync: bool,
    /// What was shown before and is in the row.
    pub unwritten: Vec<Arc<Event>>,
    answers: Vec<(Answer, Outcome)>,
    places: Vec<Place>,
    waiting: Vec<(StreamId, usize)>,
}

struct Outcome {
    events: Result<Vec<Arc<Event>>, Refusal>,
    key: Option<RequestKey>,
    weak: HashSet<StreamId>,
    keeps_all: bool,
    now_ms: u64,
}

impl Book {
    /// Numbers what was taken; `repeated` are hashes that settled events have.
    pub fn arrange(&mut self, taken: Taken, repeated: &HashSet<(StreamId, Digest)>) -> Batch {
        let mut batch = Batch {
            body: Body::journal(),
            sync: false,
            unwritten: taken.unwritten,
            answers: Vec::with_capacity(taken.requests.len()),
            places: Vec::new(),
            waiting: Vec::new(),
        };
        let mut weak_of: HashMap<StreamId, bool> = HashMap::new();
        for event in &batch.unwritten {
            batch.body.put_event(event);
            weak_of.insert(event.stream, true);
        }
        let mut fresh = HashSet::new();
        for (publication, answer) in taken.requests {
            let streams = publication.drafts.iter();
            batch.waiting.extend(streams.map(|(stream, _)| (stream.id, 1)));
            let outcome = self.number(publication, repeated, &mut fresh, &mut batch, &mut weak_of);
            batch.answers.push((answer, outcome));
        }
        for (stream, weak) in weak_of {
            if let Some(place) = self.ledger.news(&stream, weak) {
                batch.sync |= weak;
                batch.body.put_place(&place);
                batch.places.push(place);
            }
        }
        batch
    }

    fn number(
        &mut self,
        publication: Publication,
        repeated: &HashSet<(StreamId, Digest)>,
        fresh: &mut HashSet<(StreamId, Digest)>,
        batch: &mut Batch,
        weak_of: &mut HashMap<StreamId, bool>,
    ) -> Outcome {
        let (key, now_ms) = (publication.key, publication.now_ms);
        let mut outcome = Outcome {
            events: Ok(Vec::new()),
            key,
            weak: HashSet::new(),
            keeps_all: publication.drafts.iter().all(|(stream, _)| stream.capacity > 0),
            now_ms,
        };
        if let Err(refusal) = self.check(&publication, repeated, fresh) {
            outcome.events = Err(refusal);
            return outcome;
        }
        let least = publication
            .drafts
            .iter()
            .map(|(stream, _)| publication.durability(stream));
        batch.sync |= key.is_some() || least.clone().any(|durability| durability == Durability::Durable);
        let durabilities: Vec<Durability> = least.collect();
        let mut events = Vec::with_capacity(durabilities.len());
        for ((stream, draft), durability) in publication.drafts.into_iter().zip(durabilities) {
            let event = self
                .ledger
                .number(&stream, publication.creator, now_ms, publication.asked, draft);
            let is_weak = durability < Durability::Durable && key.is_none() || stream.capacity == 0;
            if is_weak {
                outcome.weak.insert(stream.id);
            }
            if stream.capacity > 0 {
                batch.body.put_event(&event);
                *weak_of.entry(stream.id).or_default() |= is_weak;
            } else if !self.ledger.is_unstored(&stream.id) {
                weak_of.insert(stream.id, true);
            }
            events.push(event);
        }
        if let Some(key) = key {
            let receipt = Receipt::new(key.request, now_ms, events.iter().map(|event| event.id));
            batch.body.put_receipt(&key.key, &receipt);
        }
        outcome.events = Ok(events);
        outcome
    }

    fn check(
        &self,
        publication: &Publication,
        repeated: &HashSet<(StreamId, Digest)>,
        fresh: &mut HashSet<(StreamId, Digest)>,
    ) -> Result<(), Refusal> {
        if let Some(expected) = publication.expected {
            self.check_offset(publication, expected)?;
        }
        let mut own = HashSet::new();
        for (stream, digest) in publication.hashes() {
            let first = self.ledger.view(&stream).map_or(Offset(0), |view| view.first);
            let key = (stream, digest);
            let kept = self.hashes.get(&key).is_some_and(|offset| *offset >= first);
            if kept || repeated.contains(&key) || fresh.contains(&key) || !own.insert(key) {
                let text = "the stream has an event of this hash";
                return Err(Refusal::new(Code::EventRepeated, text));
            }
        }
        fresh.extend(own);
        Ok(())
    }

    /// The batch is written: everything of it is shown, in order. Returns the answers to give.
    pub fn commit(
        &mut self,
        batch: Batch,
        show: impl FnOnce(&[Arc<Event>]),
    ) -> Vec<(Answer, Result<Published, Refusal>)> {
        for place in &batch.places {
            self.ledger.confirm(place);
        }
        let mut shown = Vec::new();
        let mut answers = Vec::with_capacity(batch.answers.len());
        for (answer, outcome) in batch.answers {
            let published = outcome.events.map(|events| {
                let reached = reached(batch.sync, outcome.keeps_all);
                Published { events, reached }
            });
            self.settle_key(outcome.key, outcome.now_ms, published.as_ref().ok());
            if let Ok(published) = &published {
                for event in &published.events {
                    self.ledger.take(event);
                    self.note_hash(event);
                }
                shown.extend_from_slice(&published.events);
                for stream in &outcome.weak {
                    self.ledger.weaken(stream, outcome.now_ms);
                }
            }
            answers.push((answer, published));
        }
        self.arrive(&batch.waiting);
        show(&shown);
        answers
    }

    /// The batch could not be written: nothing of it was. Returns the answers to give.
    pub fn roll_back(&mut self, batch: Batch, code: Code) -> Vec<(Answer, Result<Published, Refusal>)> {
        self.failing = Some(code);
        for (stream, _) in &batch.waiting {
            self.ledger.unnumber(stream);
        }
        self.arrive(&batch.waiting);
        self.unwritten_bytes += batch.unwritten.iter().map(|event| weight(&event.draft)).sum::<usize>();
        let later = std::mem::replace(&mut self.unwritten, batch.unwritten);
        self.unwritten.extend(later);
        let refuse = |(answer, outcome): (Answer, Outcome)| {
            if let Some(key) = outcome.key {
                self.keys.give_up(&key.key);
            }
            (answer, outcome.events.and_then(|_| Err(unwritable(code))))
        };
        batch.answers.into_iter().map(refuse).collect()
    }

    /// Nothing can be written from now on, and nobody waits for that to end. Returns the answers
    /// to give.
    pub fn refuse_waiting(&mut self, code: Code) -> Vec<(Answer, Result<Published, Refusal>)> {
        self.failing = Some(code);
        self.queue_bytes = 0;
        let queue = std::mem::take(&mut self.queue);
        let refuse = |(publication, answer): (Publication, Answer)| {
            if let Some(key) = publication.key {
                self.keys.give_up(&key.key);
            }
            for (stream, _) in &publication.drafts {
                self.ledger.wait_no_more(&stream.id, 1);
            }
            (answer, Err(unwritable(code)))
        };
        queue.into_iter().map(refuse).collect()
    }

    fn settle_key(&mut self, key: Option<RequestKey>, now_ms: u64, published: Option<&Published>) {
        match (key, published) {
            (Some(key), Some(published)) => {
                let ids = published.events.iter().map(|event| event.id);
                self.keys.answer(key.key, Receipt::new(key.request, now_ms, ids));
                self.fresh_keys.push(key.key);
            }
            (Some(key), None) => self.keys.give_up(&key.key),
            (None, _) => {}
        }
    }

    fn arrive(&mut self, waiting: &[(StreamId, usize)]) {
        for (stream, count) in waiting {
            self.ledger.wait_no_more(stream, *count);
        }
    }
}
