//! What the server counts; a field's documentation is its help text at `/metrics`.
//!
//! Invariant: labels come from closed enums only, never from what a client sent.

mod latency;

pub use latency::{Latency, Quantiles};

use crate::domain::error::Code;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::fmt::{self, Write};

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ty,)*) => {
        /// The counters and gauges of one server.
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ pub $name: $kind,)*
        }

        impl Default for Metrics {
            fn default() -> Self {
                let mut registry = Registry::with_prefix("streamgate");
                $(let $name = <$kind>::default();
                registry.register(stringify!($name), concat!($($help),+).trim(), $name.clone());)*
                Self { registry, $($name,)* }
            }
        }
    };
}

metrics! {
    /// Sockets open now
    connections: Gauge,
    /// Sockets opened since the start
    connections_opened: Counter,
    /// Sockets opened since the start that agreed on compression
    connections_compressed: Counter,
    /// Subscriptions of all sockets now
    subscriptions: Gauge,
    /// Sessions remembered now: with a socket, lately closed, narrowed or with their own ttl
    sessions: Gauge,
    /// Sessions issued since the start
    sessions_issued: Counter,
    /// Events published
    events_published: Counter,
    /// Events handed to sockets
    events_delivered: Counter,
    /// Events told to sockets as gaps
    events_missed: Counter,
    /// Times a subscription fell behind and went on from the log
    subscriptions_behind: Counter,
    /// Times a worker's mailbox was full
    mailbox_overflows: Counter,
    /// Bytes written to sockets
    socket_bytes: Counter,
    /// Events compressed, each once for all sockets that agreed on it
    events_compressed: Counter,
    /// Bytes of their frames before
    compressed_before_bytes: Counter,
    /// Bytes of their frames after; each was saved as often as the event was delivered to such a socket
    compressed_after_bytes: Counter,
    /// Sockets ended because the peer gave no sign of life
    peers_dead: Counter,
    /// Events kept in memory now
    log_events: Gauge,
    /// Bytes of the events kept in memory now
    log_bytes: Gauge,
    /// Commits of the log
    log_commits: Counter,
    /// Bytes of events written by those commits
    log_written_bytes: Counter,
    /// Bytes of events waiting for the disk now
    log_pending_bytes: Gauge,
    /// Bytes of Idempotency-Keys remembered now
    log_key_bytes: Gauge,
    /// Whether the disk takes no events now: 1, else 0
    log_failing: Gauge,
    /// Events read from the disk
    log_events_read: Counter,
    /// Pieces of streams read from the disk
    log_chunks_read: Counter,
    /// Seconds from a publishing request until all sockets of a worker had what it wrote at once; one measurement each time
    delivery_seconds: Latency,
    /// Bytes free on the database's disk
    disk_free_bytes: Gauge,
    /// Bytes of the database file
    database_bytes: Gauge,
    /// Bytes of the database's write-ahead log
    write_ahead_bytes: Gauge,
    /// Streams in the catalogue now
    streams: Gauge,
    /// Failed attempts to open a session
    attempts_failed: Counter,
    /// Addresses and tokens remembered now for what they did lately
    rates_remembered: Gauge,
    /// TLS handshakes done
    tls_handshakes: Counter,
    /// TLS handshakes that came to nothing
    tls_handshakes_failed: Counter,
    /// When the TLS certificate expires, in seconds since 1970; 0 without TLS
    tls_certificate_expires_seconds: Gauge,
    /// HTTP requests by the class of their status
    http_requests: Family<StatusLabel, Counter>,
    /// Refusals by their code
    refusals: Family<CodeLabel, Counter>,
    /// Faults of ours, each also a line in the log
    faults: Counter,
}

/// The class of an HTTP status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    status: StatusClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum StatusClass {
    Success,
    Redirect,
    Refused,
    Fault,
}

impl EncodeLabelValue for StatusClass {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        encoder.write_str(match self {
            StatusClass::Success => "success",
            StatusClass::Redirect => "redirect",
            StatusClass::Refused => "refused",
            StatusClass::Fault => "fault",
        })
    }
}

/// A refusal's code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    code: CodeValue,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CodeValue(Code);

impl EncodeLabelValue for CodeValue {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        encoder.write_str(self.0.entry().code)
    }
}

impl Metrics {
    /// Counts an answered HTTP request.
    pub fn count_request(&self, status: u16) {
        let status = match status {
            ..300 => StatusClass::Success,
            300..400 => StatusClass::Redirect,
            400..500 => StatusClass::Refused,
            500.. => StatusClass::Fault,
        };
        self.http_requests.get_or_create(&StatusLabel { status }).inc();
    }

    /// Counts a refusal.
    pub fn count_refusal(&self, code: Code) {
        let code = CodeValue(code);
        self.refusals.get_or_create(&CodeLabel { code }).inc();
    }

    /// All of them in the Prometheus text format.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
