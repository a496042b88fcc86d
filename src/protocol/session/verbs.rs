//! What the session protocol does with a request: asks the broker, says what came of it.

use crate::broker::Broker;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::event::Wire;
use crate::engine::connection::Dialect;
use crate::protocol::conversation::{Conversation, Speech};
use crate::protocol::extract;
use crate::protocol::operations::other;
use crate::protocol::reply::{self, Done, Envelope};
use crate::protocol::session::wire::{self, Ask, Opening};
use actix_web::http::ConnectionType;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

/// How sockets of this protocol speak.
pub const SPEECH: Speech = Speech {
    dialect: Dialect {
        wire: Wire::Session,
        event: wire::event,
        gap: wire::gap,
    },
    receive,
};

/// `POST /session`; and what a session's addresses answer to a request that is no upgrade.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/session").post(open).default_service(other("POST")))
        .service(web::resource("/session/{id}/ws").default_service(web::to(no_upgrade)));
}

async fn open(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let outcome = try_open(&broker, &request, payload).await;
    reply::answer(broker.metrics(), Envelope::Session, outcome)
}

async fn try_open(broker: &Broker, request: &HttpRequest, payload: Payload) -> Result<(Done, String), Error> {
    let access = extract::asker(broker, request.headers(), None)?;
    let opening = Opening::parse(&extract::body(broker, request, payload).await?)?;
    let id = broker.open_session(&access, opening.paths.as_ref(), opening.ttl())?;
    Ok((Done::Created, format!(r#"{{"id":"{}"}}"#, id.encode())))
}

async fn no_upgrade(broker: Data<Broker>) -> HttpResponse {
    let text = "this address is a WebSocket: connect with a WebSocket client";
    let refusal = Refusal::new(Code::UpgradeMalformed, text);
    let mut response = reply::refuse(broker.metrics(), Envelope::Session, &refusal);
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}

/// Answers a frame. The acknowledgement is queued before anything else can be delivered.
fn receive(at: &Conversation, text: &str) {
    let request = wire::parse(text);
    let broker = at.seat.broker();
    let done = match request.ask {
        Ok(Ask::Heartbeat) => return,
        Ok(Ask::Subscribe(target)) => broker.subscribe(&at.desk, at.key, &at.seat.access, &target),
        Ok(Ask::Unsubscribe(target)) => {
            broker.unsubscribe(&at.desk, at.key, &target);
            Ok(())
        }
        Err(refusal) => Err(refusal),
    };
    match done {
        Ok(()) => at.reply(wire::acknowledge(request.msg_id)),
        Err(refusal) => {
            broker.metrics().count_refusal(refusal.code);
            at.reply(wire::refuse(request.msg_id, &refusal));
        }
    }
}
