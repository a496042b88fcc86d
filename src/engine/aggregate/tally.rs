//! What becomes of the values of one group, one after the other.
//!
//! Numbers only are added and averaged; what is missing or null is passed over by all. Invariant:
//! whole numbers are added exactly.

use crate::engine::aggregate::plan::{Function, Output};
use crate::engine::filter::{Quantity, Seen, compare};
use serde_json::{Number, Value, json};
use std::cmp::Ordering;
use std::collections::HashSet;

/// What was made of the values so far.
pub(super) enum Tally {
    Count(u64),
    Sum(Sum),
    Average(Sum, u64),
    /// The value that stands so to all others.
    Extreme(Ordering, Option<Value>),
    First(Option<Value>),
    All(Vec<Value>),
    /// Each once, and their texts.
    Unique(Vec<Value>, HashSet<Box<str>>),
}

/// Whole numbers and others, added apart.
#[derive(Default)]
pub(super) struct Sum {
    whole: i128,
    /// Of those that are not whole, if there are any.
    fraction: Option<f64>,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new(output: &Output) -> Self {
        let Output::Of(function, _) = output else {
            return Tally::Count(0);
        };
        match function {
            Function::Sum => Tally::Sum(Sum::default()),
            Function::Average => Tally::Average(Sum::default(), 0),
            Function::Least => Tally::Extreme(Ordering::Less, None),
            Function::Greatest => Tally::Extreme(Ordering::Greater, None),
            Function::First => Tally::First(None),
            Function::All => Tally::All(Vec::new()),
            Function::Unique => Tally::Unique(Vec::new(), HashSet::new()),
        }
    }

    /// Takes what the next event has; returns how many more bytes are held, about. Copies only what is kept.
    pub(super) fn add(&mut self, seen: Option<Seen<'_>>) -> usize {
        if let Tally::Count(count) = self {
            *count += 1;
            return 0;
        }
        let Some(seen) = seen.filter(|seen| !matches!(seen, Seen::Null)) else {
            return 0;
        };
        match self {
            Tally::Count(_) => 0,
            Tally::Sum(sum) => {
                sum.add(seen);
                0
            }
            Tally::Average(sum, count) => {
                *count += u64::from(sum.add(seen));
                0
            }
            Tally::Extreme(wanted, best) => {
                let stands = |best: &Value| compare(Some(seen), Some(Seen::from(best))) == *wanted;
                let is_better = best.as_ref().is_none_or(stands);
                if is_better { replace(best, seen.to_value()) } else { 0 }
            }
            Tally::First(first) if first.is_none() => replace(first, seen.to_value()),
            Tally::First(_) => 0,
            Tally::All(all) => {
                let value = seen.to_value();
                let bytes = weight(&value);
                all.push(value);
                bytes
            }
            Tally::Unique(each, known) => {
                let value = seen.to_value();
                let text = value.to_string();
                let bytes = text.len() + VALUE_BYTES + weight(&value);
                match known.insert(text.into()) {
                    true => each.push(value),
                    false => return 0,
                }
                bytes
            }
        }
    }

    /// What was made of them.
    pub(super) fn finish(self) -> Value {
        match self {
            Tally::Count(count) => json!(count),
            Tally::Sum(sum) => sum.value(),
            Tally::Average(_, 0) => Value::Null,
            Tally::Average(sum, count) => json!(sum.as_f64() / count as f64),
            Tally::Extreme(_, value) | Tally::First(value) => value.unwrap_or(Value::Null),
            Tally::All(values) | Tally::Unique(values, _) => Value::Array(values),
        }
    }
}

/// What a value costs beside what is in it, with the room that a list keeps for the next.
const VALUE_BYTES: usize = 2 * size_of::<Value>();
/// What a member of a map costs beside its name and its value.
const MEMBER_BYTES: usize = 64;

/// The memory that a value takes, about.
pub(super) fn weight(value: &Value) -> usize {
    let inside = match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(map) => {
            let members = map.iter();
            members
                .map(|(name, value)| MEMBER_BYTES + name.len() + weight(value))
                .sum()
        }
        _ => 0,
    };
    VALUE_BYTES + inside
}

/// What it weighs more than what was there.
fn replace(place: &mut Option<Value>, value: Value) -> usize {
    let before = place.as_ref().map_or(0, weight);
    weight(place.insert(value)).saturating_sub(before)
}

impl Sum {
    /// Whether it is a number.
    fn add(&mut self, seen: Seen<'_>) -> bool {
        let Seen::Number(number) = seen else {
            return false;
        };
        match number {
            Quantity::Whole(whole) => self.whole += whole,
            Quantity::Fraction(fraction) => *self.fraction.get_or_insert(0.0) += fraction,
        }
        true
    }

    fn as_f64(&self) -> f64 {
        self.whole as f64 + self.fraction.unwrap_or(0.0)
    }

    /// Null if it is beyond what JSON's numbers are read as.
    fn value(&self) -> Value {
        let exact = match self.fraction {
            None => u64::try_from(self.whole)
                .map(Number::from)
                .or_else(|_| i64::try_from(self.whole).map(Number::from))
                .ok(),
            Some(_) => None,
        };
        exact.map_or_else(|| json!(self.as_f64()), Value::Number)
    }
}
