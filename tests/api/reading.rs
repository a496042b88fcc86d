//! What the stories about reading share: publishing numbered events, following a stream on some
//! terms, and accounting for every event that a reader is given or told of.

use crate::raw::{RawSocket, TEXT};
use crate::stage::{Account, Answer, Socket, Stage};
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// The stream of most stories.
pub const DOOR: &str = "/acme/door";
/// Events of one publishing request.
const BATCH: usize = 500;
/// Settings with which events are in memory only until they stand in their pieces on the disk.
pub const NO_MEMORY: [&str; 2] = ["--max-log-bytes", "1"];

/// Publishes `{"n":1}`, `{"n":2}`, … of a range, each with `padding` more characters.
pub async fn publish_padded(stage: &Stage, path: &str, numbers: RangeInclusive<u64>, padding: usize) {
    let numbers: Vec<u64> = numbers.collect();
    let padding = "x".repeat(padding);
    for batch in numbers.chunks(BATCH) {
        let event = |n: &u64| json!({"path": path, "elems": {"n": n, "x": padding}});
        let body = Value::from(batch.iter().map(event).collect::<Vec<_>>()).to_string();
        let answer = stage
            .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

/// Publishes `{"n":1}`, `{"n":2}`, … of a range.
pub async fn publish(stage: &Stage, path: &str, numbers: RangeInclusive<u64>) {
    publish_padded(stage, path, numbers, 0).await;
}

/// Waits until no event is in memory; with [`NO_MEMORY`].
pub async fn until_on_disk(stage: &Stage) {
    stage.until_metric("log_events", 0).await;
}

/// The request to follow a stream with further members, such as `"since":5`.
pub fn following(path: &str, members: &str) -> String {
    format!(r#"{{"msgId":"f","object":"event","type":"subscribe","path":"{path}",{members}}}"#)
}

/// Follows a stream and returns what its acknowledgement tells of it.
pub async fn follow(socket: &mut Socket, path: &str, members: &str) -> Value {
    set_up(&socket.ask(&following(path, members)).await, path)
}

/// As [`follow`], for a socket whose bytes are the test's own business.
pub async fn follow_raw(socket: &mut RawSocket, path: &str, members: &str) -> Value {
    socket.send_frame(TEXT, following(path, members).as_bytes()).await;
    set_up(&socket.text().await, path)
}

fn set_up(ack: &str, path: &str) -> Value {
    let ack: Value = serde_json::from_str(ack).expect("JSON");
    assert_eq!(ack["head"]["ok"], true, "{ack}");
    assert_eq!(ack["head"]["msgId"], "f", "{ack}");
    let streams = ack["body"]["streams"].as_array().expect("streams");
    assert_eq!((streams.len(), &streams[0]["path"]), (1, &json!(path)), "{ack}");
    streams[0].clone()
}

/// The code of a refusing acknowledgement and its sentence.
pub async fn refused(socket: &mut Socket, request: &str) -> (String, String) {
    let ack: Value = serde_json::from_str(&socket.ask(request).await).expect("JSON");
    assert_eq!(ack["head"]["ok"], false, "{request}: {ack}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&ack["head"]["code"]), text(&ack["head"]["errors"][0]))
}

/// Asserts that the next messages are these events, each with its own number.
pub async fn assert_events(socket: &mut Socket, offsets: impl IntoIterator<Item = u64>) {
    for offset in offsets {
        let event = socket.json().await;
        assert_eq!((&event["type"], &event["offset"]), (&json!("message"), &json!(offset)));
        assert_eq!(event["value"]["elems"]["n"], offset, "{event}");
    }
}

/// Asserts that the next message tells that these events will not come.
pub async fn assert_gap(socket: &mut Socket, from: u64, to: u64, reason: &str) {
    let gap = socket.json().await;
    assert_eq!(gap["type"], "gap", "{gap}");
    let body = &gap["body"];
    let got = json!([body["from"], body["to"], body["count"], body["reason"]]);
    assert_eq!(got, json!([from, to, to + 1 - from, reason]));
}

/// Deletes a stream.
pub async fn delete_stream(stage: &Stage, account: &Account, id: &str) {
    let address = format!("/v5.0/{}/stream/{id}", account.company);
    let answer: Answer = stage.request("DELETE", &address, Some(account), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What a reader was given: events delivered or told, as runs from … to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    Delivered(u64, u64),
    Told(u64, u64, String),
}

/// Accounts for events of one stream: none twice, none left out, none out of order.
#[derive(Default)]
pub struct Tally {
    pub runs: Vec<Run>,
    pub last: u64,
}

impl Tally {
    /// A reader that goes on after a place.
    pub fn after(last: u64) -> Self {
        let runs = Vec::new();
        Self { runs, last }
    }

    /// Takes an event or a gap notice.
    pub fn add(&mut self, text: &str) {
        if text.starts_with(r#"{"type":"gap","#) {
            return self.add_gap(text);
        }
        let offset = offset(text);
        assert_eq!(offset, self.last + 1, "{text}");
        match self.runs.last_mut() {
            Some(Run::Delivered(_, to)) => *to = offset,
            _ => self.runs.push(Run::Delivered(offset, offset)),
        }
        self.last = offset;
    }

    fn add_gap(&mut self, text: &str) {
        let gap: Value = serde_json::from_str(text).expect("JSON");
        let number = |name: &str| gap["body"][name].as_u64().expect("a number");
        let (from, to) = (number("from"), number("to"));
        assert_eq!((from, number("count")), (self.last + 1, to - self.last), "{text}");
        let reason = gap["body"]["reason"].as_str().expect("a reason");
        self.runs.push(Run::Told(from, to, reason.to_owned()));
        self.last = to;
    }

    /// How many events were told as gaps.
    pub fn told(&self) -> u64 {
        let told = self.runs.iter().map(|run| match run {
            Run::Delivered(..) => 0,
            Run::Told(from, to, _) => to + 1 - from,
        });
        told.sum()
    }

    /// Asserts that whatever is missing is so for one reason.
    pub fn assert_reason(&self, wanted: &str) {
        for run in &self.runs {
            assert!(
                !matches!(run, Run::Told(_, _, reason) if reason != wanted),
                "{:?}",
                self.runs
            );
        }
    }
}

/// The offset of an event; without a JSON parser, because there are so many.
pub fn offset(text: &str) -> u64 {
    let rest = text.strip_prefix(r#"{"type":"message","resource":""#).expect(text);
    let rest = rest.split_once(r#"","offset":"#).expect("an offset").1;
    let end = rest.find(',').expect("more after the offset");
    rest[..end].parse().expect("a number")
}

/// Reads until the events up to `until` are accounted for.
pub async fn account(socket: &mut RawSocket, after: u64, until: u64) -> Tally {
    let mut tally = Tally::after(after);
    while tally.last < until {
        tally.add(&socket.text().await);
    }
    assert_eq!(tally.last, until);
    tally
}
