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

    /// Takes what the next event has; returns how many more bytes are held, about.
    pub(super) fn add(&mut self, value: Option<Value>) -> usize {
        if let Tally::Count(count) = self {
            *count += 1;
            return 0;
        }
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return 0;
        };
        match self {
            Tally::Count(_) => 0,
            Tally::Sum(sum) => {
                sum.add(&value);
                0
            }
            Tally::Average(sum, count) => {
                *count += u64::from(sum.add(&value));
                0
            }
            Tally::Extreme(wanted, best) => {
                let stands = |best: &Value| compare(Some(Seen::from(&value)), Some(Seen::from(best))) == *wanted;
                let is_better = best.as_ref().is_none_or(stands);
                if is_better { replace(best, value) } else { 0 }
            }
            Tally::First(first) if first.is_none() => replace(first, value),
            Tally::First(_) => 0,
            Tally::All(all) => {
                let bytes = weight(&value);
                all.push(value);
                bytes
            }
            Tally::Unique(each, known) => {
                let text = value.to_string();
                let bytes = 2 * text.len() + VALUE_BYTES;
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

/// What a value costs beside its text, about.
const VALUE_BYTES: usize = 64;

fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + VALUE_BYTES,
        Value::Array(_) | Value::Object(_) => 2 * value.to_string().len() + VALUE_BYTES,
        _ => VALUE_BYTES,
    }
}

/// What it weighs more than what was there.
fn replace(place: &mut Option<Value>, value: Value) -> usize {
    let before = place.as_ref().map_or(0, weight);
    weight(place.insert(value)).saturating_sub(before)
}

impl Sum {
    /// Whether it is a number.
    fn add(&mut self, value: &Value) -> bool {
        let Value::Number(number) = value else {
            return false;
        };
        match Quantity::from(number) {
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
