//! What is asked of an aggregation: texts in, a plan out.
//!
//! Pure. Selectors are those of the documents: parts of dates (`$month`, `$month:seen`), functions of a
//! value (`$avg:t`), `$count`, and `distance:x` of a rule `x` that asks how near something is. Any other
//! name is a rule's or a member's, as filters have it. Invariant: a plan refers to nothing that it has
//! not.

use crate::domain::error::{Code, Refusal};
use crate::engine::aggregate::date::{PARTS, Part};
use crate::engine::filter::{Filter, Member};
use std::collections::BTreeMap;

/// Most selectors in each list, and most rules.
const MAX_SELECTORS: usize = 32;
/// Longest selector, in bytes.
const MAX_NAME_BYTES: usize = 1_024;
/// Longest name of a rule.
const MAX_RULE_NAME_BYTES: usize = 128;
/// What a date is a part of if nothing is said.
const CREATION: &str = "creationDate";

/// What somebody asks for, as they wrote it.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What each row tells, beside what it is about.
    pub output: Vec<String>,
    /// What the events of a row have in common; all are one row if nothing is said.
    pub group_by: Vec<String>,
    /// Only these events.
    pub filter: Option<String>,
    /// Filters by name: a rule is 1 where it holds, else 0.
    pub rules: BTreeMap<String, String>,
    /// The order of the rows: names of outputs or groups, with `:asc` or `:desc`.
    pub sorts: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) filter: Option<Filter>,
    pub(super) rules: Vec<(Box<str>, Filter)>,
    pub(super) groups: Vec<(Box<str>, Source)>,
    pub(super) outputs: Vec<(Box<str>, Output)>,
    pub(super) sorts: Vec<(Sort, bool)>,
}

/// Where in an event a value is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Member(Member),
    /// 1 or 0.
    Rule(usize),
    /// From what this rule names, in its own unit.
    Distance(usize),
    Part(Part, Member),
}

/// What a row tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Count,
    Of(Function, Source),
}

/// What is made of a group's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Sum,
    Average,
    Least,
    Greatest,
    /// Each once.
    Unique,
    All,
    First,
}

/// What rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Group(usize),
    Output(usize),
}

/// The functions by name.
const FUNCTIONS: [(&str, Function); 6] = [
    ("$sum", Function::Sum),
    ("$avg", Function::Average),
    ("$min", Function::Least),
    ("$max", Function::Greatest),
    ("$unique", Function::Unique),
    ("$all", Function::All),
];

impl Output {
    /// What it is made of, unless it only counts.
    pub(super) fn source(&self) -> Option<&Source> {
        match self {
            Output::Count => None,
            Output::Of(_, source) => Some(source),
        }
    }
}

impl Plan {
    /// Makes a plan. Refused with `body.malformed`, `filter.malformed`, `limit.filter` or `limit.find`.
    pub fn parse(wish: &Wish, max_filter_bytes: usize) -> Result<Self, Refusal> {
        check_sizes(wish)?;
        let filter = |text: &String| Filter::parse(text, max_filter_bytes);
        let rules = wish
            .rules
            .iter()
            .map(|(name, rule)| Ok((name.as_str().into(), filter(rule)?)));
        let mut plan = Self {
            filter: wish.filter.as_ref().map(filter).transpose()?,
            rules: rules.collect::<Result<_, Refusal>>()?,
            groups: Vec::new(),
            outputs: Vec::new(),
            sorts: Vec::new(),
        };
        wish.group_by.iter().try_for_each(|name| plan.group(name))?;
        if wish.output.is_empty() {
            return Err(malformed(
                "\"output\" names at least one selector, such as $avg:temperature or $count",
            ));
        }
        wish.output.iter().try_for_each(|name| plan.tell(name))?;
        wish.sorts.iter().try_for_each(|name| plan.sort(name))?;
        Ok(plan)
    }

    /// How much there is to be done with each event.
    pub(super) fn size(&self) -> usize {
        1 + self.rules.len() + self.groups.len() + self.outputs.len()
    }

    /// The bytes of all names that a row has.
    pub(super) fn name_bytes(&self) -> usize {
        let groups = self.groups.iter().map(|(name, _)| name.len());
        let outputs = self.outputs.iter().map(|(name, _)| name.len());
        groups.chain(outputs).sum()
    }

    /// flowthings' Mozaik widget reads `{$day}:{$hour}` of a row that is grouped by `$hour` alone, and sorts
    /// it by `$year` first: so the greater parts come along.
    fn group(&mut self, name: &str) -> Result<(), Refusal> {
        let Some((part, of)) = date_part(name) else {
            let source = self.source(name)?;
            self.add_group(name, source);
            return Ok(());
        };
        let member = member(of.unwrap_or(CREATION))?;
        for (greater, kind) in PARTS.iter().filter(|(_, kind)| *kind <= part) {
            let name = of.map_or_else(|| (*greater).to_owned(), |of| format!("{greater}:{of}"));
            self.add_group(&name, Source::Part(*kind, member.clone()));
        }
        Ok(())
    }

    fn add_group(&mut self, name: &str, source: Source) {
        if self.groups.iter().all(|(known, _)| **known != *name) {
            self.groups.push((name.into(), source));
        }
    }

    fn tell(&mut self, name: &str) -> Result<(), Refusal> {
        let output = self.output(name)?;
        if self.outputs.iter().all(|(known, _)| **known != *name) {
            self.outputs.push((name.into(), output));
        }
        Ok(())
    }

    fn output(&self, name: &str) -> Result<Output, Refusal> {
        if name == "$count" {
            return Ok(Output::Count);
        }
        if let Some((function, of)) = name.split_once(':')
            && let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == function)
        {
            return Ok(Output::Of(*function, self.source(of)?));
        }
        if let Some((part, of)) = date_part(name) {
            return Ok(Output::Of(
                Function::First,
                Source::Part(part, member(of.unwrap_or(CREATION))?),
            ));
        }
        let grouped = self.groups.iter().any(|(known, _)| **known == *name);
        if distance(name).is_some() || grouped && name != "id" {
            return Ok(Output::Of(Function::First, self.source(name)?));
        }
        Err(malformed(format!(
            "\"output\" names selectors ($count, $sum:t, $avg:t, $min:t, $max:t, $unique:t, $all:t), not {}",
            shown(name)
        )))
    }

    fn source(&self, name: &str) -> Result<Source, Refusal> {
        let rule = |name: &str| self.rules.iter().position(|(known, _)| **known == *name);
        if let Some(of) = distance(name) {
            let missing = || malformed(format!("there is no rule {}, which a distance is asked of", shown(of)));
            return rule(of).map(Source::Distance).ok_or_else(missing);
        }
        match rule(name) {
            Some(place) => Ok(Source::Rule(place)),
            None => member(name).map(Source::Member),
        }
    }

    fn sort(&mut self, text: &str) -> Result<(), Refusal> {
        let (name, descending) = match text.rsplit_once(':') {
            Some((name, order)) if order.eq_ignore_ascii_case("desc") => (name, true),
            Some((name, order)) if order.eq_ignore_ascii_case("asc") => (name, false),
            _ => (text, false),
        };
        let output = self
            .outputs
            .iter()
            .position(|(known, _)| **known == *name)
            .map(Sort::Output);
        let group = || {
            self.groups
                .iter()
                .position(|(known, _)| **known == *name)
                .map(Sort::Group)
        };
        let sort = output.or_else(group).ok_or_else(|| {
            malformed(format!(
                "\"sorts\" names what \"groupBy\" or \"output\" does, not {}",
                shown(name)
            ))
        })?;
        self.sorts.push((sort, descending));
        Ok(())
    }
}

fn check_sizes(wish: &Wish) -> Result<(), Refusal> {
    let lists = [
        ("output", wish.output.len()),
        ("groupBy", wish.group_by.len()),
        ("rules", wish.rules.len()),
        ("sorts", wish.sorts.len()),
    ];
    if let Some((name, _)) = lists.iter().find(|(_, count)| *count > MAX_SELECTORS) {
        let text = format!("\"{name}\" has at most {MAX_SELECTORS} entries");
        return Err(Refusal::new(Code::LimitFind, text));
    }
    if wish.rules.keys().any(|name| name.len() > MAX_RULE_NAME_BYTES) {
        let text = format!("the name of a rule has at most {MAX_RULE_NAME_BYTES} bytes");
        return Err(Refusal::new(Code::LimitFind, text));
    }
    Ok(())
}

/// A part of a date, and of which if that is said.
fn date_part(name: &str) -> Option<(Part, Option<&str>)> {
    let (part, of) = match name.split_once(':') {
        Some((part, of)) => (part, Some(of)),
        None => (name, None),
    };
    let (_, part) = PARTS.iter().find(|(known, _)| *known == part)?;
    Some((*part, of))
}

/// The rule that a distance is asked of. The documents have it without a sign.
fn distance(name: &str) -> Option<&str> {
    name.strip_prefix('$').unwrap_or(name).strip_prefix("distance:")
}

fn member(name: &str) -> Result<Member, Refusal> {
    let parsed = (name.len() <= MAX_NAME_BYTES && !name.starts_with('$'))
        .then(|| Member::parse(name))
        .flatten();
    parsed.ok_or_else(|| {
        malformed(format!(
            "{} is no selector, no rule and no member of an event",
            shown(name)
        ))
    })
}

fn malformed(text: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::BodyMalformed, text)
}

fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wish(output: &str) -> Wish {
        Wish {
            output: vec![output.to_owned()],
            rules: [("x".to_owned(), "t > 1".to_owned())].into(),
            ..Wish::default()
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_by_its_name() {
        for good in [
            "$count",
            "$avg:t",
            "$avg:x",
            "$min:elems.a.0",
            "distance:x",
            "$distance:x",
            "$month",
            "$max:distance:x",
        ] {
            assert!(Plan::parse(&wish(good), 100).is_ok(), "{good}");
        }
        for bad in [
            "",
            "t",
            "x",
            "$avg",
            "$avg:",
            "$median:t",
            "$avg:$month",
            "$count:t",
            "distance:y",
            "$min:a b",
        ] {
            let refusal = Plan::parse(&wish(bad), 100).expect_err(bad);
            assert_eq!(refusal.code, Code::BodyMalformed, "{bad}: {refusal}");
        }
        let sorted = |sort: &str| {
            Plan::parse(
                &Wish {
                    sorts: vec![sort.to_owned()],
                    ..wish("$avg:t")
                },
                100,
            )
            .err()
        };
        assert_eq!(sorted("$avg:t:desc"), None);
        assert_eq!(sorted("t").map(|refusal| refusal.code), Some(Code::BodyMalformed));
        let empty = Plan::parse(&Wish::default(), 100).expect_err("no output");
        assert_eq!(empty.code, Code::BodyMalformed);
        let many = Wish {
            group_by: vec!["t".to_owned(); 33],
            ..wish("$count")
        };
        assert_eq!(Plan::parse(&many, 100).expect_err("too many").code, Code::LimitFind);
        let mut long = wish("$count");
        long.rules.insert("x".repeat(129), "t > 1".to_owned());
        assert_eq!(Plan::parse(&long, 100).expect_err("too long").code, Code::LimitFind);
        let wrong = Wish {
            filter: Some("t >".to_owned()),
            ..wish("$count")
        };
        assert_eq!(
            Plan::parse(&wrong, 100).expect_err("no filter").code,
            Code::FilterMalformed
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_selector_or_refused(text in "\\PC{0,40}", prefix in "(\\$avg:|distance:|\\$month:|)") {
            let name = format!("{prefix}{text}");
            for wish in [wish(&name), Wish { group_by: vec![name.clone()], ..wish("$count") }] {
                if let Err(refusal) = Plan::parse(&wish, 100) {
                    prop_assert_eq!(refusal.code, Code::BodyMalformed);
                }
            }
        }
    }
}
