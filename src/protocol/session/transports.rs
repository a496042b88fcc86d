//! The plain HTTP ways to a session: `/streaming`, `/polling`, `/events` and `/requests`.
//!
//! Every request is checked as a socket would be, before anything is set up. Invariant: a response
//! holds a bounded part of what is said; the rest waits with the conversation, and then in the log.

use crate::broker::{Broker, From};
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::id::StreamId;
use crate::domain::origin::Origins;
use crate::domain::position::Position;
use crate::domain::scope::Verb;
use crate::domain::session_id::SessionId;
use crate::protocol::conversation::Conversation;
use crate::protocol::extract::{self, Caller, Headers};
use crate::protocol::json;
use crate::protocol::operations::other;
use crate::protocol::pump::Desk;
use crate::protocol::reply::{self, Envelope};
use crate::protocol::session::outflow::{Exit, Outflow, Polled};
use crate::protocol::session::standing::{self, follow, place};
use crate::protocol::session::verbs::LINES;
use crate::protocol::session::wire::{EventsQuery, Framing, Places, Subscribe};
use crate::protocol::tether::Tether;
use crate::sessions::pipe::{Inlet, pipe};
use crate::sessions::standing::{Answered, Errand};
use actix_web::body::MessageBody;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::http::{ConnectionType, StatusCode, Version};
use actix_web::web::{self, Path, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

/// Bytes that may wait for a response that goes on.
const STREAM_BYTES: usize = 65_536;
/// Bytes that one answer to a poll has, or one chunk.
const POLL_BYTES: usize = 262_144;
/// How often a session is looked for that moves meanwhile.
const ATTEMPTS: usize = 3;
/// Where a reader was, as browsers tell (HTML standard, Server-sent events).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Has nginx pass a response on as it comes.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What a worker needs to serve sessions over plain HTTP.
pub struct Station {
    /// The product.
    pub broker: Arc<Broker>,
    /// Which pages may come.
    pub origins: Arc<Origins>,
    /// The worker.
    pub desk: Rc<Desk>,
    /// How long a poll waits.
    pub poll: Duration,
    /// How long a response may be quiet.
    pub ping: Duration,
}

/// All of them.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/session/{id}/streaming")
                .get(stream)
                .default_service(other("GET")),
        )
        .service(
            web::resource("/session/{id}/polling")
                .get(poll)
                .default_service(other("GET")),
        )
        .service(
            web::resource("/session/{id}/events")
                .get(events)
                .default_service(other("GET")),
        )
        .service(
            web::resource("/session/{id}/requests")
                .post(ask)
                .default_service(other("POST")),
        );
}

async fn stream(request: HttpRequest, id: Path<String>) -> HttpResponse {
    let visit = Visit::of(&request);
    visit.settle(visit.stream(&id))
}

async fn poll(request: HttpRequest, id: Path<String>) -> HttpResponse {
    let visit = Visit::of(&request);
    visit.settle(visit.poll(&id).await)
}

async fn events(request: HttpRequest, id: Path<String>) -> HttpResponse {
    let visit = Visit::of(&request);
    visit.settle(visit.events(&id).await)
}

async fn ask(request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let visit = Visit::of(&request);
    visit.settle(visit.ask(&id, payload).await)
}

/// A request that has come.
struct Visit<'a> {
    station: &'a Station,
    request: &'a HttpRequest,
}

impl<'a> Visit<'a> {
    fn of(request: &'a HttpRequest) -> Self {
        let station = request.app_data::<Rc<Station>>();
        let station = station.expect("the server gives every worker its station");
        Self { station, request }
    }

    fn settle(&self, outcome: Result<HttpResponse, Error>) -> HttpResponse {
        let metrics = self.station.broker.metrics();
        outcome.unwrap_or_else(|error| {
            let refusal = reply::explain(metrics, error);
            reply::refuse(metrics, Envelope::Session, &refusal)
        })
    }

    /// The session that is meant; refused as a socket on it would be.
    fn session(&self, id: &str) -> Result<SessionId, Refusal> {
        extract::check_origin(Headers::Map(self.request.headers()), &self.station.origins)?;
        let session = SessionId::parse(id);
        let session = session.ok_or_else(|| Refusal::new(Code::SessionUnknown, "no such session"))?;
        let visitor = extract::visitor(self.request);
        self.station.broker.check_session(&session, &visitor)?;
        Ok(session)
    }

    /// The session's standing conversation, which begins here if there is none.
    fn standing(&self, session: SessionId) -> Result<Sender<Errand>, Refusal> {
        let Station { broker, desk, .. } = self.station;
        if let Some(standing) = broker.standing(&session) {
            return Ok(standing);
        }
        let seat = broker.connect(session, &extract::visitor(self.request))?;
        Ok(standing::begin(desk, seat, self.request.peer_addr()))
    }

    fn send(&self, session: SessionId, mut errand: Errand) -> Result<(), Refusal> {
        for _ in 0..ATTEMPTS {
            match self.standing(session)?.try_send(errand) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => {
                    let text = "too many requests of this session wait for an answer";
                    return Err(Refusal::new(Code::LimitRequests, text));
                }
                // It ended just now; the next one begins.
                Err(TrySendError::Closed(back)) => errand = back,
            }
        }
        Err(moved())
    }

    fn exit(&self, limit: usize) -> (Inlet, Exit) {
        let (inlet, outlet) = pipe(limit);
        let tether = self.request.conn_data::<Rc<Tether>>();
        let tether = tether.expect("all of HTTP's connections have one");
        (inlet, Exit::new(outlet, tether))
    }

    fn stream(&self, id: &str) -> Result<HttpResponse, Error> {
        let session = self.session(id)?;
        let (inlet, exit) = self.exit(STREAM_BYTES);
        self.send(session, Errand::attach(inlet))?;
        Ok(self.flow(exit, Framing::Lines))
    }

    /// A response that goes on.
    fn flow(&self, exit: Exit, framing: Framing) -> HttpResponse {
        let kind = framing.kind();
        let Station { broker, ping, .. } = self.station;
        // Before 1.1 nobody knows of chunks; the answer ends with its connection (RFC 9112 §6.1, §6.3).
        let is_chunked = self.request.version() >= Version::HTTP_11;
        let mut response = response(kind, Outflow::new(exit, framing, Arc::clone(broker), *ping, is_chunked));
        if !is_chunked {
            let head = response.head_mut();
            head.no_chunking(true);
            head.set_connection_type(ConnectionType::Close);
        }
        response
    }

    async fn poll(&self, id: &str) -> Result<HttpResponse, Error> {
        let session = self.session(id)?;
        let (inlet, exit) = self.exit(POLL_BYTES);
        exit.clear().await;
        self.send(session, Errand::attach(inlet))?;
        let something = poll_fn(|context| match exit.poll_gone(context) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => exit.outlet.poll_some(context).map(|()| true),
        });
        let came = tokio::time::timeout(self.station.poll, something).await;
        if came == Ok(false) {
            // Nobody is there to answer to; what waits, waits on.
            return Ok(response("application/json", "[]"));
        }
        Ok(response("application/json", Polled::new(exit)))
    }

    async fn events(&self, id: &str) -> Result<HttpResponse, Error> {
        let session = self.session(id)?;
        let seen = Headers::Map(self.request.headers()).get(&LAST_EVENT_ID);
        let pairs = Query::<Vec<(String, String)>>::from_query(self.request.query_string());
        let pairs = pairs.map_err(|error| Refusal::new(Code::QueryMalformed, format!("the query: {error}")))?;
        let seen = seen.map(|seen| seen.text().unwrap_or("not text"));
        let query = EventsQuery::parse(&pairs, seen, self.station.broker.limits())?;
        let (inlet, exit) = self.exit(STREAM_BYTES);
        match query.wishes.is_empty() {
            true => self.send(session, Errand::attach_at(inlet, query.seen))?,
            false => self.converse(session, query, inlet).await?,
        }
        Ok(self.flow(exit, Framing::Events(Places::default())))
    }

    /// Begins a conversation that is this response's alone.
    async fn converse(&self, session: SessionId, query: EventsQuery, inlet: Inlet) -> Result<(), Error> {
        let Station { broker, desk, .. } = self.station;
        let seat = broker.connect(session, &extract::visitor(self.request))?;
        let at = Conversation::relayed(Rc::clone(desk), seat, &LINES, self.request.peer_addr());
        let mut places = Vec::new();
        for wish in query.wishes {
            let wish = begin(&at, wish, &query.seen).await?;
            let (subscribed, notice) = follow(&at, wish)?;
            places.push(place(&subscribed));
            notice.into_iter().for_each(|notice| at.reply(notice));
        }
        at.attach(inlet, places.into_iter());
        actix_rt::spawn(at.run_relayed(None));
        Ok(())
    }

    async fn ask(&self, id: &str, payload: Payload) -> Result<HttpResponse, Error> {
        let session = self.session(id)?;
        let most = self.station.broker.limits().max_frame_bytes;
        let caller = Caller::from(self.request);
        let body = extract::body_within(most, Code::FrameSize, caller, payload).await?;
        let text = json::text(&body)?.to_owned();
        let (answer, answered) = oneshot::channel();
        self.send(session, Errand::Request { text, answer })?;
        match answered.await {
            Ok(answered) => Ok(acknowledge(answered)),
            Err(_) => {
                // It ended before it answered: the session did, or it moved.
                self.session(id)?;
                Err(moved().into())
            }
        }
    }
}

/// From where a stream is followed: where the reader was, if it says so, or else as it wishes.
async fn begin(at: &Conversation, mut wish: Subscribe, seen: &[(StreamId, Position)]) -> Result<Subscribe, Error> {
    let (broker, access) = (at.seat.broker(), &at.seat.access);
    let stream = broker.find(access, Verb::Read, &wish.target)?;
    if let Some((_, position)) = seen.iter().find(|(known, _)| *known == stream.id) {
        wish.following.from = From::Position(*position);
    } else if let Some(time_ms) = wish.since_ms {
        let (epoch, offset) = (None, broker.place_before(access, &wish.target, time_ms).await?);
        wish.following.from = From::Position(Position { epoch, offset });
    }
    Ok(wish)
}

fn moved() -> Refusal {
    Refusal::new(Code::SessionMoved, "the session is read elsewhere now")
}

fn acknowledge(answered: Answered) -> HttpResponse {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = answered.retry_after {
        response.insert_header((RETRY_AFTER, seconds));
    }
    match answered.text {
        Some(text) => response.insert_header((CONTENT_TYPE, "application/json")).body(text),
        None => response.finish(),
    }
}

/// An answer that nobody is to keep or to hold back.
fn response(kind: &'static str, body: impl MessageBody + 'static) -> HttpResponse {
    let mut response = HttpResponse::with_body(StatusCode::OK, body).map_into_boxed_body();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
