//! What the harness says to the server and what it understands of the answers.
//!
//! Pure, and the only file here that knows the wire formats. Written apart from the server's own
//! grammar on purpose: a slip there must not be repeated here.

use crate::cli::torture::oracle::view::Gap;
use crate::cli::torture::oracle::{Given, Level, Mark, print};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The content of an event, with so much that means nothing.
pub fn elems(mark: Mark, padding: &str) -> String {
    format!(r#"{{"p":{},"n":{},"x":"{padding}"}}"#, mark.publisher, mark.number)
}

/// The body that publishes these contents: one alone, or an array.
pub fn publish_body(contents: &[String], is_batch: bool) -> String {
    let mut body = String::new();
    for content in contents {
        let comma = if body.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(body, r#"{comma}{{"elems":{content}}}"#);
    }
    if is_batch { format!("[{body}]") } else { body }
}

/// Where events are published, asking for a level or leaving it to the stream.
pub fn publish_address(company: &str, stream: &str, level: Option<Level>) -> String {
    let query = level.map(|level| format!("?ack={}", word(level))).unwrap_or_default();
    format!("/v5.0/{company}/event/{stream}{query}")
}

/// The newest events of a stream.
pub fn scan_address(company: &str, stream: &str, limit: u64) -> String {
    format!("/v5.0/{company}/event/{stream}?start=0&limit={limit}&order=desc&only=id,offset,elems")
}

/// The word for a level.
pub fn word(level: Level) -> &'static str {
    match level {
        Level::Accepted => "accepted",
        Level::Written => "written",
        Level::Durable => "durable",
    }
}

fn level(word: &str) -> Option<Level> {
    [Level::Accepted, Level::Written, Level::Durable]
        .into_iter()
        .find(|level| self::word(*level) == word)
}

/// A published event as the answer describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The event's own name.
    pub id: String,
    /// Its place.
    pub offset: Option<u64>,
    /// What was reached.
    pub level: Option<Level>,
}

/// What came of a request that publishes.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done(Vec<Published>),
    /// Not now; whether something was done is not known.
    Later(String),
    /// It will never be done.
    Never(String),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    head: Head,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    ok: bool,
    code: Option<String>,
}

#[derive(Deserialize)]
struct PublishedJson {
    id: String,
    offset: Option<u64>,
    ack: Option<String>,
}

/// Understands the answer to a request that publishes.
pub fn parse_published(status: u16, body: &[u8]) -> Answer {
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(body) else {
        return Answer::Later(format!("{status} without an envelope"));
    };
    let code = envelope.head.code.unwrap_or_default();
    match status {
        200..300 => match events(envelope.body.get()) {
            Some(events) => Answer::Done(events),
            None => Answer::Never("an answer that is no event".to_owned()),
        },
        409 if code == "key.busy" => Answer::Later(code),
        429 | 500.. => Answer::Later(code),
        _ => Answer::Never(format!("{status} {code}")),
    }
}

fn events(body: &str) -> Option<Vec<Published>> {
    let events: Vec<PublishedJson> = match body.starts_with('[') {
        true => serde_json::from_str(body).ok()?,
        false => vec![serde_json::from_str(body).ok()?],
    };
    let published = |event: PublishedJson| Published {
        level: event.ack.as_deref().and_then(level),
        id: event.id,
        offset: event.offset,
    };
    Some(events.into_iter().map(published).collect())
}

#[derive(Deserialize)]
struct Named {
    p: u16,
    n: u32,
}

/// An event of ours by its content, which is not parsed but for its name.
fn given(offset: u64, elems: &RawValue) -> Given {
    // What is not ours gets the name of an event that nobody published.
    let named = serde_json::from_str(elems.get()).unwrap_or(Named {
        p: u16::MAX,
        n: u32::MAX,
    });
    Given {
        offset,
        mark: Mark {
            publisher: named.p,
            number: named.n,
        },
        print: print(elems.get()),
    }
}

#[derive(Deserialize)]
struct FoundJson<'a> {
    offset: u64,
    #[serde(borrow)]
    elems: &'a RawValue,
}

/// Understands found events, which came newest first, and turns them round.
pub fn parse_found(status: u16, body: &[u8]) -> Option<Vec<Given>> {
    let envelope = serde_json::from_slice::<Envelope<'_>>(body).ok()?;
    let found: Vec<FoundJson<'_>> = serde_json::from_str(envelope.body.get()).ok()?;
    let is_done = (200..300).contains(&status) && envelope.head.ok;
    is_done.then(|| {
        found
            .iter()
            .rev()
            .map(|found| given(found.offset, found.elems))
            .collect()
    })
}

/// The body that makes a stream.
pub fn stream_body(path: &str, capacity: u64, level: Option<Level>) -> String {
    let mut body = json!({"path": path, "capacity": capacity});
    if let Some(level) = level {
        body["ack"] = json!(word(level));
    }
    body.to_string()
}

/// The id of something that was made.
pub fn parse_id(status: u16, body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let id = value["body"]["id"].as_str()?;
    (200..300).contains(&status).then(|| id.to_owned())
}

/// A page of the list of streams.
pub fn list_address(company: &str, start: usize, limit: usize) -> String {
    format!("/v5.0/{company}/stream?start={start}&limit={limit}")
}

#[derive(Deserialize)]
struct ListedJson {
    id: String,
}

/// The ids of listed streams.
pub fn parse_list(status: u16, body: &[u8]) -> Option<Vec<String>> {
    let envelope = serde_json::from_slice::<Envelope<'_>>(body).ok()?;
    let streams: Vec<ListedJson> = serde_json::from_str(envelope.body.get()).ok()?;
    (status == 200).then(|| streams.into_iter().map(|stream| stream.id).collect())
}

/// A place in a numbering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The numbering's name.
    pub epoch: String,
    /// The last offset that was seen.
    pub offset: u64,
}

impl Position {
    fn json(&self) -> Value {
        json!({"epoch": self.epoch, "offset": self.offset})
    }
}

/// The body that opens a session and asks what has come since; empty if nothing is asked.
pub fn session_body(positions: &BTreeMap<String, Position>) -> String {
    if positions.is_empty() {
        return String::new();
    }
    let each = positions
        .iter()
        .map(|(stream, position)| (stream.clone(), position.json()));
    json!({"positions": each.collect::<serde_json::Map<_, _>>()}).to_string()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StandingJson {
    state: String,
    behind: u64,
    missing: u64,
    first_available: u64,
    head: u64,
}

/// Counts the streams about whose positions the answer is missing or contradicts itself.
///
/// The numbering may have changed, so only what has to hold in any is judged.
pub fn wrong_standings(body: &[u8], asked: &BTreeMap<String, Position>) -> u64 {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let streams = &value["body"]["streams"];
    let is_right = |stream: &String| {
        let standing = StandingJson::deserialize(&streams[stream]);
        standing.is_ok_and(|standing| adds_up(&standing))
    };
    asked.keys().filter(|stream| !is_right(stream)).count() as u64
}

fn adds_up(standing: &StandingJson) -> bool {
    let state = match (standing.behind, standing.missing) {
        (0, _) => "complete",
        (_, 0) => "behind",
        _ => "gap",
    };
    // An empty stream has nothing available; its first event will be the next.
    let in_order = standing.first_available <= standing.head + 1 || standing.head == 0;
    standing.missing <= standing.behind && in_order && (standing.state == state || standing.state == "gap")
}

/// Where a subscription is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// With what comes next.
    Now,
    /// With the oldest that is kept.
    Start,
    /// After this.
    Position(Position),
}

/// The frame that subscribes; `number` comes back with the answer.
pub fn subscribe(number: usize, stream: &str, since: &Since, when_slow: Option<&str>) -> String {
    let mut request = json!({"msgId": number, "object": "event", "type": "subscribe", "streamId": stream});
    match since {
        Since::Now => {}
        Since::Start => request["since"] = json!(0),
        Since::Position(position) => request["since"] = position.json(),
    }
    if let Some(word) = when_slow {
        request["whenSlow"] = json!(word);
    }
    request.to_string()
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A subscription is there: which request, and the place that the server names.
    Subscribed {
        /// The request's number.
        number: usize,
        /// Where it is, if the request had it told.
        position: Option<Position>,
    },
    /// A request was refused.
    Refused {
        /// The request's number.
        number: usize,
        /// Why.
        code: String,
    },
    /// An event of a stream.
    Event {
        /// The stream's id.
        stream: String,
        /// The event.
        given: Given,
    },
    /// A notice that events will not come.
    Gap {
        /// The stream's id.
        stream: String,
        /// Which.
        gap: Gap,
    },
    /// Something else, such as a goodbye.
    Other,
}

#[derive(Deserialize)]
struct FrameJson<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    resource: Option<String>,
    offset: Option<u64>,
    #[serde(borrow)]
    value: Option<ValueJson<'a>>,
    head: Option<FrameHead>,
    body: Option<Value>,
}

#[derive(Deserialize)]
struct ValueJson<'a> {
    #[serde(borrow)]
    elems: &'a RawValue,
}

#[derive(Deserialize)]
struct FrameHead {
    #[serde(rename = "msgId")]
    msg_id: Value,
    ok: bool,
    code: Option<String>,
}

/// Understands a frame; what is not understood is nothing.
pub fn parse_frame(text: &[u8]) -> Option<Incoming> {
    let frame: FrameJson<'_> = serde_json::from_slice(text).ok()?;
    match frame.kind.as_deref() {
        Some("message") => Some(Incoming::Event {
            stream: frame.resource?,
            given: given(frame.offset?, frame.value?.elems),
        }),
        Some("gap") => parse_gap(&frame.body?),
        Some(_) => Some(Incoming::Other),
        None => parse_answer(frame.head?, &frame.body.unwrap_or_default()),
    }
}

fn parse_gap(body: &Value) -> Option<Incoming> {
    let number = |name: &str| body[name].as_u64();
    Some(Incoming::Gap {
        stream: body["resource"].as_str()?.to_owned(),
        gap: Gap {
            from: number("from")?,
            to: number("to")?,
            count: number("count")?,
            is_renumbering: body["reason"] == "epoch",
        },
    })
}

fn parse_answer(head: FrameHead, body: &Value) -> Option<Incoming> {
    let number = head.msg_id.as_u64()? as usize;
    if !head.ok {
        let code = head.code.unwrap_or_default();
        return Some(Incoming::Refused { number, code });
    }
    let stream = &body["streams"][0];
    let position = stream["epoch"].as_str().map(|epoch| Position {
        epoch: epoch.to_owned(),
        offset: stream["offset"].as_u64().unwrap_or(0),
    });
    Some(Incoming::Subscribed { number, position })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        publisher: 3,
        number: 17,
    };

    #[test]
    fn an_answer_to_a_publisher_is_understood() {
        let body = br#"{"head":{"ok":true},"body":{"id":"e1","offset":42,"ack":"durable","elems":{}}}"#;
        let event = |offset, level| Published {
            id: "e1".to_owned(),
            offset,
            level,
        };
        let done = Answer::Done(vec![event(Some(42), Some(Level::Durable))]);
        assert_eq!(parse_published(201, body), done);
        let batch = br#"{"head":{"ok":true},"body":[{"id":"e1"},{"id":"e1","offset":1,"ack":"written"}]}"#;
        let both = vec![event(None, None), event(Some(1), Some(Level::Written))];
        assert_eq!(parse_published(201, batch), Answer::Done(both));
    }

    #[test]
    fn what_may_help_later_is_told_from_what_never_does() {
        let refused = |status, code: &str| {
            let body = json!({"head": {"ok": false, "code": code}, "body": {}}).to_string();
            parse_published(status, body.as_bytes())
        };
        assert_eq!(refused(503, "log.full"), Answer::Later("log.full".to_owned()));
        assert_eq!(refused(409, "key.busy"), Answer::Later("key.busy".to_owned()));
        assert_eq!(refused(409, "key.reused"), Answer::Never("409 key.reused".to_owned()));
        assert_eq!(refused(400, "x"), Answer::Never("400 x".to_owned()));
        assert!(matches!(parse_published(502, b"<html>"), Answer::Later(_)));
    }

    #[test]
    fn a_content_comes_back_as_it_was_sent() {
        let content = elems(MARK, "abc");
        let stored = format!(
            r#"{{"head":{{"ok":true}},"body":[{{"offset":9,"elems":{content}}},{{"offset":8,"elems":{{}}}}]}}"#
        );
        let found = parse_found(200, stored.as_bytes()).expect("it is an answer");
        assert_eq!(
            (found[1].offset, found[1].mark, found[1].print),
            (9, MARK, print(&content))
        );
        assert_eq!(found[0].mark.publisher, u16::MAX, "it is nobody's");
        let frame = format!(r#"{{"type":"message","resource":"s1","offset":9,"value":{{"elems":{content}}}}}"#);
        let event = Incoming::Event {
            stream: "s1".to_owned(),
            given: found[1],
        };
        assert_eq!(parse_frame(frame.as_bytes()), Some(event));
    }

    #[test]
    fn a_list_is_understood() {
        let body = br#"{"head":{"ok":true},"body":[{"id":"s1","path":"/a/b"},{"id":"s2"}]}"#;
        assert_eq!(parse_list(200, body), Some(vec!["s1".to_owned(), "s2".to_owned()]));
        assert_eq!(parse_list(503, body), None);
    }

    #[test]
    fn notices_and_acknowledgements_are_understood() {
        let gap = br#"{"type":"gap","head":{"msgId":null,"ok":true},"body":{"resource":"s1","from":12,"to":40,"count":29,"reason":"epoch"}}"#;
        let told = Incoming::Gap {
            stream: "s1".to_owned(),
            gap: Gap {
                from: 12,
                to: 40,
                count: 29,
                is_renumbering: true,
            },
        };
        assert_eq!(parse_frame(gap), Some(told));
        let plain = br#"{"head":{"msgId":2,"ok":true},"body":{}}"#;
        let subscribed = |number, position| Some(Incoming::Subscribed { number, position });
        assert_eq!(parse_frame(plain), subscribed(2, None));
        let told = br#"{"head":{"msgId":3,"ok":true},"body":{"streams":[{"id":"s1","epoch":"k3","offset":5,"state":"behind"}]}}"#;
        let position = Position {
            epoch: "k3".to_owned(),
            offset: 5,
        };
        assert_eq!(parse_frame(told), subscribed(3, Some(position)));
        let refused = br#"{"head":{"msgId":4,"ok":false,"code":"request.unsupported"},"body":{}}"#;
        let code = "request.unsupported".to_owned();
        assert_eq!(parse_frame(refused), Some(Incoming::Refused { number: 4, code }));
    }

    #[test]
    fn standings_that_do_not_add_up_are_found() {
        let position = Position {
            epoch: "k".to_owned(),
            offset: 41,
        };
        let asked = BTreeMap::from([("s1".to_owned(), position)]);
        let judged = |standing: Value| {
            let body = json!({"body": {"streams": {"s1": standing}}}).to_string();
            wrong_standings(body.as_bytes(), &asked)
        };
        let standing = |state: &str, behind: u64, missing: u64, first: u64| {
            judged(json!({"state": state, "behind": behind, "missing": missing, "firstAvailable": first, "head": 57}))
        };
        assert_eq!(standing("behind", 16, 0, 1), 0);
        assert_eq!(standing("complete", 0, 0, 1), 0);
        assert_eq!(standing("gap", 16, 4, 46), 0);
        assert_eq!(standing("complete", 16, 0, 1), 1);
        assert_eq!(standing("gap", 4, 16, 46), 1);
        assert_eq!(standing("behind", 16, 0, 99), 1);
        assert_eq!(judged(json!(null)), 1);
    }
}
