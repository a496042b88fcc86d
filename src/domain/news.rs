//! What is told of people while it happens, to those who listen to their company's notices.
//!
//! Numbers and members are those of Webinate users (socket-event-types.ts), whose clients wait for
//! them.

use crate::domain::path::UserName;
use crate::domain::payload::Payload;

/// What happened to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// They signed in.
    SignedIn,
    /// They signed out.
    SignedOut,
    /// They set their first password.
    Activated,
    /// They are no longer a user.
    Removed,
}

impl News {
    /// What is published.
    pub fn elems(self, user: &UserName) -> Payload {
        let number = match self {
            News::SignedIn => 1,
            News::SignedOut => 2,
            News::Activated => 3,
            News::Removed => 4,
        };
        // A name has no character that JSON would write otherwise.
        Payload::stored(format!(r#"{{"eventType":{number},"username":"{user}"}}"#).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_reads_as_the_clients_know_it() {
        let george = UserName::parse("george").expect("a name");
        let texts = [News::SignedIn, News::SignedOut, News::Activated, News::Removed].map(|news| news.elems(&george));
        for (number, text) in (1..).zip(texts) {
            let expected = format!(r#"{{"eventType":{number},"username":"george"}}"#);
            assert_eq!(text.as_str(), expected);
        }
    }
}
