//! The grammar of the notices protocol: requests in; echoes, meta, events and errors out.
//!
//! Pure. Shapes, key order and what counts as true are those of Webinate users 0.3.2 (socket-api.ts,
//! comms-controller.ts, definitions.d.ts), whose clients parse every frame as JSON without looking.
//! Invariant: what is not understood is nothing, not an error; nobody would correlate an answer.

use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::position::Gap;
use crate::protocol::frame;
use crate::protocol::reply::quoted;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The number of an error that answers no request: no client has anything for it.
const UNASKED: u8 = 0;
/// MetaRequest (socket-event-types.ts).
pub const META: u8 = 9;
/// Echo (socket-event-types.ts).
pub const ECHO: u8 = 10;

/// What a frame asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Say this to the sender.
    Echo(String),
    /// Say this to everybody of the company.
    Broadcast(String),
    /// Read or write somebody's meta.
    Meta(MetaAsk),
    /// Nothing that is known.
    Nothing,
}

/// A request for somebody's meta.
#[derive(Debug, PartialEq, Eq)]
pub struct MetaAsk {
    /// Whose, as it was written; empty if nobody is named.
    pub username: String,
    /// What is to be done.
    pub wish: Wish,
}

/// What is to be done with meta. Values are JSON texts.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Show all of it.
    ShowAll,
    /// Put this in place of all of it.
    SetAll(String),
    /// Show a part, by its name.
    Show(String),
    /// Set a part: its name, its value.
    Set(String, String),
}

/// Members that are not there are `None`; `null` is there.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Members<'a> {
    #[serde(borrow, rename = "eventType", deserialize_with = "there")]
    event_type: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    message: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    broadcast: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    username: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    property: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "there")]
    val: Option<&'a RawValue>,
}

fn there<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Parses a frame.
pub fn parse(text: &str) -> Ask {
    // Serde would take an array for an object whose members are in the same order.
    if !text.trim_start().starts_with('{') {
        return Ask::Nothing;
    }
    let Ok(members) = serde_json::from_str::<Members<'_>>(text) else {
        return Ask::Nothing;
    };
    match members.event_type.and_then(number) {
        Some(ECHO) => members.echo(),
        Some(META) => Ask::Meta(members.meta()),
        _ => Ask::Nothing,
    }
}

impl Members<'_> {
    /// The message only: other members do not come back (socket-api.ts, `onEcho`).
    fn echo(&self) -> Ask {
        let message = self.message.map(RawValue::get);
        let text = answer(ECHO, "message", message);
        match self.broadcast.is_some_and(is_true) {
            true => Ask::Broadcast(text),
            false => Ask::Echo(text),
        }
    }

    /// As `onMeta` of socket-api.ts decides: a part is set by any value, all of it only by one that
    /// counts as true.
    fn meta(&self) -> MetaAsk {
        let property = self.property.filter(|raw| is_true(raw)).map(text);
        let wish = match (property, self.val) {
            (Some(property), Some(val)) => Wish::Set(property, val.get().to_owned()),
            (Some(property), None) => Wish::Show(property),
            (None, Some(val)) if is_true(val) => Wish::SetAll(val.get().to_owned()),
            (None, _) => Wish::ShowAll,
        };
        let username = self.username.filter(|raw| is_true(raw)).map(text);
        let username = username.unwrap_or_default();
        MetaAsk { username, wish }
    }
}

/// An event's number; as text it does too, for it was looked up as the name of a member.
fn number(raw: &RawValue) -> Option<u8> {
    match raw.get() {
        r#""9""# => Some(META),
        r#""10""# => Some(ECHO),
        text => [META, ECHO]
            .into_iter()
            .find(|number| text.parse() == Ok(f64::from(*number))),
    }
}

/// What JavaScript takes for true.
fn is_true(raw: &RawValue) -> bool {
    match raw.get() {
        "null" | "false" | "\"\"" => false,
        text => text.parse::<f64>() != Ok(0.0),
    }
}

/// A string as its characters, anything else as its JSON.
fn text(raw: &RawValue) -> String {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned())
}

/// An answer with at most one member beside its number.
fn answer(number: u8, name: &str, json: Option<&str>) -> String {
    match json {
        Some(json) => format!(r#"{{"eventType":{number},"{name}":{json}}}"#),
        None => format!(r#"{{"eventType":{number}}}"#),
    }
}

/// The answer to a request for meta: the value; nothing for a part that is not there.
pub fn meta(val: Option<&str>) -> Bytes {
    frame::text(&answer(META, "val", val))
}

/// What was asked for was not done (socket-api.ts: `error` stands first).
pub fn failed(number: u8, error: &str) -> Bytes {
    frame::text(&format!(r#"{{"error":{},"eventType":{number}}}"#, quoted(error)))
}

/// An event as it was published: whoever publishes to the company's notices knows their shape.
pub fn event(event: &Event) -> Bytes {
    frame::text(event.draft.elems.as_str())
}

/// The notice that events will not come.
pub fn gap(_: &StreamId, _: Option<&str>, gap: &Gap) -> Bytes {
    let count = gap.count();
    let plural = if count == 1 { "event was" } else { "events were" };
    failed(UNASKED, &format!("{count} {plural} not delivered"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::position::{GapReason, Offset};
    use proptest::prelude::*;

    fn meta_ask(text: &str) -> MetaAsk {
        match parse(text) {
            Ask::Meta(ask) => ask,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn wish(members: &str) -> Wish {
        meta_ask(&format!(r#"{{"eventType":9,"username":"george"{members}}}"#)).wish
    }

    #[test]
    fn an_echo_has_the_message_and_nothing_else() {
        let cases = [
            (
                r#"{"eventType":10,"message":"Hello"}"#,
                r#"{"eventType":10,"message":"Hello"}"#,
            ),
            (
                r#"{"message":[1.50, null],"x":1,"eventType":10.0}"#,
                r#"{"eventType":10,"message":[1.50, null]}"#,
            ),
            (
                r#"{"eventType":10,"message":null}"#,
                r#"{"eventType":10,"message":null}"#,
            ),
            (r#"{"eventType":"10"}"#, r#"{"eventType":10}"#),
        ];
        for (request, answer) in cases {
            assert_eq!(parse(request), Ask::Echo(answer.to_owned()));
        }
    }

    #[test]
    fn what_javascript_takes_for_true_is_a_broadcast() {
        for (value, is_broadcast) in [
            ("true", true),
            ("1", true),
            (r#""false""#, true),
            ("{}", true),
            ("[]", true),
            ("-0.1", true),
            ("false", false),
            ("null", false),
            (r#""""#, false),
            ("0", false),
            ("-0.0", false),
            ("0e9", false),
        ] {
            let request = format!(r#"{{"eventType":10,"message":"m","broadcast":{value}}}"#);
            let got = matches!(parse(&request), Ask::Broadcast(_));
            assert_eq!(got, is_broadcast, "{value}");
        }
    }

    #[test]
    fn a_request_for_meta_shows_or_sets_all_or_a_part() {
        let text = str::to_owned;
        assert_eq!(wish(""), Wish::ShowAll);
        assert_eq!(wish(r#","val":{"a":1}"#), Wish::SetAll(text(r#"{"a":1}"#)));
        assert_eq!(wish(r#","property":"a""#), Wish::Show(text("a")));
        assert_eq!(wish(r#","property":"a.b","val":2"#), Wish::Set(text("a.b"), text("2")));
        for nothing in ["null", "false", "0", r#""""#] {
            let set = Wish::Set(text("a"), text(nothing));
            assert_eq!(wish(&format!(r#","property":"a","val":{nothing}"#)), set);
            assert_eq!(wish(&format!(r#","val":{nothing}"#)), Wish::ShowAll);
            assert_eq!(wish(&format!(r#","property":{nothing}"#)), Wish::ShowAll);
        }
        assert_eq!(wish(r#","property":1"#), Wish::Show(text("1")));
    }

    #[test]
    fn whose_meta_it_is_may_be_missing() {
        for (member, username) in [
            (r#","username":"george""#, "george"),
            (r#","username":" a\u0040b.org ""#, " a@b.org "),
            (r#","username":7"#, "7"),
            (r#","username":null"#, ""),
            (r#","username":"""#, ""),
            ("", ""),
        ] {
            assert_eq!(meta_ask(&format!(r#"{{"eventType":9{member}}}"#)).username, username);
        }
    }

    #[test]
    fn what_is_not_known_is_nothing() {
        let mut frames: Vec<String> = (0..=8).map(|n| format!(r#"{{"eventType":{n}}}"#)).collect();
        let others = [
            r#"{"eventType":11}"#,
            r#"{"eventType":"Echo"}"#,
            r#"{"eventType":null}"#,
            r#"{"eventType":[10]}"#,
            r#"{"eventType":1e999}"#,
            r#"{"message":"Hello"}"#,
            r#"{"eventType":10"#,
            r#"{"eventType":10} x"#,
            r#"[10,"Hello"]"#,
            "null",
            "10",
            "{}",
            "",
        ];
        frames.extend(others.map(str::to_owned));
        for frame in frames {
            assert_eq!(parse(&frame), Ask::Nothing, "{frame}");
        }
    }

    #[test]
    fn answers_have_the_key_order_of_the_original() {
        assert_eq!(meta(Some("2")), frame::text(r#"{"eventType":9,"val":2}"#));
        assert_eq!(meta(None), frame::text(r#"{"eventType":9}"#));
        let error = r#"{"error":"Could not find user \"x\"","eventType":9}"#;
        assert_eq!(failed(META, "Could not find user \"x\""), frame::text(error));
        let (from, to, reason) = (Offset(12), Offset(14), GapReason::Slow);
        let missed = r#"{"error":"3 events were not delivered","eventType":0}"#;
        assert_eq!(
            gap(&StreamId::new([0; 12]), None, &Gap { from, to, reason }),
            frame::text(missed)
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_no_surprise(text in "\\PC{0,80}") {
            parse(&text);
            parse(&format!(r#"{{"eventType":9,"username":{text}}}"#));
        }

        #[test]
        fn an_echo_of_any_text_is_json(message in ".*", broadcast in any::<bool>()) {
            let request = serde_json::json!({"eventType": 10, "message": message, "broadcast": broadcast});
            let (Ask::Echo(answer) | Ask::Broadcast(answer)) = parse(&request.to_string()) else {
                panic!("an echo");
            };
            let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
            prop_assert_eq!(answer, serde_json::json!({"eventType": 10, "message": message}));
        }
    }
}
