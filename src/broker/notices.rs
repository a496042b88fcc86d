//! A company's notices: who may come to them, what is told there, and what is kept of users.
//!
//! Knows no frame. Invariants: who has neither a key nor an approved origin is not let in; what is
//! kept of users is for who has a key that manages the notices, unless the company says otherwise.

use crate::broker::{Broker, Entry, Seat};
use crate::catalogue::now_ms;
use crate::domain::durability::Durability;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::event::Draft;
use crate::domain::id::SYSTEM;
use crate::domain::meta;
use crate::domain::news::News;
use crate::domain::path::{CompanyName, Path, UserName};
use crate::domain::scope::Verb;
use crate::domain::stream::Target;
use crate::domain::token::Access;
use crate::domain::visitor::Visitor;
use crate::log::Publication;
use std::sync::Arc;

/// What is shown of an origin.
const ORIGIN_CHARS: usize = 128;

impl Broker {
    /// Takes a place at a company's notices for whoever presents a key of the company's that may read
    /// them, or else comes from an origin that it approves of; where there is a `lobby`, else at the
    /// notices of that company on the same terms, so that nobody learns which companies there are.
    ///
    /// A key that is none is as good as no key (Webinate users, comms-controller.ts), but counted as a
    /// guess. Refused with `company.unknown`, `origin.denied`, or `limit.attempts` after too many guesses.
    pub fn connect_to_notices(
        self: &Arc<Self>,
        company: &str,
        lobby: Option<&CompanyName>,
        key: Option<&str>,
        visitor: &Visitor,
    ) -> Result<Seat, Refusal> {
        let holder = self.holder(key, visitor)?;
        let way = self.way_in(company, holder.as_ref(), visitor);
        let (access, entry) = match lobby {
            Some(lobby) if way.is_err() && lobby.as_str() != company => {
                self.way_in(lobby.as_str(), holder.as_ref(), visitor)
            }
            _ => way,
        }?;
        self.take_seat(access, entry)
    }

    /// What somebody is let in with, and as whom.
    fn way_in(&self, company: &str, holder: Option<&Access>, visitor: &Visitor) -> Result<(Access, Entry), Refusal> {
        if let Some(access) = holder.filter(|access| opens(access, company)) {
            return Ok((access.clone(), Entry::Notices { has_key: true }));
        }
        let unknown = || Refusal::new(Code::CompanyUnknown, "there is no such company");
        let found = self.company_settings(company).ok_or_else(unknown)?;
        let origin = visitor.origin.unwrap_or_default();
        if origin.is_empty() || !found.settled.approves(origin) {
            // Clients are told nothing, so it is here that people look for which origin it was.
            let shown: String = origin.chars().take(ORIGIN_CHARS).collect();
            tracing::info!(target: "streamgate::access", company, origin = ?shown, "origin not approved");
            let text = "no expression of \"approvedSocketDomains\" is found in this origin";
            return Err(Refusal::new(Code::OriginDenied, text));
        }
        let guest = self.notices_guest(company, visitor).ok_or_else(unknown)?;
        Ok((guest, Entry::Notices { has_key: false }))
    }

    /// Whoever a key is of, if anybody; refused with `limit.attempts` after too many that were nobody's.
    fn holder(&self, key: Option<&str>, visitor: &Visitor) -> Result<Option<Access>, Refusal> {
        let Some(key) = key else {
            return Ok(None);
        };
        let found = self.sign_in_with_key(key, visitor);
        match found.map_err(|refusal| self.count_failure(visitor.address, "", refusal)) {
            Ok(access) => Ok(Some(access)),
            Err(refusal) if refusal.code == Code::LimitAttempts => Err(refusal),
            Err(_) => Ok(None),
        }
    }

    /// Tells a company's notices what happened to somebody. That it cannot be told undoes nothing, and
    /// nobody waits for a disk because of it.
    pub(super) fn tell_news(&self, company: &CompanyName, news: News, user: &UserName) {
        let target = Target::Path(Path::notices(company));
        let Some(stream) = self.catalogue.find(&target).or_else(|| self.find_fleeting(&target)) else {
            return;
        };
        let now_ms = now_ms();
        let draft = Draft {
            elems: news.elems(user),
            hash: None,
        };
        if self.check_draft(&stream, SYSTEM, now_ms, &draft).is_err() {
            return;
        }
        let publication = Publication {
            creator: SYSTEM,
            now_ms,
            asked: self.metrics.delivery_seconds.stamp(),
            drafts: vec![(stream, draft)],
            ack: Some(Durability::Accepted),
            expected: None,
            key: None,
        };
        if let Err(refusal) = self.log.leave(publication) {
            tracing::warn!("what happened to a user was not told: {refusal}");
        }
    }

    /// The meta of a user of the company that sits there, a JSON text; refused with `scope.denied` or
    /// `user.unknown`.
    pub async fn meta(&self, seat: &Seat, user: &UserName) -> Result<String, Error> {
        self.check_meta(seat)?;
        self.catalogue.meta_of(seat.access.token.company_id, user).await
    }

    /// Sets a part of a user's meta, or all of it; refused as [`Broker::meta`], with `meta.malformed`,
    /// `limit.depth` or `limit.meta`, and with `limit.rate` as if it were an event.
    pub async fn set_meta(&self, seat: &Seat, user: &UserName, part: Option<&str>, value: String) -> Result<(), Error> {
        self.check_meta(seat)?;
        self.rates.publish(seat.access.token.key, 1, &self.limits)?;
        let limits = &self.limits;
        let change = |old: &str| match part {
            Some(part) => meta::set(old, part, &value, limits),
            None => meta::check(&value, limits).map(|()| value),
        };
        self.catalogue
            .change_meta(seat.access.token.company_id, user, change)
            .await
    }

    fn check_meta(&self, seat: &Seat) -> Result<(), Refusal> {
        let company = &seat.access.token.company;
        let has_right = match seat.entry {
            Entry::Notices { has_key: false } => false,
            _ => seat.access.check_path(Verb::Manage, &Path::notices(company)).is_ok(),
        };
        let is_open = || {
            let found = self.company_settings(company.as_str());
            found.is_some_and(|found| found.settled.settings.allow_meta_without_key)
        };
        if has_right || is_open() {
            return Ok(());
        }
        let text = format!(
            "You do not have permission to make this request: connect with a key in users-api-key that manages {}",
            Path::notices(company)
        );
        Err(Refusal::new(Code::ScopeDenied, text))
    }
}

/// Whether somebody may come to a company's notices by what they hold.
fn opens(access: &Access, company: &str) -> bool {
    let name = &access.token.company;
    name.as_str() == company && access.check_path(Verb::Read, &Path::notices(name)).is_ok()
}
