//! How many events a second the server takes so that the disk has them, and how long an answer takes.
//!
//! `cargo bench --bench ingest` (`-- --help` lists the settings), on Linux, best with two cores that
//! nobody else uses: it pins the server to core 0 and itself to core 1 with `taskset`, if that is
//! there.
//!
//! 16 publishers with one request in flight each, over 100 streams of capacity 1,000; an event's
//! `elems` are 128 bytes. Every request goes to one stream, streams are taken in turn. Twice: with
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
use bench::figures::{Durations, mib, rate};
use bench::http::Http;
use bench::server::{Metrics, Server};
use bench::{failure, joined, letters, wait_until};
use clap::Parser;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Streams, and how many events each keeps.
const STREAMS: usize = 100;
const CAPACITY: u64 = 1_000;
/// Events of a request, one row of figures each.
const SHAPES: [u64; 2] = [64, 1];

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
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the publishers send: a whole request for each stream.
struct Load {
    requests: Vec<Vec<u8>>,
    /// Events in each.
    events: u64,
    /// The request that is sent next.
    turn: AtomicUsize,
}

/// What became of it.
struct Outcome {
    requests: u64,
    events: u64,
    time: Duration,
    acks: Durations,
}

/// The server's mean commit.
struct Commit {
    requests: f64,
    bytes: f64,
}

fn main() -> std::io::Result<()> {
    let cores = Cores::divide();
    let settings = Settings::parse();
    let server = Server::start(cores, &[])?;
    println!(
        "ingest: {} publishers, {STREAMS} streams, elems of {} bytes, {}",
        settings.publishers,
        letters::ELEMS_BYTES,
        cores.describe()
    );
    let streams: Vec<String> = (0..STREAMS)
        .map(|number| server.make_stream(&format!("ingest/{number}"), CAPACITY))
        .collect::<Result<_, _>>()?;
    for events in SHAPES {
        measure(&settings, cores, &server, &Load::new(&server, &streams, events))?;
    }
    Ok(())
}

/// All figures of one shape of requests.
fn measure(settings: &Settings, cores: Cores, server: &Server, load: &Load) -> std::io::Result<()> {
    println!("\n{} event(s) a request", load.events);
    let time = Duration::from_secs(settings.seconds);
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for round in 1..=settings.rounds {
        let before = server.metrics()?;
        let outcome = publish(settings.publishers, server, load, time, None)?;
        let commit = Commit::mean(&before, &server.metrics()?, outcome.requests);
        let bare = baseline(cores, server.folder(), &commit, load.events, time)?;
        let taken = rate(outcome.events, outcome.time);
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
    let interval = Duration::from_secs_f64(f64::from(settings.publishers) * load.events as f64 * 2.0 / taken);
    let outcome = publish(settings.publishers, server, load, time, Some(interval))?;
    println!(
        "  open loop, half of it {:>10.0} events/s   ack p50 {:.2} ms, p99 {:.2} ms ({} answers)",
        rate(outcome.events, outcome.time),
        outcome.acks.ms(500),
        outcome.acks.ms(990),
        outcome.acks.len()
    );
    Ok(())
}

fn print_closed(round: u32, outcome: &Outcome, commit: &Commit, events: u64) {
    println!(
        "  round {round}, closed loop  {:>10.0} events/s   ack p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms; \
         a commit has {:.1} events, {:.3} MiB",
        rate(outcome.events, outcome.time),
        outcome.acks.ms(500),
        outcome.acks.ms(990),
        outcome.acks.ms(999),
        commit.requests * events as f64,
        mib(commit.bytes as u64)
    );
}

/// Of one value at least.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = &values[(values.len() - 1) / 2..=values.len() / 2];
    middle.iter().sum::<f64>() / middle.len() as f64
}

impl Load {
    fn new(server: &Server, streams: &[String], events: u64) -> Self {
        let body = match events {
            1 => letters::event(1),
            many => letters::array(1, many),
        };
        Self {
            requests: streams.iter().map(|id| server.publication(id, &body)).collect(),
            events,
            turn: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> &[u8] {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.requests[turn % self.requests.len()]
    }
}

/// Publishes for so long: each publisher one request every `interval`, or as fast as answers come.
fn publish(
    publishers: u32,
    server: &Server,
    load: &Load,
    time: Duration,
    interval: Option<Duration>,
) -> std::io::Result<Outcome> {
    let mut lines: Vec<Http> = (0..publishers)
        .map(|_| Http::connect(server.address))
        .collect::<Result<_, _>>()?;
    let start = Instant::now();
    let acks: Vec<Vec<Duration>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(&mut lines)
            .map(|(number, line)| {
                // Not all at once, but evenly over an interval.
                let first = start + interval.unwrap_or_default() * number / publishers;
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

/// How long each answer took: from when its request was sent or, in an open loop, due.
fn publish_one(
    line: &mut Http,
    load: &Load,
    span: std::ops::Range<Instant>,
    interval: Option<Duration>,
) -> std::io::Result<Vec<Duration>> {
    let (mut due, mut acks) = (span.start, Vec::new());
    while due < span.end {
        wait_until(due);
        let asked = match interval {
            Some(_) => due,
            None => Instant::now(),
        };
        line.demand(load.next())?;
        let answered = Instant::now();
        acks.push(answered - asked);
        due = interval.map_or(answered, |interval| due + interval);
    }
    Ok(acks)
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
