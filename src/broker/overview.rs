//! How a company's part of the server is doing, on one page, and what somebody should see to.
//!
//! Counts are the company's own; latency, disk and the log's health are everybody's. Invariant:
//! nothing here tells of another company's traffic.

use crate::broker::Broker;
use crate::broker::watching::{Room, Sums};
use crate::database::{Space, now_ms};
use crate::domain::error::{Code, Refusal};
use crate::domain::token::Access;
use crate::metrics::Quantiles;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long ago a connection was refused that still counts as lately.
const LATELY: Duration = Duration::from_secs(300);
/// Less than one of so many parts of the disk is little.
const LITTLE_PART: u64 = 20;
/// And so are less bytes than this.
const LITTLE_BYTES: u64 = 256 << 20;
const MIB: u64 = 1 << 20;

/// What a company's users are shown.
pub struct Overview {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its connections.
    pub sums: Sums,
    /// Events that it published since the start.
    pub published: u64,
    /// Its streams.
    pub streams: usize,
    /// From publishing to the sockets, lately; none if nothing was delivered.
    pub latency: Option<Quantiles>,
    /// The disk.
    pub space: Space,
    /// What somebody should see to.
    pub problems: Vec<Problem>,
}

/// Something that somebody should see to.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its stable name.
    pub code: &'static str,
    /// What it is.
    pub text: String,
    /// What to do about it.
    pub advice: &'static str,
}

impl Broker {
    /// How the asker's company is doing. For its users.
    pub fn overview(&self, access: &Access) -> Result<Overview, Refusal> {
        access.require_user()?;
        let token = &access.token;
        let room = self.watching.room(token.company_id);
        let space = *self.space.lock();
        let time_ms = now_ms();
        Ok(Overview {
            time_ms,
            sums: room.sums(),
            published: room.published.load(Ordering::Relaxed),
            streams: self.catalogue.stream_count(token.company.as_str()),
            latency: self.metrics.delivery_seconds.recent(),
            space,
            problems: self.problems(&room, &space, time_ms),
        })
    }

    /// Takes note of how full the disk is, and of what time has passed.
    pub fn note_space(&self, space: Space) {
        *self.space.lock() = space;
        self.metrics.disk_free_bytes.set(space.free as i64);
        self.metrics.database_bytes.set(space.database as i64);
        self.metrics.write_ahead_bytes.set(space.log as i64);
    }

    fn problems(&self, room: &Room, space: &Space, now_ms: u64) -> Vec<Problem> {
        let failing = self
            .log
            .check()
            .err()
            .map(|refusal| told(refusal.code, refusal.text.into_owned()));
        let pending = u64::try_from(self.metrics.log_pending_bytes.get()).unwrap_or(0);
        let possible = [
            failing,
            behind(pending, self.limits.max_pending_bytes as u64),
            little_space(space),
            refused_lately(room, now_ms),
        ];
        possible.into_iter().flatten().collect()
    }
}

/// The problem that a refusal stands for.
fn told(code: Code, text: String) -> Problem {
    let entry = code.entry();
    Problem {
        code: entry.code,
        text,
        advice: entry.advice,
    }
}

fn behind(pending: u64, most: u64) -> Option<Problem> {
    (pending >= most / 2).then(|| Problem {
        code: "log.behind",
        text: format!(
            "events wait for the disk: {} of at most {} MiB",
            pending / MIB,
            most / MIB
        ),
        advice: Code::LimitPending.entry().advice,
    })
}

fn little_space(space: &Space) -> Option<Problem> {
    let is_little = space.free < LITTLE_BYTES || space.free < space.total / LITTLE_PART;
    is_little.then(|| Problem {
        code: "disk.low",
        text: format!(
            "the database's disk has {} MiB left of {}",
            space.free / MIB,
            space.total / MIB
        ),
        advice: "Make room on the disk, or let streams keep less; when it is full, nothing can be published.",
    })
}

fn refused_lately(room: &Room, now_ms: u64) -> Option<Problem> {
    let (count, last_ms) = room.refused();
    let ago = Duration::from_millis(now_ms.saturating_sub(last_ms));
    (count > 0 && ago < LATELY).then(|| Problem {
        code: "connections.refused",
        text: format!(
            "connections were refused because too many are open: {count} since the start, the last one {} s ago",
            ago.as_secs()
        ),
        advice: Code::LimitConnections.entry().advice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_disk_with_little_left_is_a_problem() {
        let space = |free, total| Space {
            free,
            total,
            ..Space::default()
        };
        let codes = [
            (space(50 * GIB, 100 * GIB), None),
            (space(4 * GIB, 100 * GIB), Some("disk.low")),
            (space(300 * MIB, GIB), None),
            (space(255 * MIB, GIB), Some("disk.low")),
        ];
        for (space, code) in codes {
            assert_eq!(little_space(&space).map(|problem| problem.code), code, "{space:?}");
        }
    }

    #[test]
    fn a_log_that_is_half_full_of_what_waits_is_behind() {
        assert_eq!(behind(31 * MIB, 64 * MIB), None);
        let problem = behind(32 * MIB, 64 * MIB).expect("a problem");
        assert_eq!(problem.text, "events wait for the disk: 32 of at most 64 MiB");
    }

    #[test]
    fn refused_connections_are_a_problem_for_a_while() {
        let room = Room::default();
        assert_eq!(refused_lately(&room, 1_000_000), None);
        room.refuse(1_000_000);
        room.refuse(1_001_000);
        let problem = refused_lately(&room, 1_003_000).expect("a problem");
        assert!(
            problem.text.ends_with(": 2 since the start, the last one 2 s ago"),
            "{}",
            problem.text
        );
        assert_eq!(refused_lately(&room, 1_400_000), None);
    }
}
