//! The bodies of RootSocket's HTTP API: in, its requests; out, its answers.
//!
//! Shapes are those of RootSocket's documentation ("API") and of what rootsocketjs connection.ts and
//! the dashboard (front store/application.ts) read of the answers.

use crate::domain::error::{Code, Refusal};
use crate::domain::id::EventId;
use crate::domain::limits::Limits;
use crate::domain::payload::Payload;
use crate::domain::ticket::Ticket;
use crate::protocol::channels::channel::Channel;
use crate::protocol::channels::wire::elems;
use crate::protocol::json;
use crate::protocol::reply::quoted;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::fmt::Write;
use utoipa::ToSchema;

/// The only category of a channel token that was seen: a subscription's.
const SUBSCRIPTION: u64 = 1;

/// A channel token is asked for.
#[derive(Deserialize, ToSchema)]
pub struct TokenWish {
    /// What for: 1, to subscribe.
    #[schema(minimum = 1, maximum = 1)]
    category: u64,
    /// To which channel.
    #[schema(pattern = r"^[A-Za-z0-9]+(\.[A-Za-z0-9]+)*$", max_length = 100)]
    channel: String,
}

/// A message is to be sent.
#[derive(Deserialize, ToSchema)]
pub struct Message<'a> {
    /// Where to.
    #[schema(pattern = r"^[A-Za-z0-9]+(\.[A-Za-z0-9]+)*$", max_length = 100)]
    channel: String,
    /// What: a text; anything else is sent as its JSON text.
    #[serde(borrow)]
    #[schema(value_type = serde_json::Value)]
    data: &'a RawValue,
}

impl TokenWish {
    /// The channel that a token is asked for.
    pub fn parse(body: &[u8]) -> Result<Channel, Refusal> {
        let wish: Self = json::object(json::text(body)?)?;
        if wish.category != SUBSCRIPTION {
            let text = "\"category\" is 1: a token to subscribe to a channel";
            return Err(Refusal::new(Code::BodyMalformed, text));
        }
        Channel::parse(&wish.channel)
    }
}

impl Message<'_> {
    /// What is to be published, and where to.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<(Channel, Payload), Refusal> {
        let message: Message<'_> = json::object(json::text(body)?)?;
        Ok((Channel::parse(&message.channel)?, elems(message.data, limits)?))
    }
}

/// A token of either kind.
pub fn token(jwt: &str) -> String {
    format!(r#"{{"token":"{jwt}"}}"#)
}

/// A message that was sent; it has no id if nobody listened and nothing is kept.
pub fn sent(channel: &Channel, id: Option<EventId>) -> String {
    let id = id.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\""));
    format!(r#"{{"channel":"{}","id":{id}}}"#, channel.as_str())
}

/// Live connections by their ids. What is told of each is the text of an object, not an object,
/// because clients parse it (front store/application.ts `getConnections`).
pub fn listed<'a>(connections: impl Iterator<Item = (&'a Ticket, u64)>) -> String {
    let mut text = String::from("{");
    for (place, (ticket, since_ms)) in connections.enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let agent = ticket.user_agent.as_deref().unwrap_or_default();
        let told = json!({"userAgent": agent, "createdAt": since_ms / 1_000});
        // Writing to a string cannot fail.
        let _ = write!(text, r#"{comma}"{}":{}"#, ticket.id, quoted(&told.to_string()));
    }
    text.push('}');
    text
}
