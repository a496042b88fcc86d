//! A user as the catalogue describes them, what a password has to be like, and where links lead.
//!
//! Invariant: neither a password nor its hash is in anything that can be shown.

use crate::domain::error::{Code, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::path::UserName;
use std::fmt;
use std::net::SocketAddr;

/// The shortest password, in characters.
const PASSWORD_CHARS: usize = 10;
/// The longest, in bytes.
const PASSWORD_BYTES: usize = 1_024;

/// A user of a company.
pub struct Person {
    /// Their name.
    pub name: UserName,
    /// Whether they may keep users, signing keys and the audit.
    pub manages: bool,
    /// When they were added, in milliseconds since 1970.
    pub created_ms: u64,
    /// When they were seen last, signed in or by a master token; 0 is never.
    pub used_ms: u64,
    /// Whether they can sign in.
    pub has_password: bool,
    /// Their newest master token.
    pub token: Option<TokenKey>,
}

/// A password that may be set; it shows itself to nobody.
pub struct Password(String);

impl Password {
    /// Takes a password; refused with `password.malformed`.
    pub fn parse(text: String) -> Result<Self, Refusal> {
        if text.chars().count() >= PASSWORD_CHARS && text.len() <= PASSWORD_BYTES {
            return Ok(Self(text));
        }
        let text = format!("a password has at least {PASSWORD_CHARS} characters and at most {PASSWORD_BYTES} bytes");
        Err(Refusal::new(Code::PasswordMalformed, text))
    }

    /// One that somebody presents: what is too long to be one is cut, so that it is none.
    pub fn presented(mut text: String) -> Self {
        if text.len() > PASSWORD_BYTES {
            text.clear();
        }
        Self(text)
    }

    /// What is hashed.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Where people reach the server: `https://stream.example.com`, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Parses `http://…` or `https://…`, a path allowed; says what is wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches('/');
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_legal = |c: char| c.is_ascii_graphic() && !"?#'\"<>\\@".contains(c);
        if rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(is_legal)) {
            return Ok(Self(text.to_owned()));
        }
        Err("an address is wanted such as https://stream.example.com".to_owned())
    }

    /// Of a server that listens at `address`, as somebody on the same machine reaches it by `http` or `https`.
    pub fn of(scheme: &str, address: SocketAddr) -> Self {
        match address.ip().is_unspecified() {
            true => Self(format!("{scheme}://127.0.0.1:{}", address.port())),
            false => Self(format!("{scheme}://{address}")),
        }
    }

    /// Whether people come by HTTPS.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        match self.is_secure() {
            true => "https",
            false => "http",
        }
    }

    /// Where sockets are opened, without a slash at the end.
    pub fn socket(&self) -> String {
        format!("ws{}", self.0.trim_start_matches("http"))
    }

    /// Whether a page of `origin` is served at this address.
    pub fn is_of(&self, origin: &str) -> bool {
        let rest = self.0.get(..origin.len());
        let is_whole = matches!(self.0.as_bytes().get(origin.len()), None | Some(b'/'));
        is_whole && rest.is_some_and(|rest| rest.eq_ignore_ascii_case(origin))
    }

    /// Where somebody sets a password, once.
    pub fn link(&self, code: &str) -> String {
        format!("{}/#/welcome/{code}", self.0)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_enough_and_not_too_long() {
        let is_good = |text: &str| Password::parse(text.to_owned()).is_ok();
        assert!(is_good("ten chars!") && !is_good("nine char"));
        assert!(!is_good("ünün"), "bytes are no characters");
        assert!(is_good(&"x".repeat(1_024)) && !is_good(&"x".repeat(1_025)));
        assert!(Password::presented("x".repeat(1_025)).bytes().is_empty());
    }

    #[test]
    fn links_lead_to_the_public_address() {
        let url = PublicUrl::parse("https://stream.example.com/").expect("an address");
        assert_eq!(url.link("abc"), "https://stream.example.com/#/welcome/abc");
        assert!(url.is_secure() && url.is_of("https://Stream.example.com"));
        assert!(!url.is_of("https://stream.example.co") && !url.is_of("https://stream.example.com.evil"));
        for bad in [
            "",
            "stream.example.com",
            "https://",
            "https:///x",
            "https://a?b",
            "ftp://a",
            "https://a b",
        ] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad}");
        }
        let anywhere = PublicUrl::of("http", "0.0.0.0:8080".parse().expect("an address"));
        assert_eq!(anywhere.to_string(), "http://127.0.0.1:8080");
        assert_eq!(
            (anywhere.socket(), url.socket()),
            ("ws://127.0.0.1:8080".to_owned(), "wss://stream.example.com".to_owned())
        );
    }
}
