//! `bench ingest`: many who publish, nobody who reads.
//!
//! Measures how many events the server takes and how long its answers take, and asks it in the end whether it has them.

use crate::cli::bench::fan_out::{line, publish};
use crate::cli::bench::gauge::Meter;
use crate::cli::bench::grounds::Grounds;
use crate::cli::bench::progress::Progress;
use crate::cli::bench::publisher::{Post, Shape};
use crate::cli::bench::report::{Report, Wrongs};
use crate::cli::bench::run::{Board, Run};
use crate::cli::bench::senders::Plan;
use crate::cli::bench::{Aim, Rate, durability, rate, size};
use crate::domain::durability::Durability;
use crate::domain::error::Error;
use clap::Args;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Many publishers, no subscribers: how many events are taken, and how long answers take.
///
/// In the end each stream is asked for its newest offset: what was answered and is not there is lost. With a --rate an
/// answer's time counts from when its request was due; with max from when it was sent.
#[derive(Args)]
pub struct Ingest {
    #[command(flatten)]
    pub(in crate::cli::bench) aim: Aim,
    /// Publishers, each with a connection and one request at a time.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    publishers: u32,
    /// Streams; each request goes to one, in turn.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    streams: u32,
    /// Events of a request.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// Events a second, all publishers together; max for a closed loop.
    #[arg(long, value_name = "N|max", default_value = "max", value_parser = rate)]
    rate: Rate,
    /// What an answer means: accepted, written or durable.
    #[arg(long, value_name = "LEVEL", default_value = "durable", value_parser = durability)]
    ack: Durability,
    /// Bytes of an event's elems.
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = size)]
    size: usize,
    /// How long events are published.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Events that each stream keeps.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    capacity: u64,
}

impl Ingest {
    pub(in crate::cli::bench) async fn measure(&self, run: &Arc<Run>, grounds: &Grounds) -> Result<Report, Error> {
        let streams = grounds.make(run, self.streams, self.capacity, self.ack).await?;
        let board = Arc::new(Board::default());
        let shape = Shape {
            batch: self.batch,
            size: self.size,
        };
        let post = Arc::new(Post::new(run, &streams, shape, 0, &board));
        let pace = self.rate.pace(self.batch);
        let plan = Plan {
            senders: self.publishers,
            pace,
            length: Duration::from_secs(self.seconds),
            stop: Arc::default(),
        };
        let progress = Progress::show(line(run, &board));
        let meter = Meter::start(run.clock, self.aim.server_pid);
        let sent = publish(run, &post, plan)?.finish().await?;
        let cost = meter.stop();
        drop(progress);
        let (taken, heads) = (post.taken(), grounds.heads(run, &streams).await?);
        let mut report = Report::new("ingest", self.words(), self.json(), cost);
        report.unit = "events";
        report.counts = vec![("events", taken.iter().sum()), ("requests", sent.answered)];
        report.wrongs = compare(&taken, &heads, Wrongs::of(&sent));
        report.times = vec![("answered", sent.answers.clone())];
        report.sent(pace, &sent);
        Ok(report)
    }

    fn words(&self) -> String {
        format!(
            "{} publishers, {} stream(s), {} in batches of {}, {}, elems of {} bytes, {} s",
            self.publishers,
            self.streams,
            self.rate.words("events"),
            self.batch,
            self.ack.word(),
            self.size,
            self.seconds
        )
    }

    fn json(&self) -> Value {
        json!({
            "publishers": self.publishers, "streams": self.streams, "batch": self.batch, "rate": self.rate.json(),
            "ack": self.ack.word(), "size": self.size, "seconds": self.seconds, "capacity": self.capacity,
        })
    }
}

/// Offsets begin at 1, so a stream's newest one is how many events it ever took.
fn compare(taken: &[u64], heads: &[u64], mut wrongs: Wrongs) -> Wrongs {
    for (taken, head) in taken.iter().zip(heads) {
        wrongs.lost += taken.saturating_sub(*head);
        wrongs.doubled += head.saturating_sub(*taken);
    }
    wrongs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_and_is_not_there_is_lost() {
        let wrongs = compare(&[5, 5, 5], &[5, 3, 6], Wrongs::default());
        assert_eq!((wrongs.lost, wrongs.doubled), (2, 1));
        assert!(!wrongs.are_none());
    }
}
