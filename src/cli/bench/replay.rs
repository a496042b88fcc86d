//! `bench replay`: many who read all that a stream keeps, all at once.
//!
//! Measures how long each takes to have everything, and what that does to those who are live.

use crate::cli::bench::crowd::{Crowd, Plan as Seats, Seen, Wish};
use crate::cli::bench::fan_out::{arrived, line, publish, wrongs};
use crate::cli::bench::gauge::Meter;
use crate::cli::bench::grounds::Grounds;
use crate::cli::bench::http::Http;
use crate::cli::bench::letters::{self, Mark};
use crate::cli::bench::progress::Progress;
use crate::cli::bench::publisher::{Post, Shape};
use crate::cli::bench::report::{Report, Wrongs};
use crate::cli::bench::run::{Board, Run};
use crate::cli::bench::schedule::Pace;
use crate::cli::bench::senders::{Plan, Senders, Sent};
use crate::cli::bench::{Aim, LINGER, PATIENCE, size};
use crate::domain::durability::Durability;
use crate::domain::error::Error;
use clap::Args;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes of a request that fills the stream, and most events of one.
const FILL_BYTES: u64 = 512 << 10;
const FILL_EVENTS: u64 = 500;
/// Publishers of live events.
const PUBLISHERS: u32 = 4;
/// Longer than any replay.
const DAY: Duration = Duration::from_secs(86_400);

/// Many readers of all that a stream keeps, at once: how long each takes.
///
/// Fills a stream, connects the readers, has them all subscribe from the start at once, and counts each one's time
/// until it has the last event. With a --rate there are live events on another stream meanwhile, whose latency counts
/// from when they were due.
#[derive(Args)]
pub struct Replay {
    #[command(flatten)]
    pub(in crate::cli::bench) aim: Aim,
    /// Sockets that read everything.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    readers: u32,
    /// Events that there are to read.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    events: u64,
    /// Bytes of an event's elems.
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = size)]
    size: usize,
    /// Live events a second on another stream meanwhile; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    rate: u32,
    /// Sockets that read those.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    subscribers: u32,
    /// Threads for the sockets that read everything.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
}

/// Live events beside the replay.
struct Live {
    crowd: Crowd,
    board: Arc<Board>,
    post: Arc<Post>,
    stop: Arc<AtomicBool>,
    senders: Senders,
}

impl Replay {
    pub(in crate::cli::bench) async fn measure(&self, run: &Arc<Run>, grounds: &Grounds) -> Result<Report, Error> {
        let streams = grounds.make(run, 1, self.events, Durability::default()).await?;
        self.fill(run, &streams[0]).await?;
        let board = Arc::new(Board::default());
        let crowd = Crowd::gather(run, &self.seats(&streams, &board)).await?;
        let live = match self.rate {
            0 => None,
            _ => Some(self.live(run, grounds).await?),
        };
        let progress = Progress::show(line(run, &board));
        let meter = Meter::start(run.clock, self.aim.server_pid);
        board.owe(self.events, self.events * u64::from(self.readers));
        crowd.begin();
        board.drained(run, PATIENCE).await;
        let cost = meter.stop();
        drop(progress);
        let live = match live {
            Some(live) => Some(live.end(run).await?),
            None => None,
        };
        tokio::time::sleep(LINGER).await;
        let seen = crowd.leave().await?;
        let mut report = Report::new("replay", self.words(), self.json(), cost);
        report.counts = vec![("events", self.events), ("deliveries", arrived(&seen))];
        report.wrongs = wrongs(&seen, &[self.events], Wrongs::default());
        report.read(seen.cpu.map(|(busiest, _)| busiest));
        report.times = vec![("replayed", seen.times)];
        if let Some(live) = live {
            self.add(&mut report, live);
        }
        Ok(report)
    }

    fn seats(&self, streams: &Arc<[String]>, board: &Arc<Board>) -> Seats {
        Seats {
            subscribers: self.readers as usize,
            threads: self.threads as usize,
            streams: Arc::clone(streams),
            publishers: 1,
            wish: Wish::Replay(self.events),
            board: Arc::clone(board),
            connections_before: 0,
        }
    }

    /// Puts the events into the stream.
    async fn fill(&self, run: &Arc<Run>, stream: &str) -> Result<(), Error> {
        let mut http = Http::connect(&run.target, 0).await?;
        let most = (FILL_BYTES / self.size as u64).clamp(1, FILL_EVENTS);
        let address = format!("/v5.0/{}/event/{stream}", run.target.company);
        let board = Arc::new(Board::default());
        let _progress = Progress::show(line(run, &board));
        let mut first = Mark::default();
        while first.number < self.events {
            let count = most.min(self.events - first.number);
            let mut body = Vec::new();
            letters::put_all(&mut body, &first, count, self.size);
            let mut request = run.target.head("POST", &address, body.len()).into_bytes();
            request.append(&mut body);
            http.ask(&request).await?.success()?;
            first.number += count;
            board.owe(count, 0);
        }
        Ok(())
    }

    /// Has live events begin.
    async fn live(&self, run: &Arc<Run>, grounds: &Grounds) -> Result<Live, Error> {
        let streams = grounds.make(run, 1, 1_000, Durability::default()).await?;
        let (board, stop) = (Arc::new(Board::default()), Arc::new(AtomicBool::new(false)));
        let seats = Seats {
            subscribers: self.subscribers as usize,
            threads: 1,
            streams: Arc::clone(&streams),
            publishers: PUBLISHERS as usize,
            wish: Wish::Live,
            board: Arc::clone(&board),
            connections_before: self.readers as usize,
        };
        let crowd = Crowd::gather(run, &seats).await?;
        let shape = Shape {
            batch: 1,
            size: self.size,
        };
        let post = Arc::new(Post::new(run, &streams, shape, self.subscribers.into(), &board));
        let plan = Plan {
            senders: PUBLISHERS,
            pace: self.pace(),
            length: DAY,
            stop: Arc::clone(&stop),
        };
        let senders = publish(run, &post, plan)?;
        Ok(Live {
            crowd,
            board,
            post,
            stop,
            senders,
        })
    }

    fn pace(&self) -> Pace {
        Pace::Open(self.rate.into())
    }

    fn add(&self, report: &mut Report, (sent, seen, taken): (Sent, Seen, Vec<u64>)) {
        report.counts.push(("live events", taken.iter().sum()));
        report.counts.push(("live deliveries", arrived(&seen)));
        let mut all = std::mem::take(&mut report.wrongs);
        all.unsent = sent.unsent;
        all.refused.clone_from(&sent.refused);
        report.wrongs = wrongs(&seen, &taken, all);
        report.times.insert(0, ("live", seen.times));
        report.sent(self.pace(), &sent);
    }

    fn words(&self) -> String {
        let live = match self.rate {
            0 => String::new(),
            rate => format!(", beside {rate} live events/s to {} subscribers", self.subscribers),
        };
        format!(
            "{} readers of {} events, elems of {} bytes{live}",
            self.readers, self.events, self.size
        )
    }

    fn json(&self) -> Value {
        json!({
            "readers": self.readers, "events": self.events, "size": self.size, "rate": self.rate,
            "subscribers": self.subscribers, "threads": self.threads,
        })
    }
}

impl Live {
    /// What was sent, what was seen, and how many events were taken.
    async fn end(self, run: &Arc<Run>) -> Result<(Sent, Seen, Vec<u64>), Error> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.senders.finish().await?;
        self.board.drained(run, PATIENCE).await;
        let seen = self.crowd.leave().await?;
        Ok((sent, seen, self.post.taken()))
    }
}
