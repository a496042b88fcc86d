//! The grammar of `POST /session`: its body in, its answer out.

use crate::domain::error::{Code, Refusal};
use crate::domain::id::StreamId;
use crate::domain::position::Position;
use crate::domain::scope::ScopeJson;
use crate::domain::session_id::SessionId;
use crate::engine::ledger::View;
use crate::engine::resume::Resume;
use crate::protocol::json;
use crate::protocol::reply::quoted;
use crate::protocol::session::wire::check_supported;
use crate::protocol::session::wire::since::PositionJson;
use crate::protocol::shapes::VerbsShape;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;
use utoipa::ToSchema;

/// Most streams that one opening may ask about.
const MAX_POSITIONS: usize = 10_000;

/// The body of `POST /session`; all of it may be absent.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with \"paths\", \"ttl\" or \"positions\""
)]
pub struct Opening {
    /// What the session is narrowed to; `null` is refused, for it would narrow to nothing less.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = BTreeMap<String, VerbsShape>, required = false)]
    pub paths: Option<ScopeJson>,
    /// Seconds until the session lapses without a connection.
    ttl: Option<u64>,
    #[schema(ignore)]
    resume: Option<IgnoredAny>,
    /// By stream, what was seen last: the answer tells what a resume would find.
    #[serde(default)]
    positions: BTreeMap<String, PositionJson>,
}

fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Opening {
    /// Parses the body; nothing at all asks for nothing.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let opening: Self = json::object(json::text(body)?)?;
        check_supported(&[("resume", opening.resume.is_some())])?;
        if opening.positions.len() > MAX_POSITIONS {
            let text = format!("\"positions\" has at most {MAX_POSITIONS} streams");
            return Err(Refusal::new(Code::BodyMalformed, text));
        }
        Ok(opening)
    }

    /// Where its holder stopped reading which streams; ids that are none name no stream.
    pub fn positions(&self) -> impl Iterator<Item = (&str, Option<StreamId>, Position)> {
        let positions = self.positions.iter();
        positions.map(|(id, position)| (id.as_str(), StreamId::parse(id), position.position()))
    }

    /// The time to live that is asked for.
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl.map(Duration::from_secs)
    }
}

/// The body of an answer to `POST /session`.
pub fn opened(id: &SessionId, positions: &[(&str, Option<(Resume, View)>)]) -> String {
    let mut text = format!(r#"{{"id":"{}""#, id.encode());
    for (number, (stream, resume)) in positions.iter().enumerate() {
        text.push_str(if number == 0 { ",\"streams\":{" } else { "," });
        text.push_str(&quoted(stream));
        // Writing to a string cannot fail.
        let _ = match resume {
            None => write!(text, r#":{{"state":"unknown"}}"#),
            Some((resume, view)) => write!(
                text,
                r#":{{"state":"{}","behind":{},"missing":{},"firstAvailable":{},"head":{},"epoch":"{}"}}"#,
                resume.state.word(),
                resume.behind,
                resume.missing,
                view.first,
                view.head,
                view.epoch,
            ),
        };
    }
    text.push_str(if positions.is_empty() { "}" } else { "}}" });
    text
}
