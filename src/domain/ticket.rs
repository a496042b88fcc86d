//! What a connection of channels was let in with.
//!
//! The names are those of RootSocket's connection tokens (rootsocketjs, jwt.spec.ts).

use std::fmt;

/// Names a connection of channels: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketId(pub [u8; 16]);

impl TicketId {
    /// A name nobody has.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Parses 32 digits, lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_plain)?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// What a connection of channels was let in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The connection's name.
    pub id: TicketId,
    /// What the client called itself.
    pub user_agent: Option<Box<str>>,
    /// Whether it may publish.
    pub may_send: bool,
    /// Whether it may subscribe.
    pub may_subscribe: bool,
    /// Whether it needs a token of the channel for that.
    pub needs_authorization: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let id = TicketId::random();
        assert_eq!(TicketId::parse(&id.to_string()), Some(id));
        for bad in ["", "+0000000000000000000000000000001", "0", &"A".repeat(32)] {
            assert_eq!(TicketId::parse(bad), None, "{bad}");
        }
    }
}
