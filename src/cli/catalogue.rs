//! The commands that keep the catalogue. They work on the database file itself; a server that
//! runs on the same file sees what they did within a second.

use crate::catalogue::{Catalogue, Issued, NewToken, now_ms};
use crate::cli::{Output, malformed};
use crate::config::Config;
use crate::domain::error::Error;
use crate::domain::id::TokenKey;
use crate::domain::path::{CompanyName, UserName};
use crate::domain::scope::{Scope, ScopeJson, Verb};
use crate::domain::token::Token;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

#[derive(Subcommand)]
pub enum CompanyCommand {
    /// Add a company.
    Add {
        /// 1 to 64 of a-z, 0-9, _ and -
        name: String,
    },
}

#[derive(Subcommand)]
pub enum UserCommand {
    /// Add a user; prints the master token, this once.
    Add {
        /// The user's company.
        company: String,
        /// 1 to 64 of letters, digits and _ - . @ +
        name: String,
    },
    /// Replace a user's master token; prints the new one, this once. The old one ends at once.
    Rotate {
        /// The user's company.
        company: String,
        /// The user.
        name: String,
    },
}

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a restricted token; prints it, this once.
    Add(NewTokenArgs),
    /// List a company's tokens, without their secrets.
    List {
        /// The company.
        company: String,
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
}

/// The catalogue of the file that the settings name.
pub async fn open(config: &Config) -> Result<Catalogue, Error> {
    Ok(Catalogue::open_file(&config.database_url, Arc::default()).await?)
}

impl CompanyCommand {
    pub async fn run(self, config: &Config) -> Result<Output, Error> {
        let Self::Add { name } = self;
        let name = CompanyName::parse(&name)?;
        open(config).await?.add_company(&name).await?;
        Ok(Output::new(
            &json!({"company": name}),
            format!("company {name} is there; next: streamgate user add {name} NAME"),
        ))
    }
}

impl UserCommand {
    pub async fn run(self, config: &Config) -> Result<Output, Error> {
        let catalogue = open(config).await?;
        let (company, name, issued) = match self {
            Self::Add { company, name } => {
                let (company, name) = (CompanyName::parse(&company)?, UserName::parse(&name)?);
                let issued = catalogue.add_user(&company, &name).await?;
                (company, name, issued)
            }
            Self::Rotate { company, name } => {
                let (company, name) = (CompanyName::parse(&company)?, UserName::parse(&name)?);
                let issued = catalogue.rotate_user(&company, &name).await?;
                (company, name, issued)
            }
        };
        let Issued { key, secret } = issued;
        Ok(Output::new(
            &json!({"company": company, "user": name, "token": secret, "id": key}),
            format!("company  {company}\nuser     {name}\ntoken    {secret}  (shown this once; its id is {key})"),
        ))
    }
}

impl TokenCommand {
    pub async fn run(self, config: &Config) -> Result<Output, Error> {
        match self {
            Self::Add(new) => new.run(config).await,
            Self::List { company } => {
                let company = CompanyName::parse(&company)?;
                let tokens = open(config).await?.tokens_of(&company).await?;
                let json = tokens.iter().map(|token| describe_token(token)).collect();
                let lines: Vec<String> = tokens.iter().map(|token| token_line(token)).collect();
                let text = if lines.is_empty() {
                    format!("company {company} has no tokens")
                } else {
                    lines.join("\n")
                };
                Ok(Output::new(&Value::Array(json), text))
            }
            Self::Revoke { id } => {
                let key = TokenKey::parse(&id)?;
                open(config).await?.revoke_token(key).await?;
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
        let expires_ms = self.expires.map(|after| now_ms() + after.as_millis() as u64);
        let new = NewToken {
            scope: Scope::parse(&paths, &company, config.limits.max_patterns)?,
            label: self.label,
            expires_ms,
        };
        let Issued { key, secret } = open(config).await?.add_token(&company, &new).await?;
        Ok(Output::new(
            &json!({"id": key, "token": secret, "company": company, "paths": paths, "label": new.label, "expires": expires_ms}),
            format!(
                "id       {key}\ntoken    {secret}  (shown this once)\nuse it with X-Auth-Company: {company} and X-Auth-Token, without X-Auth-User"
            ),
        ))
    }
}

fn describe_token(token: &Token) -> Value {
    let used_ms = token.used_ms.load(Ordering::Relaxed);
    json!({
        "id": token.key, "user": token.user, "paths": token.scope.to_json(), "label": token.label,
        "created": token.created_ms, "expires": token.expires_ms, "revoked": token.revoked_ms,
        "lastUsed": (used_ms > 0).then_some(used_ms),
    })
}

fn token_line(token: &Token) -> String {
    let whose = match &token.user {
        Some(user) => format!("master of {user}"),
        None => format!(
            "restricted {}",
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
    format!("{}  {state}  {used}  {whose}  {}", token.key, token.label)
        .trim_end()
        .to_owned()
}

fn date(ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}
