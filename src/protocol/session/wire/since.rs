//! The grammar of where a reader stopped: an offset, a position, a time.

use crate::domain::error::{Code, Refusal};
use crate::domain::position::{Epoch, Offset, Position};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The epoch of nothing.
const NO_EPOCH: Epoch = Epoch::new(0);

/// A place in a stream.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with \"offset\" and \"epoch\"")]
#[schema(as = Position)]
pub struct PositionJson {
    /// How its numbering was called; the stream's own if nothing is said.
    epoch: Option<String>,
    /// What was seen last; 0: nothing yet.
    offset: u64,
}

impl PositionJson {
    /// The position that it stands for.
    pub fn position(&self) -> Position {
        Position {
            // What we never printed is of another numbering, as is what we print no more.
            epoch: self.epoch.as_deref().map(|text| Epoch::parse(text).unwrap_or(NO_EPOCH)),
            offset: Offset(self.offset),
        }
    }
}

/// What was seen last: an offset, a position, or a time.
#[derive(Clone, Copy)]
pub enum Since {
    /// An offset, in an epoch if that is said.
    Position(Position),
    /// In milliseconds since 1970.
    Time(u64),
}

/// Parses the member `since`; refused with `frame.malformed`.
pub fn since(value: &RawValue) -> Result<Since, Refusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct TimeJson {
        time: u64,
    }
    let text = value.get();
    if let Ok(offset) = serde_json::from_str(text) {
        let (epoch, offset) = (None, Offset(offset));
        return Ok(Since::Position(Position { epoch, offset }));
    }
    // An array of a struct's members in order is no object, whatever a parser makes of it.
    let object = if text.starts_with('{') { text } else { "" };
    if let Ok(TimeJson { time }) = serde_json::from_str(object) {
        return Ok(Since::Time(time));
    }
    match serde_json::from_str::<PositionJson>(object) {
        Ok(position) => Ok(Since::Position(position.position())),
        Err(_) => {
            let text = "\"since\" is an offset, {\"epoch\":…,\"offset\":…} or {\"time\":…} in milliseconds since 1970";
            Err(Refusal::new(Code::FrameMalformed, text))
        }
    }
}
