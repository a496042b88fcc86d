//! `streamgate backup` and `streamgate verify`: copies of the database, and whether a file is sound.
//!
//! Works on files, whether or not a server runs. Changes neither the database nor what it verifies.

use crate::cli::{Output, failure};
use crate::config::Config;
use crate::database::Database;
use crate::domain::error::Error;
use crate::log::{self, Verified};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
pub struct Backup {
    /// Where to; there must be no such file yet.
    file: PathBuf,
}

#[derive(Args)]
pub struct Verify {
    /// A database, also one that is being served, or a copy of one.
    file: PathBuf,
}

impl Backup {
    pub async fn run(self, config: &Config) -> Result<Output, Error> {
        let shown = self.file.display();
        let database = Database::existing(&config.database_url)?;
        if self.file.symlink_metadata().is_ok() {
            return Err(failure(format!("{shown} is there already; give the copy another name")));
        }
        let bytes = log::backup(&database, &self.file).await?;
        let of = database.path().display();
        Ok(Output::new(
            &json!({"file": self.file.to_string_lossy(), "bytes": bytes}),
            format!("{shown} is a copy of {of}, {bytes} bytes; next: streamgate verify {shown}"),
        ))
    }
}

impl Verify {
    pub async fn run(self) -> Result<Output, Error> {
        let shown = self.file.display();
        let Verified {
            streams,
            settled,
            journaled,
            keys,
        } = log::verify(&self.file).await?;
        Ok(Output::new(
            &json!({
                "file": self.file.to_string_lossy(), "sound": true,
                "streams": streams, "settled": settled, "journaled": journaled, "keys": keys,
            }),
            format!(
                "{shown} is sound: {settled} events of {streams} streams in chunks, {journaled} more events in the \
                 journal, {keys} settled Idempotency-Keys"
            ),
        ))
    }
}
