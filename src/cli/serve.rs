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
    let (address, notices) = (server.address(), server.notices_address());
    let screen = match (server.demo(), as_json) {
        (demo, true) => {
            let mut screen = json!({"address": address});
            if let Some(notices) = notices {
                screen["notices"] = json!(notices);
            }
            if let Some(demo) = demo {
                screen["company"] = json!(demo.company);
                screen["user"] = json!(demo.user);
                screen["token"] = json!(demo.token);
                screen["path"] = json!(demo.path);
                screen["link"] = json!(demo.link);
            }
            screen.to_string()
        }
        (Some(demo), false) => welcome::screen(server.place(), notices, demo),
        (None, false) => welcome::line(server.place(), notices),
    };
    let scheme = server.place().url.scheme();
    // If nobody can see the screen, the server still serves.
    let _ = writeln!(std::io::stdout(), "{screen}");
    tracing::info!(
        database = config.database_url,
        open_files = files,
        notices = notices.map(tracing::field::display),
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
