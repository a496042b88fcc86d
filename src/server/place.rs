//! Where a server is reached, for the lines that it prints.
//!
//! Invariant: what is printed works when pasted on the server's own machine.

use crate::config::Config;
use crate::domain::person::PublicUrl;
use crate::server::certificate::Certificate;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a server is reached from its own machine.
#[derive(Clone)]
pub struct Place {
    /// By `http` or `https`.
    pub url: PublicUrl,
    /// The certificate that clients have to be shown, if nobody else vouches for it.
    pub certificate: Option<PathBuf>,
}

impl Place {
    /// Of a server that listens at `address`. A certificate is for a name, and that is in the public
    /// address, if anywhere.
    pub(super) fn of(config: &Config, address: SocketAddr, certificate: Option<&Certificate>) -> Self {
        Self {
            url: match certificate {
                Some(_) => config.public_url(address),
                None => PublicUrl::of("http", address),
            },
            certificate: certificate.and_then(Certificate::to_be_shown),
        }
    }
}
