//! Which fault comes when: a seeded deck, dealt round by round.
//!
//! Pure. Invariants: the same seed deals the same faults; each round has every kind once; what a
//! failed sync did not save is put to the test by a power cut before anything else happens.

use crate::cli::torture::disk::Survival;
use crate::cli::torture::shim::Ailment;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// What is done to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9.
    Kill,
    /// kill -9, and what was not synced is gone, or most of it.
    PowerCut(Survival),
    /// Stopped for a while, then continued.
    Freeze(Duration),
    /// The disk fails for a while; then it works again, or the power is cut.
    Illness {
        /// How it fails.
        ailment: Ailment,
        /// How long.
        lasts: Duration,
        /// How it ends, if not well.
        cut: Option<Survival>,
    },
    /// Asked to end, and started again.
    Restart,
}

#[derive(Clone, Copy)]
enum Card {
    Kill,
    WholeCut,
    PartialCut,
    Freeze,
    Full,
    Writes,
    Syncs,
    Restart,
}

const DECK: [Card; 8] = [
    Card::Kill,
    Card::WholeCut,
    Card::PartialCut,
    Card::Freeze,
    Card::Full,
    Card::Writes,
    Card::Syncs,
    Card::Restart,
];

/// Pauses and faults without end.
pub struct Plan {
    rng: StdRng,
    hand: Vec<Card>,
    owes_cut: bool,
}

impl Plan {
    /// Everything follows from the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            hand: Vec::new(),
            owes_cut: false,
        }
    }

    fn deal(&mut self) -> Card {
        if self.hand.is_empty() {
            self.hand.extend(DECK);
            self.hand.shuffle(&mut self.rng);
        }
        self.hand.pop().expect("it was filled")
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(from..=to))
    }

    fn partial(&mut self) -> Survival {
        match self.rng.random_bool(0.5) {
            true => Survival::Sectors,
            false => Survival::Writes,
        }
    }

    /// Every other illness ends with a power cut.
    fn ending(&mut self) -> Option<Survival> {
        self.rng.random_bool(0.5).then(|| match self.rng.random_bool(0.5) {
            true => Survival::Nothing,
            false => self.partial(),
        })
    }

    fn illness(&mut self, ailment: Ailment, longest: u64) -> Fault {
        Fault::Illness {
            ailment,
            lasts: self.millis(1_000, longest),
            cut: self.ending(),
        }
    }

    fn fault(&mut self) -> Fault {
        if std::mem::take(&mut self.owes_cut) {
            return Fault::PowerCut(Survival::Nothing);
        }
        match self.deal() {
            Card::Kill => Fault::Kill,
            Card::WholeCut => Fault::PowerCut(Survival::Nothing),
            Card::PartialCut => Fault::PowerCut(self.partial()),
            Card::Freeze => Fault::Freeze(self.millis(1_000, 4_000)),
            Card::Full if self.rng.random_bool(0.5) => self.illness(Ailment::Full, 3_000),
            Card::Full => self.illness(Ailment::FullForAll, 3_000),
            Card::Writes => self.illness(Ailment::Writes, 2_000),
            Card::Syncs => {
                let fault = self.illness(Ailment::Syncs, 2_000);
                self.owes_cut = matches!(fault, Fault::Illness { cut: None, .. });
                fault
            }
            Card::Restart => Fault::Restart,
        }
    }
}

impl Iterator for Plan {
    type Item = (Duration, Fault);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.millis(2_000, 6_000), self.fault()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(seed: u64, count: usize) -> Vec<(Duration, Fault)> {
        Plan::new(seed).take(count).collect()
    }

    #[test]
    fn the_same_seed_deals_the_same_faults() {
        assert_eq!(dealt(7, 200), dealt(7, 200));
        assert_ne!(dealt(7, 200), dealt(8, 200));
    }

    #[test]
    fn every_kind_comes_in_every_round() {
        let faults = dealt(1, 9);
        let ailing = |wanted: Ailment| {
            let is = |fault: &Fault| matches!(fault, Fault::Illness { ailment, .. } if *ailment == wanted);
            faults.iter().any(|(_, fault)| is(fault))
        };
        assert!(faults.iter().any(|(_, fault)| *fault == Fault::Kill));
        assert!(faults.iter().any(|(_, fault)| *fault == Fault::Restart));
        assert!(faults.iter().any(|(_, fault)| matches!(fault, Fault::Freeze(_))));
        assert!(faults.iter().any(|(_, fault)| matches!(fault, Fault::PowerCut(_))));
        assert!(ailing(Ailment::Writes) && ailing(Ailment::Syncs));
        assert!(ailing(Ailment::Full) || ailing(Ailment::FullForAll));
    }

    #[test]
    fn after_a_failed_sync_the_power_is_cut_first() {
        let faults = dealt(3, 1_000);
        let mut owed = 0;
        for pair in faults.windows(2) {
            if let Fault::Illness {
                ailment: Ailment::Syncs,
                cut: None,
                ..
            } = pair[0].1
            {
                assert_eq!(pair[1].1, Fault::PowerCut(Survival::Nothing));
                owed += 1;
            }
        }
        assert!(owed > 10, "{owed}");
    }

    #[test]
    fn pauses_are_of_two_to_six_seconds() {
        let within = |pause: Duration| (2..=6).contains(&pause.as_secs());
        assert!(dealt(5, 1_000).iter().all(|(pause, _)| within(*pause)));
    }
}
