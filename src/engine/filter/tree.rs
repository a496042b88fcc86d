//! What a filter's text becomes: a closed tree.
//!
//! Does not know how it was written or how it is decided. Invariant: rules nest no deeper than the
//! grammar's bound, so the tree can be walked and dropped by recursion.

use crate::engine::filter::order::Quantity;
use crate::engine::filter::pattern::Pattern;
use crate::engine::filter::place::Place;
use crate::engine::filter::subject::Seen;
use std::cmp::Ordering;

/// What an event can be asked for, by the names that it has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Its name; a draft has none.
    Id,
    /// The stream's id.
    StreamId,
    /// The stream's path.
    Path,
    /// Who published it.
    CreatorId,
    /// When, in milliseconds since 1970.
    CreationDate,
    /// The same.
    GeneratedDate,
    /// What was published.
    Elems,
    /// The publisher's own key, or null.
    Hash,
    /// The element `location` if it is a place, or null.
    Location,
    /// An empty map.
    Tags,
    /// 0.
    Version,
    /// Its place in the stream; a draft has none.
    Offset,
}

/// The names of an event's members. A filter takes any other name for an element's.
pub const MEMBERS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("streamId", Field::StreamId),
    ("path", Field::Path),
    ("creatorId", Field::CreatorId),
    ("creationDate", Field::CreationDate),
    ("generatedDate", Field::GeneratedDate),
    ("elems", Field::Elems),
    ("hash", Field::Hash),
    ("location", Field::Location),
    ("tags", Field::Tags),
    ("version", Field::Version),
    ("offset", Field::Offset),
];

/// The name of something in an event: a member, and the way from there into maps and lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub(super) field: Field,
    pub(super) steps: Box<[Step]>,
}

impl Member {
    /// What of an event it names.
    pub fn field(&self) -> Field {
        self.field
    }

    /// The way from there into maps and lists: each name, and the place that it stands for in a list.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = (&str, Option<usize>)> {
        self.steps.iter().map(|step| (&*step.name, step.index))
    }
}

/// A name between dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) name: Box<str>,
    /// The place it stands for in a list.
    pub(super) index: Option<usize>,
}

impl Step {
    pub(super) fn new(name: Box<str>) -> Self {
        let index = name.parse().ok();
        Self { name, index }
    }
}

/// A filter or a part of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    Any(Vec<Rule>),
    All(Vec<Rule>),
    Not(Box<Rule>),
    Test(Member, Test),
    Exists(Member),
    Has(Kind),
    /// Since the member's time; without one, since the event was made.
    Age(Option<Member>, Relation, Quantity),
    Matches(Pattern),
}

/// What is asked of a member.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Compare(Relation, Operand),
    /// Of the rest after division by a number that is not zero.
    Rest(Quantity, Relation, Operand),
    Finds(Pattern),
    In(Vec<Literal>),
    Contains(Vec<Literal>),
    Within(Near),
}

/// How near something is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Near {
    /// At most so many metres away.
    pub(super) metres: f64,
    /// From here.
    pub(super) centre: Place,
    /// The unit in which it was written, in metres.
    pub(super) unit: f64,
}

/// What a member is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Value(Literal),
    Member(Member),
}

/// A value in the text of a filter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Number(Quantity),
    Text(Box<str>),
}

impl Literal {
    pub(super) fn seen(&self) -> Seen<'_> {
        match self {
            Literal::Null => Seen::Null,
            Literal::Bool(value) => Seen::Bool(*value),
            Literal::Number(value) => Seen::Number(*value),
            Literal::Text(text) => Seen::Text(text),
        }
    }
}

/// How two values stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Less,
    AtMost,
    Equal,
    Unequal,
    AtLeast,
    Greater,
}

impl Relation {
    /// `None` are values that have no order and are not equal.
    pub(super) fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Relation::Less => order.is_some_and(Ordering::is_lt),
            Relation::AtMost => order.is_some_and(Ordering::is_le),
            Relation::Equal => order.is_some_and(Ordering::is_eq),
            Relation::Unequal => !order.is_some_and(Ordering::is_eq),
            Relation::AtLeast => order.is_some_and(Ordering::is_ge),
            Relation::Greater => order.is_some_and(Ordering::is_gt),
        }
    }
}

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// A number that was written without fraction and exponent.
    Whole,
    /// Any other number.
    Fraction,
    Bool,
    Map,
    List,
    /// A map with a latitude and a longitude.
    Place,
    Null,
}

/// The words for types.
pub(super) const KINDS: &[(&str, Kind)] = &[
    ("string", Kind::Text),
    ("text", Kind::Text),
    ("number", Kind::Number),
    ("integer", Kind::Whole),
    ("long", Kind::Whole),
    ("float", Kind::Fraction),
    ("double", Kind::Fraction),
    ("boolean", Kind::Bool),
    ("bool", Kind::Bool),
    ("map", Kind::Map),
    ("object", Kind::Map),
    ("list", Kind::List),
    ("array", Kind::List),
    ("location", Kind::Place),
    ("null", Kind::Null),
];

/// Finds a word of the language, in whatever case it is written.
pub(super) fn named<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    let found = table.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, value)| *value)
}

impl Member {
    /// The member that such names lead to; there is at least one.
    pub(super) fn new(first: &str, rest: Vec<Box<str>>) -> Self {
        let own = MEMBERS.iter().find(|(name, _)| *name == first);
        let (field, element) = match own {
            Some((_, field)) => (*field, None),
            None => (Field::Elems, Some(first.into())),
        };
        let steps = element.into_iter().chain(rest).map(Step::new).collect();
        Self { field, steps }
    }
}
