//! How often somebody may: fail to open a session, open one, publish.
//!
//! Invariants: only failures count as attempts, and what is right is never refused because of
//! them; every table is bounded and swept of what is old; a limit of 0 costs one comparison.

use crate::broker::Broker;
use crate::domain::error::{Code, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::limits::Limits;
use foldhash::fast::RandomState;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::num::NonZeroU32;

/// Places that are remembered for their failed attempts; those that come then are counted as one.
const MOST_PLACES: usize = 65_536;
/// The key of those.
const ALL_OTHERS: u64 = 0;

/// What is remembered of who did what how often.
pub(super) struct Rates {
    /// By address and company, hashed: neither is bounded by anything of ours.
    attempts: Rate<u64>,
    places: RandomState,
    sessions: Rate<TokenKey>,
    events: Rate<TokenKey>,
}

/// One limit; none if it is 0.
struct Rate<K: Clone + Eq + Hash>(Option<DefaultKeyedRateLimiter<K>>);

/// Why not now.
enum Denied {
    /// It can be in so many seconds.
    Until(u32),
    /// So much at once can never be.
    Never,
}

impl<K: Clone + Eq + Hash> Rate<K> {
    fn new(most: u32, quota: fn(NonZeroU32) -> Quota) -> Self {
        let quota = NonZeroU32::new(most).map(quota);
        Self(quota.map(RateLimiter::keyed))
    }

    fn take(&self, key: &K, count: usize) -> Result<(), Denied> {
        let Some(limiter) = &self.0 else {
            return Ok(());
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let Some(count) = NonZeroU32::new(count) else {
            return Ok(());
        };
        match limiter.check_key_n(key, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(later)) => {
                let wait = later.wait_time_from(DefaultClock::default().now());
                let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
                Err(Denied::Until(seconds.max(1)))
            }
            Err(_) => Err(Denied::Never),
        }
    }

    /// Forgets those who have not come for so long that nothing would be different.
    fn sweep(&self) {
        if let Some(limiter) = self.0.as_ref().filter(|limiter| !limiter.is_empty()) {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |limiter| limiter.len())
    }
}

impl Rates {
    /// Nobody has come yet.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            attempts: Rate::new(limits.rate_attempts, Quota::per_minute),
            places: RandomState::default(),
            sessions: Rate::new(limits.rate_sessions, Quota::per_minute),
            events: Rate::new(limits.rate_events, Quota::per_second),
        }
    }

    /// Counts a failed attempt in; refused with `limit.attempts` if there were too many.
    fn fail(&self, address: Option<IpAddr>, company: &str) -> Result<(), Refusal> {
        let place = self.places.hash_one((network(address), company));
        let is_full = self.attempts.len() >= MOST_PLACES;
        let place = if is_full { ALL_OTHERS } else { place };
        match self.attempts.take(&place, 1) {
            Ok(()) => Ok(()),
            Err(Denied::Until(seconds)) => {
                let text = format!("too many failed attempts from this address: try again in {seconds} s");
                Err(Refusal::later(Code::LimitAttempts, text, seconds))
            }
            Err(Denied::Never) => Err(Refusal::new(Code::LimitAttempts, "too many failed attempts")),
        }
    }

    /// Counts a session in; refused with `limit.rate`.
    pub(super) fn open(&self, token: TokenKey, limits: &Limits) -> Result<(), Refusal> {
        let most = limits.rate_sessions;
        let text = || format!("a token may open {most} sessions a minute");
        self.sessions.take(&token, 1).map_err(|denied| denied.told(text()))
    }

    /// Counts events in; refused with `limit.rate`, or with `limit.batch` for more than can ever be.
    pub(super) fn publish(&self, token: TokenKey, count: usize, limits: &Limits) -> Result<(), Refusal> {
        let most = limits.rate_events;
        let text = || format!("a token may publish {most} events a second, and no more at once");
        self.events.take(&token, count).map_err(|denied| denied.told(text()))
    }

    fn sweep(&self) {
        self.attempts.sweep();
        self.sessions.sweep();
        self.events.sweep();
    }

    fn len(&self) -> usize {
        self.attempts.len() + self.sessions.len() + self.events.len()
    }
}

impl Denied {
    fn told(self, text: String) -> Refusal {
        match self {
            Denied::Until(seconds) => Refusal::later(Code::LimitRate, text, seconds),
            Denied::Never => Refusal::new(Code::LimitBatch, text),
        }
    }
}

/// What one peer has for itself: an address, or of the newer kind all that share the first half.
fn network(address: Option<IpAddr>) -> Option<u128> {
    match address?.to_canonical() {
        IpAddr::V4(address) => Some(address.to_bits().into()),
        IpAddr::V6(address) => Some(address.to_bits() >> 64 << 64),
    }
}

impl Broker {
    /// Counts a failed attempt to open a session, and says what to answer: the same, or that there
    /// were too many.
    pub fn count_failure(&self, address: Option<IpAddr>, company: &str, refusal: Refusal) -> Refusal {
        let is_attempt = refusal.code.entry().status == 401 && refusal.code != Code::AuthMissing;
        if !is_attempt {
            return refusal;
        }
        self.metrics.attempts_failed.inc();
        self.rates.fail(address, company).err().unwrap_or(refusal)
    }

    /// Forgets who came how often, once that is so long ago that it does not matter.
    pub fn sweep_rates(&self) {
        self.rates.sweep();
        self.metrics.rates_remembered.set(self.rates.len() as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn limits(flags: &[&str]) -> Limits {
        let command = Limits::augment_args(clap::Command::new("test"));
        let matches = command.get_matches_from(["test"].iter().chain(flags));
        Limits::from_arg_matches(&matches).expect("limits")
    }

    #[test]
    fn places_fail_for_themselves() {
        let rates = Rates::new(&limits(&["--rate-attempts", "2"]));
        let [here, there, near] = ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1"].map(|text| text.parse().ok());
        assert!(rates.fail(here, "acme").is_ok());
        assert!(rates.fail(near, "acme").is_ok());
        let refusal = rates.fail(here, "acme").expect_err("too many");
        assert_eq!(refusal.code, Code::LimitAttempts);
        assert!(
            refusal.wait_s.is_some_and(|seconds| (1..=30).contains(&seconds)),
            "{refusal:?}"
        );
        assert!(rates.fail(there, "acme").is_ok());
        assert!(rates.fail(here, "umbrella").is_ok());
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let rates = Rates::new(&limits(&["--rate-attempts", "1"]));
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| text.parse().ok());
        assert!(rates.fail(one, "acme").is_ok());
        assert!(rates.fail(same, "acme").is_err());
        assert!(rates.fail(other, "acme").is_ok());
    }

    #[test]
    fn a_table_that_is_full_grows_no_further() {
        let rates = Rates::new(&limits(&["--rate-attempts", "1"]));
        for number in 0..2 * MOST_PLACES as u32 {
            let address = Some(IpAddr::from(number.to_be_bytes()));
            // Whether it is refused is not the question here.
            let _ = rates.fail(address, "acme");
        }
        assert_eq!(rates.len(), MOST_PLACES + 1);
    }

    #[test]
    fn without_limits_nothing_is_remembered() {
        let limits = limits(&["--rate-attempts", "0"]);
        let rates = Rates::new(&limits);
        for _ in 0..100 {
            assert!(rates.fail(None, "acme").is_ok());
            assert!(rates.open(TokenKey([1; 8]), &limits).is_ok());
            assert!(rates.publish(TokenKey([1; 8]), 1_000, &limits).is_ok());
        }
        assert_eq!(rates.len(), 0);
    }

    #[test]
    fn more_at_once_than_a_second_allows_is_never_taken() {
        let limits = limits(&["--rate-events", "10"]);
        let rates = Rates::new(&limits);
        let refusal = rates.publish(TokenKey([1; 8]), 11, &limits).expect_err("too many");
        assert_eq!((refusal.code, refusal.wait_s), (Code::LimitBatch, None));
        assert!(rates.publish(TokenKey([1; 8]), 10, &limits).is_ok());
        assert!(rates.publish(TokenKey([1; 8]), 10, &limits).is_err());
        assert!(rates.publish(TokenKey([2; 8]), 10, &limits).is_ok());
    }
}
