//! The routes under `/v5.0/<company>/`: who asks is checked first, then the body is read.

use crate::broker::{Broker, Publishing};
use crate::domain::durability::Durability;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::id::StreamId;
use crate::domain::path::Path;
use crate::domain::position::Offset;
use crate::domain::stream::Target;
use crate::domain::token::Access;
use crate::protocol::extract::{self, Caller};
use crate::protocol::operations::other;
use crate::protocol::reply::{self, Done, Envelope, Success};
use crate::protocol::rest::wire::{self, ListQuery, PublishQuery};
use crate::protocol::rest::{found, keys, people, settings, tokens, watch};
use crate::protocol::{events, json};
use actix_web::http::header::HeaderName;
use actix_web::web::{self, Bytes, Data, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::de::DeserializeOwned;

const IF_OFFSET_MATCH: HeaderName = HeaderName::from_static("if-offset-match");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What came of a request: the body of its answer.
pub type Outcome = Result<(Done, String), Error>;

/// All routes of this protocol.
pub fn routes(config: &mut ServiceConfig) {
    config
        .configure(watch::routes)
        .configure(keys::routes)
        .configure(tokens::routes)
        .configure(people::routes)
        .configure(settings::routes)
        .service(
            web::resource("/v5.0/{company}/event")
                .get(found::find)
                .post(publish)
                .delete(found::remove_all)
                .default_service(other("GET, POST, DELETE")),
        )
        .service(
            web::resource("/v5.0/{company}/event/{id}")
                .get(found::find)
                .post(publish)
                .delete(found::remove_all)
                .default_service(other("GET, POST, DELETE")),
        )
        .service(
            web::resource("/v5.0/{company}/event/{id}/{event}")
                .get(found::show)
                .delete(found::remove)
                .default_service(other("GET, DELETE")),
        )
        .service(
            web::resource("/v5.0/{company}/stream")
                .get(list)
                .post(add)
                .default_service(other("GET, POST")),
        )
        .service(
            web::resource("/v5.0/{company}/stream/{id}")
                .get(show)
                .put(change)
                .delete(remove)
                .default_service(other("GET, PUT, DELETE")),
        );
}

async fn publish(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let address = request.match_info();
    let letter = Letter {
        caller: Caller::from(&request),
        company: address.get("company").unwrap_or_default(),
        stream: address.get("id"),
        query: request.query_string(),
    };
    let body = async |access: &Access| {
        let body = extract::body(&broker, letter.caller, payload).await?;
        // While it came they may have lost the right to.
        broker.check_token(access.token.key)?;
        Ok(body)
    };
    answer(&broker, publish_letter(&broker, &letter, body).await)
}

/// A request to publish, without its body.
pub struct Letter<'a> {
    /// Who sends it.
    pub caller: Caller<'a>,
    /// The company in the address.
    pub company: &'a str,
    /// The stream's id in the address; without one each event names a path.
    pub stream: Option<&'a str>,
    /// The query string.
    pub query: &'a str,
}

/// Publishes what is in the body, whichever way the request came in. A stranger's body is not asked for.
pub async fn publish_letter<B: AsRef<[u8]>>(
    broker: &Broker,
    letter: &Letter<'_>,
    body: impl AsyncFnOnce(&Access) -> Result<B, Refusal>,
) -> Outcome {
    let access = extract::asker(broker, letter.caller, Some(letter.company))?;
    let target = letter.stream.map(|id| parse_stream(id).map(Target::Id)).transpose()?;
    let body = body(&access).await?;
    let how = How::parse(letter)?;
    let text = json::text(body.as_ref())?;
    let drafts = events::parse(text, target.as_ref(), broker.limits())?;
    let shows_more = how.is_extended();
    let key = how.key.map(|key| (key, events::request(target.as_ref(), text)));
    let publishing = Publishing {
        drafts: drafts.drafts,
        ack: how.ack,
        expected: how.expected,
        key,
        fleeting: false,
    };
    let published = broker.publish(&access, publishing).await?;
    let reached = shows_more.then_some(published.reached);
    let text = events::published(&published.events, drafts.is_batch, reached);
    Ok((Done::Created, text))
}

/// How an event is to be published, beyond the event itself.
struct How {
    ack: Option<Durability>,
    expected: Option<Offset>,
    key: Option<String>,
}

impl How {
    fn parse(letter: &Letter) -> Result<Self, Refusal> {
        let query = match letter.query {
            "" => PublishQuery::default(),
            text => parse_query(text)?,
        };
        let headers = letter.caller.headers;
        let header = |name| headers.get(name).map(|value| value.text().unwrap_or_default());
        Ok(Self {
            ack: query.ack()?,
            expected: header(&IF_OFFSET_MATCH).map(wire::parse_offset).transpose()?,
            key: header(&IDEMPOTENCY_KEY).map(events::parse_key).transpose()?,
        })
    }

    fn is_extended(&self) -> bool {
        self.ack.is_some() || self.expected.is_some() || self.key.is_some()
    }
}

async fn list(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_list(&broker, &request).await)
}

async fn try_list(broker: &Broker, request: &HttpRequest) -> Result<Success, Error> {
    let access = asker(broker, request)?;
    let query: ListQuery = query(request)?;
    let page = query.page()?;
    if let Some(path) = &query.path {
        let stream = broker.look_up(&access, &Target::Path(Path::parse(path)?))?;
        return Ok(Success {
            total: Some(1),
            ..(Done::Processed, wire::streams(&[stream])).into()
        });
    }
    let (streams, total) = broker.list_streams(&access, page, query.search.as_deref()).await;
    Ok(Success {
        total: Some(total),
        ..(Done::Processed, wire::streams(&streams)).into()
    })
}

async fn add(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_add(&broker, &request, payload).await)
}

async fn try_add(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    asker(broker, request)?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let new = wire::parse_new_stream(&body, broker.limits())?;
    let stream = broker.add_stream(&access, &new).await?;
    Ok((Done::Created, wire::stream(&stream)))
}

async fn show(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_show(&broker, &request))
}

fn try_show(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let stream = broker.look_up(&access, &Target::Id(stream_id(request)?))?;
    Ok((Done::Processed, wire::stream(&stream)))
}

async fn change(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_change(&broker, &request, payload).await)
}

async fn try_change(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    asker(broker, request)?;
    let id = stream_id(request)?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let stream = broker.look_up(&access, &Target::Id(id))?;
    let change = wire::parse_stream_change(&body, &stream)?;
    let stream = broker.change_stream(&access, id, &change).await?;
    Ok((Done::Processed, wire::stream(&stream)))
}

async fn remove(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_remove(&broker, &request).await)
}

async fn try_remove(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    broker.remove_stream(&access, stream_id(request)?).await?;
    Ok((Done::Processed, "{}".to_owned()))
}

/// The query parameters; refused with `query.malformed`.
pub fn query<Q: DeserializeOwned>(request: &HttpRequest) -> Result<Q, Refusal> {
    parse_query(request.query_string())
}

fn parse_query<Q: DeserializeOwned>(text: &str) -> Result<Q, Refusal> {
    let query = Query::<Q>::from_query(text).map(Query::into_inner);
    query.map_err(|error| Refusal::new(Code::QueryMalformed, error.to_string()))
}

/// Who asks, by the headers and the company in the address.
pub fn asker(broker: &Broker, request: &HttpRequest) -> Result<Access, Refusal> {
    extract::asker(broker, request, request.match_info().get("company"))
}

/// The body, and who asks once it is there: while it came they may have lost the right to. To be
/// called after asking a first time, because a stranger's body is not read.
pub async fn asker_and_body(
    broker: &Broker,
    request: &HttpRequest,
    payload: Payload,
) -> Result<(Access, Bytes), Refusal> {
    let body = extract::body(broker, request, payload).await?;
    Ok((asker(broker, request)?, body))
}

/// The stream that the address names; an id that is none names no stream.
pub fn stream_id(request: &HttpRequest) -> Result<StreamId, Refusal> {
    parse_stream(request.match_info().get("id").unwrap_or_default())
}

fn parse_stream(text: &str) -> Result<StreamId, Refusal> {
    StreamId::parse(text).ok_or_else(|| Refusal::no_stream(text.chars().take(64).collect::<String>()))
}

/// An outcome in the envelope of this protocol.
pub fn answer(broker: &Broker, outcome: Result<impl Into<Success>, Error>) -> HttpResponse {
    reply::answer(broker.metrics(), Envelope::Rest, outcome)
}
