//! Who is due for a look: a ping for the silent, an end for the dead.
//!
//! One queue for all connections of a worker instead of a timer each: everybody is looked at
//! after the same interval, so the queue is in order of time by itself.

use std::collections::VecDeque;
use std::time::Duration;

/// Milliseconds since the worker started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// The queue of looks.
pub struct Pulse<K> {
    queue: VecDeque<(Moment, K)>,
    ping_ms: u64,
    dead_ms: u64,
    look_ms: u64,
}

/// When a connection was last heard, and last pinged.
#[derive(Clone, Copy, Debug)]
pub struct Vitals {
    /// The last time the peer gave a sign of life.
    pub heard: Moment,
    /// The last time it was asked for one.
    pub pinged: Moment,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing to do.
    Fine,
    /// Silent for long: send a ping.
    Silent,
    /// Silent for too long: end it.
    Dead,
}

impl<K: Copy> Pulse<K> {
    /// Pings after `ping` of silence, calls dead after `dead`.
    pub fn new(ping: Duration, dead: Duration) -> Self {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            queue: VecDeque::new(),
            ping_ms: ms(ping),
            dead_ms: ms(dead),
            look_ms: (ms(ping).min(ms(dead)) / 5).max(1),
        }
    }

    /// How often to ask [`Pulse::due`].
    pub fn interval(&self) -> Duration {
        Duration::from_millis((self.look_ms / 4).max(1))
    }

    /// Looks at `key` from now on.
    pub fn watch(&mut self, key: K, now: Moment) {
        self.queue.push_back((Moment(now.0 + self.look_ms), key));
    }

    /// The next one to look at by `now`; who is still there is to be watched again.
    pub fn due(&mut self, now: Moment) -> Option<K> {
        let (at, key) = *self.queue.front()?;
        if at > now {
            return None;
        }
        self.queue.pop_front();
        Some(key)
    }

    /// What there is to do about a connection.
    pub fn judge(&self, vitals: Vitals, now: Moment) -> Finding {
        let since = |then: Moment| now.0.saturating_sub(then.0);
        if since(vitals.heard) >= self.dead_ms {
            return Finding::Dead;
        }
        if since(vitals.heard) >= self.ping_ms && since(vitals.pinged) >= self.ping_ms {
            return Finding::Silent;
        }
        Finding::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silent_are_pinged_and_the_dead_are_found_in_time() {
        let mut pulse = Pulse::new(Duration::from_secs(25), Duration::from_secs(60));
        let mut vitals = Vitals {
            heard: Moment(0),
            pinged: Moment(0),
        };
        pulse.watch(7, Moment(0));
        let (mut pings, mut dead) = (Vec::new(), None);
        for now in (0..70_000).step_by(1_000).map(Moment) {
            while let Some(key) = pulse.due(now) {
                match pulse.judge(vitals, now) {
                    Finding::Silent => {
                        pings.push(now.0);
                        vitals.pinged = now;
                    }
                    Finding::Dead => {
                        dead = dead.or(Some(now.0));
                        continue;
                    }
                    Finding::Fine => {}
                }
                pulse.watch(key, now);
            }
        }
        assert_eq!(pings, [25_000, 50_000]);
        assert_eq!(dead, Some(60_000));
    }

    #[test]
    fn who_speaks_is_left_alone() {
        let pulse: Pulse<u8> = Pulse::new(Duration::from_secs(25), Duration::from_secs(60));
        let vitals = Vitals {
            heard: Moment(3_600_000),
            pinged: Moment(0),
        };
        assert_eq!(pulse.judge(vitals, Moment(3_610_000)), Finding::Fine);
    }
}
