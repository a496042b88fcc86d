//! The routes under `/v5.0/<company>/`, and the same by their older names: who asks is checked first, then
//! the body is read.

use crate::broker::{Broker, Publishing};
use crate::domain::durability::Durability;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::id::StreamId;
use crate::domain::position::Offset;
use crate::domain::stream::Target;
use crate::domain::token::Access;
use crate::protocol::extract::{self, Caller};
use crate::protocol::names::{BASES, Names};
use crate::protocol::operations::{self, other};
use crate::protocol::reply::{self, Done, Envelope, Success};
use crate::protocol::rest::wire::{self, PublishQuery};
use crate::protocol::rest::{aggregate, found, keys, many, people, settings, streams, tokens, watch};
use crate::protocol::{events, json};
use actix_web::http::Method;
use actix_web::http::header::HeaderName;
use actix_web::web::{self, Bytes, Data, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::de::DeserializeOwned;

const IF_OFFSET_MATCH: HeaderName = HeaderName::from_static("if-offset-match");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What came of a request: the body of its answer.
pub type Outcome = Result<(Done, String), Error>;

/// All routes of this protocol: events, streams and tokens by either set of names.
pub fn routes(config: &mut ServiceConfig) {
    config
        .configure(watch::routes)
        .configure(keys::routes)
        .configure(people::routes)
        .configure(settings::routes);
    for (base, names) in BASES {
        let at = |rest: &str| addresses(base, names, rest);
        events_at(config, at);
        streams::routes(config, at);
        tokens::routes(config, at);
    }
    tokens::routes_of_ours(config);
}

/// Where a resource is that we call so. Older clients put a slash behind it now and then (flowthings-go-client's
/// `DROP_POST`, the curl lines of "Creating additional Tokens for Devices").
fn addresses(base: &str, names: Names, rest: &str) -> Vec<String> {
    let (object, below) = rest
        .split_once('/')
        .map_or((rest, ""), |(object, _)| (object, &rest[object.len()..]));
    let plain = format!("{base}/{{company}}/{}{below}", names.called(object));
    match names {
        Names::Octave => vec![plain],
        Names::Flowthings => vec![plain.clone(), plain + "/"],
    }
}

fn events_at(config: &mut ServiceConfig, at: impl Fn(&str) -> Vec<String>) {
    config
        .service(
            web::resource(at("event"))
                .get(found::find)
                .post(publish)
                .delete(found::remove_all)
                .route(web::method(mget()).to(many::find))
                .default_service(other("GET, POST, DELETE, MGET")),
        )
        .service(
            web::resource(at("event/{id}"))
                .get(found::find)
                .post(publish)
                .delete(found::remove_all)
                .route(web::method(mget()).to(many::show_events))
                .default_service(other("GET, POST, DELETE, MGET")),
        )
        .service(
            web::resource(at("event/{id}/aggregate"))
                .post(aggregate::aggregate)
                .default_service(other("POST")),
        )
        .service(
            web::resource(at("event/{id}/{event}"))
                .get(found::show)
                .delete(found::remove)
                .put(refuse_change)
                .default_service(other("GET, DELETE")),
        );
}

/// What flowthings' clients ask for several things with; HTTP has no such method.
pub fn mget() -> Method {
    Method::from_bytes(b"MGET").expect("four letters")
}

async fn refuse_change(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    let text = "events never change: publish another one, or delete this one";
    operations::refuse_method(&broker, &request, "GET, DELETE", text)
}

async fn publish(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let address = request.match_info();
    let letter = Letter {
        caller: Caller::from(&request),
        names: names(&request),
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
    /// How things are called at the address.
    pub names: Names,
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
    let names = letter.names;
    let access = identify(broker, letter.caller, names, letter.company)?;
    let target = letter
        .stream
        .map(|id| parse_stream(id, names).map(Target::Id))
        .transpose()?;
    let body = body(&access).await?;
    let how = How::parse(letter)?;
    let text = json::text(body.as_ref())?;
    let drafts = events::parse(text, target.as_ref(), broker.limits(), names)?;
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
    let text = events::published(&published.events, drafts.is_batch, reached, names);
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
    let company = request.match_info().get("company").unwrap_or_default();
    identify(broker, Caller::from(request), names(request), company)
}

fn identify(broker: &Broker, caller: Caller<'_>, names: Names, company: &str) -> Result<Access, Refusal> {
    match names {
        Names::Octave => extract::asker(broker, caller, Some(company)),
        Names::Flowthings => extract::account(broker, caller, company),
    }
}

/// How things are called at the address.
pub fn names(request: &HttpRequest) -> Names {
    Names::of_path(request.path()).unwrap_or_default()
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
    parse_stream(request.match_info().get("id").unwrap_or_default(), names(request))
}

/// A stream's id; what is none names no stream.
pub fn parse_stream(text: &str, names: Names) -> Result<StreamId, Refusal> {
    let id = names.stream_id(text);
    id.ok_or_else(|| Refusal::no_stream(text.chars().take(64).collect::<String>()))
}

/// An outcome in the envelope of this protocol.
pub fn answer(broker: &Broker, outcome: Result<impl Into<Success>, Error>) -> HttpResponse {
    reply::answer(broker.metrics(), Envelope::Rest, outcome)
}
