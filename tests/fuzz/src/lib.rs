//! What the targets share: limits so narrow that what is thrown reaches them, and a look at what is said.

use clap::{Args, Command, FromArgMatches};
use serde_json::value::RawValue;
use std::sync::LazyLock;
use streamgate::domain::limits::Limits;

/// As the command line has them.
const NARROW: [&str; 11] = [
    "fuzz",
    "--max-batch-events=4",
    "--max-patterns=3",
    "--max-json-depth=8",
    "--max-find-events=50",
    "--max-filter-bytes=200",
    "--max-filters=4",
    "--max-meta-bytes=300",
    "--max-text-bytes=60",
    "--max-key-bytes=50",
    "--max-body-bytes=2000",
];

/// The limits that hold.
pub static LIMITS: LazyLock<Limits> = LazyLock::new(|| {
    let command = Limits::augment_args(Command::new("fuzz"));
    let matches = command.get_matches_from(NARROW);
    Limits::from_arg_matches(&matches).expect("limits")
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
