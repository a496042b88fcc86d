//! What a herd that reads everything from the start costs those who are live, and the server's memory.
//!
//! `cargo bench --bench replay` (`-- --help` lists the settings), on Linux, best with two cores that
//! nobody else uses: it pins the server to core 0 and itself to core 1 with `taskset`, if that is
//! there.
//!
//! One stream keeps 100,000 events with `elems` of 128 bytes, beside others with a few (`--streams
//! 1,100,100000` are all streams together, each in turn); the server is restarted, so that they come from
//! the disk. On another stream an event is due every 10 ms, sent whatever became of the ones
//! before, and read by 10 subscribers. After a second that does not count and 10 that do, 100 readers
//! subscribe to the first stream at once with `since` 0 and read as fast as they can.
//!
//! Printed: live latency, from when an event was due until a subscriber had it, without and during the
//! replay; the server's resident memory before, and the highest of looks 20 ms apart during the replay;
//! how fast the replay was; and what was lost, duplicated or swapped, counted exactly. That nothing was
//! is asserted; no time is.

mod bench;

use bench::cores::{Cores, stand_back};
use bench::figures::{Durations, mib, rate};
use bench::http::Http;
use bench::load::{Load, Publishers};
use bench::memory::{Watch, resident};
use bench::server::Server;
use bench::socket::{Heard, PONG, Socket, framed};
use bench::table::Table;
use bench::tally::{Tally, Wrongs};
use bench::{at_least_1, failure, joined, letters, wait_until};
use clap::Parser;
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Events in one request that fills the stream.
const ARRAY: u64 = 500;
/// Events of each of the other streams.
const OTHERS: u64 = 4;
/// While it is filled, events are brought into chunks early, so that few are left to be read into memory.
const FILLING: &[(&str, &str)] = &[("STREAMGATE_MAX_LOG_BYTES", "2097152")];
/// While it is measured. Live events are sent without waiting for answers, so a slow disk is no reason to refuse them.
const MEASURED: &[(&str, &str)] = &[("STREAMGATE_MAX_OPEN_REQUESTS", "100000")];
/// How far apart live events are due.
const INTERVAL: Duration = Duration::from_millis(10);
/// Live events before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// Longest wait for a frame that has to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon to look again whether it is over.
const LOOK: Duration = Duration::from_millis(200);
/// What is written with `--csv`.
const COLUMNS: [&str; 5] = ["streams", "events_s", "growth_mib", "live_p99_ms", "live_p99_during_ms"];
/// The newest live event while more are to come.
const UNKNOWN: u64 = u64::MAX;

/// Measures replays beside live events.
#[derive(Parser)]
struct Settings {
    /// Events to be replayed.
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// Who reads them.
    #[arg(long, default_value_t = 100)]
    readers: usize,
    /// Who reads live.
    #[arg(long, default_value_t = 10)]
    subscribers: usize,
    /// Seconds of live events alone.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// How many streams are stored, the one that is read among them; a server and all figures for each.
    #[arg(long, default_value = "1", value_delimiter = ',', value_parser = at_least_1)]
    streams: Vec<usize>,
    /// A file to write the figures to.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Live events: when each is due, and which is the last.
struct Live {
    start: Instant,
    is_over: AtomicBool,
    last: AtomicU64,
}

/// A live event as one subscriber had it.
struct Sample {
    due: Instant,
    latency: Duration,
}

/// What the replay came to.
struct Replay {
    start: Instant,
    end: Instant,
    tallies: Vec<Tally>,
    resident: u64,
}

fn main() -> std::io::Result<()> {
    let cores = Cores::divide();
    let settings = Settings::parse();
    println!(
        "replay: {} events of {} bytes, {} readers, {} live subscribers, {}",
        settings.events,
        letters::ELEMS_BYTES,
        settings.readers,
        settings.subscribers,
        cores.describe()
    );
    let mut table = Table::begin(settings.csv.as_deref(), &COLUMNS)?;
    for streams in &settings.streams {
        let mut server = Server::start(cores, FILLING)?;
        fill_others(&server, *streams - 1)?;
        let stored = fill(&server, settings.events)?;
        server.restart(MEASURED)?;
        println!("\n{streams} stored stream(s)");
        let figures = measure(&settings, &server, &stored)?;
        table.row(&[&[*streams as f64], &figures[..]].concat())?;
    }
    Ok(())
}

/// All figures; returned are those of the columns behind the streams.
fn measure(settings: &Settings, server: &Server, stored: &str) -> std::io::Result<[f64; 4]> {
    let stream = server.make_stream("replay/live", 1_000)?;
    let sockets: Vec<Socket> = (0..settings.subscribers)
        .map(|_| subscribed(server, &stream))
        .collect::<Result<_, _>>()?;
    let publisher = Socket::connect(server, None)?;
    let (live, watch) = (Live::new(), Watch::default());
    let (replay, heard) = thread::scope(|scope| {
        let _ends = Ends(&live, &watch);
        let watching = scope.spawn(|| watch.run(server.pid()));
        let acks = publisher.writer()?;
        let publishing = scope.spawn(|| live.publish(acks, &stream));
        let acknowledging = scope.spawn(|| live.hear_acks(publisher));
        let listening: Vec<_> = sockets
            .into_iter()
            .map(|socket| scope.spawn(|| live.listen(socket)))
            .collect();
        wait_until(live.start + WARM_UP + Duration::from_secs(settings.seconds.into()));
        let replay = replay(settings, server, stored, &watch)?;
        live.is_over.store(true, Ordering::SeqCst);
        joined(publishing)?;
        joined(acknowledging)?;
        let heard: Vec<_> = listening.into_iter().map(joined).collect::<std::io::Result<_>>()?;
        watch.stop();
        joined(watching)?;
        Ok::<_, std::io::Error>((replay, heard))
    })?;
    let [alone, beside] = print_live(&live, &replay, &heard);
    let (growth, speed) = print_replay(settings, server, &replay, &watch)?;
    check(settings, &live, &replay, &heard);
    Ok([speed, growth, alone, beside])
}

/// Ends the threads when what waits for them fails.
struct Ends<'a>(&'a Live, &'a Watch);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
        self.1.stop();
    }
}

/// Makes streams that nobody reads, with a few events each.
fn fill_others(server: &Server, count: usize) -> std::io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let streams = server.make_streams("replay/other", count, OTHERS)?;
    let load = Load::new(server, streams, OTHERS);
    let mut publishers = Publishers::connect(server, 16)?;
    while load.requests() < count {
        publishers.publish(&load, LOOK, None)?;
    }
    Ok(())
}

/// Makes the stream that is replayed, full; returns its id.
fn fill(server: &Server, events: u64) -> std::io::Result<String> {
    let stream = server.make_stream("replay/stored", events)?;
    let mut line = Http::connect(server.address)?;
    for first in (1..=events).step_by(ARRAY as usize) {
        let array = letters::array(first, ARRAY.min(events + 1 - first));
        line.demand(&server.publication(&stream, &array))?;
    }
    Ok(stream)
}

fn subscribed(server: &Server, stream: &str) -> std::io::Result<Socket> {
    let mut socket = Socket::connect(server, None)?;
    socket.subscribe(stream, None)?;
    socket.expect_reply()?;
    Ok(socket)
}

// --- live ---------------------------------------------------------------------------------------

impl Live {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            is_over: AtomicBool::new(false),
            last: AtomicU64::new(UNKNOWN),
        }
    }

    /// When the event of this number is due, from 1.
    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_nanos(INTERVAL.as_nanos() as u64 * number)
    }

    /// Sends each when it is due, waiting for no answer.
    fn publish(&self, mut out: impl Write, stream: &str) -> std::io::Result<()> {
        let mut number = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            number += 1;
            let event: serde_json::Value = serde_json::from_str(&letters::event(number))?;
            let create =
                json!({"msgId": number, "object": "event", "type": "create", "streamId": stream, "value": event});
            let frame = framed(&create.to_string());
            wait_until(self.due(number));
            out.write_all(&frame)?;
        }
        self.last.store(number, Ordering::SeqCst);
        Ok(())
    }

    /// Whether this many is all there will be.
    fn is_all(&self, count: u64) -> bool {
        count >= self.last.load(Ordering::SeqCst)
    }

    /// A refusal is an error.
    fn hear_acks(&self, mut socket: Socket) -> std::io::Result<()> {
        let mut acks = 0;
        let mut patience = Patience::new();
        while !self.is_all(acks) {
            match socket.hear(LOOK)? {
                Some(Heard::Reply) => {
                    acks += 1;
                    patience = Patience::new();
                }
                _ => patience.check()?,
            }
        }
        Ok(())
    }

    /// Reads until all came.
    fn listen(&self, mut socket: Socket) -> std::io::Result<(Tally, Vec<Sample>)> {
        let (mut tally, mut samples) = (Tally::default(), Vec::new());
        let mut patience = Patience::new();
        while !self.is_all(tally.newest()) {
            match socket.hear(LOOK)? {
                Some(Heard::Event { offset, text }) => {
                    let now = Instant::now();
                    let number = letters::number(text).ok_or_else(|| failure("an event that nobody sent"))?;
                    let due = self.due(number);
                    let latency = now.saturating_duration_since(due);
                    samples.push(Sample { due, latency });
                    tally.event(offset);
                    patience = Patience::new();
                }
                Some(Heard::Gap { from, to }) => tally.gap(from, to),
                _ => patience.check()?,
            }
        }
        Ok((tally, samples))
    }
}

/// How long nothing came.
struct Patience(Instant);

impl Patience {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn check(&self) -> std::io::Result<()> {
        match self.0.elapsed() < PATIENCE {
            true => Ok(()),
            false => Err(failure("what has to come does not come")),
        }
    }
}

// --- the replay ---------------------------------------------------------------------------------

/// Has all readers read everything; all of them are connected before the first subscribes.
fn replay(settings: &Settings, server: &Server, stream: &str, watch: &Watch) -> std::io::Result<Replay> {
    let mut sockets: Vec<Socket> = (0..settings.readers)
        .map(|_| Socket::connect(server, None))
        .collect::<Result<_, _>>()?;
    let resident = resident(server.pid())?;
    watch.take_highest();
    let start = Instant::now();
    for socket in &mut sockets {
        socket.subscribe(stream, Some(0))?;
    }
    let tallies = thread::scope(|scope| {
        joined(scope.spawn(|| {
            stand_back();
            read_all(sockets, settings.events)
        }))
    })?;
    let end = Instant::now();
    Ok(Replay {
        start,
        end,
        tallies,
        resident,
    })
}

/// One thread for all readers: a hundred would push the live ones from the core.
fn read_all(sockets: Vec<Socket>, events: u64) -> std::io::Result<Vec<Tally>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let reading: Vec<_> = sockets
            .into_iter()
            .map(|socket| tokio::spawn(read_one(socket, events)))
            .collect();
        let mut tallies = Vec::new();
        for one in reading {
            tallies.push(one.await??);
        }
        Ok(tallies)
    })
}

/// Reads up to the newest event.
async fn read_one(socket: Socket, events: u64) -> std::io::Result<Tally> {
    let (stream, mut inbox) = socket.into_parts();
    stream.set_nonblocking(true)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let mut tally = Tally::default();
    while tally.newest() < events {
        tokio::time::timeout(PATIENCE, stream.readable()).await??;
        match stream.try_read(inbox.room()) {
            Ok(count) => inbox.filled(count)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        while let Some(heard) = inbox.next()? {
            match heard {
                Heard::Event { offset, .. } => tally.event(offset),
                Heard::Gap { from, to } => tally.gap(from, to),
                Heard::Ping => stream.try_write(PONG).map(|_| ())?,
                Heard::Reply => {}
            }
        }
    }
    Ok(tally)
}

// --- what is printed ----------------------------------------------------------------------------

/// Returns the 99th percentiles, without and during the replay, in milliseconds.
fn print_live(live: &Live, replay: &Replay, heard: &[(Tally, Vec<Sample>)]) -> [f64; 2] {
    let between = |from: Instant, to: Instant| {
        let samples = heard.iter().flat_map(|(_, samples)| samples);
        let counted = samples.filter(|sample| (from..to).contains(&sample.due));
        Durations::new(counted.map(|sample| sample.latency).collect())
    };
    let alone = between(live.start + WARM_UP, replay.start);
    let beside = between(replay.start, replay.end);
    for (name, latencies) in [("without", &alone), ("during", &beside)] {
        println!(
            "  live, {name:<8} p50 {:>8.2} ms   p99 {:>8.2} ms   ({} deliveries)",
            latencies.ms(500),
            latencies.ms(990),
            latencies.len()
        );
    }
    println!(
        "  live, ratio    p50 {:>8.2}      p99 {:>8.2}",
        beside.ms(500) / alone.ms(500),
        beside.ms(990) / alone.ms(990)
    );
    [alone.ms(990), beside.ms(990)]
}

/// Returns the growth of memory, in MiB, and events a second.
fn print_replay(settings: &Settings, server: &Server, replay: &Replay, watch: &Watch) -> std::io::Result<(f64, f64)> {
    let (before, highest) = (replay.resident, watch.take_highest());
    println!(
        "  memory         before {:.1} MiB   highest {:.1} MiB   growth {:.1} MiB",
        mib(before),
        mib(highest),
        mib(highest.saturating_sub(before))
    );
    let (time, events) = (replay.end - replay.start, settings.events * settings.readers as u64);
    println!(
        "  replay         {:.2} s   {:.0} events/s",
        time.as_secs_f64(),
        rate(events, time)
    );
    let metrics = server.metrics()?;
    println!(
        "  disk           {} events in {} chunks read",
        metrics.count("log_events_read"),
        metrics.count("log_chunks_read")
    );
    Ok((mib(highest.saturating_sub(before)), rate(events, time)))
}

/// Counts are no matter of speed: they have to be right.
fn check(settings: &Settings, live: &Live, replay: &Replay, heard: &[(Tally, Vec<Sample>)]) {
    let (mut replayed, mut delivered) = (Wrongs::default(), Wrongs::default());
    for tally in &replay.tallies {
        replayed.add(tally, settings.events);
    }
    for (tally, _) in heard {
        delivered.add(tally, live.last.load(Ordering::SeqCst));
    }
    let told: u64 = replay.tallies.iter().map(|tally| tally.told).sum();
    println!("  replayed       {replayed}, {told} told as gaps");
    println!("  live           {delivered}");
    assert_eq!(
        (replayed, told),
        (Wrongs::default(), 0),
        "all that is kept is replayed, once and in order"
    );
    assert_eq!(delivered, Wrongs::default(), "live events come once and in order");
}
