//! Places in several streams at once, as the ids of Server-Sent Events have them, and which place a
//! line is about.
//!
//! Pure. A browser brings back the last id only, and all streams of its response are to go on exactly
//! after what it saw; so each id names them all: `s53b1….k3x9a0bc.41,s8810….zz01k3x9.7`. Invariant: what
//! is printed parses back.

use crate::domain::error::{Code, Refusal};
use crate::domain::id::StreamId;
use crate::domain::position::{Epoch, Offset, Position};
use bytes::Bytes;
use std::fmt::Write;

/// Streams that an id has room for: a header of eight kilobytes is as much as most servers take.
pub const MAX_PLACES: usize = 64;
/// How every event's line begins.
const EVENT: &str = r#"{"type":"message","resource":""#;
/// How every notice of a gap begins, and what stands before the gap in it.
const GAP: &str = r#"{"type":"gap","#;
const GAP_BODY: &str = r#"},"body":{"resource":""#;
/// How every goodbye begins.
const GOAWAY: &str = r#"{"type":"goaway","#;
/// Characters of a stream's id.
const ID_CHARS: usize = 25;

/// What a line is about, as far as readers that keep places must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// An event of a stream, at a place.
    Event(StreamId, Offset),
    /// Events of a stream that will not come, from one place to another.
    Gap(StreamId, Offset, Offset),
    /// The end.
    Goaway,
    /// Anything else.
    Other,
}

impl Told {
    /// Reads what we wrote ourselves: whatever a publisher's event holds stands behind that.
    pub fn read(line: &str) -> Self {
        let told = match line {
            line if line.starts_with(EVENT) => event(&line[EVENT.len()..]),
            line if line.starts_with(GAP) => gap(line),
            line if line.starts_with(GOAWAY) => Some(Told::Goaway),
            _ => None,
        };
        told.unwrap_or(Told::Other)
    }

    /// The stream that it is about, and the first of its places.
    pub fn first(self) -> Option<(StreamId, Offset)> {
        match self {
            Told::Event(stream, first) | Told::Gap(stream, first, _) => Some((stream, first)),
            Told::Goaway | Told::Other => None,
        }
    }

    /// The stream that it is about, and where its reader is then.
    pub fn last(self) -> Option<(StreamId, Offset)> {
        match self {
            Told::Event(stream, last) | Told::Gap(stream, _, last) => Some((stream, last)),
            Told::Goaway | Told::Other => None,
        }
    }
}

fn event(rest: &str) -> Option<Told> {
    let (stream, rest) = stream(rest)?;
    Some(Told::Event(stream, number(rest, r#"","offset":"#)?.0))
}

fn gap(line: &str) -> Option<Told> {
    let body = line.find(GAP_BODY)? + GAP_BODY.len();
    let (stream, rest) = stream(&line[body..])?;
    let (from, rest) = number(rest, r#"","from":"#)?;
    let (to, _) = number(rest, r#","to":"#)?;
    Some(Told::Gap(stream, from, to))
}

fn stream(text: &str) -> Option<(StreamId, &str)> {
    let id = text.get(..ID_CHARS)?;
    Some((StreamId::parse(id)?, &text[ID_CHARS..]))
}

fn number<'a>(text: &'a str, before: &str) -> Option<(Offset, &'a str)> {
    let text = text.strip_prefix(before)?;
    let end = text.find(|letter: char| !letter.is_ascii_digit())?;
    Some((Offset(text[..end].parse().ok()?), &text[end..]))
}

/// The lines of a chunk.
pub fn lines(chunk: &Bytes) -> impl Iterator<Item = Bytes> {
    let ends = memchr::memchr_iter(b'\n', chunk);
    let mut start = 0;
    ends.map(move |end| {
        let line = chunk.slice(start..end);
        start = end + 1;
        line
    })
}

/// A line as text; all lines are.
pub fn text(line: &[u8]) -> &str {
    std::str::from_utf8(line).unwrap_or_default()
}

/// Where a reader is in some streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Vec<(StreamId, Epoch, Offset)>);

impl Places {
    /// The reader is there now.
    pub fn put(&mut self, stream: StreamId, epoch: Epoch, offset: Offset) {
        match self.0.iter_mut().find(|(known, ..)| *known == stream) {
            Some(known) => *known = (stream, epoch, offset),
            None => self.0.push((stream, epoch, offset)),
        }
    }

    /// The reader is not to go on in this stream.
    pub fn remove(&mut self, stream: &StreamId) {
        self.0.retain(|(known, ..)| known != stream);
    }

    /// The reader has come so far in a stream; returns whether the stream was known.
    pub fn advance(&mut self, stream: StreamId, offset: Offset) -> bool {
        let known = self.0.iter_mut().find(|(known, ..)| *known == stream);
        if let Some((_, _, at)) = known {
            *at = offset;
            return true;
        }
        false
    }

    /// The id; none where there is no stream, or more than it has room for.
    pub fn id(&self) -> Option<String> {
        if self.0.is_empty() || self.0.len() > MAX_PLACES {
            return None;
        }
        let mut id = String::with_capacity(self.0.len() * 48);
        for (number, (stream, epoch, offset)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(id, "{comma}{stream}.{epoch}.{offset}");
        }
        Some(id)
    }
}

/// Parses what a reader brings back; refused with `query.malformed`.
pub fn parse(id: &str) -> Result<Vec<(StreamId, Position)>, Refusal> {
    let malformed = || {
        let text = "Last-Event-ID is not one of ours: send it as it came, or leave it out";
        Refusal::new(Code::QueryMalformed, text)
    };
    let mut seen = Vec::new();
    if id.is_empty() {
        return Ok(seen);
    }
    for place in id.split(',') {
        let (stream, position) = parse_place(place.trim()).ok_or_else(malformed)?;
        let is_new = seen.iter().all(|(known, _)| *known != stream);
        if !is_new || seen.len() == MAX_PLACES {
            return Err(malformed());
        }
        seen.push((stream, position));
    }
    Ok(seen)
}

fn parse_place(text: &str) -> Option<(StreamId, Position)> {
    let mut parts = text.split('.');
    let stream = StreamId::parse(parts.next()?)?;
    let epoch = Some(Epoch::parse(parts.next()?)?);
    let number = parts.next()?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let offset = Offset(number.parse().ok().filter(|_| is_number && parts.next().is_none())?);
    Some((stream, Position { epoch, offset }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_says_which_place_it_is_about() {
        let stream = StreamId::new([7; 12]);
        let event = format!(r#"{{"type":"message","resource":"{stream}","offset":42,"value":{{}}}}"#);
        assert_eq!(Told::read(&event), Told::Event(stream, Offset(42)));
        let gap = format!(
            r#"{{"type":"gap","head":{{"msgId":null}},"body":{{"resource":"{stream}","from":3,"to":5,"count":3}}}}"#
        );
        assert_eq!(Told::read(&gap), Told::Gap(stream, Offset(3), Offset(5)));
        assert_eq!(Told::read(&gap).first(), Some((stream, Offset(3))));
        assert_eq!(Told::read(&gap).last(), Some((stream, Offset(5))));
        assert_eq!(Told::read(r#"{"type":"goaway","head":{}}"#), Told::Goaway);
        for other in [
            "",
            "{}",
            r#"{"head":{}}"#,
            r#"{"type":"message","resource":"s1","offset":1}"#,
        ] {
            assert_eq!(Told::read(other), Told::Other, "{other}");
        }
    }

    #[test]
    fn a_chunk_is_whole_lines() {
        let chunk = Bytes::from_static(b"{}\n[]\n");
        assert_eq!(lines(&chunk).collect::<Vec<_>>(), ["{}", "[]"]);
        assert_eq!(lines(&Bytes::new()).count(), 0);
    }

    #[test]
    fn what_is_no_id_of_ours_is_refused() {
        let [a, b] = [1, 2].map(|byte| StreamId::new([byte; 12]));
        let good = format!("{a}.{epoch}.7,{b}.{epoch}.0", epoch = Epoch::new(9));
        assert_eq!(parse(&good).map(|seen| seen.len()), Ok(2));
        assert_eq!(parse(""), Ok(Vec::new()));
        let twice = format!("{good},{a}.{}.8", Epoch::new(9));
        for bad in [
            "41",
            "x.y.z",
            ",",
            &twice,
            &good[1..],
            &format!("{good}.1"),
            &format!("{good},"),
            "s.0.+1",
        ] {
            assert_eq!(
                parse(bad).map_err(|refusal| refusal.code),
                Err(Code::QueryMalformed),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_id_is_of_so_many_streams_and_no_more() {
        let mut places = Places::default();
        assert_eq!(places.id(), None);
        for byte in 0..u8::try_from(MAX_PLACES).expect("few") {
            places.put(StreamId::new([byte; 12]), Epoch::new(1), Offset(u64::MAX));
        }
        let id = places.id().expect("room for it");
        assert!(id.len() < 4_096, "{}", id.len());
        assert!(parse(&id).is_ok());
        places.put(StreamId::new([255; 12]), Epoch::new(1), Offset(1));
        assert_eq!(places.id(), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(
            found in proptest::collection::btree_map(any::<[u8; 12]>(), (any::<u64>(), any::<u64>()), 1..9),
        ) {
            let mut places = Places::default();
            for (stream, (epoch, offset)) in &found {
                places.put(StreamId::new(*stream), Epoch::new(*epoch), Offset(0));
                prop_assert!(places.advance(StreamId::new(*stream), Offset(*offset)));
            }
            let seen = parse(&places.id().expect("an id")).expect("ours");
            let wanted = found.iter().map(|(stream, (epoch, offset))| {
                let position = Position { epoch: Some(Epoch::new(*epoch)), offset: Offset(*offset) };
                (StreamId::new(*stream), position)
            });
            prop_assert_eq!(seen, wanted.collect::<Vec<_>>());
        }

        #[test]
        fn anything_else_is_refused_without_panic(id in "\\PC{0,80}", line in "\\PC{0,80}") {
            let _ = parse(&id);
            let _ = Told::read(&line);
            let _ = Told::read(&format!("{EVENT}{line}"));
            let _ = Told::read(&format!("{GAP}{GAP_BODY}{line}"));
        }
    }
}
