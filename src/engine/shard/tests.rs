//! The shard against a model: whatever is published, drained, missed or forgotten in whatever
//! order, each connection is given every event after its subscription, or told that it is gone.

use super::*;
use crate::domain::event::{Draft, Stamp, Wire};
use crate::domain::id::SYSTEM;
use crate::domain::path::Path;
use crate::domain::payload::Payload;
use crate::domain::position::Position;
use crate::domain::stream::{Rules, Stream};
use crate::engine::filter::Filter;
use crate::engine::ledger::{Ledger, Page, Reading};
use crate::engine::resume::Resume;
use proptest::prelude::*;
use std::collections::HashMap;
use std::io::IoSlice;

const TOKEN: TokenKey = TokenKey([0; 8]);
const CONNECTIONS: usize = 3;
/// Bytes of an event's frame here, and of a gap's.
const FRAME: usize = 18;
const OUTBOX: usize = 6 * FRAME;
/// Whoever has a filter wants every third event.
const THIRD: u64 = 3;

/// Frames that a test can read back: a letter, the stream, two numbers.
static DIALECT: Dialect = Dialect {
    wire: Wire::Session,
    event: |event| frame(b'E', &event.stream, event.offset, event.offset),
    gap: |stream, _, gap| frame(b'G', stream, gap.from, gap.to),
};

fn frame(letter: u8, stream: &StreamId, from: Offset, to: Offset) -> Bytes {
    let mut bytes = vec![letter, stream.bytes()[0]];
    bytes.extend(from.0.to_be_bytes());
    bytes.extend(to.0.to_be_bytes());
    Bytes::from(bytes)
}

/// What may happen; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Happening {
    /// Some events are published to a stream and reach the worker's mailbox.
    Publish(u8, u8),
    /// As above, but the mailbox is full.
    Miss(u8, u8),
    /// The worker looks into its mailbox.
    Deliver,
    /// The worker asks for a page for whoever is behind, which comes later.
    Ask,
    /// The worker reads pages for whoever is behind.
    Read,
    /// A connection's socket takes some bytes.
    Drain(usize, usize),
    /// A connection follows a stream from so many events before its head, slow in some way, and
    /// wants all of it or every third event.
    Subscribe(usize, u8, u64, WhenSlow, bool),
    Unsubscribe(usize, u8),
    /// A connection's reader says where it is in a stream: so many events before its head, or else beyond it,
    /// as who knows another numbering may.
    GoBack(usize, u8, Option<u64>),
}

fn when_slow() -> impl Strategy<Value = WhenSlow> {
    prop_oneof![Just(WhenSlow::CatchUp), Just(WhenSlow::Latest), Just(WhenSlow::Drop)]
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let any = prop_oneof![
        4 => (0..2_u8, 1..9_u8).prop_map(|(stream, count)| Happening::Publish(stream, count)),
        1 => (0..2_u8, 1..9_u8).prop_map(|(stream, count)| Happening::Miss(stream, count)),
        4 => Just(Happening::Deliver),
        2 => Just(Happening::Ask),
        3 => Just(Happening::Read),
        4 => (0..CONNECTIONS, 1..200_usize).prop_map(|(at, bytes)| Happening::Drain(at, bytes)),
        2 => (0..CONNECTIONS, 0..2_u8, 0..20_u64, when_slow(), any::<bool>())
            .prop_map(|(at, stream, back, slow, all)| Happening::Subscribe(at, stream, back, slow, all)),
        1 => (0..CONNECTIONS, 0..2_u8).prop_map(|(at, stream)| Happening::Unsubscribe(at, stream)),
        2 => (0..CONNECTIONS, 0..2_u8, proptest::option::weighted(0.9, 0..20_u64))
            .prop_map(|(at, stream, back)| Happening::GoBack(at, stream, back)),
    ];
    proptest::collection::vec(any, 1..120)
}

struct World {
    shard: Shard<()>,
    ledger: Ledger,
    capacities: [u64; 2],
    mail: Vec<Arc<Event>>,
    missed: bool,
    /// What was read of the log and has not come yet.
    pages: Vec<(Read, Vec<Arc<Event>>)>,
    keys: Vec<ConnectionKey>,
    /// What each connection has received and not yet been checked for.
    received: Vec<Vec<u8>>,
    /// What each subscription must account for.
    expected: HashMap<(usize, u8), Expected>,
}

/// The next place that a subscription must account for, and which ones it wants.
#[derive(Clone, Copy)]
struct Expected {
    next: u64,
    all: bool,
}

impl Expected {
    fn wants(&self, place: u64) -> bool {
        self.all || place.is_multiple_of(THIRD)
    }

    /// Nothing is said of places before `place` that are not wanted.
    fn passes_over(&self, place: u64) -> bool {
        self.next <= place && (self.next..place).all(|passed| !self.wants(passed))
    }
}

impl World {
    fn new(capacities: [u64; 2]) -> Self {
        let mut shard = Shard::new(OUTBOX);
        let keys = (0..CONNECTIONS)
            .map(|_| shard.open(|_| (), &DIALECT, TOKEN, Moment(0)))
            .collect();
        Self {
            shard,
            ledger: Ledger::new(usize::MAX),
            capacities,
            mail: Vec::new(),
            missed: false,
            pages: Vec::new(),
            keys,
            received: vec![Vec::new(); CONNECTIONS],
            expected: HashMap::new(),
        }
    }

    fn stream(&self, stream: u8) -> Stream {
        Stream {
            id: StreamId::new([stream; 12]),
            path: Path::parse("/acme/door").expect("a path"),
            description: String::new(),
            capacity: self.capacities.get(usize::from(stream)).copied().unwrap_or(0),
            rules: Rules::default(),
            creator: SYSTEM,
            created_ms: 0,
            edited: None,
        }
    }

    fn publish(&mut self, stream: u8, count: u8) -> Vec<Arc<Event>> {
        let stream = self.stream(stream);
        let mut events = Vec::new();
        for _ in 0..count {
            let place = self.ledger.numbered(&stream.id).next();
            let elems = Payload::stored(format!(r#"{{"place":{place}}}"#).into());
            let event = self
                .ledger
                .number(&stream, SYSTEM, 0, Stamp::UNKNOWN, Draft { elems, hash: None });
            self.ledger.take(&event);
            events.push(event);
        }
        events
    }

    fn page(&self, stream: &StreamId, after: Offset) -> Page {
        match self.ledger.after(stream, after, 4) {
            Reading::Here(page) => page,
            Reading::Stored { .. } => unreachable!("nothing is settled"),
        }
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Publish(stream, count) => {
                let events = self.publish(stream, count);
                self.mail.extend(events);
            }
            Happening::Miss(stream, count) => {
                self.publish(stream, count);
                self.missed = true;
            }
            Happening::Deliver => self.deliver(),
            Happening::Ask => self.ask(),
            Happening::Read => self.read(),
            Happening::Drain(at, bytes) => self.drain(at, bytes),
            Happening::Subscribe(at, stream, back, slow, all) => self.follow(at, stream, back, slow, all),
            Happening::Unsubscribe(at, stream) => {
                // What waits for it is still written, so it is accounted for before it ends.
                self.drain(at, usize::MAX);
                self.shard.unsubscribe(self.keys[at], &StreamId::new([stream; 12]));
                self.expected.remove(&(at, stream));
            }
            Happening::GoBack(at, stream, back) => self.go_back(at, stream, back),
        }
    }

    /// What waits is read first, as its reader would otherwise be told of it twice; then all that is after
    /// the place, or is told as gone, whatever was asked for before.
    fn go_back(&mut self, at: usize, stream: u8, back: Option<u64>) {
        self.drain(at, usize::MAX);
        let (id, key) = (StreamId::new([stream; 12]), self.keys[at]);
        let view = self.ledger.open(&self.stream(stream));
        let place = back.map(|back| view.head.0.saturating_sub(back));
        let position = Position {
            epoch: Some(view.epoch),
            offset: Offset(place.unwrap_or(view.head.0 + 1)),
        };
        let resume = Resume::since(&view, position);
        assert_eq!(resume.told.is_some(), place.is_none());
        let follows = self.expected.get_mut(&(at, stream));
        let is_there = self.shard.relocate(key, &id, resume.subscription(&view));
        assert_eq!(is_there, follows.is_some());
        if let Some(expected) = follows {
            expected.next = place.unwrap_or(0) + 1;
            if let Some(gap) = resume.told {
                self.shard.reply(key, (DIALECT.gap)(&id, None, &gap));
            }
        }
    }

    fn deliver(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.shard.deliver(&mut mail);
        if std::mem::take(&mut self.missed) {
            self.shard.doubt_everything();
        }
    }

    /// A page from the disk: it is of now, and comes when others have had their turn.
    fn ask(&mut self) {
        if let Some(read) = self.shard.next_read() {
            let events = match read.part {
                Part::All => self.page(&read.stream, read.after).events,
                Part::Newest | Part::Nothing => Vec::new(),
            };
            self.pages.push((read, events));
        }
    }

    /// How far the stream is, is asked when it comes, as the log does; and what was in
    /// memory is read then.
    fn arrive(&mut self) {
        for (read, events) in std::mem::take(&mut self.pages) {
            let page = match events.last() {
                Some(_) => Page {
                    head: self.ledger.head(&read.stream),
                    events,
                    keeps: true,
                },
                None => self.read_now(&read),
            };
            self.shard.on_page(&read, &page);
        }
    }

    fn read_now(&self, read: &Read) -> Page {
        let head = self.ledger.head(&read.stream);
        match read.part {
            Part::All => self.page(&read.stream, read.after),
            Part::Newest => self.page(&read.stream, head.previous().max(read.after)),
            Part::Nothing => Page {
                events: Vec::new(),
                head,
                keeps: true,
            },
        }
    }

    fn read(&mut self) {
        self.arrive();
        while let Some(read) = self.shard.next_read() {
            let page = self.read_now(&read);
            self.shard.on_page(&read, &page);
        }
    }

    fn subscribe(&mut self, at: usize, stream: u8) {
        self.follow(at, stream, 0, WhenSlow::CatchUp, true);
    }

    fn follow(&mut self, at: usize, stream: u8, back: u64, when_slow: WhenSlow, all: bool) {
        let id = StreamId::new([stream; 12]);
        if !self.shard.subscribes(self.keys[at], &id) {
            let head = self.ledger.open(&self.stream(stream)).head;
            let cursor = Offset(head.0.saturating_sub(back));
            let subscription = if cursor < head {
                Subscription::replay(cursor)
            } else {
                Subscription::live(cursor)
            };
            let third = || Filter::parse(&format!("place % {THIRD} == 0"), 99).expect("a filter");
            let terms = Terms {
                when_slow,
                filter: (!all).then(third),
                name: None,
            };
            self.shard
                .subscribe(self.keys[at], id, subscription, Some(Box::new(terms)));
            let next = cursor.0 + 1;
            self.expected.insert((at, stream), Expected { next, all });
        }
    }

    /// The socket takes up to `bytes`, in writes of what one call can gather.
    fn drain(&mut self, at: usize, mut bytes: usize) {
        while bytes > 0 {
            let connection = self.shard.get_mut(self.keys[at]).expect("a connection");
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = connection.outbox.slices(&mut slices);
            let waiting: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            let count = waiting.len().min(bytes);
            if count == 0 {
                break;
            }
            self.received[at].extend(&waiting[..count]);
            connection.outbox.wrote(count);
            self.shard.has_written(self.keys[at], count);
            bytes -= count;
        }
        self.account(at);
    }

    /// Checks whole frames off: each must begin exactly where its subscription stands.
    fn account(&mut self, at: usize) {
        let whole = self.received[at].len() / FRAME * FRAME;
        let rest = self.received[at].split_off(whole);
        for frame in std::mem::replace(&mut self.received[at], rest).chunks(FRAME) {
            let number = |at: usize| u64::from_be_bytes(frame[at..at + 8].try_into().expect("eight bytes"));
            let (from, to) = (number(2), number(10));
            let expected = self.expected.get_mut(&(at, frame[1])).expect("a subscription");
            let (stream, next) = (frame[1], expected.next);
            assert!(
                expected.passes_over(from),
                "connection {at}, stream {stream}: {from} after {next}"
            );
            assert!(
                frame[0] == b'G' || expected.wants(from),
                "connection {at}, stream {stream}: {from}"
            );
            expected.next = to + 1;
        }
    }

    /// Everybody reads everything that there is.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            self.deliver();
            self.read();
            (0..CONNECTIONS).for_each(|at| self.drain(at, usize::MAX));
        }
        assert!(!self.shard.wants_reads(), "somebody is behind for ever");
        for ((at, stream), expected) in &self.expected {
            let head = self.ledger.head(&StreamId::new([*stream; 12]));
            assert!(
                expected.passes_over(head.0 + 1),
                "connection {at}, stream {stream} ends early"
            );
        }
    }
}

proptest! {
    #[test]
    fn everybody_gets_or_is_told_of_every_event_once_in_order(
        happenings in happenings(),
        capacities in prop_oneof![Just([0, 5]), Just([1, 1_000]), Just([12, 0])],
    ) {
        let mut world = World::new(capacities);
        (1..CONNECTIONS).for_each(|at| world.subscribe(at, 0));
        world.follow(0, 0, 0, WhenSlow::CatchUp, false);
        happenings.iter().for_each(|happening| world.happen(happening));
        world.settle();
    }
}

#[test]
fn an_outbox_never_holds_more_than_its_limit_and_a_reply() {
    let mut world = World::new([1_000, 0]);
    world.subscribe(0, 0);
    for _ in 0..50 {
        let mut events = world.publish(0, 3);
        world.shard.deliver(&mut events);
        world.read();
        let waiting = world.shard.get_mut(world.keys[0]).expect("a connection").outbox.bytes();
        assert!(waiting <= OUTBOX, "{waiting}");
    }
    world.settle();
}

#[test]
fn what_is_closed_leaves_nothing() {
    let mut world = World::new([10, 10]);
    for at in 0..CONNECTIONS {
        world.subscribe(at, 0);
        world.subscribe(at, 1);
    }
    for (at, last) in [(0, false), (1, false), (2, true)] {
        let silent = world.shard.unsubscribe_all(world.keys[at]);
        world.shard.close(world.keys[at]);
        assert_eq!(silent.len(), if last { 2 } else { 0 });
    }
    assert!(!world.shard.listens(&StreamId::new([0; 12])));
    assert_eq!(world.shard.connections().count(), 0);
}

#[test]
fn the_queue_for_pages_holds_each_connection_once() {
    let mut world = World::new([0, 0]);
    let key = world.keys[0];
    for stream in 2..52 {
        let live = Subscription::live(Offset(0));
        world.shard.subscribe(key, StreamId::new([stream; 12]), live, None);
    }
    for _ in 0..100 {
        world.shard.doubt_everything();
        world.shard.reply(key, Bytes::from_static(b"x"));
        world.shard.get_mut(key).expect("a connection").outbox.wrote(1);
        world.shard.has_written(key, 1);
    }
    assert_eq!(world.shard.reads.len(), 1);
    let behind = &world.shard.get_mut(key).expect("a connection").behind;
    assert_eq!(behind.len(), 50);
    world.read();
    assert!(!world.shard.wants_reads());
}

#[test]
fn who_subscribes_in_the_middle_of_a_run_gets_the_rest_of_it() {
    let mut world = World::new([0, 0]);
    world.subscribe(0, 0);
    let mut first = world.publish(0, 2);
    world.subscribe(1, 0);
    first.extend(world.publish(0, 2));
    world.shard.deliver(&mut first);
    world.drain(0, usize::MAX);
    world.drain(1, usize::MAX);
    assert_eq!(world.shard.take_counts().delivered, 6);
    world.settle();
    assert_eq!(world.shard.take_counts().missed, 0);
}

/// Those with the same filter share what it makes of a run, and are given nothing else.
#[test]
fn who_wants_the_same_of_a_run_gets_the_same_bytes() {
    let mut world = World::new([1_000, 0]);
    world.follow(0, 0, 0, WhenSlow::CatchUp, false);
    world.follow(1, 0, 0, WhenSlow::CatchUp, false);
    let mut events = world.publish(0, 7);
    world.shard.deliver(&mut events);
    let mut places = Vec::new();
    for at in 0..2 {
        let outbox = &world.shard.get_mut(world.keys[at]).expect("a connection").outbox;
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = outbox.slices(&mut slices);
        assert_eq!((filled, outbox.bytes()), (1, 2 * FRAME));
        places.push(slices[0].as_ptr());
    }
    assert_eq!(places[0], places[1]);
    assert_eq!(world.shard.take_counts().delivered, 4);
    world.settle();
}

#[test]
fn who_goes_over_is_told_what_they_had_not_got_before() {
    let (from, to) = (StreamId::new([1; 12]), StreamId::new([2; 12]));
    let mut shard: Shard<()> = Shard::new(OUTBOX);
    let keys = [(); 2].map(|()| shard.open(|_| (), &DIALECT, TOKEN, Moment(0)));
    shard.subscribe(keys[0], from, Subscription::replay(Offset(3)), None);
    shard.subscribe(keys[1], from, Subscription::live(Offset(9)), None);
    shard.subscribe(keys[1], to, Subscription::live(Offset(0)), None);
    assert_eq!(
        shard.go_over((&from, Offset(9)), (to, Offset(0))),
        1,
        "one followed both"
    );
    assert_eq!(shard.follower_count(&from), 0);
    assert_eq!(shard.follower_count(&to), 2);
    let mut slices = [IoSlice::new(&[]); 4];
    let filled = shard.get_mut(keys[0]).expect("there").outbox.slices(&mut slices);
    assert_eq!(filled, 1);
    assert_eq!(slices[0][..], frame(b'G', &from, Offset(4), Offset(9)));
    assert!(shard.get_mut(keys[1]).expect("there").outbox.is_empty());
    assert_eq!(shard.take_counts().missed, 6);
}
