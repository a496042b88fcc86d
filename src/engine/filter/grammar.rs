//! How filters are written: text in, tree out.
//!
//! Knows the order of words and what may nest, not what the rules mean. Invariant: each rule is known by
//! its first word and never tried twice, so time grows with the length of the text; nesting is bounded,
//! so the stack is.

use crate::engine::filter::place::Place;
use crate::engine::filter::stop::Stop;
use crate::engine::filter::tokens::{
    Keyword, Parsed, Rules, Spent, Text, keyword, lexed, list, literal, member, named_word, number, pattern, relation,
    reserved, wanted, word,
};
use crate::engine::filter::tree::{KINDS, Member, Near, Operand, Rule, Test, named};
use winnow::Parser;
use winnow::combinator::{alt, delimited, empty, eof, fail, opt, preceded, separated, terminated};
use winnow::error::{ErrMode, ParseError};
use winnow::stream::{LocatingSlice, Location, Stream};
use winnow::token::one_of;

/// How deep parentheses and NOT may nest.
pub(super) const DEPTH: usize = 32;
/// What a rule may begin with.
const RULE: &str = "a member, a parenthesis, NOT, EXISTS, HAS, AGE or MATCHES";

/// Metres of the units that a distance may be given in.
const UNITS: &[(&str, f64)] = &[
    ("MILES", 1_609.344),
    ("MILE", 1_609.344),
    ("KM", 1_000.0),
    ("KILOMETERS", 1_000.0),
    ("KILOMETRES", 1_000.0),
    ("METERS", 1.0),
    ("METRES", 1.0),
];

/// A whole filter.
pub(super) fn parse(text: &str) -> Result<Rule, Stop> {
    whole(terminated(rule, wanted("&&, || or the end", eof)), text)
}

impl Member {
    /// A member's name as filters have it: `path`, `elems.door.0.open`, `door`.
    pub fn parse(text: &str) -> Option<Member> {
        whole(member, text).ok()
    }
}

fn whole<'t, T>(mut rules: impl Rules<'t, T>, text: &'t str) -> Result<T, Stop> {
    let input = LocatingSlice::new(text);
    let state = Spent::default();
    rules.parse(Text { input, state }).map_err(ParseError::into_inner)
}

fn rule(input: &mut Text<'_>) -> Parsed<Rule> {
    let or = lexed(alt(("||".void(), reserved(Keyword::Or))));
    separated(1.., conjunction, or)
        .map(|rules| one_or(rules, Rule::Any))
        .parse_next(input)
}

fn conjunction(input: &mut Text<'_>) -> Parsed<Rule> {
    let and = lexed(alt(("&&".void(), reserved(Keyword::And))));
    separated(1.., wanted(RULE, single), and)
        .map(|rules| one_or(rules, Rule::All))
        .parse_next(input)
}

fn one_or(mut rules: Vec<Rule>, many: fn(Vec<Rule>) -> Rule) -> Rule {
    match rules.len() {
        1 => rules.remove(0),
        _ => many(rules),
    }
}

/// A rule without AND and OR around it.
fn single(input: &mut Text<'_>) -> Parsed<Rule> {
    let closed = wanted("&&, || or the closing parenthesis", ')');
    let group = delimited('(', deeper(rule), closed);
    let negation = preceded('!', deeper(wanted(RULE, single))).map(negated);
    alt((group, negation, led_by_keyword, tested)).parse_next(input)
}

fn negated(rule: Rule) -> Rule {
    Rule::Not(Box::new(rule))
}

/// One step down, unless it is one too many.
fn deeper<'t>(mut inner: impl Rules<'t, Rule>) -> impl Rules<'t, Rule> {
    move |input: &mut Text<'t>| {
        input.state.depth += 1;
        if input.state.depth > DEPTH {
            let text = format!("a filter nests at most {DEPTH} parentheses and NOTs");
            return Err(ErrMode::Cut(Stop::limit(input.current_token_start(), text)));
        }
        let rule = inner.parse_next(input)?;
        input.state.depth -= 1;
        Ok(rule)
    }
}

fn led_by_keyword(input: &mut Text<'_>) -> Parsed<Rule> {
    let start = input.checkpoint();
    match keyword.parse_next(input)? {
        Keyword::Not => deeper(wanted(RULE, single)).map(negated).parse_next(input),
        Keyword::Exists => wanted("a member", member).map(Rule::Exists).parse_next(input),
        Keyword::Has => has(input),
        Keyword::Age => age(input),
        Keyword::Matches => {
            let found = wanted("a pattern between slashes", pattern);
            found.map(Rule::Matches).parse_next(input)
        }
        Keyword::And | Keyword::Or | Keyword::In | Keyword::Contains | Keyword::Within => {
            input.reset(&start);
            fail.parse_next(input)
        }
    }
}

fn has(input: &mut Text<'_>) -> Parsed<Rule> {
    let kind = word.verify_map(|word| named(KINDS, word));
    let what = "a type: string, number, integer, float, boolean, map, list, location or null";
    wanted(what, kind).map(Rule::Has).parse_next(input)
}

fn age(input: &mut Text<'_>) -> Parsed<Rule> {
    let of = opt(preceded(lexed('('), age_of)).parse_next(input)?;
    let relation = wanted("< <= == != >= or >", relation).parse_next(input)?;
    let limit = wanted("milliseconds", number).parse_next(input)?;
    Ok(Rule::Age(of, relation, limit))
}

/// A member in quotes, up to the parenthesis.
fn age_of(input: &mut Text<'_>) -> Parsed<Member> {
    let quote = wanted("a member in quotes", one_of(['"', '\''])).parse_next(input)?;
    let of = wanted("a member", member).parse_next(input)?;
    wanted("the closing quote", quote).parse_next(input)?;
    wanted("the closing parenthesis", ')').parse_next(input)?;
    Ok(of)
}

/// A member and what is asked of it.
fn tested(input: &mut Text<'_>) -> Parsed<Rule> {
    let member = member.parse_next(input)?;
    let what = "< <= == != >= >, %, =~, IN, CONTAINS or WITHIN";
    let test = wanted(what, test).parse_next(input)?;
    Ok(Rule::Test(member, test))
}

fn test(input: &mut Text<'_>) -> Parsed<Test> {
    let finds = preceded("=~", wanted("a pattern between slashes", pattern));
    alt((
        preceded('%', rest),
        finds.map(Test::Finds),
        (relation, operand).map(|(relation, operand)| Test::Compare(relation, operand)),
        preceded(reserved(Keyword::In), list).map(Test::In),
        preceded(reserved(Keyword::Contains), list).map(Test::Contains),
        preceded(reserved(Keyword::Within), within),
    ))
    .parse_next(input)
}

fn operand(input: &mut Text<'_>) -> Parsed<Operand> {
    let operand = alt((literal.map(Operand::Value), member.map(Operand::Member)));
    wanted("a value or a member", operand).parse_next(input)
}

fn rest(input: &mut Text<'_>) -> Parsed<Test> {
    let divisor = number.verify(|number| number.as_f64() != 0.0);
    let divisor = wanted("a number other than 0", divisor).parse_next(input)?;
    let relation = wanted("< <= == != >= or >", relation).parse_next(input)?;
    Ok(Test::Rest(divisor, relation, operand(input)?))
}

fn within(input: &mut Text<'_>) -> Parsed<Test> {
    let distance = number.map(|number| number.as_f64());
    let distance = wanted("a distance", distance.verify(|many| *many >= 0.0)).parse_next(input)?;
    let unit = word.verify_map(|word| named(UNITS, word));
    let unit = wanted("MILES, KM or METERS", unit).parse_next(input)?;
    wanted("OF", named_word("OF")).parse_next(input)?;
    wanted("[latitude, longitude]", '[').parse_next(input)?;
    refuse_zip(input)?;
    let centre = centre(input)?;
    wanted("the closing bracket", ']').parse_next(input)?;
    let metres = distance * unit;
    Ok(Test::Within(Near { metres, centre, unit }))
}

/// flowthings knew them; it takes a table of all ZIP codes.
fn refuse_zip(input: &mut Text<'_>) -> Parsed<()> {
    lexed(empty).parse_next(input)?;
    let at = input.current_token_start();
    match opt(named_word("ZIP")).parse_next(input)? {
        Some(()) => {
            let why = "this server has no table of ZIP codes: write [latitude, longitude]";
            Err(ErrMode::Cut(Stop::wrong(at, why)))
        }
        None => Ok(()),
    }
}

fn centre(input: &mut Text<'_>) -> Parsed<Place> {
    let degrees = |most: f64| {
        number
            .map(|number| number.as_f64())
            .verify(move |many| many.abs() <= most)
    };
    let latitude = wanted("a latitude from -90 to 90", degrees(90.0)).parse_next(input)?;
    wanted("a comma", ',').parse_next(input)?;
    let longitude = wanted("a longitude from -180 to 180", degrees(180.0)).parse_next(input)?;
    Ok(Place::new(latitude, longitude).expect("both are in range"))
}
