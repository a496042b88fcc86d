//! Names of channels, and the streams that they stand for: channel `a.b` of company `acme` is the
//! stream `/acme/a/b`.
//!
//! Pure. RootSocket takes `^[a-zA-Z0-9.]{0,100}$` (its documentation, "Architecture"). Of these we
//! refuse what would be no path, and the words that are no channels in a frame. Invariant: two
//! channels are never one stream, and a stream whose path has other characters is no channel.

use crate::domain::error::{Code, Refusal};
use crate::domain::path::{CompanyName, Path};

/// Longest name.
const MAX_CHARS: usize = 100;

/// What stands in a frame's `event` without being a channel (rootsocketjs message.ts; "Architecture").
const RESERVED: [&str; 6] = [
    "ping",
    "pong",
    "error",
    "disconnect",
    "subscription-add",
    "subscription-remove",
];

/// The name of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel(Box<str>);

impl Channel {
    /// Parses a name; refused with `channel.malformed`.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        let malformed = |text| Err(Refusal::new(Code::ChannelMalformed, text));
        if RESERVED.contains(&name) {
            return malformed("ping, pong, error, disconnect and the words of subscriptions are no channels");
        }
        if name.is_empty() {
            return malformed("a channel has a name");
        }
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
        if name.len() > MAX_CHARS || !name.bytes().all(is_known) {
            return malformed("a channel's name is at most 100 letters, digits and dots");
        }
        if name.split('.').any(str::is_empty) {
            return malformed("a channel's name has single dots, between its parts");
        }
        Ok(Self(name.into()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The stream that it stands for; refused with `path.malformed` where company and name are too
    /// long together.
    pub fn path(&self, company: &CompanyName) -> Result<Path, Refusal> {
        Path::parse(&format!("/{company}/{}", self.0.replace('.', "/")))
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> Self {
        channel.0.into()
    }
}

/// Appends what a stream is called that somebody follows by its channel.
pub fn push_name(path: &Path, text: &mut String) {
    let segments = path.as_str().split('/').skip(2);
    for (place, segment) in segments.enumerate() {
        if place > 0 {
            text.push('.');
        }
        text.push_str(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn acme() -> CompanyName {
        CompanyName::parse("acme").expect("a name")
    }

    fn refused(name: &str) -> Code {
        Channel::parse(name).expect_err(name).code
    }

    #[test]
    fn a_channel_is_the_stream_of_its_parts() {
        for (name, path) in [
            ("a", "/acme/a"),
            ("a.b", "/acme/a/b"),
            ("Door.1.Bell", "/acme/Door/1/Bell"),
        ] {
            let channel = Channel::parse(name).expect("a channel");
            assert_eq!(channel.path(&acme()).expect("a path").as_str(), path);
        }
    }

    #[test]
    fn reserved_words_are_no_channels() {
        for word in RESERVED {
            assert_eq!(refused(word), Code::ChannelMalformed);
        }
        // Words of other letters are other words.
        for name in ["Ping", "pings", "a.ping", "error.1"] {
            assert!(Channel::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_channel_has_letters_digits_and_single_dots() {
        let long = "a".repeat(101);
        for bad in [
            "", ".", "a.", ".a", "a..b", "a-b", "a_b", "a/b", "ä", "a b", "a\n", "*", &long,
        ] {
            assert_eq!(refused(bad), Code::ChannelMalformed, "{bad}");
        }
        assert!(Channel::parse(&long[..100]).is_ok());
    }

    #[test]
    fn a_name_too_long_for_a_path_of_its_company_is_refused() {
        let company = CompanyName::parse(&"c".repeat(64)).expect("a name");
        let channel = Channel::parse(&"a".repeat(100)).expect("a channel");
        let refusal = channel.path(&company).expect_err("too long");
        assert_eq!(refusal.code, Code::PathMalformed);
    }

    proptest! {
        #[test]
        fn a_channel_is_told_by_the_name_that_was_asked_for(name in "[a-zA-Z0-9.]{0,110}") {
            if let Ok(channel) = Channel::parse(&name) {
                let path = channel.path(&acme()).expect("a path");
                let mut told = String::new();
                push_name(&path, &mut told);
                prop_assert_eq!(told, name);
            }
        }

        #[test]
        fn parsing_never_panics(name in "\\PC{0,110}") {
            let _ = Channel::parse(&name);
        }
    }
}
