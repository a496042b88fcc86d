//! The grammar of finding: query parameters in, what to look for and what to show out.
//!
//! Pure. The parameters are those of docs.octave.dev and of flowthings' QueryOptions.java; ones it does
//! not know are passed over, as older clients send more. Over HTTP they stand in the query, elsewhere
//! in a JSON object, as texts or as what they mean. Invariant: a value that makes no sense is refused
//! by its parameter's name, never guessed.

pub mod only;
pub mod word;

use crate::domain::error::{Code, Refusal};
use crate::domain::limits::Limits;
use crate::domain::path::Path;
use crate::domain::stream::Target;
use crate::engine::filter::{Field, Filter, Member};
use crate::engine::search::{MAX_BYTES, Search, Sort};
use crate::protocol::finding::only::Only;
use crate::protocol::finding::word::Word;
use crate::protocol::names::Names;
use serde::Deserialize;
use utoipa::IntoParams;

/// Events in an answer if nothing else is said.
const DEFAULT_LIMIT: usize = 20;
/// Largest number in a query: what every JSON parser takes.
const MAX_NUMBER: usize = (1 << 53) - 1;
/// Longest name of a member, in bytes.
const MAX_NAME_BYTES: usize = 1_024;

/// The query parameters of finding and deleting events.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct FindQuery {
    /// The stream, where the address does not name it.
    #[param(value_type = Option<String>)]
    path: Option<Word>,
    /// Only events that it accepts, such as `elems.t > 20`.
    #[param(value_type = Option<String>)]
    filter: Option<Word>,
    /// A member to order by (`creationDate`), such as `elems.t`.
    #[param(value_type = Option<String>)]
    sort: Option<Word>,
    /// `desc` or `asc` (`desc`).
    #[param(value_type = Option<String>)]
    order: Option<Word>,
    /// How many to pass over (0).
    #[param(value_type = Option<u64>, maximum = 9_007_199_254_740_991_u64)]
    start: Option<Word>,
    /// The older name of `start`.
    #[param(value_type = Option<u64>, maximum = 9_007_199_254_740_991_u64)]
    skip: Option<Word>,
    /// How many to show (20).
    #[param(value_type = Option<u64>)]
    limit: Option<Word>,
    /// The members to show, with commas between them, such as `id,offset,elems.t`.
    #[param(value_type = Option<String>)]
    only: Option<Word>,
    /// `1` adds the stream to the head's `references` (`0`).
    #[param(value_type = Option<String>)]
    refs: Option<Word>,
}

impl FindQuery {
    /// The stream that `path` names, for addresses that name none.
    pub fn target(&self) -> Result<Target, Refusal> {
        let path = self.path.as_deref();
        let path = path.ok_or_else(|| malformed("\"path\" is missing: events are found by a stream's path or id"))?;
        Ok(Target::Path(Path::parse(path)?))
    }

    /// Refused with `query.malformed` if only some of a stream's events are meant: who deletes gets
    /// all of them, and should know.
    pub fn check_whole(&self) -> Result<(), Refusal> {
        let some = [
            ("filter", &self.filter),
            ("start", &self.start),
            ("skip", &self.skip),
            ("limit", &self.limit),
        ];
        match some.iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => Err(malformed(format!(
                "\"{name}\" is not for deleting: all events go, or one by its id"
            ))),
            None => Ok(()),
        }
    }

    /// What is looked for. Refused with `query.malformed`, `filter.malformed`, `limit.filter` or
    /// `limit.find`.
    pub fn search(&self, limits: &Limits) -> Result<Search, Refusal> {
        let filter = self.filter.as_deref();
        Ok(Search {
            filter: filter
                .map(|text| Filter::parse(text, limits.max_filter_bytes))
                .transpose()?,
            sort: self.sort.as_deref().map_or(Ok(Sort::Place), parse_sort)?,
            descending: match self.order.as_deref() {
                None | Some("desc") => true,
                Some("asc") => false,
                Some(_) => return Err(malformed("\"order\" is asc or desc")),
            },
            start: self.start()?,
            limit: self.limit(limits.max_find_events)?,
            max_bytes: MAX_BYTES,
        })
    }

    fn start(&self) -> Result<usize, Refusal> {
        match (&self.start, &self.skip) {
            (Some(_), Some(_)) => Err(malformed("\"start\" or \"skip\" is wanted, not both")),
            (start, None) => number("start", start.as_deref(), 0),
            (None, skip) => number("skip", skip.as_deref(), 0),
        }
    }

    fn limit(&self, most: usize) -> Result<usize, Refusal> {
        let limit = number("limit", self.limit.as_deref(), DEFAULT_LIMIT.min(most))?;
        if limit > most {
            let text = format!("a request finds at most {most} events");
            return Err(Refusal::new(Code::LimitFind, text));
        }
        Ok(limit)
    }

    /// Which members of the events are shown.
    pub fn only(&self, names: Names) -> Result<Only, Refusal> {
        let only = self.only.as_deref();
        only.map_or(Ok(Only::all(names)), |text| Only::parse(text, names))
    }

    /// Whether `head.references` is to hold the stream.
    pub fn wants_references(&self) -> Result<bool, Refusal> {
        match self.refs.as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(malformed("\"refs\" is 0 or 1")),
        }
    }
}

/// Events stand in the order of their creation, so their dates and offsets sort like their places.
fn parse_sort(text: &str) -> Result<Sort, Refusal> {
    let member = parse_member(text)
        .ok_or_else(|| malformed("\"sort\" is a member of the events, such as creationDate, offset or elems.temp"))?;
    let is_place = matches!(
        member.field(),
        Field::CreationDate | Field::GeneratedDate | Field::Offset
    );
    Ok(match is_place && member.steps().len() == 0 {
        true => Sort::Place,
        false => Sort::Member(member),
    })
}

/// A member's name, as filters have it.
pub fn parse_member(text: &str) -> Option<Member> {
    (text.len() <= MAX_NAME_BYTES).then(|| Member::parse(text)).flatten()
}

fn number(name: &str, text: Option<&str>, default: usize) -> Result<usize, Refusal> {
    let wanted = || malformed(format!("\"{name}\" is a whole number from 0 on"));
    let number = |text: &str| text.parse().ok().filter(|number| *number <= MAX_NUMBER);
    text.map_or(Ok(default), |text| number(text).ok_or_else(wanted))
}

/// A query parameter that makes no sense.
pub fn malformed(text: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::QueryMalformed, text)
}
