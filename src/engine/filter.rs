//! Filters: one line of text that says which events are wanted, in the language of flowthings.io.
//!
//! Owns the language and what it means; does not know who asks or what becomes of an event. Parsed
//! once (`grammar` makes a `tree` of `tokens`), then asked for every event (`eval`, which looks at a
//! `subject`). Invariant: whatever the text, parsing ends soon and a filter holds a bounded amount of
//! memory; whatever the event, the answer is yes or no.

mod eval;
mod grammar;
mod order;
mod pattern;
mod place;
mod stop;
mod subject;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;

pub use order::{Quantity, compare};
pub use subject::{IdText, Seen, Subject};
pub use tree::{Field, MEMBERS, Member};

use crate::domain::error::{Code, Refusal};
use std::fmt;
use std::sync::Arc;

/// Which events are wanted. Cheap to clone.
///
/// | written | holds when |
/// |---|---|
/// | `m == v`, `!=`, `<`, `<=`, `>`, `>=` | the member compares so with a value or another member |
/// | `m % 2 == 0` | the rest of the division does; like Java's, it has the member's sign |
/// | `m =~ /re/i` | the member is a text in which the pattern is found; flags `i m s x` |
/// | `m IN ["a", 1]` | the member equals one of the values |
/// | `m CONTAINS ["a", "b"]` | the member is a list with all the values, or a text with all the texts |
/// | `location WITHIN 5 MILES OF [40.7, -74]` | the member is a place so near; also `KM`, `METERS` |
/// | `EXISTS m` | the member is there and not null |
/// | `HAS integer` | an element, not one inside another, is of the type |
/// | `AGE > 1000`, `AGE('seen') > 1000` | so many milliseconds passed since creation, or since the member's time |
/// | `MATCHES /re/` | the pattern is found in an element that is a text |
/// | `NOT f`, `!f`; `f && g`, `f AND g`; `f \|\| g`, `f OR g`; `(f)` | as ever; `NOT` binds tightest, `&&` before `\|\|` |
///
/// A member is one of [`MEMBERS`] or an element's name, with dots into maps and lists: `path`,
/// `elems.door.0.open`, `door.0.open`. A name with other characters stands in quotes behind a dot:
/// `elems."inside temp"`. Texts stand in single or double quotes with JSON's escapes; numbers are
/// JSON's. Keywords may be written in any case, except that `age` alone is the element and `AGE` the
/// keyword. An element named like a keyword is reached as `elems.in`.
///
/// Patterns are those of the crate `regex`: no look-around, no back references. They look at the first
/// 4,096 bytes of a text, `MATCHES` of all texts together; a filter has four at most. A `location` is a
/// map with the numbers `lat` and `lon` or `latitude` and `longitude`.
///
/// What is missing or of another type equals nothing and is neither less nor greater; `!=` is always
/// the opposite of `==`. Lists and maps can only be equal or not. Numbers compare exactly, whole or
/// not; texts by code points.
#[derive(Clone)]
pub struct Filter(Arc<Parsed>);

struct Parsed {
    source: Box<str>,
    rule: tree::Rule,
}

impl Filter {
    /// Parses a filter of at most `max_bytes`.
    ///
    /// Refused with `filter.malformed`, naming the character (from 1) where it stops being right and
    /// what was expected there; with `limit.filter` if it is too long, nested too deeply, or has too
    /// many or too large patterns.
    pub fn parse(text: &str, max_bytes: usize) -> Result<Filter, Refusal> {
        if text.len() > max_bytes {
            let text = format!("a filter has at most {max_bytes} bytes");
            return Err(Refusal::new(Code::LimitFilter, text));
        }
        let rule = grammar::parse(text).map_err(|stop| stop.refusal(text))?;
        let source = text.into();
        Ok(Self(Arc::new(Parsed { source, rule })))
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether it is wanted; `now_ms` in milliseconds since 1970.
    pub fn accepts(&self, subject: &Subject<'_>, now_ms: u64) -> bool {
        eval::holds(&self.0.rule, subject, now_ms)
    }

    /// How far the subject is from the first place that the filter asks about, in the unit in which it
    /// asks; nothing if it asks about none, or the subject has none.
    pub fn distance(&self, subject: &Subject<'_>) -> Option<f64> {
        eval::distance(&self.0.rule, subject)
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Filter {}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.source()).finish()
    }
}
