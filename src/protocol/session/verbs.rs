//! What the session protocol does with a request: asks the broker, says what came of it.

use crate::broker::{Broker, From, Publishing, Seat};
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::event::Wire;
use crate::domain::position::Position;
use crate::domain::session_id::SessionId;
use crate::domain::token::Access;
use crate::engine::connection::Dialect;
use crate::protocol::conversation::Conversation;
use crate::protocol::deflate::Packing;
use crate::protocol::events;
use crate::protocol::extract::{self, Caller, Headers};
use crate::protocol::frame;
use crate::protocol::operations::{no_upgrade, other};
use crate::protocol::reply::{self, Done, Envelope};
use crate::protocol::session::objects;
use crate::protocol::session::standing;
use crate::protocol::session::wire::objects::Wish;
use crate::protocol::session::wire::{self, Ask, Create, Opening, Subscribe};
use crate::protocol::speech::Speech;
use crate::protocol::upgrade::{Door, Doorkeeper, Refusing};
use crate::sessions::standing::Answered;
use actix_http::Request;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use std::rc::Rc;
use tokio::sync::oneshot;

/// How sockets of this protocol speak.
pub const SPEECH: Speech = Speech {
    begin: standing::take_over,
    part: standing::leave,
    ..Speech::new(
        Dialect {
            wire: Wire::Session,
            event: wire::event,
            gap: wire::gap,
        },
        receive,
    )
};

/// How those speak that agreed on compression: what is rare is said plainly.
pub const DEFLATED: Speech = Speech {
    packing: Packing::Deflate,
    begin: standing::take_over,
    part: standing::leave,
    ..Speech::new(
        Dialect {
            wire: Wire::SessionDeflated,
            event: wire::event_deflated,
            gap: wire::gap,
        },
        receive,
    )
};

/// How those speak whose words leave by plain HTTP.
pub const LINES: Speech = Speech {
    goodbye: wire::goaway,
    ..Speech::new(
        Dialect {
            wire: Wire::Lines,
            event: wire::event_line,
            gap: wire::gap_line,
        },
        receive,
    )
};

/// How events are said to who calls them drops; plainly, whatever was agreed on.
const DROPS: Dialect = Dialect {
    wire: Wire::Drops,
    event: wire::drop_event,
    gap: wire::gap,
};

/// The same by plain HTTP.
const DROP_LINES: Dialect = Dialect {
    wire: Wire::DropLines,
    event: wire::drop_line,
    gap: wire::gap_line,
};

/// What takes the place of which form of events for whoever calls them drops.
const OLDER: [(Wire, &Dialect); 3] = [
    (Wire::Session, &DROPS),
    (Wire::SessionDeflated, &DROPS),
    (Wire::Lines, &DROP_LINES),
];

/// The door of `/session/<id>/ws`.
pub fn door(path: &str) -> Option<Door<'_>> {
    Some(Door {
        key: path.strip_prefix("/session/")?.strip_suffix("/ws")?,
        speech: &SPEECH,
        deflated: Some(&DEFLATED),
        admit,
        refusing: Refusing::Answer(|refusal| Envelope::Session.failure(refusal)),
    })
}

/// Lets in whoever brings a session's id, from an origin that may come.
fn admit(keeper: &Doorkeeper, request: &Request, id: &str) -> Result<Seat, Refusal> {
    keeper.check_origin(request)?;
    let id = SessionId::parse(id);
    let id = id.ok_or_else(|| Refusal::new(Code::SessionUnknown, "no such session"))?;
    keeper.broker.connect(id, &keeper.visitor(request))
}

/// `POST /session`; and what a session's addresses answer to a request that is no upgrade.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/session").post(open).default_service(other("POST")))
        .service(
            web::resource("/session/{id}/ws")
                .get(no_upgrade)
                .default_service(other("GET")),
        );
}

async fn open(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let caller = Caller::from(&request);
    let body = async |_: &Access| extract::body(&broker, caller, payload).await;
    reply::answer(
        broker.metrics(),
        Envelope::Session,
        open_for(&broker, caller, body).await,
    )
}

/// Opens a session for whoever asks, whichever way the request came in. A stranger's body is not asked for.
pub async fn open_for<B: AsRef<[u8]>>(
    broker: &Broker,
    caller: Caller<'_>,
    body: impl AsyncFnOnce(&Access) -> Result<B, Refusal>,
) -> Result<(Done, String), Error> {
    // Whose company a JWT is of is not known before it has proved itself.
    let (company, asker) = match bearer(caller.headers) {
        Some(jwt) => {
            let asker = broker.sign_in_with(jwt, &extract::visitor(caller));
            ("", asker.map(|(access, longest)| (access, Some(longest))))
        }
        None => {
            let asker = extract::asker(broker, caller, None);
            let company = extract::company(caller.headers).ok().flatten();
            (company.unwrap_or_default(), asker.map(|access| (access, None)))
        }
    };
    let (access, longest) = asker.map_err(|refusal| {
        let address = extract::visitor(caller).address;
        broker.count_failure(address, company, refusal)
    })?;
    let opening = Opening::parse(body(&access).await?.as_ref())?;
    let access = broker.narrow(access, opening.paths.as_ref())?;
    let positions: Vec<_> = opening
        .positions()
        .map(|(text, stream, position)| (text, stream.and_then(|stream| broker.resume(&access, stream, position))))
        .collect();
    let ttl = match (opening.ttl(), longest) {
        (Some(asked), Some(longest)) => Some(asked.min(longest)),
        (asked, longest) => asked.or(longest),
    };
    let id = broker.open_session(&access, ttl)?;
    Ok((Done::Created, wire::opened(&id, &positions)))
}

/// The JWT of a request that has no token of ours.
fn bearer(headers: Headers<'_>) -> Option<&str> {
    if headers.has(&extract::TOKEN) {
        return None;
    }
    let (scheme, jwt) = headers.get(&AUTHORIZATION)?.text()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| jwt.trim())
}

/// What a request comes to: the body of its acknowledgement, and what is said right after it.
struct Outcome {
    body: String,
    notice: Option<Bytes>,
}

/// Where a request is answered.
pub(super) enum Answering {
    /// On the socket that it came by.
    Socket,
    /// As an HTTP answer of its own.
    Once(oneshot::Sender<Answered>),
}

/// Answers a frame.
fn receive(at: &Rc<Conversation>, text: &str) {
    answer_request(at, text, Answering::Socket);
}

/// Answers a request. An acknowledgement is queued before anything that follows from it.
pub(super) fn answer_request(at: &Rc<Conversation>, text: &str, answering: Answering) {
    let broker = at.seat.broker();
    let request = wire::parse(text, broker.limits());
    let msg_id = request.msg_id;
    if request.names.is_older() {
        call_events_drops(at);
    }
    match request.ask {
        Ok(Ask::Heartbeat) => answering.pass_over(),
        Ok(Ask::Subscribe(wish)) => match wish.since_ms {
            Some(time_ms) => later(at, msg_id, answering, subscribe_since(Rc::clone(at), wish, time_ms)),
            None => answer(at, msg_id, answering, subscribe(at, wish).map_err(Error::from)),
        },
        Ok(Ask::Create(create)) => later(at, msg_id, answering, publish(Rc::clone(at), create)),
        Ok(Ask::Objects(wish)) => match answering {
            Answering::Socket => later(at, msg_id, answering, perform_in_turn(Rc::clone(at), wish)),
            Answering::Once(_) => later(at, msg_id, answering, perform(Rc::clone(at), wish)),
        },
        Ok(Ask::Unsubscribe(target)) => {
            standing::unfollow(at, &target);
            answer(at, msg_id, answering, Ok(Outcome::nothing()));
        }
        Err(refusal) => answer(at, msg_id, answering, Err(refusal.into())),
    }
}

/// Whoever said `drop` once gets events with the members that they know, from now on.
pub(super) fn call_events_drops(at: &Conversation) {
    let older = OLDER.iter().find(|(wire, _)| *wire == at.speech.dialect.wire);
    if let Some((_, dialect)) = older {
        at.desk.shard.borrow_mut().set_dialect(at.key, dialect);
    }
}

fn answer(at: &Conversation, msg_id: &str, answering: Answering, outcome: Result<Outcome, Error>) {
    let metrics = at.seat.broker().metrics();
    match outcome {
        Ok(outcome) => {
            let text = wire::acknowledge(msg_id, &outcome.body);
            answering.say(at, (200, None), text);
            outcome.notice.into_iter().for_each(|notice| at.reply(notice));
        }
        Err(error) => {
            let refusal = reply::explain(metrics, error);
            metrics.count_refusal(refusal.code);
            let head = (refusal.code.entry().status, reply::retry_after(&refusal));
            answering.say(at, head, wire::refuse(msg_id, &refusal));
        }
    }
}

impl Answering {
    fn say(self, at: &Conversation, (status, retry_after): (u16, Option<u32>), text: String) {
        match self {
            Answering::Socket => at.reply(frame::text(&text)),
            Answering::Once(answer) => {
                let text = Some(text);
                // Whoever asked may have gone meanwhile; what was done is done.
                let _ = answer.send(Answered {
                    status,
                    text,
                    retry_after,
                });
            }
        }
    }

    /// There is nothing to say.
    fn pass_over(self) {
        if let Answering::Once(answer) = self {
            // As above.
            let _ = answer.send(Answered {
                status: 204,
                text: None,
                retry_after: None,
            });
        }
    }
}

/// Answers once it is known what came of it; other requests go on meanwhile.
fn later(
    at: &Rc<Conversation>,
    msg_id: &str,
    answering: Answering,
    outcome: impl Future<Output = Result<Outcome, Error>> + 'static,
) {
    if let Err(refusal) = at.begin_request() {
        return answer(at, msg_id, answering, Err(refusal.into()));
    }
    let (at, msg_id) = (Rc::clone(at), msg_id.to_owned());
    actix_rt::spawn(async move {
        let outcome = outcome.await;
        answer(&at, &msg_id, answering, outcome);
        at.end_request();
    });
}

fn subscribe(at: &Conversation, wish: Subscribe) -> Result<Outcome, Refusal> {
    let is_extended = wish.is_extended;
    let (subscribed, notice) = standing::follow(at, wish)?;
    if !is_extended {
        return Ok(Outcome::nothing());
    }
    let body = wire::subscribed(&subscribed);
    Ok(Outcome { body, notice })
}

async fn subscribe_since(at: Rc<Conversation>, mut wish: Subscribe, time_ms: u64) -> Result<Outcome, Error> {
    let broker = at.seat.broker();
    let offset = broker.place_before(&at.seat.access, &wish.target, time_ms).await?;
    if at.is_over() {
        // It moved or ended meanwhile, and nobody follows for it any more.
        return Err(Refusal::new(Code::SessionMoved, "the session moved meanwhile: ask again").into());
    }
    let epoch = None;
    wish.following.from = From::Position(Position { epoch, offset });
    Ok(subscribe(&at, wish)?)
}

async fn publish(at: Rc<Conversation>, create: Create) -> Result<Outcome, Error> {
    let publishing = Publishing {
        drafts: create.drafts,
        ack: create.ack,
        expected: create.expected,
        key: create.key,
        fleeting: false,
    };
    let published = at.seat.broker().publish(&at.seat.access, publishing).await?;
    let body = events::published(
        &published.events,
        create.is_batch,
        Some(published.reached),
        create.names,
    );
    let notice = None;
    Ok(Outcome { body, notice })
}

/// What is found is much longer than what was asked, so whoever does not read it waits for the next.
async fn perform_in_turn(at: Rc<Conversation>, wish: Wish) -> Result<Outcome, Error> {
    let _turn = at.turn().await;
    perform(Rc::clone(&at), wish).await
}

async fn perform(at: Rc<Conversation>, wish: Wish) -> Result<Outcome, Error> {
    let body = objects::perform(&at, wish).await?;
    let notice = None;
    Ok(Outcome { body, notice })
}

impl Outcome {
    fn nothing() -> Self {
        let (body, notice) = ("{}".to_owned(), None);
        Self { body, notice }
    }
}
