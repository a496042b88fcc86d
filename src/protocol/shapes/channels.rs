//! What the answers to RootSocket's clients look like.

use crate::domain::error::Code;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Why something was not done.
#[derive(ToSchema)]
pub struct Detail {
    /// One sentence.
    pub detail: String,
    /// The stable code.
    pub code: Code,
}

/// A connection token or a channel token.
#[derive(ToSchema)]
pub struct Ticket {
    /// A JWT (HS512), good for five minutes.
    #[schema(pattern = r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")]
    pub token: String,
}

/// Live connections by their ids; each is the text of an object with `userAgent` and `createdAt`, in
/// seconds since 1970.
#[derive(ToSchema)]
pub struct LiveConnections(pub BTreeMap<String, String>);

/// A message that was sent.
#[derive(ToSchema)]
pub struct Sent {
    /// Where to.
    pub channel: String,
    /// The event's id; null if nobody listened to a channel that keeps nothing.
    #[schema(required = true, pattern = "^e[0-9a-f]{24}$")]
    pub id: Option<String>,
}
