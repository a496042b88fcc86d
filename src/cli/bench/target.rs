//! Where the server is, who asks, and how a connection is made.
//!
//! Knows what a request looks like, not what is asked. Invariant: the token goes nowhere but into requests.

use crate::cli::bench::wire::{Seal, Wire};
use crate::cli::client::Account;
use crate::cli::{failure, malformed};
use crate::domain::error::Error;
use crate::domain::path::CompanyName;
use actix_web::http::Uri;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Connections that one address of this machine makes to a server on the same machine; a few less than there are ports.
const PER_SOURCE: usize = 25_000;

/// A server, and who asks.
pub struct Target {
    /// Under whom all is done.
    pub company: String,
    /// As it was typed.
    pub url: String,
    address: SocketAddr,
    /// How connections are sealed, if they are.
    seal: Option<Seal>,
    host: String,
    /// What stands before every address.
    prefix: String,
    /// The lines that say who asks.
    credentials: String,
}

impl Target {
    /// Looks the server's name up; nobody is asked yet.
    pub async fn find(account: &Account, ca: Option<&Path>) -> Result<Self, Error> {
        let company = account
            .company()
            .ok_or_else(|| malformed("STREAMGATE_COMPANY is not set: under which company are streams to be made?"))?;
        CompanyName::parse(company)?;
        let mut credentials = format!("X-Auth-Company: {company}\r\nX-Auth-Token: {}\r\n", account.token()?);
        if let Some(user) = account.user() {
            credentials.push_str(&format!("X-Auth-User: {user}\r\n"));
        }
        if credentials.split("\r\n").any(|line| line.contains(char::is_control)) {
            return Err(malformed("company, user and token have no control characters"));
        }
        let url = account.url();
        let wanted = || {
            malformed(format!(
                "STREAMGATE_URL is \"{url}\": http://host:port or https://host:port is wanted"
            ))
        };
        let uri: Uri = url.parse().map_err(|_| wanted())?;
        let name = uri.host().ok_or_else(wanted)?;
        let (usual, is_sealed) = match uri.scheme_str() {
            Some("http") => (80, false),
            Some("https") => (443, true),
            _ => return Err(wanted()),
        };
        let port = uri.port_u16().unwrap_or(usual);
        let seal = match is_sealed {
            true => Some(Seal::new(name.trim_matches(['[', ']']), ca)?),
            false => None,
        };
        let found = lookup_host((name.trim_matches(['[', ']']), port)).await;
        let address = found.ok().and_then(|mut all| all.next());
        Ok(Self {
            company: company.to_owned(),
            url: url.to_owned(),
            address: address.ok_or_else(|| failure(format!("{url}: there is no such host")))?,
            seal,
            host: format!("{name}:{port}"),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            credentials,
        })
    }

    /// Connects. `number` tells the connections of a run apart: on one machine every so many come from another of its
    /// addresses, since each has only so many ports.
    pub async fn connect(&self, number: usize) -> Result<Wire, Error> {
        let made = self.dial(number / PER_SOURCE).await;
        let stream = made.map_err(|error| failure(format!("{}: {error}; is the server running?", self.url)))?;
        match &self.seal {
            None => Ok(Wire::Plain(stream)),
            Some(seal) => {
                let sealed = seal.close(stream).await;
                sealed.map_err(|error| failure(format!("{}: TLS failed: {error}", self.url)))
            }
        }
    }

    async fn dial(&self, source: usize) -> io::Result<TcpStream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let (IpAddr::V4(address), 1..=250) = (self.address.ip(), source)
            && address.is_loopback()
        {
            let own = Ipv4Addr::new(127, 0, 1, 1 + source as u8);
            socket.bind((own, 0).into())?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        // Thousands that end at once would keep their ports for a minute.
        stream.set_zero_linger()?;
        Ok(stream)
    }

    /// A request's head for a body of so many bytes; the body follows.
    pub fn head(&self, method: &str, address: &str, body_bytes: usize) -> String {
        let Self {
            host,
            prefix,
            credentials,
            ..
        } = self;
        format!(
            "{method} {prefix}{address} HTTP/1.1\r\nHost: {host}\r\n{credentials}Content-Length: {body_bytes}\r\n\r\n"
        )
    }

    /// A whole request.
    pub fn request(&self, method: &str, address: &str, body: &str) -> Vec<u8> {
        let mut request = self.head(method, address, body.len());
        request.push_str(body);
        request.into_bytes()
    }

    /// A request that makes the connection a session's socket.
    pub fn upgrade(&self, session: &str) -> Vec<u8> {
        let Self { host, prefix, .. } = self;
        format!(
            "GET {prefix}/session/{session}/ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3RyZWFtZ2F0ZSBiZW5jaA==\r\n\r\n"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn target(address: SocketAddr) -> Target {
        Target {
            company: "acme".to_owned(),
            url: format!("http://{address}"),
            address,
            seal: None,
            host: address.to_string(),
            prefix: "/behind".to_owned(),
            credentials: "X-Auth-Token: t\r\n".to_owned(),
        }
    }

    /// Only Linux has all of 127.0.0.0/8.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn more_connections_than_ports_come_from_other_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let target = target(listener.local_addr().expect("an address"));
        for (number, from) in [
            (0, "127.0.0.1"),
            (PER_SOURCE, "127.0.1.2"),
            (3 * PER_SOURCE, "127.0.1.4"),
        ] {
            let wire = target.dial(number / PER_SOURCE).await.expect("a connection");
            let (_, peer) = listener.accept().await.expect("somebody");
            assert_eq!(
                (peer.ip().to_string().as_str(), wire.local_addr().ok()),
                (from, Some(peer))
            );
        }
    }

    #[test]
    fn requests_say_who_asks_and_sockets_do_not() {
        let target = target(([127, 0, 0, 1], 80).into());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let request = text(target.request("POST", "/session", "{}"));
        assert!(request.starts_with("POST /behind/session HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("X-Auth-Token: t\r\n") && request.ends_with("Content-Length: 2\r\n\r\n{}"));
        let upgrade = text(target.upgrade("abc"));
        assert!(
            upgrade.starts_with("GET /behind/session/abc/ws ") && !upgrade.contains("X-Auth"),
            "{upgrade}"
        );
    }
}
