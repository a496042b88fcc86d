//! What a token or session may do: path patterns × verbs.
//!
//! Invariant: a scope only ever shrinks on its way from token to session.

use crate::domain::error::{Code, Refusal};
use crate::domain::path::{CompanyName, Path, Pattern};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What can be done to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Subscribe to it.
    Read,
    /// Publish to it.
    Write,
    /// Create, change and delete it.
    Manage,
}

impl Verb {
    /// The verb of a word.
    pub fn parse(word: &str) -> Option<Self> {
        [Verb::Read, Verb::Write, Verb::Manage]
            .into_iter()
            .find(|verb| verb.word() == word)
    }

    /// The word in a refusal.
    pub const fn word(self) -> &'static str {
        match self {
            Verb::Read => "read",
            Verb::Write => "write",
            Verb::Manage => "manage",
        }
    }
}

/// Which verbs a rule allows; as JSON `{"read":true}`, absent members are `false`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, bool>")]
pub struct Verbs {
    /// May subscribe.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read: bool,
    /// May publish.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub write: bool,
    /// May create, change and delete.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub manage: bool,
}

impl TryFrom<BTreeMap<String, bool>> for Verbs {
    type Error = String;

    fn try_from(json: BTreeMap<String, bool>) -> Result<Self, String> {
        let mut verbs = Self::default();
        for (verb, allowed) in json {
            match verb.as_str() {
                "read" => verbs.read = allowed,
                "write" => verbs.write = allowed,
                "manage" => verbs.manage = allowed,
                _ => return Err("a verb is read, write or manage".to_owned()),
            }
        }
        Ok(verbs)
    }
}

impl Verbs {
    /// Allows one more.
    pub fn allow(&mut self, verb: Verb) {
        match verb {
            Verb::Read => self.read = true,
            Verb::Write => self.write = true,
            Verb::Manage => self.manage = true,
        }
    }

    const fn has(self, verb: Verb) -> bool {
        match verb {
            Verb::Read => self.read,
            Verb::Write => self.write,
            Verb::Manage => self.manage,
        }
    }

    /// All that is asked of `self` is in `other` too.
    const fn within(self, other: Verbs) -> bool {
        (!self.read || other.read) && (!self.write || other.write) && (!self.manage || other.manage)
    }
}

/// Pairs of a pattern and what is allowed on the paths it matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(Vec<(Pattern, Verbs)>);

/// A scope as JSON: `{"/acme/door/**":{"read":true}}`.
pub type ScopeJson = BTreeMap<String, Verbs>;

impl Scope {
    /// Everything on every path of a company: what a master token has.
    pub fn master(company: &CompanyName) -> Self {
        let all = Verbs {
            read: true,
            write: true,
            manage: true,
        };
        Self(vec![(Pattern::whole(company), all)])
    }

    /// Reading and writing a company's notices, and nothing else.
    pub fn notices(company: &CompanyName) -> Self {
        let verbs = Verbs {
            read: true,
            write: true,
            manage: false,
        };
        Self(vec![(Pattern::notices(company), verbs)])
    }

    /// Parses the JSON form for a token of `company`, of at most `most` patterns.
    ///
    /// Refused with `path.malformed`, `limit.patterns`, or `scope.denied` for another company's path.
    pub fn parse(json: &ScopeJson, company: &CompanyName, most: usize) -> Result<Self, Refusal> {
        if json.len() > most {
            let text = format!("a scope has at most {most} patterns");
            return Err(Refusal::new(Code::LimitPatterns, text));
        }
        let mut rules = Vec::with_capacity(json.len());
        for (pattern, verbs) in json {
            let pattern = Pattern::parse(pattern)?;
            if pattern.company() != company.as_str() {
                let text = format!("a scope of company {company} has patterns that start with /{company}/");
                return Err(Refusal::new(Code::ScopeDenied, text));
            }
            rules.push((pattern, *verbs));
        }
        Ok(Self(rules))
    }

    /// The JSON form.
    pub fn to_json(&self) -> ScopeJson {
        let rules = self.0.iter();
        rules.map(|(pattern, verbs)| (pattern.to_string(), *verbs)).collect()
    }

    /// Whether `verb` is allowed on `path`.
    pub fn allows(&self, verb: Verb, path: &Path) -> bool {
        self.rule(verb, path).is_some()
    }

    /// The rule by which `verb` is allowed on `path`, if it is.
    pub fn rule(&self, verb: Verb, path: &Path) -> Option<(&Pattern, Verbs)> {
        let mut rules = self.0.iter();
        let rule = rules.find(|(pattern, verbs)| verbs.has(verb) && pattern.matches(path));
        rule.map(|(pattern, verbs)| (pattern, *verbs))
    }

    /// Whether `verb` is allowed on any path.
    pub fn grants(&self, verb: Verb) -> bool {
        self.0.iter().any(|(_, verbs)| verbs.has(verb))
    }

    /// Whether anything at all is allowed on `path`.
    pub fn touches(&self, path: &Path) -> bool {
        let mut rules = self.0.iter();
        rules.any(|(pattern, verbs)| *verbs != Verbs::default() && pattern.matches(path))
    }

    /// Whether each rule of `asked` lies within one rule of this scope.
    pub fn covers(&self, asked: &Scope) -> bool {
        asked.0.iter().all(|(pattern, verbs)| {
            let mut rules = self.0.iter();
            rules.any(|(wide, allowed)| verbs.within(*allowed) && wide.covers(pattern))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(json: &str) -> Scope {
        let json: ScopeJson = serde_json::from_str(json).expect("JSON");
        Scope::parse(&json, &CompanyName::parse("acme").expect("name"), 8).expect("a scope")
    }

    #[test]
    fn a_verb_is_allowed_only_where_a_rule_says_so() {
        let scope = scope(r#"{"/acme/door/**":{"read":true},"/acme/bell":{"write":true}}"#);
        let path = |text| Path::parse(text).expect("a path");
        assert!(scope.allows(Verb::Read, &path("/acme/door/1")));
        assert!(!scope.allows(Verb::Write, &path("/acme/door/1")));
        assert!(scope.allows(Verb::Write, &path("/acme/bell")));
        assert!(!scope.allows(Verb::Read, &path("/acme/window")));
        assert!(scope.grants(Verb::Read) && scope.grants(Verb::Write) && !scope.grants(Verb::Manage));
    }

    #[test]
    fn narrowing_never_widens() {
        let token = scope(r#"{"/acme/door/**":{"read":true,"write":true}}"#);
        assert!(token.covers(&scope(r#"{"/acme/door/1":{"read":true}}"#)));
        assert!(!token.covers(&scope(r#"{"/acme/**":{"read":true}}"#)));
        assert!(!token.covers(&scope(r#"{"/acme/door/1":{"manage":true}}"#)));
        assert!(token.covers(&Scope::default()));
    }

    #[test]
    fn other_companies_and_too_many_patterns_are_refused() {
        let acme = CompanyName::parse("acme").expect("name");
        let json: ScopeJson = serde_json::from_str(r#"{"/other/x":{"read":true}}"#).expect("JSON");
        let refusal = Scope::parse(&json, &acme, 8).expect_err("another company's");
        assert_eq!(refusal.code, Code::ScopeDenied);
        let refusal = Scope::parse(&json, &acme, 0).expect_err("too many");
        assert_eq!(refusal.code, Code::LimitPatterns);
    }
}
