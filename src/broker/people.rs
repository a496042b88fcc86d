//! Who people are: signing in and out, passwords, and keeping users.
//!
//! Invariant: whoever cannot sign in is told the same after the same time, whatever is wrong.

use crate::broker::Broker;
use crate::catalogue::{Member, Opened, not_signed_in};
use crate::domain::audit::{Action, Actor, Note};
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::news::News;
use crate::domain::path::{CompanyName, UserName};
use crate::domain::person::{Password, Person};
use crate::domain::token::Access;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Refused sign-ins of a company that are written down at once.
const TOLD_AT_ONCE: u32 = 20;
/// How often another is after that; so a stranger needs a year to push what else is known out of the audit.
const TOLD_EVERY: Duration = Duration::from_secs(600);

/// How many refused sign-ins were written down lately, by company.
#[derive(Default)]
pub(super) struct Telling(Mutex<HashMap<i64, Told>>);

struct Told {
    left: u32,
    since: Instant,
    untold: u64,
}

/// Somebody who is signed in.
pub struct SignedIn {
    /// Who.
    pub member: Member,
    /// Their master token.
    pub token: TokenKey,
    /// The end of it, in milliseconds since 1970.
    pub expires_ms: u64,
}

impl Broker {
    /// Signs somebody in. Refused with `auth.refused`, or `limit.attempts` after too many of those.
    pub async fn open_login(
        &self,
        company: &str,
        user: &str,
        password: Password,
        address: Option<IpAddr>,
    ) -> Result<(Member, Opened), Error> {
        let found = self.catalogue.member(company, user).await?;
        let member = self.verify(company, user, found, password, address).await?;
        let opened = self.catalogue.open_login(&member, &from(address)).await?;
        self.follow_changes().await?;
        self.tell_news(&member.company, News::SignedIn, &member.user);
        Ok((member, opened))
    }

    /// The user, if the password is theirs.
    async fn verify(
        &self,
        company: &str,
        user: &str,
        found: Option<Member>,
        password: Password,
        address: Option<IpAddr>,
    ) -> Result<Member, Error> {
        let tried = self.lockout.begin(company, user, address, Instant::now())?;
        let stored = found.as_ref().and_then(|member| member.password.clone());
        match (self.passwords.is_right(password, stored).await, found) {
            (Ok(true), Some(member)) => {
                self.lockout.was_right(tried);
                Ok(member)
            }
            (Ok(_), found) => {
                tracing::info!("not signed in: {}", why(found.as_ref()));
                self.tell_refused(company, found.as_ref(), address).await?;
                Err(not_signed_in().into())
            }
            (Err(error), _) => {
                self.lockout.was_not_judged(tried);
                Err(error)
            }
        }
    }

    /// Writes a refused sign-in down, unless there were many lately. A name that nobody has may be
    /// a password in the wrong place, so it is not kept.
    async fn tell_refused(&self, company: &str, found: Option<&Member>, address: Option<IpAddr>) -> Result<(), Error> {
        let company_id = match found {
            Some(member) => Some(member.company_id),
            None => match CompanyName::parse(company) {
                Ok(name) => self.catalogue.company(&name).await?,
                Err(_) => None,
            },
        };
        let Some((company_id, untold)) = company_id.and_then(|id| Some((id, self.telling.take(id, Instant::now())?)))
        else {
            return Ok(());
        };
        let subject = found.map_or("", |member| member.user.as_str());
        let note = Note::with(Action::LoginRefused, subject, json!({"untold": untold}));
        Ok(self.catalogue.note(company_id, &from(address), &note).await?)
    }

    /// Who is signed in with this secret; refused with `auth.missing` if nobody.
    pub async fn signed_in(&self, secret: &str) -> Result<SignedIn, Error> {
        let (login, token) = self.catalogue.login(secret).ok_or_else(nobody)?;
        let member = self.catalogue.member_of(&login).await?.ok_or_else(nobody)?;
        let expires_ms = login.expires_ms;
        Ok(SignedIn {
            member,
            token: token.key,
            expires_ms,
        })
    }

    /// Signs somebody out; that they were not signed in is no mistake.
    pub async fn close_login(&self, secret: &str) -> Result<(), Fault> {
        let left = self.catalogue.login(secret).map(|(_, token)| token);
        self.catalogue.close_login(secret).await?;
        self.follow_changes().await?;
        if let Some(token) = left
            && let Some(user) = &token.user
        {
            self.tell_news(&token.company, News::SignedOut, user);
        }
        Ok(())
    }

    /// Whose link this is; refused with `link.unknown`.
    pub async fn welcome(&self, code: &str) -> Result<Member, Error> {
        self.catalogue.member_of_link(code).await
    }

    /// Uses a link up to set a password, and signs its user in; refused with `link.unknown`.
    pub async fn set_first_password(
        &self,
        code: &str,
        password: Password,
        address: Option<IpAddr>,
    ) -> Result<(Member, Opened), Error> {
        // A stranger's guess is not worth hashing for.
        self.catalogue.member_of_link(code).await?;
        let stored = self.passwords.hash(password).await?;
        let done = self.catalogue.set_first_password(code, &stored, &from(address)).await?;
        self.follow_changes().await?;
        let (member, _) = &done;
        if member.is_new {
            self.tell_news(&member.company, News::Activated, &member.user);
        }
        self.tell_news(&member.company, News::SignedIn, &member.user);
        Ok(done)
    }

    /// Changes the password of who is signed in and knows the old one, and ends their other
    /// logins; refused as [`Broker::open_login`].
    pub async fn change_password(
        &self,
        secret: &str,
        old: Password,
        password: Password,
        address: Option<IpAddr>,
    ) -> Result<SignedIn, Error> {
        let SignedIn {
            member,
            token,
            expires_ms,
        } = self.signed_in(secret).await?;
        let (company, user) = (member.company.clone(), member.user.clone());
        let member = self
            .verify(company.as_str(), user.as_str(), Some(member), old, address)
            .await?;
        let stored = self.passwords.hash(password).await?;
        self.catalogue
            .change_password(&member, &stored, secret, &from(address))
            .await?;
        self.follow_changes().await?;
        Ok(SignedIn {
            member,
            token,
            expires_ms,
        })
    }

    // Keeping users, for those who manage

    /// The company's users, by name.
    pub async fn users(&self, access: &Access) -> Result<Vec<Person>, Error> {
        access.require_managing()?;
        self.catalogue.users_of(&access.token.company).await
    }

    /// Adds a user; returns the code of a link for their first password.
    pub async fn add_user(&self, access: &Access, name: &UserName, manages: bool) -> Result<String, Error> {
        access.require_managing()?;
        let most = self.limits.max_users;
        if self.catalogue.user_count(access.token.company_id).await? >= most {
            let text = format!("a company has at most {most} users");
            return Err(Refusal::new(Code::LimitUsers, text).into());
        }
        let company = &access.token.company;
        let enrolled = self.catalogue.add_user(company, name, manages, &access.actor()).await?;
        self.follow_changes().await?;
        Ok(enrolled.code)
    }

    /// Has a user manage, or not.
    pub async fn change_user(&self, access: &Access, name: &UserName, manages: bool) -> Result<Person, Error> {
        access.require_managing()?;
        let company = &access.token.company;
        self.catalogue
            .change_user(company, name, manages, &access.actor())
            .await?;
        self.follow_changes().await?;
        let person = self.catalogue.users_of(company).await?;
        let person = person.into_iter().find(|person| person.name == *name);
        Ok(person.ok_or_else(|| Refusal::new(Code::UserUnknown, format!("no user {name} in {company}")))?)
    }

    /// Removes a user, but not oneself: their tokens, logins, links and sockets end.
    pub async fn remove_user(&self, access: &Access, name: &UserName) -> Result<(), Error> {
        if access.require_managing()? == name {
            return Err(Refusal::new(Code::UserLast, "nobody removes themselves").into());
        }
        let company = &access.token.company;
        self.catalogue.remove_user(company, name, &access.actor()).await?;
        Ok(self.follow_changes().await?)
    }

    /// Ends a user's password and logins; returns the code of a link for a new password.
    pub async fn reset_user(&self, access: &Access, name: &UserName) -> Result<String, Error> {
        access.require_managing()?;
        let company = &access.token.company;
        let code = self.catalogue.reset_user(company, name, &access.actor()).await?;
        self.follow_changes().await?;
        Ok(code)
    }

    /// Forgets logins, links and tokens whose time is long over.
    pub async fn sweep_catalogue(&self) -> Result<(), Fault> {
        self.catalogue.sweep_logins().await?;
        self.catalogue.sweep_tokens().await
    }
}

impl Telling {
    /// How many were not written down since the last that was, if this one is to be.
    fn take(&self, company_id: i64, now: Instant) -> Option<u64> {
        let mut companies = self.0.lock();
        let told = companies.entry(company_id).or_insert(Told {
            left: TOLD_AT_ONCE,
            since: now,
            untold: 0,
        });
        let earned = now.duration_since(told.since).as_secs() / TOLD_EVERY.as_secs();
        if earned > 0 {
            told.left = TOLD_AT_ONCE.min(told.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)));
            told.since = now;
        }
        if told.left == 0 {
            told.untold += 1;
            return None;
        }
        told.left -= 1;
        Some(std::mem::take(&mut told.untold))
    }
}

pub(super) fn nobody() -> Refusal {
    Refusal::new(
        Code::AuthMissing,
        "nobody is signed in, and the header X-Auth-Token is missing",
    )
}

fn from(address: Option<IpAddr>) -> Actor {
    Actor {
        address,
        ..Actor::default()
    }
}

fn why(found: Option<&Member>) -> &'static str {
    match found {
        None => "no such user",
        Some(member) if member.password.is_none() => "the user has no password yet",
        Some(_) => "a wrong password",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_sign_ins_are_written_down_now_and_then() {
        let (telling, mut now) = (Telling::default(), Instant::now());
        for _ in 0..TOLD_AT_ONCE {
            assert_eq!(telling.take(1, now), Some(0));
        }
        assert_eq!((telling.take(1, now), telling.take(1, now)), (None, None));
        assert_eq!(telling.take(2, now), Some(0), "another company");
        now += TOLD_EVERY;
        assert_eq!((telling.take(1, now), telling.take(1, now)), (Some(2), None));
    }
}
