//! The catalogue as commands use it, and the commands that keep companies.
//!
//! Commands work on the database file itself; a server that runs on the same file sees what they
//! did within a second. What they change is written down in the audit, without a user.

use crate::catalogue::Catalogue;
use crate::cli::Output;
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::company::{Changes, CompanySettings};
use crate::domain::error::Error;
use crate::domain::path::CompanyName;
use clap::Subcommand;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

#[derive(Subcommand)]
pub enum CompanyCommand {
    /// Add a company.
    Add {
        /// 1 to 64 of a-z, 0-9, _ and -
        name: String,
    },
    /// Show a company's settings.
    Show {
        /// The company.
        name: String,
    },
    /// Change a company's setting; a running server has it within a second.
    Set {
        /// The company.
        name: String,
        /// Which one; show lists them.
        setting: String,
        /// true or false; for approvedSocketDomains any number of regular expressions, none for none.
        #[arg(value_name = "VALUE")]
        values: Vec<String>,
    },
}

/// The catalogue of the file that the settings name.
pub async fn open(config: &Config) -> Result<Catalogue, Error> {
    Ok(Catalogue::open_file(&config.database_url, Arc::default()).await?)
}

impl CompanyCommand {
    pub async fn run(self, config: &Config) -> Result<Output, Error> {
        match self {
            Self::Add { name } => {
                let name = CompanyName::parse(&name)?;
                open(config).await?.add_company(&name).await?;
                Ok(Output::new(
                    &json!({"company": name}),
                    format!("company {name} is there; next: streamgate user add {name} NAME"),
                ))
            }
            Self::Show { name } => {
                let name = CompanyName::parse(&name)?;
                let settings = open(config).await?.settings_of(&name).await?;
                Ok(settled(&name, &settings))
            }
            Self::Set { name, setting, values } => {
                let name = CompanyName::parse(&name)?;
                let catalogue = open(config).await?;
                let now = json!(catalogue.settings_of(&name).await?);
                let changes = Changes::from_iter([(setting.clone(), value(now.get(&setting), values))]);
                let settings = catalogue.change_company(&name, &changes, &Actor::COMMAND_LINE).await?;
                Ok(settled(&name, &settings))
            }
        }
    }
}

/// What was typed, as JSON of the kind that is there now; what is not of that kind is refused later.
fn value(now: Option<&Value>, values: Vec<String>) -> Value {
    match (now, &*values) {
        (Some(Value::Bool(_)), [one]) => one.parse().map_or_else(|_| json!(one), Value::Bool),
        _ => json!(values),
    }
}

fn settled(name: &CompanyName, settings: &CompanySettings) -> Output {
    let json = json!(settings);
    let mut lines = Vec::new();
    for (name, value) in json.as_object().into_iter().flatten() {
        match value.as_array() {
            Some(values) if values.is_empty() => lines.push(format!("{name:<26} none")),
            Some(values) => lines.extend(
                values
                    .iter()
                    .map(|value| format!("{name:<26} {}", value.as_str().unwrap_or_default())),
            ),
            None => lines.push(format!("{name:<26} {value}")),
        }
    }
    Output::new(&json!({"company": name, "settings": json}), lines.join("\n"))
}

/// A time as people read it.
pub fn date(ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}
