//! The commands that keep tokens, on the database file itself.
//!
//! Invariant: a secret is printed by the command that made it, and by no other.

use crate::catalogue::{Issued, NewToken, now_ms};
use crate::cli::catalogue::{date, open};
use crate::cli::{Output, malformed};
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::path::{CompanyName, Path};
use crate::domain::scope::{Scope, ScopeJson, Verb};
use crate::domain::token::Token;
use crate::domain::visitor::Places;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Who does what is done here.
const BY: Actor = Actor::COMMAND_LINE;

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a restricted token; prints it, this once.
    #[command(visible_alias = "create")]
    Add(NewTokenArgs),
    /// List a company's tokens, without their secrets.
    List {
        /// The company.
        company: String,
    },
    /// Make a token of the same rights; prints it, this once. The old one ends.
    Rotate {
        /// The token's id, k and 16 hexadecimal digits.
        id: String,
        /// How much longer the old one is good: 1h, 30m; 0s for not at all.
        #[arg(long, value_name = "TIME", default_value = "0s")]
        overlap: humantime::Duration,
    },
    /// Say whether a token may do something, and why.
    Can {
        /// The token's id, k and 16 hexadecimal digits.
        id: String,
        /// read, write or manage
        verb: String,
        /// A stream's path.
        path: String,
    },
    /// End a token and every connection it opened.
    Revoke {
        /// The token's id, k and 16 hexadecimal digits.
        id: String,
    },
}

#[derive(Args)]
pub struct NewTokenArgs {
    /// The company it is for.
    company: String,
    /// Paths it may subscribe to: /acme/door/1, /acme/door/*, /acme/**. Can be given again.
    #[arg(long, value_name = "PATTERN")]
    read: Vec<String>,
    /// Paths it may publish to.
    #[arg(long, value_name = "PATTERN")]
    write: Vec<String>,
    /// Paths where it may create, change and delete streams.
    #[arg(long, value_name = "PATTERN")]
    manage: Vec<String>,
    /// When it ends by itself, from now: 30d, 12h.
    #[arg(long, value_name = "TIME")]
    expires: Option<humantime::Duration>,
    /// What it is for.
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
    /// Pages of these origins only may use it: https://app.example.com. Can be given again.
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// It may be used from these networks only: 10.0.0.0/8, 192.0.2.7. Can be given again.
    #[arg(long, value_name = "NETWORK")]
    cidr: Vec<String>,
}

impl TokenCommand {
    pub async fn run(self, config: &Config) -> Result<Output, Error> {
        match self {
            Self::Add(new) => new.run(config).await,
            Self::List { company } => list(config, &company).await,
            Self::Rotate { id, overlap } => rotate(config, &id, overlap).await,
            Self::Can { id, verb, path } => can(config, &id, &verb, &path).await,
            Self::Revoke { id } => {
                let key = TokenKey::parse(&id)?;
                open(config).await?.revoke_token(key, &BY).await?;
                Ok(Output::new(
                    &json!({"id": key, "revoked": true}),
                    format!("token {key} is revoked; its connections end within a second"),
                ))
            }
        }
    }
}

impl NewTokenArgs {
    async fn run(self, config: &Config) -> Result<Output, Error> {
        let company = CompanyName::parse(&self.company)?;
        let mut paths = ScopeJson::new();
        let asked = [
            (Verb::Read, &self.read),
            (Verb::Write, &self.write),
            (Verb::Manage, &self.manage),
        ];
        for (verb, patterns) in asked {
            for pattern in patterns {
                paths.entry(pattern.clone()).or_default().allow(verb);
            }
        }
        if paths.is_empty() {
            return Err(malformed(
                "a token needs at least one --read, --write or --manage PATTERN",
            ));
        }
        config.limits.check_text("a label", &self.label)?;
        let expires_ms = self.expires.map(|after| {
            let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            now_ms().saturating_add(after_ms)
        });
        let new = NewToken {
            scope: Scope::parse(&paths, &company, config.limits.max_patterns)?,
            label: self.label,
            expires_ms,
            places: Places::parse(&self.origin, &self.cidr)?,
        };
        let Issued { key, secret } = open(config).await?.add_token(&company, &new, &BY).await?;
        Ok(Output::new(
            &json!({
                "id": key, "token": secret, "company": company, "paths": paths, "label": new.label,
                "expires": expires_ms, "origins": new.places.origins(), "addresses": new.places.addresses(),
            }),
            format!(
                "id       {key}\ntoken    {secret}  (shown this once)\nuse it with X-Auth-Company: {company} and X-Auth-Token, without X-Auth-User"
            ),
        ))
    }
}

async fn list(config: &Config, company: &str) -> Result<Output, Error> {
    let company = CompanyName::parse(company)?;
    let tokens = open(config).await?.tokens_of(&company).await?;
    let json = tokens.iter().map(|token| describe(token)).collect();
    let lines: Vec<String> = tokens.iter().map(|token| line(token)).collect();
    let text = match lines.is_empty() {
        true => format!("company {company} has no tokens"),
        false => lines.join("\n"),
    };
    Ok(Output::new(&Value::Array(json), text))
}

async fn rotate(config: &Config, id: &str, overlap: humantime::Duration) -> Result<Output, Error> {
    let old = TokenKey::parse(id)?;
    let overlap_ms = u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX);
    let issued = open(config).await?.rotate_token(old, overlap_ms, &BY).await?;
    let Issued { key, secret } = issued;
    let ends = match overlap_ms {
        0 => "has ended".to_owned(),
        overlap_ms => format!("is good until {}", date(now_ms() + overlap_ms)),
    };
    Ok(Output::new(
        &json!({"id": key, "token": secret, "old": old}),
        format!("id       {key}\ntoken    {secret}  (shown this once)\nthe old one, {old}, {ends}"),
    ))
}

async fn can(config: &Config, id: &str, verb: &str, path: &str) -> Result<Output, Error> {
    let (key, path) = (TokenKey::parse(id)?, Path::parse(path)?);
    let verb = Verb::parse(verb).ok_or_else(|| malformed("a verb is read, write or manage"))?;
    let catalogue = open(config).await?;
    catalogue.refresh().await?;
    let unknown = || Refusal::new(Code::TokenUnknown, format!("no token {key}"));
    let verdict = catalogue.any_token(key).ok_or_else(unknown)?.can(verb, &path, now_ms());
    let rule = verdict
        .rule
        .map(|(pattern, verbs)| json!({"pattern": pattern, "verbs": verbs}));
    let word = if verdict.allowed { "yes" } else { "no" };
    Ok(Output::new(
        &json!({"allowed": verdict.allowed, "rule": rule, "why": verdict.why}),
        format!("{word}: {}", verdict.why),
    ))
}

fn describe(token: &Token) -> Value {
    let used_ms = token.used_ms.load(Ordering::Relaxed);
    json!({
        "id": token.key, "user": token.user, "paths": token.scope.to_json(), "label": token.label,
        "origins": token.places.origins(), "addresses": token.places.addresses(),
        "created": token.created_ms, "expires": token.expires_ms, "revoked": token.revoked_ms,
        "lastUsed": (used_ms > 0).then_some(used_ms),
    })
}

fn line(token: &Token) -> String {
    let whose = match &token.user {
        Some(user) => format!("master of {user}"),
        None => format!(
            "{} {}",
            if token.signs { "signing key" } else { "restricted" },
            serde_json::to_string(&token.scope.to_json()).unwrap_or_default()
        ),
    };
    let state = match (token.revoked_ms, token.expires_ms) {
        (Some(revoked_ms), _) => format!("revoked {}", date(revoked_ms)),
        (None, Some(expires_ms)) if expires_ms <= now_ms() => format!("expired {}", date(expires_ms)),
        (None, Some(expires_ms)) => format!("until {}", date(expires_ms)),
        (None, None) => "good".to_owned(),
    };
    let used = match token.used_ms.load(Ordering::Relaxed) {
        0 => "never used".to_owned(),
        used_ms => format!("used {}", date(used_ms)),
    };
    let places = [token.places.origins().to_vec(), token.places.addresses()].concat();
    let places = match places.is_empty() {
        true => String::new(),
        false => format!("  at {}", places.join(" ")),
    };
    format!("{}  {state}  {used}  {whose}{places}  {}", token.key, token.label)
        .trim_end()
        .to_owned()
}
