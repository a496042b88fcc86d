//! Publishers over HTTP that wait for the disk: streams in turn, a whole array to one stream a request.
//!
//! As fast as answers come (a closed loop), or each request when it is due (an open loop, where an
//! answer's time counts from then). A request is made once and only its stream is written anew, so that
//! a hundred thousand streams cost no more to publish to than one.

use crate::bench::figures::{Durations, rate};
use crate::bench::http::Http;
use crate::bench::server::{Account, Server, publication};
use crate::bench::{joined, letters, wait_until};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the publishers send.
pub struct Load {
    streams: Vec<String>,
    /// A request to the first stream, and where in it the stream is named.
    request: Vec<u8>,
    name: Range<usize>,
    /// Events in each request.
    pub events: u64,
    /// The stream that is next.
    turn: AtomicUsize,
}

/// Connections that publish, a thread each.
pub struct Publishers(Vec<Http>);

/// What became of it.
pub struct Outcome {
    /// Requests that were answered.
    pub requests: u64,
    /// Events in them.
    pub events: u64,
    /// How long it took.
    pub time: Duration,
    /// How long each answer took.
    pub acks: Durations,
}

impl Outcome {
    /// Events a second.
    pub fn rate(&self) -> f64 {
        rate(self.events, self.time)
    }
}

impl Load {
    /// Arrays of so many events, or single ones; at least one stream.
    pub fn new(server: &Server, streams: Vec<String>, events: u64) -> Self {
        Self::by(&server.account, streams, events)
    }

    /// The same by somebody.
    pub fn by(account: &Account, streams: Vec<String>, events: u64) -> Self {
        let body = match events {
            1 => letters::event(1),
            many => letters::array(1, many),
        };
        let request = publication(account, &streams[0], &body);
        let named = streams[0].as_bytes();
        let at = request.windows(named.len()).position(|window| window == named);
        let at = at.expect("a publication names its stream");
        Self {
            name: at..at + named.len(),
            streams,
            request,
            events,
            turn: AtomicUsize::new(0),
        }
    }

    /// How many requests were made of it.
    pub fn requests(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    /// Writes the next stream into a publisher's own request; all names are equally long.
    fn address(&self, request: &mut [u8]) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let stream = &self.streams[turn % self.streams.len()];
        request[self.name.clone()].copy_from_slice(stream.as_bytes());
    }
}

impl Publishers {
    /// Connects so many.
    pub fn connect(server: &Server, count: u32) -> std::io::Result<Self> {
        let lines = (0..count).map(|_| Http::connect(server.address));
        Ok(Self(lines.collect::<Result<_, _>>()?))
    }

    /// How far apart one publisher's requests are for so many events a second in all.
    pub fn interval(&self, load: &Load, rate: f64) -> Duration {
        Duration::from_secs_f64(self.0.len() as f64 * load.events as f64 / rate)
    }

    /// Publishes for so long: each publisher one request every `interval`, or as fast as answers come.
    pub fn publish(&mut self, load: &Load, time: Duration, interval: Option<Duration>) -> std::io::Result<Outcome> {
        let count = self.0.len() as u32;
        let start = Instant::now();
        let acks: Vec<Vec<Duration>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..)
                .zip(&mut self.0)
                .map(|(number, line)| {
                    // Not all at once, but evenly over an interval.
                    let first = start + interval.unwrap_or_default() * number / count;
                    scope.spawn(move || publish_one(line, load, first..start + time, interval))
                })
                .collect();
            threads.into_iter().map(joined).collect::<std::io::Result<_>>()
        })?;
        let time = start.elapsed();
        let acks = acks.concat();
        Ok(Outcome {
            requests: acks.len() as u64,
            events: acks.len() as u64 * load.events,
            time,
            acks: Durations::new(acks),
        })
    }
}

/// How long each answer took: from when its request was sent or, in an open loop, due.
fn publish_one(
    line: &mut Http,
    load: &Load,
    span: Range<Instant>,
    interval: Option<Duration>,
) -> std::io::Result<Vec<Duration>> {
    let (mut due, mut acks) = (span.start, Vec::new());
    let mut request = load.request.clone();
    while due < span.end {
        load.address(&mut request);
        wait_until(due);
        let asked = match interval {
            Some(_) => due,
            None => Instant::now(),
        };
        line.demand(&request)?;
        let answered = Instant::now();
        acks.push(answered - asked);
        due = interval.map_or(answered, |interval| due + interval);
    }
    Ok(acks)
}
