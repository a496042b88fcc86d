//! What is published: events that say when they were due, by whom they were sent, and as which.
//!
//! Pure. Invariant: an event's `elems` are exactly as long as was asked, and what was written is found again.

use crate::cli::bench::schedule::Micros;

/// Begins an event as it is published.
const START: &[u8] = br#"{"elems":{"bench":""#;
/// Stands before the mark in an event as it comes.
const BEFORE: &[u8] = br#""elems":{"bench":""#;
/// Stands between the mark and what fills an event up.
const FILL: &[u8] = br#"","fill":""#;
/// Ends an event.
const END: &[u8] = br#""}}"#;
/// Digits of a mark's members, and its length with the dots between.
const DUE: usize = 13;
const PUBLISHER: usize = 4;
const NUMBER: usize = 10;
const MARK: usize = DUE + 1 + PUBLISHER + 1 + NUMBER;
/// Bytes of an event around its `elems`: `{"elems":` and `}`.
const AROUND: usize = 10;
/// The fewest bytes that `elems` can have.
pub const SMALLEST: usize = START.len() + MARK + FILL.len() + END.len() - AROUND;

/// What an event says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// From when its time counts.
    pub due: Micros,
    /// Which publisher sent it; fewer than 10,000.
    pub publisher: usize,
    /// Its number among that publisher's events in its stream, from 0.
    pub number: u64,
}

/// Appends an event whose `elems` have `size` bytes, or [`SMALLEST`] if that is more.
pub fn put(out: &mut Vec<u8>, mark: &Mark, size: usize) {
    out.extend_from_slice(START);
    let Mark { due, publisher, number } = *mark;
    put_number::<DUE>(out, due);
    out.push(b'.');
    put_number::<PUBLISHER>(out, publisher as u64);
    out.push(b'.');
    put_number::<NUMBER>(out, number);
    out.extend_from_slice(FILL);
    out.resize(out.len() + size.saturating_sub(SMALLEST), b'x');
    out.extend_from_slice(END);
}

/// A publishing request's body: one event, or an array of them.
pub fn put_all(out: &mut Vec<u8>, first: &Mark, count: u64, size: usize) {
    if count == 1 {
        return put(out, first, size);
    }
    for number in first.number..first.number + count {
        out.push(if number == first.number { b'[' } else { b',' });
        put(out, &Mark { number, ..*first }, size);
    }
    out.push(b']');
}

/// The mark in the text of an event. `place` is where the last one was; events of one stream mostly have it there too.
pub fn find(text: &[u8], place: &mut usize) -> Option<Mark> {
    let is_there = |at: usize| text.get(at..).is_some_and(|rest| rest.starts_with(BEFORE));
    if !is_there(*place) {
        *place = text.windows(BEFORE.len()).position(|window| window == BEFORE)?;
    }
    let mark = text.get(*place + BEFORE.len()..)?.get(..MARK)?;
    let (due, rest) = mark.split_at(DUE);
    let (publisher, number) = rest[1..].split_at(PUBLISHER);
    Some(Mark {
        due: number_of(due)?,
        publisher: usize::try_from(number_of(publisher)?).ok()?,
        number: number_of(&number[1..])?,
    })
}

/// Faster than formatting, which every event would pay.
fn put_number<const DIGITS: usize>(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

fn number_of(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Mark = Mark {
        due: 1_234_567,
        publisher: 42,
        number: 9_999_999_999,
    };

    fn published(size: usize, count: u64) -> serde_json::Value {
        let mut out = Vec::new();
        put_all(&mut out, &Mark { number: 7, ..EVENT }, count, size);
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn elems_are_as_long_as_was_asked() {
        for size in [SMALLEST, SMALLEST + 1, 128, 4_096] {
            assert_eq!(published(size, 1)["elems"].to_string().len(), size);
        }
        assert_eq!(published(0, 1)["elems"].to_string().len(), SMALLEST);
        let array = published(128, 3);
        assert_eq!(array.as_array().expect("an array").len(), 3);
    }

    #[test]
    fn a_mark_is_found_wherever_it_is() {
        let mut event = Vec::new();
        put(&mut event, &EVENT, 128);
        let mut place = 0;
        for before in ["", "xx", "xx", r#""elems":{}"#] {
            let text = [before.as_bytes(), &event].concat();
            assert_eq!(find(&text, &mut place), Some(EVENT), "{before}");
        }
        let whole = BEFORE.len() + MARK + 1;
        assert_eq!(find(&event[..whole - 1], &mut 0), None, "it is cut");
        assert_eq!(
            find(br#"{"elems":{"bench":"0000000000001.00x1.0000000001""#, &mut 0),
            None
        );
        assert_eq!(find(b"{}", &mut place), None);
    }
}
