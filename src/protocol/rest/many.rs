//! Several things at once, by the method `MGET`: flowthings' "HTTP Drop Multi-Find", and its Python
//! client's `read_many`.
//!
//! An answer has a member for each thing, by the id that it was asked for with. Invariants: all are
//! shown or none; together they are no more than one request could have asked for.

use crate::broker::Broker;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::stream::Target;
use crate::domain::token::Access;
use crate::engine::search::MAX_BYTES;
use crate::protocol::finding::FindQuery;
use crate::protocol::json;
use crate::protocol::names::Names;
use crate::protocol::reply::{Done, quoted};
use crate::protocol::rest::found::parse_event;
use crate::protocol::rest::verbs::{Outcome, answer, asker, asker_and_body, names, parse_stream, query, stream_id};
use crate::protocol::streams;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// Most things that one request may ask for.
const MAX_THINGS: usize = 1_000;

/// Where to look, and for what.
#[derive(Deserialize, ToSchema)]
#[serde(expecting = "an object with \"streamId\" and \"params\"")]
pub struct Look {
    /// The stream; it may be called `flowId`.
    #[serde(alias = "flowId", rename = "streamId")]
    stream: String,
    /// What to look for, by the names of the parameters of finding.
    #[schema(value_type = Option<Object>)]
    params: Option<FindQuery>,
}

/// The members of an answer.
struct Members {
    text: String,
    known: BTreeSet<String>,
}

impl Members {
    fn new(count: usize) -> Result<Self, Refusal> {
        if count > MAX_THINGS {
            let text = format!("a request asks for at most {MAX_THINGS} at once");
            return Err(Refusal::new(Code::LimitFind, text));
        }
        let (text, known) = (String::new(), BTreeSet::new());
        Ok(Self { text, known })
    }

    fn put(&mut self, id: String, body: &str) -> Result<(), Refusal> {
        if self.text.len() + body.len() > MAX_BYTES {
            let text = format!("what is found has more than {MAX_BYTES} bytes together");
            return Err(Refusal::new(Code::LimitFind, text));
        }
        let comma = if self.text.is_empty() { "" } else { "," };
        self.text.extend([comma, &quoted(&id), ":", body]);
        match self.known.insert(id) {
            true => Ok(()),
            false => Err(Refusal::new(Code::BodyMalformed, "one id is there twice")),
        }
    }

    fn finish(self) -> (Done, String) {
        (Done::Processed, format!("{{{}}}", self.text))
    }
}

/// `MGET …/event`: events of several streams.
pub async fn find(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_find(&broker, &request, payload).await)
}

async fn try_find(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    asker(broker, request)?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let looks: Vec<Look> = json::value(json::text(&body)?)?;
    let (names, most) = (names(request), broker.limits().max_find_events);
    let (mut members, mut wanted) = (Members::new(looks.len())?, 0);
    for Look { stream, params } in looks {
        let params = params.unwrap_or_default();
        let (only, search) = (params.only(names)?, params.search(broker.limits())?);
        wanted += search.limit;
        if wanted > most {
            let text = format!("a request finds at most {most} events, in all streams together");
            return Err(Refusal::new(Code::LimitFind, text).into());
        }
        let target = Target::Id(parse_stream(&stream, names)?);
        let (_, events) = broker.search(&access, &target, search).await?;
        members.put(stream, &only.list(&events).await)?;
    }
    Ok(members.finish())
}

/// What a list of ids names: each id, and the JSON of what it stands for.
async fn show(
    broker: &Broker,
    request: &HttpRequest,
    payload: Payload,
    mut one: impl AsyncFnMut(&Access, &str, Names) -> Result<String, Error>,
) -> Outcome {
    asker(broker, request)?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let ids: Vec<String> = json::value(json::text(&body)?)?;
    let mut members = Members::new(ids.len())?;
    for id in ids {
        let body = one(&access, &id, names(request)).await?;
        members.put(id, &body)?;
    }
    Ok(members.finish())
}

/// `MGET …/event/<streamId>`: several events of a stream.
pub async fn show_events(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_show_events(&broker, &request, payload).await)
}

async fn try_show_events(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    let access = asker(broker, request)?;
    let only = query::<FindQuery>(request)?.only(names(request))?;
    let stream = stream_id(request)?;
    broker.look_up(&access, &Target::Id(stream))?;
    let one = async |access: &Access, id: &str, names| {
        let event = broker.event(access, stream, parse_event(id, names)?).await?;
        let mut text = String::new();
        only.put(&mut text, &event);
        Ok(text)
    };
    show(broker, request, payload, one).await
}

/// `MGET …/stream`: several streams.
pub async fn show_streams(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let shown = show(&broker, &request, payload, async |access, id, names| {
        let stream = broker.look_up(access, &Target::Id(parse_stream(id, names)?))?;
        Ok(streams::one(&stream))
    });
    answer(&broker, shown.await)
}
