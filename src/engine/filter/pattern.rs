//! Regular expressions as filters use them: bounded in size, linear in time.
//!
//! Invariant: one search costs at most about [`SIZE_BYTES`] × [`LOOKED_AT_BYTES`], whatever the pattern
//! and the text are. Look-around and back references do not exist.

use regex::{Regex, RegexBuilder};
use std::borrow::Cow;

/// The largest compiled pattern; room for three Unicode `\w`, at about 50,000 each.
const SIZE_BYTES: usize = 163_840;
/// The largest cache of one pattern, for each thread that uses it.
const CACHE_BYTES: usize = 262_144;
/// How deep groups may be nested.
const DEPTH: u32 = 32;
/// How much of a text is looked at, in bytes. A pattern made for it costs 20 to 40 µs a byte on a machine
/// of today; a whole body's worth of text would stop a worker for half a minute.
pub(super) const LOOKED_AT_BYTES: usize = 4_096;
/// The letters behind a pattern's slash.
pub(super) const FLAGS: &str = "imsx";

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    flags: Box<str>,
    regex: Regex,
}

/// Why a pattern is not taken.
pub(super) enum Unfit {
    /// It is no pattern.
    Malformed(String),
    /// It is one, and too large.
    Large(Cow<'static, str>),
}

impl Pattern {
    /// Compiles; `flags` are of [`FLAGS`].
    pub(super) fn new(text: &str, flags: &str) -> Result<Self, Unfit> {
        let regex = RegexBuilder::new(text)
            .case_insensitive(flags.contains('i'))
            .multi_line(flags.contains('m'))
            .dot_matches_new_line(flags.contains('s'))
            .ignore_whitespace(flags.contains('x'))
            .size_limit(SIZE_BYTES)
            .dfa_size_limit(CACHE_BYTES)
            .nest_limit(DEPTH)
            .build();
        Ok(Self {
            text: text.into(),
            flags: flags.into(),
            regex: regex.map_err(|why| unfit(&why))?,
        })
    }

    /// Whether it is found in the first [`LOOKED_AT_BYTES`] of a text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(beginning(text, LOOKED_AT_BYTES))
    }

    /// Whether it is found in one of the texts, looking at [`LOOKED_AT_BYTES`] of them in all.
    pub(super) fn is_in_one<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        let mut left = LOOKED_AT_BYTES;
        texts.into_iter().any(|text| {
            let within = left > 0;
            let text = beginning(text, left);
            // An empty text costs something too.
            left = left.saturating_sub(text.len().max(1));
            within && self.regex.is_match(text)
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.flags == other.flags
    }
}

/// At most so many bytes, whole characters only.
fn beginning(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// The library tells too deep nesting from other faults in its text only.
fn unfit(why: &regex::Error) -> Unfit {
    let text = why.to_string();
    let reason = text.rsplit("error: ").next().unwrap_or_default().trim();
    match why {
        regex::Error::CompiledTooBig(_) => Unfit::Large("a pattern of the filter is too large".into()),
        _ if reason.contains("maximum number of nested") => {
            let text = format!("a pattern of the filter nests more than {DEPTH} groups");
            Unfit::Large(text.into())
        }
        _ => Unfit::Malformed(reason.to_owned()),
    }
}

#[cfg(test)]
impl Pattern {
    /// As it stands in a filter.
    pub(super) fn written(&self) -> String {
        format!("/{}/{}", self.text.replace('/', "\\/"), self.flags)
    }
}
