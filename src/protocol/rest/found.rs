//! The verbs of events that were published: found, shown, deleted.
//!
//! The routes are with the others in `verbs`. Who asks is checked first, then what they ask for.

use crate::broker::Broker;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::event::Event;
use crate::domain::id::EventId;
use crate::domain::stream::{Stream, Target};
use crate::protocol::finding::FindQuery;
use crate::protocol::finding::only::Only;
use crate::protocol::names::Names;
use crate::protocol::reply::{Done, Success};
use crate::protocol::rest::verbs::{answer, asker, names, query, stream_id};
use crate::protocol::streams;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;

type Outcome = Result<Success, Error>;

/// `GET …/event[/<streamId>]`: events, the newest first if nothing else is said.
pub async fn find(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_find(&broker, &request).await)
}

async fn try_find(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let query: FindQuery = query(request)?;
    let target = target(request, &query)?;
    let (only, refers) = (query.only(names(request))?, query.wants_references()?);
    let search = query.search(broker.limits())?;
    let (stream, events) = broker.search(&access, &target, search).await?;
    Ok(success(only.list(&events).await, refers.then_some(&*stream)))
}

/// `GET …/event/<streamId>/<eventId>`: one event.
pub async fn show(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_show(&broker, &request).await)
}

async fn try_show(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let query: FindQuery = query(request)?;
    let (only, refers) = (query.only(names(request))?, query.wants_references()?);
    let id = stream_id(request)?;
    let event = broker.event(&access, id, event_id(request)?).await?;
    let stream = match refers {
        true => Some(broker.look_up(&access, &Target::Id(id))?),
        false => None,
    };
    Ok(success(written(&only, &event), stream.as_deref()))
}

fn written(only: &Only, event: &Arc<Event>) -> String {
    let mut body = String::new();
    only.put(&mut body, event);
    body
}

/// `DELETE …/event/<streamId>/<eventId>`: deletes one event.
pub async fn remove(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_remove(&broker, &request).await)
}

async fn try_remove(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let id = stream_id(request)?;
    broker.remove_event(&access, id, event_id(request)?).await?;
    Ok(success("{}".to_owned(), None))
}

/// `DELETE …/event[/<streamId>]`: deletes all events of a stream.
pub async fn remove_all(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_remove_all(&broker, &request).await)
}

async fn try_remove_all(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let asked: FindQuery = query(request)?;
    asked.check_whole()?;
    let target = target(request, &asked)?;
    broker.remove_events(&access, &target).await?;
    Ok(success("{}".to_owned(), None))
}

/// The address says which stream; a path in the query beside it says nothing.
fn target(request: &HttpRequest, query: &FindQuery) -> Result<Target, Refusal> {
    match request.match_info().get("id") {
        Some(_) => stream_id(request).map(Target::Id),
        None => query.target(),
    }
}

/// An id that is none names no event.
fn event_id(request: &HttpRequest) -> Result<EventId, Refusal> {
    parse_event(request.match_info().get("event").unwrap_or_default(), names(request))
}

/// An event's id; what is none names no event.
pub fn parse_event(text: &str, names: Names) -> Result<EventId, Refusal> {
    names.event_id(text).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        Refusal::new(Code::EventUnknown, format!("the stream has no event {shown}"))
    })
}

fn success(body: String, refers_to: Option<&Stream>) -> Success {
    let references = match refers_to {
        Some(stream) => format!(r#"{{"{}":{}}}"#, stream.id, streams::one(stream)),
        None => "{}".to_owned(),
    };
    let done = Done::Processed;
    Success {
        done,
        body,
        references: references.into(),
        total: None,
    }
}
