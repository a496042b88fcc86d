//! Streams as JSON, as every protocol that makes them takes them and gives them back, and the grammar of
//! looking for them.
//!
//! Pure. Members are those of `…/stream` at docs.octave.dev; flowthings' flows had the same. Its clients
//! send back what they were sent, and more, so what is not known is passed over for those who use its
//! names.

use crate::broker::Listing;
use crate::domain::durability::Durability;
use crate::domain::error::{Code, Refusal};
use crate::domain::limits::Limits;
use crate::domain::path::Path;
use crate::domain::stream::{DEFAULT_CAPACITY, NewStream, RULE_NUMBERS, Rules, Stream, StreamChange, StreamPage};
use crate::engine::filter::Filter;
use crate::protocol::finding::word::Word;
use crate::protocol::json;
use crate::protocol::names::Names;
use crate::protocol::reply::quoted;
use crate::protocol::shapes::Ack;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Streams in a list if nothing else is said.
const DEFAULT_LIMIT: usize = 20;
/// Most streams in a list.
const MAX_LIMIT: usize = 1_000;
/// Most that are passed over in a list: what every JSON parser takes.
const MAX_START: usize = (1 << 53) - 1;
/// The members that may be said of a stream, or sent back.
const MEMBERS: [&str; 12] = [
    "path",
    "description",
    "capacity",
    "ack",
    "filter",
    "maxAge",
    "maxBytes",
    "id",
    "creatorId",
    "creationDate",
    "lastEditDate",
    "lastEditorId",
];

/// What may be said of a stream. The members that only the server writes may be sent back to it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a stream")]
#[schema(as = StreamWish)]
pub struct StreamJson {
    /// Where it is: needed for a new stream, and never changed.
    #[schema(max_length = 128)]
    path: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// How many events it keeps (1000); 0 keeps nothing, 1 the last.
    capacity: Option<u64>,
    /// What an answer to a publisher means; null for `durable`.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<Ack>)]
    ack: Option<Option<String>>,
    /// What it takes; null for everything.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    filter: Option<Option<String>>,
    /// How old events get, in seconds; null for any age.
    #[serde(default, deserialize_with = "said", rename = "maxAge")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    max_age: Option<Option<u64>>,
    /// How many bytes of events it keeps, counted in whole pieces; null for any number.
    #[serde(default, deserialize_with = "said", rename = "maxBytes")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    max_bytes: Option<Option<u64>>,
    /// Passed over.
    #[serde(default, rename = "id")]
    #[schema(value_type = Value)]
    _id: IgnoredAny,
    /// Passed over.
    #[serde(default, rename = "creatorId")]
    #[schema(value_type = Value)]
    _creator_id: IgnoredAny,
    /// Passed over.
    #[serde(default, rename = "creationDate")]
    #[schema(value_type = Value)]
    _creation_date: IgnoredAny,
    /// Passed over.
    #[serde(default, rename = "lastEditDate")]
    #[schema(value_type = Value)]
    _last_edit_date: IgnoredAny,
    /// Passed over.
    #[serde(default, rename = "lastEditorId")]
    #[schema(value_type = Value)]
    _last_editor_id: IgnoredAny,
}

/// A member that is there, though it may be null.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl StreamJson {
    /// What is said of the stream's rules; `null` says that it has none.
    fn rules(self) -> Result<StreamChange, Refusal> {
        let bound = |name: &str, bound: Option<Option<u64>>| match bound.flatten() {
            Some(number) if !RULE_NUMBERS.contains(&number) => {
                let (least, most) = (RULE_NUMBERS.start(), RULE_NUMBERS.end());
                let text = format!("\"{name}\" is a number from {least} to {most}, or null");
                Err(Refusal::new(Code::BodyMalformed, text))
            }
            _ => Ok(bound),
        };
        let ack = |word: Option<String>| match word {
            Some(word) => Durability::parse(&word, Code::BodyMalformed),
            None => Ok(Durability::default()),
        };
        Ok(StreamChange {
            description: self.description,
            capacity: self.capacity,
            ack: self.ack.map(ack).transpose()?,
            filter: self.filter,
            max_age_s: bound("maxAge", self.max_age)?,
            max_bytes: bound("maxBytes", self.max_bytes)?,
        })
    }
}

/// Parses what is said of a stream; members that it has not are passed over for who uses older names.
fn parse(text: &str, names: Names) -> Result<StreamJson, Refusal> {
    if !names.is_older() {
        return json::object(text);
    }
    let mut members: Map<String, Value> = json::object(text)?;
    members.retain(|name, _| MEMBERS.contains(&name.as_str()));
    serde_json::from_value(members.into()).map_err(|error| json::refused(&error))
}

/// Parses a stream to be made.
pub fn parse_new(text: &str, limits: &Limits, names: Names) -> Result<NewStream, Refusal> {
    let mut json = parse(text, names)?;
    let path = json.path.take();
    let path = path.ok_or_else(|| Refusal::new(Code::BodyMalformed, "\"path\" is missing"))?;
    let said = json.rules()?;
    Ok(NewStream {
        path: Path::parse(&path)?,
        description: said.description.unwrap_or_default(),
        capacity: said
            .capacity
            .unwrap_or_else(|| DEFAULT_CAPACITY.min(limits.max_capacity)),
        rules: Rules {
            ack: said.ack.unwrap_or_default(),
            filter: said.filter.flatten(),
            max_age_s: said.max_age_s.flatten(),
            max_bytes: said.max_bytes.flatten(),
        },
    })
}

/// Parses what is to be different about a stream; its path stays, and may be sent along unchanged.
pub fn parse_change(text: &str, stream: &Stream, names: Names) -> Result<StreamChange, Refusal> {
    let json = parse(text, names)?;
    if json.path.as_deref().is_some_and(|path| path != stream.path.as_str()) {
        let text = "a stream keeps its path; make another stream for another path";
        return Err(Refusal::new(Code::BodyMalformed, text));
    }
    json.rules()
}

/// A stream as JSON; its rules only where they are not what is usual.
pub fn one(stream: &Stream) -> String {
    let (editor, edited) = match stream.edited {
        Some((editor, edited_ms)) => (format!("\"{editor}\""), edited_ms.to_string()),
        None => ("null".to_owned(), "null".to_owned()),
    };
    format!(
        r#"{{"id":"{}","path":"{}","description":{},"capacity":{},"creatorId":"{}","creationDate":{},"lastEditDate":{edited},"lastEditorId":{editor}{}}}"#,
        stream.id,
        stream.path,
        quoted(&stream.description),
        stream.capacity,
        stream.creator,
        stream.created_ms,
        rules(&stream.rules),
    )
}

fn rules(rules: &Rules) -> String {
    let unusual = [
        (rules.ack != Durability::default()).then(|| format!(r#","ack":"{}""#, rules.ack.word())),
        rules
            .filter
            .as_deref()
            .map(|text| format!(r#","filter":{}"#, quoted(text))),
        rules.max_age_s.map(|seconds| format!(r#","maxAge":{seconds}"#)),
        rules.max_bytes.map(|bytes| format!(r#","maxBytes":{bytes}"#)),
    ];
    unusual.into_iter().flatten().collect()
}

/// Streams as a JSON array.
pub fn list(streams: &[Arc<Stream>]) -> String {
    let each: Vec<String> = streams.iter().map(|each| one(each)).collect();
    format!("[{}]", each.join(","))
}

/// The query parameters of a list of streams.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct StreamsQuery {
    /// How many to pass over (0).
    #[param(value_type = Option<u64>, maximum = 9_007_199_254_740_991_u64)]
    start: Option<Word>,
    /// The older name of `start`.
    #[param(value_type = Option<u64>, maximum = 9_007_199_254_740_991_u64)]
    skip: Option<Word>,
    /// How many to show (20).
    #[param(value_type = Option<u64>, maximum = 1_000)]
    limit: Option<Word>,
    /// Only the stream at this path.
    #[param(value_type = Option<String>)]
    path: Option<Word>,
    /// Only those with this in their path or description, in small or large letters.
    #[param(value_type = Option<String>)]
    search: Option<Word>,
    /// Only those that it accepts, such as `capacity > 100`.
    #[param(value_type = Option<String>)]
    filter: Option<Word>,
}

impl StreamsQuery {
    /// The one stream that is wanted, if the query names one.
    pub fn path(&self) -> Result<Option<Path>, Refusal> {
        self.path.as_deref().map(Path::parse).transpose()
    }

    /// Which streams are wanted. Refused with `query.malformed`, `filter.malformed` or `limit.filter`.
    pub fn listing(&self, limits: &Limits) -> Result<Listing, Refusal> {
        let start = match (&self.start, &self.skip) {
            (Some(_), Some(_)) => {
                let text = "\"start\" or \"skip\" is wanted, not both";
                return Err(Refusal::new(Code::QueryMalformed, text));
            }
            (start, skip) => start.as_deref().or(skip.as_deref()),
        };
        let filter = self.filter.as_deref();
        Ok(Listing {
            page: page(start, self.limit.as_deref())?,
            search: self.search.as_deref().unwrap_or_default().to_lowercase(),
            filter: filter
                .map(|text| Filter::parse(text, limits.max_filter_bytes))
                .transpose()?,
        })
    }
}

/// The part of a list that is wanted; refused with `query.malformed`.
pub fn page(start: Option<&str>, limit: Option<&str>) -> Result<StreamPage, Refusal> {
    let number = |name: &str, text: Option<&str>, default: usize, most: usize| match text {
        None => Ok(default),
        Some(text) => {
            let number = text.parse().ok().filter(|number| *number <= most);
            let wanted = || Refusal::new(Code::QueryMalformed, format!("\"{name}\" is a number from 0 to {most}"));
            number.ok_or_else(wanted)
        }
    };
    Ok(StreamPage {
        start: number("start", start, 0, MAX_START)?,
        limit: number("limit", limit, DEFAULT_LIMIT, MAX_LIMIT)?,
    })
}
