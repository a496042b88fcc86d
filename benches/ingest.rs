//! How many events a second the server takes so that the disk has them, and how long an answer takes.
//!
//! `cargo bench --bench ingest` (`-- --help` lists the settings), on Linux, best with two cores that
//! nobody else uses: it pins the server to core 0 and itself to core 1 with `taskset`, if that is
//! there.
//!
//! 16 publishers with one request in flight each, over 100 streams of capacity 1,000 (or each of
//! `--streams 1,100,100000` in turn, with a server of its own); an event's `elems` are 128 bytes. Every request goes to one stream, streams are taken in turn. Twice: with
//! arrays of 64 events, and with single events. First as fast as answers come (a closed loop), in
//! rounds that take turns with the baseline; then at half of that rate (an open loop, where an answer's
//! time counts from when its request was due).
//!
//! The baseline is the least that is as safe: on core 0, in the folder of the database, a bare loop
//! appends as many bytes as the server wrote for each request, and syncs after as many requests as the
//! server's mean commit had. Its file grows, which each sync has to note; the server's write-ahead log
//! is used again after a checkpoint, so the ratio may exceed 1 where syncs are what takes the time.
//!
//! Printed: events/s of both, their ratio, and how long answers took.

mod bench;

use bench::cores::Cores;
use bench::figures::{median, mib, rate};
use bench::load::{Load, Outcome, Publishers};
use bench::server::{Metrics, Server};
use bench::table::Table;
use bench::{at_least_1, failure, joined, letters};
use clap::Parser;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How many events each stream keeps.
const CAPACITY: u64 = 1_000;
/// Events of a request, one row of figures each.
const SHAPES: [u64; 2] = [64, 1];
/// What is written with `--csv`.
const COLUMNS: [&str; 6] = ["streams", "batch", "events_s", "ratio", "half_p50_ms", "half_p99_ms"];

/// Measures how many events a second are taken durably.
#[derive(Parser)]
struct Settings {
    /// How long each part takes.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often server and baseline take turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many publish at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
    /// Over how many streams; a server and all figures for each.
    #[arg(long, default_value = "100", value_delimiter = ',', value_parser = at_least_1)]
    streams: Vec<usize>,
    /// A file to write the medians to.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The server's mean commit.
struct Commit {
    requests: f64,
    bytes: f64,
}

fn main() -> std::io::Result<()> {
    let cores = Cores::divide();
    let settings = Settings::parse();
    println!(
        "ingest: {} publishers, elems of {} bytes, {}",
        settings.publishers,
        letters::ELEMS_BYTES,
        cores.describe()
    );
    let mut table = Table::begin(settings.csv.as_deref(), &COLUMNS)?;
    for count in &settings.streams {
        let server = Server::start(cores, &[])?;
        let streams = server.make_streams("ingest", *count, CAPACITY)?;
        for events in SHAPES {
            println!("\n{count} stream(s), {events} event(s) a request");
            let load = Load::new(&server, streams.clone(), events);
            let figures = measure(&settings, cores, &server, &load)?;
            table.row(&[&[*count as f64, events as f64], &figures[..]].concat())?;
        }
    }
    Ok(())
}

/// All figures of one shape of requests; returned are those of the columns behind the shape.
fn measure(settings: &Settings, cores: Cores, server: &Server, load: &Load) -> std::io::Result<[f64; 4]> {
    let time = Duration::from_secs(settings.seconds);
    let mut publishers = Publishers::connect(server, settings.publishers)?;
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for round in 1..=settings.rounds {
        let before = server.metrics()?;
        let outcome = publishers.publish(load, time, None)?;
        let commit = Commit::mean(&before, &server.metrics()?, outcome.requests);
        let bare = baseline(cores, server.folder(), &commit, load.events, time)?;
        let taken = outcome.rate();
        print_closed(round, &outcome, &commit, load.events);
        println!(
            "  round {round}, baseline     {bare:>10.0} events/s   ratio {:.3}",
            taken / bare
        );
        ratios.push(taken / bare);
        rates.push(taken);
    }
    let (ratio, taken) = (median(&mut ratios), median(&mut rates));
    println!("  median                {taken:>10.0} events/s   ratio {ratio:.3}");
    let interval = publishers.interval(load, taken / 2.0);
    let outcome = publishers.publish(load, time, Some(interval))?;
    println!(
        "  open loop, half of it {:>10.0} events/s   ack p50 {:.2} ms, p99 {:.2} ms ({} answers)",
        outcome.rate(),
        outcome.acks.ms(500),
        outcome.acks.ms(990),
        outcome.acks.len()
    );
    Ok([taken, ratio, outcome.acks.ms(500), outcome.acks.ms(990)])
}

fn print_closed(round: u32, outcome: &Outcome, commit: &Commit, events: u64) {
    println!(
        "  round {round}, closed loop  {:>10.0} events/s   ack p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms; \
         a commit has {:.1} events, {:.3} MiB",
        outcome.rate(),
        outcome.acks.ms(500),
        outcome.acks.ms(990),
        outcome.acks.ms(999),
        commit.requests * events as f64,
        mib(commit.bytes as u64)
    );
}

impl Commit {
    fn mean(before: &Metrics, after: &Metrics, requests: u64) -> Self {
        let during = |name: &str| (after.count(name) - before.count(name)) as f64;
        let commits = during("log_commits").max(1.0);
        Self {
            requests: requests as f64 / commits,
            bytes: during("log_written_bytes") / commits,
        }
    }
}

/// Events a second of a bare loop that writes what the server wrote.
fn baseline(cores: Cores, folder: &Path, commit: &Commit, events: u64, time: Duration) -> std::io::Result<f64> {
    if commit.requests <= 0.0 {
        return Err(failure("the server committed nothing"));
    }
    let path = folder.join("baseline");
    let appended = thread::scope(|scope| {
        joined(scope.spawn(|| {
            cores.move_to_server();
            append(&path, commit, time)
        }))
    });
    let (requests, took) = appended?;
    std::fs::remove_file(&path)?;
    Ok(rate(requests * events, took))
}

/// Appends requests' bytes, and syncs whenever a commit is full; how many, and how long it took.
fn append(path: &Path, commit: &Commit, time: Duration) -> std::io::Result<(u64, Duration)> {
    let request = vec![b'x'; (commit.bytes / commit.requests).round() as usize];
    let mut file = File::create(path)?;
    let (start, mut requests, mut commits) = (Instant::now(), 0_u64, 0.0);
    while start.elapsed() < time {
        commits += 1.0;
        // A mean is no whole number: now and then a commit has one request more.
        while (requests as f64) < commits * commit.requests {
            file.write_all(&request)?;
            requests += 1;
        }
        file.sync_data()?;
    }
    Ok((requests, start.elapsed()))
}
