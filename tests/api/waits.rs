//! What tests wait for: a metric's value, or anything that can be asked for again.

use crate::stage::{DEADLINE, Stage};
use std::time::{Duration, Instant};

impl Stage {
    /// A metric's value, by its name without the prefix: `connections`, `refusals_total{code="x"}`.
    pub async fn metric(&self, name: &str) -> u64 {
        let answer = self.request("GET", "/metrics", None, "").await;
        let wanted = format!("streamgate_{name} ");
        let mut lines = answer.text.lines();
        let value = lines.find_map(|line| line.strip_prefix(&wanted));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Waits until a metric has a value.
    pub async fn until_metric(&self, name: &str, value: u64) {
        self.until(&format!("{name} is {value}"), || async {
            self.metric(name).await == value
        })
        .await;
    }

    /// Waits until somebody has fallen behind, which who catches up may do again.
    pub async fn until_behind(&self) {
        self.until("somebody is behind", || async {
            self.metric("subscriptions_behind_total").await > 0
        })
        .await;
    }

    /// Waits until something holds.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> F) {
        let deadline = Instant::now() + DEADLINE;
        while !holds().await {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
