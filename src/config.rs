//! What can be set: each field is flag, environment variable, default and documentation at once.
//!
//! `.env` is read first, the environment overrides it, flags override both. Invariant: a server
//! starts only with values that make sense together.

use crate::domain::limits::Limits;
use crate::domain::origin::Origins;
use crate::domain::path::CompanyName;
use crate::domain::person::PublicUrl;
use crate::domain::visitor::Proxies;
use crate::protocol::deflate::Compression;
use clap::{ArgAction, Args, ValueEnum};
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// The server's settings.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Where to listen: address and port.
    #[arg(long, env = "STREAMGATE_LISTEN", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Where the users server's clients are listened for as well, at any path: address and port; nowhere if empty.
    #[arg(long, env = "STREAMGATE_NOTICES_LISTEN", default_value = "", value_parser = maybe_address, hide_default_value = true)]
    pub notices_listen: MaybeAddress,
    /// Whose a path is, on that address, that names no company or none that lets the client in; nobody's if empty.
    #[arg(long, env = "STREAMGATE_NOTICES_COMPANY", default_value = "", value_parser = maybe_company, hide_default_value = true)]
    pub notices_company: MaybeCompany,
    /// The TLS certificate, a PEM file with its chain; with it the server speaks HTTPS and nothing else.
    #[arg(long, env = "STREAMGATE_TLS_CERTIFICATE", default_value = "", value_parser = maybe_file, hide_default_value = true)]
    pub tls_certificate: MaybeFile,
    /// The TLS certificate's private key, a PEM file.
    #[arg(long, env = "STREAMGATE_TLS_KEY", default_value = "", value_parser = maybe_file, hide_default_value = true)]
    pub tls_key: MaybeFile,
    /// Where people reach the server, such as https://stream.example.com; where it listens if empty.
    #[arg(long, env = "STREAMGATE_PUBLIC_URL", default_value = "", value_parser = public_url, hide_default_value = true)]
    pub public_url: MaybeUrl,
    /// The database: sqlite: and a file's path.
    #[arg(long, env = "STREAMGATE_DATABASE_URL", default_value = "sqlite:streamgate.db", value_parser = database_url)]
    pub database_url: String,
    /// How long a session without a connection lasts.
    #[arg(long, env = "STREAMGATE_SESSION_TTL", default_value = "60s", value_parser = duration)]
    pub session_ttl: Duration,
    /// The longest a session may ask for.
    #[arg(long, env = "STREAMGATE_SESSION_TTL_MAX", default_value = "1h", value_parser = duration)]
    pub session_ttl_max: Duration,
    /// Web pages that may use this server, by origin, separated by commas; * for any. Its own always may.
    #[arg(long, env = "STREAMGATE_ALLOWED_ORIGINS", default_value = "", value_parser = origins, hide_default_value = true)]
    pub allowed_origins: Origins,
    /// Reverse proxies whose X-Forwarded-For is believed, by network, separated by commas; who comes through others has their address.
    #[arg(long, env = "STREAMGATE_TRUSTED_PROXIES", default_value = "", value_parser = proxies, hide_default_value = true)]
    pub trusted_proxies: Proxies,
    /// Silence after which a socket is pinged.
    #[arg(long, env = "STREAMGATE_PING_INTERVAL", default_value = "25s", value_parser = duration)]
    pub ping_interval: Duration,
    /// Silence after which a socket's peer counts as dead; as long may a client take nothing of an HTTP answer.
    #[arg(long, env = "STREAMGATE_DEAD_AFTER", default_value = "60s", value_parser = duration)]
    pub dead_after: Duration,
    /// Longest time that a poll waits for something.
    #[arg(long, env = "STREAMGATE_POLL_TIME", default_value = "25s", value_parser = duration)]
    pub poll_time: Duration,
    /// Longest time that events gather when they come faster than they can be written, to go out joined; 0s for never.
    #[arg(long, env = "STREAMGATE_HOLD_OFF", default_value = "5ms", value_parser = duration)]
    pub hold_off: Duration,
    /// Whether events are compressed for sockets that offer it (permessage-deflate): off or on.
    #[arg(long, env = "STREAMGATE_COMPRESSION", default_value = "off", value_enum)]
    pub compression: Compression,
    /// Longest time to say goodbye to everybody when stopping.
    #[arg(long, env = "STREAMGATE_SHUTDOWN_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub shutdown_timeout: Duration,
    /// Worker threads; 0 for one a processor.
    #[arg(long, env = "STREAMGATE_WORKERS", default_value_t = 0, value_parser = workers)]
    pub workers: u16,
    /// Which lines the log has: a level, or levels by target, such as info,streamgate::access=debug.
    #[arg(long, env = "STREAMGATE_LOG", default_value = "info,actix_server=warn", value_parser = log_filter)]
    pub log: String,
    /// How the log's lines look.
    #[arg(long, env = "STREAMGATE_LOG_FORMAT", default_value = "text", value_enum)]
    pub log_format: LogFormat,
    /// How long a repeated Idempotency-Key gets its first answer again.
    #[arg(long, env = "STREAMGATE_KEY_WINDOW", default_value = "1h", value_parser = duration)]
    pub key_window: Duration,
    /// Whether the whole database file is looked through for damage at the start.
    #[arg(long, env = "STREAMGATE_CHECK_DATABASE", default_value_t = true, action = ArgAction::Set)]
    pub check_database: bool,
    /// The bounds.
    #[command(flatten)]
    pub limits: Limits,
}

/// Where people reach the server, if that is said.
pub type MaybeUrl = Option<PublicUrl>;

/// An address, if there is to be one.
pub type MaybeAddress = Option<SocketAddr>;

/// A company, if one is named.
pub type MaybeCompany = Option<CompanyName>;

/// A file, if one is named.
pub type MaybeFile = Option<PathBuf>;

/// How the log's lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Where people reach a server that listens at `address`.
    pub fn public_url(&self, address: SocketAddr) -> PublicUrl {
        let scheme = match self.tls_certificate {
            Some(_) => "https",
            None => "http",
        };
        self.public_url
            .clone()
            .unwrap_or_else(|| PublicUrl::of(scheme, address))
    }

    /// What makes no sense together, all of it.
    pub fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |holds: bool, text: &str| {
            if !holds {
                found.push(text.to_owned());
            }
        };
        check(
            self.dead_after > self.ping_interval,
            "STREAMGATE_DEAD_AFTER must be longer than STREAMGATE_PING_INTERVAL, or nobody lives to answer a ping",
        );
        check(
            !self.ping_interval.is_zero(),
            "STREAMGATE_PING_INTERVAL must be more than 0s",
        );
        check(
            self.session_ttl >= Duration::from_secs(1),
            "STREAMGATE_SESSION_TTL must be at least 1s",
        );
        check(
            self.session_ttl <= self.session_ttl_max,
            "STREAMGATE_SESSION_TTL must not be longer than STREAMGATE_SESSION_TTL_MAX",
        );
        check(
            self.notices_listen != Some(self.listen) || self.listen.port() == 0,
            "STREAMGATE_NOTICES_LISTEN must be another address than STREAMGATE_LISTEN, for any path works there",
        );
        check(
            self.notices_company.is_none() || self.notices_listen.is_some(),
            "STREAMGATE_NOTICES_COMPANY is for STREAMGATE_NOTICES_LISTEN: set that, too",
        );
        check(
            self.tls_certificate.is_some() == self.tls_key.is_some(),
            "STREAMGATE_TLS_CERTIFICATE and STREAMGATE_TLS_KEY belong together: set both or neither",
        );
        check(
            self.tls_certificate.is_none() || self.public_url.as_ref().is_none_or(PublicUrl::is_secure),
            "STREAMGATE_PUBLIC_URL must be https://… when the server speaks TLS",
        );
        check(
            self.limits.max_outbox_bytes > self.limits.max_frame_bytes / 2,
            "STREAMGATE_MAX_OUTBOX_BYTES must be more than half of STREAMGATE_MAX_FRAME_BYTES, or one reply fills it",
        );
        found
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let wanted = || "address and port are wanted, such as 127.0.0.1:8080".to_owned();
    let mut addresses = text.to_socket_addrs().map_err(|_| wanted())?;
    addresses.next().ok_or_else(wanted)
}

fn maybe_address(text: &str) -> Result<MaybeAddress, String> {
    match text {
        "" => Ok(None),
        text => address(text).map(Some),
    }
}

fn maybe_company(text: &str) -> Result<MaybeCompany, String> {
    match text {
        "" => Ok(None),
        text => CompanyName::parse(text)
            .map(Some)
            .map_err(|_| "a company's name is wanted: 1 to 64 of a-z, 0-9, _ and -".to_owned()),
    }
}

fn public_url(text: &str) -> Result<MaybeUrl, String> {
    match text {
        "" => Ok(None),
        text => PublicUrl::parse(text).map(Some),
    }
}

/// Whether it can be read is seen when the server starts; other commands have no need to.
fn maybe_file(text: &str) -> Result<MaybeFile, String> {
    let path = PathBuf::from(text);
    match path.metadata() {
        _ if text.is_empty() => Ok(None),
        Ok(found) if found.is_file() => Ok(Some(path)),
        Err(error) if error.kind() != ErrorKind::NotFound => Ok(Some(path)),
        _ => Err("a file in PEM is wanted, such as /etc/ssl/streamgate.pem, and there is none of this name".to_owned()),
    }
}

fn database_url(text: &str) -> Result<String, String> {
    match text.strip_prefix("sqlite:") {
        Some(file) if !file.is_empty() && !file.contains(":memory:") => Ok(text.to_owned()),
        _ => Err("sqlite: and a file's path are wanted, such as sqlite:streamgate.db".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wanted = |_| "a time with its unit is wanted, such as 60s, 5ms or 1h 30m".to_owned();
    humantime::parse_duration(text).map_err(wanted)
}

fn workers(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| *number <= 512);
    number.ok_or_else(|| "a whole number from 0 to 512 is wanted".to_owned())
}

fn origins(text: &str) -> Result<Origins, String> {
    text.parse()
}

fn proxies(text: &str) -> Result<Proxies, String> {
    text.parse()
}

fn log_filter(text: &str) -> Result<String, String> {
    let wanted = |_| "a level (error, warn, info, debug, trace) is wanted, or levels by target".to_owned();
    EnvFilter::builder()
        .parse(text)
        .map(|_| text.to_owned())
        .map_err(wanted)
}
