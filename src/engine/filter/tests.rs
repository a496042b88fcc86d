//! What every operator means, where refusals point, and that no text does harm.

use super::grammar::{self, DEPTH};
use super::pattern::{LOOKED_AT_BYTES, Pattern};
use super::place::Place;
use super::tree::{KINDS, Kind, Literal, Near, Operand, Relation, Rule, Step, Test};
use super::*;
use crate::domain::event::{Draft, Event, Frames, Stamp};
use crate::domain::id::{EventId, IdentityId, StreamId};
use crate::domain::path::Path;
use crate::domain::payload::Payload;
use crate::domain::position::Offset;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cmp::Ordering;

const MOST: usize = 100_000;
const NOW: u64 = 1_700_000_010_000;

fn event() -> Event {
    let elems = Payload::check(serde_json::from_str("{}").expect("JSON"), 9).expect("a payload");
    Event {
        id: EventId::new([1; 12]),
        stream: StreamId::new([2; 12]),
        path: Path::parse("/acme/door/1").expect("a path"),
        offset: Offset(7),
        creator: IdentityId::new([3; 12]),
        created_ms: 1_700_000_000_000,
        asked: Stamp::UNKNOWN,
        draft: Draft {
            elems,
            hash: Some("h1".into()),
        },
        frames: Frames::default(),
    }
}

fn elems() -> Value {
    json!({
        "n": 7, "big": 18_446_744_073_709_551_615_u64, "odd": 9_007_199_254_740_993_i64, "half": 0.5, "neg": -7,
        "yes": true, "no": false, "nil": null, "name": "Zoë's \"door\"", "empty": "", "age": 42,
        "list": ["a", 1, null], "map": {"x": 1.0, "in": 2, "list": [{"deep": "end"}]}, "same": {"x": 1},
        "one": {"x": 1.0}, "inside temp": 21, "seen": 1_700_000_009_000_u64,
        "location": {"lat": 52.52, "lon": 13.405}, "spot": {"latitude": 40.7, "longitude": -74},
    })
}

fn parse(text: &str) -> Filter {
    Filter::parse(text, MOST).unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn accepts(text: &str) -> bool {
    parse(text).accepts(&Subject::of(&event(), &elems()), NOW)
}

fn all_hold(filters: &[&str]) {
    for text in filters {
        assert!(accepts(text), "does not hold: {text}");
        let negated = format!("NOT ({text})");
        assert!(!accepts(&negated), "holds: {negated}");
    }
}

fn none_holds(filters: &[&str]) {
    for text in filters {
        assert!(!accepts(text), "holds: {text}");
    }
}

fn refused(text: &str) -> (Code, String) {
    let why = Filter::parse(text, MOST).expect_err(text);
    (why.code, why.text.into_owned())
}

#[test]
fn members_are_the_events_own_or_elements() {
    all_hold(&[
        "id == 'e010101010101010101010101'",
        "streamId == 's020202020202020202020202'",
        "creatorId == 'i030303030303030303030303'",
        "path == '/acme/door/1' && elems.path != path",
        "creationDate == 1700000000000 && generatedDate == creationDate",
        "hash == 'h1' && version == 0 && offset == 7",
        "n == 7 && elems.n == 7 && map.x == 1",
        "map.in == 2 && elems.map.list.0.deep == 'end'",
        "list.1 == 1",
        "elems.'inside temp' == 21 && elems.\"inside temp\" > 20",
        "location.lat > 52",
        "EXISTS tags && EXISTS elems",
        "age == 42 && elems.age == 42 && age<43",
    ]);
    none_holds(&[
        "EXISTS tags.t",
        "EXISTS path.0",
        "EXISTS list.3",
        "EXISTS list.x",
        "EXISTS elems.id",
        "EXISTS location.city",
    ]);
    for (name, _) in MEMBERS {
        assert!(
            Member::parse(name).is_some_and(|member| member.steps.is_empty()),
            "{name}"
        );
    }
}

#[test]
fn a_draft_has_no_id_and_no_offset() {
    let (event, elems) = (event(), json!({"n": 1}));
    let draft = Draft {
        hash: None,
        ..event.draft.clone()
    };
    let subject = Subject::draft(event.stream, &event.path, event.creator, 5, &draft, &elems);
    for text in [
        "NOT EXISTS id",
        "NOT EXISTS offset",
        "offset != 1",
        "NOT EXISTS hash",
        "hash == null",
        "location == null && NOT EXISTS location",
        "n == 1",
        "path =~ /door/",
        "AGE == 5",
    ] {
        assert!(parse(text).accepts(&subject, 10), "{text}");
    }
}

#[test]
fn values_compare_within_their_type_only() {
    all_hold(&[
        "n < 8 && n <= 7 && n == 7 && n >= 7 && n > 6 && n != 8",
        "n == 7.0 && n < 7.5 && neg > -7.5 && neg < -6.5 && half == 5e-1",
        "big == 18446744073709551615 && big > 18446744073709551614",
        "big < 18446744073709551616.0 && big < 1e300 && big > -1e300",
        "odd == 9007199254740993 && odd > 9007199254740992.0 && odd != 9007199254740992",
        "name == 'Zoë\\'s \\\"door\\\"' && name == \"Zo\\u00eb's \\\"door\\\"\" && name > 'Zo'",
        "empty == '' && empty < 'a'",
        "yes == true && no == false && no < yes && nil == null",
        "map.list == map.list && one == same && map != same",
        "n != 'seven' && n != null && nothing != 1 && nothing != nothing && nil != 0",
        "n == TRUE || yes == TRUE",
    ]);
    none_holds(&[
        "n == '7'",
        "n < '8'",
        "name > 1",
        "nothing == nothing",
        "nothing == null",
        "nothing < 1",
        "nothing >= 1",
        "list < list",
        "list > map",
        "yes == 1",
        "map.in == map.in.x",
    ]);
}

#[test]
fn modulo_keeps_the_members_sign() {
    all_hold(&[
        "n % 2 == 1",
        "neg % 2 == -1",
        "n%7==0",
        "n % -4 == 3",
        "n % 2.5 == 2",
        "half % 0.2 > 0.09",
        "n % 6 == same.x",
        "big % 10 == 5",
        "name % 2 != 0",
        "nothing % 2 != 0",
    ]);
    none_holds(&["name % 2 == 0", "nothing % 2 == 0", "n % 2 == 0"]);
}

#[test]
fn patterns_are_searched_for() {
    all_hold(&[
        "name =~ /door/",
        "name =~ /^zoë/i",
        "path =~ /^\\/acme\\/[a-z]+\\/\\d$/",
        "path =~ / acme # a company/x",
        "streamId =~ /^s0202/",
        "empty =~ /^$/",
        "MATCHES /door/ && MATCHES /DOOR/i",
        "map.list.0.deep =~ /e.d/s",
    ]);
    none_holds(&[
        "n =~ /7/",
        "nothing =~ /.*/",
        "name =~ /DOOR/",
        "MATCHES /end/",
        "MATCHES /acme/",
    ]);
}

#[test]
fn lists_are_searched_in_both_directions() {
    all_hold(&[
        "n IN [1, 7.0]",
        "name in ['x',\"Zoë's \\\"door\\\"\"]",
        "nil IN [null]",
        "list CONTAINS ['a']",
        "list contains [null, 1.0, 'a']",
        "name CONTAINS ['Zoë', 'door']",
        "streamId CONTAINS ['0202']",
    ]);
    none_holds(&[
        "n IN ['7', 8]",
        "nothing IN [null]",
        "list IN ['a']",
        "list CONTAINS ['a', 'b']",
        "name CONTAINS ['Zoë', 'window']",
        "name CONTAINS [1]",
        "n CONTAINS [7]",
        "map CONTAINS ['x']",
        "nothing CONTAINS ['a']",
    ]);
}

#[test]
fn places_are_near_or_far() {
    all_hold(&[
        "location WITHIN 1 METERS OF [52.52, 13.405]",
        "location within 600 miles of [48.8566, 2.3522]",
        "location WITHIN 900 KM OF [48.8566,2.3522]",
        "location WITHIN 900 kilometers OF [48.8566,2.3522]",
        "elems.location WITHIN 0 METERS OF [52.52, 13.405]",
        "spot WITHIN 5 MILES OF [40.703987, -73.986759]",
    ]);
    none_holds(&[
        "location WITHIN 500 MILES OF [48.8566, 2.3522]",
        "location WITHIN 800 KM OF [48.8566, 2.3522]",
        "map WITHIN 99999 KM OF [0, 0]",
        "n WITHIN 99999 KM OF [0, 0]",
        "nothing WITHIN 99999 KM OF [0, 0]",
    ]);
}

#[test]
fn presence_types_and_age_are_seen() {
    all_hold(&[
        "EXISTS n && EXISTS elems.map.list.0 && EXISTS hash && EXISTS location",
        "NOT EXISTS nil && NOT EXISTS nothing && !EXISTS n.x",
        "HAS string && HAS number && HAS integer && HAS float && HAS boolean",
        "HAS map && HAS object && HAS list && HAS array && HAS location && has null",
        "AGE == 10000 && AGE > 9999 && AGE<=10000 && AGE != 1",
        "AGE('seen') == 1000 && age ( \"elems.seen\" ) < 1001 && AGE ('creationDate') >= 10000",
        "AGE('nothing') != 1 && NOT AGE('nothing') == 1 && NOT AGE('name') < 1",
    ]);
    let (event, elems) = (event(), json!({"n": 1}));
    for (name, kind) in KINDS {
        let holds = parse(&format!("HAS {name}")).accepts(&Subject::of(&event, &elems), NOW);
        assert_eq!(holds, matches!(kind, Kind::Number | Kind::Whole), "{name}");
    }
    let ahead = parse("AGE == -5");
    assert!(ahead.accepts(&Subject::of(&event, &elems), event.created_ms - 5));
}

#[test]
fn not_binds_tightest_and_and_before_or() {
    let tree = |text| grammar::parse(text).unwrap_or_else(|why| panic!("{text}: {why:?}"));
    for (short, long) in [
        ("NOT a == 1 && b == 2", "(NOT (a == 1)) && (b == 2)"),
        ("! a == 1 || b == 2", "(NOT a == 1) || (b == 2)"),
        ("a == 1 || b == 2 && c == 3", "a == 1 || (b == 2 && c == 3)"),
        ("a==1 AND b==2 or c==3", "(a == 1 && b == 2) || c == 3"),
        ("a==1&&b==2&&NOT c==3", "a == 1 and b == 2 and (not (c == 3))"),
        ("!!a==1", "NOT NOT a == 1"),
        ("\ta\n==  1 ", "((a==1))"),
        ("a<-1", "a < -1"),
        (
            "x IN[1,2]&&MATCHES/a/||HAS map",
            "x IN [1, 2] && MATCHES /a/ || HAS map",
        ),
    ] {
        assert_eq!(tree(short), tree(long), "{short}");
    }
    assert_ne!(tree("NOT (a == 1 && b == 2)"), tree("NOT a == 1 && b == 2"));
    assert_ne!(tree("(a == 1 || b == 2) && c == 3"), tree("a == 1 || b == 2 && c == 3"));
}

#[test]
fn refusals_name_the_character_and_what_was_expected() {
    let rule = "a member, a parenthesis, NOT, EXISTS, HAS, AGE or MATCHES";
    let test = "< <= == != >= >, %, =~, IN, CONTAINS or WITHIN";
    for (text, place, expected) in [
        ("", "1, its end", rule),
        ("  ", "3, its end", rule),
        ("a", "2, its end", test),
        ("a = 1", "3", test),
        ("a == ", "6, its end", "a value or a member"),
        ("a == 1 &&", "10, its end", rule),
        ("a == 1 & b == 2", "8", "&&, || or the end"),
        ("a == 1 b == 2", "8", "&&, || or the end"),
        ("a == 1)", "7", "&&, || or the end"),
        ("(a == 1", "8, its end", "&&, || or the closing parenthesis"),
        ("ä == 'ö' && == 1", "13", rule),
        ("1 == a", "1", rule),
        ("1.5 == a", "1", rule),
        ("a == 1 && contains == 1", "11", rule),
        ("true == a", "1", rule),
        ("in == 1", "1", rule),
        ("a == in", "6", "a value or a member"),
        ("a == 007", "6", "a number as in JSON"),
        ("a == 1e999", "6", "a number as in JSON"),
        ("a == 'b", "8, its end", "the closing quote"),
        (
            "a == 'b\\q'",
            "9",
            "an escape: \\\" \\' \\\\ \\/ \\b \\f \\n \\r \\t or \\u and four hexadecimal digits",
        ),
        ("a. == 1", "3", "a name behind the dot"),
        ("a % 0 == 1", "5", "a number other than 0"),
        ("a IN []", "7", "a value"),
        ("a IN [1,]", "9", "a value"),
        ("a IN [1 2]", "9", "a comma or the closing bracket"),
        ("a IN 1", "6", "a list in brackets"),
        ("a IN [b]", "7", "a value"),
        ("a =~ 'x'", "6", "a pattern between slashes"),
        ("a =~ /x", "8, its end", "the pattern's closing slash"),
        ("a =~ /x/g", "9", "no other flags than i, m, s and x"),
        ("EXISTS 'a'", "8", "a member"),
        (
            "HAS date",
            "5",
            "a type: string, number, integer, float, boolean, map, list, location or null",
        ),
        ("AGE 5", "5", "< <= == != >= or >"),
        ("AGE > x", "7", "milliseconds"),
        ("AGE(seen) > 1", "5", "a member in quotes"),
        ("AGE('seen\") > 1", "10", "the closing quote"),
        ("MATCHES x", "9", "a pattern between slashes"),
        ("a WITHIN -1 KM OF [1, 2]", "10", "a distance"),
        ("a WITHIN 1 INCHES OF [1, 2]", "12", "MILES, KM or METERS"),
        ("a WITHIN 1 KM OF [91, 2]", "19", "a latitude from -90 to 90"),
        ("a WITHIN 1 KM OF [1, 181]", "22", "a longitude from -180 to 180"),
    ] {
        let wanted = format!("the filter's character {place}: expected {expected}");
        assert_eq!(refused(text), (Code::FilterMalformed, wanted), "{text}");
    }
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    let wanted = "the filter's character 29: this server has no table of ZIP codes: write [latitude, longitude]";
    let (code, text) = refused("location WITHIN 5 MILES OF [ZIP=10010]");
    assert_eq!((code, &*text), (Code::FilterMalformed, wanted));
    let (code, text) = refused("a =~ /(/");
    let wanted = "the filter's character 6: this is no regular expression, unclosed group";
    assert_eq!((code, &*text), (Code::FilterMalformed, wanted));
    assert_eq!(refused("a =~ /(?=b)/").0, Code::FilterMalformed);
}

#[test]
fn length_nesting_and_patterns_are_bounded() {
    assert_eq!(
        Filter::parse("a == 1", 5).expect_err("too long").code,
        Code::LimitFilter
    );
    assert!(Filter::parse("a == 1", 6).is_ok());
    for (open, close) in [("(", ")"), ("!", ""), ("NOT ", ""), ("!(", ")"), ("not not\t", "")] {
        let levels = open.matches(['(', '!']).count() + open.to_lowercase().matches("not").count();
        let nested = |count: usize| format!("{}a == 1{}", open.repeat(count), close.repeat(count));
        assert!(Filter::parse(&nested(DEPTH / levels), MOST).is_ok(), "{open}");
        assert_eq!(refused(&nested(DEPTH / levels + 1)).0, Code::LimitFilter, "{open}");
        assert_eq!(refused(&nested(20_000)).0, Code::LimitFilter, "{open}");
    }
    let side_by_side = ["(NOT (a == 1))"; 1_000].join(" && ");
    assert!(Filter::parse(&side_by_side, MOST).is_ok());
    assert!(Filter::parse(&["MATCHES /a/"; 4].join(" || "), MOST).is_ok());
    assert_eq!(refused(&["MATCHES /a/"; 5].join(" || ")).0, Code::LimitFilter);
}

#[test]
fn hostile_patterns_are_refused_or_looked_for_in_part_of_a_text() {
    for large in [
        "/(((a{99}){99}){99}){99}/",
        "/\\w{50}/",
        "/a{2000000000}/",
        &format!("/{}a{}/", "(".repeat(40), ")".repeat(40)),
        &format!("/{}/", "[".repeat(40)),
    ] {
        let code = refused(&format!("a =~ {large}")).0;
        let malformed = large.starts_with("/[");
        assert_eq!(code == Code::LimitFilter, !malformed, "{large}");
    }
    assert!(Filter::parse("a =~ /^[\\w.+-]+@[\\w-]+\\.[\\w.]+$/", MOST).is_ok());
    let event = event();
    let accepts = |text: &str, elems: &Value| parse(text).accepts(&Subject::of(&event, elems), NOW);
    let long = |length: usize| "ä".repeat(length / 2) + "x";
    let inside = json!({"a": long(LOOKED_AT_BYTES - 2), "n": 1});
    let beyond = json!({"a": long(LOOKED_AT_BYTES), "b": "x", "n": 1});
    assert!(accepts("a =~ /x/", &inside) && accepts("MATCHES /x/", &inside));
    assert!(!accepts("a =~ /x/", &beyond) && !accepts("MATCHES /x/", &beyond));
    // Would never end in an engine that tries one way after the other.
    let ambiguous = json!({"a": "a".repeat(LOOKED_AT_BYTES)});
    assert!(!accepts("a =~ /^(a+)+$/ && a =~ /^(a|a)*b/", &ambiguous));
}

#[test]
fn values_sort_in_one_order() {
    let values = json!([
        null,
        false,
        true,
        -1e300,
        -7,
        0.5,
        9_007_199_254_740_992.0,
        9_007_199_254_740_993_i64,
        1e300,
        "",
        "Z",
        "a",
        "ä",
        {}
    ]);
    let mut line: Vec<Option<Seen<'_>>> = vec![None];
    line.extend(
        values
            .as_array()
            .expect("a list")
            .iter()
            .map(|value| Some(value.into())),
    );
    for (a, left) in line.iter().enumerate() {
        for (b, right) in line.iter().enumerate() {
            assert_eq!(compare(*left, *right), a.cmp(&b), "{left:?} {right:?}");
        }
    }
    let (list, map) = (json!([1]), json!({"a": 1}));
    assert_eq!(compare(Some((&list).into()), Some((&map).into())), Ordering::Equal);
}

#[test]
fn a_filter_is_its_text() {
    let filter = parse("n == 7");
    assert_eq!((filter.source(), &filter), ("n == 7", &filter.clone()));
    assert_ne!(filter, parse("n==7"));
    assert_eq!(format!("{filter:?}"), "Filter(\"n == 7\")");
}

// --- any filter, any text -----------------------------------------------------------------------

fn written_member(member: &Member) -> String {
    let own = MEMBERS.iter().find(|(_, field)| *field == member.field);
    let own = own.map(|(name, _)| (*name).to_owned());
    let steps = member.steps.iter().map(|step| Value::from(&*step.name).to_string());
    own.into_iter().chain(steps).collect::<Vec<_>>().join(".")
}

fn written_literal(literal: &Literal) -> String {
    match literal {
        Literal::Null => "null".into(),
        Literal::Bool(value) => value.to_string(),
        Literal::Number(number) => written_number(number),
        Literal::Text(text) => Value::from(&**text).to_string(),
    }
}

fn written_number(number: &Quantity) -> String {
    match number {
        Quantity::Whole(value) => value.to_string(),
        Quantity::Fraction(value) => Value::from(*value).to_string(),
    }
}

fn written_list(values: &[Literal]) -> String {
    let values: Vec<String> = values.iter().map(written_literal).collect();
    format!("[{}]", values.join(", "))
}

fn written_operand(operand: &Operand) -> String {
    match operand {
        Operand::Value(literal) => written_literal(literal),
        Operand::Member(member) => written_member(member),
    }
}

fn written_relation(relation: Relation) -> &'static str {
    match relation {
        Relation::Less => "<",
        Relation::AtMost => "<=",
        Relation::Equal => "==",
        Relation::Unequal => "!=",
        Relation::AtLeast => ">=",
        Relation::Greater => ">",
    }
}

fn written(rule: &Rule) -> String {
    let joined = |rules: &[Rule], sign| {
        let rules: Vec<String> = rules.iter().map(|rule| format!("({})", written(rule))).collect();
        rules.join(sign)
    };
    match rule {
        Rule::Any(rules) => joined(rules, " || "),
        Rule::All(rules) => joined(rules, " && "),
        Rule::Not(rule) => format!("NOT ({})", written(rule)),
        Rule::Exists(member) => format!("EXISTS {}", written_member(member)),
        Rule::Has(kind) => {
            let name = KINDS.iter().find(|(_, other)| other == kind).map(|(name, _)| *name);
            format!("HAS {}", name.expect("all are named"))
        }
        Rule::Age(member, relation, number) => {
            // Behind AGE the quotes around a member cannot be those within.
            let of = member.as_ref().map(|member| format!("('{}') ", written_member(member)));
            let relation = written_relation(*relation);
            format!("AGE {}{relation} {}", of.unwrap_or_default(), written_number(number))
        }
        Rule::Matches(pattern) => format!("MATCHES {}", pattern.written()),
        Rule::Test(member, test) => format!("{} {}", written_member(member), written_test(test)),
    }
}

fn written_test(test: &Test) -> String {
    let compared =
        |relation: &Relation, operand| format!("{} {}", written_relation(*relation), written_operand(operand));
    match test {
        Test::Compare(relation, operand) => compared(relation, operand),
        Test::Rest(divisor, relation, operand) => {
            format!("% {} {}", written_number(divisor), compared(relation, operand))
        }
        Test::Finds(pattern) => format!("=~ {}", pattern.written()),
        Test::In(values) => format!("IN {}", written_list(values)),
        Test::Contains(values) => format!("CONTAINS {}", written_list(values)),
        Test::Within(Near {
            metres, centre: place, ..
        }) => {
            let (latitude, longitude) = place.degrees();
            format!("WITHIN {metres} METERS OF [{latitude}, {longitude}]")
        }
    }
}

fn a_quantity() -> impl Strategy<Value = Quantity> {
    let whole = prop_oneof![any::<i64>().prop_map(i128::from), any::<u64>().prop_map(i128::from)];
    let fraction = (-1_000_000_i32..1_000_000).prop_map(|eighths| f64::from(eighths) / 8.0);
    prop_oneof![whole.prop_map(Quantity::Whole), fraction.prop_map(Quantity::Fraction)]
}

fn a_literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        a_quantity().prop_map(Literal::Number),
        any::<String>().prop_map(|text| Literal::Text(text.into())),
    ]
}

fn a_member() -> impl Strategy<Value = Member> {
    let field = proptest::sample::select(MEMBERS).prop_map(|(_, field)| field);
    let name = prop_oneof![any::<String>(), "[a-z]{1,3}", "[0-9]{1,2}"];
    let steps = proptest::collection::vec(name.prop_map(|name| Step::new(name.into())), 0..3);
    (field, steps).prop_map(|(field, steps)| Member {
        field,
        steps: steps.into(),
    })
}

fn a_relation() -> impl Strategy<Value = Relation> {
    use Relation::{AtLeast, AtMost, Equal, Greater, Less, Unequal};
    proptest::sample::select(vec![Less, AtMost, Equal, Unequal, AtLeast, Greater])
}

fn a_pattern() -> impl Strategy<Value = Pattern> {
    let pattern = |(text, flags): (String, String)| Pattern::new(&text, &flags).ok();
    ("[a-c/.*]{1,5}", "i?m?s?x?").prop_filter_map("no pattern", pattern)
}

fn a_test() -> impl Strategy<Value = Test> {
    let operand = || {
        prop_oneof![
            a_literal().prop_map(Operand::Value),
            a_member().prop_map(Operand::Member)
        ]
    };
    let divisor = a_quantity().prop_filter("zero", |number| number.as_f64() != 0.0);
    let values = || proptest::collection::vec(a_literal(), 1..4);
    // Eighths of a degree are floats that JSON gives back exactly.
    let eighths = |most: i32| (-8 * most..=8 * most).prop_map(|eighths| f64::from(eighths) / 8.0);
    let place = (eighths(90), eighths(180)).prop_map(|(north, east)| Place::new(north, east).expect("on the globe"));
    let metres = (0..1_000_000).prop_map(|metres| f64::from(metres) / 4.0);
    prop_oneof![
        (a_relation(), operand()).prop_map(|(relation, operand)| Test::Compare(relation, operand)),
        (divisor, a_relation(), operand())
            .prop_map(|(divisor, relation, operand)| Test::Rest(divisor, relation, operand)),
        values().prop_map(Test::In),
        values().prop_map(Test::Contains),
        (metres, place).prop_map(|(metres, centre)| Test::Within(Near {
            metres,
            centre,
            unit: 1.0
        })),
    ]
}

fn a_leaf() -> impl Strategy<Value = Rule> {
    let kind = proptest::sample::select(KINDS).prop_map(|(_, kind)| kind);
    let of = proptest::option::of(a_member());
    prop_oneof![
        4 => (a_member(), a_test()).prop_map(|(member, test)| Rule::Test(member, test)),
        1 => a_member().prop_map(Rule::Exists),
        1 => kind.prop_map(Rule::Has),
        1 => (of, a_relation(), a_quantity()).prop_map(|(of, relation, limit)| Rule::Age(of, relation, limit)),
    ]
}

fn a_rule() -> impl Strategy<Value = Rule> {
    a_leaf().prop_recursive(4, 24, 4, |inner| {
        let several = || proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several().prop_map(Rule::Any),
            several().prop_map(Rule::All),
            inner.clone().prop_map(|rule| Rule::Not(Box::new(rule))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_parses_back(rule in a_rule()) {
        let text = written(&rule);
        let parsed = grammar::parse(&text);
        prop_assert!(parsed.as_ref().is_ok_and(|parsed| *parsed == rule), "{text}\n{parsed:?}\n{rule:?}");
        // Whatever it is, it has an answer.
        parse(&text).accepts(&Subject::of(&event(), &elems()), NOW);
    }

    #[test]
    fn patterns_parse_back(pattern in a_pattern(), member in a_member()) {
        let rule = Rule::Any(vec![Rule::Matches(pattern.clone()), Rule::Test(member, Test::Finds(pattern))]);
        let text = written(&rule);
        let parsed = grammar::parse(&text);
        prop_assert!(parsed.as_ref().is_ok_and(|parsed| *parsed == rule), "{text}\n{parsed:?}");
    }

    #[test]
    fn no_text_does_harm(bytes: Vec<u8>, text in "\\PC{0,60}") {
        let _ = Filter::parse(&String::from_utf8_lossy(&bytes), MOST);
        let _ = Filter::parse(&text, MOST);
        let _ = Member::parse(&text);
    }

    /// Words of the language in any order come further than noise.
    #[test]
    fn no_sentence_does_harm(words in proptest::collection::vec(proptest::sample::select(vec![
        "a", "elems.x", ".", "==", "<", "!", "!=", "%", "=~", "/a/", "/(", "i", "IN", "[", "]", "1", "-", "'b'", "'", "\\",
        "CONTAINS", "WITHIN", "MILES", "OF", "ZIP", "EXISTS", "HAS", "map", "AGE", "MATCHES", "NOT", "&&", "||", "(", ")",
        "AND", "OR", "true", "ä", ",", "\u{0}",
    ]), 0..40), blanks: bool) {
        let text = words.join(if blanks { " " } else { "" });
        match Filter::parse(&text, MOST) {
            Ok(filter) => prop_assert_eq!(filter.source(), text),
            Err(why) => prop_assert!(matches!(why.code, Code::FilterMalformed | Code::LimitFilter)),
        }
    }

    /// Around where floats lose whole numbers, against twice the number as an integer.
    #[test]
    fn numbers_compare_exactly(numbers in proptest::collection::vec((proptest::sample::select(vec![
        0_i64, 1 << 53, -(1 << 53), i64::MAX, i64::MIN]), -3..3_i64, any::<bool>()), 2)) {
        let quantity = |(base, step, whole): &(i64, i64, bool)| {
            let value = base.saturating_add(*step);
            if *whole { Quantity::Whole(value.into()) } else { Quantity::Fraction(value as f64 + 0.5) }
        };
        let twice = |quantity: Quantity| match quantity {
            Quantity::Whole(value) => 2 * value,
            Quantity::Fraction(value) => (2.0 * value) as i128,
        };
        let (a, b) = (quantity(&numbers[0]), quantity(&numbers[1]));
        prop_assert_eq!(a.cmp(&b), twice(a).cmp(&twice(b)), "{:?} {:?}", a, b);
    }
}
