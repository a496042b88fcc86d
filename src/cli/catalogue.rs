//! The catalogue as commands use it, and the command that adds companies.
//!
//! Commands work on the database file itself; a server that runs on the same file sees what they
//! did within a second. What they change is written down in the audit, without a user.

use crate::catalogue::Catalogue;
use crate::cli::Output;
use crate::config::Config;
use crate::domain::error::Error;
use crate::domain::path::CompanyName;
use clap::Subcommand;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

#[derive(Subcommand)]
pub enum CompanyCommand {
    /// Add a company.
    Add {
        /// 1 to 64 of a-z, 0-9, _ and -
        name: String,
    },
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

/// A time as people read it.
pub fn date(ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}
