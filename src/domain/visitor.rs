//! Where a request comes from, and the places that a token may be used from.
//!
//! A place is a page's origin, told by its browser, or the network of the peer. Invariant: a token
//! that is held to places is refused to whoever does not show that they are at one.

use crate::domain::error::{Code, Refusal};
use crate::domain::origin;
use ipnet::IpNet;
use std::net::IpAddr;
use std::str::FromStr;

/// Most origins and most networks of one token.
const MAX_PLACES: usize = 64;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visitor<'a> {
    /// The peer, if the connection has one.
    pub address: Option<IpAddr>,
    /// The header `Origin`, if there is one.
    pub origin: Option<&'a str>,
}

/// Where a token may be used; anywhere if nothing is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    origins: Vec<String>,
    addresses: Vec<IpNet>,
}

impl Places {
    /// Parses origins such as `https://app.example.com` and networks such as `10.0.0.0/8`, or
    /// single addresses; refused with `body.malformed`.
    pub fn parse(origins: &[String], addresses: &[String]) -> Result<Self, Refusal> {
        let malformed = |text: String| Refusal::new(Code::BodyMalformed, text);
        if origins.len().max(addresses.len()) > MAX_PLACES {
            let text = format!("a token has at most {MAX_PLACES} origins and as many addresses");
            return Err(malformed(text));
        }
        let origins = origins.iter().map(|text| origin::parse(text).map_err(malformed));
        let addresses = addresses.iter().map(|text| {
            let wanted = || malformed("an address is a network such as 10.0.0.0/8, or one address".to_owned());
            parse_network(text).ok_or_else(wanted)
        });
        Ok(Self {
            origins: origins.collect::<Result<_, _>>()?,
            addresses: addresses.collect::<Result<_, _>>()?,
        })
    }

    /// The origins, as they are compared.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    /// The networks, as they are written.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.iter().map(IpNet::to_string).collect()
    }

    /// Refused with `origin.denied` or `address.denied` unless the visitor is at one of the places.
    pub fn check(&self, visitor: &Visitor) -> Result<(), Refusal> {
        let same = |origin: &str| self.origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin));
        if !self.origins.is_empty() && !visitor.origin.is_some_and(same) {
            let text = "the token may be used by pages of certain origins only";
            return Err(Refusal::new(Code::OriginDenied, text));
        }
        let within = |address: IpAddr| {
            let address = address.to_canonical();
            self.addresses.iter().any(|network| network.contains(&address))
        };
        if !self.addresses.is_empty() && !visitor.address.is_some_and(within) {
            let text = "the token may be used from certain addresses only";
            return Err(Refusal::new(Code::AddressDenied, text));
        }
        Ok(())
    }
}

/// Peers are compared in their canonical form, so networks have to be in it as well.
/// Proxies whose word is taken for where a request comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl FromStr for Proxies {
    type Err = String;

    /// Networks, separated by commas; none if empty.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted =
            || "networks or addresses are wanted, separated by commas, such as 127.0.0.1 or 10.0.0.0/8".to_owned();
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let networks = parts.map(|part| parse_network(part).ok_or_else(wanted));
        Ok(Self(networks.collect::<Result<_, _>>()?))
    }
}

impl Proxies {
    /// Whether nobody's word is taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a request comes from: the peer, or whom a trusted one names, the last of `forwarded`
    /// that is not trusted itself. What stands before that one anybody may have written.
    pub fn origin<'a>(
        &self,
        peer: Option<IpAddr>,
        forwarded: impl DoubleEndedIterator<Item = &'a str>,
    ) -> Option<IpAddr> {
        let mut address = peer?.to_canonical();
        for hop in forwarded.rev() {
            if !self.0.iter().any(|network| network.contains(&address)) {
                break;
            }
            match hop.trim().parse::<IpAddr>() {
                Ok(named) => address = named.to_canonical(),
                Err(_) => break,
            }
        }
        Some(address)
    }
}

fn parse_network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical()),
    };
    let is_mapped = matches!(network, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some());
    (!is_mapped).then_some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(origins: &[&str], addresses: &[&str]) -> Result<Places, Refusal> {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Places::parse(&owned(origins), &owned(addresses))
    }

    fn code(places: &Places, address: Option<&str>, origin: Option<&str>) -> Option<Code> {
        let address = address.map(|text| text.parse().expect("an address"));
        let refused = places.check(&Visitor { address, origin });
        refused.err().map(|refusal| refusal.code)
    }

    #[test]
    fn who_is_at_no_listed_place_is_refused() {
        let office = places(
            &["https://App.example.com"],
            &["10.1.2.3/8", "2001:db8::/32", "192.0.2.7"],
        );
        let office = office.expect("places");
        assert_eq!(office.addresses(), ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"]);
        let page = Some("https://app.example.com");
        for address in ["10.9.9.9", "::ffff:10.9.9.9", "2001:db8::1", "192.0.2.7"] {
            assert_eq!(code(&office, Some(address), page), None, "{address}");
        }
        for address in [Some("11.0.0.1"), Some("192.0.2.8"), Some("::1"), None] {
            assert_eq!(code(&office, address, page), Some(Code::AddressDenied), "{address:?}");
        }
        for origin in [
            None,
            Some("null"),
            Some("https://evil.example"),
            Some("http://app.example.com"),
        ] {
            let refused = code(&office, Some("10.0.0.1"), origin);
            assert_eq!(refused, Some(Code::OriginDenied), "{origin:?}");
        }
        assert_eq!(code(&Places::default(), None, None), None, "nothing is listed");
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies: Proxies = "127.0.0.1, 10.0.0.0/8".parse().expect("networks");
        let origin = |peer: &str, forwarded: &str| {
            let peer = peer.parse().expect("an address");
            let origin = proxies.origin(Some(peer), forwarded.split(','));
            origin.map(|address| address.to_string()).unwrap_or_default()
        };
        assert_eq!(origin("127.0.0.1", "192.0.2.1"), "192.0.2.1");
        assert_eq!(origin("::ffff:127.0.0.1", "6.6.6.6, 192.0.2.1, 10.1.1.1"), "192.0.2.1");
        assert_eq!(
            origin("192.0.2.9", "6.6.6.6"),
            "192.0.2.9",
            "a stranger says what it likes"
        );
        assert_eq!(origin("127.0.0.1", ""), "127.0.0.1");
        assert_eq!(origin("127.0.0.1", "6.6.6.6, unknown"), "127.0.0.1");
        assert!("127.0.0.1;10.0.0.0/8".parse::<Proxies>().is_err());
        assert_eq!("".parse(), Ok(Proxies::default()));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let many = vec!["10.0.0.1"; MAX_PLACES + 1];
        assert!(places(&[], &many).is_err());
        assert!(places(&[], &many[1..]).is_ok());
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0", "::ffff:10.0.0.0/104"] {
            assert!(places(&[], &[bad]).is_err(), "{bad}");
        }
        for bad in ["", "*", "app.example.com", "https://a/b", "https://a:443"] {
            assert!(places(&[bad], &[]).is_err(), "{bad}");
        }
    }
}
