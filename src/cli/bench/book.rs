//! What the sockets of a thread were told: each one's tally, and all their times.
//!
//! Pure. Knows messages, not sockets. Invariant: a message that nobody of this run can have caused is an error, not
//! passed over.

use crate::cli::bench::crowd::Wish;
use crate::cli::bench::latency::Latency;
use crate::cli::bench::letters;
use crate::cli::bench::schedule::Micros;
use crate::cli::bench::socket::Frame;
use crate::cli::bench::tally::Tally;
use crate::cli::{client, failure};
use crate::domain::error::Error;
use serde::Deserialize;

/// How the message of an event begins.
const EVENT: &[u8] = br#"{"type":"message","#;

/// All who sit at one desk.
pub struct Book {
    seats: Vec<Seat>,
    wish: Wish,
    times: Latency,
    /// Where the mark was in the event before.
    place: usize,
}

struct Seat {
    stream: usize,
    tally: Tally,
    is_subscribed: bool,
    /// When it asked for a replay, until it has all of it.
    began: Option<Micros>,
}

/// What comes besides events.
#[derive(Deserialize)]
struct Notice {
    #[serde(rename = "type")]
    kind: Option<String>,
    body: NoticeBody,
}

#[derive(Deserialize)]
struct NoticeBody {
    #[serde(default)]
    count: u64,
}

impl Book {
    /// A seat for each of these streams, by their place among all streams.
    pub fn new(streams: &[usize], publishers: usize, wish: Wish) -> Self {
        let seat = |stream: &usize| Seat {
            stream: *stream,
            tally: Tally::new(publishers),
            is_subscribed: false,
            began: None,
        };
        Self {
            seats: streams.iter().map(seat).collect(),
            wish,
            times: Latency::new(),
            place: 0,
        }
    }

    /// Whether the server has said that this one gets events.
    pub fn is_subscribed(&self, seat: usize) -> bool {
        self.seats[seat].is_subscribed
    }

    /// Events that this one got or was told as missing.
    pub fn settled(&self, seat: usize) -> u64 {
        let tally = &self.seats[seat].tally;
        tally.arrived + tally.told
    }

    /// This one asks for a replay now.
    pub fn begin(&mut self, seat: usize, now: Micros) {
        self.seats[seat].began = Some(now);
    }

    /// A frame came; the body of a pong, if one is wanted.
    pub fn take(&mut self, seat: usize, frame: &Frame<'_>, now: Micros) -> Result<Option<Vec<u8>>, Error> {
        match frame {
            Frame::Text(text) if text.starts_with(EVENT) => self.event(seat, text, now)?,
            Frame::Text(text) => self.notice(seat, text)?,
            Frame::Ping(body) => return Ok(Some(body.to_vec())),
            Frame::Close(reason) => {
                let reason = String::from_utf8_lossy(reason.get(2..).unwrap_or_default()).into_owned();
                return Err(failure(format!("the server closed the connection: {reason}")));
            }
        }
        self.finish(seat, now);
        Ok(None)
    }

    fn event(&mut self, seat: usize, text: &[u8], now: Micros) -> Result<(), Error> {
        let foreign = || failure("an event came that this run did not publish");
        let mark = letters::find(text, &mut self.place).ok_or_else(foreign)?;
        if !self.seats[seat].tally.event(mark.publisher, mark.number) {
            return Err(foreign());
        }
        if self.wish == Wish::Live {
            self.times.record(now.saturating_sub(mark.due));
        }
        Ok(())
    }

    fn notice(&mut self, seat: usize, text: &[u8]) -> Result<(), Error> {
        if let Some(refusal) = client::refusal(text) {
            return Err(refusal);
        }
        let notice: Notice = serde_json::from_slice(text)
            .map_err(|error| failure(format!("the server's message is not understood: {error}")))?;
        let seat = &mut self.seats[seat];
        match notice.kind.as_deref() {
            Some("gap") => seat.tally.told += notice.body.count,
            _ => seat.is_subscribed = true,
        }
        Ok(())
    }

    /// Notes when a replay is whole.
    fn finish(&mut self, seat: usize, now: Micros) {
        let settled = self.settled(seat);
        if let Wish::Replay(events) = self.wish
            && settled >= events
            && let Some(began) = self.seats[seat].began.take()
        {
            self.times.record(now.saturating_sub(began));
        }
    }

    /// What all got, and the times; nothing is left here.
    pub fn close(&mut self) -> (Vec<(usize, Tally)>, Latency) {
        let seats = std::mem::take(&mut self.seats).into_iter();
        let tallies = seats.map(|seat| (seat.stream, seat.tally)).collect();
        (tallies, std::mem::replace(&mut self.times, Latency::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::letters::Mark;

    const OK: &[u8] = br#"{"head":{"msgId":1,"ok":true,"errors":[],"messages":[]},"body":{"streams":[]}}"#;
    const GAP: &[u8] = br#"{"type":"gap","head":{"msgId":null,"ok":true,"errors":[],"messages":[]},"body":{"resource":"s","from":2,"to":4,"count":3,"reason":"retention"}}"#;
    const REFUSED: &[u8] = br#"{"head":{"msgId":1,"ok":false,"status":404,"errors":["no stream"],"messages":[],"code":"stream.unknown"},"body":{}}"#;

    fn event(due: Micros, number: u64) -> Vec<u8> {
        let mut text = br#"{"type":"message","resource":"s","offset":1,"value":"#.to_vec();
        letters::put(
            &mut text,
            &Mark {
                due,
                publisher: 0,
                number,
            },
            128,
        );
        text.push(b'}');
        text
    }

    fn taken(wish: Wish, frames: &[&[u8]]) -> Result<Book, Error> {
        let mut book = Book::new(&[0], 1, wish);
        book.begin(0, 50);
        for frame in frames {
            book.take(0, &Frame::Text(frame), 1_050)?;
        }
        Ok(book)
    }

    #[test]
    fn live_events_count_from_when_they_were_due() {
        let mut book = taken(Wish::Live, &[OK, &event(50, 0), &event(1_000, 1), GAP]).expect("all is as it should be");
        assert!(book.is_subscribed(0));
        assert_eq!(book.settled(0), 5);
        let (tallies, times) = book.close();
        assert_eq!((tallies[0].1.arrived, tallies[0].1.told), (2, 3));
        assert_eq!((times.count(), times.max()), (2, 1_000));
    }

    #[test]
    fn a_replay_counts_when_it_is_whole() {
        let (first, second) = (event(0, 0), event(0, 1));
        let times = |frames: &[&[u8]]| {
            let mut book = taken(Wish::Replay(2), frames).expect("all is as it should be");
            book.close().1.count()
        };
        assert_eq!(times(&[OK, &first]), 0);
        assert_eq!(times(&[OK, &first, &second]), 1);
        assert_eq!(times(&[OK, &first, &second, &second]), 1, "only once");
    }

    #[test]
    fn what_this_run_did_not_cause_is_an_error() {
        let told = |frame: &[u8]| taken(Wish::Live, &[frame]).err().map(|error| error.to_string());
        assert_eq!(told(REFUSED).as_deref(), Some("no stream"));
        for wrong in [&br#"{"type":"message","value":{"elems":{}}}"#[..], b"nonsense"] {
            assert!(told(wrong).is_some());
        }
        let mut book = Book::new(&[0], 1, Wish::Live);
        let pong = book.take(0, &Frame::Ping(b"x"), 0).expect("a ping is fine");
        assert_eq!(pong.as_deref(), Some(&b"x"[..]));
        let closed = book.take(0, &Frame::Close(b"\x03\xe9bye"), 0);
        assert!(closed.is_err_and(|error| error.to_string().ends_with("bye")));
    }
}
