//! What may be asked about events that were published: where a reader goes on, which events there
//! are, deleting them.

use crate::broker::Broker;
use crate::domain::audit::{Action, Note};
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::event::Event;
use crate::domain::id::{EventId, StreamId};
use crate::domain::position::{Offset, Position};
use crate::domain::scope::Verb;
use crate::domain::stream::{Stream, Target};
use crate::domain::token::Access;
use crate::engine::aggregate::{Aggregate, Plan};
use crate::engine::ledger::View;
use crate::engine::resume::Resume;
use crate::engine::search::{Found, Search};
use serde_json::{Value, json};
use std::sync::Arc;

/// Events read at once while searching; others get a turn in between.
const SEARCH_EVENTS: usize = 256;
/// Bytes of events, times what is to be done with each, that are summed up at once.
const TURN_BYTES: usize = 262_144;
/// What an event costs there beside its bytes.
const EVENT_BYTES: usize = 256;

impl Broker {
    /// What a reader who stopped at `position` would find, and where the stream is; nothing about
    /// streams that they may not read, or that do not exist.
    pub fn resume(&self, access: &Access, stream: StreamId, position: Position) -> Option<(Resume, View)> {
        let stream = self.find(access, Verb::Read, &Target::Id(stream)).ok()?;
        let view = self.log.open(&stream);
        Some((Resume::since(&view, position), view))
    }

    /// The place before the first event of a stream that is later than a time.
    pub async fn place_before(&self, access: &Access, target: &Target, time_ms: u64) -> Result<Offset, Error> {
        let stream = self.find(access, Verb::Read, target)?;
        Ok(self.log.place_before(&stream, time_ms).await?)
    }

    /// The events of a stream that `search` asks for. Reads no further than it must.
    pub async fn search(
        &self,
        access: &Access,
        target: &Target,
        search: Search,
    ) -> Result<(Arc<Stream>, Vec<Arc<Event>>), Error> {
        let stream = self.find(access, Verb::Read, target)?;
        let view = self.log.open(&stream);
        let mut found = Found::new(search, crate::database::now_ms());
        if found.goes_forward() {
            let mut after = view.first.previous();
            while after < view.head && !found.is_complete() {
                let page = self.log.read(&stream.id, after).await?;
                let Some(last) = page.events.last() else {
                    break;
                };
                after = last.offset;
                found.add(page.events.into_iter())?;
                tokio::task::yield_now().await;
            }
        } else {
            let mut end = view.head.next();
            while !found.is_complete() {
                let events = self
                    .log
                    .read_back(&stream.id, end, found.wants().min(SEARCH_EVENTS))
                    .await?;
                let Some(first) = events.first() else {
                    break;
                };
                end = first.offset;
                found.add(events.into_iter().rev())?;
                tokio::task::yield_now().await;
            }
        }
        Ok((stream, found.finish()?))
    }

    /// The events that a stream keeps, in groups that are summed up: a row for each.
    pub async fn aggregate(
        &self,
        access: &Access,
        target: &Target,
        plan: Plan,
    ) -> Result<impl ExactSizeIterator<Item = Value>, Error> {
        let stream = self.find(access, Verb::Read, target)?;
        let view = self.log.open(&stream);
        let mut aggregate = Aggregate::new(plan, crate::database::now_ms(), self.limits.max_find_events);
        let mut after = view.first.previous();
        while after < view.head {
            let page = self.log.read(&stream.id, after).await?;
            let Some(last) = page.events.last() else {
                break;
            };
            after = last.offset;
            let mut work = 0;
            for event in &page.events {
                aggregate.add(event)?;
                work += (EVENT_BYTES + event.draft.elems.as_str().len()) * aggregate.size();
                if work >= TURN_BYTES {
                    tokio::task::yield_now().await;
                    work = 0;
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(aggregate.finish())
    }

    /// One event.
    pub async fn event(&self, access: &Access, stream: StreamId, id: EventId) -> Result<Arc<Event>, Error> {
        let stream = self.find(access, Verb::Read, &Target::Id(stream))?;
        self.log.open(&stream);
        let event = self.log.event(&stream.id, id.offset()).await?;
        let event = event.filter(|event| event.id == id);
        Ok(event.ok_or_else(|| no_event(id))?)
    }

    /// Deletes one event; readers that come by its place are told that it is gone.
    pub async fn remove_event(&self, access: &Access, stream: StreamId, id: EventId) -> Result<(), Error> {
        let stream = self.find(access, Verb::Manage, &Target::Id(stream))?;
        self.log.open(&stream);
        let event = self.log.event(&stream.id, id.offset()).await?;
        if event.is_none_or(|event| event.id != id) || !self.log.remove(stream.id, id.offset()).await? {
            return Err(no_event(id).into());
        }
        let note = Note::with(
            Action::EventsDeleted,
            &stream.path,
            json!({"id": stream.id, "event": id}),
        );
        Ok(self.note(access, note).await?)
    }

    /// Deletes all events of a stream.
    pub async fn remove_events(&self, access: &Access, target: &Target) -> Result<(), Error> {
        let stream = self.find(access, Verb::Manage, target)?;
        if !self.log.clear(stream.id).await? {
            return Ok(());
        }
        let note = Note::with(Action::EventsDeleted, &stream.path, json!({"id": stream.id}));
        Ok(self.note(access, note).await?)
    }
}

fn no_event(id: EventId) -> Refusal {
    Refusal::new(Code::EventUnknown, format!("the stream has no event {id}"))
}
