//! A line on standard error that says how far the run is, where somebody looks at it.
//!
//! Invariant: where standard error is no terminal nothing is written, and at the end the line is gone.

use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::interval;

/// How often the line is written.
const EVERY: Duration = Duration::from_millis(250);

/// The line; it goes with this.
pub struct Progress(Option<JoinHandle<()>>);

impl Progress {
    /// Shows what `line` says, again and again.
    pub fn show(line: impl Fn() -> String + 'static) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        Self(Some(actix_rt::spawn(async move {
            let mut ticks = interval(EVERY);
            loop {
                ticks.tick().await;
                write(&line());
            }
        })))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
            write("");
        }
    }
}

/// In place of what was there; who cannot see it misses nothing.
fn write(line: &str) {
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "\r\x1b[2K{line}").and_then(|()| out.flush());
}
