//! What a company says of itself: what clients of older systems may do for it.
//!
//! Names and defaults of the first three are RootSocket's (rootsocket/front, functions/utils/rootsocket.js);
//! `approvedSocketDomains` is the users server's (Webinate/users, comms-controller.ts). Invariant: what
//! is settled has expressions that compile, in time linear in what they search.

use crate::domain::error::{Code, Refusal};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Most expressions of one company.
const MAX_DOMAINS: usize = 64;
/// Longest expression, in bytes.
const MAX_DOMAIN_BYTES: usize = 256;
/// Bytes that one expression may take when it is compiled, and again while it is searched for.
const MAX_COMPILED_BYTES: usize = 65_536;
/// Longest origin that is searched, in bytes. A host name has at most 253 (RFC 1035 §2.3.4).
const MAX_ORIGIN_BYTES: usize = 512;

/// Settings that are to be different, by name.
pub type Changes = serde_json::Map<String, serde_json::Value>;

/// A company's settings, as they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CompanySettings {
    /// Whether connections of channels may publish.
    pub allow_client_send: bool,
    /// Whether they may subscribe.
    pub allow_channel_subscription: bool,
    /// Whether they need a token of the channel for it.
    pub allow_channel_authorization: bool,
    /// Whether a channel that nobody declared as a stream exists while it is used.
    pub allow_undeclared_channels: bool,
    /// Regular expressions, one of which must be found in the origin of who connects to notices.
    pub approved_socket_domains: Vec<String>,
    /// Whether who connects to notices without a key may read and write what is kept of users.
    pub allow_meta_without_key: bool,
}

impl Default for CompanySettings {
    fn default() -> Self {
        Self {
            allow_client_send: false,
            allow_channel_subscription: true,
            allow_channel_authorization: false,
            allow_undeclared_channels: true,
            approved_socket_domains: Vec::new(),
            allow_meta_without_key: false,
        }
    }
}

impl CompanySettings {
    /// What allows nothing, for where nobody knows what is allowed.
    pub const STRICTEST: Self = Self {
        allow_client_send: false,
        allow_channel_subscription: false,
        allow_channel_authorization: true,
        allow_undeclared_channels: false,
        approved_socket_domains: Vec::new(),
        allow_meta_without_key: false,
    };

    /// These with some of them different; refused with `body.malformed` if one is not known or is not
    /// what it should be.
    pub fn with(&self, changes: &Changes) -> Result<Self, Refusal> {
        let malformed = |text: String| Refusal::new(Code::BodyMalformed, text);
        let mut whole = serde_json::json!(self);
        for (name, value) in changes {
            let Some(place) = whole.get_mut(name) else {
                let names: Vec<&str> = whole
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| &**name)
                    .collect();
                return Err(malformed(format!(
                    "there is no setting of this name: {}",
                    names.join(", ")
                )));
            };
            *place = value.clone();
            let checked = serde_json::from_value::<Self>(whole.clone());
            checked.map_err(|error| malformed(format!("\"{name}\" is not understood: {error}")))?;
        }
        serde_json::from_value(whole).map_err(|error| malformed(error.to_string()))
    }
}

/// A company's settings, ready for use.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// As they are written.
    pub settings: CompanySettings,
    /// `approvedSocketDomains`, compiled.
    approved: Vec<Regex>,
}

impl Settled {
    /// Checks settings; refused with `body.malformed` for an expression that is none or too much.
    pub fn check(settings: CompanySettings) -> Result<Self, Refusal> {
        let domains = &settings.approved_socket_domains;
        if domains.len() > MAX_DOMAINS {
            let text = format!("\"approvedSocketDomains\" has at most {MAX_DOMAINS} expressions");
            return Err(Refusal::new(Code::BodyMalformed, text));
        }
        let approved = domains.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { settings, approved })
    }

    /// Of settings as they are stored, maybe by another version, and what was wrong with them.
    ///
    /// An expression that cannot be used approves of nothing; settings that cannot be read at all are
    /// [`CompanySettings::STRICTEST`].
    pub fn stored(text: &str) -> (Self, Vec<String>) {
        let (settings, mut wrong) = match serde_json::from_str(text) {
            Ok(settings) => (settings, Vec::new()),
            Err(error) => (CompanySettings::STRICTEST, vec![error.to_string()]),
        };
        let domains = settings.approved_socket_domains.iter().enumerate();
        let mut approved = Vec::new();
        for compiled in domains.take(MAX_DOMAINS).map(compile) {
            match compiled {
                Ok(domain) => approved.push(domain),
                Err(refusal) => wrong.push(refusal.text.into_owned()),
            }
        }
        (Self { settings, approved }, wrong)
    }

    /// Whether an origin is approved: it is no longer than one can be, and one of the expressions is found
    /// somewhere in it.
    pub fn approves(&self, origin: &str) -> bool {
        origin.len() <= MAX_ORIGIN_BYTES && self.approved.iter().any(|domain| domain.is_match(origin))
    }
}

impl CompanySettings {
    /// Whether these lack an expression that `before` had, so that somebody may have come by it who may no more.
    pub fn approve_less_than(&self, before: &Self) -> bool {
        let domains = &self.approved_socket_domains;
        before
            .approved_socket_domains
            .iter()
            .any(|domain| !domains.contains(domain))
    }
}

/// Refused with `body.malformed` for an expression that is none or too much; by its number.
fn compile((number, text): (usize, &String)) -> Result<Regex, Refusal> {
    let why = |why: String| {
        let text = format!("expression {number} of \"approvedSocketDomains\": {why}");
        Refusal::new(Code::BodyMalformed, text)
    };
    if text.len() > MAX_DOMAIN_BYTES {
        return Err(why(format!("it has at most {MAX_DOMAIN_BYTES} bytes")));
    }
    let mut builder = RegexBuilder::new(text);
    let builder = builder
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES);
    builder.build().map_err(|error| why(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approving(domains: &[&str]) -> Result<Settled, Refusal> {
        let approved_socket_domains = domains.iter().map(|text| (*text).to_owned()).collect();
        Settled::check(CompanySettings {
            approved_socket_domains,
            ..CompanySettings::default()
        })
    }

    #[test]
    fn an_expression_is_found_anywhere_unless_it_is_anchored() {
        let settled = approving(&["localhost", r"^https://app\.acme\.com$"]).expect("they compile");
        for (origin, approved) in [
            ("http://localhost:8000", true),
            ("http://localhost.evil.com", true),
            ("https://app.acme.com", true),
            ("https://app.acme.com.evil.com", false),
            ("", false),
        ] {
            assert_eq!(settled.approves(origin), approved, "{origin}");
        }
        assert!(!Settled::default().approves("http://localhost"));
    }

    #[test]
    fn an_origin_that_is_longer_than_any_is_not_searched() {
        let settled = approving(&["localhost"]).expect("they compile");
        let longest = format!("http://localhost/{}", "x".repeat(MAX_ORIGIN_BYTES - 17));
        assert!(settled.approves(&longest));
        assert!(!settled.approves(&format!("{longest}x")));
    }

    #[test]
    fn what_does_not_compile_or_is_too_much_is_refused_by_its_number() {
        let refusal = approving(&["fine", "("]).expect_err("a bracket is open");
        assert_eq!(refusal.code, Code::BodyMalformed);
        assert!(refusal.text.starts_with("expression 1 of"), "{refusal}");
        assert!(approving(&["(a{100}){100}"]).is_err());
        assert!(approving(&["x"; MAX_DOMAINS + 1]).is_err());
        assert!(approving(&["x".repeat(MAX_DOMAIN_BYTES + 1).as_str()]).is_err());
    }

    #[test]
    fn less_is_approved_where_an_expression_is_missing() {
        let settings = |domains: &[&str]| approving(domains).expect("they compile").settings;
        for (before, after, less) in [
            (&["a", "b"][..], &["b", "c", "a"][..], false),
            (&["a", "b"], &["b"], true),
            (&["a"], &["a$"], true),
            (&[], &["a"], false),
            (&["a"], &[], true),
        ] {
            let changed = settings(after).approve_less_than(&settings(before));
            assert_eq!(changed, less, "{before:?} {after:?}");
        }
    }

    #[test]
    fn what_was_written_by_another_version_is_read_with_the_defaults_of_this_one() {
        let settings: CompanySettings = serde_json::from_str(r#"{"allowClientSend":true,"more":1}"#).expect("read");
        let expected = CompanySettings {
            allow_client_send: true,
            ..CompanySettings::default()
        };
        assert_eq!(settings, expected);
    }
    #[test]
    fn of_what_is_stored_what_cannot_be_used_allows_nothing() {
        let text = r#"{"allowClientSend":true,"approvedSocketDomains":["fine","(","also"]}"#;
        let (settled, wrong) = Settled::stored(text);
        assert!(settled.approves("fine") && settled.approves("also") && !settled.approves("("));
        assert!(settled.settings.allow_client_send);
        assert_eq!(settled.settings.approved_socket_domains.len(), 3, "as it is written");
        assert!(wrong.len() == 1 && wrong[0].starts_with("expression 1 of"), "{wrong:?}");
        for text in ["", "null", r#"{"allowClientSend":1,"approvedSocketDomains":["."]}"#] {
            let (settled, wrong) = Settled::stored(text);
            assert_eq!(settled.settings, CompanySettings::STRICTEST, "{text}");
            assert!(!settled.approves("fine") && wrong.len() == 1, "{text}");
        }
        let many = serde_json::json!({"approvedSocketDomains": vec!["x"; MAX_DOMAINS + 1]});
        assert_eq!(Settled::stored(&many.to_string()).0.approved.len(), MAX_DOMAINS);
    }
}
