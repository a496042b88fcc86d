//! The hot machines at work, each at some sizes: what `machines` times and `counts` counts.
//!
//! A case is made once for a size, and then does one turn of its work as often as it is called. Every
//! turn does the same work, whatever came before. Names, places and texts are made up and fixed, so
//! that two runs do the same.

use bytes::Bytes;
use serde_json::Value;
use slotmap::Key;
use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;
use streamgate::domain::event::{Draft, Event, Frames, Stamp};
use streamgate::domain::id::{EventId, SYSTEM, Stem, StreamId, TokenKey};
use streamgate::domain::path::{CompanyName, Path};
use streamgate::domain::payload::Payload;
use streamgate::domain::position::{Epoch, Offset};
use streamgate::domain::scope::{Scope, ScopeJson, Verb, Verbs};
use streamgate::domain::stream::{Rules, Stream};
use streamgate::engine::connection::ConnectionKey;
use streamgate::engine::filter::{Filter, Subject};
use streamgate::engine::index::{Index, Subscriber};
use streamgate::engine::ledger::Ledger;
use streamgate::engine::outbox::Outbox;
use streamgate::engine::pulse::Moment;
use streamgate::engine::record::Body;
use streamgate::engine::shard::Shard;
use streamgate::engine::subscription::{Step, Subscription};
use streamgate::hub::Hub;
use streamgate::hub::mailbox::Post;
use streamgate::metrics::Metrics;
use streamgate::protocol::frame;
use streamgate::protocol::session::verbs::SPEECH;
use streamgate::protocol::session::wire;

/// More than anything here needs.
const ROOM: usize = 1 << 30;
/// Bytes of an event's `elems` where the size is another.
const ELEMS: usize = 128;

/// Streams in all tables together, where one is found.
pub const FINDS: usize = 100_000;

/// One turn of the work.
pub type Turn = Box<dyn FnMut()>;

/// How a turn's cost grows with the size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// Not, or hardly.
    Level,
    /// As the size does.
    Linear,
}

/// A machine's work.
pub struct Case {
    /// `machine.work`.
    pub name: &'static str,
    /// What the sizes count.
    pub unit: &'static str,
    /// At which it is measured.
    pub sizes: &'static [usize],
    /// What is expected of it.
    pub growth: Growth,
    /// Gets a machine of a size ready.
    pub make: fn(usize) -> Turn,
}

/// All of them.
pub const CASES: &[Case] = &[
    linear("index.walk", "subscribers", &[1, 100, 10_000], index_walk),
    level("index.find", "streams", &[1, 1_000, 100_000], index_find),
    level("index.change", "subscribers", &[1, 100, 10_000], index_change),
    level("subscription.follow", "events", &[1, 64], subscription_follow),
    level("ledger.number", "streams", &[1, 1_000, 100_000], ledger_number),
    linear("outbox.pass", "chunks", &[1, 16, 256], outbox_pass),
    linear("frame.text", "bytes", &[128, 1_024, 65_536], frame_text),
    linear("frame.event", "bytes", &[128, 1_024, 16_384], frame_event),
    linear("scope.last", "patterns", &[1, 8, 64], scope_last),
    linear("scope.none", "patterns", &[1, 8, 64], scope_none),
    linear("filter.parse", "terms", &[1, 4, 16], filter_parse),
    linear("filter.accept", "terms", &[1, 4, 16], filter_accept),
    linear("shard.deliver", "subscribers", &[1, 100, 10_000], shard_deliver),
    linear("hub.deliver", "workers", &[1, 2, 16, 64], hub_deliver),
    linear("record.journal", "events", &[1, 64, 1_024], record_journal),
];

const fn linear(name: &'static str, unit: &'static str, sizes: &'static [usize], make: fn(usize) -> Turn) -> Case {
    Case {
        name,
        unit,
        sizes,
        growth: Growth::Linear,
        make,
    }
}

const fn level(name: &'static str, unit: &'static str, sizes: &'static [usize], make: fn(usize) -> Turn) -> Case {
    let growth = Growth::Level;
    Case {
        growth,
        ..linear(name, unit, sizes, make)
    }
}

// --- what they work on --------------------------------------------------------------------------

/// A stream's name.
pub fn stream(number: usize) -> StreamId {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    StreamId::new(bytes)
}

fn path(text: &str) -> Path {
    Path::parse(text).expect("a path")
}

/// An object of so many bytes, with a number and a text to be filtered by.
fn elems(bytes: usize) -> Payload {
    let start = r#"{"n":7,"kind":"door","fill":""#;
    let fill = "x".repeat(bytes.saturating_sub(start.len() + 2));
    Payload::stored(format!("{start}{fill}\"}}").into())
}

/// A stream that keeps nothing.
fn unkept(number: usize) -> Stream {
    Stream {
        id: stream(number),
        path: path("/acme/door/1"),
        description: String::new(),
        capacity: 0,
        rules: Rules::default(),
        creator: SYSTEM,
        created_ms: 0,
        edited: None,
    }
}

/// An event of the first stream.
pub fn event() -> Event {
    event_of(0)
}

/// An event of some stream.
pub fn event_of(number: usize) -> Event {
    let stream = stream(number);
    Event {
        stream,
        ..Letters::new(ELEMS).next()
    }
}

/// Events of one stream, alike but for their places; nobody has made a frame of one yet.
struct Letters {
    path: Path,
    elems: Payload,
    stem: Stem,
    newest: u64,
}

impl Letters {
    fn new(bytes: usize) -> Self {
        Self {
            path: path("/acme/door/1"),
            elems: elems(bytes),
            stem: Stem::of(&stream(0), Epoch::new(1)),
            newest: 0,
        }
    }

    fn next(&mut self) -> Event {
        self.newest += 1;
        let offset = Offset(self.newest);
        Event {
            id: EventId::at(self.stem, offset),
            stream: stream(0),
            path: self.path.clone(),
            offset,
            creator: SYSTEM,
            created_ms: 1_700_000_000_000,
            asked: Stamp::UNKNOWN,
            draft: Draft {
                elems: self.elems.clone(),
                hash: None,
            },
            frames: Frames::default(),
        }
    }
}

fn subscriber() -> Subscriber {
    Subscriber {
        connection: ConnectionKey::null(),
        subscription: Subscription::live(Offset(0)),
        terms: None,
    }
}

/// Terms of which each event holds every one.
fn filter(terms: usize) -> String {
    let term = |number: usize| match number % 2 {
        0 => format!("n > -{}", number + 1),
        _ => "kind == 'door'".to_owned(),
    };
    (0..terms).map(term).collect::<Vec<_>>().join(" && ")
}

/// So many patterns, the last of which takes `/acme/door/1`.
fn scope(patterns: usize) -> Scope {
    let verbs = Verbs {
        read: true,
        ..Verbs::default()
    };
    // They are looked at in the order of their texts.
    let others = (1..patterns).map(|number| (format!("/acme/area/{number:04}/*"), verbs));
    let json: ScopeJson = others.chain([("/acme/door/*".to_owned(), verbs)]).collect();
    let company = CompanyName::parse("acme").expect("a name");
    Scope::parse(&json, &company, patterns).expect("a scope")
}

// --- the work -----------------------------------------------------------------------------------

/// Looks at every subscriber of a stream.
fn index_walk(subscribers: usize) -> Turn {
    let mut index = Index::default();
    for _ in 0..subscribers {
        index.insert(stream(0), subscriber());
    }
    Box::new(move || {
        for (slot, subscriber) in index.subscribers(&stream(0)) {
            black_box((slot, subscriber.subscription.cursor()));
        }
    })
}

/// Finds one stream of many, another each turn. How long that takes depends on the table's random
/// salt, so there are many tables, and the mean of all turns says something.
fn index_find(streams: usize) -> Turn {
    let mut tables: Vec<Index> = (0..FINDS / streams).map(|_| Index::default()).collect();
    for index in &mut tables {
        for number in 0..streams {
            index.insert(stream(number), subscriber());
        }
    }
    let mut turn = 0;
    Box::new(move || {
        let (table, number) = (turn / streams % tables.len(), turn % streams);
        turn += 1;
        black_box(tables[table].contains(&stream(number)));
    })
}

/// One more subscribes to a stream, and leaves.
fn index_change(subscribers: usize) -> Turn {
    let mut index = Index::default();
    for _ in 0..subscribers {
        index.insert(stream(0), subscriber());
    }
    Box::new(move || {
        let slot = index.insert(stream(0), subscriber());
        black_box(index.remove(&stream(0), slot));
    })
}

/// Passes over a run of events.
fn subscription_follow(events: usize) -> Turn {
    let mut subscription = Subscription::live(Offset(0));
    Box::new(move || {
        let first = subscription.cursor().next();
        let last = Offset(first.0 + events as u64 - 1);
        if let Step::PushFrom(_) = black_box(subscription.on_run(first, last)) {
            subscription.advance(last);
        }
    })
}

/// Gives an event of one stream of many its place, another stream each turn; they keep nothing. It is
/// what happens behind the lock that all publishers share, as far as no disk is in it.
pub fn ledger_number(streams: usize) -> Turn {
    let made: Vec<Stream> = (0..streams).map(unkept).collect();
    let mut ledgers: Vec<Ledger> = (0..FINDS / streams).map(|_| Ledger::new(ROOM)).collect();
    for ledger in &mut ledgers {
        made.iter().for_each(|stream| _ = ledger.open(stream));
    }
    let draft = Letters::new(ELEMS).next().draft;
    let mut turn = 0;
    Box::new(move || {
        let (ledger, stream) = (turn / streams % ledgers.len(), &made[turn % streams]);
        let ledger = &mut ledgers[ledger];
        turn += 1;
        ledger.open(stream);
        black_box(ledger.is_free(&stream.id));
        let event = ledger.number(stream, SYSTEM, 0, Stamp::UNKNOWN, draft.clone());
        ledger.take(&event);
    })
}

/// Takes chunks of 256 bytes and gives them away, 64 at a time.
fn outbox_pass(chunks: usize) -> Turn {
    let chunk = Bytes::from(vec![b'x'; 256]);
    let mut outbox = Outbox::default();
    Box::new(move || {
        for _ in 0..chunks {
            black_box(outbox.push(chunk.clone(), ROOM));
        }
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = outbox.slices(&mut slices);
            let bytes = slices[..filled].iter().map(|slice| slice.len()).sum();
            outbox.wrote(bytes);
        }
    })
}

/// Frames a text.
fn frame_text(bytes: usize) -> Turn {
    let text = "x".repeat(bytes);
    Box::new(move || {
        black_box(frame::text(black_box(&text)));
    })
}

/// Writes an event out as its subscribers see it; the size is that of its `elems`.
fn frame_event(bytes: usize) -> Turn {
    let event = Letters::new(bytes).next();
    Box::new(move || {
        black_box(wire::event(black_box(&event)));
    })
}

/// Finds the last pattern to be the one.
fn scope_last(patterns: usize) -> Turn {
    let (scope, path) = (scope(patterns), path("/acme/door/1"));
    assert!(scope.allows(Verb::Read, &path));
    Box::new(move || {
        black_box(scope.allows(Verb::Read, black_box(&path)));
    })
}

/// Finds no pattern to be the one.
fn scope_none(patterns: usize) -> Turn {
    let (scope, path) = (scope(patterns), path("/acme/window/1"));
    assert!(!scope.allows(Verb::Read, &path));
    Box::new(move || {
        black_box(scope.allows(Verb::Read, black_box(&path)));
    })
}

/// Reads a filter.
fn filter_parse(terms: usize) -> Turn {
    let text = filter(terms);
    Box::new(move || {
        black_box(Filter::parse(black_box(&text), ROOM).is_ok());
    })
}

/// Asks a filter about an event whose `elems` are parsed.
fn filter_accept(terms: usize) -> Turn {
    let filter = Filter::parse(&filter(terms), ROOM).expect("a filter");
    let event = Letters::new(ELEMS).next();
    let elems: Value = event.draft.elems.value().expect("an object");
    assert!(filter.accepts(&Subject::of(&event, &elems), 0));
    Box::new(move || {
        black_box(filter.accepts(&Subject::of(&event, black_box(&elems)), 0));
    })
}

/// Makes an event, hands it to every subscriber of its stream, and takes it out of the outboxes.
fn shard_deliver(subscribers: usize) -> Turn {
    let mut shard = Shard::new(ROOM);
    for _ in 0..subscribers {
        let key = shard.open(|_| (), &SPEECH.dialect, TokenKey([0; 8]), Moment(0));
        shard.subscribe(key, stream(0), Subscription::live(Offset(0)), None);
    }
    let (mut letters, mut dirty) = (Letters::new(ELEMS), Vec::new());
    Box::new(move || {
        shard.deliver(&mut [Arc::new(letters.next())]);
        shard.take_dirty(&mut dirty);
        for key in &dirty {
            let outbox = &mut shard.get_mut(*key).expect("it is open").outbox;
            let bytes = outbox.bytes();
            outbox.wrote(bytes);
            black_box(shard.has_written(*key, bytes));
        }
    })
}

/// Puts an event into the mailbox of every worker, and has each take it out; all on one thread.
fn hub_deliver(workers: usize) -> Turn {
    let hub = Hub::new(ROOM, Arc::new(Metrics::default()));
    let mailboxes: Vec<_> = (0..workers)
        .map(|_| {
            let (worker, mailbox) = hub.enrol();
            hub.listen(worker, stream(0));
            mailbox
        })
        .collect();
    let (event, mut post) = ([Arc::new(Letters::new(ELEMS).next())], Post::default());
    Box::new(move || {
        hub.deliver(&event);
        for mailbox in &mailboxes {
            mailbox.take(&mut post);
            black_box(post.events.len());
        }
    })
}

/// Writes a commit's body.
fn record_journal(events: usize) -> Turn {
    let mut letters = Letters::new(ELEMS);
    let events: Vec<Event> = (0..events).map(|_| letters.next()).collect();
    Box::new(move || {
        let mut body = Body::journal();
        events.iter().for_each(|event| body.put_event(event));
        black_box(body.finish());
    })
}
