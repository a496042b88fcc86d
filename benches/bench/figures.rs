//! Durations, counted exactly: all are kept, sorted once, and asked for by rank.

use std::time::Duration;

/// Durations of one kind.
#[derive(Debug, Default)]
pub struct Durations(Vec<Duration>);

impl Durations {
    /// Sorts them.
    pub fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In milliseconds, what `per_mille` thousandths of them do not exceed; 0 if there are none.
    pub fn ms(&self, per_mille: usize) -> f64 {
        let rank = (self.0.len() * per_mille).div_ceil(1_000).max(1);
        self.0.get(rank - 1).map_or(0.0, |held| held.as_secs_f64() * 1_000.0)
    }
}

/// How many a second.
pub fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Bytes in MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Of one value at least, which it sorts.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = &values[(values.len() - 1) / 2..=values.len() / 2];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// A straight line.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Where it begins, at 0.
    pub base: f64,
    /// By how much it rises for each.
    pub slope: f64,
}

impl Line {
    /// The one that comes nearest to the points, by least squares; of two different ones at least.
    pub fn fit(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let along: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        let slope = along / spread;
        let base = y - slope * x;
        Self { base, slope }
    }

    /// Its height there.
    pub fn at(&self, x: f64) -> f64 {
        self.base + self.slope * x
    }
}
