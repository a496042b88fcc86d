//! The grammar of the HTTP API beside that of events and streams: headers, and which part of a list.
//!
//! Pure.

use crate::domain::durability::Durability;
use crate::domain::error::{Code, Refusal};
use crate::domain::position::Offset;
use crate::domain::stream::StreamPage;
use crate::protocol::shapes::Ack;
use crate::protocol::streams;
use serde::Deserialize;
use utoipa::IntoParams;

/// The query parameters of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct ListQuery {
    /// How many to pass over (0).
    #[param(value_type = Option<u64>, maximum = 9_007_199_254_740_991_u64)]
    start: Option<String>,
    /// How many to show (20).
    #[param(value_type = Option<u64>, maximum = 1_000)]
    limit: Option<String>,
}

impl ListQuery {
    /// The part that is wanted; refused with `query.malformed`.
    pub fn page(&self) -> Result<StreamPage, Refusal> {
        page(&self.start, &self.limit)
    }
}

/// The part of a list that is wanted; refused with `query.malformed`.
pub fn page(start: &Option<String>, limit: &Option<String>) -> Result<StreamPage, Refusal> {
    streams::page(start.as_deref(), limit.as_deref())
}

/// The query parameters of publishing.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct PublishQuery {
    /// How safe the event is to be before it is answered; the stream's `ack` if nothing is said.
    #[param(value_type = Option<Ack>, inline)]
    ack: Option<String>,
}

impl PublishQuery {
    /// How safe an event is to be before it is answered; refused with `query.malformed`.
    pub fn ack(&self) -> Result<Option<Durability>, Refusal> {
        let ack = self.ack.as_deref();
        ack.map(|word| Durability::parse(word, Code::QueryMalformed))
            .transpose()
    }
}

/// The header `If-Offset-Match`; refused with `query.malformed`.
pub fn parse_offset(text: &str) -> Result<Offset, Refusal> {
    let offset = text.trim().parse().map(Offset);
    offset.map_err(|_| {
        Refusal::new(
            Code::QueryMalformed,
            "If-Offset-Match is a stream's offset, a whole number",
        )
    })
}
