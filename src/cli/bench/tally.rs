//! What a subscriber got, checked against the order in which each publisher sent it.
//!
//! Pure. A publisher's events in a stream are numbered from 0 and sent one request after the other, so a subscriber
//! has to see them in that order. Invariant: memory is bounded, whatever comes.

/// Runs of missing numbers that are remembered; what comes later than that counts as having come again.
const HOLES: usize = 256;

/// What a number means to who knows those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is new and in order, or at least nothing after it is known to be missing.
    First,
    /// It is new, but a later one came before it.
    Swapped,
    /// It came before.
    Doubled,
}

/// One publisher's numbers in one stream, as one subscriber sees them.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    next: u64,
    /// Numbers that were passed over: from, and up to but without.
    holes: Vec<(u64, u64)>,
}

impl Sequence {
    /// A number came.
    pub fn see(&mut self, number: u64) -> Finding {
        if number < self.next {
            return self.fill(number);
        }
        if number > self.next {
            if self.holes.len() == HOLES {
                self.holes.remove(0);
            }
            self.holes.push((self.next, number));
        }
        self.next = number + 1;
        Finding::First
    }

    fn fill(&mut self, number: u64) -> Finding {
        let is_in = |(from, until): &(u64, u64)| (*from..*until).contains(&number);
        let Some(place) = self.holes.iter().position(is_in) else {
            return Finding::Doubled;
        };
        let (from, until) = self.holes.swap_remove(place);
        let left = [(from, number), (number + 1, until)];
        self.holes.extend(left.into_iter().filter(|(from, until)| from < until));
        Finding::Swapped
    }
}

/// What one subscriber got from all publishers of its stream.
#[derive(Clone, Debug)]
pub struct Tally {
    sequences: Box<[Sequence]>,
    /// Events that came, each counted once.
    pub arrived: u64,
    /// Events that it was told do not come.
    pub told: u64,
    /// Events that came again.
    pub doubled: u64,
    /// Events that came after a later one.
    pub swapped: u64,
}

impl Tally {
    /// Nothing came of so many publishers.
    pub fn new(publishers: usize) -> Self {
        Self {
            sequences: vec![Sequence::default(); publishers].into(),
            arrived: 0,
            told: 0,
            doubled: 0,
            swapped: 0,
        }
    }

    /// An event came; false if there is no such publisher.
    pub fn event(&mut self, publisher: usize, number: u64) -> bool {
        let Some(sequence) = self.sequences.get_mut(publisher) else {
            return false;
        };
        match sequence.see(number) {
            Finding::First => self.arrived += 1,
            Finding::Swapped => (self.arrived, self.swapped) = (self.arrived + 1, self.swapped + 1),
            Finding::Doubled => self.doubled += 1,
        }
        true
    }

    /// Events that neither came nor were told, of so many.
    pub fn lost(&self, of: u64) -> u64 {
        of.saturating_sub(self.arrived + self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};
    use std::collections::BTreeSet;

    fn told(numbers: &[u64], of: u64) -> [u64; 4] {
        let mut tally = Tally::new(1);
        assert!(numbers.iter().all(|number| tally.event(0, *number)));
        [tally.arrived, tally.lost(of), tally.doubled, tally.swapped]
    }

    #[test]
    fn every_wrong_is_counted_as_what_it_is() {
        assert_eq!(told(&[0, 1, 2, 3], 4), [4, 0, 0, 0]);
        assert_eq!(told(&[0, 1, 3], 4), [3, 1, 0, 0]);
        assert_eq!(told(&[0, 1], 4), [2, 2, 0, 0], "the end is missing");
        assert_eq!(told(&[0, 2, 1, 3], 4), [4, 0, 0, 1]);
        assert_eq!(told(&[0, 1, 1, 2, 3, 0], 4), [4, 0, 2, 0]);
        assert_eq!(told(&[3, 1, 1, 0, 2], 4), [4, 0, 1, 3]);
    }

    #[test]
    fn publishers_are_told_apart() {
        let mut tally = Tally::new(2);
        for (publisher, number) in [(0, 0), (1, 0), (1, 1), (0, 1)] {
            assert!(tally.event(publisher, number));
        }
        assert!(!tally.event(2, 0), "there is no such publisher");
        assert_eq!((tally.arrived, tally.swapped, tally.doubled), (4, 0, 0));
    }

    #[test]
    fn holes_are_remembered_up_to_a_bound() {
        let mut sequence = Sequence::default();
        (0..10_000).for_each(|number| assert_eq!(sequence.see(2 * number + 1), Finding::First));
        assert_eq!(sequence.holes.len(), HOLES);
        assert_eq!(sequence.see(19_998), Finding::Swapped);
    }

    proptest! {
        #[test]
        fn it_counts_as_a_set_would(numbers in proptest::collection::vec(0_u64..60, 0..200)) {
            let (mut seen, mut wanted) = (BTreeSet::new(), [0_u64; 4]);
            for number in &numbers {
                let is_late = seen.last().is_some_and(|last| last > number);
                if !seen.insert(*number) {
                    wanted[2] += 1;
                } else if is_late {
                    wanted[3] += 1;
                }
            }
            (wanted[0], wanted[1]) = (seen.len() as u64, 60 - seen.len() as u64);
            prop_assert_eq!(told(&numbers, 60), wanted);
        }
    }
}
