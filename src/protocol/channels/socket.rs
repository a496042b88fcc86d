//! The socket of RootSocket's clients: who is let in, and what comes of their frames.
//!
//! What succeeds is not answered, as the original did not; whatever does not is told by an `error`
//! frame, and the socket stays. Invariant: a connection does what both its token and the company's
//! settings of now allow, within the scope of the key behind it.

use crate::broker::{Entry, Following, Publishing, Seat};
use crate::domain::error::{Code, Refusal};
use crate::domain::event::Wire;
use crate::domain::path::Path;
use crate::domain::payload::Payload;
use crate::domain::scope::Verb;
use crate::domain::stream::Target;
use crate::domain::ticket::Ticket;
use crate::engine::connection::Dialect;
use crate::engine::subscription::Terms;
use crate::protocol::channels::channel::Channel;
use crate::protocol::channels::verbs::{
    ASKING_FOR_TOKENS, SENDING, SUBSCRIBING, application, lets, message, now_s, seal,
};
use crate::protocol::channels::wire::{self, Ask, Complaint, Place};
use crate::protocol::conversation::Conversation;
use crate::protocol::frame;
use crate::protocol::reply::{self, Envelope};
use crate::protocol::speech::{Bereft, Binary, Oversize, Speech};
use crate::protocol::upgrade::{Door, Doorkeeper, Refusing};
use actix_http::header::USER_AGENT;
use actix_http::{HttpMessage, Request};
use bytes::Bytes;
use std::rc::Rc;

/// What is kept of what a client calls itself.
const AGENT_CHARS: usize = 256;

/// How sockets of this protocol speak.
pub const SPEECH: Speech = Speech {
    ping: wire::ping,
    goodbye,
    max_bytes: |limits| limits.max_channel_frame_bytes,
    oversize: Oversize::Skip(refuse_long),
    binary: Binary::Answer(refuse_binary),
    bereft: Bereft::Tell(wire::deleted),
    ..Speech::new(
        Dialect {
            wire: Wire::Channels,
            event: wire::event,
            gap: wire::gap,
        },
        receive,
    )
};

/// The door of `/api/v1/ws/<token>/`, with the slash or without.
pub fn door(path: &str) -> Option<Door<'_>> {
    let key = path.strip_prefix("/api/v1/ws/")?;
    Some(Door {
        key: key.strip_suffix('/').unwrap_or(key),
        speech: &SPEECH,
        deflated: None,
        admit,
        refusing: Refusing::Answer(|refusal| Envelope::Detail.failure(refusal)),
    })
}

/// Lets in whoever brings a connection token, at a place where the key behind it may be used.
fn admit(keeper: &Doorkeeper, request: &Request, jwt: &str) -> Result<Seat, Refusal> {
    keeper.check_origin(request)?;
    let proof = seal(&keeper.broker).read_connection(jwt, now_s())?;
    let access = keeper.broker.sign_in_as(proof.key, &keeper.visitor(request))?;
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let user_agent = agent.map(|agent| agent.chars().take(AGENT_CHARS).collect());
    let ticket = Ticket {
        user_agent,
        ..proof.grants
    };
    keeper.broker.take_seat(access, Entry::Channels(ticket))
}

/// What the dashboard of RootSocket shows as the reason (front debug.vue).
fn goodbye(refusal: &Refusal) -> Bytes {
    let close = refusal.code.entry().close.unwrap_or(1008);
    frame::close(close, &refusal.text)
}

fn receive(at: &Rc<Conversation>, text: &str) {
    match wire::parse(text, at.seat.broker().limits()) {
        Ok(Ask::Ping) => at.reply(wire::pong()),
        Ok(Ask::Nothing) => {}
        Ok(Ask::Join { channel, auth }) => {
            if let Err(refusal) = join(at, &channel, auth.as_deref()) {
                complain(at, &Place::Joining(channel.into()).refused(refusal));
            }
        }
        Ok(Ask::Leave(channel)) => leave(at, &channel),
        Ok(Ask::Send { channel, elems }) => {
            if let Err(refusal) = send(at, &channel, elems) {
                complain(at, &Place::Sending(channel.into()).refused(refusal));
            }
        }
        Err(complaint) => complain(at, &complaint),
    }
}

fn complain(at: &Conversation, complaint: &Complaint) {
    at.seat.broker().metrics().count_refusal(complaint.refusal.code);
    at.reply(complaint.render());
}

fn refuse_long(at: &Rc<Conversation>) {
    let most = at.seat.broker().limits().max_channel_frame_bytes;
    let text = format!("a frame has at most {most} bytes; this one was not read");
    complain(at, &Place::Frame.refused(Refusal::new(Code::FrameSize, text)));
}

fn refuse_binary(at: &Rc<Conversation>) {
    let text = "a frame is text; this one was not read";
    complain(at, &Place::Frame.refused(Refusal::new(Code::FrameBinary, text)));
}

fn join(at: &Rc<Conversation>, channel: &Channel, auth: Option<&str>) -> Result<(), Refusal> {
    let broker = at.seat.broker();
    let company = &at.seat.access.token.company;
    if !granted(at, |ticket| ticket.may_subscribe) || !lets(broker, company, SUBSCRIBING) {
        let text = "the company does not let clients subscribe (allowChannelSubscription)";
        return Err(Refusal::new(Code::ChannelDenied, text));
    }
    let path = channel.path(company)?;
    if granted(at, |ticket| ticket.needs_authorization) || lets(broker, company, ASKING_FOR_TOKENS) {
        let missing = || {
            let text = "the company wants a channel token in \"auth\" (allowChannelAuthorization)";
            Refusal::new(Code::ChannelDenied, text)
        };
        check_channel_token(at, auth.ok_or_else(missing)?, channel, &path)?;
    }
    let following = Following {
        terms: Some(Terms {
            name: Some(channel.as_str().into()),
            ..Terms::default()
        }),
        fleeting: true,
        ..Following::default()
    };
    let target = Target::Path(path);
    broker.subscribe(&at.desk, at.key, &at.seat.access, &target, following)?;
    Ok(())
}

/// Refused unless the token is of this company, for this channel, and of a key that may read it.
fn check_channel_token(at: &Conversation, jwt: &str, channel: &Channel, path: &Path) -> Result<(), Refusal> {
    let broker = at.seat.broker();
    let proof = seal(broker).read_channel(jwt, now_s())?;
    let is_own = proof.application == application(broker, &at.seat.access.token.company);
    if !is_own || proof.grants != channel.as_str() {
        let text = "the channel token is for another channel";
        return Err(Refusal::new(Code::ChannelDenied, text));
    }
    broker.check_key(proof.key, Verb::Read, path)
}

fn leave(at: &Conversation, channel: &Channel) {
    if let Ok(path) = channel.path(&at.seat.access.token.company) {
        at.seat.broker().unsubscribe(&at.desk, at.key, &Target::Path(path));
    }
}

/// Checks at once and publishes without an answer, in the order in which frames came.
fn send(at: &Rc<Conversation>, channel: &Channel, elems: Payload) -> Result<(), Refusal> {
    let broker = at.seat.broker();
    let company = &at.seat.access.token.company;
    if !granted(at, |ticket| ticket.may_send) || !lets(broker, company, SENDING) {
        let text = "the company does not let clients send (allowClientSend)";
        return Err(Refusal::new(Code::ChannelDenied, text));
    }
    let target = Target::Path(channel.path(company)?);
    if !broker.is_following(&at.desk, at.key, &target) {
        let text = "who sends to a channel has subscribed to it first";
        return Err(Refusal::new(Code::ChannelDenied, text));
    }
    at.undertake(publish(Rc::clone(at), channel.clone(), message(target, elems)))
}

async fn publish(at: Rc<Conversation>, channel: Channel, message: Publishing) {
    let broker = at.seat.broker();
    if let Err(error) = broker.publish(&at.seat.access, message).await {
        let refusal = reply::explain(broker.metrics(), error);
        complain(&at, &Place::Sending(channel.into()).refused(refusal));
    }
}

/// Whether the connection's token says something; nobody comes through this door with anything else.
fn granted(at: &Conversation, what: fn(&Ticket) -> bool) -> bool {
    matches!(&at.seat.entry, Entry::Channels(ticket) if what(ticket))
}
