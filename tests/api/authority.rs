//! A certificate authority of a test's own, clients that trust it, and a bridge on which clients that
//! speak no TLS reach a server that speaks nothing else.
//!
//! The bridge holds little: what its client does not read, the server soon cannot write.

use crate::raw::RawSocket;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Who vouches for the servers of a test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        Self { issuer }
    }

    /// Writes `cert.pem` and `key.pem` for localhost into a folder, with a subject to tell it by.
    pub fn issue(&self, folder: &Path, subject: &str) -> [PathBuf; 2] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, subject);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = [folder.join("cert.pem"), folder.join("key.pem")];
        std::fs::write(&files[0], certificate.pem()).expect("a file");
        std::fs::write(&files[1], key.serialize_pem()).expect("a file");
        files
    }

    /// Settings of clients that trust this authority and nobody else.
    pub fn client(&self) -> ClientConfig {
        self.client_of(rustls::DEFAULT_VERSIONS)
    }

    /// As [`Authority::client`], for these versions of TLS.
    pub fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut trusted = RootCertStore::empty();
        trusted.add(self.issuer.der().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).expect("versions");
        builder.with_root_certificates(trusted).with_no_client_auth()
    }
}

/// Shakes hands with a server that listens at `address`.
pub async fn connect(config: ClientConfig, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    shake_hands(Arc::new(config), stream).await
}

/// Shakes hands on a connection.
pub async fn shake_hands(config: Arc<ClientConfig>, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(config).connect(name, stream).await
}

/// Plain on one side, TLS on the other.
pub struct Bridge {
    /// Where clients connect.
    pub address: SocketAddr,
    pub authority: Authority,
    server: Arc<Mutex<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Bridge {
    /// Leads to a server at `server`, whose certificate is the authority's.
    pub async fn start(authority: Authority, server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = Arc::new(authority.client());
        let server = Arc::new(Mutex::new(server));
        let leads_to = Arc::clone(&server);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let server = *leads_to.lock().expect("nobody panics with it");
                tokio::spawn(cross(stream, server, Arc::clone(&client)));
            }
        });
        Self {
            address,
            authority,
            server,
            task,
        }
    }

    /// Where the server listens.
    pub fn server(&self) -> SocketAddr {
        *self.server.lock().expect("nobody panics with it")
    }

    /// From now on it leads to another server; returns where clients connect.
    pub fn lead_to(&self, server: SocketAddr) -> SocketAddr {
        *self.server.lock().expect("nobody panics with it") = server;
        self.address
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes both ways until both ends have finished. How one end fails is told to the other by
/// the end of its connection, and to nobody else.
async fn cross(mut stream: TcpStream, server: SocketAddr, client: Arc<ClientConfig>) {
    let narrow = RawSocket::connect_narrow(server).await.stream;
    if let Ok(mut secured) = shake_hands(client, narrow).await {
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut secured).await;
    }
}
