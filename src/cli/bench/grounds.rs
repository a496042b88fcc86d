//! The streams of a run: made before, looked at after, removed in the end.
//!
//! Invariant: what was made is remembered before anything else can fail, so that it can be removed.

use crate::cli::bench::http::Http;
use crate::cli::bench::run::Run;
use crate::cli::bench::socket::made_id;
use crate::cli::{complain, failure};
use crate::domain::durability::Durability;
use crate::domain::error::Error;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest time to remove what was made.
const PATIENCE: Duration = Duration::from_secs(20);
/// Streams that are asked about at once.
const ASKED: usize = 1_000;

/// What was made so far.
#[derive(Default)]
pub struct Grounds {
    made: Mutex<Vec<String>>,
}

/// What the server says of streams when a session is opened.
#[derive(Deserialize)]
struct Opened {
    body: Standings,
}

#[derive(Deserialize)]
struct Standings {
    streams: HashMap<String, Standing>,
}

#[derive(Deserialize)]
struct Standing {
    head: Option<u64>,
}

impl Grounds {
    /// Makes so many streams; their ids.
    pub async fn make(&self, run: &Run, count: u32, capacity: u64, ack: Durability) -> Result<Arc<[String]>, Error> {
        let mut http = Http::connect(&run.target, 0).await?;
        let mut ids = Vec::new();
        for _ in 0..count {
            let number = self.made.lock().len();
            let path = format!("{}/{number}", run.folder());
            let mut body = json!({"path": path, "capacity": capacity});
            if ack != Durability::default() {
                body["ack"] = json!(ack.word());
            }
            let request = run.target.request("POST", &streams_of(run), &body.to_string());
            let id = made_id(http.ask(&request).await?.success()?)?;
            self.made.lock().push(id.clone());
            ids.push(id);
        }
        Ok(ids.into())
    }

    /// The newest offset of each stream, in the order of `ids`; 0 if it has no events.
    pub async fn heads(&self, run: &Run, ids: &[String]) -> Result<Vec<u64>, Error> {
        let mut http = Http::connect(&run.target, 0).await?;
        let mut heads = Vec::new();
        for some in ids.chunks(ASKED) {
            let positions: serde_json::Map<_, _> = some.iter().map(|id| (id.clone(), json!({"offset": 0}))).collect();
            let body = json!({"positions": positions}).to_string();
            let answer = http.ask(&run.target.request("POST", "/session", &body)).await?;
            let opened: Opened = serde_json::from_slice(answer.success()?)
                .map_err(|error| failure(format!("the server's answer is not understood: {error}")))?;
            let head = |id: &String| opened.body.streams.get(id).and_then(|standing| standing.head);
            heads.extend(some.iter().map(|id| head(id).unwrap_or(0)));
        }
        Ok(heads)
    }

    /// Removes what was made, as far as the server lets it; what stays is told.
    pub async fn clear(&self, run: &Run) {
        let ids = std::mem::take(&mut *self.made.lock());
        let mut left = ids.len();
        // How far it came is in `left`.
        let removed = timeout(PATIENCE, remove(run, &ids, &mut left)).await;
        if left > 0 {
            let why = match removed {
                Ok(Err(error)) => error.to_string(),
                _ => "it takes too long".to_owned(),
            };
            complain(
                &[format!("{left} streams under {} are not removed: {why}", run.folder())],
                None,
            );
        }
    }
}

async fn remove(run: &Run, ids: &[String], left: &mut usize) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut http = Http::connect(&run.target, 0).await?;
    for id in ids {
        let request = run.target.request("DELETE", &format!("{}/{id}", streams_of(run)), "");
        http.ask(&request).await?.success()?;
        *left -= 1;
    }
    Ok(())
}

fn streams_of(run: &Run) -> String {
    format!("/v5.0/{}/stream", run.target.company)
}
