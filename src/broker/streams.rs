//! What may be done to streams themselves: found, listed, made, changed, deleted.

use crate::broker::{Broker, Listing};
use crate::catalogue::Shelved;
use crate::database::now_ms;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::id::StreamId;
use crate::domain::path::Path;
use crate::domain::scope::Verb;
use crate::domain::stream::{NewStream, Stream, StreamChange, Target};
use crate::domain::token::Access;
use crate::engine::filter::{Filter, Subject};
use serde_json::json;
use std::sync::Arc;

/// Streams that are looked through before others get a turn.
const LISTED_AT_ONCE: usize = 2_000;

impl Broker {
    /// The stream somebody means, if they may do `verb` to it.
    pub fn find(&self, access: &Access, verb: Verb, target: &Target) -> Result<Arc<Stream>, Refusal> {
        if let Target::Path(path) = target {
            access.check_path(verb, path)?;
        }
        let found = self.catalogue.find(target).or_else(|| self.find_fleeting(target));
        self.check_found(access, verb, target, found)
    }

    /// As [`Broker::find`], of streams that were declared.
    fn find_declared(&self, access: &Access, verb: Verb, id: StreamId) -> Result<Arc<Stream>, Refusal> {
        let target = Target::Id(id);
        self.check_found(access, verb, &target, self.catalogue.find(&target))
    }

    /// What was found for somebody, if they may do `verb` to it.
    pub(super) fn check_found(
        &self,
        access: &Access,
        verb: Verb,
        target: &Target,
        found: Option<Arc<Stream>>,
    ) -> Result<Arc<Stream>, Refusal> {
        if let Target::Path(path) = target {
            access.check_path(verb, path)?;
        }
        let stream = found.ok_or_else(|| Refusal::no_stream(target))?;
        if let Target::Id(_) = target {
            access.check_stream(verb, &stream)?;
        }
        Ok(stream)
    }

    /// The stream somebody means, if they may do anything at all to it.
    pub fn look_up(&self, access: &Access, target: &Target) -> Result<Arc<Stream>, Refusal> {
        let touches = |path: &Path| access.scope().touches(path);
        if let Target::Path(path) = target
            && path.company() == access.token.company.as_str()
            && !touches(path)
        {
            return Err(Refusal::new(Code::ScopeDenied, format!("no right to {path}")));
        }
        let found = self.catalogue.find(target).filter(|stream| touches(&stream.path));
        found.ok_or_else(|| Refusal::no_stream(target))
    }

    /// The streams that somebody may do anything to and looks for, by path, and how many those are in all.
    pub async fn list_streams(&self, access: &Access, listing: &Listing) -> (Vec<Arc<Stream>>, usize) {
        let company = access.token.company.as_str();
        let now_ms = now_ms();
        let is_wanted = |shelved: &Shelved| {
            access.scope().touches(&shelved.stream.path)
                && shelved.text.contains(&listing.search)
                && (listing.filter.as_ref()).is_none_or(|filter| accepts(filter, &shelved.stream, now_ms))
        };
        let (mut streams, mut total, mut last) = (Vec::new(), 0, None);
        loop {
            let some = self.catalogue.streams_after(company, last.as_ref(), LISTED_AT_ONCE);
            let Some(newest) = some.last() else {
                return (streams, total);
            };
            last = Some(newest.stream.path.clone());
            for shelved in some.into_iter().filter(is_wanted) {
                if total >= listing.page.start && streams.len() < listing.page.limit {
                    streams.push(shelved.stream);
                }
                total += 1;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Makes a stream.
    pub async fn add_stream(&self, access: &Access, new: &NewStream) -> Result<Stream, Error> {
        let company = &access.token.company;
        if new.path.company() != company.as_str() {
            let text = format!("a stream of company {company} has a path that starts with /{company}/");
            return Err(Refusal::new(Code::ScopeDenied, text).into());
        }
        access.check_path(Verb::Manage, &new.path)?;
        self.limits.check_capacity(new.capacity)?;
        self.limits.check_text("a description", &new.description)?;
        self.check_filter(new.rules.filter.as_deref())?;
        let most = self.limits.max_streams;
        if self.catalogue.stream_count(company.as_str()) >= most {
            let text = format!("a company has at most {most} streams");
            return Err(Refusal::new(Code::LimitStreams, text).into());
        }
        let id = self.begin_declaring(&new.path);
        let declared = self.declare(access, id, new).await;
        self.end_declaring(&id);
        declared
    }

    async fn declare(&self, access: &Access, id: StreamId, new: &NewStream) -> Result<Stream, Error> {
        let creator = access.token.creator;
        let stream = self.catalogue.add_stream_as(id, new, creator, &access.actor()).await?;
        self.follow_changes().await?;
        Ok(stream)
    }

    /// Changes a stream.
    pub async fn change_stream(&self, access: &Access, id: StreamId, change: &StreamChange) -> Result<Stream, Error> {
        self.find_declared(access, Verb::Manage, id)?;
        self.limits.check_capacity(change.capacity.unwrap_or(0))?;
        self.limits
            .check_text("a description", change.description.as_deref().unwrap_or_default())?;
        self.check_filter(change.filter.as_ref().and_then(Option::as_deref))?;
        let (editor, actor) = (access.token.creator, access.actor());
        let changed = self.catalogue.change_stream(id, change, editor, &actor).await?;
        self.follow_changes().await?;
        Ok(changed.ok_or_else(|| Refusal::no_stream(id))?)
    }

    /// Deletes a stream, its events and everybody's subscription to it.
    pub async fn remove_stream(&self, access: &Access, id: StreamId) -> Result<(), Error> {
        self.find_declared(access, Verb::Manage, id)?;
        self.catalogue.remove_stream(id, &access.actor()).await?;
        Ok(self.follow_changes().await?)
    }

    fn check_filter(&self, filter: Option<&str>) -> Result<(), Refusal> {
        match filter {
            Some(text) => Filter::parse(text, self.limits.max_filter_bytes).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// Whether a filter accepts a stream, whose members it knows by their names.
fn accepts(filter: &Filter, stream: &Stream, now_ms: u64) -> bool {
    let (editor, edited_ms) = stream.edited.unzip();
    let members = json!({
        "description": stream.description, "capacity": stream.capacity, "ack": stream.rules.ack.word(),
        "filter": stream.rules.filter, "maxAge": stream.rules.max_age_s, "maxBytes": stream.rules.max_bytes,
        "lastEditDate": edited_ms, "lastEditorId": editor,
    });
    filter.accepts(&Subject::stream(stream, &members), now_ms)
}
