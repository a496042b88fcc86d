//! The commands that keep users, on the database file itself.
//!
//! Invariant: a secret is printed by the command that made it, and by no other.

use crate::catalogue::{Enrolled, Issued};
use crate::cli::Output;
use crate::cli::catalogue::{date, open};
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::error::Error;
use crate::domain::path::{CompanyName, UserName};
use crate::domain::person::Person;
use crate::protocol::rest::people::describe;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Who does what is done here.
const BY: Actor = Actor::COMMAND_LINE;

#[derive(Subcommand)]
pub enum UserCommand {
    /// Add a user; prints the master token and a link to set a password, this once.
    Add {
        #[command(flatten)]
        who: Who,
        /// May keep users, signing keys and the audit; the first user of a company may in any case.
        #[arg(long)]
        manages: bool,
    },
    /// Replace a user's master token; prints the new one, this once. The old one ends at once.
    Rotate(Who),
    /// End a user's password and logins; prints a link to set a new password, this once.
    Reset(Who),
    /// Have a user manage, or not.
    Set {
        #[command(flatten)]
        who: Who,
        /// Whether they may keep users, signing keys and the audit.
        #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
        manages: bool,
    },
    /// Remove a user: their tokens, logins and connections end.
    Remove(Who),
    /// List a company's users.
    List {
        /// The company.
        company: String,
    },
}

#[derive(Args)]
pub struct Who {
    /// The user's company.
    company: String,
    /// The user: 1 to 64 of letters, digits and _ - . @ +
    name: String,
}

impl Who {
    fn parse(&self) -> Result<(CompanyName, UserName), Error> {
        Ok((CompanyName::parse(&self.company)?, UserName::parse(&self.name)?))
    }
}

impl UserCommand {
    pub async fn run(self, config: &Config) -> Result<Output, Error> {
        match self {
            Self::Add { who, manages } => add(config, &who, manages).await,
            Self::Rotate(who) => {
                let (company, name) = who.parse()?;
                let Issued { key, secret } = open(config).await?.rotate_user(&company, &name, &BY).await?;
                Ok(Output::new(
                    &json!({"company": company, "user": name, "token": secret, "id": key}),
                    format!(
                        "company  {company}\nuser     {name}\ntoken    {secret}  (shown this once; its id is {key})"
                    ),
                ))
            }
            Self::Reset(who) => reset(config, &who).await,
            Self::Set { who, manages } => {
                let (company, name) = who.parse()?;
                let catalogue = open(config).await?;
                catalogue.change_user(&company, &name, manages, &BY).await?;
                let text = match manages {
                    true => format!("{name} manages {company}"),
                    false => format!("{name} does not manage {company}"),
                };
                Ok(Output::new(
                    &json!({"company": company, "user": name, "manages": manages}),
                    text,
                ))
            }
            Self::Remove(who) => {
                let (company, name) = who.parse()?;
                open(config).await?.remove_user(&company, &name, &BY).await?;
                let text = format!("{name} is removed from {company}; their connections end within a second");
                Ok(Output::new(
                    &json!({"company": company, "user": name, "removed": true}),
                    text,
                ))
            }
            Self::List { company } => list(config, &company).await,
        }
    }
}

async fn add(config: &Config, who: &Who, manages: bool) -> Result<Output, Error> {
    let (company, name) = who.parse()?;
    let catalogue = open(config).await?;
    let is_first = !catalogue.users_of(&company).await?.iter().any(|person| person.manages);
    let manages = manages || is_first;
    let Enrolled { issued, code } = catalogue.add_user(&company, &name, manages, &BY).await?;
    let Issued { key, secret } = issued;
    let link = config.public_url(config.listen).link(&code);
    Ok(Output::new(
        &json!({
            "company": company, "user": name, "manages": manages, "token": secret, "id": key, "link": link,
        }),
        format!(
            "company  {company}\nuser     {name}\ntoken    {secret}  (shown this once; its id is {key})\n\
             link     {link}  (sets a password, once, within a day)"
        ),
    ))
}

async fn reset(config: &Config, who: &Who) -> Result<Output, Error> {
    let (company, name) = who.parse()?;
    let code = open(config).await?.reset_user(&company, &name, &BY).await?;
    let link = config.public_url(config.listen).link(&code);
    Ok(Output::new(
        &json!({"company": company, "user": name, "link": link}),
        format!("company  {company}\nuser     {name}\nlink     {link}  (sets a password, once, within a day)"),
    ))
}

async fn list(config: &Config, company: &str) -> Result<Output, Error> {
    let company = CompanyName::parse(company)?;
    let people = open(config).await?.users_of(&company).await?;
    let lines: Vec<String> = people.iter().map(line).collect();
    let text = match lines.is_empty() {
        true => format!("company {company} has no users"),
        false => lines.join("\n"),
    };
    let json: Value = people.iter().map(describe).collect();
    Ok(Output::new(&json, text))
}

fn line(person: &Person) -> String {
    let used = match person.used_ms {
        0 => "never seen".to_owned(),
        used_ms => format!("seen {}", date(used_ms)),
    };
    let manages = if person.manages { "  manages" } else { "" };
    let password = if person.has_password { "password" } else { "no password" };
    format!("{}  {used}  {password}{manages}", person.name)
}
