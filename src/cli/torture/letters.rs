//! What one publisher sends, one request after the other: single events and batches, with keys or
//! without, asking for a level or leaving it to the stream.
//!
//! Pure. Invariant: all of it follows from the seed and the publisher's number, whatever the server
//! does meanwhile.

use crate::cli::torture::arena::{Kind, Stream, rng};
use crate::cli::torture::oracle::{Level, Mark, print};
use crate::cli::torture::wire;
use rand::RngExt;
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;

/// Largest batch.
const BATCH: u32 = 20;
/// Characters after which padding repeats itself.
const BLOCK: usize = 64;

/// A request, which may be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The stream, by its place in the list.
    pub stream: usize,
    /// The events with the prints of their contents.
    pub events: Vec<(Mark, u64)>,
    /// Where it goes.
    pub address: String,
    /// What it says.
    pub body: String,
    /// By which it is known again; without one it must not be sent again.
    pub key: Option<String>,
    /// The least that the answer has to say; nothing if it need not say anything.
    pub wanted: Option<Level>,
    /// Whether it is to be sent once more although it was answered.
    pub is_repeated: bool,
}

/// A publisher's letters.
pub struct Letters {
    rng: StdRng,
    seed: u64,
    publisher: u16,
    sent: u32,
}

impl Letters {
    /// From the first.
    pub fn new(seed: u64, publisher: u16) -> Self {
        Self {
            rng: rng(seed, "publisher", publisher.into()),
            seed,
            publisher,
            sent: 0,
        }
    }

    /// Events so far.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// The next one, to one of these streams.
    pub fn write(&mut self, company: &str, streams: &[Stream]) -> Letter {
        let stream = self.rng.random_range(0..streams.len());
        let kind = streams[stream].kind;
        let is_batch = self.rng.random_bool(0.2);
        let count = if is_batch { self.rng.random_range(1..=BATCH) } else { 1 };
        let is_keyed = self.rng.random_bool(0.7);
        let key = is_keyed.then(|| format!("torture-{}-{}-{}", self.seed, self.publisher, self.sent));
        let asked = self.level(kind);
        let (mut events, mut contents) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mark = Mark {
                publisher: self.publisher,
                number: self.sent,
            };
            self.sent += 1;
            let content = wire::elems(mark, &self.padding(kind.padding));
            events.push((mark, print(&content)));
            contents.push(content);
        }
        Letter {
            stream,
            events,
            address: wire::publish_address(company, &streams[stream].id, asked),
            body: wire::publish_body(&contents, is_batch),
            wanted: asked.or(is_keyed.then_some(kind.level)),
            is_repeated: is_keyed && self.rng.random_bool(0.05),
            key,
        }
    }

    /// Mostly some level; what is not kept cannot be made safe.
    fn level(&mut self, kind: &Kind) -> Option<Level> {
        let level = match self.rng.random_range(0..4) {
            _ if kind.capacity == 0 => Level::Accepted,
            _ if kind.is_firm => Level::Durable,
            0 => Level::Accepted,
            1 => Level::Written,
            _ => Level::Durable,
        };
        self.rng.random_bool(0.7).then_some(level)
    }

    /// Random characters, the same ones over and over if it is long.
    fn padding(&mut self, longest: usize) -> String {
        let length = self.rng.random_range(0..=longest);
        let characters = (&mut self.rng).sample_iter(Alphanumeric).map(char::from);
        let block: Vec<char> = characters.take(BLOCK).collect();
        block.into_iter().cycle().take(length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::torture::arena::KINDS;

    fn written(seed: u64, publisher: u16) -> Vec<Letter> {
        let stream = |kind: &'static Kind| Stream {
            id: kind.name.to_owned(),
            kind,
        };
        let streams: Vec<Stream> = KINDS.iter().map(stream).collect();
        let mut letters = Letters::new(seed, publisher);
        (0..300).map(|_| letters.write("a", &streams)).collect()
    }

    #[test]
    fn the_same_seed_writes_the_same_letters() {
        assert!(written(1, 2) == written(1, 2));
        assert!(written(1, 2) != written(1, 3) && written(1, 2) != written(2, 2));
    }

    #[test]
    fn every_event_has_its_own_number_and_every_request_its_own_key() {
        let letters = written(1, 2);
        let marks = letters
            .iter()
            .flat_map(|letter| &letter.events)
            .map(|(mark, _)| mark.number);
        assert!(marks.enumerate().all(|(number, mark)| number == mark as usize));
        let keys: std::collections::HashSet<_> = letters.iter().filter_map(|letter| letter.key.as_ref()).collect();
        let keyed = letters.iter().filter(|letter| letter.key.is_some()).count();
        assert_eq!(keys.len(), keyed);
        assert!(keyed > 150 && keyed < 250, "{keyed}");
        assert!(letters.iter().all(|letter| letter.key.is_some() || !letter.is_repeated));
    }
}
