//! Names that people make up: companies, users, stream paths, and patterns of paths.
//!
//! A path is `/<company>/<segment>…`, at most 128 characters (flowthings' flow object). In a
//! pattern `*` stands for one whole segment and `**`, only at the end, for one segment or more.

use crate::domain::error::{Code, Refusal};
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// The longest path or pattern.
pub const PATH_CHARS: usize = 128;
/// The longest name of a company or user.
const NAME_CHARS: usize = 64;
/// The segment of a company's notices.
const NOTICES: &str = "notices";

macro_rules! text_value {
    ($name:ident) => {
        impl $name {
            /// As it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

/// A tenant's name: 1 to 64 of `a-z 0-9 _ -`; the first segment of all its paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CompanyName(Box<str>);
text_value!(CompanyName);

impl CompanyName {
    /// Parses a name; refused with `name.malformed`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if (1..=NAME_CHARS).contains(&text.len()) && text.bytes().all(legal) {
            return Ok(Self(text.into()));
        }
        let text = "a company's name is 1 to 64 of a-z, 0-9, _ and -";
        Err(Refusal::new(Code::NameMalformed, text))
    }
}

/// A person's name within a company: 1 to 64 of letters, digits and `_ - . @ +`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Box<str>);
text_value!(UserName);

impl UserName {
    /// Parses a name; refused with `name.malformed`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"_-.@+".contains(&b);
        if (1..=NAME_CHARS).contains(&text.len()) && text.bytes().all(legal) {
            return Ok(Self(text.into()));
        }
        let text = "a user's name is 1 to 64 of letters, digits and _ - . @ +";
        Err(Refusal::new(Code::NameMalformed, text))
    }
}

fn segment_is_legal(segment: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_-.~:@+".contains(&b);
    !segment.is_empty() && segment.bytes().all(legal)
}

fn malformed(what: &str, why: &str) -> Refusal {
    Refusal::new(Code::PathMalformed, format!("a {what} {why}"))
}

/// Splits `/company/a/b` and checks what paths and patterns share.
fn split<'a>(text: &'a str, what: &str) -> Result<Vec<&'a str>, Refusal> {
    if text.chars().count() > PATH_CHARS {
        return Err(malformed(what, "has at most 128 characters"));
    }
    let rest = text.strip_prefix('/').ok_or_else(|| malformed(what, "starts with /"))?;
    let segments: Vec<&str> = rest.split('/').collect();
    if CompanyName::parse(segments[0]).is_err() {
        return Err(malformed(what, "starts with /<company>/"));
    }
    if segments.len() < 2 {
        return Err(malformed(what, "has at least one segment after /<company>/"));
    }
    Ok(segments)
}

/// Names a stream for people: `/acme/door/1`. Segments hold letters, digits and `_ - . ~ : @ +`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Arc<str>);
text_value!(Path);

impl Path {
    /// Parses a path; refused with `path.malformed`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        for segment in split(text, "path")? {
            if !segment_is_legal(segment) {
                let why = "has segments of letters, digits and _ - . ~ : @ + between single /";
                return Err(malformed("path", why));
            }
        }
        Ok(Self(text.into()))
    }

    /// Where a company's notices are, for the users server's clients.
    pub fn notices(company: &CompanyName) -> Self {
        Self(format!("/{company}/{NOTICES}").into())
    }

    /// Whether a company's notices are here.
    pub fn is_notices(&self) -> bool {
        let mut segments = self.0[1..].split('/').skip(1);
        segments.next() == Some(NOTICES) && segments.next().is_none()
    }

    /// The tenant it belongs to.
    pub fn company(&self) -> &str {
        self.0[1..].split('/').next().unwrap_or_default()
    }
}

/// A set of paths: `/acme/door/*`, `/acme/**`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Box<str>);
text_value!(Pattern);

impl Pattern {
    /// Parses a pattern; refused with `path.malformed`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let segments = split(text, "pattern")?;
        let last = segments.len() - 1;
        for (place, segment) in segments.iter().enumerate() {
            match *segment {
                "*" => {}
                "**" if place == last => {}
                "**" => return Err(malformed("pattern", "may have ** only at its end")),
                segment if segment_is_legal(segment) => {}
                _ => {
                    let why = "has whole segments: a name, * or, at its end, **";
                    return Err(malformed("pattern", why));
                }
            }
        }
        Ok(Self(text.into()))
    }

    /// A company's notices alone.
    pub fn notices(company: &CompanyName) -> Self {
        Self(Path::notices(company).as_str().into())
    }

    /// Every path of a company.
    pub fn whole(company: &CompanyName) -> Self {
        Self(format!("/{company}/**").into())
    }

    /// The tenant it belongs to.
    pub fn company(&self) -> &str {
        self.0[1..].split('/').next().unwrap_or_default()
    }

    /// Whether `path` is in the set.
    pub fn matches(&self, path: &Path) -> bool {
        self.takes(&path.0)
    }

    /// Whether every path of `other` is in this set.
    pub fn covers(&self, other: &Pattern) -> bool {
        self.takes(&other.0)
    }

    /// Walks both segment by segment. A `*` or `**` of `other` counts as a segment that only
    /// `*` or `**` can take, and its `**` is taken by nothing but a `**`.
    fn takes(&self, other: &str) -> bool {
        let mut theirs = other[1..].split('/');
        let mut ours = self.0[1..].split('/');
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some("**"), Some(_)) => return true,
                (Some("*"), Some(segment)) if segment != "**" => {}
                (Some(mine), Some(segment)) if mine == segment => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        pattern.matches(&Path::parse(path).expect("a path"))
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_the_rest() {
        assert!(matches("/acme/door/1", "/acme/door/1"));
        assert!(matches("/acme/*/1", "/acme/door/1"));
        assert!(!matches("/acme/*", "/acme/door/1"));
        assert!(matches("/acme/**", "/acme/door/1"));
        assert!(matches("/acme/door/**", "/acme/door/1"));
        assert!(!matches("/acme/door/**", "/acme/door"));
        assert!(!matches("/acme/door/*", "/acme/window/1"));
    }

    #[test]
    fn a_pattern_covers_what_can_match_less() {
        let covers = |a: &str, b: &str| Pattern::parse(a).expect("a").covers(&Pattern::parse(b).expect("b"));
        assert!(covers("/acme/**", "/acme/door/*"));
        assert!(covers("/acme/*", "/acme/door"));
        assert!(!covers("/acme/*", "/acme/**"));
        assert!(!covers("/acme/door/*", "/acme/*/1"));
        assert!(covers("/acme/*/**", "/acme/door/**"));
        assert!(!covers("/acme/*/**", "/acme/**"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = format!("/acme/{}", "x".repeat(123));
        for bad in [
            "",
            "acme/x",
            "/acme",
            "/acme/",
            "/Acme/x",
            "//x",
            "/acme//x",
            "/acme/x y",
            "/acme/*",
            "/acme/ü",
            &long,
        ] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
        assert!(Path::parse(&long[..128]).is_ok());
        for bad in ["/*/x", "/**", "/acme/**/x", "/acme/x*", "/acme/"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn covering_agrees_with_matching(
            a in "/a(/(b|c|\\*)){1,3}(/\\*\\*)?",
            b in "/a(/(b|c|\\*)){1,3}(/\\*\\*)?",
            path in "/a(/(b|c)){1,5}",
        ) {
            let (a, b) = (Pattern::parse(&a).expect("a"), Pattern::parse(&b).expect("b"));
            let path = Path::parse(&path).expect("path");
            if a.covers(&b) && b.matches(&path) {
                prop_assert!(a.matches(&path));
            }
            prop_assert!(a.covers(&a));
        }

        #[test]
        fn parsing_never_panics_and_keeps_the_text(text in "\\PC{0,140}") {
            if let Ok(path) = Path::parse(&text) {
                prop_assert_eq!(path.as_str(), text.as_str());
                prop_assert!(Pattern::parse(&text).expect("a path is a pattern").matches(&path));
            }
            let _ = Pattern::parse(&text);
        }
    }
}
