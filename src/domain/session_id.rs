//! The text that names a session and proves itself: `n2fBC9YeE6g.qsQNPOZfoSRP3brEY_9QWapawcjXl04Y`.
//!
//! 11 base64url characters, a dot, 32 more: the token's key (8 bytes), then expiry (4, unix
//! seconds), nonce (4) and a truncated MAC (16). Whoever holds the id holds the session, so it
//! is never shown by `Debug` and must not be logged.

use crate::domain::id::TokenKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Characters of an id.
const CHARS: usize = 44;
/// Characters before the dot.
const HEAD_CHARS: usize = 11;
/// Bytes that the MAC covers.
const SIGNED: usize = 16;
/// In the nonce: the server remembers more about this session than its id tells.
const REMEMBERED: u32 = 1 << 31;

/// An id of the right shape; whether it is genuine is for [`crate::sessions`] to say.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 32]);

impl SessionId {
    /// The signed part of a new id; `nonce` loses its highest bit to `remembered`.
    pub fn unsigned(token: TokenKey, expires_s: u32, nonce: u32, remembered: bool) -> [u8; SIGNED] {
        let nonce = if remembered {
            nonce | REMEMBERED
        } else {
            nonce & !REMEMBERED
        };
        let mut bytes = [0; SIGNED];
        bytes[..8].copy_from_slice(&token.0);
        bytes[8..12].copy_from_slice(&expires_s.to_be_bytes());
        bytes[12..].copy_from_slice(&nonce.to_be_bytes());
        bytes
    }

    /// Puts a MAC behind its signed part.
    pub fn signed(signed: [u8; SIGNED], mac: [u8; 16]) -> Self {
        let mut bytes = [0; 32];
        bytes[..SIGNED].copy_from_slice(&signed);
        bytes[SIGNED..].copy_from_slice(&mac);
        Self(bytes)
    }

    /// Parses the text, which has exactly one form for each id.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != CHARS || text.as_bytes()[HEAD_CHARS] != b'.' || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        let (head, tail) = (&text[..HEAD_CHARS], &text[HEAD_CHARS + 1..]);
        let head = URL_SAFE_NO_PAD.decode_slice(head, &mut bytes[..8]);
        let tail = URL_SAFE_NO_PAD.decode_slice(tail, &mut bytes[8..]);
        (head == Ok(8) && tail == Ok(24)).then_some(Self(bytes))
    }

    /// The text.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(CHARS);
        URL_SAFE_NO_PAD.encode_string(&self.0[..8], &mut text);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(&self.0[8..], &mut text);
        text
    }

    /// The half before the dot of the ids of a token's sessions.
    pub fn first_half(token: TokenKey) -> String {
        URL_SAFE_NO_PAD.encode(token.0)
    }

    /// What the MAC covers.
    pub fn signed_part(&self) -> &[u8] {
        &self.0[..SIGNED]
    }

    /// The MAC.
    pub fn mac(&self) -> &[u8] {
        &self.0[SIGNED..]
    }

    /// The token that opened the session.
    pub fn token(&self) -> TokenKey {
        let mut key = [0; 8];
        key.copy_from_slice(&self.0[..8]);
        TokenKey(key)
    }

    /// When it lapses if nothing ever connects, in unix seconds.
    pub fn expires_s(&self) -> u32 {
        self.number(8)
    }

    /// Whether the server must remember something about it, or else it has lapsed.
    pub fn is_remembered(&self) -> bool {
        self.number(12) & REMEMBERED != 0
    }

    fn number(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_be_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_documented_sample_has_the_shape() {
        let text = "n2fBC9YeE6g.qsQNPOZfoSRP3brEY_9QWapawcjXl04Y";
        assert_eq!(SessionId::parse(text).map(|id| id.encode()).as_deref(), Some(text));
    }

    proptest! {
        #[test]
        fn one_text_for_each_id(bytes: [u8; 32], change in 0..44_usize, other in "[A-Za-z0-9_.=+/-]") {
            let id = SessionId(bytes);
            let text = id.encode();
            prop_assert_eq!(text.len(), 44);
            prop_assert!(SessionId::parse(&text) == Some(id));
            let mut changed = text.clone();
            changed.replace_range(change..=change, &other);
            if changed != text {
                prop_assert!(SessionId::parse(&changed) != Some(id));
            }
        }

        #[test]
        fn parts_come_back(key: [u8; 8], expires_s: u32, nonce: u32, remembered: bool, mac: [u8; 16]) {
            let id = SessionId::signed(SessionId::unsigned(TokenKey(key), expires_s, nonce, remembered), mac);
            prop_assert_eq!(id.token(), TokenKey(key));
            prop_assert_eq!(id.expires_s(), expires_s);
            prop_assert_eq!(id.is_remembered(), remembered);
            prop_assert_eq!(id.mac(), &mac[..]);
        }

        #[test]
        fn anything_else_is_refused_without_panic(text in "\\PC{0,50}") {
            if let Some(id) = SessionId::parse(&text) {
                prop_assert_eq!(id.encode(), text);
            }
        }
    }
}
