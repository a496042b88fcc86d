//! `bench fan-out`: a few who publish, many who read.
//!
//! Measures from when an event was due until each subscriber had it.

use crate::cli::bench::crowd::{Crowd, Plan as Seats, Seen, Wish};
use crate::cli::bench::gauge::Meter;
use crate::cli::bench::grounds::Grounds;
use crate::cli::bench::progress::Progress;
use crate::cli::bench::publisher::{Post, Publisher, Shape};
use crate::cli::bench::report::{Report, Wrongs};
use crate::cli::bench::run::{Board, Run};
use crate::cli::bench::senders::{Plan, Senders};
use crate::cli::bench::{Aim, LINGER, PATIENCE, Rate, durability, rate, size};
use crate::domain::durability::Durability;
use crate::domain::error::Error;
use clap::Args;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Many subscribers, few publishers: how long events take to reach everybody.
///
/// Latency is counted for each delivery, from when its event was due on the schedule until the subscriber had it; with
/// --rate max from when it was sent, and then it is mostly waiting in line.
#[derive(Args)]
pub struct FanOut {
    #[command(flatten)]
    pub(in crate::cli::bench) aim: Aim,
    /// Sockets that read, each with a session of its own, spread over the streams.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscribers: u32,
    /// More sockets that subscribe and then never read, to see whether they hold up the others.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    stalled: u32,
    /// Streams.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    streams: u32,
    /// Events a second, all publishers together; max for a closed loop.
    #[arg(long, value_name = "N|max", default_value = "50", value_parser = rate)]
    rate: Rate,
    /// With --rate max: most events that are on their way to their subscribers.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    in_flight: u64,
    /// Bytes of an event's elems.
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = size)]
    size: usize,
    /// How long events are published.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Events of a request.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// Publishers, each with a connection and one request at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Events that each stream keeps; 0 for none, and then no disk is involved.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    capacity: u64,
    /// What an answer to a publisher means: accepted, written or durable.
    #[arg(long, value_name = "LEVEL", default_value = "durable", value_parser = durability)]
    ack: Durability,
    /// Threads for the sockets.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
}

impl FanOut {
    pub(in crate::cli::bench) async fn measure(&self, run: &Arc<Run>, grounds: &Grounds) -> Result<Report, Error> {
        let streams = grounds.make(run, self.streams, self.capacity, self.ack).await?;
        let board = Arc::new(Board::default());
        let seats = Seats {
            subscribers: self.subscribers as usize,
            threads: self.threads as usize,
            streams: Arc::clone(&streams),
            publishers: self.connections as usize,
            wish: Wish::Live,
            board: Arc::clone(&board),
            connections_before: 0,
        };
        let begun = run.clock.now();
        let crowd = Crowd::gather(run, &seats).await?;
        let gathered = run.clock.now() - begun;
        let stalled = match self.stalled {
            0 => None,
            stalled => Some(Crowd::gather(run, &seats.stalled(stalled as usize)).await?),
        };
        let shape = Shape {
            batch: self.batch,
            size: self.size,
        };
        let mut post = Post::new(run, &streams, shape, self.subscribers.into(), &board);
        if self.rate == Rate::Max {
            post = post.in_flight(self.in_flight);
        }
        let post = Arc::new(post);
        let progress = Progress::show(line(run, &board));
        let meter = Meter::start(run.clock, self.aim.server_pid);
        let sent = publish(run, &post, self.plan())?.finish().await?;
        board.drained(run, PATIENCE).await;
        let cost = meter.stop();
        tokio::time::sleep(LINGER).await;
        drop(progress);
        let seen = crowd.leave().await?;
        if let Some(stalled) = stalled {
            stalled.leave().await?;
        }
        let mut report = Report::new("fan-out", self.words(), self.json(), cost);
        report.counts = vec![("events", post.taken().iter().sum()), ("deliveries", arrived(&seen))];
        report.wrongs = wrongs(&seen, &post.taken(), Wrongs::of(&sent));
        report.times = vec![("delivered", seen.times), ("answered", sent.answers.clone())];
        report.sent(self.rate.pace(self.batch), &sent);
        report.read(seen.cpu.map(|(busiest, _)| busiest));
        report.notes.push(format!(
            "{} sessions were opened, connected and subscribed in {:.2} s",
            self.subscribers,
            gathered as f64 / 1e6
        ));
        Ok(report)
    }

    fn plan(&self) -> Plan {
        Plan {
            senders: self.connections,
            pace: self.rate.pace(self.batch),
            length: Duration::from_secs(self.seconds),
            stop: Arc::default(),
        }
    }

    fn words(&self) -> String {
        let stalled = match self.stalled {
            0 => String::new(),
            stalled => format!(" and {stalled} that never read"),
        };
        format!(
            "{} subscribers{stalled} of {} stream(s), {} in batches of {}, elems of {} bytes, {} s",
            self.subscribers,
            self.streams,
            self.rate.words("events"),
            self.batch,
            self.size,
            self.seconds
        )
    }

    fn json(&self) -> Value {
        json!({
            "subscribers": self.subscribers, "stalled": self.stalled, "streams": self.streams, "rate": self.rate.json(), "inFlight": self.in_flight,
            "size": self.size, "seconds": self.seconds, "batch": self.batch, "connections": self.connections,
            "capacity": self.capacity, "ack": self.ack.word(), "threads": self.threads,
        })
    }
}

/// Publishers at work.
pub fn publish(run: &Arc<Run>, post: &Arc<Post>, plan: Plan) -> Result<Senders, Error> {
    let (with, post) = (Arc::clone(run), Arc::clone(post));
    Senders::start(run, plan, async move |number| {
        Publisher::connect(&with, &post, number).await
    })
}

/// Events that came to somebody.
pub fn arrived(seen: &Seen) -> u64 {
    seen.tallies.iter().map(|(_, tally)| tally.arrived).sum()
}

/// What a crowd got that is not as it should be, if so many events of each stream were taken.
pub fn wrongs(seen: &Seen, taken: &[u64], mut wrongs: Wrongs) -> Wrongs {
    for (stream, tally) in &seen.tallies {
        wrongs.lost += tally.lost(taken[*stream]);
        wrongs.told += tally.told;
        wrongs.doubled += tally.doubled;
        wrongs.swapped += tally.swapped;
    }
    wrongs
}

/// How far it is.
pub fn line(run: &Arc<Run>, board: &Arc<Board>) -> impl Fn() -> String + use<> {
    let (run, board, start) = (Arc::clone(run), Arc::clone(board), run.clock.now());
    move || {
        let seconds = (run.clock.now() - start) as f64 / 1e6;
        format!(
            "{seconds:.1} s: {} events, {} deliveries, {} under way",
            board.events(),
            board.settled(),
            board.outstanding()
        )
    }
}
