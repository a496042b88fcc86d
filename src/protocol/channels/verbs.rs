//! What the routes of RootSocket's HTTP API do: who asks is checked first, by the raw key in
//! `Authorization`, then the body is read.
//!
//! Invariant: no token is made that may do more than the key that asked for it.

use crate::broker::{Broker, Publishing};
use crate::database::now_ms;
use crate::domain::company::CompanySettings;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::event::Draft;
use crate::domain::path::CompanyName;
use crate::domain::payload::Payload as Text;
use crate::domain::scope::Verb;
use crate::domain::stream::Target;
use crate::domain::ticket::{Ticket, TicketId};
use crate::domain::token::Access;
use crate::protocol::channels::tickets::{Holder, Seal};
use crate::protocol::channels::wire::{self, Message, TokenWish};
use crate::protocol::extract::{self, Caller};
use crate::protocol::operations::other;
use crate::protocol::reply::{self, Done, Envelope, Success};
use actix_web::http::ConnectionType;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

/// Most connections in one answer, the newest ones; `X-Total-Count` says how many there are.
const MAX_LISTED: usize = 10_000;

/// Clients may publish.
pub const SENDING: fn(&CompanySettings) -> bool = |settings| settings.allow_client_send;
/// Clients may subscribe.
pub const SUBSCRIBING: fn(&CompanySettings) -> bool = |settings| settings.allow_channel_subscription;
/// Clients need a channel token to subscribe.
pub const ASKING_FOR_TOKENS: fn(&CompanySettings) -> bool = |settings| settings.allow_channel_authorization;

/// All routes, each with the slash that RootSocket's clients put at its end and without.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource(["/api/v1/connections/", "/api/v1/connections"])
                .get(connections)
                .post(connect)
                .default_service(other("GET, POST")),
        )
        .service(
            web::resource(["/api/v1/tokens/", "/api/v1/tokens"])
                .post(authorize)
                .default_service(other("POST")),
        )
        .service(
            web::resource(["/api/v1/messages/", "/api/v1/messages"])
                .post(send)
                .default_service(other("POST")),
        )
        .service(
            web::resource(["/api/v1/ws/{token}/", "/api/v1/ws/{token}"])
                .get(no_upgrade)
                .default_service(other("GET")),
        );
}

/// What signs and reads this protocol's tokens.
pub fn seal(broker: &Broker) -> Seal {
    let mut key = [0; 64];
    let (first, second) = key.split_at_mut(32);
    first.copy_from_slice(&broker.key_for("streamgate channel token 1, first half"));
    second.copy_from_slice(&broker.key_for("streamgate channel token 1, second half"));
    Seal::new(key)
}

/// What stands for a company in tokens: 32 hexadecimal digits, always the same.
pub fn application(broker: &Broker, company: &CompanyName) -> String {
    let digest = broker.key_for(&format!("streamgate channel application {company}"));
    let half = digest.first_chunk().expect("32 bytes have a first half");
    format!("{:032x}", u128::from_be_bytes(*half))
}

/// Whether a company lets clients do something: `wanted` looks it up among its settings of now.
pub fn lets(broker: &Broker, company: &CompanyName, wanted: fn(&CompanySettings) -> bool) -> bool {
    let company = broker.company_settings(company.as_str());
    company.is_some_and(|company| wanted(&company.settled.settings))
}

/// Whoever holds the key in `Authorization`. Wrong ones are counted as at `POST /session`.
fn asker(broker: &Broker, request: &HttpRequest) -> Result<Access, Refusal> {
    let caller = Caller::from(request);
    let missing = || {
        Refusal::new(
            Code::AuthMissing,
            "the header Authorization is missing: the key, and nothing else",
        )
    };
    let key = caller.headers.get(&AUTHORIZATION).ok_or_else(missing)?;
    let visitor = extract::visitor(caller);
    let access = broker.sign_in_with_key(key.text().unwrap_or_default().trim(), &visitor);
    access.map_err(|refusal| broker.count_failure(visitor.address, "", refusal))
}

async fn connect(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_connect(&broker, &request).map_err(Error::from))
}

fn try_connect(broker: &Broker, request: &HttpRequest) -> Result<(Done, String), Refusal> {
    let access = asker(broker, request)?;
    if !access.scope().grants(Verb::Read) {
        let text = "the key may read nothing, so nobody needs to connect with it";
        return Err(Refusal::new(Code::ScopeDenied, text));
    }
    broker.check_opening(&access)?;
    let company = &access.token.company;
    let ticket = Ticket {
        id: TicketId::random(),
        user_agent: None,
        may_send: lets(broker, company, SENDING) && access.scope().grants(Verb::Write),
        may_subscribe: lets(broker, company, SUBSCRIBING),
        needs_authorization: lets(broker, company, ASKING_FOR_TOKENS),
    };
    let application = application(broker, company);
    let jwt = seal(broker).connection(holder(&access, &application), &ticket, now_s());
    Ok((Done::Processed, wire::token(&jwt)))
}

async fn connections(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    let listed = asker(&broker, &request).map(|access| {
        let (connections, total) = broker.channel_connections(&access, MAX_LISTED);
        let tickets = connections
            .iter()
            .filter_map(|one| Some((one.ticket.as_deref()?, one.since_ms)));
        Success {
            total: Some(total),
            ..(Done::Processed, wire::listed(tickets)).into()
        }
    });
    answer(&broker, listed.map_err(Error::from))
}

async fn authorize(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let made = try_authorize(&broker, &request, payload).await;
    answer(&broker, made.map_err(Error::from))
}

async fn try_authorize(broker: &Broker, request: &HttpRequest, payload: Payload) -> Result<(Done, String), Refusal> {
    let access = asker(broker, request)?;
    let body = body(broker, request, payload, &access).await?;
    let channel = TokenWish::parse(&body)?;
    let company = &access.token.company;
    access.check_path(Verb::Read, &channel.path(company)?)?;
    let application = application(broker, company);
    let jwt = seal(broker).channel(holder(&access, &application), &channel, now_s());
    Ok((Done::Processed, wire::token(&jwt)))
}

async fn send(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_send(&broker, &request, payload).await)
}

async fn try_send(broker: &Broker, request: &HttpRequest, payload: Payload) -> Result<(Done, String), Error> {
    let access = asker(broker, request)?;
    let body = body(broker, request, payload, &access).await?;
    let (channel, elems) = Message::parse(&body, broker.limits())?;
    let path = channel.path(&access.token.company)?;
    let published = broker.publish(&access, message(Target::Path(path), elems)).await?;
    let id = published.events.first().map(|event| event.id);
    Ok((Done::Processed, wire::sent(&channel, id)))
}

/// One message to a channel, whether anybody declared its stream or not.
pub fn message(target: Target, elems: Text) -> Publishing {
    let hash = None;
    Publishing {
        drafts: vec![(target, Draft { elems, hash })],
        ack: None,
        expected: None,
        key: None,
        fleeting: true,
    }
}

/// While it came they may have lost the right to ask.
async fn body(
    broker: &Broker,
    request: &HttpRequest,
    payload: Payload,
    access: &Access,
) -> Result<web::Bytes, Refusal> {
    let body = extract::body(broker, request, payload).await?;
    broker.check_token(access.token.key)?;
    Ok(body)
}

async fn no_upgrade(broker: Data<Broker>) -> HttpResponse {
    let text = "this address is a WebSocket: connect with a WebSocket client";
    let refusal = Refusal::new(Code::UpgradeMalformed, text);
    let mut response = reply::refuse(broker.metrics(), Envelope::Detail, &refusal);
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}

fn holder<'a>(access: &Access, application: &'a str) -> Holder<'a> {
    let key = access.token.key;
    Holder { application, key }
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    now_ms() / 1_000
}

fn answer(broker: &Broker, outcome: Result<impl Into<Success>, Error>) -> HttpResponse {
    reply::answer(broker.metrics(), Envelope::Detail, outcome)
}
