//! A connection's bytes: plain, or sealed with TLS.
//!
//! Knows neither HTTP nor sockets. Invariant: a server is trusted because of the certificates that were given, or
//! those of the system; nothing switches that off.

use crate::cli::{failure, malformed};
use crate::domain::error::Error;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where systems keep the certificates that they trust; the first that is there is used.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// A connection.
pub enum Wire {
    /// As it is.
    Plain(TcpStream),
    /// With TLS.
    Sealed(Box<TlsStream<TcpStream>>),
}

/// How connections are sealed, and whom they must reach.
pub struct Seal {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Seal {
    /// For a server of this name, which shows one of the certificates in `file` or one that those have signed.
    pub fn new(host: &str, file: Option<&Path>) -> Result<Self, Error> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| malformed(format!("{host} is no name that a certificate can have")))?;
        let file = file.or_else(|| SYSTEM.iter().map(Path::new).find(|file| file.exists()));
        let file = file.ok_or_else(|| malformed("this system has no list of certificates: give one with --ca"))?;
        let shown = file.display();
        let unreadable = |error: &dyn std::fmt::Display| malformed(format!("{shown} has no certificates: {error}"));
        let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
        let certificates: Vec<CertificateDer<'static>> = certificates.map_err(|error| unreadable(&error))?;
        let mut roots = RootCertStore::empty();
        // Some lists have certificates that nobody understands; the others count.
        roots.add_parsable_certificates(certificates.iter().cloned());
        let provider = Arc::new(ring::default_provider());
        let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let signed = signed.map_err(|error| unreadable(&error))?;
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| failure(format!("TLS cannot be spoken: {error}")))?;
        let trust = Arc::new(Trust { signed, certificates });
        let config = config
            .dangerous()
            .with_custom_certificate_verifier(trust)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { connector, name })
    }

    /// Seals a connection.
    pub async fn close(&self, stream: TcpStream) -> io::Result<Wire> {
        let sealed = self.connector.connect(self.name.clone(), stream).await?;
        Ok(Wire::Sealed(Box::new(sealed)))
    }
}

/// Trusts what the listed certificates have signed, and those themselves: a self-signed one signs others by its own
/// word, so the usual check does not take it for a server's.
#[derive(Debug)]
struct Trust {
    signed: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.certificates.iter().any(|listed| listed == shown) {
            true => Ok(ServerCertVerified::assertion()),
            false => self.signed.verify_server_cert(shown, between, name, ocsp, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        by: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, by, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        by: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, by, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Sealed(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Sealed(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Sealed(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Sealed(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
