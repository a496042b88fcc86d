//! What the server says on a session's socket: acknowledgements, events, notices.

use crate::broker::Subscribed;
use crate::domain::error::Refusal;
use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::position::Gap;
use crate::protocol::names::Names;
use crate::protocol::reply::{PROCESSED, quoted};
use crate::protocol::{deflate, events, frame};
use bytes::Bytes;

/// The acknowledgement of what was done; `body` is JSON.
pub fn acknowledge(msg_id: &str, body: &str) -> String {
    format!(r#"{{"head":{{"msgId":{msg_id},"ok":true,"errors":[],"messages":["{PROCESSED}"]}},"body":{body}}}"#)
}

/// What was set up, for the body of an acknowledgement.
pub fn subscribed(subscribed: &Subscribed) -> String {
    let Subscribed { stream, view, resume } = subscribed;
    format!(
        r#"{{"streams":[{{"id":"{}","path":"{}","epoch":"{}","offset":{},"state":"{}","missing":{}}}]}}"#,
        stream.id,
        stream.path,
        view.epoch,
        resume.cursor,
        resume.state.word(),
        resume.missing,
    )
}

/// The acknowledgement of what was not done, and why; the code stands behind what old clients know.
pub fn refuse(msg_id: &str, refusal: &Refusal) -> String {
    format!(r#"{{"head":{},"body":{{}}}}"#, refused_head(msg_id, refusal))
}

fn refused_head(msg_id: &str, refusal: &Refusal) -> String {
    let entry = refusal.code.entry();
    let (status, code, text) = (entry.status, entry.code, quoted(&refusal.text));
    format!(r#"{{"msgId":{msg_id},"ok":false,"status":{status},"errors":[{text}],"messages":[],"code":"{code}"}}"#)
}

/// The last line, where a socket would have its close frame.
pub fn goaway(refusal: &Refusal) -> Bytes {
    let (head, code) = (refused_head("null", refusal), refusal.code.entry().code);
    line(format!(
        r#"{{"type":"goaway","head":{head},"body":{{"reason":"{code}"}}}}"#
    ))
}

/// An event as its subscribers see it.
pub fn event(event: &Event) -> Bytes {
    frame::text(&event_text(event, Names::Octave))
}

/// The same, compressed.
pub fn event_deflated(event: &Event) -> Bytes {
    deflate::text(&event_text(event, Names::Octave))
}

/// The same for who calls it a drop.
pub fn drop_event(event: &Event) -> Bytes {
    frame::text(&event_text(event, Names::Flowthings))
}

/// The same as one line.
pub fn drop_line(event: &Event) -> Bytes {
    line(event_text(event, Names::Flowthings))
}

/// An event as one line.
pub fn event_line(event: &Event) -> Bytes {
    line(event_text(event, Names::Octave))
}

/// JSON as one line: a line break in it stands between its tokens, where a blank is as good.
pub fn line(json: String) -> Bytes {
    let mut bytes = json.into_bytes();
    for byte in &mut bytes {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    bytes.push(b'\n');
    Bytes::from(bytes)
}

fn event_text(event: &Event, names: Names) -> String {
    let mut text = String::with_capacity(event.draft.elems.as_str().len() + 384);
    text.push_str(r#"{"type":"message","resource":""#);
    event.stream.push_to(&mut text);
    text.push_str(r#"","offset":"#);
    events::put_number(&mut text, event.offset.0);
    text.push_str(r#","value":"#);
    events::put_whole(&mut text, event, names);
    text.push('}');
    text
}

/// The notice that events will not come.
pub fn gap(stream: &StreamId, _: Option<&str>, gap: &Gap) -> Bytes {
    frame::text(&gap_text(stream, gap))
}

/// The same as one line.
pub fn gap_line(stream: &StreamId, _: Option<&str>, gap: &Gap) -> Bytes {
    line(gap_text(stream, gap))
}

fn gap_text(stream: &StreamId, gap: &Gap) -> String {
    let (count, from, to, reason) = (gap.count(), gap.from, gap.to, gap.reason.word());
    let plural = if count == 1 { "event was" } else { "events were" };
    format!(
        r#"{{"type":"gap","head":{{"msgId":null,"ok":true,"errors":[],"messages":["{count} {plural} not delivered"]}},"body":{{"resource":"{stream}","from":{from},"to":{to},"count":{count},"reason":"{reason}"}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::Code;
    use crate::domain::position::{GapReason, Offset};

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(line("{\n \"a\":\r\n1}".to_owned()), "{  \"a\":  1}\n");
        let refusal = Refusal::new(Code::TokenRevoked, "the token was revoked");
        let wanted = r#"{"type":"goaway","head":{"msgId":null,"ok":false,"status":401,"errors":["the token was revoked"],"messages":[],"code":"token.revoked"},"body":{"reason":"token.revoked"}}"#;
        assert_eq!(goaway(&refusal), format!("{wanted}\n"));
    }

    #[test]
    fn a_gap_reads_as_documented() {
        let stream = StreamId::new([0; 12]);
        let (from, to, reason) = (Offset(12), Offset(40), GapReason::Retention);
        let bytes = gap(&stream, None, &Gap { from, to, reason });
        let expected = r#"{"type":"gap","head":{"msgId":null,"ok":true,"errors":[],"messages":["29 events were not delivered"]},"body":{"resource":"s000000000000000000000000","from":12,"to":40,"count":29,"reason":"retention"}}"#;
        assert_eq!(bytes, frame::text(expected));
    }
}
