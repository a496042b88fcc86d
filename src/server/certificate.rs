//! The TLS certificate: read, checked, looked after, and replaced while connections stay.
//!
//! Clients that replace certificates write two files one after the other, so what does not fit is
//! looked at twice before it is told. Invariant: once there is a good pair, one is always in use.

use crate::config::Config;
use crate::domain::error::Fault;
use crate::metrics::Metrics;
use parking_lot::{Mutex, RwLock};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use x509_cert::Certificate as X509;
use x509_cert::der::Decode;

/// How often it is looked whether there is another one.
const LOOK: Duration = Duration::from_secs(2);

/// What two files were, without keeping what is in them.
type Print = [u8; 32];

/// The certificate in use, and where others come from.
pub struct Certificate {
    files: Files,
    is_self_signed: bool,
    current: Arc<Current>,
    seen: Mutex<Seen>,
    metrics: Arc<Metrics>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What handshakes are done with from now on.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

struct Seen {
    /// What is in use, or was refused and told.
    settled: Print,
    /// What was wrong when it was seen once.
    doubted: Option<Print>,
}

/// A certificate and its key, which belong together.
struct Pair {
    certified: Arc<CertifiedKey>,
    subject: String,
    /// When it expires, in seconds since 1970, if that can be read.
    expires_s: Option<u64>,
    is_self_signed: bool,
}

/// What the two files hold.
struct Pems {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Reads the certificate that the settings name, if they do.
    pub fn open(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<Arc<Self>>, Fault> {
        let (Some(certificate), Some(key)) = (config.tls_certificate.clone(), config.tls_key.clone()) else {
            return Ok(None);
        };
        let files = Files { certificate, key };
        let read = files.read();
        let settled = print(&read);
        let pair = read.and_then(|pems| files.pair(&pems));
        let pair = pair.map_err(|text| Fault::Io(std::io::Error::other(text)))?;
        tell(&pair, metrics);
        Ok(Some(Arc::new(Self {
            files,
            is_self_signed: pair.is_self_signed,
            current: Arc::new(Current(RwLock::new(pair.certified))),
            seen: Mutex::new(Seen { settled, doubted: None }),
            metrics: Arc::clone(metrics),
        })))
    }

    /// The file that clients have to be shown, or they will not trust the server.
    pub fn to_be_shown(&self) -> Option<PathBuf> {
        self.is_self_signed.then(|| self.files.certificate.clone())
    }

    /// What every handshake follows: TLS 1.2 and 1.3, HTTP/1.1, tickets to come back sooner.
    pub fn terms(&self) -> Result<Arc<ServerConfig>, Fault> {
        let make = || {
            let current: Arc<dyn ResolvesServerCert> = Arc::clone(&self.current) as _;
            let provider = Arc::new(ring::default_provider());
            let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
            let mut config = builder.with_no_client_auth().with_cert_resolver(current);
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            config.ticketer = ring::Ticketer::new()?;
            Ok(Arc::new(config))
        };
        make().map_err(|error: rustls::Error| Fault::Io(std::io::Error::other(error)))
    }

    /// Looks after the files, and at once on SIGHUP.
    pub fn follow(self: Arc<Self>) -> Result<JoinHandle<()>, Fault> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Ok(tokio::spawn(async move {
            loop {
                let is_asked = tokio::select! {
                    _ = tick.tick() => false,
                    _ = hangup.recv() => true,
                };
                let certificate = Arc::clone(&self);
                // A disk that hangs holds up this task and nobody else.
                let looked = tokio::task::spawn_blocking(move || certificate.look(is_asked)).await;
                looked.expect("looking does not panic");
            }
        }))
    }

    /// Looks once. Who asks is told what is wrong at once.
    fn look(&self, is_asked: bool) {
        let read = self.files.read();
        let print = print(&read);
        let mut seen = self.seen.lock();
        if seen.settled == print && !is_asked {
            return;
        }
        match read.and_then(|pems| self.files.pair(&pems)) {
            Ok(pair) => {
                // What is told is true already.
                *self.current.0.write() = Arc::clone(&pair.certified);
                tell(&pair, &self.metrics);
                seen.settled = print;
            }
            Err(text) if is_asked || seen.doubted == Some(print) => {
                tracing::error!("{text}; the TLS certificate before it stays in use");
                seen.settled = print;
            }
            Err(_) => seen.doubted = Some(print),
        }
    }
}

impl Files {
    fn read(&self) -> Result<Pems, String> {
        let read = |setting: &str, path: &Path| {
            let failed = |error| format!("{setting}: {} cannot be read: {error}", path.display());
            std::fs::read(path).map_err(failed)
        };
        Ok(Pems {
            certificate: read("STREAMGATE_TLS_CERTIFICATE", &self.certificate)?,
            key: read("STREAMGATE_TLS_KEY", &self.key)?,
        })
    }

    /// Says what is wrong, by setting and file.
    fn pair(&self, pems: &Pems) -> Result<Pair, String> {
        let (at, key_at) = (self.certificate.display(), self.key.display());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pems.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| format!("STREAMGATE_TLS_CERTIFICATE: {at} holds no certificates in PEM"))?;
        let key = PrivateKeyDer::from_pem_slice(&pems.key);
        let key = key.map_err(|_| {
            format!("STREAMGATE_TLS_KEY: {key_at} holds no private key in PEM; an encrypted one cannot be used")
        })?;
        let read = X509::from_der(&chain[0])
            .ok()
            .map(|certificate| certificate.tbs_certificate);
        let subject = read.as_ref().map_or_else(String::new, |read| read.subject.to_string());
        let expires_s = read
            .as_ref()
            .map(|read| read.validity.not_after.to_unix_duration().as_secs());
        let is_self_signed = read.is_some_and(|read| read.subject == read.issuer);
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("STREAMGATE_TLS_KEY: the key in {key_at} is not that of the certificate in {at}")
            }
            rustls::Error::InvalidCertificate(_) => format!("STREAMGATE_TLS_CERTIFICATE: {at} cannot be used: {error}"),
            error => format!("STREAMGATE_TLS_KEY: {key_at} cannot be used: {error}"),
        })?;
        Ok(Pair {
            certified: Arc::new(certified),
            subject,
            expires_s,
            is_self_signed,
        })
    }
}

/// Different for what is different, also if it is what went wrong.
fn print(read: &Result<Pems, String>) -> Print {
    let mut hash = Sha256::new();
    match read {
        Ok(pems) => {
            hash.update((pems.certificate.len() as u64).to_be_bytes());
            hash.update(&pems.certificate);
            hash.update(&pems.key);
        }
        Err(text) => hash.update(text),
    }
    hash.finalize().into()
}

fn tell(pair: &Pair, metrics: &Metrics) {
    let expires = UNIX_EPOCH + Duration::from_secs(pair.expires_s.unwrap_or_default());
    let known = pair.expires_s.is_some();
    let when = known.then(|| humantime::format_rfc3339_seconds(expires).to_string());
    metrics
        .tls_certificate_expires_seconds
        .set(pair.expires_s.unwrap_or_default().cast_signed());
    tracing::info!(subject = pair.subject, expires = when, "TLS certificate in use");
    if known && expires < SystemTime::now() {
        tracing::warn!("the TLS certificate has expired; clients will not accept it");
    }
}
