//! What an [`Oracle`](super::Oracle) counts.

/// Most remarks of a run.
const NOTES: usize = 20;

/// Figures of one run; those about promises have to stay zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events acknowledged as durable.
    pub acked_durable: u64,
    /// Events acknowledged as written.
    pub acked_written: u64,
    /// Events acknowledged as accepted.
    pub acked_accepted: u64,
    /// Events acknowledged without a word about how safe they are.
    pub acked_plain: u64,
    /// Acknowledgements of less than was asked for, or without a place.
    pub shortfalls: u64,
    /// Events given to readers.
    pub delivered: u64,
    /// Events told to readers as missing.
    pub told: u64,
    /// Scans of what is stored.
    pub scans: u64,
    /// Durable events that were not where they had to be.
    pub lost_durable: u64,
    /// The same of written events, after kills without power cuts.
    pub lost_written: u64,
    /// Events at two places of one numbering.
    pub duplicated: u64,
    /// Places of one numbering with two contents, or out of order.
    pub swapped: u64,
    /// Events that nobody published like this.
    pub altered: u64,
    /// Offsets that no event has, between others.
    pub stored_holes: u64,
    /// Events fewer than a stream has to keep.
    pub stored_short: u64,
    /// Events that a reader got again, or after a later one.
    pub repeated: u64,
    /// Events that a reader neither got nor was told of.
    pub untold: u64,
    /// Notices whose numbers are wrong.
    pub miscounted: u64,
    /// New numberings of streams that keep theirs.
    pub renumbered: u64,
    /// The first contradictions, in words.
    pub notes: Vec<String>,
}

impl Tally {
    /// Adds a remark, of the first few.
    pub fn note(&mut self, note: impl FnOnce() -> String) {
        if self.notes.len() < NOTES {
            self.notes.push(note());
        }
    }
}
