//! What the notices protocol does with a frame: asks the broker, says what came of it.
//!
//! Invariant: requests for meta of one connection are answered in the order in which they came, for
//! nothing in an answer tells which request it is of.

use crate::broker::{Following, Publishing, Seat};
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::event::{Draft, Wire};
use crate::domain::meta;
use crate::domain::path::{CompanyName, Path, UserName};
use crate::domain::payload::Payload;
use crate::domain::stream::Target;
use crate::engine::connection::Dialect;
use crate::protocol::conversation::Conversation;
use crate::protocol::notices::wire::{self, Ask, MetaAsk, Wish};
use crate::protocol::operations::{no_upgrade, other};
use crate::protocol::reply;
use crate::protocol::speech::{Bereft, Binary, Speech};
use crate::protocol::upgrade::{Door, Doorkeeper, Refusing};
use crate::protocol::{frame, json};
use actix_http::{HttpMessage, Request};
use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use actix_web::web::{self, ServiceConfig};
use serde_json::value::RawValue;
use std::rc::Rc;

/// The header with a key, where a client has one.
const KEY: &str = "users-api-key";
/// What a listener of its own says to who is no WebSocket client.
const GREETING: &str = "This port is for WebSockets.\n";

/// How sockets of this protocol speak.
pub const SPEECH: Speech = Speech {
    begin,
    binary: Binary::Ignore,
    bereft: Bereft::Part,
    ..Speech::new(
        Dialect {
            wire: Wire::Notices,
            event: wire::event,
            gap: wire::gap,
        },
        receive,
    )
};

/// The door of `/users/<company>/ws`.
pub fn door(path: &str) -> Option<Door<'_>> {
    Some(Door {
        key: path.strip_prefix("/users/")?.strip_suffix("/ws")?,
        speech: &SPEECH,
        deflated: None,
        admit,
        refusing: Refusing::Drop,
    })
}

/// The door of any path, on a listener of its own: the first segment is the company.
pub fn any_door(path: &str) -> Option<Door<'_>> {
    Some(Door {
        key: path.split('/').nth(1).unwrap_or_default(),
        speech: &SPEECH,
        deflated: None,
        admit: admit_anywhere,
        refusing: Refusing::Drop,
    })
}

/// What the address of a socket says to who is no WebSocket client.
pub fn routes(config: &mut ServiceConfig) {
    config.service(
        web::resource("/users/{company}/ws")
            .get(no_upgrade)
            .default_service(other("GET")),
    );
}

/// Answers whatever is asked of a listener of its own, as the original did.
pub fn greet_all(config: &mut ServiceConfig) {
    config.default_service(web::to(greet));
}

async fn greet() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(ContentType::plaintext())
        .body(GREETING)
}

fn admit(keeper: &Doorkeeper, request: &Request, company: &str) -> Result<Seat, Refusal> {
    enter(keeper, request, company, None)
}

/// Who is not let in by the company that a segment names, if it names one, may be by that of the settings.
fn admit_anywhere(keeper: &Doorkeeper, request: &Request, company: &str) -> Result<Seat, Refusal> {
    enter(keeper, request, company, keeper.lobby.as_ref())
}

fn enter(keeper: &Doorkeeper, request: &Request, company: &str, lobby: Option<&CompanyName>) -> Result<Seat, Refusal> {
    let key = request.headers().get(KEY).and_then(|key| key.to_str().ok());
    let visitor = keeper.visitor(request);
    keeper.broker.connect_to_notices(company, lobby, key, &visitor)
}

fn notices(seat: &Seat) -> Target {
    Target::Path(Path::notices(&seat.access.token.company))
}

/// Everybody who is let in hears what is told, from now on.
fn begin(at: &Rc<Conversation>) {
    let (broker, access) = (at.seat.broker(), &at.seat.access);
    let target = notices(&at.seat);
    if let Err(refusal) = broker.subscribe(&at.desk, at.key, access, &target, Following::default()) {
        at.refuse(&refusal);
    }
}

fn receive(at: &Rc<Conversation>, text: &str) {
    match wire::parse(text) {
        Ask::Echo(echo) => at.reply(frame::text(&echo)),
        Ask::Broadcast(echo) => later(at, wire::ECHO, broadcast(Rc::clone(at), echo)),
        Ask::Meta(ask) => later(at, wire::META, keep_meta(Rc::clone(at), ask)),
        Ask::Nothing => {}
    }
}

/// Does something that may take its time. What goes wrong is told.
fn later(at: &Rc<Conversation>, number: u8, outcome: impl Future<Output = Result<(), String>> + 'static) {
    let speaker = Rc::clone(at);
    let begun = at.undertake(async move {
        if let Err(text) = outcome.await {
            speaker.reply(wire::failed(number, &text));
        }
    });
    if let Err(refusal) = begun {
        at.seat.broker().metrics().count_refusal(refusal.code);
        at.reply(wire::failed(number, &error(&refusal)));
    }
}

/// Publishes an echo, which comes back to the sender as it does to everybody.
async fn broadcast(at: Rc<Conversation>, echo: String) -> Result<(), String> {
    let broker = at.seat.broker();
    let publish = async {
        let raw = RawValue::from_string(echo).map_err(|error| json::refused(&error))?;
        let elems = Payload::check(&raw, broker.limits().max_json_depth)?;
        let draft = Draft { elems, hash: None };
        let publishing = Publishing {
            drafts: vec![(notices(&at.seat), draft)],
            ack: None,
            expected: None,
            key: None,
            fleeting: false,
        };
        broker.publish(&at.seat.access, publishing).await
    };
    publish.await.map(|_| ()).map_err(|error| explain(&at, error))
}

/// Answers a request for meta, after those before it.
async fn keep_meta(at: Rc<Conversation>, ask: MetaAsk) -> Result<(), String> {
    let _turn = at.turn().await;
    let name = ask.username.trim();
    if name.is_empty() {
        return Err("Error: Please enter a valid username".to_owned());
    }
    let malformed = |_| "Error: Please only use alpha numeric characters for your username".to_owned();
    let user = UserName::parse(name).map_err(malformed)?;
    match keep(&at, &user, ask.wish).await {
        Ok(val) => {
            at.reply(wire::meta(val.as_deref()));
            Ok(())
        }
        Err(Error::Refusal(refusal)) if refusal.code == Code::UserUnknown => {
            at.seat.broker().metrics().count_refusal(refusal.code);
            Err(format!("Could not find user {}", ask.username))
        }
        Err(error) => Err(explain(&at, error)),
    }
}

/// The value that was shown or set; nothing for a part that is not there.
async fn keep(at: &Conversation, user: &UserName, wish: Wish) -> Result<Option<String>, Error> {
    let broker = at.seat.broker();
    match wish {
        Wish::ShowAll => broker.meta(&at.seat, user).await.map(Some),
        Wish::Show(part) => Ok(meta::show(&broker.meta(&at.seat, user).await?, &part)),
        Wish::SetAll(value) => {
            broker.set_meta(&at.seat, user, None, value.clone()).await?;
            Ok(Some(value))
        }
        Wish::Set(part, value) => {
            broker.set_meta(&at.seat, user, Some(&part), value.clone()).await?;
            Ok(Some(value))
        }
    }
}

fn explain(at: &Conversation, failure: Error) -> String {
    let metrics = at.seat.broker().metrics();
    let refusal = reply::explain(metrics, failure);
    metrics.count_refusal(refusal.code);
    error(&refusal)
}

/// As an error turned into text looks in JavaScript.
fn error(refusal: &Refusal) -> String {
    format!("Error: {refusal}")
}
