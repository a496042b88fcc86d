//! A run of one stream's events as bytes, made once for everybody who wants the same of it.
//!
//! Invariant: what is returned is whole frames, in order.

use crate::domain::event::{Event, Wire};
use crate::domain::position::Offset;
use crate::engine::connection::{Dialect, join};
use crate::engine::filter::{Filter, Subject};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// Filters whose outcome is kept for the next subscriber of a run.
const SHARED_FILTERS: usize = 16;

/// A run of events as bytes: made once for everybody who wants all of it.
pub(super) struct Joined<'a> {
    run: &'a [Arc<Event>],
    whole: [Option<Bytes>; Wire::COUNT],
    /// What filters look at, parsed when the first of them asks.
    values: Vec<Option<Value>>,
    /// What some filters made of all of it, so that those who want the same share it.
    filtered: Vec<(Filter, Wire, Bytes, u64)>,
    now_ms: u64,
}

impl<'a> Joined<'a> {
    /// Nothing is made of it yet.
    pub(super) fn of(run: &'a [Arc<Event>], now_ms: u64) -> Self {
        Self {
            run,
            whole: [const { None }; Wire::COUNT],
            values: Vec::new(),
            filtered: Vec::new(),
            now_ms,
        }
    }

    /// What of the run is at or after `from` and wanted, and how many events that is.
    pub(super) fn from(&mut self, from: Offset, dialect: &Dialect, filter: Option<&Filter>) -> (Bytes, u64) {
        let seen = self.run.partition_point(|event| event.offset < from);
        if let Some(filter) = filter {
            return self.filtered(seen, dialect, filter);
        }
        let rest = &self.run[seen..];
        let bytes = match seen {
            0 => self.whole[dialect.wire as usize]
                .get_or_insert_with(|| join(rest, dialect))
                .clone(),
            // Somebody subscribed while these were on their way.
            _ => join(rest, dialect),
        };
        (bytes, rest.len() as u64)
    }

    fn filtered(&mut self, seen: usize, dialect: &Dialect, filter: &Filter) -> (Bytes, u64) {
        let same = |(other, wire, _, _): &&(Filter, Wire, Bytes, u64)| other == filter && *wire == dialect.wire;
        if seen == 0
            && let Some((_, _, bytes, count)) = self.filtered.iter().find(same)
        {
            return (bytes.clone(), *count);
        }
        let wanted = self.wanted(seen, filter);
        let (bytes, count) = (join(&wanted, dialect), wanted.len() as u64);
        if seen == 0 && self.filtered.len() < SHARED_FILTERS {
            self.filtered.push((filter.clone(), dialect.wire, bytes.clone(), count));
        }
        (bytes, count)
    }

    fn wanted(&mut self, seen: usize, filter: &Filter) -> Vec<Arc<Event>> {
        if self.values.is_empty() {
            self.values = self.run.iter().map(|event| event.draft.elems.value()).collect();
        }
        let events = self.run.iter().zip(&self.values).skip(seen);
        let wanted = events.filter(|(event, value)| {
            let value = value.as_ref();
            value.is_some_and(|value| filter.accepts(&Subject::of(event, value), self.now_ms))
        });
        wanted.map(|(event, _)| Arc::clone(event)).collect()
    }
}
