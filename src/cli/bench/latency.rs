//! Times, counted in buckets of a thousandth of their size, and asked for by rank.
//!
//! Microseconds. Invariant: however many are counted, it stays as big as it is; the longest is kept exactly
//! enough, and nothing above an hour is told apart.

use crate::cli::bench::schedule::Micros;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// The longest time that is told apart from longer ones.
const HOUR: Micros = 3_600_000_000;
/// Digits of a time that count.
const DIGITS: u8 = 3;
/// Which percentiles are shown, by name.
pub const SHOWN: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.999_9),
];

/// Times of one kind.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// None yet.
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, HOUR, DIGITS).expect("the bounds are sound"))
    }

    /// One more.
    pub fn record(&mut self, time: Micros) {
        self.0.saturating_record(time);
    }

    /// All of another one's.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// What this share of them does not exceed; 0 if there are none.
    pub fn at(&self, share: f64) -> Micros {
        self.0.value_at_quantile(share).min(self.0.max())
    }

    /// The longest; 0 if there are none.
    pub fn max(&self) -> Micros {
        self.0.max()
    }

    /// The percentiles that are shown, and the longest.
    pub fn shown(&self) -> [Micros; SHOWN.len() + 1] {
        let mut all = [self.max(); SHOWN.len() + 1];
        for (place, (_, share)) in all.iter_mut().zip(SHOWN) {
            *place = self.at(share);
        }
        all
    }

    /// `count`, the percentiles by name, and `max`; `null` if there are none.
    pub fn json(&self) -> Value {
        if self.count() == 0 {
            return Value::Null;
        }
        let mut members = Map::new();
        members.insert("count".to_owned(), json!(self.count()));
        let names = SHOWN.map(|(name, _)| name).into_iter().chain(["max"]);
        members.extend(
            names
                .zip(self.shown())
                .map(|(name, time)| (name.to_owned(), json!(time))),
        );
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_thousandth() {
        let mut times = Latency::new();
        (1..=100_000).for_each(|time| times.record(time));
        for (name, share) in SHOWN {
            let (right, said) = (100_000.0 * share, times.at(share) as f64);
            assert!((said / right - 1.0).abs() <= 0.001, "{name}: {said} for {right}");
        }
        assert_eq!(times.json()["count"], json!(100_000));
    }

    #[test]
    fn what_is_added_counts_as_if_it_had_been_recorded() {
        let (mut one, mut other) = (Latency::new(), Latency::new());
        one.record(10);
        other.record(2 * HOUR);
        one.add(&other);
        assert_eq!((one.count(), one.at(0.5)), (2, 10));
        assert!(one.max() >= HOUR, "it is not left out");
        assert_eq!(Latency::new().json(), Value::Null);
    }
}
