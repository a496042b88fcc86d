//! What may be done to tokens: listed, made, ended, rotated, asked what they may do.
//!
//! For users; other people's master tokens for those who manage. Signing keys are tokens, but have
//! verbs of their own. Invariant: a secret is returned
//! once, by whoever made it.

use crate::broker::Broker;
use crate::catalogue::{Issued, NewToken};
use crate::database::now_ms;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::path::Path;
use crate::domain::scope::Verb;
use crate::domain::stream::StreamPage;
use crate::domain::token::{Access, Token, Verdict};
use std::cmp::Reverse;
use std::sync::Arc;

impl Broker {
    /// A page of the tokens that somebody may see and that are `wanted`, and how many those are: the newest
    /// first, those that were revoked last.
    pub fn tokens(
        &self,
        access: &Access,
        page: StreamPage,
        wanted: impl Fn(&Token) -> bool,
    ) -> Result<(Vec<Arc<Token>>, usize), Refusal> {
        access.require_user()?;
        let mut tokens = self.catalogue.tokens(access.token.company_id);
        tokens.retain(|token| !token.signs && is_shown(access, token) && wanted(token));
        tokens.sort_by_key(|token| (token.revoked_ms.is_some(), Reverse(token.created_ms), token.key));
        let total = tokens.len();
        Ok((tokens.into_iter().skip(page.start).take(page.limit).collect(), total))
    }

    /// One token; refused with `token.unknown`, or `scope.denied` if it is somebody else's master.
    pub fn token(&self, access: &Access, key: TokenKey) -> Result<Arc<Token>, Refusal> {
        access.require_user()?;
        let found = self.catalogue.any_token(key);
        let found = found.filter(|token| !token.signs && token.company_id == access.token.company_id);
        let token = found.ok_or_else(|| Refusal::new(Code::TokenUnknown, format!("no token {key}")))?;
        if !is_shown(access, &token) {
            let text = "other people's master tokens are for users who manage";
            return Err(Refusal::new(Code::ScopeDenied, text));
        }
        Ok(token)
    }

    /// Makes a restricted token; the secret is known this once.
    pub async fn add_token(&self, access: &Access, new: &NewToken) -> Result<(Arc<Token>, String), Error> {
        access.require_user()?;
        self.limits.check_text("a label", &new.label)?;
        let now_ms = now_ms();
        if new.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            return Err(Refusal::new(Code::BodyMalformed, "\"expires\" is over already").into());
        }
        let company = &access.token.company;
        self.check_token_room(access, now_ms)?;
        let issued = self.catalogue.add_token(company, new, &access.actor()).await?;
        self.issued(access, issued).await
    }

    /// Ends a token and its connections; doing it twice is no mistake.
    pub async fn revoke_token(&self, access: &Access, key: TokenKey) -> Result<(), Error> {
        self.token(access, key)?;
        self.catalogue.revoke_token(key, &access.actor()).await?;
        Ok(self.follow_changes().await?)
    }

    /// Makes a token of the same rights, and ends the old one after `overlap_ms`.
    pub async fn rotate_token(
        &self,
        access: &Access,
        key: TokenKey,
        overlap_ms: u64,
    ) -> Result<(Arc<Token>, String), Error> {
        self.token(access, key)?;
        self.check_token_room(access, now_ms())?;
        let issued = self.catalogue.rotate_token(key, overlap_ms, &access.actor()).await?;
        self.issued(access, issued).await
    }

    /// Whether a token may do `verb` on a path, and why.
    pub fn can(&self, access: &Access, key: TokenKey, verb: Verb, path: &Path) -> Result<Verdict, Refusal> {
        Ok(self.token(access, key)?.can(verb, path, now_ms()))
    }

    /// Refused with `limit.tokens`.
    fn check_token_room(&self, access: &Access, now_ms: u64) -> Result<(), Refusal> {
        let most = self.limits.max_tokens;
        let tokens = self.catalogue.tokens(access.token.company_id);
        if tokens.iter().filter(|token| token.check(now_ms).is_ok()).count() >= most {
            let text = format!("a company has at most {most} tokens");
            return Err(Refusal::new(Code::LimitTokens, text));
        }
        Ok(())
    }

    /// The token that was just made, as everybody sees it, with its secret.
    async fn issued(&self, access: &Access, issued: Issued) -> Result<(Arc<Token>, String), Error> {
        self.follow_changes().await?;
        Ok((self.token(access, issued.key)?, issued.secret))
    }
}

/// Restricted tokens are everybody's to keep, master tokens their user's and the managers'.
fn is_shown(access: &Access, token: &Token) -> bool {
    token.user.is_none() || token.user == access.token.user || access.token.manages
}
