//! What compression saves in bytes and costs in the processor's time.
//!
//! `cargo bench --bench deflate` (`-- --help` lists the settings), on Linux, best with two cores that
//! nobody else uses: it pins the server to core 0 and itself to core 1 with `taskset`, if that is
//! there.
//!
//! A stream that keeps nothing has some followers; events are published one at a time, the next one when
//! all followers have the last one, so that every delivery is a write of its own. Its `elems` are
//! readings of sensors as JSON. First all followers are plain, then all have agreed on compression.
//!
//! Printed, for each size of `elems` and number of followers: bytes a delivery takes on the wire, and the
//! server's time an event and a delivery, without and with compression. The server's time is its own and
//! the system's for it, and includes taking the event. That every follower got every event once and in
//! order is asserted; no time is.

mod bench;

use bench::cores::Cores;
use bench::http::Http;
use bench::server::Server;
use bench::socket::{PONG, Socket};
use bench::{cpu, failure};
use clap::Parser;
use flate2::read::DeflateDecoder;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What is offered.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
/// How every compressed message begins: final, text, compressed.
const PACKED: u8 = 0xc1;
/// What is not sent of a compressed message, and an end.
const TAIL: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];
/// Events before anything counts.
const WARM_UP: u64 = 50;
/// Longest wait for a frame that has to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Room for what is read at once.
const BUFFER_BYTES: usize = 65_536;

/// Measures compression.
#[derive(Parser)]
struct Settings {
    /// Bytes of an event's `elems`, about.
    #[arg(long, value_delimiter = ',', default_value = "128,2048")]
    sizes: Vec<usize>,
    /// How many follow.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000")]
    followers: Vec<usize>,
    /// Seconds for each part.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Events published at once.
    #[arg(long, default_value_t = 1)]
    batch: u64,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One follower: a socket that is never waited for, and what of a frame came.
struct Follower {
    stream: TcpStream,
    waiting: Vec<u8>,
    events: u64,
    bytes: u64,
}

/// What one part came to.
struct Figures {
    events: u64,
    deliveries: u64,
    bytes: u64,
    time: Duration,
}

fn main() -> std::io::Result<()> {
    let cores = Cores::divide();
    let settings = Settings::parse();
    // A thousand followers are more open files than many shells allow.
    rlimit::increase_nofile_limit(u64::MAX)?;
    println!(
        "deflate: {} s a part, {} at once, {}",
        settings.seconds,
        settings.batch,
        cores.describe()
    );
    println!(
        "{:>8} {:>9} | {:>8} {:>8} {:>6} | {:>10} {:>10} {:>6} | {:>10} {:>10} {:>6}",
        "elems",
        "followers",
        "B plain",
        "B packed",
        "saved",
        "µs/ev pl.",
        "µs/ev pk.",
        "more",
        "µs/del pl.",
        "µs/del pk.",
        "more"
    );
    let server = Server::start(cores, &[("STREAMGATE_COMPRESSION", "on")])?;
    for size in &settings.sizes {
        for count in &settings.followers {
            let plain = part(&server, &settings, *size, *count, "")?;
            let packed = part(&server, &settings, *size, *count, OFFER)?;
            print(*size, *count, &plain, &packed);
        }
    }
    let metrics = server.metrics()?;
    let (before, after) = (
        metrics.count("compressed_before_bytes"),
        metrics.count("compressed_after_bytes"),
    );
    println!(
        "  in all         {} events compressed, {before} bytes to {after}",
        metrics.count("events_compressed")
    );
    Ok(())
}

fn print(size: usize, count: usize, plain: &Figures, packed: &Figures) {
    let bytes = |part: &Figures| part.bytes as f64 / part.deliveries as f64;
    let event = |part: &Figures| part.time.as_secs_f64() * 1e6 / part.events as f64;
    let delivery = |part: &Figures| part.time.as_secs_f64() * 1e6 / part.deliveries as f64;
    let percent = |of: fn(f64, f64) -> f64, figure: &dyn Fn(&Figures) -> f64| {
        format!("{:.0} %", 100.0 * of(figure(plain), figure(packed)))
    };
    println!(
        "{size:>8} {count:>9} | {:>8.0} {:>8.0} {:>6} | {:>10.1} {:>10.1} {:>6} | {:>10.2} {:>10.2} {:>6}",
        bytes(plain),
        bytes(packed),
        percent(|plain, packed| 1.0 - packed / plain, &bytes),
        event(plain),
        event(packed),
        percent(|plain, packed| packed / plain - 1.0, &event),
        delivery(plain),
        delivery(packed),
        percent(|plain, packed| packed / plain - 1.0, &delivery),
    );
}

/// Publishes to some followers for the time that is set.
fn part(server: &Server, settings: &Settings, size: usize, count: usize, headers: &str) -> std::io::Result<Figures> {
    let kind = if headers.is_empty() { "plain" } else { "packed" };
    let stream = server.make_stream(&format!("deflate/{kind}/{size}/{count}"), 0)?;
    let mut followers = Vec::with_capacity(count);
    for _ in 0..count {
        followers.push(Follower::connect(server, &stream, headers)?);
    }
    let mut http = Http::connect(server.address)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut events, mut counted) = (0, None);
    loop {
        let request = server.publication(&stream, &letter(events, settings.batch, size));
        http.demand(&request)?;
        events += settings.batch;
        until_read(&mut followers, events, &mut buffer, headers)?;
        match &counted {
            None if events >= WARM_UP => {
                let bytes: u64 = followers.iter().map(|follower| follower.bytes).sum();
                counted = Some((events, bytes, cpu::spent(server.pid())?, Instant::now()));
            }
            Some((before, bytes, spent, start)) if start.elapsed().as_secs() >= settings.seconds => {
                let time = cpu::spent(server.pid())? - *spent;
                let all: u64 = followers.iter().map(|follower| follower.bytes).sum();
                return Ok(Figures {
                    events: events - before,
                    deliveries: (events - before) * count as u64,
                    bytes: all - bytes,
                    time,
                });
            }
            _ => {}
        }
    }
}

/// Goes round until everybody has so many events.
fn until_read(followers: &mut [Follower], events: u64, buffer: &mut [u8], headers: &str) -> std::io::Result<()> {
    let start = Instant::now();
    while let Some(waits) = followers.iter().position(|follower| follower.events < events) {
        for (n, follower) in followers.iter_mut().enumerate().skip(waits) {
            // The first one looks at every event, the others count frames.
            let checks = (n == 0).then_some(!headers.is_empty());
            follower.read(buffer, checks)?;
        }
        if start.elapsed() > PATIENCE {
            return Err(failure("what has to come does not come"));
        }
    }
    assert!(
        followers.iter().all(|follower| follower.events == events),
        "none comes twice"
    );
    Ok(())
}

impl Follower {
    fn connect(server: &Server, stream: &str, headers: &str) -> std::io::Result<Self> {
        let mut socket = Socket::connect_with(server, None, headers)?;
        socket.subscribe(stream, None)?;
        socket.expect_reply()?;
        let (stream, _) = socket.into_parts();
        stream.set_nonblocking(true)?;
        let waiting = Vec::new();
        Ok(Self {
            stream,
            waiting,
            events: 0,
            bytes: 0,
        })
    }

    /// Takes what is there. `checks` has every event unpacked and its offset compared; it says whether
    /// they have to be compressed.
    fn read(&mut self, buffer: &mut [u8], checks: Option<bool>) -> std::io::Result<()> {
        let count = match self.stream.read(buffer) {
            Ok(0) => return Err(failure("the server ended the socket")),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.bytes += count as u64;
        self.waiting.extend_from_slice(&buffer[..count]);
        let mut start = 0;
        while let Some((payload, end)) = bounds(&self.waiting[start..]) {
            let frame = &self.waiting[start..start + end];
            start += end;
            if frame[0] & 0x0f == 9 {
                self.bytes -= end as u64;
                self.stream.write_all(PONG)?;
                continue;
            }
            self.events += 1;
            if let Some(is_packed) = checks {
                assert_eq!(offset(frame[0], &frame[payload..], is_packed)?, self.events, "in order");
            }
        }
        self.waiting.drain(..start);
        Ok(())
    }
}

/// Where a frame's payload begins and ends, if it is there as a whole.
fn bounds(bytes: &[u8]) -> Option<(usize, usize)> {
    let (head, length) = match bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(*short)),
    };
    (bytes.len() >= head + length).then_some((head, head + length))
}

/// The offset of an event, unpacked if it is compressed.
fn offset(first: u8, payload: &[u8], is_packed: bool) -> std::io::Result<u64> {
    assert_eq!(first == PACKED, is_packed, "as it was agreed");
    let event: Value = match is_packed {
        true => serde_json::from_reader(DeflateDecoder::new(&[payload, &TAIL].concat()[..]))?,
        false => serde_json::from_slice(payload)?,
    };
    event["offset"]
        .as_u64()
        .ok_or_else(|| failure(format!("no offset: {event}")))
}

/// Events as they are published: readings of sensors, never twice the same.
fn letter(first: u64, count: u64, size: usize) -> String {
    let events: Vec<Value> = (first..first + count)
        .map(|n| json!({"elems": elems(n, size)}))
        .collect();
    match &events[..] {
        [event] => event.to_string(),
        events => json!(events).to_string(),
    }
}

fn elems(number: u64, size: usize) -> Value {
    let mut readings = Vec::new();
    let mut elems = json!({"n": number, "site": "hall-7", "readings": []});
    let mut bytes = elems.to_string().len();
    let mut state = number;
    while bytes < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (sensor, value) = (readings.len() + 1, (state >> 33) % 100_000);
        let reading = json!({"sensor": format!("t{sensor:02}"), "value": value as f64 / 1_000.0, "unit": "C", "ok": value % 50 != 0});
        bytes += reading.to_string().len() + 1;
        readings.push(reading);
    }
    elems["readings"] = readings.into();
    elems
}
