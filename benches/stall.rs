//! What a reader that stops reading costs the server, and what it gets once it reads on.
//!
//! `cargo bench --bench stall` (`-- --help` lists the settings), on Linux, best with two cores that
//! nobody else uses: it pins the server to core 0 and itself to core 1 with `taskset`, if that is
//! there.
//!
//! A stream of capacity 100,000 is filled twice over, so that the server's memory for events is at its
//! level. Then 5,000 events a second are due, in arrays. A reader follows for 5 seconds, stops reading
//! for 60 (it still gives signs of life, or it would be taken for dead), and reads on while events go
//! on coming.
//!
//! Printed: the server's resident memory when the reader stopped, and the highest of looks 20 ms apart
//! until it read on; what the system held for it meanwhile, which is not part of that; how long it took
//! until it had the newest event; what it got and was told to be missing, counted exactly. That nothing
//! was lost without being told, duplicated or swapped is asserted; no time is.

mod bench;

use bench::cores::Cores;
use bench::figures::mib;
use bench::http::Http;
use bench::memory::{Watch, resident, send_queue};
use bench::server::Server;
use bench::socket::{Heard, Socket};
use bench::tally::{Tally, Wrongs};
use bench::{failure, joined, letters, wait_until};
use clap::Parser;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Events in one request that fills the stream.
const ARRAY: u64 = 500;
/// Requests a second afterwards.
const REQUESTS: u64 = 100;
/// How long the reader follows before it stops.
const FOLLOWS: Duration = Duration::from_secs(5);
/// How often it gives a sign of life.
const BEAT: Duration = Duration::from_secs(5);
/// Longest wait for a frame that has to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon to look again at how far the stream is.
const LOOK: Duration = Duration::from_millis(10);
/// What the system may take for a reader that does not read: little, so that the server soon feels it.
const RECEIVE_BYTES: usize = 16_384;

/// Measures a reader that stops reading.
#[derive(Parser)]
struct Settings {
    /// How long it stops.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Events a second; a hundred of them at least.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(REQUESTS..))]
    rate: u64,
    /// Events that the stream keeps.
    #[arg(long, default_value_t = 100_000)]
    capacity: u64,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The busy stream. As nobody else publishes to it, its head is the count of its events.
struct Busy<'a> {
    server: &'a Server,
    stream: String,
    head: AtomicU64,
    is_over: AtomicBool,
}

/// What was seen while nothing was read.
struct Stall {
    before: u64,
    highest: u64,
    after: u64,
    queue: Option<u64>,
}

fn main() -> std::io::Result<()> {
    let cores = Cores::divide();
    let settings = Settings::parse();
    let server = Server::start(cores, &[])?;
    println!(
        "stall: {} s on a stream of capacity {}, {} events/s of {} bytes, {}",
        settings.seconds,
        settings.capacity,
        settings.rate,
        letters::ELEMS_BYTES,
        cores.describe()
    );
    let busy = Busy::fill(&server, 2 * settings.capacity, settings.capacity)?;
    let start = busy.head.load(Ordering::SeqCst);
    let mut socket = Socket::connect(&server, Some(RECEIVE_BYTES))?;
    socket.subscribe(&busy.stream, Some(start))?;
    socket.expect_reply()?;
    let mut tally = Tally::after(start);
    let watch = Watch::default();
    thread::scope(|scope| {
        let _ends = Ends(&busy, &watch);
        let watching = scope.spawn(|| watch.run(server.pid()));
        let publishing = scope.spawn(|| busy.publish(settings.rate));
        follow(&mut socket, &mut tally, Instant::now() + FOLLOWS)?;
        let (events, told) = (tally.events, tally.told);
        let stall = stall(&mut socket, &server, &watch, Duration::from_secs(settings.seconds))?;
        let behind = busy.head.load(Ordering::SeqCst).saturating_sub(tally.newest());
        let began = Instant::now();
        catch_up(&mut socket, &mut tally, &busy)?;
        let level = began.elapsed();
        stall.print();
        println!(
            "  level          after {:.2} s, from {behind} events behind",
            level.as_secs_f64()
        );
        busy.is_over.store(true, Ordering::SeqCst);
        joined(publishing)?;
        catch_up(&mut socket, &mut tally, &busy)?;
        println!(
            "  read on        {} events came, {} were told as gaps",
            tally.events - events,
            tally.told - told
        );
        watch.stop();
        joined(watching)
    })?;
    check(&busy, &tally);
    Ok(())
}

/// Ends the threads when what waits for them fails.
struct Ends<'a>(&'a Busy<'a>, &'a Watch);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
        self.1.stop();
    }
}

impl<'a> Busy<'a> {
    /// A stream that has had `events`.
    fn fill(server: &'a Server, events: u64, capacity: u64) -> std::io::Result<Self> {
        let busy = Self {
            server,
            stream: server.make_stream("stall", capacity)?,
            head: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        };
        let mut line = Http::connect(server.address)?;
        while busy.head.load(Ordering::SeqCst) < events {
            busy.send(&mut line, ARRAY)?;
        }
        Ok(busy)
    }

    fn send(&self, line: &mut Http, events: u64) -> std::io::Result<()> {
        let array = letters::array(self.head.load(Ordering::SeqCst) + 1, events);
        line.demand(&self.server.publication(&self.stream, &array))?;
        self.head.fetch_add(events, Ordering::SeqCst);
        Ok(())
    }

    /// Sends each array when it is due, or at once if the ones before took so long.
    fn publish(&self, rate: u64) -> std::io::Result<()> {
        let mut line = Http::connect(self.server.address)?;
        let mut due = Instant::now();
        while !self.is_over.load(Ordering::SeqCst) {
            wait_until(due);
            self.send(&mut line, rate / REQUESTS)?;
            due += Duration::from_secs(1) / REQUESTS as u32;
        }
        Ok(())
    }
}

/// Takes the next frame; whether there was one.
fn take(socket: &mut Socket, tally: &mut Tally) -> std::io::Result<bool> {
    match socket.hear(LOOK)? {
        Some(Heard::Event { offset, .. }) => tally.event(offset),
        Some(Heard::Gap { from, to }) => tally.gap(from, to),
        Some(_) => {}
        None => return Ok(false),
    }
    Ok(true)
}

/// Reads until then.
fn follow(socket: &mut Socket, tally: &mut Tally, end: Instant) -> std::io::Result<()> {
    while Instant::now() < end {
        take(socket, tally)?;
    }
    Ok(())
}

/// Reads nothing for so long.
fn stall(socket: &mut Socket, server: &Server, watch: &Watch, time: Duration) -> std::io::Result<Stall> {
    let end = Instant::now() + time;
    let before = resident(server.pid())?;
    watch.take_highest();
    while Instant::now() < end {
        socket.beat()?;
        wait_until(end.min(Instant::now() + BEAT));
    }
    Ok(Stall {
        before,
        highest: watch.take_highest(),
        after: resident(server.pid())?,
        queue: send_queue(server.address, socket.address()?),
    })
}

/// Reads until it has the newest event that was acknowledged.
fn catch_up(socket: &mut Socket, tally: &mut Tally, busy: &Busy<'_>) -> std::io::Result<()> {
    let mut heard = Instant::now();
    while tally.newest() < busy.head.load(Ordering::SeqCst) {
        if take(socket, tally)? {
            heard = Instant::now();
        } else if heard.elapsed() > PATIENCE {
            return Err(failure("what has to come does not come"));
        }
    }
    Ok(())
}

impl Stall {
    fn print(&self) {
        let growth = |to: u64| (mib(to) - mib(self.before)).max(0.0);
        println!(
            "  memory         before {:.1} MiB   highest {:.1} MiB (growth {:.1})   \
             at the end {:.1} MiB (growth {:.1})",
            mib(self.before),
            mib(self.highest),
            growth(self.highest),
            mib(self.after),
            growth(self.after)
        );
        match self.queue {
            Some(bytes) => println!("  system         held {:.2} MiB for the reader", mib(bytes)),
            None => println!("  system         does not say what it held for the reader"),
        }
    }
}

/// Counts are no matter of speed: they have to be right.
fn check(busy: &Busy<'_>, tally: &Tally) {
    let mut wrongs = Wrongs::default();
    wrongs.add(tally, busy.head.load(Ordering::SeqCst));
    println!(
        "  in all         {} events, {} told as gaps, {wrongs}",
        tally.events, tally.told
    );
    assert_eq!(
        wrongs,
        Wrongs::default(),
        "what does not come is told, the rest comes once and in order"
    );
}
