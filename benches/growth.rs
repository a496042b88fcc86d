//! How the cost of a delivery grows: with subscribers, with streams, with the patterns of a scope, for
//! one worker and for two.
//!
//! `cargo bench --bench growth` (`-- --help` lists the settings), on Linux, best with two cores that
//! nobody else uses: it pins the server to core 0 and itself to core 1 with `taskset`, if that is
//! there. Two workers then share a core, which shows what a second mailbox costs and not what it gains.
//!
//! The cost is the time that the server was on a processor, in all its threads and the system, divided
//! by the deliveries (each counted where it arrived; one that does not come is an error). It is that of
//! everything: the request that published, the mailbox, the frames, the writes. Events come singly, when
//! they are due (an open loop), to streams that keep nothing, so the disk has no part in it:
//!
//! - subscribers: one stream, so many sockets;
//! - streams: so many streams with one subscriber each, on 1,000 sockets at most, published to in turn;
//! - patterns: one stream, one subscriber; the publisher's scope has so many patterns, of which the last
//!   is the one. Subscriptions by patterns do not exist, so this is what patterns cost today.

mod bench;

use bench::cores::Cores;
use bench::letters;
use bench::scene::Scene;
use bench::server::Server;
use bench::table::Table;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// What is written with `--csv`.
const COLUMNS: [&str; 5] = ["size", "workers", "cpu_us", "events_s", "deliveries"];

/// Measures how costs grow.
#[derive(Parser)]
struct Settings {
    /// Which curves.
    #[arg(long, value_delimiter = ',', default_value = "subscribers,streams,patterns")]
    curves: Vec<Curve>,
    /// For how many workers.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    workers: Vec<u16>,
    /// The largest size; 10,000 at most for subscribers and patterns.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    largest: u64,
    /// How long each point takes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// A folder to write a file for each curve to.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What grows.
#[derive(Clone, Copy, ValueEnum)]
enum Curve {
    Subscribers,
    Streams,
    Patterns,
}

fn main() -> std::io::Result<()> {
    let cores = Cores::divide();
    let settings = Settings::parse();
    println!(
        "growth: {} s a point, elems of {} bytes, {}",
        settings.seconds,
        letters::ELEMS_BYTES,
        cores.describe()
    );
    for curve in &settings.curves {
        let path = settings
            .csv
            .as_ref()
            .map(|folder| folder.join(format!("{}.csv", curve.name())));
        let mut table = Table::begin(path.as_deref(), &COLUMNS)?;
        for workers in &settings.workers {
            println!("\n{}, {workers} worker(s)", curve.name());
            for size in curve.sizes(settings.largest as usize) {
                let point = set(cores, *curve, size, *workers)?.measure(settings.seconds)?;
                println!(
                    "  {size:>7}   {:>8.2} µs of the server a delivery   ({:.0} events/s, {} deliveries)",
                    point.micros, point.rate, point.deliveries
                );
                let figures = [point.micros, point.rate, point.deliveries as f64];
                table.row(&[&[size as f64, f64::from(*workers)], &figures[..]].concat())?;
            }
        }
    }
    Ok(())
}

impl Curve {
    fn name(self) -> &'static str {
        match self {
            Curve::Subscribers => "subscribers",
            Curve::Streams => "streams",
            Curve::Patterns => "patterns",
        }
    }

    /// Powers of ten.
    fn sizes(self, largest: usize) -> impl Iterator<Item = usize> {
        let most = match self {
            Curve::Streams => 100_000,
            Curve::Subscribers | Curve::Patterns => 10_000,
        };
        (0..=5)
            .map(|power| 10_usize.pow(power))
            .filter(move |size| *size <= largest.min(most))
    }
}

/// Gets everything ready for a point.
fn set(cores: Cores, curve: Curve, size: usize, workers: u16) -> std::io::Result<Scene> {
    let workers = workers.to_string();
    let settings = [
        ("STREAMGATE_WORKERS", workers.as_str()),
        ("STREAMGATE_MAX_PATTERNS", "10000"),
    ];
    let server = Server::start(cores, &settings)?;
    let (streams, subscribers) = match curve {
        Curve::Subscribers => (1, size),
        Curve::Streams => (size, 1),
        Curve::Patterns => (1, 1),
    };
    let account = match curve {
        Curve::Patterns => server.restricted(size)?,
        Curve::Subscribers | Curve::Streams => server.account.clone(),
    };
    Scene::fill(server, &account, streams, subscribers)
}
