//! Two sets of names for the same things: Octave's, and those of flowthings.io, which came before.
//!
//! An event was called a drop, a stream a flow, a company an account, and ids had other letters.
//! Whatever has names asks here, so that there is one of each route and verb. Pure. Invariant: ids go
//! out with our letters, whatever they came in with; flowthings' Java client takes any (`ID_PATTERN`).

use crate::domain::id::{EventId, StreamId, TokenKey};

/// How somebody calls things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// `event`, `stream`, `streamId`.
    #[default]
    Octave,
    /// `drop`, `flow`, `flowId`.
    Flowthings,
}

/// Where the HTTP API begins, and how things are called there.
pub const BASES: [(&str, Names); 3] = [
    ("/v5.0", Names::Octave),
    ("/v4.0", Names::Flowthings),
    ("/v0.1", Names::Flowthings),
];

/// Digits of an id that flowthings' clients take for one.
const ID_DIGITS: usize = 24;

impl Names {
    /// How things are called at an address; none if it is not one of the HTTP API.
    pub fn of_path(path: &str) -> Option<Self> {
        let base = |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        BASES.iter().find(|(known, _)| base(known)).map(|(_, names)| *names)
    }

    /// What an object is called that we call so.
    pub fn called(self, object: &str) -> &str {
        match (self, object) {
            (Names::Flowthings, "event") => "drop",
            (Names::Flowthings, "stream") => "flow",
            (_, object) => object,
        }
    }

    /// Parses a stream's id; flowthings' had the letter `f`.
    pub fn stream_id(self, text: &str) -> Option<StreamId> {
        StreamId::parse(text).or_else(|| self.is_older().then(|| StreamId::parse_as('f', text)).flatten())
    }

    /// Parses an event's id; flowthings' had the letter `d`.
    pub fn event_id(self, text: &str) -> Option<EventId> {
        EventId::parse(text).or_else(|| self.is_older().then(|| EventId::parse_as('d', text)).flatten())
    }

    /// Parses a token's id; a longer one is filled up with noughts.
    pub fn token_key(self, text: &str) -> Option<TokenKey> {
        let key = text
            .get(..17)
            .filter(|_| self.is_older() && text.len() == 1 + ID_DIGITS);
        let (key, rest) = key.map_or((text, ""), |key| (key, &text[17..]));
        TokenKey::parse(key)
            .ok()
            .filter(|_| rest.bytes().all(|digit| digit == b'0'))
    }

    /// A token's id, as long as whoever calls it so takes ids to be.
    pub fn token_id(self, key: TokenKey) -> String {
        match self {
            Names::Octave => key.to_string(),
            Names::Flowthings => format!("{:0<width$}", key.to_string(), width = 1 + ID_DIGITS),
        }
    }

    /// Whether they are flowthings'.
    pub const fn is_older(self) -> bool {
        matches!(self, Names::Flowthings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_how_things_are_called() {
        assert_eq!(Names::of_path("/v5.0/acme/event"), Some(Names::Octave));
        assert_eq!(Names::of_path("/v0.1/acme/drop"), Some(Names::Flowthings));
        assert_eq!(Names::of_path("/v4.0/acme/flow/f1"), Some(Names::Flowthings));
        for other in ["/v5.00/acme", "/v0.1", "/session", "/v1.0/acme", ""] {
            assert_eq!(Names::of_path(other), None, "{other}");
        }
    }

    #[test]
    fn an_id_is_known_by_both_letters_to_who_calls_it_so() {
        let stream = StreamId::parse("s53b1d1600cf27b75148de0ac");
        assert_eq!(Names::Flowthings.stream_id("f53b1d1600cf27b75148de0ac"), stream);
        assert_eq!(Names::Flowthings.stream_id("s53b1d1600cf27b75148de0ac"), stream);
        assert_eq!(Names::Octave.stream_id("f53b1d1600cf27b75148de0ac"), None);
        let event = EventId::parse("e53b1d1600cf27b75148de0ac");
        assert_eq!(Names::Flowthings.event_id("d53b1d1600cf27b75148de0ac"), event);
        assert_eq!(Names::Octave.event_id("d53b1d1600cf27b75148de0ac"), None);
        assert_eq!(Names::Flowthings.event_id("f53b1d1600cf27b75148de0ac"), None);
    }

    #[test]
    fn a_tokens_id_is_as_long_as_older_clients_want_it() {
        let key = TokenKey([0x10; 8]);
        assert_eq!(Names::Octave.token_id(key), "k1010101010101010");
        assert_eq!(Names::Flowthings.token_id(key), "k101010101010101000000000");
        for (names, id, is_known) in [
            (Names::Flowthings, "k101010101010101000000000", true),
            (Names::Flowthings, "k1010101010101010", true),
            (Names::Flowthings, "k101010101010101000000001", false),
            (Names::Octave, "k101010101010101000000000", false),
            (Names::Flowthings, "k10101010101010é0000000000", false),
        ] {
            assert_eq!(names.token_key(id), is_known.then_some(key), "{id}");
        }
    }
}
