//! What a publisher sends: a JSON object, checked once on the way in and kept as text.
//!
//! Numbers and the order of members stay as they came. Invariant: a payload is valid JSON, an
//! object, nested no deeper than the limit, and free of line breaks.

use crate::domain::error::{Code, Refusal};
use serde_json::value::RawValue;

/// The text of a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(Box<str>);

impl Payload {
    /// Checks what the JSON parser has found to be a value.
    ///
    /// Refused with `event.malformed` unless an object, with `limit.depth` if nested too deeply.
    pub fn check(raw: &RawValue, max_depth: usize) -> Result<Self, Refusal> {
        let text = raw.get();
        if !text.starts_with('{') {
            let text = "\"elems\" is a JSON object";
            return Err(Refusal::new(Code::EventMalformed, text));
        }
        check_depth(text, max_depth)?;
        if has_half_a_pair(text) {
            let text = "a string of \"elems\" has half of a surrogate pair, which is no character";
            return Err(Refusal::new(Code::EventMalformed, text));
        }
        Ok(Self(on_one_line(text)))
    }

    /// What was checked before and has been stored since.
    pub fn stored(text: Box<str>) -> Self {
        Self(text)
    }

    /// What the text says; nothing if it nests too deeply for the parser.
    pub fn value(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.0).ok()
    }

    /// The text, as it came but for line breaks and tabs between its tokens.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A string cannot hold raw control characters, so where they stand they mean nothing.
fn on_one_line(text: &str) -> Box<str> {
    // Without an early end the compiler looks at many bytes at once.
    let controls = text.bytes().fold(false, |found, byte| found | (byte < b' '));
    if controls {
        return text.chars().filter(|c| *c >= ' ').collect();
    }
    text.into()
}

/// Whether an escape like `\ud800` stands without its other half. The JSON is valid all the same,
/// but many parsers refuse it, and then a subscriber would lose the whole event.
fn has_half_a_pair(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let escape = &rest[at..];
        rest = escape.get(2..).unwrap_or_default();
        match unit(escape) {
            Some(0xd800..0xdc00) => match unit(escape.get(6..).unwrap_or_default()) {
                Some(0xdc00..0xe000) => rest = escape.get(12..).unwrap_or_default(),
                _ => return true,
            },
            Some(0xdc00..0xe000) => return true,
            _ => {}
        }
    }
    false
}

/// The number in a `\uXXXX` that the text starts with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

/// Refuses valid JSON that is nested deeper than `most`.
pub fn check_depth(text: &str, most: usize) -> Result<(), Refusal> {
    // What opens no more than that, wherever it stands, cannot be nested deeper; counting is quick.
    if memchr::memchr2_iter(b'{', b'[', text.as_bytes()).count() <= most {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            let text = format!("JSON is nested at most {most} deep here");
            return Err(Refusal::new(Code::LimitDepth, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Payload, Refusal> {
        Payload::check(serde_json::from_str(text).expect("JSON"), 4)
    }

    #[test]
    fn numbers_and_order_stay_as_they_came() {
        let text = r#"{"z":1.10,"a":12345678901234567890,"e":1E5,"s":"\u00e9\"}{"}"#;
        assert_eq!(check(text).expect("a payload").as_str(), text);
    }

    #[test]
    fn line_breaks_between_tokens_go() {
        let payload = check("{\n\t\"a\": 1,\r\n\"b\":\"x\\ny\"}").expect("a payload");
        assert_eq!(payload.as_str(), r#"{"a": 1,"b":"x\ny"}"#);
    }

    #[test]
    fn half_a_surrogate_pair_is_no_character() {
        for good in [
            r#"{"a":"\ud83d\ude00 \u00e9"}"#,
            r#"{"a":"\\ud800"}"#,
            r#"{"a":"\\\ud83d\ude00"}"#,
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\ude00"}"#,
            r#"{"a":"\ud83d\u0041"}"#,
            r#"{"\uDC00":1}"#,
        ] {
            let refusal = check(bad).expect_err(bad);
            assert_eq!(refusal.code, Code::EventMalformed, "{bad}");
        }
    }

    #[test]
    fn depth_is_counted_outside_strings() {
        assert!(check(r#"{"a":{"b":{"c":["[[[[[["]}}}"#).is_ok());
        let refusal = check(r#"{"a":{"b":{"c":{"d":{}}}}}"#).expect_err("too deep");
        assert_eq!(refusal.code, Code::LimitDepth);
        assert_eq!(check("[1]").expect_err("an array").code, Code::EventMalformed);
    }
}
