//! The grammar of `GET /session/<id>/events`: which streams, from where, on what terms.
//!
//! Pure. A parameter means what the member of its name means in a request to subscribe, and is read
//! by the same code. Parameters that it does not know are passed over, as polyfills send more.

use crate::domain::error::{Code, Refusal};
use crate::domain::id::StreamId;
use crate::domain::limits::Limits;
use crate::domain::position::Position;
use crate::protocol::session::wire::{self, Ask, Subscribe, places};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Streams of one response.
const MAX_PATHS: usize = 16;

/// What a response of Server-Sent Events is to bring.
#[derive(Debug, PartialEq, Eq)]
pub struct EventsQuery {
    /// The streams; none for those that the session follows anyway.
    pub wishes: Vec<Subscribe>,
    /// Where the reader was when it was cut off.
    pub seen: Vec<(StreamId, Position)>,
}

impl EventsQuery {
    /// Parses parameters, and the header `Last-Event-ID`, which counts more than the parameter that
    /// stands for it where a page cannot set headers.
    ///
    /// Refused with `query.malformed`, or as the request to subscribe would be.
    pub fn parse(pairs: &[(String, String)], last_event_id: Option<&str>, limits: &Limits) -> Result<Self, Refusal> {
        let one = |name: &str| {
            let mut values = pairs
                .iter()
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.as_str());
            match (values.next(), values.next()) {
                (_, Some(_)) => Err(malformed(format!("\"{name}\" is wanted once"))),
                (value, None) => Ok(value),
            }
        };
        let mut terms = Map::new();
        for name in ["filter", "whenSlow"] {
            if let Some(value) = one(name)? {
                terms.insert(name.to_owned(), Value::from(value));
            }
        }
        let mut raw = String::new();
        for name in ["since", "last"] {
            if let Some(value) = one(name)? {
                raw.push_str(&format!(",\"{name}\":{}", json(name, value)?));
            }
        }
        let paths = pairs.iter().filter(|(key, _)| key == "path").map(|(_, value)| value);
        if paths.clone().count() > MAX_PATHS {
            let text = format!("\"path\" is given at most {MAX_PATHS} times; open another response for more");
            return Err(malformed(text));
        }
        let wishes = paths.map(|path| wish(path, &terms, &raw, limits));
        let wishes = wishes.collect::<Result<Vec<_>, _>>()?;
        if wishes.is_empty() && !(terms.is_empty() && raw.is_empty()) {
            let text = "\"since\", \"last\", \"filter\" and \"whenSlow\" go with \"path\"";
            return Err(malformed(text.to_owned()));
        }
        let seen = match last_event_id {
            Some(id) => Some(id),
            None => one("lastEventId")?,
        };
        let seen = places::parse(seen.unwrap_or_default())?;
        Ok(Self { wishes, seen })
    }
}

/// The value of a parameter that is JSON.
fn json<'a>(name: &str, value: &'a str) -> Result<&'a RawValue, Refusal> {
    let wrong = |_| malformed(format!("\"{name}\" is a number, or for \"since\" an object, in JSON"));
    serde_json::from_str(value).map_err(wrong)
}

/// A request to subscribe, as it would be said on a socket.
fn wish(path: &str, terms: &Map<String, Value>, raw: &str, limits: &Limits) -> Result<Subscribe, Refusal> {
    let mut members = terms.clone();
    members.insert("type".to_owned(), Value::from("subscribe"));
    members.insert("path".to_owned(), Value::from(path));
    let mut text = Value::from(members).to_string();
    text.pop();
    text.push_str(raw);
    text.push('}');
    match wire::parse(&text, limits).ask {
        Ok(Ask::Subscribe(wish)) => Ok(wish),
        Ok(_) => Err(malformed("the parameters ask for something else".to_owned())),
        Err(refusal) if refusal.code == Code::FrameMalformed => Err(malformed(refusal.text.into_owned())),
        Err(refusal) => Err(refusal),
    }
}

fn malformed(text: String) -> Refusal {
    Refusal::new(Code::QueryMalformed, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::From;
    use crate::domain::position::Offset;
    use crate::engine::subscription::WhenSlow;
    use clap::Parser;

    #[derive(Parser)]
    struct JustLimits {
        #[command(flatten)]
        limits: Limits,
    }

    fn parse(pairs: &[(&str, &str)], last_event_id: Option<&str>) -> Result<EventsQuery, Refusal> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let limits = JustLimits::parse_from(["test"]).limits;
        EventsQuery::parse(&pairs.collect::<Vec<_>>(), last_event_id, &limits)
    }

    fn refused(pairs: &[(&str, &str)]) -> Option<Code> {
        parse(pairs, None).err().map(|refusal| refusal.code)
    }

    #[test]
    fn parameters_mean_what_they_mean_on_a_socket() {
        let pairs = [
            ("path", "/acme/a"),
            ("path", "/acme/b"),
            ("since", "41"),
            ("filter", "t > 1"),
            ("whenSlow", "latest"),
        ];
        let query = parse(&pairs, None).expect("good");
        assert_eq!(query.wishes.len(), 2);
        for wish in &query.wishes {
            let (epoch, offset) = (None, Offset(41));
            assert_eq!(wish.following.from, From::Position(Position { epoch, offset }));
            let terms = wish.following.terms.as_ref().expect("terms");
            assert_eq!(terms.when_slow, WhenSlow::Latest);
            assert!(terms.filter.is_some());
        }
        let timed = parse(&[("path", "/acme/a"), ("since", r#"{"time":7}"#)], None).expect("good");
        assert_eq!(timed.wishes[0].since_ms, Some(7));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let malformed = Some(Code::QueryMalformed);
        assert_eq!(refused(&[("path", "/acme/a"), ("since", "}")]), malformed);
        assert_eq!(refused(&[("path", "/acme/a"), ("since", "1,\"last\":2")]), malformed);
        assert_eq!(
            refused(&[("path", "/acme/a"), ("since", "1"), ("last", "2")]),
            malformed
        );
        assert_eq!(
            refused(&[("path", "/acme/a"), ("since", "1"), ("since", "2")]),
            malformed
        );
        assert_eq!(refused(&[("path", "/acme/a"), ("whenSlow", "never")]), malformed);
        assert_eq!(refused(&[("since", "1")]), malformed);
        assert_eq!(refused(&[("lastEventId", "7")]), malformed);
        assert_eq!(refused(&[("path", "nowhere")]), Some(Code::PathMalformed));
        assert_eq!(
            refused(&[("path", "/acme/a"), ("filter", "((")]),
            Some(Code::FilterMalformed)
        );
        assert_eq!(refused(&[("path", "/acme/a"); MAX_PATHS]), None);
        assert_eq!(refused(&[("path", "/acme/a"); MAX_PATHS + 1]), malformed);
        assert_eq!(refused(&[("_", "1")]), None, "a polyfill's own");
    }

    #[test]
    fn the_header_counts_more_than_the_parameter() {
        let stream = StreamId::new([1; 12]);
        let [old, new] = [3, 4].map(|offset| format!("{stream}.00000001.{offset}"));
        let query = parse(&[("lastEventId", &old)], Some(&new)).expect("good");
        assert_eq!(query.seen[0].1.offset, Offset(4));
        assert_eq!(
            parse(&[("lastEventId", &old)], None).expect("good").seen[0].1.offset,
            Offset(3)
        );
    }
}
