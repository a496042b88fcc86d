//! A token as the catalogue describes it, and what whoever holds it may do.
//!
//! Invariant: the secret itself is nowhere here, nor anywhere else after it was shown once.

use crate::domain::audit::Actor;
use crate::domain::error::{Code, Refusal};
use crate::domain::id::{IdentityId, TokenKey};
use crate::domain::path::{CompanyName, Path, Pattern, UserName};
use crate::domain::scope::{Scope, Verb, Verbs};
use crate::domain::stream::Stream;
use crate::domain::visitor::Places;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The right to act for a company.
#[derive(Debug)]
pub struct Token {
    /// Its name in public.
    pub key: TokenKey,
    /// The company's row.
    pub company_id: i64,
    /// The company's name.
    pub company: CompanyName,
    /// Whose master token it is; none if restricted.
    pub user: Option<UserName>,
    /// The user's row.
    pub user_id: Option<i64>,
    /// Whether that user manages; a restricted token never does.
    pub manages: bool,
    /// The creator of what is published with it.
    pub creator: IdentityId,
    /// What it may do.
    pub scope: Scope,
    /// Whether it is a signing key, whose holder signs instead of presenting a secret.
    pub signs: bool,
    /// Where it may be used.
    pub places: Places,
    /// What it is for.
    pub label: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it ends by itself.
    pub expires_ms: Option<u64>,
    /// When it was revoked.
    pub revoked_ms: Option<u64>,
    /// When it was used last; 0 is never.
    pub used_ms: AtomicU64,
}

impl Token {
    /// Refused with `token.revoked` or `token.expired` when it is no longer good.
    pub fn check(&self, now_ms: u64) -> Result<(), Refusal> {
        if self.revoked_ms.is_some() {
            let text = "the token was revoked";
            return Err(Refusal::new(Code::TokenRevoked, text));
        }
        if self.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            let text = "the token has expired";
            return Err(Refusal::new(Code::TokenExpired, text));
        }
        Ok(())
    }

    /// Whether it may do `verb` on `path`, wherever from.
    pub fn can(&self, verb: Verb, path: &Path, now_ms: u64) -> Verdict {
        let no = |why: String| Verdict {
            allowed: false,
            rule: None,
            why,
        };
        if let Err(refusal) = self.check(now_ms) {
            return no(refusal.to_string());
        }
        if path.company() != self.company.as_str() {
            return no("the path is another company's".to_owned());
        }
        let Some((pattern, verbs)) = self.scope.rule(verb, path) else {
            return no(format!("no rule lets it {} {path}", verb.word()));
        };
        let places = match self.places == Places::default() {
            true => "",
            false => ", at the origins and addresses that it lists",
        };
        Verdict {
            allowed: true,
            why: format!("{pattern} lets it {} {path}{places}", verb.word()),
            rule: Some((pattern.clone(), verbs)),
        }
    }

    /// Remembers that it was used.
    pub fn touch(&self, now_ms: u64) {
        self.used_ms.fetch_max(now_ms, Ordering::Relaxed);
    }
}

/// Whether a token may do something, and why.
pub struct Verdict {
    /// Whether it may.
    pub allowed: bool,
    /// The rule by which it may.
    pub rule: Option<(Pattern, Verbs)>,
    /// One sentence.
    pub why: String,
}

/// How somebody showed who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// They hold the token, or a session of it.
    Token,
    /// They are signed in, and act as their master token would.
    Login,
}

/// The last time at which a token can end: that of the year 9999, which every clock can show.
pub const LAST_EXPIRY_MS: u64 = 253_402_300_799_999;

/// Who is asking: a token, or a session of it that may be narrowed.
#[derive(Clone, Debug)]
pub struct Access {
    /// The token behind it.
    pub token: Arc<Token>,
    /// What the session was narrowed to; never more than the token may do.
    pub narrowed: Option<Arc<Scope>>,
    /// Where from, if the connection has a peer.
    pub address: Option<IpAddr>,
    /// How that is known.
    pub means: Means,
}

impl Access {
    /// What may be done.
    pub fn scope(&self) -> &Scope {
        self.narrowed.as_deref().unwrap_or(&self.token.scope)
    }

    /// Whoever is asking, for the audit.
    pub fn actor(&self) -> Actor {
        Actor {
            user: self.token.user.clone(),
            token: (self.means == Means::Token).then_some(self.token.key),
            address: self.address,
        }
    }

    /// Refused with `scope.denied` unless this is a user, not a restricted token.
    pub fn require_user(&self) -> Result<&UserName, Refusal> {
        let denied = || Refusal::new(Code::ScopeDenied, "this is for users, not for restricted tokens");
        self.token.user.as_ref().ok_or_else(denied)
    }

    /// Refused with `scope.denied` unless this is a user who manages.
    pub fn require_managing(&self) -> Result<&UserName, Refusal> {
        let user = self.require_user()?;
        match self.token.manages {
            true => Ok(user),
            false => Err(Refusal::new(Code::ScopeDenied, "this is for users who manage")),
        }
    }

    /// Refused with `stream.unknown` for another company's path, with `scope.denied` for one of
    /// the own company that the scope does not allow, whether there is such a stream or not.
    pub fn check_path(&self, verb: Verb, path: &Path) -> Result<(), Refusal> {
        if path.company() != self.token.company.as_str() {
            return Err(Refusal::no_stream(path));
        }
        if !self.scope().allows(verb, path) {
            let text = format!("no right to {} {path}", verb.word());
            return Err(Refusal::new(Code::ScopeDenied, text));
        }
        Ok(())
    }

    /// Refused with `stream.unknown` when the stream, found by its id, may not be known of.
    pub fn check_stream(&self, verb: Verb, stream: &Stream) -> Result<(), Refusal> {
        self.check_path(verb, &stream.path)
            .map_err(|_| Refusal::no_stream(stream.id))
    }
}
