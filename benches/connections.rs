//! What an idle connection costs, in parts; what a million would; and how soon ten thousand are back
//! after a restart.
//!
//! `cargo bench --bench connections` (`-- --help` lists the settings), on Linux, best as root (the
//! system's tables are told to nobody else) and with two cores that nobody else uses: it pins the server
//! to core 0 and itself to core 1 with `taskset`, if that is there.
//!
//! Sockets, each of a session of its own and subscribed to one stream, are opened up to each of the sizes.
//! There the server's resident memory is read, and what the system holds for sockets: of that a half, as
//! both ends are on this machine. A line through all sizes but the last says what the last should need,
//! which is compared with what it does need; a line through all of them says what a million would.
//!
//! What of a connection's memory is ours is the sum of the structs below; the rest is its task with its
//! buffers, and what the allocator adds. Then everybody is idle for `--idle` seconds, pinged as ever, and
//! the server's time on a processor counts. In the end all leave, the server is restarted, and as many
//! come again: a session, an upgrade and a subscription each, 32 at a time.

mod bench;

use bench::cores::Cores;
use bench::crowd::Crowd;
use bench::figures::{Line, mib};
use bench::memory::{resident, socket_buffers, socket_tables};
use bench::server::Server;
use bench::table::Table;
use bench::{cpu, failure};
use clap::Parser;
use std::mem::size_of;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use streamgate::broker::Watched;
use streamgate::domain::id::StreamId;
use streamgate::engine::connection::Connection;
use streamgate::engine::index::Subscriber;
use streamgate::protocol::conversation::Conversation;
use streamgate::protocol::line;
use streamgate::protocol::pump::Port;

/// Before memory is looked at, so that what was opened has come to rest.
const REST: Duration = Duration::from_secs(3);
/// What is calculated.
const MANY: f64 = 1_000_000.0;
/// What is written with `--csv`.
const COLUMNS: [&str; 4] = ["connections", "resident_mib", "tables_mib", "buffers_mib"];
/// What the server has of each connection, by name.
const STRUCTS: [(&str, usize); 6] = [
    ("Connection", size_of::<Connection<Port>>()),
    ("Conversation", size_of::<Conversation>()),
    ("Line", size_of::<line::Line>()),
    ("Watched", size_of::<Watched>()),
    ("Subscriber", size_of::<Subscriber>()),
    ("its stream", size_of::<(StreamId, u32)>()),
];

/// Measures idle connections.
#[derive(Parser)]
struct Settings {
    /// How many connections, rising; three at least.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000")]
    sizes: Vec<usize>,
    /// For how many seconds they are idle.
    #[arg(long, default_value_t = 30)]
    idle: u64,
    /// A file to write the figures of each size to.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What so many connections need, in bytes.
#[derive(Clone)]
struct Footprint {
    connections: usize,
    resident: u64,
    /// The system's tables for one end of each.
    tables: Vec<(&'static str, u64)>,
    /// What waits in the sockets of one end.
    buffers: u64,
}

fn main() -> std::io::Result<()> {
    let cores = Cores::divide();
    let mut settings = Settings::parse();
    settings.sizes.sort_unstable();
    settings.sizes.dedup();
    if settings.sizes.len() < 3 {
        return Err(failure("a line through all sizes but the last needs three"));
    }
    println!("connections: {}", cores.describe());
    let mut server = Server::start(cores, &[])?;
    let streams = server.make_streams("idle", 1, 0)?;
    let mut crowd = Crowd::new()?;
    let mut table = Table::begin(settings.csv.as_deref(), &COLUMNS)?;
    let mut seen = Vec::new();
    for size in [&[0], &settings.sizes[..]].concat() {
        let more = size - crowd.len();
        crowd.admit(&server, &vec![&streams[..]; more])?;
        crowd.read_for(REST)?;
        let footprint = Footprint::of(&server, size)?;
        footprint.print();
        table.row(&footprint.row())?;
        seen.push(footprint);
    }
    print_parts(&seen);
    print_idle(&server, &mut crowd, Duration::from_secs(settings.idle))?;
    let most = crowd.len();
    drop(crowd);
    print_return(&mut server, &streams, most)
}

impl Footprint {
    fn of(server: &Server, connections: usize) -> std::io::Result<Self> {
        let tables = socket_tables().unwrap_or_default();
        Ok(Self {
            connections,
            resident: resident(server.pid())?,
            tables: tables.into_iter().map(|(name, bytes)| (name, bytes / 2)).collect(),
            buffers: socket_buffers().unwrap_or_default() / 2,
        })
    }

    fn table_bytes(&self) -> u64 {
        self.tables.iter().map(|(_, bytes)| bytes).sum()
    }

    fn print(&self) {
        println!(
            "  {:>7} connections   memory {:>8.1} MiB   the system's tables {:>8.1} MiB, buffers {:>6.1} MiB",
            self.connections,
            mib(self.resident),
            mib(self.table_bytes()),
            mib(self.buffers)
        );
    }

    /// As the columns are.
    fn row(&self) -> [f64; COLUMNS.len()] {
        [
            self.connections as f64,
            mib(self.resident),
            mib(self.table_bytes()),
            mib(self.buffers),
        ]
    }
}

/// The line through a figure of some footprints.
fn line_of(seen: &[Footprint], figure: impl Fn(&Footprint) -> u64) -> Line {
    let points = seen.iter().map(|one| (one.connections as f64, figure(one) as f64));
    Line::fit(&points.collect::<Vec<_>>())
}

/// What one costs, and what that says; the first footprint is nobody's and the server's own.
fn print_parts(seen: &[Footprint]) {
    let (some, last) = (&seen[1..], &seen[seen.len() - 1]);
    let resident = |one: &Footprint| one.resident;
    let memory = line_of(some, resident);
    println!("\na connection");
    println!("  memory         {:>8.0} bytes, of which", memory.slope);
    for (name, bytes) in STRUCTS {
        println!("    {name:<12} {bytes:>8}");
    }
    let ours: usize = STRUCTS.iter().map(|(_, bytes)| bytes).sum();
    println!("    the rest     {:>8.0}", memory.slope - ours as f64);
    let mut tables = 0.0;
    for (at, (name, _)) in last.tables.iter().enumerate() {
        let line = line_of(some, |one| one.tables[at].1);
        println!("  system         {:>8.0} bytes, {name}", line.slope);
        tables += line.slope;
    }
    if last.tables.is_empty() {
        println!("  system         does not say what its tables need");
    }
    let foretold = line_of(&some[..some.len() - 1], resident).at(last.connections as f64);
    println!(
        "\nforetold for {}: {:.1} MiB, seen {:.1} MiB: {:+.1} %",
        last.connections,
        mib(foretold as u64),
        mib(last.resident),
        100.0 * (last.resident as f64 - foretold) / foretold
    );
    println!(
        "calculated for {MANY:.0}: {:.2} GiB of memory, {:.2} GiB of the system's tables",
        memory.at(MANY) / f64::from(1 << 30),
        tables * MANY / f64::from(1 << 30)
    );
}

fn print_idle(server: &Server, crowd: &mut Crowd, time: Duration) -> std::io::Result<()> {
    if time.is_zero() {
        return Ok(());
    }
    let before = cpu::spent(server.pid())?;
    crowd.read_for(time)?;
    let used = cpu::spent(server.pid())? - before;
    println!(
        "idle for {} s: {:.3} % of a core, {:.2} µs a second and connection",
        time.as_secs(),
        100.0 * used.as_secs_f64() / time.as_secs_f64(),
        used.as_secs_f64() * 1e6 / time.as_secs_f64() / crowd.len() as f64
    );
    Ok(())
}

fn print_return(server: &mut Server, streams: &[String], count: usize) -> std::io::Result<()> {
    let mut crowd = Crowd::new()?;
    server.stop()?;
    let start = Instant::now();
    server.resume(&[])?;
    let listens = start.elapsed();
    crowd.admit(server, &vec![streams; count])?;
    let back = start.elapsed() - listens;
    println!(
        "after a restart: listens after {:.2} s, {count} sessions are back {:.2} s later ({:.0} a second)",
        listens.as_secs_f64(),
        back.as_secs_f64(),
        count as f64 / back.as_secs_f64()
    );
    Ok(())
}
