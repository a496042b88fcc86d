//! What 16 and 64 cores would do, calculated from what one core was seen to do; and when a single writer
//! is no longer enough.
//!
//! `cargo bench --bench scale` (`-- --help` lists the settings), on Linux, best with two cores that nobody
//! else uses: it pins the server to core 0 and itself to core 1 with `taskset`, if that is there. It takes
//! about a minute. `benches/FIGURES.md` has the argument; this has its inputs and its arithmetic:
//!
//! - a request: what the workers take for each durable event, parsing and answering. Spreads over cores.
//! - the one: what only one at a time can do. For a durable event it is the writer, all other threads
//!   (numbering, SQLite, syncing) and how long the disk takes for its bytes. For one that no stream keeps
//!   it is the lock under which it is numbered and shown.
//! - a push: what it takes to put an event into one worker's mailbox, while that worker empties it
//!   on another core; and what finding out whose mailboxes takes, among 100,000 streams.
//! - a delivery: what a worker takes for each subscriber, the write to the socket included. Spreads too.
//!
//! With F subscribers of each event, spread evenly over the workers of N cores, min(F, N) mailboxes get it.
//! They do N / (request + F × delivery) events a second; the one, for which a writer has one more core to
//! itself, 1 / (one + find + min(F, N) × push). The less of them is what there is. With 128 requests in
//! flight, commits are as large as they are where many cores publish. Not in it: caches and memory that
//! more cores share, what waiting for a lock costs, and the network's card.

mod bench;

use bench::cores::Cores;
use bench::figures::{Line, median};
use bench::load::{Load, Publishers};
use bench::scene::Scene;
use bench::server::Server;
use bench::{cpu, failure, joined, machines};
use clap::Parser;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use streamgate::hub::Hub;
use streamgate::hub::mailbox::Post;
use streamgate::metrics::Metrics;

/// Events of a request whose streams keep them.
const BATCHES: [u64; 2] = [64, 1];
/// Subscribers between which a delivery's cost is measured.
const FEW: usize = 1;
const MANY: usize = 1_000;
/// Mailboxes between which a push's cost is measured.
const WORKERS: [usize; 4] = [1, 2, 16, 64];
/// Requests in flight where events are kept.
const PUBLISHERS: u32 = 128;
/// Streams among which one is found.
const STREAMS: usize = 100_000;
/// Turns of which the mean is taken, and means of which the median is.
const TURNS: u32 = 20_000;
const MEANS: usize = 9;
/// What the disk is given at once: as much as a full commit has.
const COMMIT_BYTES: usize = 4_194_304;
/// For which cores and subscribers it is calculated.
const CORES: [u32; 5] = [1, 2, 4, 16, 64];
const SUBSCRIBERS: [u32; 5] = [0, 1, 10, 100, 10_000];
/// More cores than are looked at.
const MOST: u32 = 1_024;

/// Calculates what more cores would do.
#[derive(Parser)]
struct Settings {
    /// How long each part takes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was measured, in microseconds.
struct Inputs {
    kinds: Vec<Kind>,
    push: f64,
    find: f64,
    delivery: f64,
}

/// A kind of events, and what one of them costs in microseconds.
struct Kind {
    name: String,
    /// Of a worker, without deliveries.
    request: f64,
    /// Of what only one at a time can do, without pushes.
    one: f64,
}

fn main() -> std::io::Result<()> {
    let cores = Cores::divide();
    let settings = Settings::parse();
    println!("scale: {}", cores.describe());
    let (push, find) = (push(cores)?, find());
    let [few, many] = [FEW, MANY].map(|subscribers| delivered(cores, subscribers, settings.seconds));
    let (few, many) = (few?, many?);
    let delivery = (many - few) / (MANY - FEW) as f64;
    let mut kinds = vec![Kind {
        name: "single events, not kept".to_owned(),
        request: few - FEW as f64 * delivery,
        one: mean(machines::ledger_number(STREAMS)),
    }];
    for batch in BATCHES {
        kinds.push(ingest(cores, batch, settings.seconds)?);
    }
    let inputs = Inputs {
        kinds,
        push,
        find,
        delivery,
    };
    inputs.print();
    for kind in &inputs.kinds {
        inputs.print_rates(kind);
    }
    Ok(())
}

// --- the arithmetic -----------------------------------------------------------------------------

impl Inputs {
    fn print(&self) {
        println!("\nmeasured, in µs");
        println!("  a push                        {:>8.3}", self.push);
        println!("  finding who listens           {:>8.3}", self.find);
        println!("  a delivery                    {:>8.3}", self.delivery);
        for Kind { name, request, one } in &self.kinds {
            println!("  {name:<29} {request:>8.3} of the workers, {one:.3} of the one");
        }
    }

    /// Events a second that so many cores do.
    fn by_cores(&self, kind: &Kind, cores: u32, subscribers: u32) -> f64 {
        f64::from(cores) * 1e6 / (kind.request + f64::from(subscribers) * self.delivery)
    }

    /// Events a second that one at a time does for so many cores.
    fn by_one(&self, kind: &Kind, cores: u32, subscribers: u32) -> f64 {
        let pushes = f64::from(cores.min(subscribers)) * self.push;
        1e6 / (kind.one + self.find + pushes)
    }

    fn print_rates(&self, kind: &Kind) {
        println!(
            "\n{}: events/s and deliveries/s, by subscribers of each event",
            kind.name
        );
        print!("  cores");
        SUBSCRIBERS.iter().for_each(|count| print!("{count:>24}"));
        println!();
        for cores in CORES {
            print!("  {cores:>5}");
            for subscribers in SUBSCRIBERS {
                let by_cores = self.by_cores(kind, cores, subscribers);
                let by_one = self.by_one(kind, cores, subscribers);
                let rate = by_cores.min(by_one);
                let mark = if by_one < by_cores { '!' } else { ' ' };
                print!("{rate:>11.0}{mark}{:>12.0}", rate * f64::from(subscribers));
            }
            println!();
        }
        println!("  !: it is the one that does no more");
        print!("  cores that it keeps busy:");
        for subscribers in SUBSCRIBERS {
            match self.enough(kind, subscribers) {
                Some(cores) => print!("   {subscribers}: {cores}"),
                None => print!("   {subscribers}: {MOST} and more"),
            }
        }
        println!();
    }

    /// The most cores for which the one is not what there is too little of.
    fn enough(&self, kind: &Kind, subscribers: u32) -> Option<u32> {
        let is_short = |cores: &u32| self.by_one(kind, *cores, subscribers) < self.by_cores(kind, *cores, subscribers);
        (1..=MOST).find(is_short).map(|cores| cores - 1)
    }
}

// --- what is measured ---------------------------------------------------------------------------

/// The median of some means of a turn, in microseconds.
fn mean(mut turn: impl FnMut()) -> f64 {
    let mut means: Vec<f64> = (0..MEANS)
        .map(|_| {
            let start = Instant::now();
            (0..TURNS).for_each(|_| turn());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(TURNS)
        })
        .collect();
    median(&mut means)
}

/// By how much an event costs more for each mailbox it is put into, while they are emptied on the other
/// core.
fn push(cores: Cores) -> std::io::Result<f64> {
    let (event, stream) = ([Arc::new(machines::event())], machines::stream(0));
    let mut points = Vec::new();
    for workers in WORKERS {
        let hub = Hub::new(usize::MAX, Arc::new(Metrics::default()));
        let mailboxes: Vec<_> = (0..workers).map(|_| hub.enrol()).collect();
        mailboxes.iter().for_each(|(worker, _)| hub.listen(*worker, stream));
        let is_over = AtomicBool::new(false);
        let micros = thread::scope(|scope| {
            let emptying = scope.spawn(|| {
                cores.move_to_server();
                let mut post = Post::default();
                while !is_over.load(Ordering::Relaxed) {
                    mailboxes.iter().for_each(|(_, mailbox)| mailbox.take(&mut post));
                }
            });
            let micros = mean(|| hub.deliver(&event));
            is_over.store(true, Ordering::Relaxed);
            joined(emptying);
            micros
        });
        points.push((workers as f64, micros));
    }
    match Line::fit(&points).slope {
        slope if slope > 0.0 => Ok(slope),
        _ => Err(failure(
            "more mailboxes cost no more: something else kept the cores busy",
        )),
    }
}

/// What finding who listens costs among many streams, another each turn: one that nobody listens to, so
/// that nothing else is done.
fn find() -> f64 {
    let hub = Hub::new(usize::MAX, Arc::new(Metrics::default()));
    let (worker, mailbox) = hub.enrol();
    (0..STREAMS).for_each(|number| hub.listen(worker, machines::stream(number)));
    let unheard: Vec<_> = (STREAMS..2 * STREAMS)
        .map(machines::event_of)
        .map(|event| [Arc::new(event)])
        .collect();
    let mut turn = 0;
    let micros = mean(|| {
        turn = (turn + 1) % STREAMS;
        hub.deliver(&unheard[turn]);
    });
    drop(mailbox);
    micros
}

/// What a server takes for an event that so many get and no stream keeps.
fn delivered(cores: Cores, subscribers: usize, seconds: u64) -> std::io::Result<f64> {
    let server = Server::start(cores, &[("STREAMGATE_WORKERS", "1")])?;
    let account = server.account.clone();
    let point = Scene::fill(server, &account, 1, subscribers)?.measure(seconds)?;
    Ok(point.micros * subscribers as f64)
}

/// What the workers take for a durable event, and what the writer does.
fn ingest(cores: Cores, batch: u64, seconds: u64) -> std::io::Result<Kind> {
    let server = Server::start(cores, &[("STREAMGATE_WORKERS", "1")])?;
    let streams = server.make_streams("scale", 100, 1_000)?;
    let load = Load::new(&server, streams, batch);
    let mut publishers = Publishers::connect(&server, PUBLISHERS)?;
    publishers.publish(&load, Duration::from_secs(1), None)?;
    let is_worker = |name: &str| name.starts_with("actix");
    let look = || -> std::io::Result<[Duration; 2]> {
        let workers = cpu::spent_by(server.pid(), is_worker)?;
        Ok([workers, cpu::spent_by(server.pid(), |name| !is_worker(name))?])
    };
    let (before, written) = (look()?, server.metrics()?.count("log_written_bytes"));
    let outcome = publishers.publish(&load, Duration::from_secs(seconds), None)?;
    let (after, bytes) = (look()?, server.metrics()?.count("log_written_bytes") - written);
    if outcome.events == 0 {
        return Err(failure("the server took nothing"));
    }
    let each = |at: usize| (after[at] - before[at]).as_secs_f64() * 1e6 / outcome.events as f64;
    let disk = disk(server.folder())? * bytes as f64 / outcome.events as f64;
    Ok(Kind {
        name: format!("durable, {batch} a request"),
        request: each(0),
        one: each(1) + disk,
    })
}

/// Microseconds that the disk takes for a byte, in commits that are full.
fn disk(folder: &Path) -> std::io::Result<f64> {
    let (path, bytes) = (folder.join("bare"), vec![b'x'; COMMIT_BYTES]);
    let mut file = File::create(&path)?;
    let mut means = Vec::new();
    for _ in 0..MEANS {
        let start = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        means.push(start.elapsed().as_secs_f64() * 1e6 / COMMIT_BYTES as f64);
    }
    std::fs::remove_file(&path)?;
    Ok(median(&mut means))
}
