//! Every bound of the server, by name: flag, environment variable, default and documentation.
//!
//! Invariant: what a stranger can make grow is bounded by one of these, and hitting it is told.

use crate::domain::error::{Code, Refusal};
use clap::Args;
use std::str::FromStr;
use std::time::Duration;

/// The bounds in force.
#[derive(Args, Clone, Debug)]
pub struct Limits {
    /// Largest body of an HTTP request, in bytes.
    #[arg(long, env = "STREAMGATE_MAX_BODY_BYTES", default_value_t = 1_048_576, value_parser = at_least_1)]
    pub max_body_bytes: usize,
    /// Largest message a socket may send, in bytes, whole or in fragments.
    #[arg(long, env = "STREAMGATE_MAX_FRAME_BYTES", default_value_t = 65_536, value_parser = at_least_1)]
    pub max_frame_bytes: usize,
    /// Largest frame a RootSocket client may send, in bytes; a larger one is told and passed over.
    #[arg(long, env = "STREAMGATE_MAX_CHANNEL_FRAME_BYTES", default_value_t = 1_048_576, value_parser = at_least_1)]
    pub max_channel_frame_bytes: usize,
    /// Most events in one publishing request.
    #[arg(long, env = "STREAMGATE_MAX_BATCH_EVENTS", default_value_t = 1_000, value_parser = at_least_1)]
    pub max_batch_events: usize,
    /// Deepest nesting of an event's JSON.
    #[arg(long, env = "STREAMGATE_MAX_JSON_DEPTH", default_value_t = 64, value_parser = at_least_1)]
    pub max_json_depth: usize,
    /// Largest capacity a stream may ask for, in events.
    #[arg(long, env = "STREAMGATE_MAX_CAPACITY", default_value_t = 100_000, value_parser = at_least_0::<u64>)]
    pub max_capacity: u64,
    /// Most patterns in one scope.
    #[arg(long, env = "STREAMGATE_MAX_PATTERNS", default_value_t = 64, value_parser = at_least_1)]
    pub max_patterns: usize,
    /// Most streams one socket may subscribe to.
    #[arg(long, env = "STREAMGATE_MAX_SUBSCRIPTIONS", default_value_t = 10_000, value_parser = at_least_1)]
    pub max_subscriptions: usize,
    /// Most sockets open at once.
    #[arg(long, env = "STREAMGATE_MAX_CONNECTIONS", default_value_t = 100_000, value_parser = at_least_1)]
    pub max_connections: usize,
    /// Most sockets one company may have open at once.
    #[arg(long, env = "STREAMGATE_MAX_COMPANY_CONNECTIONS", default_value_t = 50_000, value_parser = at_least_1)]
    pub max_company_connections: usize,
    /// Most sessions remembered at once: those with a socket, lately closed, narrowed or with their own ttl.
    #[arg(long, env = "STREAMGATE_MAX_SESSIONS", default_value_t = 200_000, value_parser = at_least_1)]
    pub max_sessions: usize,
    /// Most of those that may be one token's.
    #[arg(long, env = "STREAMGATE_MAX_TOKEN_SESSIONS", default_value_t = 50_000, value_parser = at_least_1)]
    pub max_token_sessions: usize,
    /// Most subscriptions kept of ended sockets for the session's next HTTP transport; a company has half of what others leave free.
    #[arg(long, env = "STREAMGATE_MAX_KEPT_SUBSCRIPTIONS", default_value_t = 100_000, value_parser = at_least_1)]
    pub max_kept_subscriptions: usize,
    /// Most streams one company may have.
    #[arg(long, env = "STREAMGATE_MAX_STREAMS", default_value_t = 200_000, value_parser = at_least_1)]
    pub max_streams: usize,
    /// Most tokens one company may have, without those that have ended.
    #[arg(long, env = "STREAMGATE_MAX_TOKENS", default_value_t = 10_000, value_parser = at_least_1)]
    pub max_tokens: usize,
    /// Most users one company may have.
    #[arg(long, env = "STREAMGATE_MAX_USERS", default_value_t = 1_000, value_parser = at_least_1)]
    pub max_users: usize,
    /// Longest description of a stream and longest hash of an event, in bytes.
    #[arg(long, env = "STREAMGATE_MAX_TEXT_BYTES", default_value_t = 1_024, value_parser = at_least_1)]
    pub max_text_bytes: usize,
    /// Bytes that may wait to be written to one socket before its subscriptions fall behind.
    #[arg(long, env = "STREAMGATE_MAX_OUTBOX_BYTES", default_value_t = 1_048_576, value_parser = at_least_1)]
    pub max_outbox_bytes: usize,
    /// Events that may wait for one worker before its subscriptions fall behind.
    #[arg(long, env = "STREAMGATE_MAX_MAILBOX_EVENTS", default_value_t = 65_536, value_parser = at_least_1)]
    pub max_mailbox_events: usize,
    /// Longest meta of a user, in bytes.
    #[arg(long, env = "STREAMGATE_MAX_META_BYTES", default_value_t = 65_536, value_parser = at_least_1)]
    pub max_meta_bytes: usize,
    /// Longest filter, in bytes.
    #[arg(long, env = "STREAMGATE_MAX_FILTER_BYTES", default_value_t = 1_024, value_parser = at_least_1)]
    pub max_filter_bytes: usize,
    /// Most subscriptions of one socket that may have a filter.
    #[arg(long, env = "STREAMGATE_MAX_FILTERS", default_value_t = 64, value_parser = at_least_1)]
    pub max_filters: usize,
    /// Most events that one request may find.
    #[arg(long, env = "STREAMGATE_MAX_FIND_EVENTS", default_value_t = 10_000, value_parser = at_least_1)]
    pub max_find_events: usize,
    /// Bytes of Idempotency-Keys remembered at once, with what was answered.
    #[arg(long, env = "STREAMGATE_MAX_KEY_BYTES", default_value_t = 67_108_864, value_parser = at_least_1)]
    pub max_key_bytes: usize,
    /// Most requests of one socket that may wait for their answer.
    #[arg(long, env = "STREAMGATE_MAX_OPEN_REQUESTS", default_value_t = 256, value_parser = at_least_1)]
    pub max_open_requests: usize,
    /// Bytes of events that may wait to be written to the disk.
    #[arg(long, env = "STREAMGATE_MAX_PENDING_BYTES", default_value_t = 67_108_864, value_parser = at_least_1)]
    pub max_pending_bytes: usize,
    /// Bytes of events kept in memory, all streams together; the oldest go first.
    #[arg(long, env = "STREAMGATE_MAX_LOG_BYTES", default_value_t = 268_435_456, value_parser = at_least_1)]
    pub max_log_bytes: usize,
    /// Failed attempts to open a session that one address may make a minute, for each company; 0 for any number.
    #[arg(long, env = "STREAMGATE_RATE_ATTEMPTS", default_value_t = 30, value_parser = at_least_0::<u32>)]
    pub rate_attempts: u32,
    /// Sessions that one token may open a minute; 0 for any number.
    #[arg(long, env = "STREAMGATE_RATE_SESSIONS", default_value_t = 0, value_parser = at_least_0::<u32>)]
    pub rate_sessions: u32,
    /// Events that one token may publish a second; 0 for any number.
    #[arg(long, env = "STREAMGATE_RATE_EVENTS", default_value_t = 0, value_parser = at_least_0::<u32>)]
    pub rate_events: u32,
    /// Longest time that a JWT may be good from now on.
    #[arg(long, env = "STREAMGATE_JWT_MAX_AGE", default_value = "24h", value_parser = duration)]
    pub jwt_max_age: Duration,
}

impl Limits {
    /// Refused with `limit.capacity`.
    pub fn check_capacity(&self, capacity: u64) -> Result<(), Refusal> {
        let most = self.max_capacity;
        if capacity > most {
            let text = format!("a stream's capacity is at most {most}");
            return Err(Refusal::new(Code::LimitCapacity, text));
        }
        Ok(())
    }

    /// Refused with `limit.text`; `what` has a plural verb after it in mind: "a description".
    pub fn check_text(&self, what: &str, text: &str) -> Result<(), Refusal> {
        let most = self.max_text_bytes;
        if text.len() > most {
            return Err(Refusal::new(
                Code::LimitText,
                format!("{what} has at most {most} bytes"),
            ));
        }
        Ok(())
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wanted = |_| "a time with its unit is wanted, such as 24h or 15m".to_owned();
    humantime::parse_duration(text).map_err(wanted)
}

fn at_least_1(text: &str) -> Result<usize, String> {
    let limit: usize = text.parse().map_err(|_| "a whole number is wanted".to_owned())?;
    if limit == 0 {
        Err("at least 1 is wanted".to_owned())
    } else {
        Ok(limit)
    }
}

fn at_least_0<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "a whole number is wanted".to_owned())
}
