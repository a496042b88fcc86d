//! Remembers what the server said and gave, and finds where that contradicts its promises.
//!
//! A plain machine, fed by publishers, readers and scans; knows no wire and no clock. Contents are
//! remembered as prints. Invariant: each contradiction is counted once, however many saw it.

mod record;
mod tally;
pub mod view;

pub use record::Nature;
pub use tally::Tally;

use record::Record;
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

/// What a stream was found to have.
///
/// Events may have been published while it was looked through, from the newest backwards. What had
/// to make room for them may not have been there any more when its turn came.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    /// The newest ones by offset.
    pub events: &'a [Given],
    /// So many at most.
    pub limit: u64,
    /// The newest offset after that.
    pub head_after: u64,
}

impl Stored<'_> {
    fn head(&self) -> u64 {
        self.events.last().map_or(0, |given| given.offset)
    }
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
    /// In which life of the server it was first asked for.
    pub since: u32,
    /// Which life of the server answered.
    pub generation: u32,
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
    /// For streams like these.
    pub fn new(natures: impl IntoIterator<Item = Nature>) -> Self {
        Self {
            records: natures.into_iter().map(Record::new).collect(),
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
        self.records[stream].promise(&ack);
    }

    /// The power was cut at the end of this life of the server.
    pub fn power_cut(&mut self, generation: u32) {
        self.last_cut = Some(generation);
    }

    /// The numbering that a stream has in a life of the server.
    pub fn epoch(&mut self, stream: usize, generation: u32, name: &str) -> Epoch {
        self.records[stream].epoch(generation, name, &mut self.tally)
    }

    /// A reader got an event.
    pub fn delivered(&mut self, stream: usize, epoch: Option<Epoch>, given: Given, finding: Finding) {
        self.tally.delivered += 1;
        self.count(stream, finding, || format!("the event at {}", given.offset));
        if self.is_altered(given) {
            self.tally.altered += 1;
        } else if let Some(epoch) = epoch {
            self.records[stream].place(epoch, given.offset, given.mark, &mut self.tally);
        }
    }

    /// A reader got a notice.
    pub fn told(&mut self, stream: usize, gap: Gap, finding: Finding) {
        self.tally.told += gap.count;
        self.count(stream, finding, || format!("{gap:?}"));
    }

    fn count(&mut self, stream: usize, finding: Finding, what: impl FnOnce() -> String) {
        if finding != Finding::Right {
            let name = self.records[stream].name();
            self.tally.note(|| format!("{finding:?} in {name}: {}", what()));
        }
        match finding {
            Finding::Right => {}
            Finding::Repeated => self.tally.repeated += 1,
            Finding::Untold(count) => self.tally.untold += count,
            Finding::Miscounted => self.tally.miscounted += 1,
        }
    }

    /// To be taken before a scan is asked for: what is promised until then has to be in it.
    pub fn bookmark(&self, stream: usize) -> Bookmark {
        Bookmark(self.records[stream].promise_count())
    }

    /// What a scan found, in the order of offsets.
    pub fn scanned(&mut self, stream: usize, generation: u32, bookmark: Bookmark, stored: &Stored<'_>) {
        self.tally.scans += 1;
        let altered = stored.events.iter().filter(|given| self.is_altered(**given)).count();
        self.tally.altered += altered as u64;
        let record = &mut self.records[stream];
        record.check_shape(stored, &mut self.tally);
        record.check_promises(self.last_cut, stored, bookmark, &mut self.tally);
        record.place_stored(generation, stored.events, &mut self.tally);
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

#[cfg(test)]
mod tests;
