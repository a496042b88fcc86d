//! Which web pages may use the server from a browser.
//!
//! A request without an origin does not come from a page and is not this module's concern.

use std::str::FromStr;

/// The allowed origins. Pages served by the server itself are always allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    listed: Vec<String>,
}

/// One origin, as it is compared; says what is wrong with it.
pub fn parse(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if host.is_none_or(|host| host.is_empty() || host.contains('/')) {
        return Err(format!("{text} is not an origin such as https://app.example.com"));
    }
    if text.starts_with("https:") && text.ends_with(":443") || text.starts_with("http:") && text.ends_with(":80") {
        let why = "names the usual port, which browsers leave out: leave it out too";
        return Err(format!("{text} {why}"));
    }
    Ok(text.to_ascii_lowercase())
}

impl FromStr for Origins {
    type Err = String;

    /// Parses `https://app.example.com,http://localhost:3000`, `*` for any, or nothing for none.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut origins = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if part == "*" {
                origins.any = true;
                continue;
            }
            origins.listed.push(parse(part)?);
        }
        Ok(origins)
    }
}

impl Origins {
    /// Whether a page of `origin` may talk to us, whom it knows as `host`.
    pub fn allow(&self, origin: &str, host: Option<&str>) -> bool {
        let own = || {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.zip(host).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
        };
        let listed = || self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin));
        self.any || listed() || own()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_listed_pages_are_allowed() {
        let origins: Origins = "https://App.example.com, http://localhost:3000"
            .parse()
            .expect("origins");
        assert!(origins.allow("https://app.example.com", None));
        assert!(origins.allow("http://localhost:3000", Some("127.0.0.1:8080")));
        assert!(origins.allow("http://127.0.0.1:8080", Some("127.0.0.1:8080")));
        assert!(!origins.allow("https://evil.example", Some("127.0.0.1:8080")));
        assert!(!origins.allow("null", Some("127.0.0.1:8080")));
        assert!("*".parse::<Origins>().expect("any").allow("null", None));
        assert!("app.example.com".parse::<Origins>().is_err());
        assert!("https://app.example.com/".parse::<Origins>().is_err());
        assert!("https://app.example.com:443".parse::<Origins>().is_err());
    }
}
