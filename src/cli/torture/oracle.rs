//! Remembers what the server said and gave, and finds where that contradicts its promises.
//!
//! A plain machine, fed by publishers, readers and scans; knows no wire and no clock. Contents are
//! remembered as prints. Invariant: each contradiction is counted once, however many saw it.

mod tally;
pub mod view;

pub use tally::Tally;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use view::{Finding, Gap};

/// How safe an event was said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// In memory: a crash may take it.
    Accepted,
    /// In the operating system's hands: a power cut may take it.
    Written,
    /// On the disk: nothing takes it.
    Durable,
}

/// An event's name: who published it, and its number there, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The publisher's number.
    pub publisher: u16,
    /// Counts up for each publisher.
    pub number: u32,
}

/// An event as the server gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its place.
    pub offset: u64,
    /// Its name.
    pub mark: Mark,
    /// Its content's print.
    pub print: u64,
}

/// A content in eight bytes.
pub fn print(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A numbering of a stream, by its place in the list of those that were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(usize);

/// What an answer to a publisher said.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    /// The event.
    pub mark: Mark,
    /// Its place, where the answer named it.
    pub offset: Option<u64>,
    /// How safe it is, where the answer said so.
    pub level: Option<Level>,
    /// Which life of the server answered.
    pub generation: u32,
}

/// A promise with a place.
struct Promise {
    mark: Mark,
    offset: u64,
    level: Level,
    generation: u32,
    is_broken: bool,
}

#[derive(Default)]
struct Record {
    capacity: u64,
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

/// How far the promises had come when a scan was asked for.
#[derive(Clone, Copy)]
pub struct Bookmark(usize);

/// The memory of a run.
#[derive(Default)]
pub struct Oracle {
    records: Vec<Record>,
    /// By publisher and number.
    prints: Vec<Vec<u64>>,
    /// What was only written in this life of the server or before is gone with the power.
    last_cut: Option<u32>,
    /// What was counted.
    pub tally: Tally,
}

impl Oracle {
    /// For streams of these capacities.
    pub fn new(capacities: impl IntoIterator<Item = u64>) -> Self {
        let record = |capacity| Record {
            capacity,
            ..Record::default()
        };
        Self {
            records: capacities.into_iter().map(record).collect(),
            ..Self::default()
        }
    }

    /// A publisher is about to send this content.
    pub fn sends(&mut self, mark: Mark, print: u64) {
        let publisher = usize::from(mark.publisher);
        if self.prints.len() <= publisher {
            self.prints.resize_with(publisher + 1, Vec::new);
        }
        let prints = &mut self.prints[publisher];
        prints.resize(prints.len().max(mark.number as usize + 1), 0);
        prints[mark.number as usize] = print;
    }

    /// An event was acknowledged, `wanted` having been asked for.
    pub fn acked(&mut self, stream: usize, ack: Acked, wanted: Option<Level>) {
        match ack.level {
            Some(Level::Durable) => self.tally.acked_durable += 1,
            Some(Level::Written) => self.tally.acked_written += 1,
            Some(Level::Accepted) => self.tally.acked_accepted += 1,
            None => self.tally.acked_plain += 1,
        }
        if wanted.is_some() && (ack.level < wanted || ack.offset.is_none()) {
            self.tally.shortfalls += 1;
        }
        if let (Some(offset), Some(level)) = (ack.offset, ack.level) {
            self.records[stream].promises.push(Promise {
                mark: ack.mark,
                offset,
                level,
                generation: ack.generation,
                is_broken: false,
            });
        }
    }

    /// The power was cut at the end of this life of the server.
    pub fn power_cut(&mut self, generation: u32) {
        self.last_cut = Some(generation);
    }

    /// The numbering that a stream has in a life of the server.
    pub fn epoch(&mut self, stream: usize, generation: u32, name: &str) -> Epoch {
        let record = &mut self.records[stream];
        let epoch = record.named(name);
        let epochs = record.of_generation.entry(generation).or_default();
        if !epochs.contains(&epoch) {
            epochs.push(epoch);
        }
        epoch
    }

    /// A reader got an event.
    pub fn delivered(&mut self, stream: usize, epoch: Option<Epoch>, given: Given, finding: Finding) {
        self.tally.delivered += 1;
        self.count(finding);
        if self.is_altered(given) {
            self.tally.altered += 1;
        } else if let Some(epoch) = epoch {
            self.records[stream].place(epoch, given.offset, given.mark, &mut self.tally);
        }
    }

    /// A reader got a notice.
    pub fn told(&mut self, gap: Gap, finding: Finding) {
        self.tally.told += gap.count;
        self.count(finding);
    }

    fn count(&mut self, finding: Finding) {
        match finding {
            Finding::Right => {}
            Finding::Repeated => self.tally.repeated += 1,
            Finding::Untold(count) => self.tally.untold += count,
            Finding::Miscounted => self.tally.miscounted += 1,
        }
    }

    /// To be taken before a scan is asked for: what is promised until then has to be in it.
    pub fn bookmark(&self, stream: usize) -> Bookmark {
        Bookmark(self.records[stream].promises.len())
    }

    /// The newest events of a stream by offset, at most `limit`, as they are stored.
    pub fn scanned(&mut self, stream: usize, generation: u32, limit: u64, bookmark: Bookmark, stored: &[Given]) {
        self.tally.scans += 1;
        let altered = stored.iter().filter(|given| self.is_altered(**given)).count();
        self.tally.altered += altered as u64;
        let record = &mut self.records[stream];
        record.check_shape(limit, stored, &mut self.tally);
        record.check_promises(self.last_cut, limit, stored, bookmark, &mut self.tally);
        if let Some([epoch]) = record.of_generation.get(&generation).map(Vec::as_slice) {
            let epoch = *epoch;
            for given in stored {
                record.place(epoch, given.offset, given.mark, &mut self.tally);
            }
        }
    }

    /// At the end: the places that publishers were told, against what readers saw there.
    pub fn settle(&mut self) {
        for record in &mut self.records {
            record.settle(&mut self.tally);
        }
    }

    fn is_altered(&self, given: Given) -> bool {
        let prints = self.prints.get(usize::from(given.mark.publisher));
        let print = prints.and_then(|prints| prints.get(given.mark.number as usize));
        print != Some(&given.print)
    }
}

impl Record {
    fn named(&mut self, name: &str) -> Epoch {
        let known = self.epochs.iter().position(|known| known == name);
        Epoch(known.unwrap_or_else(|| {
            self.epochs.push(name.to_owned());
            self.epochs.len() - 1
        }))
    }

    /// An event is at a place: nothing else may be there, nor the event at another.
    fn place(&mut self, epoch: Epoch, offset: u64, mark: Mark, tally: &mut Tally) {
        let there = *self.contents.entry((epoch, offset)).or_insert(mark);
        if there != mark {
            tally.swapped += u64::from(self.disputed.insert((epoch, offset)));
            return;
        }
        let before = self.places.insert(mark, (epoch, offset));
        if before.is_some_and(|(known, place)| known == epoch && place != offset) {
            tally.duplicated += u64::from(self.doubled.insert(mark));
        }
    }

    /// Rising by one, as many as there have to be, none twice.
    fn check_shape(&mut self, limit: u64, stored: &[Given], tally: &mut Tally) {
        for pair in stored.windows(2) {
            match pair[1].offset.checked_sub(pair[0].offset) {
                Some(1) => {}
                Some(step @ 2..) => tally.stored_holes += step - 1,
                _ => tally.swapped += 1,
            }
        }
        let head = stored.last().map_or(0, |given| given.offset);
        let wanted = limit.min(self.capacity).min(head);
        tally.stored_short += wanted.saturating_sub(stored.len() as u64);
        let mut marks = HashSet::with_capacity(stored.len());
        for given in stored {
            if !marks.insert(given.mark) {
                tally.duplicated += u64::from(self.doubled.insert(given.mark));
            }
        }
    }

    fn check_promises(
        &mut self,
        last_cut: Option<u32>,
        limit: u64,
        stored: &[Given],
        until: Bookmark,
        tally: &mut Tally,
    ) {
        let marks: HashMap<u64, Mark> = stored.iter().map(|given| (given.offset, given.mark)).collect();
        let head = stored.last().map_or(0, |given| given.offset);
        let lowest = stored.first().map_or(u64::MAX, |given| given.offset);
        let is_whole = (stored.len() as u64) < limit;
        let kept_after = head.saturating_sub(self.capacity);
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
            let is_due = promise.offset > kept_after && (is_whole || promise.offset >= lowest);
            if !holds || !is_due || marks.get(&promise.offset) == Some(&promise.mark) {
                continue;
            }
            promise.is_broken = true;
            match promise.level {
                Level::Durable => tally.lost_durable += 1,
                Level::Written | Level::Accepted => tally.lost_written += 1,
            }
        }
    }

    fn settle(&mut self, tally: &mut Tally) {
        for promise in std::mem::take(&mut self.promises) {
            let epochs = self.of_generation.get(&promise.generation).cloned().unwrap_or_default();
            match epochs[..] {
                [epoch] => self.place(epoch, promise.offset, promise.mark, tally),
                // Nobody learned how the stream was numbered then, so it stands alone.
                [] => {
                    let alone = self.named(&format!("life {}", promise.generation));
                    self.place(alone, promise.offset, promise.mark, tally);
                }
                // It changed meanwhile: one of them has to agree.
                _ => {
                    let agrees = |epoch: &Epoch| {
                        let there = self.contents.get(&(*epoch, promise.offset));
                        there.is_none_or(|mark| *mark == promise.mark)
                    };
                    if !epochs.iter().any(agrees) {
                        tally.swapped += u64::from(self.disputed.insert((epochs[0], promise.offset)));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
