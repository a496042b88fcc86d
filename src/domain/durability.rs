//! How safe an event is when its publisher is answered.
//!
//! Ordered: who reaches a later one has reached those before it.

use crate::domain::error::{Code, Refusal};

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// In memory: a crash of the server loses it.
    Accepted,
    /// In the operating system's hands: a crash of the machine loses it.
    Written,
    /// On the disk, synced: it stays.
    #[default]
    Durable,
}

impl Durability {
    /// All of them, the weakest first.
    pub const ALL: [Durability; 3] = [Durability::Accepted, Durability::Written, Durability::Durable];

    /// The word on the wire and in the database.
    pub const fn word(self) -> &'static str {
        match self {
            Durability::Accepted => "accepted",
            Durability::Written => "written",
            Durability::Durable => "durable",
        }
    }

    /// The one of this word; refused with `code`.
    pub fn parse(word: &str, code: Code) -> Result<Self, Refusal> {
        let found = Self::ALL.into_iter().find(|durability| durability.word() == word);
        found.ok_or_else(|| Refusal::new(code, "\"ack\" is accepted, written or durable"))
    }
}
