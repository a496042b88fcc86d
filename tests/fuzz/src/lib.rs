//! What the targets share: the limits of a server that was told nothing, and a look at what is said.

use clap::{Args, Command, FromArgMatches};
use serde_json::value::RawValue;
use std::sync::LazyLock;
use streamgate::domain::limits::Limits;

/// The usual limits.
pub static LIMITS: LazyLock<Limits> = LazyLock::new(|| {
    let command = Limits::augment_args(Command::new("fuzz"));
    let matches = command.get_matches_from(["fuzz"]);
    Limits::from_arg_matches(&matches).expect("defaults")
});

/// Panics unless a whole text frame of ours holds one JSON value.
pub fn assert_json_frame(frame: &[u8]) {
    assert_eq!(frame[0], 0x81, "a whole text message");
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    assert_json(std::str::from_utf8(&frame[header..]).expect("UTF-8"));
}

/// Panics unless it is one JSON value.
pub fn assert_json(text: &str) {
    // Not parsed into a value: numbers beyond what a machine can hold are JSON, too.
    let value: Result<&RawValue, _> = serde_json::from_str(text);
    assert!(value.is_ok(), "{text}");
}
