//! How long events take from the publishing request to the sockets: a fixed histogram.
//!
//! A worker adds one measurement for each burst that it writes, however many events and sockets
//! that is, so measuring costs nothing that could be measured. Invariant: counts only rise; what is
//! recent is the difference to counts taken before.

use crate::domain::event::Stamp;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Upper bounds of the buckets, in microseconds; what took longer is in one more.
const BOUNDS: [u32; 22] = [
    50, 100, 200, 300, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000, 20_000, 30_000, 50_000, 100_000,
    200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// The histogram of one server.
#[derive(Clone, Debug)]
pub struct Latency(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    started: Instant,
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
    /// The buckets at the last two turns, the older first.
    before: Mutex<[[u64; BUCKETS]; 2]>,
}

/// How long it took lately, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiles {
    /// Half of the measurements took no longer.
    pub p50: f64,
    /// Nine of ten took no longer.
    pub p90: f64,
    /// All but one of a hundred took no longer.
    pub p99: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self(Arc::new(Counts {
            started: Instant::now(),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum_us: AtomicU64::new(0),
            before: Mutex::new([[0; BUCKETS]; 2]),
        }))
    }
}

impl Latency {
    /// The time of a request that begins now.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.now_us().max(1))
    }

    /// What was asked for at `stamp` has been written to its sockets now.
    pub fn observe(&self, stamp: Stamp) {
        if stamp != Stamp::UNKNOWN {
            self.count(self.now_us().wrapping_sub(stamp.0));
        }
    }

    /// Of what was measured since the turn before the last; none if that is nothing.
    pub fn recent(&self) -> Option<Quantiles> {
        let [before, _] = *self.0.before.lock();
        let mut buckets = self.buckets();
        for (now, before) in buckets.iter_mut().zip(before) {
            *now -= before;
        }
        let all: u64 = buckets.iter().sum();
        let quantile = |share: f64| quantile(&buckets, share * all as f64);
        (all > 0).then(|| Quantiles {
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
        })
    }

    /// From time to time: lets go of what is no longer recent.
    pub fn turn(&self) {
        let now = self.buckets();
        let mut before = self.0.before.lock();
        *before = [before[1], now];
    }

    fn count(&self, us: u32) {
        let bucket = BOUNDS.partition_point(|bound| *bound < us);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum_us.fetch_add(us.into(), Ordering::Relaxed);
    }

    /// Microseconds since the start; they begin anew after more than an hour, and no event is so long
    /// on its way.
    fn now_us(&self) -> u32 {
        self.0.started.elapsed().as_micros() as u32
    }

    fn buckets(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|at| self.0.buckets[at].load(Ordering::Relaxed))
    }
}

/// The time in milliseconds that `rank` measurements stayed below, as if each bucket's were spread evenly.
fn quantile(buckets: &[u64; BUCKETS], rank: f64) -> f64 {
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, bound) in buckets.iter().zip(BOUNDS) {
        let (count, upper) = (*count as f64, f64::from(bound) / 1_000.0);
        if count > 0.0 && below + count >= rank {
            return lower + (upper - lower) * ((rank - below) / count).clamp(0.0, 1.0);
        }
        below += count;
        lower = upper;
    }
    lower
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let counts = self.buckets();
        let bounds = BOUNDS.map(|bound| f64::from(bound) / 1e6);
        let bounds = bounds.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let sum = self.0.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_where_the_measurements_do() {
        let latency = Latency::default();
        assert_eq!(latency.recent(), None);
        (0..90).for_each(|_| latency.count(1_200));
        (0..10).for_each(|_| latency.count(40_000));
        let recent = latency.recent().expect("measurements");
        assert!((1.0..=1.5).contains(&recent.p50), "{recent:?}");
        assert!((1.0..=1.5).contains(&recent.p90), "{recent:?}");
        assert!((30.0..=50.0).contains(&recent.p99), "{recent:?}");
    }

    #[test]
    fn what_took_too_long_to_measure_counts_as_the_longest() {
        let latency = Latency::default();
        latency.count(u32::MAX);
        assert_eq!(latency.recent().expect("one").p50, 5_000.0);
    }

    #[test]
    fn two_turns_later_nothing_is_recent() {
        let latency = Latency::default();
        latency.count(100);
        latency.turn();
        assert!(latency.recent().is_some());
        latency.turn();
        assert_eq!(latency.recent(), None);
    }

    #[test]
    fn what_was_never_asked_for_is_not_measured() {
        let latency = Latency::default();
        latency.observe(Stamp::UNKNOWN);
        assert_eq!(latency.recent(), None);
        latency.observe(latency.stamp());
        assert!(latency.recent().is_some());
    }
}
