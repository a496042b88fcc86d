//! Which of a stream's events somebody wants to see, and in what order.
//!
//! Is given events and says whether it wants more; does not read. Invariant: what it holds is
//! bounded by what it was asked for, however many events it is given.

use crate::domain::event::Event;
use crate::engine::filter::{Filter, Member, Subject, compare};
use serde_json::Value;
use std::cmp::Ordering;
use std::sync::Arc;

/// Events held beyond those wanted before the worst of them are dropped.
const SLACK: usize = 1_024;

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
    events: Vec<(Arc<Event>, Option<Value>)>,
}

impl Search {
    fn most(&self) -> usize {
        self.start.saturating_add(self.limit)
    }
}

impl Found {
    /// Nothing yet.
    pub fn new(search: Search, now_ms: u64) -> Self {
        let events = Vec::new();
        Self { search, now_ms, events }
    }

    /// Whether the oldest events are to be given first, rather than the newest.
    pub fn goes_forward(&self) -> bool {
        !self.search.descending
    }

    /// How many more events are worth giving, at least.
    pub fn wants(&self) -> usize {
        match (&self.search.sort, &self.search.filter) {
            (Sort::Place, None) => self.search.most() - self.events.len(),
            _ => usize::MAX,
        }
    }

    /// Whether no other event can change the outcome.
    pub fn is_complete(&self) -> bool {
        self.search.limit == 0 || matches!(self.search.sort, Sort::Place) && self.events.len() >= self.search.most()
    }

    /// Takes events, in the order in which they are to be given.
    pub fn add(&mut self, events: impl Iterator<Item = Arc<Event>>) {
        for event in events {
            if self.is_complete() {
                return;
            }
            let needs_value = self.search.filter.is_some() || matches!(self.search.sort, Sort::Member(_));
            let value = needs_value.then(|| event.draft.elems.value()).flatten();
            if self.is_wanted(&event, value.as_ref()) {
                let value = value.filter(|_| matches!(self.search.sort, Sort::Member(_)));
                self.events.push((event, value));
            }
            if self.events.len() > self.search.most().saturating_add(SLACK) {
                self.sort();
                self.events.truncate(self.search.most());
            }
        }
    }

    fn is_wanted(&self, event: &Event, value: Option<&Value>) -> bool {
        let Some(filter) = &self.search.filter else {
            return true;
        };
        value.is_some_and(|value| filter.accepts(&Subject::of(event, value), self.now_ms))
    }

    /// What was found, in order.
    pub fn finish(mut self) -> Vec<Arc<Event>> {
        self.sort();
        let wanted = self.events.into_iter().skip(self.search.start).take(self.search.limit);
        wanted.map(|(event, _)| event).collect()
    }

    /// By place they came in order.
    fn sort(&mut self) {
        let Sort::Member(member) = &self.search.sort else {
            return;
        };
        let descending = self.search.descending;
        self.events.sort_by(|(a, a_value), (b, b_value)| {
            let order = by_member(member, (a, a_value.as_ref()), (b, b_value.as_ref()));
            if descending { order.reverse() } else { order }
        });
    }
}

type Seen<'a> = (&'a Event, Option<&'a Value>);

fn by_member(member: &Member, a: Seen<'_>, b: Seen<'_>) -> Ordering {
    let look = |event, value| Subject::of(event, value).look(member);
    let (a_seen, b_seen) = (
        a.1.and_then(|value| look(a.0, value)),
        b.1.and_then(|value| look(b.0, value)),
    );
    compare(a_seen, b_seen).then(a.0.offset.cmp(&b.0.offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Draft, Frames};
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
        }
    }

    fn found(search: Search, events: Vec<Arc<Event>>) -> Vec<u64> {
        let mut found = Found::new(search, 0);
        if found.goes_forward() {
            found.add(events.into_iter());
        } else {
            found.add(events.into_iter().rev());
        }
        found.finish().iter().map(|event| event.offset.0).collect()
    }

    #[test]
    fn by_place_it_wants_no_more_than_it_returns() {
        let all = events(&["{}"; 9]);
        assert_eq!(found(search("place", true, 0, 3), all.clone()), [9, 8, 7]);
        assert_eq!(found(search("place", true, 2, 3), all.clone()), [7, 6, 5]);
        assert_eq!(found(search("place", false, 1, 2), all.clone()), [2, 3]);
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
            found.add(events(&texts).into_iter());
            assert!(found.events.len() <= 2 + SLACK + 1);
        }
        let best: Vec<Value> = found
            .finish()
            .iter()
            .filter_map(|event| event.draft.elems.value())
            .collect();
        assert_eq!(best, [serde_json::json!({"t": 9999}), serde_json::json!({"t": 9998})]);
    }
}
