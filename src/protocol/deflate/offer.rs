//! `permessage-deflate`: which of a client's offers is taken, and what it is told (RFC 7692 §5, §7.1).
//!
//! Pure. Both sides are held to compressing each message by itself, which a server may ask for
//! unasked. Invariant: an offer that asks for what we do not do, or is not one, is declined.

use actix_http::header::HeaderValue;

/// The extension.
const NAME: &str = "permessage-deflate";
/// The window that we compress with, as the power of two that its bytes are.
const WINDOW_BITS: u8 = 15;

/// What an offer may ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parameter {
    ServerForgets,
    ClientForgets,
    ServerBits,
    ClientBits,
}

const PARAMETERS: [(&str, Parameter); 4] = [
    ("server_no_context_takeover", Parameter::ServerForgets),
    ("client_no_context_takeover", Parameter::ClientForgets),
    ("server_max_window_bits", Parameter::ServerBits),
    ("client_max_window_bits", Parameter::ClientBits),
];

/// The first offer that can be taken, as the answer to it; `None` if there is none.
pub fn accept<'a>(headers: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let texts = headers.filter_map(|header| header.to_str().ok());
    let mut offers = texts.flat_map(|text| split(text, ','));
    offers.find_map(answer).map(HeaderValue::from_static)
}

/// The answer to one offer that can be taken.
fn answer(offer: &str) -> Option<&'static str> {
    let mut parts = split(offer, ';');
    if parts.next()? != NAME {
        return None;
    }
    let mut seen = Vec::new();
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
            None => (part, None),
        };
        let (_, parameter) = PARAMETERS.iter().find(|(known, _)| *known == name)?;
        if seen.contains(parameter) || !can_do(*parameter, value) {
            return None;
        }
        seen.push(*parameter);
    }
    // Whoever limits our window wants to read of it in the answer.
    Some(match seen.contains(&Parameter::ServerBits) {
        false => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        true => "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
    })
}

fn can_do(parameter: Parameter, value: Option<&str>) -> bool {
    match (parameter, value) {
        (Parameter::ServerForgets | Parameter::ClientForgets, value) => value.is_none(),
        // One frame is for everybody, so nobody gets one with a smaller window.
        (Parameter::ServerBits, value) => value.and_then(bits) == Some(WINDOW_BITS),
        (Parameter::ClientBits, value) => value.is_none_or(|value| bits(value).is_some()),
    }
}

/// A window's size: 8 to 15, without leading zeros.
fn bits(value: &str) -> Option<u8> {
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value,
    };
    (8..=WINDOW_BITS).find(|bits| bits.to_string() == value)
}

/// The parts between separators that do not stand in quotes, without the spaces around them.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(move |c| {
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = is_quoted && c == '\\' && !is_escaped;
        c == separator && !is_quoted
    });
    parts.map(|part| part.trim_matches([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    const LIMITED: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

    fn accepted(headers: &[&str]) -> Option<String> {
        let headers: Vec<HeaderValue> = headers.iter().map(|text| text.parse().expect("a header")).collect();
        accept(headers.iter()).map(|answer| answer.to_str().expect("ASCII").to_owned())
    }

    #[test]
    fn what_can_be_done_is_taken() {
        let cases = [
            ("permessage-deflate", PLAIN),
            // What Chromium and Firefox send, and Node's `ws`.
            ("permessage-deflate; client_max_window_bits", PLAIN),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                PLAIN,
            ),
            ("permessage-deflate; client_max_window_bits=8", PLAIN),
            ("permessage-deflate; client_max_window_bits=\"15\"", PLAIN),
            ("permessage-deflate; server_max_window_bits=15", LIMITED),
            (
                "permessage-deflate;server_max_window_bits = \"15\" ;client_max_window_bits",
                LIMITED,
            ),
            ("  permessage-deflate\t;\tclient_no_context_takeover ", PLAIN),
        ];
        for (offer, answer) in cases {
            assert_eq!(accepted(&[offer]).as_deref(), Some(answer), "{offer}");
        }
    }

    #[test]
    fn what_cannot_be_done_or_is_no_offer_is_declined() {
        let cases = [
            "",
            ",",
            "permessage-bzip2",
            "Permessage-Deflate",
            "x-webkit-deflate-frame",
            "permessage-deflate;",
            "permessage-deflate; ; client_max_window_bits",
            "permessage-deflate; level=9",
            "permessage-deflate=1",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=",
            // Right, but smaller than our window.
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=14",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; server_max_window_bits=+15",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=ten",
            "permessage-deflate; client_max_window_bits=\"15",
            "permessage-deflate; client_max_window_bits=15\"",
        ];
        for offer in cases {
            assert_eq!(accepted(&[offer]), None, "{offer}");
        }
    }

    #[test]
    fn the_first_offer_that_can_be_done_is_taken() {
        let second = "permessage-deflate; server_max_window_bits=10, permessage-deflate; client_max_window_bits";
        assert_eq!(accepted(&[second]).as_deref(), Some(PLAIN));
        let quoted = "other; x=\", permessage-deflate, \\\", \", permessage-deflate; server_max_window_bits=15";
        assert_eq!(accepted(&[quoted]).as_deref(), Some(LIMITED));
        assert_eq!(accepted(&["other; x=\"permessage-deflate, permessage-deflate"]), None);
        assert_eq!(accepted(&["other", "permessage-deflate"]).as_deref(), Some(PLAIN));
    }
}
