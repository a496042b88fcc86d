//! When requests are due, and from when their time counts.
//!
//! Pure: it is told what time it is. Senders share one schedule, each has every so many-th turn of it. In an open loop
//! a turn's time counts from when it was due, however late it is sent: whoever waits for a slow answer sends the turns
//! that became due meanwhile late, and all of that is in the figures (no coordinated omission). Invariant: no turn that
//! became due is left out.

use std::time::{Duration, Instant};

/// Microseconds since the run began.
pub type Micros = u64;

/// What time it is in a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// The run begins.
    pub fn start() -> Self {
        let origin = Instant::now();
        Self { origin }
    }

    /// Now.
    pub fn now(self) -> Micros {
        micros(self.origin.elapsed())
    }
}

/// A time as a number; longer ones than can be said are the longest.
pub fn micros(time: Duration) -> Micros {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What decides when a request is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Open loop: so many requests a second, all senders together, whatever becomes of them.
    Open(f64),
    /// Closed loop: the next one when the one before is answered.
    Closed,
}

/// One sender's turns.
#[derive(Clone, Debug)]
pub struct Schedule {
    pace: Pace,
    start: Micros,
    end: Micros,
    next: u64,
    step: u64,
}

/// A request that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its place among those of all senders, from 0.
    pub number: u64,
    /// From when its time counts.
    pub due: Micros,
    /// When its sender was ready for it.
    free: Micros,
}

impl Schedule {
    /// The turns of one of so many senders, all of which begin and end at the same time.
    pub fn new(pace: Pace, (sender, senders): (u32, u32), start: Micros, end: Micros) -> Self {
        Self {
            pace,
            start,
            end,
            next: sender.into(),
            step: senders.max(1).into(),
        }
    }

    /// The next turn of a sender who is ready for it now; nothing if it would be due after the end.
    pub fn next(&mut self, now: Micros) -> Option<Turn> {
        let number = self.next;
        let due = match self.pace {
            // Counted from the start each time, so that no rounding adds up.
            Pace::Open(rate) => self.start + (number as f64 * 1e6 / rate) as Micros,
            Pace::Closed => now,
        };
        let turn = Turn { number, due, free: now };
        (due < self.end).then(|| {
            self.next += self.step;
            turn
        })
    }
}

impl Turn {
    /// How long it took until now.
    pub fn took(&self, now: Micros) -> Micros {
        now.saturating_sub(self.due)
    }

    /// How late it was sent through nobody's fault but the sender's own.
    pub fn late(&self, sent: Micros) -> Micros {
        sent.saturating_sub(self.due.max(self.free))
    }

    /// Whether its sender was still waiting for an answer when it was due.
    pub fn has_waited(&self) -> bool {
        self.free > self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::latency::Latency;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    const SECOND: Micros = 1_000_000;

    /// One sender for ten seconds against a server that answers in a millisecond, but for one second not at all.
    fn stalled(pace: Pace) -> (Latency, u64) {
        let mut schedule = Schedule::new(pace, (0, 1), 0, 10 * SECOND);
        let (mut now, mut answers, mut waited) = (0, Latency::new(), 0);
        while let Some(turn) = schedule.next(now) {
            waited += u64::from(turn.has_waited());
            now = now.max(turn.due) + 1_000;
            if (4 * SECOND..5 * SECOND).contains(&now) {
                now = 5 * SECOND;
            }
            answers.record(turn.took(now));
        }
        (answers, waited)
    }

    #[test]
    fn a_stall_shows_up_in_the_percentiles() {
        let (answers, waited) = stalled(Pace::Open(100.0));
        assert_eq!(answers.count(), 1_000, "nothing that was due is left out");
        // A tenth of all was due during the stall; half of those waited for more than half of it.
        let (p90, p95, p99) = (answers.at(0.90), answers.at(0.95), answers.at(0.99));
        assert!(p90 < 150_000 && p95 > 450_000 && p99 > 850_000, "{p90} {p95} {p99}");
        assert!((95..=115).contains(&waited), "{waited}");
    }

    #[test]
    fn a_closed_loop_hides_it_which_is_why_it_is_said() {
        let (answers, _) = stalled(Pace::Closed);
        assert!(
            answers.at(0.999) <= 1_100 && answers.max() > 900_000,
            "{}",
            answers.at(0.999)
        );
    }

    #[test]
    fn only_the_senders_own_delay_counts_as_late() {
        let turn = |due, free| Turn { number: 0, due, free };
        assert_eq!(turn(100, 50).late(130), 30);
        assert_eq!(turn(100, 500).late(510), 10, "until 500 it waited for an answer");
        assert_eq!(turn(100, 500).took(700), 600);
    }

    proptest! {
        #[test]
        fn senders_share_a_schedule_without_gap_or_overlap(senders in 1_u32..9, rate in 1_u32..5_000, delay in 0_u64..50_000) {
            let (start, end) = (7 * SECOND, 9 * SECOND);
            let mut all = Vec::new();
            for sender in 0..senders {
                let mut schedule = Schedule::new(Pace::Open(rate.into()), (sender, senders), start, end);
                let mut now = start;
                while let Some(turn) = schedule.next(now) {
                    now = now.max(turn.due) + delay;
                    prop_assert!((start..end).contains(&turn.due));
                    all.push((turn.number, turn.due));
                }
            }
            all.sort_unstable();
            prop_assert_eq!(all.len() as u64, 2 * u64::from(rate));
            prop_assert!(all.iter().enumerate().all(|(place, (number, _))| place as u64 == *number));
            prop_assert!(all.is_sorted_by_key(|(_, due)| *due), "however slow each sender is");
        }
    }
}
