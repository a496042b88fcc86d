//! What the system says of a program: processor time and memory.
//!
//! Reads `/proc`; where there is none, nothing is said. Knows nothing of the run.

use crate::cli::bench::schedule::{Clock, Micros};
use std::path::Path;

/// What a stretch of a run cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How long it was.
    pub time: Micros,
    /// Processor seconds of this program.
    pub own: Option<f64>,
    /// Processor seconds of the server, and its resident bytes at the end.
    pub server: Option<(f64, Option<u64>)>,
}

/// A stretch that is being measured.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    start: Micros,
    clock: Clock,
    own: Option<Used>,
    /// The server's number among the programs, and what it had used.
    server: Option<(u32, Option<Used>)>,
}

impl Meter {
    /// It begins.
    pub fn start(clock: Clock, server: Option<u32>) -> Self {
        Self {
            start: clock.now(),
            clock,
            own: own(),
            server: server.map(|pid| (pid, program(pid))),
        }
    }

    /// It ends.
    pub fn stop(self) -> Cost {
        Cost {
            time: self.clock.now() - self.start,
            own: between(self.own, own()),
            server: self
                .server
                .and_then(|(pid, before)| Some((between(before, program(pid))?, resident(pid)))),
        }
    }
}

/// What a program or a thread has used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Used {
    /// Processor seconds, its own and the system's on its behalf.
    pub cpu_seconds: f64,
}

/// This program.
fn own() -> Option<Used> {
    used(Path::new("/proc/self/stat"))
}

/// The calling thread.
pub fn own_thread() -> Option<Used> {
    used(Path::new("/proc/thread-self/stat"))
}

/// A program by its number.
fn program(pid: u32) -> Option<Used> {
    used(Path::new(&format!("/proc/{pid}/stat")))
}

/// Resident bytes of a program.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1_024)
}

/// Seconds between two readings; nothing if either is missing.
pub fn between(before: Option<Used>, after: Option<Used>) -> Option<f64> {
    Some(after?.cpu_seconds - before?.cpu_seconds)
}

fn used(file: &Path) -> Option<Used> {
    let cpu_seconds = ticks(&std::fs::read_to_string(file).ok()?)? / ticks_per_second();
    Some(Used { cpu_seconds })
}

#[cfg(target_os = "linux")]
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(not(target_os = "linux"))]
fn ticks_per_second() -> f64 {
    100.0
}

/// The fields after the program's name, which may hold spaces and brackets, are: state, ten numbers, then user and
/// system time.
fn ticks(stat: &str) -> Option<f64> {
    let fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let mut times = fields.skip(11).take(2).map(str::parse::<f64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 11 12";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(ticks("7 (cut) S 1 2"), None);
        assert_eq!(between(Some(Used { cpu_seconds: 1.0 }), None), None);
    }
}
