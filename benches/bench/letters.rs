//! What is published: events whose `elems` are 128 bytes and say which event they are.

/// Bytes of an event's `elems`, braces included.
pub const ELEMS_BYTES: usize = 128;
/// Stands before the number in an event's text.
const MARK: &[u8] = b"\"elems\":{\"n\":\"";
/// Digits of the number.
const DIGITS: usize = 10;

/// An event's `elems`.
pub fn elems(number: u64) -> String {
    let start = format!(r#"{{"n":"{number:010}","fill":""#);
    let fill = "x".repeat(ELEMS_BYTES - start.len() - 2);
    format!("{start}{fill}\"}}")
}

/// An event as it is published.
pub fn event(number: u64) -> String {
    format!(r#"{{"elems":{}}}"#, elems(number))
}

/// Events with the numbers from `first` on, as one array.
pub fn array(first: u64, count: u64) -> String {
    let events: Vec<String> = (first..first + count).map(event).collect();
    format!("[{}]", events.join(","))
}

/// The number of an event in a text that has it.
pub fn number(text: &[u8]) -> Option<u64> {
    let at = text.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    std::str::from_utf8(text.get(at..at + DIGITS)?).ok()?.parse().ok()
}
