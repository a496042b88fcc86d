//! How long whoever gave wrong passwords has to wait before the next try.
//!
//! Counted for each user at each address, and for each address; never for a user everywhere, or
//! a stranger could lock people out. A try counts as wrong until it turns out right, so that many
//! at once gain nothing. Invariant: bounded; the longest wait is a minute, and nothing outlives
//! the process.

use crate::domain::error::{Code, Refusal};
use lru::LruCache;
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// Most counts kept; those not touched for longest go first.
const MOST: NonZeroUsize = NonZeroUsize::new(65_536).expect("it is more than 0");
/// Wrong passwords for one user from one address before there is a wait.
const FREE_OF_USER: u32 = 4;
/// Wrong passwords from one address before there is a wait.
const FREE_OF_ADDRESS: u32 = 20;
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// Quiet after which everything is forgiven.
const FORGIVEN: Duration = Duration::from_secs(900);

/// The counts of one server.
pub(super) struct Lockout {
    counts: Mutex<LruCache<u64, Count>>,
    /// Keyed at random, so that nobody can aim at somebody else's count.
    names: RandomState,
}

#[derive(Clone, Copy)]
struct Count {
    wrong: u32,
    last: Instant,
    until: Instant,
}

/// A try that counts as wrong until it is said that it was right.
#[derive(Clone, Copy)]
pub(super) struct Try {
    of_user: u64,
    of_address: u64,
}

impl Lockout {
    pub(super) fn new() -> Self {
        Self {
            counts: Mutex::new(LruCache::new(MOST)),
            names: RandomState::new(),
        }
    }

    /// Counts a try; refused with `limit.attempts` while there is a wait.
    pub(super) fn begin(
        &self,
        company: &str,
        user: &str,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Try, Refusal> {
        let place = address.map(place);
        let tried = Try {
            of_user: self.names.hash_one((company, user, place)),
            of_address: self.names.hash_one(place),
        };
        let mut counts = self.counts.lock();
        let waits = tried.both().map(|(key, _)| counts.peek(&key).map(|count| count.until));
        let until = waits.into_iter().flatten().max();
        if let Some(wait) = until.and_then(|until| until.checked_duration_since(now))
            && !wait.is_zero()
        {
            let wait_s = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
            let text = format!("too many wrong passwords; try again in {wait_s} s");
            return Err(Refusal::later(Code::LimitAttempts, text, wait_s));
        }
        for (key, free) in tried.both() {
            let before = counts.get(&key).filter(|count| now < count.last + FORGIVEN);
            let wrong = before.map_or(0, |count| count.wrong).saturating_add(1);
            let until = now + wait_after(wrong, free);
            let last = now;
            counts.put(key, Count { wrong, last, until });
        }
        Ok(tried)
    }

    /// The try was right: the user's count at this address is over, the address's is as it was.
    pub(super) fn was_right(&self, tried: Try) {
        let mut counts = self.counts.lock();
        counts.pop(&tried.of_user);
        Self::take_back(&mut counts, tried.of_address);
    }

    /// The try was not judged, so it counts for nothing.
    pub(super) fn was_not_judged(&self, tried: Try) {
        let mut counts = self.counts.lock();
        for (key, _) in tried.both() {
            Self::take_back(&mut counts, key);
        }
    }

    fn take_back(counts: &mut LruCache<u64, Count>, key: u64) {
        if let Some(count) = counts.get_mut(&key) {
            count.wrong = count.wrong.saturating_sub(1);
            count.until = count.last;
        }
    }
}

impl Try {
    fn both(self) -> [(u64, u32); 2] {
        [(self.of_user, FREE_OF_USER), (self.of_address, FREE_OF_ADDRESS)]
    }
}

/// None, then a second, then twice as long each time.
fn wait_after(wrong: u32, free: u32) -> Duration {
    match wrong.checked_sub(free + 1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1 << doublings.min(6)).min(LONGEST),
    }
}

/// What counts as one address: whoever has one of IPv6 has a whole network of them.
fn place(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn wait(lockout: &Lockout, user: &str, address: &str, now: Instant) -> Option<u32> {
        let refused = lockout.begin("acme", user, at(address), now).err();
        refused.map(|refusal| refusal.wait_s.expect("a time"))
    }

    #[test]
    fn waits_grow_to_a_minute_and_are_forgiven() {
        let (lockout, mut now) = (Lockout::new(), Instant::now());
        for _ in 0..FREE_OF_USER {
            assert_eq!(wait(&lockout, "alice", "192.0.2.1", now), None);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(wait(&lockout, "alice", "192.0.2.1", now), None, "{seconds}");
            assert_eq!(wait(&lockout, "alice", "192.0.2.1", now), Some(seconds));
            now += Duration::from_secs(seconds.into());
        }
        now += FORGIVEN;
        for _ in 0..FREE_OF_USER + 1 {
            assert_eq!(wait(&lockout, "alice", "192.0.2.1", now), None);
        }
    }

    #[test]
    fn a_stranger_locks_nobody_out_who_is_elsewhere() {
        let (lockout, now) = (Lockout::new(), Instant::now());
        while wait(&lockout, "alice", "192.0.2.1", now).is_none() {}
        assert_eq!(
            wait(&lockout, "alice", "192.0.2.2", now),
            None,
            "the same user elsewhere"
        );
        assert_eq!(wait(&lockout, "bob", "192.0.2.1", now), None, "somebody else there");
    }

    #[test]
    fn an_address_that_tries_many_users_waits_as_well() {
        let (lockout, now) = (Lockout::new(), Instant::now());
        for number in 0..=FREE_OF_ADDRESS {
            let address = format!("2001:db8::{number}");
            assert_eq!(wait(&lockout, &format!("user{number}"), &address, now), None);
        }
        assert_eq!(wait(&lockout, "another", "2001:db8::ffff", now), Some(1));
        assert_eq!(wait(&lockout, "another", "2001:db8:1::1", now), None);
    }

    #[test]
    fn what_was_right_or_not_judged_counts_for_nothing() {
        let (lockout, now) = (Lockout::new(), Instant::now());
        for number in 0..3 * FREE_OF_ADDRESS {
            let tried = lockout.begin("acme", "alice", at("::1"), now).expect("no wait");
            match number % 2 {
                0 => lockout.was_right(tried),
                _ => lockout.was_not_judged(tried),
            }
        }
    }
}
