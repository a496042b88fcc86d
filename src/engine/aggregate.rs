//! Events put into groups, and each group summed up.
//!
//! Is given events, the oldest first, and holds one row a group; does not read. What selectors mean is
//! in the documents "Drop Aggregate" of flowthings.io and "Aggregate Event" of Octave; what a row looks
//! like is what flowthings' Mozaik widget reads of it. Invariant: what it holds is bounded, in groups
//! and in bytes, however many events it is given.

mod date;
mod plan;
mod tally;

pub use plan::{Plan, Wish};

use crate::domain::error::{Code, Refusal};
use crate::domain::event::Event;
use crate::engine::aggregate::plan::{Sort, Source};
use crate::engine::aggregate::tally::{Tally, weight};
use crate::engine::filter::{Quantity, Seen, Subject, compare};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Bytes of groups and of the values in them, about.
const MAX_BYTES: usize = 16_777_216;
/// What a row costs beside what is in it, about.
const ROW_BYTES: usize = 256;
/// What a name in a row costs beside its letters, about.
const NAME_BYTES: usize = 64;

/// Events that are being summed up.
pub struct Aggregate {
    plan: Plan,
    now_ms: u64,
    most_groups: usize,
    /// Each group's place among the rows, by the JSON text of what its events have in common.
    places: HashMap<Box<str>, usize>,
    rows: Vec<Row>,
    bytes: usize,
    /// What each row costs, whatever is in it.
    row_bytes: usize,
}

struct Row {
    /// What its events have in common: a list, in the order of the plan.
    common: Value,
    tallies: Vec<Tally>,
}

impl Aggregate {
    /// Nothing yet; `now_ms` is for filters that ask for an age.
    pub fn new(plan: Plan, now_ms: u64, most_groups: usize) -> Self {
        let members = plan.groups.len() + plan.outputs.len();
        let tallies = plan.outputs.len() * size_of::<Tally>();
        Self {
            row_bytes: ROW_BYTES + plan.name_bytes() + members * NAME_BYTES + tallies,
            plan,
            now_ms,
            most_groups,
            places: HashMap::new(),
            rows: Vec::new(),
            bytes: 0,
        }
    }

    /// How much there is to be done with each event, in selectors and rules.
    pub fn size(&self) -> usize {
        self.plan.size()
    }

    /// Takes an event; refused with `limit.find` when the groups are too many or too long.
    pub fn add(&mut self, event: &Event) -> Result<(), Refusal> {
        let Some(elems) = event.draft.elems.value() else {
            return Ok(());
        };
        let subject = Subject::of(event, &elems);
        if self
            .plan
            .filter
            .as_ref()
            .is_some_and(|filter| !filter.accepts(&subject, self.now_ms))
        {
            return Ok(());
        }
        let passed: Vec<bool> = self
            .plan
            .rules
            .iter()
            .map(|(_, rule)| rule.accepts(&subject, self.now_ms))
            .collect();
        let look = |source: &Source| look(source, &subject, &self.plan, &passed);
        let common = self.plan.groups.iter().map(|(_, source)| look(source));
        let common: Vec<Value> = common
            .map(|seen| seen.map_or(Value::Null, |seen| seen.to_value()))
            .collect();
        let common = Value::Array(common);
        let key = common.to_string();
        let place = match self.places.get(&*key) {
            Some(place) => *place,
            None => {
                if self.rows.len() == self.most_groups {
                    let text = format!("the events fall into more than {} groups", self.most_groups);
                    return Err(Refusal::new(Code::LimitFind, text));
                }
                self.bytes += self.row_bytes + key.len() + weight(&common);
                self.places.insert(key.into(), self.rows.len());
                let tallies = self.plan.outputs.iter().map(|(_, output)| Tally::new(output)).collect();
                self.rows.push(Row { common, tallies });
                self.rows.len() - 1
            }
        };
        let row = &mut self.rows[place];
        for ((_, output), tally) in self.plan.outputs.iter().zip(&mut row.tallies) {
            self.bytes += tally.add(output.source().and_then(look));
        }
        if self.bytes > MAX_BYTES {
            let text = format!("what is put together has more than {MAX_BYTES} bytes");
            return Err(Refusal::new(Code::LimitFind, text));
        }
        Ok(())
    }

    /// A row for each group, in the order that was asked for, else in that of their first events:
    /// `{"id":{"$month":11},"$avg:t":21.5}`. Each is made when it is asked for, because it has all names.
    pub fn finish(self) -> impl ExactSizeIterator<Item = Value> {
        let Plan {
            groups, outputs, sorts, ..
        } = self.plan;
        let told = |tallies: Vec<Tally>| tallies.into_iter().map(Tally::finish).collect();
        let mut rows: Vec<(Value, Vec<Value>)> = self
            .rows
            .into_iter()
            .map(|row| (row.common, told(row.tallies)))
            .collect();
        rows.sort_by(|a, b| {
            let orders = sorts.iter().map(|(sort, descending)| {
                let [a, b] = [a, b].map(|(common, told)| match sort {
                    Sort::Group(place) => &common[*place],
                    Sort::Output(place) => &told[*place],
                });
                let order = compare(Some(Seen::from(a)), Some(Seen::from(b)));
                if *descending { order.reverse() } else { order }
            });
            orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
        rows.into_iter().map(move |(common, told)| {
            let names = groups.iter().map(|(name, _)| (**name).to_owned());
            let common = match common {
                Value::Array(common) => common,
                _ => Vec::new(),
            };
            let id: Map<String, Value> = names.zip(common).collect();
            let mut row = Map::from_iter([("id".to_owned(), Value::Object(id))]);
            row.extend(outputs.iter().map(|(name, _)| (**name).to_owned()).zip(told));
            Value::Object(row)
        })
    }
}

/// What an event has there, if anything.
fn look<'a>(source: &Source, subject: &Subject<'a>, plan: &Plan, passed: &[bool]) -> Option<Seen<'a>> {
    let whole = |number: i64| Seen::Number(Quantity::Whole(number.into()));
    match source {
        Source::Member(member) => subject.look(member).map(even),
        Source::Rule(place) => Some(whole(passed[*place].into())),
        Source::Distance(place) => {
            let distance = plan.rules[*place].1.distance(subject);
            distance
                .filter(|distance| distance.is_finite())
                .map(|distance| Seen::Number(Quantity::Fraction(distance)))
        }
        Source::Part(part, member) => match subject.look(member)? {
            Seen::Number(time) => part.of(time.as_f64()).map(whole),
            _ => None,
        },
    }
}

/// 21.0 is 21, so that both fall into one group.
fn even(seen: Seen<'_>) -> Seen<'_> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match seen {
        Seen::Number(Quantity::Fraction(number)) if number.fract() == 0.0 && number.abs() < EXACT => {
            Seen::Number(Quantity::Whole(number as i128))
        }
        _ => seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Draft, Frames, Stamp};
    use crate::domain::id::{EventId, SYSTEM, StreamId};
    use crate::domain::path::Path;
    use crate::domain::payload::Payload;
    use crate::domain::position::Offset;
    use serde_json::json;

    /// 2026-11-21 21:05:09.250 UTC, in milliseconds.
    const NOW_MS: u64 = 1_795_295_109_250;

    fn event(created_ms: u64, elems: &str) -> Event {
        Event {
            id: EventId::random(),
            stream: StreamId::new([1; 12]),
            path: Path::parse("/acme/door").expect("a path"),
            offset: Offset(1),
            creator: SYSTEM,
            created_ms,
            asked: Stamp::UNKNOWN,
            draft: Draft {
                elems: Payload::stored(elems.into()),
                hash: None,
            },
            frames: Frames::default(),
        }
    }

    fn wish(json: Value) -> Wish {
        let texts = |name: &str| {
            let texts = json[name].as_array().cloned().unwrap_or_default();
            texts
                .iter()
                .filter_map(|text| Some(text.as_str()?.to_owned()))
                .collect()
        };
        let rules = json["rules"].as_object().cloned().unwrap_or_default();
        let rules = rules
            .iter()
            .map(|(name, rule)| (name.clone(), rule.as_str().unwrap_or_default().to_owned()));
        Wish {
            output: texts("output"),
            group_by: texts("groupBy"),
            filter: json["filter"].as_str().map(str::to_owned),
            rules: rules.collect(),
            sorts: texts("sorts"),
        }
    }

    fn rows(wanted: Value, events: &[(u64, &str)]) -> Value {
        let plan = Plan::parse(&wish(wanted), 1_024).expect("a plan");
        let mut aggregate = Aggregate::new(plan, NOW_MS, 10);
        for (created_ms, elems) in events {
            aggregate.add(&event(*created_ms, elems)).expect("few groups");
        }
        Value::Array(aggregate.finish().collect())
    }

    #[test]
    fn the_functions_are_those_that_are_documented() {
        let output = json!([
            "$count",
            "$sum:t",
            "$avg:t",
            "$min:t",
            "$max:t",
            "$unique:t",
            "$all:elems.t",
            "$min:town",
            "$max:town"
        ]);
        let events = [
            (NOW_MS, r#"{"t":3,"town":"b"}"#),
            (NOW_MS, r#"{"t":1,"town":"a"}"#),
            (NOW_MS, r#"{"t":3}"#),
            (NOW_MS, r#"{"t":"warm","town":null}"#),
            (NOW_MS, "{}"),
        ];
        let expected = json!([{
            "id": {}, "$count": 5, "$sum:t": 7, "$avg:t": 7.0 / 3.0, "$min:t": 1, "$max:t": "warm",
            "$unique:t": [3, 1, "warm"], "$all:elems.t": [3, 1, 3, "warm"], "$min:town": "a", "$max:town": "b",
        }]);
        assert_eq!(rows(json!({"output": output}), &events), expected);
        assert_eq!(rows(json!({"output": ["$count"]}), &[]), json!([]));
        let nothing = json!([{"id": {}, "$sum:x": 0, "$avg:x": null, "$min:x": null, "$all:x": []}]);
        let output = json!(["$sum:x", "$avg:x", "$min:x", "$all:x"]);
        assert_eq!(rows(json!({"output": output}), &events[..1]), nothing);
    }

    #[test]
    fn sums_are_exact_where_the_numbers_are_whole() {
        let large = u64::MAX.to_string();
        let elems = [
            format!(r#"{{"n":{large}}}"#),
            r#"{"n":-9223372036854775808}"#.to_owned(),
            r#"{"n":0.5}"#.to_owned(),
        ];
        let sum = |elems: &[String]| {
            let events: Vec<(u64, &str)> = elems.iter().map(|elems| (0, elems.as_str())).collect();
            rows(json!({"output": ["$sum:n"]}), &events)[0]["$sum:n"].clone()
        };
        assert_eq!(sum(&elems[..2]), json!(9_223_372_036_854_775_807_u64));
        assert_eq!(sum(&[elems[2].clone(), elems[2].clone()]), json!(1.0));
        assert_eq!(
            sum(&[elems[0].clone(), elems[0].clone()]),
            json!(36_893_488_147_419_103_230.0)
        );
    }

    #[test]
    fn groups_are_by_members_and_rows_come_as_they_are_sorted() {
        let events = [
            (NOW_MS, r#"{"town":"Ulm","t":1}"#),
            (NOW_MS, r#"{"town":"Bonn","t":2}"#),
            (NOW_MS, r#"{"town":"Ulm","t":4}"#),
            (NOW_MS, r#"{"t":8.0}"#),
        ];
        let by_town = json!({"output": ["$sum:t"], "groupBy": ["town"]});
        let row = |town: Value, sum: u64| json!({"id": {"town": town}, "$sum:t": sum});
        let (ulm, bonn, none) = (
            row(json!("Ulm"), 5),
            row(json!("Bonn"), 2),
            json!({"id": {"town": null}, "$sum:t": 8}),
        );
        assert_eq!(rows(by_town.clone(), &events), json!([ulm, bonn, none]));
        for (sorts, expected) in [
            (json!(["town"]), [&none, &bonn, &ulm]),
            (json!(["town:desc"]), [&ulm, &bonn, &none]),
            (json!(["$sum:t:asc"]), [&bonn, &ulm, &none]),
            (json!(["$sum:t:DESC", "town"]), [&none, &ulm, &bonn]),
        ] {
            let mut wanted = by_town.clone();
            wanted["sorts"] = sorts;
            assert_eq!(rows(wanted.clone(), &events), json!(expected), "{wanted}");
        }
        // A whole number is the same, however it was written.
        let same = rows(
            json!({"output": ["$count"], "groupBy": ["n"]}),
            &[(0, r#"{"n":2}"#), (0, r#"{"n":2.0}"#)],
        );
        assert_eq!(same, json!([{"id": {"n": 2}, "$count": 2}]));
    }

    #[test]
    fn a_part_of_a_date_comes_with_the_greater_parts() {
        let day_ms = 86_400_000;
        let events = [(NOW_MS, "{}"), (NOW_MS - day_ms, "{}"), (NOW_MS + 1_000, "{}")];
        let by_hour =
            json!({"output": ["$count"], "groupBy": ["$hour"], "sorts": ["$year:asc", "$month", "$day:asc", "$hour"]});
        let id = |day: u64| json!({"$year": 2026, "$month": 11, "$day": day, "$hour": 21});
        assert_eq!(
            rows(by_hour, &events),
            json!([{"id": id(20), "$count": 1}, {"id": id(21), "$count": 2}])
        );
        let by_time = json!({"output": ["$count"], "groupBy": ["$year:seen.at"]});
        let events = [(NOW_MS, r#"{"seen":{"at":0}}"#), (NOW_MS, r#"{"seen":{"at":"x"}}"#)];
        assert_eq!(
            rows(by_time, &events),
            json!([{"id": {"$year:seen.at": 1970}, "$count": 1}, {"id": {"$year:seen.at": null}, "$count": 1}])
        );
    }

    #[test]
    fn rules_are_ones_and_noughts_and_know_distances() {
        let events = [
            (NOW_MS, r#"{"t":21,"location":{"lat":0,"lon":1}}"#),
            (NOW_MS, r#"{"t":3,"location":{"lat":0,"lon":2}}"#),
            (NOW_MS, r#"{"t":4}"#),
        ];
        let rules = json!({"warm": "t > 20", "near": "location WITHIN 200 KM OF [0,0]"});
        let warm = json!({"output": ["$avg:warm", "$sum:near"], "rules": rules, "filter": "EXISTS location"});
        assert_eq!(
            rows(warm, &events),
            json!([{"id": {}, "$avg:warm": 0.5, "$sum:near": 1}])
        );
        let by_rule = json!({"output": ["$all:t"], "rules": rules, "groupBy": ["near"]});
        assert_eq!(
            rows(by_rule, &events),
            json!([{"id": {"near": 1}, "$all:t": [21]}, {"id": {"near": 0}, "$all:t": [3, 4]}])
        );
        let far = rows(
            json!({"output": ["$max:distance:near", "distance:near"], "rules": rules}),
            &events,
        );
        let kilometres = |name: &str| far[0][name].as_f64().expect("a number").round();
        assert_eq!(
            [kilometres("$max:distance:near"), kilometres("distance:near")],
            [222.0, 111.0]
        );
    }

    #[test]
    fn too_many_groups_and_too_long_ones_are_refused() {
        let plan = |json| Plan::parse(&wish(json), 1_024).expect("a plan");
        let mut many = Aggregate::new(plan(json!({"output": ["$count"], "groupBy": ["n"]})), 0, 2);
        for (n, is_refused) in [(1, false), (2, false), (1, false), (3, true)] {
            let told = many.add(&event(0, &format!(r#"{{"n":{n}}}"#)));
            assert_eq!(
                told.map_err(|refusal| refusal.code),
                if is_refused { Err(Code::LimitFind) } else { Ok(()) }
            );
        }
        let mut long = Aggregate::new(plan(json!({"output": ["$all:x"]})), 0, 2);
        let large = event(0, &format!(r#"{{"x":"{}"}}"#, "x".repeat(1_048_576)));
        let refused = (0..17).find_map(|_| long.add(&large).err()).expect("too many bytes");
        assert_eq!(refused.code, Code::LimitFind);
        let mut same = Aggregate::new(plan(json!({"output": ["$unique:x", "$max:x"]})), 0, 2);
        (0..40).for_each(|_| same.add(&large).expect("the same again is not kept"));
    }
    /// How many such events are taken before it is too much.
    fn taken(wanted: Value, event_of: impl Fn(u64) -> Event) -> Option<u64> {
        let plan = Plan::parse(&wish(wanted), 1_024).expect("a plan");
        let mut aggregate = Aggregate::new(plan, 0, usize::MAX);
        (0..1_000).find(|number| aggregate.add(&event_of(*number)).is_err())
    }

    #[test]
    fn what_is_held_is_counted_as_what_it_is() {
        // Each row has all names: a hundred and ninety two of a thousand letters.
        let long = (0..31).map(|n| format!("$second:{}{n}", "x".repeat(1_000)));
        let names: Vec<String> = long.chain(["n".to_owned()]).collect();
        let wanted = json!({"output": ["$count"], "groupBy": names});
        let rows = taken(wanted, |n| event(0, &format!(r#"{{"n":{n}}}"#)));
        assert!(rows.is_some_and(|rows| rows < 100), "{rows:?}");
        // An element of a list takes much more room than its text.
        let ones = format!(r#"{{"x":[{}1]}}"#, "1,".repeat(9_999));
        let bytes = 10_000 * size_of::<Value>() as u64;
        let lists = taken(json!({"output": ["$all:x"]}), |_| event(0, &ones));
        assert!(
            lists.is_some_and(|lists| lists * bytes <= MAX_BYTES as u64),
            "{lists:?}"
        );
    }
}
