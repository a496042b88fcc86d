//! The ledger against a plain model: whatever is published, failed, settled, deleted or changed in
//! whatever order, it numbers without holes, reads what is kept, and lets go of nothing unsettled.

use super::*;
use crate::domain::event::Stamp;
use crate::domain::id::SYSTEM;
use crate::domain::payload::Payload;
use crate::domain::stream::Rules;
use proptest::prelude::*;
use std::collections::BTreeSet;

const STREAMS: u8 = 3;

fn stream(number: u8, capacity: u64) -> Stream {
    Stream {
        id: StreamId::new([number; 12]),
        path: Path::parse("/acme/door").expect("a path"),
        description: String::new(),
        capacity,
        rules: Rules::default(),
        creator: SYSTEM,
        created_ms: 0,
        edited: None,
    }
}

fn draft(bytes: usize) -> Draft {
    let elems = Payload::stored(format!("{{\"x\":\"{}\"}}", "x".repeat(bytes)).into());
    Draft { elems, hash: None }
}

fn publish(ledger: &mut Ledger, stream: &Stream, count: u64, created_ms: u64) -> Vec<Arc<Event>> {
    let number = |_| ledger.number(stream, SYSTEM, created_ms, Stamp::UNKNOWN, draft(1));
    let events: Vec<Arc<Event>> = (0..count).map(number).collect();
    events.iter().for_each(|event| ledger.take(event));
    events
}

fn offsets(reading: Reading) -> Vec<u64> {
    match reading {
        Reading::Here(page) => page.events.iter().map(|event| event.offset.0).collect(),
        Reading::Stored { from, to } => panic!("{from} to {to} are in chunks"),
    }
}

fn stored(reading: &Reading) -> Option<(u64, u64)> {
    match reading {
        Reading::Here(_) => None,
        Reading::Stored { from, to } => Some((from.0, to.0)),
    }
}

/// What may happen to a stream.
#[derive(Clone, Debug)]
enum Happening {
    /// So many events of so many bytes are numbered and taken, or fail and are taken back.
    Publish(u64, usize, bool),
    /// A piece of about so many bytes is written.
    Settle(usize),
    /// A settled event is deleted, so far from the newest.
    Remove(u64),
    /// All but the newest few go.
    Raise(u64),
    Adjust(u64),
    Forget,
    /// Something is shown that a crash takes back; the disk is told of it, or later.
    Weaken(bool),
    /// What is quiet is firm.
    FirmUp,
    /// The list of what is unsettled is taken.
    TakeUnsettled,
}

fn happenings() -> impl Strategy<Value = Vec<(u8, Happening)>> {
    use Happening::{Adjust, FirmUp, Forget, Publish, Raise, Remove, Settle, TakeUnsettled, Weaken};
    let any = prop_oneof![
        6 => (1..6_u64, 0..60_usize, any::<bool>()).prop_map(|(count, bytes, fails)| Publish(count, bytes, fails)),
        4 => (1..200_usize).prop_map(Settle),
        2 => (0..12_u64).prop_map(Remove),
        1 => (0..12_u64).prop_map(Raise),
        1 => (0..9_u64).prop_map(Adjust),
        1 => Just(Forget),
        2 => any::<bool>().prop_map(Weaken),
        1 => Just(FirmUp),
        2 => Just(TakeUnsettled),
    ];
    proptest::collection::vec((0..STREAMS, any), 1..150)
}

/// A stream as anybody would write it down.
#[derive(Clone, Default)]
struct Plain {
    capacity: u64,
    head: u64,
    first: u64,
    settled: u64,
    /// Everything from `first` on that was not deleted.
    live: BTreeSet<u64>,
    stored: bool,
    loose: bool,
    loosened_ms: u64,
}

impl Plain {
    fn new(capacity: u64) -> Self {
        let first = 1;
        Self {
            capacity,
            first,
            ..Self::default()
        }
    }

    fn let_go(&mut self) {
        self.first = self.first.max((self.head + 1).saturating_sub(self.capacity));
        self.live = self.live.split_off(&self.first);
    }
}

struct World {
    ledger: Ledger,
    max_bytes: usize,
    plain: Vec<Plain>,
    /// What is in memory, oldest arrival first, with its weight.
    memory: Vec<(u8, u64, usize)>,
    noted: BTreeSet<u8>,
    /// How often each stream went and another took its part.
    forgotten: [u8; STREAMS as usize],
    now_ms: u64,
}

impl World {
    fn new(max_bytes: usize, capacities: [u64; STREAMS as usize]) -> Self {
        let mut world = Self {
            ledger: Ledger::new(max_bytes),
            max_bytes,
            plain: capacities.into_iter().map(Plain::new).collect(),
            memory: Vec::new(),
            noted: BTreeSet::new(),
            forgotten: [0; STREAMS as usize],
            now_ms: 0,
        };
        for at in 0..STREAMS {
            let stream = world.stream(at);
            world.ledger.open(&stream);
        }
        world
    }

    fn id(&self, at: u8) -> StreamId {
        let mut bytes = [at; 12];
        bytes[1] = self.forgotten[usize::from(at)];
        StreamId::new(bytes)
    }

    fn stream(&self, at: u8) -> Stream {
        Stream {
            id: self.id(at),
            ..stream(at, self.plain[usize::from(at)].capacity)
        }
    }

    fn happen(&mut self, at: u8, happening: &Happening) {
        self.now_ms += 1;
        let id = self.id(at);
        let plain = &mut self.plain[usize::from(at)];
        match *happening {
            Happening::Publish(count, bytes, fails) => self.publish(at, count, bytes, fails),
            Happening::Settle(max_bytes) => self.settle(at, max_bytes),
            Happening::Remove(back) => {
                let offset = plain.head.saturating_sub(back);
                if offset <= plain.settled {
                    plain.live.remove(&offset);
                    self.memory.retain(|entry| (entry.0, entry.1) != (at, offset));
                    self.ledger.remove(&id, Offset(offset));
                }
            }
            Happening::Raise(newest) => {
                let first = (plain.head + 1).saturating_sub(newest);
                if first > plain.first {
                    plain.first = first;
                    self.noted.insert(at);
                }
                self.ledger.raise_first(&id, Offset(first));
                self.trim(at);
            }
            Happening::Adjust(capacity) => {
                if capacity != plain.capacity {
                    plain.capacity = capacity;
                    if plain.stored {
                        self.noted.insert(at);
                    }
                }
                let stream = self.stream(at);
                self.ledger.adjust(&stream);
                self.trim(at);
            }
            Happening::Forget => {
                *plain = Plain::new(plain.capacity);
                self.memory.retain(|entry| entry.0 != at);
                self.noted.remove(&at);
                self.ledger.forget(&id);
                self.forgotten[usize::from(at)] = self.forgotten[usize::from(at)].wrapping_add(1);
                let stream = self.stream(at);
                self.ledger.open(&stream);
            }
            Happening::Weaken(told) => self.weaken(at, told),
            Happening::FirmUp => self.firm_up(),
            Happening::TakeUnsettled => {
                let mut taken: Vec<StreamId> = self.ledger.take_unsettled().into();
                taken.retain(|stream| self.ledger.view(stream).is_some());
                taken.sort();
                let noted = std::mem::take(&mut self.noted).into_iter();
                assert_eq!(taken, noted.map(|at| self.id(at)).collect::<Vec<_>>());
            }
        }
    }

    fn publish(&mut self, at: u8, count: u64, bytes: usize, fails: bool) {
        let id = self.id(at);
        let stream = self.stream(at);
        let events: Vec<Arc<Event>> = (0..count)
            .map(|_| {
                self.ledger
                    .number(&stream, SYSTEM, self.now_ms, Stamp::UNKNOWN, draft(bytes))
            })
            .collect();
        let plain = &mut self.plain[usize::from(at)];
        let numbers: Vec<u64> = events.iter().map(|event| event.offset.0).collect();
        assert_eq!(numbers, (plain.head + 1..=plain.head + count).collect::<Vec<_>>());
        assert_eq!(self.ledger.numbered(&id).0, plain.head + count);
        if fails {
            self.ledger.unnumber(&id);
            return;
        }
        for event in &events {
            self.ledger.take(event);
            let plain = &mut self.plain[usize::from(at)];
            plain.head += 1;
            if plain.capacity == 0 {
                plain.first = plain.head + 1;
                continue;
            }
            plain.live.insert(plain.head);
            self.memory.push((at, plain.head, event.weight()));
            self.noted.insert(at);
            self.trim(at);
            self.drop_oldest();
        }
    }

    fn trim(&mut self, at: u8) {
        let plain = &mut self.plain[usize::from(at)];
        plain.let_go();
        let first = plain.first;
        self.memory
            .retain(|(owner, offset, _)| *owner != at || *offset >= first);
    }

    fn bytes(&self) -> usize {
        self.memory.iter().map(|(_, _, weight)| weight).sum()
    }

    /// The oldest arrival goes first, unless only memory has it.
    fn drop_oldest(&mut self) {
        while self.bytes() > self.max_bytes {
            let (at, offset, _) = self.memory[0];
            if offset > self.plain[usize::from(at)].settled {
                return;
            }
            self.memory.remove(0);
        }
    }

    fn settle(&mut self, at: u8, max_bytes: usize) {
        let id = self.id(at);
        let plain = &mut self.plain[usize::from(at)];
        let (piece, has_more) = self.ledger.piece(&id, max_bytes).expect("it is known");
        let unsettled: Vec<u64> = plain.live.range(plain.settled + 1..).copied().collect();
        let got: Vec<u64> = piece.events.iter().map(|event| event.offset.0).collect();
        assert!(unsettled.starts_with(&got), "{got:?} of {unsettled:?}");
        assert_eq!(has_more, got.len() < unsettled.len());
        assert_eq!(got.is_empty(), unsettled.is_empty());
        let to = if has_more { got[got.len() - 1] } else { plain.head };
        assert_eq!((piece.place.head.0, piece.place.first.0), (to, plain.first));
        plain.settled = to;
        plain.stored = true;
        plain.loose = piece.place.loose;
        self.ledger.confirm(&piece.place);
        self.ledger.settle(&id, piece.place.head);
        self.drop_oldest();
    }

    fn weaken(&mut self, at: u8, told: bool) {
        let id = self.id(at);
        let plain = &mut self.plain[usize::from(at)];
        // The log shows nothing unsynced of a stream before the disk knows that it may go.
        if plain.stored || told {
            let news = self.ledger.news(&id, true);
            assert_eq!(news.is_some(), !plain.stored || !plain.loose);
            if let Some(place) = news {
                assert!(place.loose);
                self.ledger.confirm(&place);
                (plain.stored, plain.loose) = (true, true);
            }
        }
        self.ledger.weaken(&id, self.now_ms);
        plain.loosened_ms = self.now_ms;
        plain.loose |= !plain.stored && plain.capacity > 0;
        if plain.stored {
            self.noted.insert(at);
        }
    }

    fn firm_up(&mut self) {
        let before_ms = self.now_ms.saturating_sub(5);
        let mut firm: Vec<StreamId> = self
            .ledger
            .firm_up(before_ms)
            .iter()
            .map(|place| place.stream)
            .collect();
        firm.sort();
        let mut wanted = Vec::new();
        for (at, plain) in (0..STREAMS).zip(&mut self.plain) {
            if plain.loose && plain.loosened_ms <= before_ms {
                plain.loose = false;
                self.noted.insert(at);
                wanted.push(at);
            }
        }
        assert_eq!(firm, wanted.into_iter().map(|at| self.id(at)).collect::<Vec<_>>());
    }

    fn check(&self) {
        assert_eq!(self.ledger.kept(), (self.memory.len(), self.bytes()));
        assert_eq!(self.ledger.has_loose(), self.plain.iter().any(|plain| plain.loose));
        for (at, plain) in (0..STREAMS).zip(&self.plain) {
            let view = self.ledger.view(&self.id(at)).expect("it is known");
            let seen = (view.head.0, view.first.0, view.settled.0);
            assert_eq!(seen, (plain.head, plain.first, plain.settled));
            assert_eq!(self.ledger.numbered(&self.id(at)), view.head);
            assert_eq!(self.ledger.is_unstored(&self.id(at)), !plain.stored);
            assert_eq!(self.ledger.is_free(&self.id(at)), plain.loose || !plain.stored);
            self.check_readings(at, plain);
        }
    }

    fn check_readings(&self, at: u8, plain: &Plain) {
        const MOST: usize = 3;
        let here: BTreeSet<u64> = self
            .memory
            .iter()
            .filter(|entry| entry.0 == at)
            .map(|entry| entry.1)
            .collect();
        for place in 0..=plain.head + 1 {
            let from = (place + 1).max(plain.first);
            let reading = self.ledger.after(&self.id(at), Offset(place), MOST);
            match stored(&reading) {
                Some(range) => {
                    assert_eq!(range, (from, plain.settled));
                    assert!(from <= plain.settled && here.first().is_none_or(|first| *first > from));
                }
                None => {
                    let wanted: Vec<u64> = plain.live.range(from..).take(MOST).copied().collect();
                    assert_eq!(offsets(reading), wanted, "after {place} of stream {at}");
                }
            }
            let reading = self.ledger.before(&self.id(at), Offset(place + 1), MOST);
            match stored(&reading) {
                Some(range) => {
                    assert_eq!(range, (plain.first, place.min(plain.settled)));
                    assert_eq!(here.range(..=place).next(), None);
                }
                None => {
                    // What is older than memory is asked for with the next piece.
                    let wanted: Vec<u64> = here.range(..=place).rev().take(MOST).copied().collect();
                    let mut got = offsets(reading);
                    got.reverse();
                    assert_eq!(got, wanted, "before {} of stream {at}", place + 1);
                    assert!(!got.is_empty() || plain.live.range(..=place).next().is_none());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn it_agrees_with_a_plain_model(
        happenings in happenings(),
        max_bytes in prop_oneof![Just(0), Just(1_500), Just(100_000)],
        capacities in prop_oneof![Just([0, 3, 1_000]), Just([1, 1_000, 1_000])],
    ) {
        let mut world = World::new(max_bytes, capacities);
        for (at, happening) in &happenings {
            world.happen(*at, happening);
            world.check();
        }
    }
}

#[test]
fn a_stream_goes_on_from_what_the_disk_knows() {
    let mut ledger = Ledger::new(usize::MAX);
    let door = stream(1, 1_000);
    let place = Place {
        stream: door.id,
        epoch: Epoch::new(7),
        head: Offset(10),
        first: Offset(4),
        loose: false,
    };
    ledger.restore(&door, &place);
    ledger.restore_settled(&door.id);
    assert_eq!(stored(&ledger.after(&door.id, Offset(0), 9)), Some((4, 10)));
    // The journal tells what chunks have already once more, and what they have not.
    for offset in 9..=12 {
        let stored = Stored {
            offset: Offset(offset),
            creator: SYSTEM,
            created_ms: 5,
            draft: draft(1),
        };
        ledger.restore_event(&door, stored);
    }
    assert_eq!(offsets(ledger.after(&door.id, Offset(10), 9)), [11, 12]);
    assert_eq!(publish(&mut ledger, &door, 1, 6)[0].offset, Offset(13));
    assert_eq!(
        ledger.place(&door.id).map(|place| (place.epoch, place.first)),
        Some((Epoch::new(7), Offset(4)))
    );
    assert!(!ledger.is_unstored(&door.id) && !ledger.is_free(&door.id));
}

#[test]
fn names_of_events_are_of_their_epoch() {
    let mut ledger = Ledger::new(usize::MAX);
    let door = stream(1, 1_000);
    let before = publish(&mut ledger, &door, 1, 0)[0].id;
    ledger.weaken(&door.id, 0);
    let ended = ledger.end_loose_epochs();
    let view = ledger.view(&door.id).expect("it is known");
    assert_eq!(ended.iter().map(|place| place.epoch).collect::<Vec<_>>(), [view.epoch]);
    assert!(!ended[0].loose && !ledger.has_loose());
    let after = publish(&mut ledger, &door, 1, 0)[0].id;
    assert_eq!(after, EventId::at(Stem::of(&door.id, view.epoch), Offset(2)));
    assert_ne!(before, EventId::at(Stem::of(&door.id, view.epoch), Offset(1)));
    assert_eq!(ledger.end_loose_epochs(), []);
    assert_eq!(ledger.end_all_epochs().len(), 1);
    assert_ne!(ledger.view(&door.id).map(|now| now.epoch), Some(view.epoch));
}

#[test]
fn nobody_overtakes_what_waits_for_the_disk() {
    let mut ledger = Ledger::new(usize::MAX);
    let door = stream(1, 1_000);
    ledger.open(&door);
    assert!(ledger.is_free(&door.id));
    ledger.wait(&door.id, 2);
    ledger.wait_no_more(&door.id, 1);
    assert!(!ledger.is_free(&door.id));
    // What waits is not quiet, however long ago something was shown.
    ledger.weaken(&door.id, 0);
    assert_eq!(ledger.firm_up(u64::MAX), []);
    ledger.wait_no_more(&door.id, 1);
    assert!(ledger.is_free(&door.id));
    assert_eq!(ledger.firm_up(u64::MAX).len(), 1);
}

#[test]
fn the_disk_is_told_before_something_is_shown_and_only_then() {
    let mut ledger = Ledger::new(usize::MAX);
    let door = stream(1, 1_000);
    assert_eq!(ledger.news(&door.id, true), None, "nothing is known of it");
    ledger.open(&door);
    let firm = ledger.news(&door.id, false).expect("news");
    assert!(!firm.loose);
    ledger.confirm(&firm);
    assert_eq!(ledger.news(&door.id, false), None);
    let loose = ledger.news(&door.id, true).expect("news");
    assert!(loose.loose && !ledger.has_loose());
    ledger.confirm(&loose);
    assert!(ledger.has_loose());
    assert_eq!(ledger.news(&door.id, true), None);
}

#[test]
fn the_first_event_of_a_time_is_found_in_memory() {
    let mut ledger = Ledger::new(usize::MAX);
    let door = stream(1, 1_000);
    for (count, created_ms) in [(2, 10), (3, 20)] {
        publish(&mut ledger, &door, count, created_ms);
    }
    for (time_ms, found) in [
        (0, Some((1, false))),
        (10, Some((1, false))),
        (11, Some((3, true))),
        (21, None),
    ] {
        let since = ledger.first_since(&door.id, time_ms);
        assert_eq!(since.map(|(offset, older)| (offset.0, older)), found, "{time_ms}");
    }
}

/// What is dropped leaves entries behind; they go before they are more than what is kept.
#[test]
fn the_order_of_arrival_does_not_grow_with_what_has_gone() {
    let mut ledger = Ledger::new(usize::MAX);
    let door = stream(1, 2);
    for _ in 0..100 {
        publish(&mut ledger, &door, 100, 0);
        assert!(ledger.arrivals.len() <= 2 * 2 + 1_024 + 1, "{}", ledger.arrivals.len());
    }
    assert_eq!(ledger.kept().0, 2);
}
