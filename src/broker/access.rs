//! Who is asking, and what they get to ask with: sessions, and seats for their connections.
//!
//! Invariant: whatever a token may do, it may do at its places only, at every use.

use crate::broker::people::nobody;
use crate::broker::{Broker, Seat};
use crate::database::now_ms;
use crate::domain::error::{Code, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::scope::{Scope, ScopeJson};
use crate::domain::session_id::SessionId;
use crate::domain::token::{Access, Means};
use crate::domain::visitor::Visitor;
use crate::sessions::Wishes;
use std::sync::Arc;
use std::time::Duration;

impl Broker {
    /// Whoever presents company, user (with a master token) and token, at a place where the token
    /// may be used.
    pub fn sign_in(
        &self,
        company: &str,
        user: Option<&str>,
        secret: &str,
        visitor: &Visitor,
    ) -> Result<Access, Refusal> {
        let token = self.catalogue.authenticate(company, user, secret)?;
        token.places.check(visitor)?;
        Ok(Access {
            token,
            narrowed: None,
            address: visitor.address,
            means: Means::Token,
        })
    }

    /// Whoever is signed in with this secret, as their master token; of `company`, if that is said.
    pub fn sign_in_again(&self, secret: &str, company: Option<&str>, visitor: &Visitor) -> Result<Access, Refusal> {
        let found = self.catalogue.login(secret);
        let (_, token) = found.ok_or_else(nobody)?;
        if company.is_some_and(|company| company != token.company.as_str()) {
            let text = "company, user and token do not go together";
            return Err(Refusal::new(Code::AuthRefused, text));
        }
        Ok(Access {
            token,
            narrowed: None,
            address: visitor.address,
            means: Means::Login,
        })
    }

    /// The asker with no more rights than `paths`; never with more than they have.
    pub fn narrow(&self, access: Access, paths: Option<&ScopeJson>) -> Result<Access, Refusal> {
        let Some(paths) = paths else {
            return Ok(access);
        };
        let scope = Scope::parse(paths, &access.token.company, self.limits.max_patterns)?;
        if !access.scope().covers(&scope) {
            let text = "\"paths\" asks for more than the token may do";
            return Err(Refusal::new(Code::ScopeDenied, text));
        }
        let narrowed = Some(Arc::new(scope));
        Ok(Access { narrowed, ..access })
    }

    /// Opens a session of the asker.
    pub fn open_session(&self, access: &Access, ttl: Option<Duration>) -> Result<SessionId, Refusal> {
        access.token.check(now_ms())?;
        self.rates.open(access.token.key, &self.limits)?;
        let scope = access.narrowed.clone();
        self.sessions.issue(access.token.key, Wishes { scope, ttl })
    }

    /// Takes a place for a connection of the session, at a place where its token may be used.
    pub fn connect(self: &Arc<Self>, session: SessionId, visitor: &Visitor) -> Result<Seat, Refusal> {
        self.check_running()?;
        self.sessions.verify(&session)?;
        let token = self.catalogue.token(session.token())?;
        token.places.check(visitor)?;
        let entered = self.seats.enter(&token, &self.limits, &self.metrics);
        entered.inspect_err(|_| self.watching.room(token.company_id).refuse(now_ms()))?;
        match self.sessions.enter(&session) {
            Ok(narrowed) => Ok(Seat {
                access: Access {
                    token,
                    narrowed,
                    address: visitor.address,
                    means: Means::Token,
                },
                broker: Arc::clone(self),
                session,
                watched: None,
            }),
            Err(refusal) => {
                self.seats.leave(&token, &self.metrics);
                Err(refusal)
            }
        }
    }

    /// Refused when a connection's token is no longer good, whatever was or was not told of it.
    pub fn check_token(&self, token: TokenKey) -> Result<(), Refusal> {
        self.catalogue.check_token(token)
    }
}
