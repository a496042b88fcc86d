//! Whether a filter holds of a subject.
//!
//! Knows what the rules mean and nothing of how they are written. Invariant: nothing is allocated, and
//! what is missing or of another type is an answer like any other.

use crate::engine::filter::order::{Quantity, relate};
use crate::engine::filter::place::Place;
use crate::engine::filter::subject::{Seen, Subject};
use crate::engine::filter::tree::{Kind, Literal, Member, Near, Operand, Relation, Rule, Test};

/// Decides; `now_ms` in milliseconds since 1970.
pub(super) fn holds(rule: &Rule, subject: &Subject<'_>, now_ms: u64) -> bool {
    match rule {
        Rule::Any(rules) => rules.iter().any(|rule| holds(rule, subject, now_ms)),
        Rule::All(rules) => rules.iter().all(|rule| holds(rule, subject, now_ms)),
        Rule::Not(rule) => !holds(rule, subject, now_ms),
        Rule::Test(member, test) => passes(test, subject.look(member), subject),
        Rule::Exists(member) => subject.look(member).is_some_and(|seen| !matches!(seen, Seen::Null)),
        Rule::Has(kind) => subject.elements().any(|seen| is(*kind, seen)),
        Rule::Age(member, relation, limit) => {
            let age = age(member.as_ref(), subject, now_ms);
            relation.holds(age.map(|age| age.cmp(limit)))
        }
        Rule::Matches(pattern) => {
            let texts = subject.elements().filter_map(|seen| match seen {
                Seen::Text(text) => Some(text),
                _ => None,
            });
            pattern.is_in_one(texts)
        }
    }
}

fn passes(test: &Test, seen: Option<Seen<'_>>, subject: &Subject<'_>) -> bool {
    match test {
        Test::Compare(relation, right) => compares(*relation, seen, right, subject),
        Test::Rest(divisor, relation, right) => {
            let rest = number(seen).and_then(|number| number.rest(*divisor));
            compares(*relation, rest.map(Seen::Number), right, subject)
        }
        Test::Finds(pattern) => seen.is_some_and(|seen| seen.text().is_some_and(|text| pattern.is_in(text))),
        Test::In(values) => values.iter().any(|value| equal(seen, value)),
        Test::Contains(values) => seen.is_some_and(|seen| values.iter().all(|value| contains(&seen, value))),
        Test::Within(near) => metres(near, seen).is_some_and(|metres| metres <= near.metres),
    }
}

fn metres(near: &Near, seen: Option<Seen<'_>>) -> Option<f64> {
    match seen {
        Some(Seen::Map(map)) => Place::of(map).map(|place| place.metres_to(near.centre)),
        _ => None,
    }
}

/// How far from the first place that a rule asks about, in the unit in which it asks.
pub(super) fn distance(rule: &Rule, subject: &Subject<'_>) -> Option<f64> {
    match rule {
        Rule::Any(rules) | Rule::All(rules) => rules.iter().find_map(|rule| distance(rule, subject)),
        Rule::Not(rule) => distance(rule, subject),
        Rule::Test(member, Test::Within(near)) => Some(metres(near, subject.look(member))? / near.unit),
        _ => None,
    }
}

fn compares(relation: Relation, left: Option<Seen<'_>>, right: &Operand, subject: &Subject<'_>) -> bool {
    let right = match right {
        Operand::Value(value) => Some(value.seen()),
        Operand::Member(member) => subject.look(member),
    };
    relation.holds(relate(left, right))
}

fn equal(seen: Option<Seen<'_>>, value: &Literal) -> bool {
    Relation::Equal.holds(relate(seen, Some(value.seen())))
}

fn contains(seen: &Seen<'_>, value: &Literal) -> bool {
    match (seen, value) {
        (Seen::List(list), value) => list.iter().any(|element| equal(Some(element.into()), value)),
        (seen, Literal::Text(part)) => seen.text().is_some_and(|text| text.contains(&**part)),
        _ => false,
    }
}

fn number(seen: Option<Seen<'_>>) -> Option<Quantity> {
    match seen {
        Some(Seen::Number(number)) => Some(number),
        _ => None,
    }
}

/// Milliseconds; negative for what lies ahead.
fn age(member: Option<&Member>, subject: &Subject<'_>, now_ms: u64) -> Option<Quantity> {
    let since = match member {
        Some(member) => number(subject.look(member))?,
        None => subject.created(),
    };
    Quantity::Whole(now_ms.into()).minus(since)
}

fn is(kind: Kind, seen: Seen<'_>) -> bool {
    match kind {
        Kind::Text => matches!(seen, Seen::Text(_)),
        Kind::Number => matches!(seen, Seen::Number(_)),
        Kind::Whole => matches!(seen, Seen::Number(Quantity::Whole(_))),
        Kind::Fraction => matches!(seen, Seen::Number(Quantity::Fraction(_))),
        Kind::Bool => matches!(seen, Seen::Bool(_)),
        Kind::Map => matches!(seen, Seen::Map(_)),
        Kind::List => matches!(seen, Seen::List(_)),
        Kind::Place => matches!(seen, Seen::Map(map) if Place::of(map).is_some()),
        Kind::Null => matches!(seen, Seen::Null),
    }
}
