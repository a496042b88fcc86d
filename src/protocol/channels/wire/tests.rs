//! The grammar by itself; what clients do with it is told in `tests/api/channels.rs`.

use super::*;
use crate::domain::event::{Draft, Frames, Stamp};
use crate::domain::id::{EventId, IdentityId, StreamId};
use crate::domain::path::Path;
use crate::domain::position::{GapReason, Offset};
use clap::{Args, FromArgMatches};
use proptest::prelude::*;

fn limits() -> Limits {
    let matches = Limits::augment_args(clap::Command::new("test")).get_matches_from(["test"]);
    Limits::from_arg_matches(&matches).expect("defaults")
}

fn ask(text: &str) -> Ask {
    parse(text, &limits()).unwrap_or_else(|complaint| panic!("{text}: {complaint:?}"))
}

fn complaint(text: &str) -> (Place, Code) {
    let complaint = parse(text, &limits()).expect_err(text);
    (complaint.place, complaint.refusal.code)
}

fn channel(name: &str) -> Channel {
    Channel::parse(name).expect("a channel")
}

/// What a message with this `raw` is published as.
fn published(raw: &str) -> String {
    match ask(&format!(r#"{{"event":"a","data":{{"raw":{raw}}}}}"#)) {
        Ask::Send { elems, .. } => elems.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// How an event with these elems reads at `/acme/a/b`.
fn told(elems: &str) -> Bytes {
    super::event(&Event {
        id: EventId::new([0; 12]),
        stream: StreamId::new([0; 12]),
        path: Path::parse("/acme/a/b").expect("a path"),
        offset: Offset(1),
        creator: IdentityId::new([0; 12]),
        created_ms: 0,
        asked: Stamp::UNKNOWN,
        draft: Draft {
            elems: Payload::stored(elems.into()),
            hash: None,
        },
        frames: Frames::default(),
    })
}

#[test]
fn the_documented_frames_are_understood() {
    assert_eq!(ask(r#"{"event":"ping"}"#), Ask::Ping);
    assert_eq!(ask(r#"{"event":"pong"}"#), Ask::Nothing);
    let auth = None;
    let joins = |auth| Ask::Join {
        channel: channel("a"),
        auth,
    };
    assert_eq!(
        ask(r#"{"event":"subscription-add","data":{"channel":"a"}}"#),
        joins(auth)
    );
    assert_eq!(
        ask(r#"{"event":"subscription-add","data":{"channel":"a","auth":"x.y.z"}}"#),
        joins(Some("x.y.z".to_owned()))
    );
    assert_eq!(
        ask(r#"{"event":"subscription-remove","data":{"channel":"a"}}"#),
        Ask::Leave(channel("a"))
    );
    assert_eq!(published(r#""text""#), r#"{"raw":"text"}"#);
}

#[test]
fn what_is_no_text_is_published_as_its_json() {
    for (raw, elems) in [
        (r#"{"a":1.10}"#, r#"{"raw":"{\"a\":1.10}"}"#),
        ("[1,2]", r#"{"raw":"[1,2]"}"#),
        ("7", r#"{"raw":"7"}"#),
        ("true", r#"{"raw":"true"}"#),
        (r#""\u00e9\"""#, r#"{"raw":"\u00e9\""}"#),
        (r#""""#, r#"{"raw":""}"#),
    ] {
        assert_eq!(published(raw), elems);
    }
}

#[test]
fn a_frame_that_is_none_is_told_so() {
    for bad in [
        "",
        "x",
        "[]",
        "7",
        r#""ping""#,
        "{",
        r#"{"data":{}}"#,
        r#"{"event":7}"#,
        r#"{"event":"ping","event":"ping"}"#,
        r#"{"event":"subscription-add"}"#,
        r#"{"event":"subscription-add","data":{}}"#,
        r#"{"event":"subscription-add","data":[]}"#,
        r#"{"event":"subscription-add","data":{"channel":7}}"#,
        r#"{"event":"a","data":"text"}"#,
    ] {
        assert_eq!(complaint(bad), (Place::Frame, Code::FrameMalformed), "{bad}");
    }
    let sending = |name: &str| Place::Sending(name.to_owned());
    assert_eq!(complaint(r#"{"event":"a"}"#), (sending("a"), Code::FrameMalformed));
    assert_eq!(
        complaint(r#"{"event":"a","data":{"raw":null}}"#),
        (sending("a"), Code::FrameMalformed)
    );
    assert_eq!(
        complaint(r#"{"event":"a","data":{"raw":"\ud800"}}"#),
        (sending("a"), Code::EventMalformed)
    );
}

#[test]
fn what_is_no_channel_is_neither_joined_nor_sent_to_and_left_in_silence() {
    for name in ["", "a-b", "ping", "error", "disconnect", "a..b"] {
        let joining = format!(r#"{{"event":"subscription-add","data":{{"channel":"{name}"}}}}"#);
        assert_eq!(
            complaint(&joining),
            (Place::Joining(name.to_owned()), Code::ChannelMalformed)
        );
        let leaving = format!(r#"{{"event":"subscription-remove","data":{{"channel":"{name}"}}}}"#);
        assert_eq!(ask(&leaving), Ask::Nothing);
    }
    for name in ["", "a-b", "error", "disconnect", "a..b"] {
        let sending = format!(r#"{{"event":"{name}","data":{{"raw":"x"}}}}"#);
        assert_eq!(
            complaint(&sending),
            (Place::Sending(name.to_owned()), Code::ChannelMalformed)
        );
    }
}

#[test]
fn a_long_name_is_not_told_back_whole() {
    let name = "x".repeat(10_000);
    let (place, _) = complaint(&format!(
        r#"{{"event":"subscription-add","data":{{"channel":"{name}"}}}}"#
    ));
    assert_eq!(place, Place::Joining("x".repeat(ECHO_CHARS)));
}

#[test]
fn a_text_alone_is_told_as_it_is_and_anything_else_as_its_json() {
    for (elems, raw) in [
        (r#"{"raw":"text"}"#, r#""text""#),
        (r#"{ "raw" : "\u00e9\n" }"#, r#""\u00e9\n""#),
        (r#"{"raw":7}"#, r#""{\"raw\":7}""#),
        (r#"{"raw":"a","b":1}"#, r#""{\"raw\":\"a\",\"b\":1}""#),
        (r#"{"raw":"a","raw":"b"}"#, r#""{\"raw\":\"a\",\"raw\":\"b\"}""#),
        (r#"{"t":1.10}"#, r#""{\"t\":1.10}""#),
        ("{}", r#""{}""#),
    ] {
        let expected = frame::text(&format!(r#"{{"event":"a.b","data":{{"raw":{raw}}}}}"#));
        assert_eq!(told(elems), expected, "{elems}");
    }
}

#[test]
fn complaints_read_as_clients_look_for_them() {
    let refusal = || Refusal::new(Code::ScopeDenied, "no right to read /acme/a");
    for (place, text) in [
        (
            Place::Joining("a".to_owned()),
            r#"{"event":"error","data":{"detail":"cannot subscribe: no right to read /acme/a","where":"a","code":"scope.denied"}}"#,
        ),
        (
            Place::Sending("a".to_owned()),
            r#"{"event":"error","data":{"detail":"no right to read /acme/a","where":"a","code":"scope.denied"}}"#,
        ),
        (
            Place::Frame,
            r#"{"event":"error","data":{"detail":"no right to read /acme/a","code":"scope.denied"}}"#,
        ),
    ] {
        assert_eq!(place.refused(refusal()).render(), frame::text(text));
    }
}

#[test]
fn a_gap_says_how_much_is_missing_and_is_no_refusal() {
    let (from, to, reason) = (Offset(12), Offset(40), GapReason::Slow);
    let expected = r#"{"event":"error","data":{"detail":"29 messages were not delivered","where":"a.b"}}"#;
    let stream = StreamId::new([0; 12]);
    let told = gap(&stream, Some("a.b"), &Gap { from, to, reason });
    assert_eq!(told, frame::text(expected));
    assert!(!expected.contains(CANNOT_SUBSCRIBE));
}

#[test]
fn signs_of_life_are_whole_frames() {
    assert_eq!(pong(), frame::text(r#"{"event":"pong"}"#));
    let both = [frame::ping(), frame::text(r#"{"event":"ping"}"#)].concat();
    assert_eq!(ping(), both);
}

#[test]
fn bodies_are_objects_with_a_channel() {
    let wish = |body: &str| TokenWish::parse(body.as_bytes()).map_err(|refusal| refusal.code);
    assert_eq!(wish(r#"{"category":1,"channel":"test"}"#), Ok(channel("test")));
    for bad in [
        "",
        "[1,\"test\"]",
        r#"{"channel":"test"}"#,
        r#"{"category":2,"channel":"test"}"#,
    ] {
        assert_eq!(wish(bad), Err(Code::BodyMalformed), "{bad}");
    }
    assert_eq!(wish(r#"{"category":1,"channel":""}"#), Err(Code::ChannelMalformed));
    let message = |body: &str| Message::parse(body.as_bytes(), &limits()).map_err(|refusal| refusal.code);
    let (to, elems) = message(r#"{"channel":"test","data":"this is a test"}"#).expect("a message");
    assert_eq!((to, elems.as_str()), (channel("test"), r#"{"raw":"this is a test"}"#));
    assert_eq!(message(r#"{"channel":"test"}"#), Err(Code::BodyMalformed));
    assert_eq!(message(r#"{"channel":"pong","data":""}"#), Err(Code::ChannelMalformed));
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,80}") {
        let _ = parse(&text, &limits());
    }

    #[test]
    fn a_text_comes_out_as_it_went_in(text in "\\PC{0,40}") {
        let frame = format!(r#"{{"event":"a","data":{{"raw":{}}}}}"#, quoted(&text));
        let Ok(Ask::Send { elems, .. }) = parse(&frame, &limits()) else {
            panic!("{frame}");
        };
        let told: String = serde_json::from_str(&raw(elems.as_str())).expect("a string");
        prop_assert_eq!(told, text);
    }

    #[test]
    fn answers_are_json_whatever_a_client_calls_its_channel(name in "\\PC{0,140}") {
        let refusal = Refusal::new(Code::ChannelMalformed, "x");
        let bytes = Place::Joining(echo(&name)).refused(refusal).render();
        let start = bytes.windows(2).position(|two| two == b"{\"").expect("an object");
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes[start..]).is_ok());
    }
}
