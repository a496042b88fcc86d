//! Whether the server stays as it is for as long as it runs: its memory, its files and its answers.
//!
//! `cargo bench --bench soak` (`-- --help` lists the settings), on Linux, best with two cores that
//! nobody else uses: it pins the server to core 0 and itself to core 1 with `taskset`, if that is
//! there. It takes an hour unless told otherwise, and some gigabytes below the target folder.
//!
//! 16 publishers with one request in flight each, over 100 streams of capacity 1,000; an event's
//! `elems` are 128 bytes, a request has 64. First as fast as answers come, for 10 seconds; then for
//! `--minutes` at half of that rate (an open loop, where an answer's time counts from when its request
//! was due).
//!
//! Printed, a line a minute: the server's resident memory (the median and the highest of looks a second
//! apart), the database's file and its write-ahead log at the end of the minute, events a second, how
//! long answers took. In the end: the median memory of the last quarter less that of the first.

mod bench;

use bench::cores::Cores;
use bench::figures::{median, mib};
use bench::load::{Load, Outcome, Publishers};
use bench::memory::resident;
use bench::server::Server;
use bench::table::Table;
use bench::{failure, joined, letters, wait_until};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many events each stream keeps.
const CAPACITY: u64 = 1_000;
/// How long it is measured what the server takes.
const TRIAL: Duration = Duration::from_secs(10);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What is written with `--csv`.
const COLUMNS: [&str; 9] = [
    "minute",
    "resident_mib",
    "highest_mib",
    "database_mib",
    "wal_mib",
    "events_s",
    "ack_p50_ms",
    "ack_p99_ms",
    "ack_max_ms",
];

/// Measures a server that is busy for long.
#[derive(Parser)]
struct Settings {
    /// How long, after it was measured what the server takes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// How long what is called a minute here takes, in seconds; less to try the program out.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..))]
    minute: u64,
    /// Over how many streams.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,
    /// Events a request.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// How many publish at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
    /// Events a second, instead of half of what the server takes.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// A file to write each minute's figures to.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the server had at a time, in MiB.
struct Size {
    median: f64,
    highest: f64,
    database: f64,
    log: f64,
}

fn main() -> std::io::Result<()> {
    let cores = Cores::divide();
    let settings = Settings::parse();
    let server = Server::start(cores, &[])?;
    println!(
        "soak: {} minutes, {} publishers, {} streams, {} events of {} bytes a request, {}",
        settings.minutes,
        settings.publishers,
        settings.streams,
        settings.batch,
        letters::ELEMS_BYTES,
        cores.describe()
    );
    let streams = server.make_streams("soak", settings.streams as usize, CAPACITY)?;
    let load = Load::new(&server, streams, settings.batch);
    let mut publishers = Publishers::connect(&server, settings.publishers)?;
    let rate = match settings.rate {
        Some(rate) => f64::from(rate),
        None => half(&mut publishers, &load)?,
    };
    let interval = publishers.interval(&load, rate);
    let time = Duration::from_secs(settings.minute);
    let mut table = Table::begin(settings.csv.as_deref(), &COLUMNS)?;
    let mut medians = Vec::new();
    println!("  {rate:.0} events/s are due");
    for minute in 1..=settings.minutes {
        let (outcome, size) = watched(&server, time, || publishers.publish(&load, time, Some(interval)))?;
        print(minute, &outcome, &size);
        table.row(&row(minute, &outcome, &size))?;
        medians.push(size.median);
    }
    print_growth(&medians);
    Ok(())
}

/// Half of the events a second that the server takes.
fn half(publishers: &mut Publishers, load: &Load) -> std::io::Result<f64> {
    let most = publishers.publish(load, TRIAL, None)?.rate();
    println!("  {most:.0} events/s as fast as answers come");
    match most > 0.0 {
        true => Ok(most / 2.0),
        false => Err(failure("the server takes nothing")),
    }
}

/// Does something that takes so long, and looks at the server's memory meanwhile, and at its files then.
fn watched(
    server: &Server,
    time: Duration,
    publish: impl FnOnce() -> std::io::Result<Outcome>,
) -> std::io::Result<(Outcome, Size)> {
    let (start, is_over) = (Instant::now(), AtomicBool::new(false));
    let (outcome, mut looks) = thread::scope(|scope| {
        let looking = scope.spawn(|| look(server.pid(), start + time, &is_over));
        let outcome = publish();
        is_over.store(true, Ordering::SeqCst);
        Ok::<_, std::io::Error>((outcome?, joined(looking)?))
    })?;
    let database = server.database();
    let size = Size {
        median: median(&mut looks),
        highest: looks[looks.len() - 1],
        database: file_mib(&database),
        log: file_mib(Path::new(&format!("{}-wal", database.display()))),
    };
    Ok((outcome, size))
}

/// Resident MiB at looks until then; one at least.
fn look(pid: u32, end: Instant, is_over: &AtomicBool) -> std::io::Result<Vec<f64>> {
    let mut looks = vec![mib(resident(pid)?)];
    while Instant::now() + LOOK < end && !is_over.load(Ordering::SeqCst) {
        wait_until(Instant::now() + LOOK);
        looks.push(mib(resident(pid)?));
    }
    Ok(looks)
}

/// 0 if it is not there.
fn file_mib(path: &Path) -> f64 {
    path.metadata().map_or(0.0, |file| mib(file.len()))
}

fn print(minute: u64, outcome: &Outcome, size: &Size) {
    println!(
        "  minute {minute:>4}   memory {:>6.1} MiB (highest {:>6.1})   database {:>7.1} MiB   log {:>6.1} MiB   \
         {:>8.0} events/s   ack p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        size.median,
        size.highest,
        size.database,
        size.log,
        outcome.rate(),
        outcome.acks.ms(500),
        outcome.acks.ms(990),
        outcome.acks.ms(1_000)
    );
}

/// As the columns are.
fn row(minute: u64, outcome: &Outcome, size: &Size) -> [f64; COLUMNS.len()] {
    [
        minute as f64,
        size.median,
        size.highest,
        size.database,
        size.log,
        outcome.rate(),
        outcome.acks.ms(500),
        outcome.acks.ms(990),
        outcome.acks.ms(1_000),
    ]
}

/// Between the quarters of the run, which have one minute at least.
fn print_growth(medians: &[f64]) {
    let quarter = medians.len().div_ceil(4);
    let from = medians.len() - quarter;
    let last = median(&mut medians[from..].to_vec());
    let first = median(&mut medians[..quarter].to_vec());
    println!(
        "  memory in the first quarter {first:.1} MiB, in the last {last:.1} MiB: growth {:.1} MiB ({:.1} %)",
        last - first,
        100.0 * (last - first) / first
    );
}
