//! Which of a stream's events somebody wants to see, and in what order.
//!
//! Is given events and says whether it wants more; does not read. Invariant: what it holds is
//! bounded, in events by what it was asked for and in bytes, however many events it is given.

use crate::domain::error::{Code, Refusal};
use crate::domain::event::Event;
use crate::engine::filter::{Filter, Member, Seen, Subject, compare};
use serde_json::Value;
use std::sync::Arc;

/// Events held beyond those wanted before the worst of them are dropped.
const SLACK: usize = 1_024;
/// Bytes of events that one search may hold in the end if nothing else is said.
pub const MAX_BYTES: usize = 67_108_864;
/// What an event costs beside its elems, about.
const EVENT_BYTES: usize = 256;

/// What somebody looks for.
#[derive(Clone, Debug)]
pub struct Search {
    /// Only these.
    pub filter: Option<Filter>,
    /// In the order of what.
    pub sort: Sort,
    /// The greatest, or newest, first.
    pub descending: bool,
    /// How many to pass over.
    pub start: usize,
    /// How many to return.
    pub limit: usize,
    /// Bytes of events that it may hold in the end, about; on its way it may hold twice as many.
    pub max_bytes: usize,
}

/// What events are ordered by.
#[derive(Clone, Debug)]
pub enum Sort {
    /// Their place, and so the time of their creation.
    Place,
    /// A member; those that have the same stay in the order of their place.
    Member(Member),
}

/// What was found so far.
pub struct Found {
    search: Search,
    now_ms: u64,
    /// Events by place that were passed over, up to where the wanted ones start.
    passed: usize,
    events: Vec<(Arc<Event>, Key)>,
    bytes: usize,
}

/// What an event is sorted by: the member, where all lists and maps are one; nothing if it is missing.
type Key = Option<Value>;

impl Search {
    fn most(&self) -> usize {
        self.start.saturating_add(self.limit)
    }

    fn is_by_place(&self) -> bool {
        matches!(self.sort, Sort::Place)
    }
}

impl Found {
    /// Nothing yet.
    pub fn new(search: Search, now_ms: u64) -> Self {
        Self {
            search,
            now_ms,
            passed: 0,
            events: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether the oldest events are to be given first, rather than the newest.
    pub fn goes_forward(&self) -> bool {
        !self.search.descending
    }

    /// How many more events are worth giving, at least.
    pub fn wants(&self) -> usize {
        match (&self.search.sort, &self.search.filter) {
            (Sort::Place, None) => self.search.most() - self.passed - self.events.len(),
            _ => usize::MAX,
        }
    }

    /// Whether no other event can change the outcome.
    pub fn is_complete(&self) -> bool {
        self.search.limit == 0 || self.search.is_by_place() && self.events.len() >= self.search.limit
    }

    /// Takes events, in the order in which they are to be given; refused with `limit.find` when
    /// those to be returned are too many bytes.
    pub fn add(&mut self, events: impl Iterator<Item = Arc<Event>>) -> Result<(), Refusal> {
        for event in events {
            if self.is_complete() {
                break;
            }
            let needs_value = self.search.filter.is_some() || !self.search.is_by_place();
            let value = needs_value.then(|| event.draft.elems.value()).flatten();
            if self.is_wanted(&event, value.as_ref()) {
                self.hold(event, value.as_ref())?;
            }
        }
        Ok(())
    }

    fn is_wanted(&self, event: &Event, value: Option<&Value>) -> bool {
        let Some(filter) = &self.search.filter else {
            return true;
        };
        value.is_some_and(|value| filter.accepts(&Subject::of(event, value), self.now_ms))
    }

    fn hold(&mut self, event: Arc<Event>, value: Option<&Value>) -> Result<(), Refusal> {
        if self.search.is_by_place() && self.passed < self.search.start {
            self.passed += 1;
            return Ok(());
        }
        let key = match &self.search.sort {
            Sort::Place => None,
            Sort::Member(member) => value.and_then(|value| key(&event, value, member)),
        };
        self.bytes += weight(&event);
        self.events.push((event, key));
        let has_slack = self.events.len() <= self.search.most().saturating_add(SLACK);
        if has_slack && self.bytes <= 2 * self.search.max_bytes {
            return Ok(());
        }
        self.sort();
        self.events.truncate(self.search.most());
        self.bytes = self.events.iter().map(|(event, _)| weight(event)).sum();
        self.check_bytes()
    }

    fn check_bytes(&self) -> Result<(), Refusal> {
        let most = self.search.max_bytes;
        if self.bytes > most {
            let text = format!("the events found have more than {most} bytes together");
            return Err(Refusal::new(Code::LimitFind, text));
        }
        Ok(())
    }

    /// What was found, in order; refused as in [`Found::add`].
    pub fn finish(mut self) -> Result<Vec<Arc<Event>>, Refusal> {
        self.sort();
        let start = self.search.start - self.passed.min(self.search.start);
        let wanted = self.events.drain(..).skip(start).take(self.search.limit);
        let wanted: Vec<Arc<Event>> = wanted.map(|(event, _)| event).collect();
        self.bytes = wanted.iter().map(|event| weight(event)).sum();
        self.check_bytes()?;
        Ok(wanted)
    }

    /// By place they came in order.
    fn sort(&mut self) {
        if self.search.is_by_place() {
            return;
        }
        let descending = self.search.descending;
        self.events.sort_by(|(a, a_key), (b, b_key)| {
            let by_key = compare(a_key.as_ref().map(Seen::from), b_key.as_ref().map(Seen::from));
            let order = by_key.then(a.offset.cmp(&b.offset));
            if descending { order.reverse() } else { order }
        });
    }
}

fn weight(event: &Event) -> usize {
    event.draft.elems.as_str().len() + EVENT_BYTES
}

/// What is held of a member to sort by it.
fn key(event: &Event, value: &Value, member: &Member) -> Key {
    let seen = Subject::of(event, value).look(member)?;
    Some(match seen {
        Seen::List(_) | Seen::Map(_) => Value::Array(Vec::new()),
        seen => seen.to_value(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Draft, Frames, Stamp};
    use crate::domain::id::{EventId, SYSTEM, StreamId};
    use crate::domain::path::Path;
    use crate::domain::payload::Payload;
    use crate::domain::position::Offset;

    fn events(elems: &[&str]) -> Vec<Arc<Event>> {
        let event = |(number, elems): (usize, &&str)| {
            Arc::new(Event {
                id: EventId::random(),
                stream: StreamId::new([1; 12]),
                path: Path::parse("/acme/door").expect("a path"),
                offset: Offset(number as u64 + 1),
                creator: SYSTEM,
                created_ms: 0,
                asked: Stamp::UNKNOWN,
                draft: Draft {
                    elems: Payload::stored((*elems).into()),
                    hash: None,
                },
                frames: Frames::default(),
            })
        };
        elems.iter().enumerate().map(event).collect()
    }

    fn search(sort: &str, descending: bool, start: usize, limit: usize) -> Search {
        Search {
            filter: None,
            sort: match sort {
                "place" => Sort::Place,
                member => Sort::Member(Member::parse(member).expect("a member")),
            },
            descending,
            start,
            limit,
            max_bytes: MAX_BYTES,
        }
    }

    fn found(search: Search, events: Vec<Arc<Event>>) -> Vec<u64> {
        let mut found = Found::new(search, 0);
        let added = match found.goes_forward() {
            true => found.add(events.into_iter()),
            false => found.add(events.into_iter().rev()),
        };
        added.expect("few bytes");
        let events = found.finish().expect("few bytes");
        events.iter().map(|event| event.offset.0).collect()
    }

    #[test]
    fn by_place_it_wants_no_more_than_it_returns() {
        let all = events(&["{}"; 9]);
        assert_eq!(found(search("place", true, 0, 3), all.clone()), [9, 8, 7]);
        assert_eq!(found(search("place", true, 2, 3), all.clone()), [7, 6, 5]);
        assert_eq!(found(search("place", false, 1, 2), all), [2, 3]);
        let found = Found::new(search("place", true, 2, 3), 0);
        assert_eq!(found.wants(), 5);
    }

    #[test]
    fn by_a_member_missing_ones_come_first_and_equals_stay_in_order() {
        let all = events(&[r#"{"t":2}"#, r#"{"t":"x"}"#, "{}", r#"{"t":1}"#, r#"{"t":2}"#]);
        assert_eq!(found(search("elems.t", false, 0, 9), all.clone()), [3, 4, 1, 5, 2]);
        assert_eq!(found(search("elems.t", true, 0, 2), all), [2, 5]);
    }

    #[test]
    fn a_long_stream_is_not_held() {
        let mut found = Found::new(search("elems.t", true, 0, 2), 0);
        for round in 0..20 {
            let texts: Vec<String> = (0..500)
                .map(|number| format!("{{\"t\":{}}}", round * 500 + number))
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            found.add(events(&texts).into_iter()).expect("few bytes");
            assert!(found.events.len() <= 2 + SLACK + 1);
        }
        let best = found.finish().expect("few bytes");
        let best: Vec<Value> = best.iter().filter_map(|event| event.draft.elems.value()).collect();
        assert_eq!(best, [serde_json::json!({"t": 9999}), serde_json::json!({"t": 9998})]);
    }

    #[test]
    fn what_is_passed_over_by_place_is_not_held() {
        let mut found = Found::new(search("place", true, 900, 3), 0);
        found.add(events(&["{}"; 1_000]).into_iter().rev()).expect("few bytes");
        assert_eq!(found.events.len(), 3);
        let offsets: Vec<u64> = found
            .finish()
            .expect("few bytes")
            .iter()
            .map(|event| event.offset.0)
            .collect();
        assert_eq!(offsets, [100, 99, 98]);
    }

    #[test]
    fn too_many_bytes_are_refused_and_the_best_of_many_are_not() {
        let large = format!("{{\"t\":\"{}\"}}", "x".repeat(1_048_576));
        let all = events(&[&*large; 200]);
        assert_eq!(found(search("elems.t", true, 0, 2), all.clone()), [200, 199]);
        for wanted in [search("elems.t", true, 0, 100), search("place", false, 0, 100)] {
            let mut found = Found::new(wanted, 0);
            let added = found.add(all.iter().cloned());
            let refusal = added.and_then(|()| found.finish()).expect_err("too many bytes");
            assert_eq!(refusal.code, Code::LimitFind);
        }
    }
}
