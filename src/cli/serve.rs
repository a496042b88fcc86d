//! `streamgate serve`: the log, the signals, and what a person sees first.

use crate::cli::welcome;
use crate::config::{Config, LogFormat};
use crate::domain::error::{Error, Fault};
use crate::server::Server;
use serde_json::json;
use std::io::{IsTerminal, Write};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Serves until SIGTERM or SIGINT.
pub async fn run(config: &Config, as_json: bool) -> Result<(), Error> {
    start_log(config);
    let files = raise_open_files();
    let mut terminate = signal(SignalKind::terminate()).map_err(Fault::from)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Fault::from)?;
    let server = Server::start(config).await?;
    let address = server.address();
    let screen = match (server.demo(), as_json) {
        (Some(demo), true) => json!({
            "address": address, "company": demo.company, "user": demo.user, "token": demo.token, "path": demo.path,
            "link": demo.link,
        })
        .to_string(),
        (None, true) => json!({"address": address}).to_string(),
        (Some(demo), false) => welcome::screen(server.place(), demo),
        (None, false) => welcome::line(server.place()),
    };
    let scheme = server.place().url.scheme();
    // If nobody can see the screen, the server still serves.
    let _ = writeln!(std::io::stdout(), "{screen}");
    tracing::info!(
        database = config.database_url,
        open_files = files,
        "listening on {scheme}://{address}"
    );
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(server.run_until(stop).await?)
}

fn start_log(config: &Config) {
    let filter = EnvFilter::builder().parse_lossy(&config.log);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}

/// A socket is an open file, and many systems allow 1,024 unless asked.
fn raise_open_files() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!("the limit of open files could not be raised: {error}");
        0
    })
}
