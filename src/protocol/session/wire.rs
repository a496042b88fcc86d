//! The grammar of the session protocol: requests in; acknowledgements, events and notices out.
//!
//! Pure. Shapes and key order are those of the founding documents; clients were seen to look
//! `msgId` up with its JSON type (flowthings' Python client), so it is echoed as it was written.
//! Whatever is not `type:"message"` carries a `head`, because old clients read `head.msgId` of it.

pub mod objects;
mod opening;
mod outward;
mod places;
mod query;
mod render;
mod since;

pub use opening::{Opening, opened};
pub use outward::{Framing, array};
pub use places::{Places, Told, lines, text};
pub use query::EventsQuery;
pub use render::{
    acknowledge, drop_event, drop_line, event, event_deflated, event_line, gap, gap_line, goaway, line, refuse,
    subscribed,
};

use crate::broker::{Following, From};
use crate::domain::durability::Durability;
use crate::domain::error::{Code, Refusal};
use crate::domain::event::Draft;
use crate::domain::limits::Limits;
use crate::domain::path::Path;
use crate::domain::position::Offset;
use crate::domain::stream::Target;
use crate::engine::filter::Filter;
use crate::engine::subscription::{Terms, WhenSlow};
use crate::protocol::events;
use crate::protocol::names::Names;
use crate::protocol::session::wire::objects::Object;
use crate::protocol::session::wire::since::{Since, since};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The words for what can be asked.
const KINDS: &str = "subscribe, unsubscribe, create, find, findmany, update, delete or heartbeat";
/// What an id or word of a client is cut to in our answers.
const ECHO_CHARS: usize = 128;

/// What a frame asks for.
#[derive(Debug)]
pub enum Ask {
    /// Follow a stream.
    Subscribe(Subscribe),
    /// Publish to a stream.
    Create(Create),
    /// Stop following it.
    Unsubscribe(Target),
    /// Look for events or streams, or change what there is.
    Objects(objects::Wish),
    /// Nothing; is not answered.
    Heartbeat,
}

/// How a stream is to be followed.
#[derive(Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Which one.
    pub target: Target,
    /// From where, and on what terms.
    pub following: Following,
    /// From the first event later than this, in milliseconds since 1970, instead.
    pub since_ms: Option<u64>,
    /// Whether the answer tells what was set up.
    pub is_extended: bool,
}

/// What is to be published.
#[derive(Debug, PartialEq, Eq)]
pub struct Create {
    /// Events, in order.
    pub drafts: Vec<(Target, Draft)>,
    /// How the answer is to call things.
    pub names: Names,
    /// Whether they came as an array.
    pub is_batch: bool,
    /// How safe they are to be before they are answered.
    pub ack: Option<Durability>,
    /// Where the stream must be.
    pub expected: Option<Offset>,
    /// The publisher's key, and what came with it.
    pub key: Option<(String, Vec<u8>)>,
}

/// A frame: how to answer it, and what it asks for or why that cannot be told.
#[derive(Debug)]
pub struct Request<'a> {
    /// JSON text to be echoed.
    pub msg_id: &'a str,
    /// How whoever asks calls things.
    pub names: Names,
    /// The request itself.
    pub ask: Result<Ask, Refusal>,
}

/// Every member is taken raw first, so that `msgId` can be echoed whatever is wrong with others.
#[derive(Default, Deserialize)]
struct Members<'a> {
    #[serde(borrow, rename = "msgId")]
    msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "streamId")]
    stream_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "flowId")]
    flow_id: Option<&'a RawValue>,
    #[serde(borrow)]
    path: Option<&'a RawValue>,
    #[serde(borrow)]
    paths: Option<&'a RawValue>,
    #[serde(borrow, rename = "streamIds")]
    stream_ids: Option<&'a RawValue>,
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    #[serde(borrow)]
    last: Option<&'a RawValue>,
    #[serde(borrow)]
    filter: Option<&'a RawValue>,
    #[serde(borrow, rename = "whenSlow")]
    when_slow: Option<&'a RawValue>,
    #[serde(borrow, rename = "maxRate")]
    max_rate: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    options: Option<&'a RawValue>,
    #[serde(borrow)]
    ack: Option<&'a RawValue>,
    #[serde(borrow, rename = "ifOffsetMatch")]
    if_offset_match: Option<&'a RawValue>,
    #[serde(borrow, rename = "idempotencyKey")]
    idempotency_key: Option<&'a RawValue>,
}

/// Parses a frame.
pub fn parse<'a>(text: &'a str, limits: &Limits) -> Request<'a> {
    let malformed = |text: String| Request {
        msg_id: "null",
        names: Names::default(),
        ask: Err(Refusal::new(Code::FrameMalformed, text)),
    };
    if !text.trim_start().starts_with('{') {
        return malformed("a frame is one JSON object".to_owned());
    }
    let members: Members<'_> = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(error) => return malformed(format!("the frame is not understood: {error}")),
    };
    let msg_id = members.msg_id.map_or("null", RawValue::get);
    if msg_id.starts_with(['{', '[']) {
        return malformed("\"msgId\" is a string, a number, true, false or null".to_owned());
    }
    let (names, ask) = match members.object() {
        Ok((object, names)) => (names, members.ask(object, names, limits)),
        Err(refusal) => (Names::default(), Err(refusal)),
    };
    Request { msg_id, names, ask }
}

impl Members<'_> {
    /// What it is about; a heartbeat is about nothing.
    fn object(&self) -> Result<(Object, Names), Refusal> {
        match word("object", self.object)? {
            Some(object) if word("type", self.kind)?.as_deref() != Some("heartbeat") => Object::parse(&object),
            _ => Ok((Object::Event, Names::default())),
        }
    }

    fn ask(&self, object: Object, names: Names, limits: &Limits) -> Result<Ask, Refusal> {
        let kind = word("type", self.kind)?.unwrap_or_default();
        let supported = || self.check_supported();
        match (object, kind.as_str()) {
            (_, "heartbeat") => Ok(Ask::Heartbeat),
            (Object::Event, "subscribe") => {
                supported().and_then(|()| Ok(Ask::Subscribe(self.subscribe(names, limits)?)))
            }
            (Object::Event, "create") => Ok(Ask::Create(self.create(names, limits)?)),
            (Object::Event, "unsubscribe") => supported().and_then(|()| Ok(Ask::Unsubscribe(self.target(names)?))),
            (_, "") => {
                let text = format!("\"type\" is missing: {KINDS}");
                Err(Refusal::new(Code::RequestUnknown, text))
            }
            (_, kind) => match self.deed(kind, object, names, limits) {
                Some(deed) => Ok(Ask::Objects(objects::Wish { deed: deed?, names })),
                None => {
                    let text = format!("\"type\" is {KINDS}, not {}", echo(kind));
                    Err(Refusal::new(Code::RequestUnknown, text))
                }
            },
        }
    }

    fn check_supported(&self) -> Result<(), Refusal> {
        check_supported(&[
            ("paths", self.paths.is_some()),
            ("streamIds", self.stream_ids.is_some()),
            ("maxRate", self.max_rate.is_some()),
        ])
    }

    fn subscribe(&self, names: Names, limits: &Limits) -> Result<Subscribe, Refusal> {
        let since = self.since.map(since).transpose()?;
        let last: Option<u64> = number("last", self.last)?;
        let from = match (since, last) {
            (Some(_), Some(_)) => {
                let text = "\"since\" or \"last\" is wanted, not both";
                return Err(Refusal::new(Code::FrameMalformed, text));
            }
            (Some(Since::Position(position)), None) => From::Position(position),
            (None, Some(count)) => From::Last(count),
            (Some(Since::Time(_)) | None, None) => From::Head,
        };
        let since_ms = match since {
            Some(Since::Time(time_ms)) => Some(time_ms),
            _ => None,
        };
        let terms = self.terms(limits)?;
        let is_extended = since.is_some() || last.is_some() || terms.is_some();
        Ok(Subscribe {
            target: self.target(names)?,
            following: Following {
                from,
                terms,
                fleeting: false,
            },
            since_ms,
            is_extended,
        })
    }

    fn terms(&self, limits: &Limits) -> Result<Option<Terms>, Refusal> {
        let when_slow = word("whenSlow", self.when_slow)?;
        let filter = word("filter", self.filter)?;
        if when_slow.is_none() && filter.is_none() {
            return Ok(None);
        }
        let filter = filter
            .map(|text| Filter::parse(&text, limits.max_filter_bytes))
            .transpose()?;
        let when_slow = when_slow.map_or(Ok(WhenSlow::default()), |word| parse_when_slow(&word))?;
        let name = None;
        Ok(Some(Terms {
            when_slow,
            filter,
            name,
        }))
    }

    fn create(&self, names: Names, limits: &Limits) -> Result<Create, Refusal> {
        let missing = || {
            Refusal::new(
                Code::FrameMalformed,
                "\"value\" is missing: the event, or an array of them",
            )
        };
        let value = self.value.ok_or_else(missing)?;
        let has_target = self.stream_id.or(self.flow_id).or(self.path).is_some();
        let target = has_target.then(|| self.target(names)).transpose()?;
        let drafts = events::parse(value.get(), target.as_ref(), limits, names)?;
        let ack = word("ack", self.ack)?;
        let key = word("idempotencyKey", self.idempotency_key)?;
        Ok(Create {
            drafts: drafts.drafts,
            names,
            is_batch: drafts.is_batch,
            ack: ack
                .map(|word| Durability::parse(&word, Code::FrameMalformed))
                .transpose()?,
            expected: number("ifOffsetMatch", self.if_offset_match)?.map(Offset),
            key: key
                .map(|key| Ok::<_, Refusal>((events::parse_key(&key)?, events::request(target.as_ref(), value.get()))))
                .transpose()?,
        })
    }

    fn target(&self, names: Names) -> Result<Target, Refusal> {
        let id = word("streamId", self.stream_id.or(self.flow_id))?;
        // Whoever has the older name for it may have the older letter too.
        let names = if self.flow_id.is_some() {
            Names::Flowthings
        } else {
            names
        };
        match (id, word("path", self.path)?) {
            (Some(id), None) => {
                let parsed = names.stream_id(&id).map(Target::Id);
                parsed.ok_or_else(|| Refusal::no_stream(echo(&id)))
            }
            (None, Some(path)) if path.contains('*') => {
                let text = "this version does not know wildcards in \"path\" yet";
                Err(Refusal::new(Code::RequestUnsupported, text))
            }
            (None, Some(path)) => Ok(Target::Path(Path::parse(&path)?)),
            (None, None) => Err(Refusal::new(
                Code::FrameMalformed,
                "\"streamId\" or \"path\" is missing",
            )),
            (Some(_), Some(_)) => Err(Refusal::new(
                Code::FrameMalformed,
                "\"streamId\" or \"path\" is wanted, not both",
            )),
        }
    }
}

/// What is promised for later is refused by name, not passed over in silence.
fn check_supported(later: &[(&str, bool)]) -> Result<(), Refusal> {
    match later.iter().find(|(_, is_there)| *is_there) {
        Some((name, _)) => {
            let text = format!("this version does not know \"{name}\" yet");
            Err(Refusal::new(Code::RequestUnsupported, text))
        }
        None => Ok(()),
    }
}

fn parse_when_slow(word: &str) -> Result<WhenSlow, Refusal> {
    const WORDS: [(&str, WhenSlow); 4] = [
        ("catchUp", WhenSlow::CatchUp),
        ("latest", WhenSlow::Latest),
        ("drop", WhenSlow::Drop),
        ("disconnect", WhenSlow::Disconnect),
    ];
    let found = WORDS.iter().find(|(name, _)| *name == word);
    let unknown = || {
        Refusal::new(
            Code::FrameMalformed,
            "\"whenSlow\" is catchUp, latest, drop or disconnect",
        )
    };
    found.map(|(_, when_slow)| *when_slow).ok_or_else(unknown)
}

/// A member that must be a whole number if it is there.
fn number(name: &str, value: Option<&RawValue>) -> Result<Option<u64>, Refusal> {
    let Some(value) = value.filter(|value| value.get() != "null") else {
        return Ok(None);
    };
    let number = serde_json::from_str(value.get()).map(Some);
    number.map_err(|_| Refusal::new(Code::FrameMalformed, format!("\"{name}\" is a whole number")))
}

/// A member that must be a string if it is there.
fn word(name: &str, value: Option<&RawValue>) -> Result<Option<String>, Refusal> {
    let Some(value) = value.filter(|value| value.get() != "null") else {
        return Ok(None);
    };
    let text = serde_json::from_str(value.get()).map(Some);
    text.map_err(|_| Refusal::new(Code::FrameMalformed, format!("\"{name}\" is a string")))
}

fn echo(text: &str) -> String {
    text.chars().take(ECHO_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::StreamId;

    use clap::{Args, FromArgMatches};
    use proptest::prelude::*;

    fn limits() -> Limits {
        let matches = Limits::augment_args(clap::Command::new("test")).get_matches_from(["test"]);
        Limits::from_arg_matches(&matches).expect("defaults")
    }

    fn plainly(target: Target) -> Subscribe {
        Subscribe {
            target,
            following: Following::default(),
            since_ms: None,
            is_extended: false,
        }
    }

    /// The echo of a request that is understood, and what it asks for.
    fn understood(text: &str) -> (String, Names, Ask) {
        let request = parse(text, &limits());
        let ask = request.ask.unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
        (request.msg_id.to_owned(), request.names, ask)
    }

    fn refused(text: &str) -> (String, Option<Code>) {
        let request = parse(text, &limits());
        (request.msg_id.to_owned(), request.ask.err().map(|refusal| refusal.code))
    }

    #[test]
    fn the_documented_requests_are_understood() {
        let id = StreamId::parse("s53b1d1600cf27b75148de0ac").expect("an id");
        let text =
            r#"{"msgId":"my-request","object":"event","type":"subscribe","streamId":"s53b1d1600cf27b75148de0ac"}"#;
        let (msg_id, names, ask) = understood(text);
        assert_eq!((&*msg_id, names), ("\"my-request\"", Names::Octave));
        assert!(matches!(ask, Ask::Subscribe(wish) if wish == plainly(Target::Id(id))));
        for flow in ["s53b1d1600cf27b75148de0ac", "f53b1d1600cf27b75148de0ac"] {
            let text = format!(r#"{{"msgId":-7,"object":"drop","type":"unsubscribe","flowId":"{flow}"}}"#);
            let (msg_id, names, ask) = understood(&text);
            assert_eq!((&*msg_id, names), ("-7", Names::Flowthings));
            assert!(matches!(ask, Ask::Unsubscribe(target) if target == Target::Id(id)));
        }
        assert!(matches!(understood(r#"{"type":"heartbeat"}"#).2, Ask::Heartbeat));
        let path = Path::parse("/my/stream/path").expect("a path");
        let text = r#"{"type":"subscribe","object":"event","path":"/my/stream/path"}"#;
        let (msg_id, _, ask) = understood(text);
        assert_eq!(msg_id, "null");
        assert!(matches!(ask, Ask::Subscribe(wish) if wish == plainly(Target::Path(path))));
    }

    #[test]
    fn objects_are_asked_about_by_either_name() {
        use objects::{Deed, Wish};
        let deed = |text: &str| match understood(text) {
            (_, names, Ask::Objects(Wish { deed, names: same })) if names == same => deed,
            other => panic!("{text}: {other:?}"),
        };
        let event = r#""streamId":"s53b1d1600cf27b75148de0ac","id":"e53b1d1600cf27b75148de0ac""#;
        let drop = r#""flowId":"f53b1d1600cf27b75148de0ac","id":"d53b1d1600cf27b75148de0ac""#;
        for (object, named) in [("event", event), ("drop", drop)] {
            let text = |kind: &str| format!(r#"{{"object":"{object}","type":"{kind}",{named}}}"#);
            assert!(matches!(deed(&text("find")), Deed::ShowEvent(..)));
            assert!(matches!(deed(&text("delete")), Deed::RemoveEvent(..)));
        }
        for limit in ["7", "\"7\""] {
            let options = format!(r#"{{"limit":{limit},"skip":{limit},"order":"asc","filter":"t > 1"}}"#);
            let text = format!(r#"{{"object":"drop","type":"findmany","path":"/acme/a","options":{options}}}"#);
            let Deed::FindEvents(_, search, _) = deed(&text) else {
                panic!("{text}");
            };
            assert_eq!((search.limit, search.start, search.descending), (7, 7, false));
        }
        for stream in [
            r#""id":"f53b1d1600cf27b75148de0ac""#,
            r#""flowId":"s53b1d1600cf27b75148de0ac""#,
            r#""path":"/acme/a""#,
        ] {
            let text = |kind: &str| format!(r#"{{"object":"flow","type":"{kind}",{stream},"value":{{"capacity":1}}}}"#);
            assert!(matches!(deed(&text("find")), Deed::ShowStream(_)));
            assert!(matches!(deed(&text("update")), Deed::ChangeStream(..)));
            assert!(matches!(deed(&text("delete")), Deed::RemoveStream(_)));
        }
        assert!(matches!(
            deed(r#"{"object":"stream","type":"findmany","options":null}"#),
            Deed::FindStreams(_)
        ));
        let text = r#"{"object":"flow","type":"create","value":{"path":"/acme/a","public":true}}"#;
        assert!(matches!(deed(text), Deed::AddStream(_)));
    }

    #[test]
    fn what_is_wrong_about_an_object_is_told() {
        for (text, code) in [
            (
                r#"{"object":"drop","type":"update","flowId":"s53b1d1600cf27b75148de0ac","value":{}}"#,
                Code::RequestUnknown,
            ),
            (
                r#"{"object":"drop","type":"find","path":"/acme/a"}"#,
                Code::FrameMalformed,
            ),
            (
                r#"{"object":"drop","type":"find","path":"/acme/a","id":"x"}"#,
                Code::EventUnknown,
            ),
            (
                r#"{"object":"event","type":"find","path":"/acme/a","id":"d53b1d1600cf27b75148de0ac"}"#,
                Code::EventUnknown,
            ),
            (r#"{"object":"drop","type":"findmany"}"#, Code::FrameMalformed),
            (
                r#"{"object":"drop","type":"findmany","path":"/acme/a","options":[1]}"#,
                Code::FrameMalformed,
            ),
            (
                r#"{"object":"drop","type":"findmany","path":"/acme/a","options":{"limit":-1}}"#,
                Code::QueryMalformed,
            ),
            (
                r#"{"object":"flow","type":"findmany","options":{"filter":"t >"}}"#,
                Code::FilterMalformed,
            ),
            (r#"{"object":"flow","type":"find","id":"x"}"#, Code::StreamUnknown),
            (r#"{"object":"flow","type":"create"}"#, Code::FrameMalformed),
            (
                r#"{"object":"stream","type":"create","value":{"path":"/acme/a","public":true}}"#,
                Code::BodyMalformed,
            ),
            (
                r#"{"object":"flow","type":"subscribe","path":"/acme/a"}"#,
                Code::RequestUnknown,
            ),
            (r#"{"object":"track","type":"find","id":"x"}"#, Code::RequestUnknown),
        ] {
            assert_eq!(refused(text), ("null".to_owned(), Some(code)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_under_the_requests_own_id() {
        let null = |code| ("null".to_owned(), Some(code));
        assert_eq!(refused("hello"), null(Code::FrameMalformed));
        assert_eq!(refused("[1]"), null(Code::FrameMalformed));
        assert_eq!(refused("{\"msgId\":1"), null(Code::FrameMalformed));
        assert_eq!(
            refused(r#"{"msgId":{"a":1},"type":"subscribe"}"#),
            null(Code::FrameMalformed)
        );
        let one = |code| ("1".to_owned(), Some(code));
        assert_eq!(refused(r#"{"msgId":1}"#), one(Code::RequestUnknown));
        assert_eq!(refused(r#"{"msgId":1,"type":"dance"}"#), one(Code::RequestUnknown));
        assert_eq!(
            refused(r#"{"msgId":1,"type":["subscribe"]}"#),
            one(Code::FrameMalformed)
        );
        assert_eq!(refused(r#"{"msgId":1,"type":"subscribe"}"#), one(Code::FrameMalformed));
        assert_eq!(
            refused(r#"{"msgId":1,"type":"subscribe","object":"track","path":"/a/b"}"#),
            one(Code::RequestUnknown)
        );
        assert_eq!(
            refused(r#"{"msgId":1,"type":"subscribe","path":"/a/*"}"#),
            one(Code::RequestUnsupported)
        );
        assert_eq!(
            refused(r#"{"msgId":1,"type":"subscribe","path":"/a/b","maxRate":1}"#),
            one(Code::RequestUnsupported)
        );
        assert_eq!(
            refused(r#"{"msgId":1,"type":"subscribe","streamId":"x"}"#),
            one(Code::StreamUnknown)
        );
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer_that_is_json(text in "\\PC{0,80}") {
            let request = parse(&text, &limits());
            let echoed: Result<serde_json::Value, _> = serde_json::from_str(request.msg_id);
            prop_assert!(echoed.is_ok());
        }

        #[test]
        fn any_scalar_comes_back_as_it_was(number: f64, word in "\\PC{0,20}", which in 0..4) {
            let scalar = match which {
                0 => serde_json::json!(number),
                1 => serde_json::json!(word),
                2 => serde_json::json!(true),
                _ => serde_json::json!(null),
            };
            let text = format!(r#"{{"type":"dance","msgId":{scalar}}}"#);
            prop_assert_eq!(parse(&text, &limits()).msg_id, scalar.to_string());
        }
    }
}
