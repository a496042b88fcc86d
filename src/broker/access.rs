//! Who is asking, and what they get to ask with: sessions, and seats for their connections.
//!
//! Invariant: whatever a token may do, it may do at its places only, at every use.

use crate::broker::people::nobody;
use crate::broker::{Broker, Entry, Seat};
use crate::catalogue::Company;
use crate::database::now_ms;
use crate::domain::company::{Changes, CompanySettings};
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::id::{SYSTEM, TokenKey};
use crate::domain::path::Path;
use crate::domain::scope::{Scope, ScopeJson, Verb};
use crate::domain::session_id::SessionId;
use crate::domain::token::{Access, Means, Token};
use crate::domain::visitor::{Places, Visitor};
use crate::sessions::Wishes;
use hmac::Mac;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
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
        Ok(access(token, visitor))
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
        self.check_opening(access)?;
        let scope = access.narrowed.clone();
        self.sessions.issue(access.token.key, Wishes { scope, ttl })
    }

    /// Counts in that the asker lets somebody connect; refused when their token is no longer good, or with
    /// `limit.rate`.
    pub fn check_opening(&self, access: &Access) -> Result<(), Refusal> {
        access.token.check(now_ms())?;
        self.rates.open(access.token.key, &self.limits)
    }

    /// Takes a place for a connection of the session, at a place where its token may be used.
    pub fn connect(self: &Arc<Self>, session: SessionId, visitor: &Visitor) -> Result<Seat, Refusal> {
        self.check_running()?;
        self.sessions.verify(&session)?;
        let token = self.catalogue.token(session.token())?;
        token.places.check(visitor)?;
        self.enter(&token)?;
        match self.sessions.enter(&session) {
            Ok(narrowed) => Ok(Seat {
                access: Access {
                    narrowed,
                    ..access(token, visitor)
                },
                entry: Entry::Session(session),
                broker: Arc::clone(self),
                watched: None,
                rests: Cell::new(false),
            }),
            Err(refusal) => {
                self.seats.leave(&token, &self.metrics);
                Err(refusal)
            }
        }
    }

    /// Takes a place for a connection of whoever has shown otherwise than by a session who they are; refused
    /// with `ticket.used` for a ticket whose connection lives.
    pub fn take_seat(self: &Arc<Self>, access: Access, entry: Entry) -> Result<Seat, Refusal> {
        self.check_running()?;
        self.seats.claim(&entry)?;
        self.enter(&access.token).inspect_err(|_| self.seats.release(&entry))?;
        Ok(Seat {
            access,
            entry,
            broker: Arc::clone(self),
            watched: None,
            rests: Cell::new(false),
        })
    }

    fn enter(&self, token: &Token) -> Result<(), Refusal> {
        let entered = self.seats.enter(token, &self.limits, &self.metrics);
        entered.inspect_err(|_| self.watching.room(token.company_id).refuse(now_ms()))
    }

    /// Whoever presents a token alone, at a place where it may be used: for clients that have nothing else.
    pub fn sign_in_with_key(&self, secret: &str, visitor: &Visitor) -> Result<Access, Refusal> {
        let token = self.catalogue.authenticate_key(secret)?;
        token.places.check(visitor)?;
        Ok(access(token, visitor))
    }

    /// Whoever presents a token of a company, which alone says who they are, a master token too: for
    /// clients that know of no users.
    pub fn sign_in_of(&self, company: &str, secret: &str, visitor: &Visitor) -> Result<Access, Refusal> {
        let token = self.catalogue.authenticate_of(company, secret)?;
        token.places.check(visitor)?;
        Ok(access(token, visitor))
    }

    /// Whoever a token of ours names by its key, at a place where it may be used.
    pub fn sign_in_as(&self, key: TokenKey, visitor: &Visitor) -> Result<Access, Refusal> {
        let token = self.catalogue.token(key)?;
        token.places.check(visitor)?;
        Ok(access(token, visitor))
    }

    /// Somebody without a token, who may read and write a company's notices and nothing else; none if
    /// there is no such company.
    pub fn notices_guest(&self, company: &str, visitor: &Visitor) -> Option<Access> {
        let company = self.catalogue.company_by_name(company)?;
        let token = Token {
            key: TokenKey::guest(company.id),
            company_id: company.id,
            company: company.name.clone(),
            user: None,
            user_id: None,
            manages: false,
            creator: SYSTEM,
            scope: Scope::notices(&company.name),
            signs: false,
            places: Places::default(),
            label: "notices".to_owned(),
            created_ms: 0,
            expires_ms: None,
            revoked_ms: None,
            used_ms: AtomicU64::default(),
        };
        Some(access(Arc::new(token), visitor))
    }

    /// What a company says of itself; none if there is no such company.
    pub fn company_settings(&self, company: &str) -> Option<Arc<Company>> {
        self.catalogue.company_by_name(company)
    }

    /// Changes what the asker's company says of itself, and returns all of it. For users who manage.
    pub async fn change_company_settings(&self, access: &Access, changes: &Changes) -> Result<CompanySettings, Error> {
        access.require_managing()?;
        let company = &access.token.company;
        let settings = self.catalogue.change_company(company, changes, &access.actor()).await?;
        self.follow_changes().await?;
        Ok(settings)
    }

    /// A secret of our own for `purpose`, the same after a restart.
    pub fn key_for(&self, purpose: &str) -> [u8; 32] {
        self.catalogue.key_for(purpose).finalize().into_bytes().into()
    }

    /// Refused unless a token of ours is good and may do `verb` on `path`.
    pub fn check_key(&self, key: TokenKey, verb: Verb, path: &Path) -> Result<(), Refusal> {
        let token = self.catalogue.token(key)?;
        access(token, &Visitor::default()).check_path(verb, path)
    }

    /// Refused when a connection's token is no longer good, whatever was or was not told of it.
    pub fn check_token(&self, token: TokenKey) -> Result<(), Refusal> {
        self.catalogue.check_token(token)
    }
}

/// Somebody at a place, by a token that has not been narrowed.
fn access(token: Arc<Token>, visitor: &Visitor) -> Access {
    Access {
        token,
        narrowed: None,
        address: visitor.address,
        means: Means::Token,
    }
}
