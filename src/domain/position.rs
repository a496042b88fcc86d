//! Places in a stream.
//!
//! Invariant: offsets of one stream rise by one for each event and never repeat within an epoch.

use serde::Serialize;
use std::fmt;

/// How many events a stream has had up to and including this one; 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// The place of the event after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The place of the event before this one.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a numbering of one stream. It changes when offsets that somebody may have seen are given
/// again, so that a place in another epoch is known to be no place in this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

/// Digits of a printed epoch: no letters that look like digits.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// How many of them there are.
const EPOCH_DIGITS: usize = 8;

impl Epoch {
    /// A numbering nobody has seen.
    pub fn fresh() -> Self {
        Self::new(rand::random())
    }

    /// Of a stored or made-up number, of which 40 bits count.
    pub const fn new(bits: u64) -> Self {
        Self(bits & 0xff_ffff_ffff)
    }

    /// The number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Parses what was printed.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte);
        let mut bits = 0;
        for byte in text.bytes() {
            bits = bits << 5 | digit(byte)? as u64;
        }
        (text.len() == EPOCH_DIGITS).then_some(Self(bits))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |place: usize| char::from(DIGITS[(self.0 >> (5 * place)) as usize & 31]);
        (0..EPOCH_DIGITS)
            .rev()
            .try_for_each(|place| fmt::Write::write_char(f, digit(place)))
    }
}

/// Where somebody stopped reading a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The numbering that they know, if they said so.
    pub epoch: Option<Epoch>,
    /// The last place that they saw; 0 for none.
    pub offset: Offset,
}

/// Events that a subscriber will not get: `from` to `to`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first missing event's place.
    pub from: Offset,
    /// The last missing event's place.
    pub to: Offset,
    /// Why they are missing.
    pub reason: GapReason,
}

impl Gap {
    /// How many events are missing.
    pub const fn count(&self) -> u64 {
        (self.to.0 + 1).saturating_sub(self.from.0)
    }
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The stream has let go of them, or somebody deleted them.
    Retention,
    /// The subscriber did not read in time, and did not want or could not have what it missed.
    Slow,
    /// What the subscriber knows of is of another numbering.
    Epoch,
}

impl GapReason {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            GapReason::Retention => "retention",
            GapReason::Slow => "slow",
            GapReason::Epoch => "epoch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_epoch_of_another_length_or_alphabet_is_none() {
        for text in ["", "0", "0123456", "012345678", "abcdefgu", "ABCDEFGH"] {
            assert_eq!(Epoch::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_gap_of_nothing_counts_nothing() {
        let (from, to, reason) = (Offset(1), Offset(0), GapReason::Epoch);
        assert_eq!(Gap { from, to, reason }.count(), 0);
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(bits: u64) {
            let epoch = Epoch::new(bits);
            prop_assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch));
        }
    }
}
