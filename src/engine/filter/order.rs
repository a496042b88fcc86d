//! How values compare: exactly, and in one line from the least to the greatest for sorting.
//!
//! Invariant: [`compare`] is a total order, so any mix of values can be sorted by it. A whole number
//! and a fraction therefore compare by what they are, not by what is left of them as floats.

use crate::engine::filter::subject::Seen;
use serde_json::{Number, Value};
use std::cmp::Ordering;

/// A number of an event or a filter.
#[derive(Clone, Copy, Debug)]
pub enum Quantity {
    /// Written without fraction and exponent; any that fits 64 bits, with or without sign.
    Whole(i128),
    /// Finite.
    Fraction(f64),
}

impl Quantity {
    /// As a float, the nearest there is.
    pub fn as_f64(self) -> f64 {
        match self {
            Quantity::Whole(value) => value as f64,
            Quantity::Fraction(value) => value,
        }
    }

    /// As JSON.
    pub fn to_value(self) -> Value {
        match self {
            Quantity::Whole(value) => match u64::try_from(value) {
                Ok(value) => value.into(),
                Err(_) => i64::try_from(value).unwrap_or(i64::MIN).into(),
            },
            Quantity::Fraction(value) => value.into(),
        }
    }

    /// This number less `other`; nothing where that is no number.
    pub(super) fn minus(self, other: Quantity) -> Option<Quantity> {
        match (self, other) {
            (Quantity::Whole(a), Quantity::Whole(b)) => Some(Quantity::Whole(a - b)),
            (a, b) => finite(a.as_f64() - b.as_f64()),
        }
    }

    /// What division leaves, with the sign of this number; nothing when `divisor` is 0.
    pub(super) fn rest(self, divisor: Quantity) -> Option<Quantity> {
        match (self, divisor) {
            (Quantity::Whole(a), Quantity::Whole(b)) => a.checked_rem(b).map(Quantity::Whole),
            (a, b) => finite(a.as_f64() % b.as_f64()),
        }
    }
}

fn finite(value: f64) -> Option<Quantity> {
    value.is_finite().then_some(Quantity::Fraction(value))
}

impl From<&Number> for Quantity {
    fn from(number: &Number) -> Self {
        let whole = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
        let fraction = || number.as_f64().filter(|value| value.is_finite()).unwrap_or_default();
        whole.map_or_else(|| Quantity::Fraction(fraction()), Quantity::Whole)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Quantity::Whole(a), Quantity::Whole(b)) => a.cmp(&b),
            (Quantity::Whole(a), Quantity::Fraction(b)) => against(a, b),
            (Quantity::Fraction(a), Quantity::Whole(b)) => against(b, a).reverse(),
            (Quantity::Fraction(a), Quantity::Fraction(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        }
    }
}

/// Casting to an integer saturates, so a float beyond all whole numbers ends up beyond `whole` too.
fn against(whole: i128, fraction: f64) -> Ordering {
    let floor = fraction.floor();
    let above = if fraction > floor {
        Ordering::Less
    } else {
        Ordering::Equal
    };
    whole.cmp(&(floor as i128)).then(above)
}

/// How two values of one type stand to each other; lists and maps are equal or nothing.
pub(super) fn relate(a: Option<Seen<'_>>, b: Option<Seen<'_>>) -> Option<Ordering> {
    match (a?, b?) {
        (Seen::Null, Seen::Null) => Some(Ordering::Equal),
        (Seen::Bool(a), Seen::Bool(b)) => Some(a.cmp(&b)),
        (Seen::Number(a), Seen::Number(b)) => Some(a.cmp(&b)),
        (Seen::List(a), Seen::List(b)) => {
            let same = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b));
            same.then_some(Ordering::Equal)
        }
        (Seen::Map(a), Seen::Map(b)) => {
            let in_b = |(name, value): (&String, &Value)| b.get(name).is_some_and(|other| equal(value, other));
            let same = a.len() == b.len() && a.iter().all(in_b);
            same.then_some(Ordering::Equal)
        }
        (a, b) => Some(a.text()?.cmp(b.text()?)),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    relate(Some(a.into()), Some(b.into())).is_some_and(Ordering::is_eq)
}

/// The order for sorting: missing, null, false, true, numbers, texts by code points, then the rest,
/// which is all one.
pub fn compare(a: Option<Seen<'_>>, b: Option<Seen<'_>>) -> Ordering {
    let by_type = rank(&a).cmp(&rank(&b));
    by_type.then_with(|| relate(a, b).unwrap_or(Ordering::Equal))
}

fn rank(value: &Option<Seen<'_>>) -> u8 {
    match value {
        None => 0,
        Some(Seen::Null) => 1,
        Some(Seen::Bool(_)) => 2,
        Some(Seen::Number(_)) => 3,
        Some(Seen::Text(_) | Seen::Id(_)) => 4,
        Some(Seen::List(_) | Seen::Map(_)) => 5,
    }
}
