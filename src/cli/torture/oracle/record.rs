//! What is known of one stream: its numberings, what was promised, and what was seen where.
//!
//! Knows nothing of other streams. Invariant: a contradiction is counted once, for each place or
//! event that it is about.

use super::{Acked, Bookmark, Epoch, Given, Level, Mark, Stored, Tally};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A promise with a place.
struct Promise {
    mark: Mark,
    offset: u64,
    level: Level,
    since: u32,
    generation: u32,
    is_broken: bool,
}

/// What a stream is, as far as promises depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nature {
    /// Its name, for remarks.
    pub name: &'static str,
    /// Events it keeps.
    pub capacity: u64,
    /// Whether nothing of it is ever shown that a crash may take, so that its numbering is for ever.
    pub is_firm: bool,
}

/// The memory of one stream.
#[derive(Default)]
pub struct Record {
    nature: Nature,
    epochs: Vec<String>,
    of_generation: BTreeMap<u32, Vec<Epoch>>,
    promises: Vec<Promise>,
    /// What is where, for each numbering.
    contents: HashMap<(Epoch, u64), Mark>,
    /// Where an event was seen last.
    places: HashMap<Mark, (Epoch, u64)>,
    disputed: HashSet<(Epoch, u64)>,
    doubled: HashSet<Mark>,
}

impl Promise {
    fn told(&self, name: &str, there: Option<&Mark>) -> String {
        let (level, generation) = (self.level, self.generation);
        let (mark, offset) = (self.mark, self.offset);
        format!("{mark:?}, acknowledged as {level:?} in life {generation}, is not at {offset} of {name}: {there:?}")
    }
}

impl Record {
    /// Nothing is known yet.
    pub fn new(nature: Nature) -> Self {
        Self {
            nature,
            ..Self::default()
        }
    }

    /// The stream's name.
    pub fn name(&self) -> &'static str {
        self.nature.name
    }

    /// Remembers an acknowledgement that says where and how safe.
    pub fn promise(&mut self, ack: &Acked) {
        if let (Some(offset), Some(level)) = (ack.offset, ack.level) {
            self.promises.push(Promise {
                mark: ack.mark,
                offset,
                level,
                since: ack.since,
                generation: ack.generation,
                is_broken: false,
            });
        }
    }

    /// How many there are.
    pub fn promise_count(&self) -> usize {
        self.promises.len()
    }

    /// The numbering of this name, which was told in a life of the server.
    pub fn epoch(&mut self, generation: u32, name: &str, tally: &mut Tally) -> Epoch {
        let before = self.epochs.len();
        let epoch = self.named(name);
        if self.nature.is_firm && before > 0 && self.epochs.len() > before {
            tally.renumbered += 1;
            tally.note(|| format!("{} is numbered anew in life {generation}: {name}", self.nature.name));
        }
        let epochs = self.of_generation.entry(generation).or_default();
        if !epochs.contains(&epoch) {
            epochs.push(epoch);
        }
        epoch
    }

    /// What a scan found, if it is known by what numbering.
    pub fn place_stored(&mut self, generation: u32, stored: &[Given], tally: &mut Tally) {
        if let Some([epoch]) = self.of_generation.get(&generation).map(Vec::as_slice) {
            let epoch = *epoch;
            for given in stored {
                self.place(epoch, given.offset, given.mark, tally);
            }
        }
    }

    fn named(&mut self, name: &str) -> Epoch {
        let known = self.epochs.iter().position(|known| known == name);
        Epoch(known.unwrap_or_else(|| {
            self.epochs.push(name.to_owned());
            self.epochs.len() - 1
        }))
    }

    /// An event is at a place: nothing else may be there, nor the event at another.
    pub fn place(&mut self, epoch: Epoch, offset: u64, mark: Mark, tally: &mut Tally) {
        let there = *self.contents.entry((epoch, offset)).or_insert(mark);
        if there != mark {
            self.dispute(epoch, offset, &[there, mark], tally);
            return;
        }
        let before = self.places.insert(mark, (epoch, offset));
        if let Some((known, place)) = before
            && known == epoch
            && place != offset
            && self.doubled.insert(mark)
        {
            tally.duplicated += 1;
            tally.note(|| format!("{mark:?} is at {place} and at {offset} of {}", self.nature.name));
        }
    }

    fn dispute(&mut self, epoch: Epoch, offset: u64, marks: &[Mark], tally: &mut Tally) {
        if self.disputed.insert((epoch, offset)) {
            tally.swapped += 1;
            let (name, epoch) = (self.nature.name, &self.epochs[epoch.0]);
            tally.note(|| format!("at {offset} of {name}, numbering {epoch}: {marks:?}"));
        }
    }

    /// Rising by one, as many as there have to be, none twice.
    pub fn check_shape(&mut self, stored: &Stored<'_>, tally: &mut Tally) {
        for pair in stored.events.windows(2) {
            match pair[1].offset.checked_sub(pair[0].offset) {
                Some(1) => {}
                Some(step @ 2..) => tally.stored_holes += step - 1,
                _ => tally.swapped += 1,
            }
        }
        let kept = stored.head().saturating_sub(self.gone(stored)).min(stored.limit);
        tally.stored_short += kept.saturating_sub(stored.events.len() as u64);
        let mut marks = HashSet::with_capacity(stored.events.len());
        for given in stored.events {
            if !marks.insert(given.mark) {
                tally.duplicated += u64::from(self.doubled.insert(given.mark));
            }
        }
    }

    /// The newest offset that may have had to make room.
    fn gone(&self, stored: &Stored<'_>) -> u64 {
        stored
            .head_after
            .max(stored.head())
            .saturating_sub(self.nature.capacity)
    }

    /// Whatever was acknowledged has to be where it was said to be.
    pub fn check_promises(&mut self, last_cut: Option<u32>, stored: &Stored<'_>, until: Bookmark, tally: &mut Tally) {
        let marks: HashMap<u64, Mark> = stored.events.iter().map(|given| (given.offset, given.mark)).collect();
        let lowest = stored.events.first().map_or(u64::MAX, |given| given.offset);
        let is_whole = (stored.events.len() as u64) < stored.limit;
        let (name, gone) = (self.nature.name, self.gone(stored));
        for promise in self
            .promises
            .iter_mut()
            .take(until.0)
            .filter(|promise| !promise.is_broken)
        {
            let holds = match promise.level {
                Level::Durable => true,
                Level::Written => last_cut.is_none_or(|cut| promise.generation > cut),
                Level::Accepted => false,
            };
            let is_due = promise.offset > gone && (is_whole || promise.offset >= lowest);
            if !holds || !is_due || marks.get(&promise.offset) == Some(&promise.mark) {
                continue;
            }
            promise.is_broken = true;
            tally.note(|| promise.told(name, marks.get(&promise.offset)));
            match promise.level {
                Level::Durable => tally.lost_durable += 1,
                Level::Written | Level::Accepted => tally.lost_written += 1,
            }
        }
    }

    /// At the end: places that publishers were told, against what was seen there.
    pub fn settle(&mut self, tally: &mut Tally) {
        for promise in std::mem::take(&mut self.promises) {
            match self.epochs_of(&promise)[..] {
                [epoch] => self.place(epoch, promise.offset, promise.mark, tally),
                // Nobody learned how the stream was numbered then, so it stands alone.
                [] if promise.since == promise.generation => {
                    let alone = self.named(&format!("life {}", promise.generation));
                    self.place(alone, promise.offset, promise.mark, tally);
                }
                [] => {}
                // It changed meanwhile: one of them has to agree.
                ref epochs => {
                    let agrees = |epoch: &Epoch| {
                        let there = self.contents.get(&(*epoch, promise.offset));
                        there.is_none_or(|mark| *mark == promise.mark)
                    };
                    if !epochs.iter().any(agrees) {
                        self.dispute(epochs[0], promise.offset, &[promise.mark], tally);
                    }
                }
            }
        }
    }

    /// The numberings of the lives in which an answer may have come about; none if one of them is
    /// not known. A request that is sent again in a later life is answered as it was in an earlier.
    fn epochs_of(&self, promise: &Promise) -> Vec<Epoch> {
        let mut all = Vec::new();
        for life in promise.since..=promise.generation {
            match self.of_generation.get(&life) {
                Some(epochs) => all.extend(epochs),
                None => return Vec::new(),
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}
