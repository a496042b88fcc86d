//! Idempotency-Keys: which requests were made before, and what was answered.
//!
//! Knows digests only, never what somebody sent. Invariant: bounded in bytes; a key that was
//! answered gets the same answer until its time is over, and is never let go of before.

use crate::domain::id::EventId;
use foldhash::fast::RandomState;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Enough of a hash that nobody finds two of the same.
pub type Digest = [u8; 16];

/// What was answered to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Of the request that the key came with.
    pub request: Digest,
    /// When it was answered, in milliseconds since 1970; the events' time too.
    pub used_ms: u64,
    /// The events, in order: runs of one stream, by the first one's name.
    pub runs: Vec<(EventId, u32)>,
}

impl Receipt {
    /// For events that follow each other in a request.
    pub fn new(request: Digest, used_ms: u64, ids: impl Iterator<Item = EventId>) -> Self {
        let mut runs: Vec<(EventId, u32)> = Vec::new();
        for id in ids {
            match runs.last_mut() {
                Some((first, count)) if first.plus(*count) == id => *count += 1,
                _ => runs.push((id, 1)),
            }
        }
        Self { request, used_ms, runs }
    }

    /// The events' names, in order.
    pub fn ids(&self) -> impl Iterator<Item = EventId> {
        self.runs
            .iter()
            .flat_map(|(first, count)| (0..*count).map(|number| first.plus(number)))
    }

    /// About what it costs to remember it, in bytes.
    pub fn weight(&self) -> usize {
        128 + 16 * self.runs.len()
    }
}

/// What is known of a key.
#[derive(Debug)]
pub enum Known<'a> {
    /// It was not there and now counts as being answered.
    New,
    /// A request of this key is not answered yet.
    Busy,
    /// This was answered.
    Answered(&'a Receipt),
    /// There is no room for another one.
    Full,
}

/// The keys of the last while.
pub struct Keys {
    known: HashMap<Digest, Option<Receipt>, RandomState>,
    /// Those that were answered, the oldest first.
    answered: VecDeque<(u64, Digest)>,
    bytes: usize,
    max_bytes: usize,
    window_ms: u64,
}

impl Keys {
    /// Remembers keys for `window_ms`, in at most `max_bytes`.
    pub fn new(window_ms: u64, max_bytes: usize) -> Self {
        Self {
            known: HashMap::default(),
            answered: VecDeque::new(),
            bytes: 0,
            max_bytes,
            window_ms,
        }
    }

    /// Looks a key up, and notes it as busy if it is new.
    pub fn begin(&mut self, key: Digest, now_ms: u64) -> Known<'_> {
        self.forget_old(now_ms);
        let is_full = self.bytes >= self.max_bytes;
        match self.known.entry(key) {
            Entry::Occupied(known) => known.into_mut().as_ref().map_or(Known::Busy, Known::Answered),
            Entry::Vacant(_) if is_full => Known::Full,
            Entry::Vacant(place) => {
                place.insert(None);
                Known::New
            }
        }
    }

    /// A key's request was answered.
    pub fn answer(&mut self, key: Digest, receipt: Receipt) {
        self.bytes += receipt.weight();
        self.answered.push_back((receipt.used_ms, key));
        if let Some(Some(before)) = self.known.insert(key, Some(receipt)) {
            self.bytes -= before.weight();
        }
    }

    /// A key's request came to nothing; it may be tried again.
    pub fn give_up(&mut self, key: &Digest) {
        self.known.remove(key);
    }

    /// What was answered to a key.
    pub fn receipt(&self, key: &Digest) -> Option<&Receipt> {
        self.known.get(key)?.as_ref()
    }

    /// Before this time nothing is remembered.
    pub fn horizon(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.window_ms)
    }

    /// How many bytes are remembered.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn forget_old(&mut self, now_ms: u64) {
        let horizon = self.horizon(now_ms);
        while let Some((used_ms, key)) = self.answered.front()
            && *used_ms < horizon
        {
            // A key that was used again later has a later entry of its own.
            if let Entry::Occupied(known) = self.known.entry(*key)
                && known.get().as_ref().is_some_and(|receipt| receipt.used_ms == *used_ms)
            {
                self.bytes -= known.remove().map_or(0, |receipt| receipt.weight());
            }
            self.answered.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Stem, StreamId};
    use crate::domain::position::{Epoch, Offset};

    fn id(stream: u8, offset: u64) -> EventId {
        EventId::at(Stem::of(&StreamId::new([stream; 12]), Epoch::new(1)), Offset(offset))
    }

    fn receipt(used_ms: u64) -> Receipt {
        Receipt::new([1; 16], used_ms, [id(1, 1)].into_iter())
    }

    #[test]
    fn runs_give_back_every_name_in_order() {
        let ids = [id(1, 4), id(1, 5), id(2, 1), id(1, 6), id(1, 8)];
        let receipt = Receipt::new([0; 16], 9, ids.into_iter());
        assert_eq!(receipt.runs.len(), 4);
        assert_eq!(receipt.ids().collect::<Vec<_>>(), ids);
    }

    #[test]
    fn a_key_is_new_then_busy_then_answered_then_old() {
        let mut keys = Keys::new(100, 1_000);
        assert!(matches!(keys.begin([1; 16], 10), Known::New));
        assert!(matches!(keys.begin([1; 16], 10), Known::Busy));
        keys.answer([1; 16], receipt(10));
        assert!(matches!(keys.begin([1; 16], 110), Known::Answered(_)));
        assert!(matches!(keys.begin([1; 16], 111), Known::New));
        assert_eq!(keys.bytes(), 0);
        keys.give_up(&[1; 16]);
        assert!(matches!(keys.begin([1; 16], 111), Known::New));
    }

    #[test]
    fn a_full_table_refuses_new_keys_and_knows_the_old() {
        let mut keys = Keys::new(100, 1);
        assert!(matches!(keys.begin([1; 16], 0), Known::New));
        keys.answer([1; 16], receipt(0));
        assert!(matches!(keys.begin([2; 16], 50), Known::Full));
        assert!(matches!(keys.begin([1; 16], 50), Known::Answered(_)));
        assert!(matches!(keys.begin([2; 16], 101), Known::New));
    }
}
