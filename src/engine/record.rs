//! How events look on the disk: bodies of journal rows and of chunks.
//!
//! A body is a version byte, a CRC-32 of what follows, and what follows. Numbers are LEB128 or,
//! where a length is written after what it measures, four bytes little-endian. Nothing here knows
//! SQL. Invariant: what was encoded decodes to the same, and damage is found, not passed on.
//!
//! ```text
//! journal  version crc record*         record  1 stream event | 2 place | 3 receipt
//! chunk    version crc epoch event*    event   length(4) offset creator(12) created hash elems
//! ```

use crate::domain::event::{Draft, Event};
use crate::domain::id::{EventId, IdentityId, StreamId};
use crate::domain::payload::Payload;
use crate::domain::position::{Epoch, Offset};
use crate::engine::keys::{Digest, Receipt};

const VERSION: u8 = 1;
/// Version and checksum.
const HEAD: usize = 5;
const EVENT: u8 = 1;
const PLACE: u8 = 2;
const RECEIPT: u8 = 3;

/// A body that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(&'static str);

/// One record of a journal row.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    /// An event of a stream.
    Event(StreamId, Stored),
    /// From here on this is known of a stream.
    Place(Place),
    /// A publisher's key and what was answered.
    Receipt(Digest, Receipt),
}

/// What the disk knows of a stream's numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which stream.
    pub stream: StreamId,
    /// How long its numbering is valid.
    pub epoch: Epoch,
    /// The newest offset that was given.
    pub head: Offset,
    /// The oldest that the stream has not let go of.
    pub first: Offset,
    /// Whether events may have been shown that are not synced.
    pub loose: bool,
}

/// An event as it is stored: without what its stream tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub offset: Offset,
    /// Who published it.
    pub creator: IdentityId,
    /// When, in milliseconds since 1970.
    pub created_ms: u64,
    /// What was published.
    pub draft: Draft,
}

/// A body being written.
pub struct Body(Vec<u8>);

impl Body {
    /// A journal row's, empty.
    pub fn journal() -> Self {
        Self(vec![VERSION, 0, 0, 0, 0])
    }

    /// A chunk's, of events numbered in `epoch`.
    pub fn chunk(epoch: Epoch) -> Self {
        let mut body = Self::journal();
        body.number(epoch.bits());
        body
    }

    /// Adds an event to a journal row.
    pub fn put_event(&mut self, event: &Event) {
        self.0.push(EVENT);
        self.0.extend_from_slice(event.stream.bytes());
        self.put_bare(event);
    }

    /// Adds an event to a chunk.
    pub fn put_bare(&mut self, event: &Event) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        self.number(event.offset.0);
        self.0.extend_from_slice(event.creator.bytes());
        self.number(event.created_ms);
        match &event.draft.hash {
            None => self.number(0),
            Some(hash) => {
                self.number(hash.len() as u64 + 1);
                self.0.extend_from_slice(hash.as_bytes());
            }
        }
        self.0.extend_from_slice(event.draft.elems.as_str().as_bytes());
        let length = u32::try_from(self.0.len() - start - 4).expect("an event is smaller than a request");
        self.0[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Adds what is known of a stream.
    pub fn put_place(&mut self, place: &Place) {
        self.0.push(PLACE);
        self.0.extend_from_slice(place.stream.bytes());
        self.number(place.epoch.bits());
        self.number(place.head.0);
        self.number(place.first.0);
        self.0.push(place.loose.into());
    }

    /// Adds a publisher's key.
    pub fn put_receipt(&mut self, key: &Digest, receipt: &Receipt) {
        self.0.push(RECEIPT);
        self.0.extend_from_slice(key);
        self.put_bare_receipt(receipt);
    }

    /// What was answered, without its key.
    pub fn receipt(receipt: &Receipt) -> Vec<u8> {
        let mut body = Self::journal();
        body.put_bare_receipt(receipt);
        body.finish()
    }

    fn put_bare_receipt(&mut self, receipt: &Receipt) {
        self.0.extend_from_slice(&receipt.request);
        self.number(receipt.used_ms);
        self.number(receipt.runs.len() as u64);
        for (first, count) in &receipt.runs {
            self.0.extend_from_slice(first.bytes());
            self.number(u64::from(*count));
        }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.len() <= HEAD
    }

    /// The whole body with its checksum.
    pub fn finish(mut self) -> Vec<u8> {
        let sum = crc32fast::hash(&self.0[HEAD..]);
        self.0[1..HEAD].copy_from_slice(&sum.to_le_bytes());
        self.0
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

/// All records of a journal row.
pub fn journal(body: &[u8]) -> Result<Vec<Record>, Damage> {
    let mut rest = Rest(open(body)?);
    let mut records = Vec::new();
    while !rest.0.is_empty() {
        records.push(match rest.byte()? {
            EVENT => Record::Event(StreamId::new(rest.array()?), rest.event()?),
            PLACE => Record::Place(Place {
                stream: StreamId::new(rest.array()?),
                epoch: Epoch::new(rest.number()?),
                head: Offset(rest.number()?),
                first: Offset(rest.number()?),
                loose: rest.byte()? != 0,
            }),
            RECEIPT => Record::Receipt(rest.array()?, rest.receipt()?),
            _ => return Err(Damage("an unknown kind of record")),
        });
    }
    Ok(records)
}

/// What was answered to a publisher's key.
pub fn receipt(body: &[u8]) -> Result<Receipt, Damage> {
    Rest(open(body)?).receipt()
}

/// A chunk, checked as a whole, whose events are decoded one by one.
pub struct Chunk<'a> {
    /// The numbering its events are of.
    pub epoch: Epoch,
    events: Vec<&'a [u8]>,
}

impl<'a> Chunk<'a> {
    /// Checks a body and finds where its events begin.
    pub fn open(body: &'a [u8]) -> Result<Self, Damage> {
        let mut rest = Rest(open(body)?);
        let epoch = Epoch::new(rest.number()?);
        let mut events = Vec::new();
        while !rest.0.is_empty() {
            let length = u32::from_le_bytes(rest.array()?) as usize;
            events.push(rest.bytes(length)?);
        }
        Ok(Self { epoch, events })
    }

    /// How many events it holds.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The offset of one of them, without decoding it.
    pub fn offset(&self, number: usize) -> Result<Offset, Damage> {
        Ok(Offset(Rest(self.events[number]).number()?))
    }

    /// One of them.
    pub fn event(&self, number: usize) -> Result<Stored, Damage> {
        Rest(self.events[number]).fields()
    }
}

/// What is left of a chunk without one of its events.
pub struct Remains {
    /// Its first event's place.
    pub first: Offset,
    /// Its last one's.
    pub last: Offset,
    /// The latest time of any of them.
    pub newest_ms: u64,
    /// The encoded events.
    pub body: Vec<u8>,
}

impl Chunk<'_> {
    /// A chunk without the event at `offset`: `None` if it has no such event, `Some(None)` if it
    /// has no other.
    pub fn without(body: &[u8], offset: Offset) -> Result<Option<Option<Remains>>, Damage> {
        let chunk = Chunk::open(body)?;
        let mut rest = Body::chunk(chunk.epoch);
        let mut stays: Vec<(Offset, u64)> = Vec::new();
        for (number, bytes) in chunk.events.iter().enumerate() {
            let event = chunk.event(number)?;
            if event.offset != offset {
                stays.push((event.offset, event.created_ms));
                rest.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                rest.0.extend_from_slice(bytes);
            }
        }
        if stays.len() == chunk.len() {
            return Ok(None);
        }
        let remains = stays.first().zip(stays.last()).map(|(first, last)| Remains {
            first: first.0,
            last: last.0,
            newest_ms: stays.iter().map(|(_, created_ms)| *created_ms).max().unwrap_or(0),
            body: rest.finish(),
        });
        Ok(Some(remains))
    }
}

fn open(body: &[u8]) -> Result<&[u8], Damage> {
    let (head, rest) = body.split_at_checked(HEAD).ok_or(Damage("it is cut short"))?;
    if head[0] != VERSION {
        return Err(Damage("it is of a version that this program does not know"));
    }
    if head[1..] != crc32fast::hash(rest).to_le_bytes() {
        return Err(Damage("its checksum is wrong"));
    }
    Ok(rest)
}

/// What is left to decode.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Damage("a record is cut short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let bytes = self.bytes(N)?.try_into();
        Ok(bytes.expect("as many bytes as were asked for"))
    }

    fn byte(&mut self) -> Result<u8, Damage> {
        Ok(self.bytes(1)?[0])
    }

    fn number(&mut self) -> Result<u64, Damage> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damage("a number is too long"))
    }

    fn text(bytes: &[u8]) -> Result<Box<str>, Damage> {
        let text = std::str::from_utf8(bytes).map_err(|_| Damage("a text is not UTF-8"))?;
        Ok(text.into())
    }

    fn event(&mut self) -> Result<Stored, Damage> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        Rest(self.bytes(length)?).fields()
    }

    fn fields(mut self) -> Result<Stored, Damage> {
        let offset = Offset(self.number()?);
        let creator = IdentityId::new(self.array()?);
        let created_ms = self.number()?;
        let hash = match usize::try_from(self.number()?).unwrap_or(usize::MAX) {
            0 => None,
            length => Some(Self::text(self.bytes(length - 1)?)?),
        };
        let elems = Payload::stored(Self::text(self.0)?);
        Ok(Stored {
            offset,
            creator,
            created_ms,
            draft: Draft { elems, hash },
        })
    }

    fn receipt(&mut self) -> Result<Receipt, Damage> {
        let request = self.array()?;
        let used_ms = self.number()?;
        let mut runs = Vec::new();
        for _ in 0..self.number()? {
            let first = EventId::new(self.array()?);
            let count = u32::try_from(self.number()?).map_err(|_| Damage("a count is too large"))?;
            runs.push((first, count));
        }
        Ok(Receipt { request, used_ms, runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Frames, Stamp};
    use crate::domain::path::Path;
    use proptest::prelude::*;

    fn event(offset: u64, created_ms: u64, elems: &str, hash: Option<&str>) -> Event {
        Event {
            id: EventId::new([7; 12]),
            stream: StreamId::new([1; 12]),
            path: Path::parse("/acme/door").expect("a path"),
            offset: Offset(offset),
            creator: IdentityId::new([2; 12]),
            created_ms,
            asked: Stamp::UNKNOWN,
            draft: Draft {
                elems: Payload::stored(elems.into()),
                hash: hash.map(Into::into),
            },
            frames: Frames::default(),
        }
    }

    #[test]
    fn the_layout_stays() {
        let mut body = Body::journal();
        body.put_event(&event(300, 5, "{}", Some("h")));
        let mut expected = vec![1, 0, 0, 0, 0, 1];
        expected.extend([1; 12]);
        expected.extend([19, 0, 0, 0, 0xac, 2]);
        expected.extend([2; 12]);
        expected.extend([5, 2, b'h', b'{', b'}']);
        let sum = crc32fast::hash(&expected[5..]);
        expected[1..5].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(body.finish(), expected);
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let mut body = Body::chunk(Epoch::new(9));
        body.put_bare(&event(1, 2, r#"{"a":1}"#, None));
        let sound = body.finish();
        assert!(Chunk::open(&sound).is_ok());
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            assert!(Chunk::open(&damaged).is_err(), "{at}");
            assert!(Chunk::open(&sound[..at]).is_err(), "{at}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(
            events in proptest::collection::vec((any::<u64>(), any::<u64>(), "\\PC{0,20}", proptest::option::of("\\PC{0,9}")), 0..9),
            runs in proptest::collection::vec((any::<[u8; 12]>(), any::<u32>()), 0..5),
            used_ms: u64,
            loose: bool,
        ) {
            let events: Vec<Event> = events
                .iter()
                .map(|(offset, ms, elems, hash)| event(*offset, *ms, elems, hash.as_deref()))
                .collect();
            let stream = StreamId::new([1; 12]);
            let place = Place { stream, epoch: Epoch::new(5), head: Offset(used_ms), first: Offset(3), loose };
            let runs = runs.into_iter().map(|(id, count)| (EventId::new(id), count)).collect();
            let receipt = Receipt { request: [3; 16], used_ms, runs };
            let (mut journaled, mut chunked) = (Body::journal(), Body::chunk(Epoch::new(5)));
            for event in &events {
                journaled.put_event(event);
                chunked.put_bare(event);
            }
            journaled.put_place(&place);
            journaled.put_receipt(&[4; 16], &receipt);
            let stored = |event: &Event| Stored {
                offset: event.offset,
                creator: event.creator,
                created_ms: event.created_ms,
                draft: event.draft.clone(),
            };
            let mut expected: Vec<Record> =
                events.iter().map(|event| Record::Event(stream, stored(event))).collect();
            expected.push(Record::Place(place));
            expected.push(Record::Receipt([4; 16], receipt));
            prop_assert_eq!(journal(&journaled.finish()), Ok(expected));
            let body = chunked.finish();
            let chunk = Chunk::open(&body).expect("sound");
            prop_assert_eq!(chunk.len(), events.len());
            for (number, event) in events.iter().enumerate() {
                prop_assert_eq!(chunk.offset(number), Ok(event.offset));
                prop_assert_eq!(chunk.event(number), Ok(stored(event)));
            }
        }

        #[test]
        fn nothing_makes_it_panic(mut body: Vec<u8>) {
            if body.len() >= HEAD {
                body[0] = VERSION;
                let sum = crc32fast::hash(&body[HEAD..]);
                body[1..HEAD].copy_from_slice(&sum.to_le_bytes());
            }
            let _ = journal(&body);
            let _ = receipt(&body);
            if let Ok(chunk) = Chunk::open(&body) {
                for number in 0..chunk.len() {
                    let _ = (chunk.offset(number), chunk.event(number));
                }
            }
        }
    }
}
