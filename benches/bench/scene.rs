//! A server, who listens to it, and what a delivery costs there.
//!
//! The cost is the time that the server was on a processor, in all its threads and the system, divided
//! by the deliveries, each counted where it arrived. Streams keep nothing, so the disk has no part in it.

use crate::bench::crowd::Crowd;
use crate::bench::load::{Load, Publishers};
use crate::bench::server::{Account, Server};
use crate::bench::{cpu, failure, joined};
use std::thread;
use std::time::Duration;

/// Sockets, at most, that streams are spread over.
const SOCKETS: usize = 1_000;
/// Who publishes.
const PUBLISHERS: u32 = 4;
/// Deliveries a second that are aimed at, and how many events a second at least and at most.
const DELIVERIES: usize = 20_000;
const EVENTS: std::ops::RangeInclusive<usize> = 4..=400;
/// Before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// Streams with so many subscribers each.
pub struct Scene {
    server: Server,
    crowd: Crowd,
    load: Load,
    /// Deliveries of each event.
    each: usize,
}

/// A measured point.
pub struct Point {
    /// Of the server's time for a delivery, in microseconds.
    pub micros: f64,
    /// Events a second.
    pub rate: f64,
    /// What was delivered.
    pub deliveries: u64,
}

impl Scene {
    /// Every stream has so many subscribers; whoever's `account` it is publishes.
    pub fn fill(server: Server, account: &Account, streams: usize, subscribers: usize) -> std::io::Result<Self> {
        let streams = server.make_streams("growth", streams, 0)?;
        let mut crowd = Crowd::new()?;
        let parts: Vec<&[String]> = streams.chunks(streams.len().div_ceil(SOCKETS)).collect();
        crowd.admit(&server, &parts.repeat(subscribers))?;
        let load = Load::by(account, streams, 1);
        Ok(Self {
            server,
            crowd,
            load,
            each: subscribers,
        })
    }

    /// Publishes single events for so long, each when it is due.
    pub fn measure(mut self, seconds: u64) -> std::io::Result<Point> {
        let mut publishers = Publishers::connect(&self.server, PUBLISHERS)?;
        let rate = (DELIVERIES / self.each).clamp(*EVENTS.start(), *EVENTS.end()) as f64;
        let interval = publishers.interval(&self.load, rate);
        self.run(&mut publishers, WARM_UP, interval)?;
        let (before, heard) = (cpu::spent(self.server.pid())?, self.crowd.heard());
        let rate = self.run(&mut publishers, Duration::from_secs(seconds), interval)?;
        let spent = cpu::spent(self.server.pid())? - before;
        let deliveries = self.crowd.heard() - heard;
        match deliveries {
            0 => Err(failure("nothing was delivered")),
            _ => Ok(Point {
                micros: spent.as_secs_f64() * 1e6 / deliveries as f64,
                rate,
                deliveries,
            }),
        }
    }

    /// Publishes for so long and has everything read; returns events a second.
    fn run(&mut self, publishers: &mut Publishers, time: Duration, interval: Duration) -> std::io::Result<f64> {
        let Self { crowd, load, each, .. } = self;
        let before = crowd.heard();
        let outcome = thread::scope(|scope| {
            let publishing = scope.spawn(|| publishers.publish(load, time, Some(interval)));
            while !publishing.is_finished() {
                crowd.read_for(Duration::from_millis(10))?;
            }
            joined(publishing)
        })?;
        crowd.read_until(before + outcome.events * *each as u64)?;
        Ok(outcome.rate())
    }
}
