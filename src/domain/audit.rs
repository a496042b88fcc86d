//! Who did what: the closed list of what is kept, and who can have done it.
//!
//! Invariant: no entry holds a secret, only names that may be known.

use crate::domain::id::TokenKey;
use crate::domain::path::UserName;
use std::net::IpAddr;

macro_rules! actions {
    ($($name:ident = $word:literal,)*) => {
        /// What can have been done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Action { $(#[doc = $word] $name,)* }

        impl Action {
            /// All of them.
            pub const ALL: &[Action] = &[$(Action::$name,)*];

            /// Its stable name.
            pub const fn word(self) -> &'static str {
                match self { $(Action::$name => $word,)* }
            }
        }
    };
}

actions! {
    TokenCreated = "token.created",
    TokenRevoked = "token.revoked",
    TokenRotated = "token.rotated",
    UserAdded = "user.added",
    UserRemoved = "user.removed",
    UserChanged = "user.changed",
    UserReset = "user.reset",
    PasswordSet = "password.set",
    LoginOpened = "login.opened",
    LoginRefused = "login.refused",
    StreamCreated = "stream.created",
    StreamChanged = "stream.changed",
    StreamDeleted = "stream.deleted",
    EventsDeleted = "events.deleted",
    KeyAdded = "key.added",
    KeyRemoved = "key.removed",
    ConnectionClosed = "connection.closed",
    CompanyChanged = "company.changed",
}

impl Action {
    /// The action of a name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.word() == word)
    }
}

/// Who does something. The command line has neither user nor token nor address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The user, if it is one.
    pub user: Option<UserName>,
    /// The token that was used; none for who is signed in.
    pub token: Option<TokenKey>,
    /// Where from.
    pub address: Option<IpAddr>,
}

impl Actor {
    /// Whoever has the database file in hand.
    pub const COMMAND_LINE: Actor = Actor {
        user: None,
        token: None,
        address: None,
    };
}

/// What is written down.
pub struct Note {
    /// What was done.
    pub action: Action,
    /// To what: a name, a path or an id.
    pub subject: String,
    /// What else is to be known, as a JSON object.
    pub detail: serde_json::Value,
}

impl Note {
    /// With nothing else to be known.
    pub fn new(action: Action, subject: impl ToString) -> Self {
        Self::with(action, subject, serde_json::json!({}))
    }

    /// With what else is to be known, a JSON object.
    pub fn with(action: Action, subject: impl ToString, detail: serde_json::Value) -> Self {
        let subject = subject.to_string();
        Self {
            action,
            subject,
            detail,
        }
    }
}

/// What was written down, as the catalogue has it.
pub struct Entry {
    /// Its number within the company.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Who, by their names of that time.
    pub user: Option<String>,
    /// The token that was used.
    pub token: Option<TokenKey>,
    /// Where from.
    pub address: Option<String>,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The text of a JSON object.
    pub detail: String,
}

/// Which entries are wanted, the newest first.
#[derive(Default)]
pub struct AuditPage {
    /// How many to pass over.
    pub start: usize,
    /// How many to return.
    pub limit: usize,
    /// Only of this action.
    pub action: Option<Action>,
    /// Only of this user.
    pub user: Option<String>,
}
