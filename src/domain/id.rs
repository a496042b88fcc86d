//! Names that the server makes up: one type letter and 24 hexadecimal digits, and a token's key.
//!
//! Shape `[a-z][0-9a-f]{24}`, as the service whose protocol this is used them (documents of
//! Octave, `ID_PATTERN` of flowthings' Java client).

use crate::domain::error::{Code, Refusal};
use crate::domain::position::{Epoch, Offset};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;

/// Twelve bytes behind a type letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id<const LETTER: char>([u8; 12]);

/// Names a stream: `s53b1d1600cf27b75148de0ac`.
pub type StreamId = Id<'s'>;
/// Names an event.
pub type EventId = Id<'e'>;
/// Names a user as the creator of something.
pub type IdentityId = Id<'i'>;

/// The creator of what no user made, such as a stream added on the command line.
pub const SYSTEM: IdentityId = Id([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

impl<const LETTER: char> Id<LETTER> {
    /// From stored or made-up bytes.
    pub const fn new(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// A name nobody has.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The bytes behind the letter.
    pub const fn bytes(&self) -> &[u8; 12] {
        &self.0
    }

    /// Parses the letter and 24 digits, lower case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_as(LETTER, text)
    }

    /// The same with the letter that another service had for it.
    pub fn parse_as(letter: char, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(letter)?;
        Some(Self(from_hex(digits)?))
    }

    /// Appends the name to a text.
    pub fn push_to(&self, text: &mut String) {
        text.push_str(self.written(&mut [0; 25]));
    }

    fn written<'a>(&self, room: &'a mut [u8; 25]) -> &'a str {
        room[0] = LETTER as u8;
        to_hex(&self.0, &mut room[1..]);
        std::str::from_utf8(room).expect("a letter and digits")
    }
}

impl<const LETTER: char> fmt::Display for Id<LETTER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written(&mut [0; 25]))
    }
}

impl<const LETTER: char> fmt::Debug for Id<LETTER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const LETTER: char> Serialize for Id<LETTER> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the names of all events of one stream and epoch begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stem([u8; 7]);

impl Stem {
    /// Of a stream in an epoch; another stream's or epoch's differs but for a chance of 2^-56.
    pub fn of(stream: &StreamId, epoch: Epoch) -> Self {
        let mut hash = Sha256::new();
        hash.update(stream.bytes());
        hash.update(epoch.bits().to_be_bytes());
        let mut stem = [0; 7];
        stem.copy_from_slice(&hash.finalize()[..7]);
        Self(stem)
    }
}

impl EventId {
    /// The event at a place: an event's name says where it is found.
    pub fn at(stem: Stem, offset: Offset) -> Self {
        let mut bytes = [0; 12];
        bytes[..7].copy_from_slice(&stem.0);
        bytes[7..].copy_from_slice(&offset.0.to_be_bytes()[3..]);
        Self(bytes)
    }

    /// The name of the event `count` places after this one.
    pub fn plus(&self, count: u32) -> Self {
        let offset = Offset(self.offset().0 + u64::from(count));
        let mut stem = [0; 7];
        stem.copy_from_slice(&self.0[..7]);
        Self::at(Stem(stem), offset)
    }

    /// The offset in the name.
    pub fn offset(&self) -> Offset {
        let mut bytes = [0; 8];
        bytes[3..].copy_from_slice(&self.0[7..]);
        Offset(u64::from_be_bytes(bytes))
    }
}

/// Names a token in public: random 64 bits, the first half of every session it opens. `k` + 16 hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenKey(pub [u8; 8]);

impl TokenKey {
    /// A key nobody has, nor any guest.
    pub fn random() -> Self {
        loop {
            let key = Self(rand::random());
            if !key.is_guest() {
                return key;
            }
        }
    }

    /// That of who is let in without a token, one for each company, by its row.
    pub fn guest(company_id: i64) -> Self {
        let [.., a, b, c, d] = company_id.to_be_bytes();
        Self([0, 0, 0, 0, a, b, c, d])
    }

    /// Whether no token has this key, but who was let in without one.
    pub fn is_guest(self) -> bool {
        self.0[..4] == [0; 4]
    }

    /// Parses `k` and 16 digits.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let key = text.strip_prefix('k').and_then(from_hex).map(Self);
        key.ok_or_else(|| {
            let text = "a token's id is k and 16 hexadecimal digits";
            Refusal::new(Code::NameMalformed, text)
        })
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TokenKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Names a live connection within its company, later ones greater: `c` + 16 hex.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// Parses `c` and 16 digits, lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('c')?;
        Some(Self(u64::from_be_bytes(from_hex(digits)?)))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:016x}", self.0)
    }
}

/// The two digits of each byte.
const DIGITS: [[u8; 2]; 256] = {
    let (digits, mut all, mut byte) = (b"0123456789abcdef", [[0; 2]; 256], 0);
    while byte < 256 {
        all[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    all
};

/// What each digit stands for; more than 15 for what is none.
const VALUES: [u8; 256] = {
    let (mut all, mut value) = ([u8::MAX; 256], 0);
    while value < 16 {
        all[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    all
};

fn to_hex(bytes: &[u8], out: &mut [u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        [pair[0], pair[1]] = DIGITS[usize::from(*byte)];
    }
}

fn from_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    let mut wrong = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = [VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]];
        wrong |= high | low;
        *byte = high << 4 | low & 15;
    }
    (wrong < 16).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_documented_sample_is_an_id() {
        let text = "s53b1d1600cf27b75148de0ac";
        assert_eq!(StreamId::parse(text).map(|id| id.to_string()), Some(text.to_owned()));
        assert_eq!(SYSTEM.to_string(), "i000000000000000000000001");
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(bytes: [u8; 12], key: [u8; 8]) {
            let id = StreamId::new(bytes);
            prop_assert_eq!(StreamId::parse(&id.to_string()), Some(id));
            prop_assert_eq!(TokenKey::parse(&TokenKey(key).to_string()).ok(), Some(TokenKey(key)));
        }

        #[test]
        fn only_the_exact_shape_parses(text in "\\PC{0,30}") {
            let shape = text.len() == 25 && text.starts_with('s')
                && text[1..].bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            prop_assert_eq!(StreamId::parse(&text).is_some(), shape);
        }
    }
}
