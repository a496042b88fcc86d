//! `streamgate bench`: load on a running server, and what became of it.
//!
//! Knows the server from outside only, as any client does. Invariant: every delivery is checked, and what a run makes
//! on the server it removes.

mod book;
mod crowd;
mod fan_out;
mod gauge;
mod grounds;
mod http;
mod ingest;
mod latency;
mod letters;
mod progress;
mod publisher;
mod replay;
mod report;
mod run;
mod schedule;
mod senders;
mod sessions;
mod socket;
mod tally;
mod target;
mod wire;

use crate::cli::client::Account;
use crate::cli::{Output, failure};
use crate::domain::durability::Durability;
use crate::domain::error::{Code, Error, Fault};
use clap::{Args, Subcommand};
use fan_out::FanOut;
use grounds::Grounds;
use ingest::Ingest;
use replay::Replay;
use report::Report;
use run::Run;
use schedule::Pace;
use serde_json::{Value, json};
use sessions::Sessions;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use target::Target;
use tokio::signal::unix::{SignalKind, signal};

/// Longest silence while events are still to come; after that they count as lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time for what comes twice to come.
const LINGER: Duration = Duration::from_millis(100);

/// Put load on a running server and measure it.
///
/// Makes streams of its own under /<company>/bench/, removes them in the end, and checks every delivery: what was lost,
/// doubled or out of order is counted, and then the exit status is not 0. With a --rate requests are due on a schedule,
/// sent whatever became of those before (an open loop), and times count from when they were due, so that a server that
/// stalls cannot hide it. With --rate max the next one goes out when there is room (a closed loop): that shows how much
/// a server can do, while times are mostly those of waiting in line. If this program was the limit, it says so.
#[derive(Args)]
pub struct Bench {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand)]
enum Kind {
    FanOut(FanOut),
    Ingest(Ingest),
    Sessions(Sessions),
    Replay(Replay),
}

/// What all kinds need to know.
#[derive(Args)]
struct Aim {
    #[command(flatten)]
    account: Account,
    /// For https: the certificates in PEM that are trusted, a self-signed server's own among them; the system's if not
    /// given.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The server's process number, if it runs on this machine: its processor time and memory are shown, too.
    #[arg(long, value_name = "N")]
    server_pid: Option<u32>,
}

/// How often requests are made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    /// As often as there is room.
    Max,
    /// So many events or sessions a second.
    Each(f64),
}

impl Bench {
    /// Runs it all; whether anything went wrong is in the output.
    pub(in crate::cli) async fn run(self) -> Result<Output, Error> {
        raise_open_files();
        let Aim { account, ca, .. } = self.aim();
        let run = Arc::new(Run::new(Target::find(account, ca.as_deref()).await?));
        let grounds = Grounds::default();
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Fault::from)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Fault::from)?;
        let interrupted = || Err(failure("interrupted; there are no figures"));
        let done = tokio::select! {
            done = self.measure(&run, &grounds) => done,
            error = run.failed() => Err(error),
            _ = interrupt.recv() => interrupted(),
            _ = terminate.recv() => interrupted(),
        };
        run.end();
        grounds.clear(&run).await;
        Ok(done?.output(&run))
    }

    fn aim(&self) -> &Aim {
        match &self.kind {
            Kind::FanOut(fan_out) => &fan_out.aim,
            Kind::Ingest(ingest) => &ingest.aim,
            Kind::Sessions(sessions) => &sessions.aim,
            Kind::Replay(replay) => &replay.aim,
        }
    }

    async fn measure(&self, run: &Arc<Run>, grounds: &Grounds) -> Result<Report, Error> {
        match &self.kind {
            Kind::FanOut(fan_out) => fan_out.measure(run, grounds).await,
            Kind::Ingest(ingest) => ingest.measure(run, grounds).await,
            Kind::Sessions(sessions) => sessions.measure(run, grounds).await,
            Kind::Replay(replay) => replay.measure(run, grounds).await,
        }
    }
}

impl Rate {
    /// The pace of requests that hold so many each.
    fn pace(self, batch: u64) -> Pace {
        match self {
            Self::Max => Pace::Closed,
            Self::Each(rate) => Pace::Open(rate / batch as f64),
        }
    }

    fn json(self) -> Value {
        match self {
            Self::Max => json!("max"),
            Self::Each(rate) => json!(rate),
        }
    }

    fn words(self, what: &str) -> String {
        match self {
            Self::Max => format!("as many {what} as it takes"),
            Self::Each(rate) => format!("{rate} {what}/s"),
        }
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let number = text.parse().ok().filter(|rate| (0.001..=10_000_000.0).contains(rate));
    let wanted = || "a number from 0.001 to 10000000 is wanted, or max".to_owned();
    number.map(Rate::Each).ok_or_else(wanted)
}

fn durability(text: &str) -> Result<Durability, String> {
    Durability::parse(text, Code::BodyMalformed).map_err(|refusal| refusal.to_string())
}

/// Bytes of an event's `elems`.
fn size(text: &str) -> Result<usize, String> {
    let number = text
        .parse()
        .ok()
        .filter(|size| (letters::SMALLEST..=1 << 20).contains(size));
    number.ok_or_else(|| format!("a whole number from {} to {} is wanted", letters::SMALLEST, 1 << 20))
}

/// A socket is an open file, and many systems allow 1,024 unless asked. If they cannot be raised, connecting will tell.
fn raise_open_files() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_numbers_or_max() {
        assert_eq!(rate("max"), Ok(Rate::Max));
        assert_eq!(rate("0.5"), Ok(Rate::Each(0.5)));
        for wrong in ["", "0", "-1", "nan", "inf", "1e9", "fast"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Rate::Each(128.0).pace(64), Pace::Open(2.0));
        assert!(size("10").is_err() && size("128") == Ok(128));
    }
}
