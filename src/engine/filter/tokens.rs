//! The words of the filter language: blanks, keywords, names, texts, numbers and patterns.
//!
//! Knows no rules, only what they are written with. Invariant: every parser here looks at a character
//! at most twice, and what has begun as one kind of word is never tried as another.

use crate::engine::filter::order::Quantity;
use crate::engine::filter::pattern::{FLAGS, Pattern};
use crate::engine::filter::stop::Stop;
use crate::engine::filter::tree::{Literal, Member, Relation, named};
use winnow::combinator::{alt, cut_err, fail, not, opt, peek, preceded, repeat, separated};
use winnow::error::ErrMode;
use winnow::stream::{LocatingSlice, Location, Stateful};
use winnow::token::{any, one_of, take, take_while};
use winnow::{ModalResult, Parser};

/// Most patterns in one filter, because each may hold some hundred thousand bytes.
const PATTERNS: usize = 4;

/// The text that is left, and what has been spent of the bounds.
pub(super) type Text<'t> = Stateful<LocatingSlice<&'t str>, Spent>;
/// What a parser of the language gives.
pub(super) type Parsed<T> = ModalResult<T, Stop>;

/// What has been used of the bounds so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Rules around this place.
    pub(super) depth: usize,
    patterns: usize,
}

/// The reserved words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    And,
    Or,
    Not,
    Exists,
    Has,
    Age,
    Matches,
    In,
    Contains,
    Within,
}

const KEYWORDS: &[(&str, Keyword)] = &[
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("NOT", Keyword::Not),
    ("EXISTS", Keyword::Exists),
    ("HAS", Keyword::Has),
    ("AGE", Keyword::Age),
    ("MATCHES", Keyword::Matches),
    ("IN", Keyword::In),
    ("CONTAINS", Keyword::Contains),
    ("WITHIN", Keyword::Within),
];

const CONSTANTS: &[(&str, Literal)] = &[
    ("true", Literal::Bool(true)),
    ("false", Literal::Bool(false)),
    ("null", Literal::Null),
];

/// Longer signs stand before those they begin with.
const RELATIONS: &[(&str, Relation)] = &[
    ("<=", Relation::AtMost),
    ("<", Relation::Less),
    ("==", Relation::Equal),
    ("!=", Relation::Unequal),
    (">=", Relation::AtLeast),
    (">", Relation::Greater),
];

/// A stream and what may be parsed of it, made by a function.
pub(super) trait Rules<'t, T>: Parser<Text<'t>, T, ErrMode<Stop>> {}
impl<'t, T, P: Parser<Text<'t>, T, ErrMode<Stop>>> Rules<'t, T> for P {}

/// Behind blanks.
pub(super) fn lexed<'t, T>(word: impl Rules<'t, T>) -> impl Rules<'t, T> {
    preceded(take_while(0.., char::is_whitespace), word)
}

/// Behind blanks, and nothing else will do.
pub(super) fn wanted<'t, T>(what: &'static str, word: impl Rules<'t, T>) -> impl Rules<'t, T> {
    cut_err(lexed(word)).context(what)
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || "_-$@".contains(c)
}

/// Letters, digits and a few signs.
pub(super) fn word<'t>(input: &mut Text<'t>) -> Parsed<&'t str> {
    take_while(1.., in_word).parse_next(input)
}

/// This word, in whatever case.
pub(super) fn named_word<'t>(name: &'static str) -> impl Rules<'t, ()> {
    word.verify(|word: &str| word.eq_ignore_ascii_case(name)).void()
}

/// A word that is no name because no dot is behind it.
fn lone_word<'t>(input: &mut Text<'t>) -> Parsed<&'t str> {
    (word, peek(opt('.')))
        .verify_map(|(word, dot)| dot.is_none().then_some(word))
        .parse_next(input)
}

/// A reserved word. `age` may be somebody's: the keyword is in capitals or followed by a parenthesis.
pub(super) fn keyword(input: &mut Text<'_>) -> Parsed<Keyword> {
    let meant = |word: &str, call: bool, keyword: &Keyword| *keyword != Keyword::Age || word == "AGE" || call;
    (lone_word, peek(opt(lexed('('))))
        .verify_map(|(word, call)| named(KEYWORDS, word).filter(|keyword| meant(word, call.is_some(), keyword)))
        .parse_next(input)
}

/// This reserved word.
pub(super) fn reserved<'t>(one: Keyword) -> impl Rules<'t, ()> {
    keyword.verify(move |keyword| *keyword == one).void()
}

/// One of the six.
pub(super) fn relation(input: &mut Text<'_>) -> Parsed<Relation> {
    for (sign, relation) in RELATIONS {
        if opt(*sign).parse_next(input)?.is_some() {
            return Ok(*relation);
        }
    }
    fail.parse_next(input)
}

/// A text, a number, true, false or null.
pub(super) fn literal(input: &mut Text<'_>) -> Parsed<Literal> {
    let text = string.map(Literal::Text);
    alt((text, number.map(Literal::Number), constant)).parse_next(input)
}

fn constant(input: &mut Text<'_>) -> Parsed<Literal> {
    let is = |word: &str| CONSTANTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    lone_word
        .verify_map(|word| is(word).map(|(_, literal)| literal.clone()))
        .parse_next(input)
}

/// Parsed as an event's numbers are, so that the same digits are the same number.
pub(super) fn number(input: &mut Text<'_>) -> Parsed<Quantity> {
    let digits = take_while(1.., |c: char| c.is_ascii_digit() || "+-.eE".contains(c));
    let json = digits.verify_map(|digits| serde_json::from_str::<serde_json::Number>(digits).ok());
    let begins = peek(one_of(|c: char| c.is_ascii_digit() || c == '-'));
    preceded(begins, cut_err(json).context("a number as in JSON"))
        .map(|number| Quantity::from(&number))
        .parse_next(input)
}

/// A text in quotes of one kind or the other.
fn string(input: &mut Text<'_>) -> Parsed<Box<str>> {
    let quote = one_of(['"', '\'']).parse_next(input)?;
    let mut text = String::new();
    loop {
        match cut_err(any).context("the closing quote").parse_next(input)? {
            '\\' => text.push(escape(input)?),
            end if end == quote => return Ok(text.into()),
            c => text.push(c),
        }
    }
}

/// What is behind a backslash.
fn escape(input: &mut Text<'_>) -> Parsed<char> {
    let plain = any.verify_map(|c| match c {
        '"' | '\'' | '\\' | '/' => Some(c),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        _ => None,
    });
    let escape = alt((preceded('u', cut_err(character)), plain));
    cut_err(escape)
        .context("an escape: \\\" \\' \\\\ \\/ \\b \\f \\n \\r \\t or \\u and four hexadecimal digits")
        .parse_next(input)
}

/// Four hexadecimal digits, and four more if they are half of a pair.
fn character(input: &mut Text<'_>) -> Parsed<char> {
    let first = unit(input)?;
    let second = match first {
        0xd800..0xdc00 => Some(preceded("\\u", unit).parse_next(input)?),
        _ => None,
    };
    let mut found = char::decode_utf16([first].into_iter().chain(second));
    match found.next() {
        Some(Ok(c)) => Ok(c),
        _ => fail.parse_next(input),
    }
}

fn unit(input: &mut Text<'_>) -> Parsed<u16> {
    let digits = take(4_usize).verify(|digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    digits
        .verify_map(|digits| u16::from_str_radix(digits, 16).ok())
        .parse_next(input)
}

/// A name, with dots into what it names.
pub(super) fn member(input: &mut Text<'_>) -> Parsed<Member> {
    let begins = peek(one_of(|c: char| c.is_alphabetic() || "_$@".contains(c)));
    let reserved = not(alt((keyword.void(), constant.void())));
    let first = preceded((begins, reserved), word).parse_next(input)?;
    let name = alt((word.map(Box::from), string));
    let step = preceded('.', cut_err(name).context("a name behind the dot"));
    let rest: Vec<Box<str>> = repeat(0.., step).parse_next(input)?;
    Ok(Member::new(first, rest))
}

/// Between slashes, flags behind it.
pub(super) fn pattern(input: &mut Text<'_>) -> Parsed<Pattern> {
    let at = input.current_token_start();
    '/'.parse_next(input)?;
    let mut text = String::new();
    loop {
        match cut_err(any).context("the pattern's closing slash").parse_next(input)? {
            '/' => break,
            '\\' => match cut_err(any).context("the pattern's closing slash").parse_next(input)? {
                '/' => text.push('/'),
                c => text.extend(['\\', c]),
            },
            c => text.push(c),
        }
    }
    let flags = take_while(0.., |c| FLAGS.contains(c)).parse_next(input)?;
    let end = not(one_of(in_word));
    cut_err(end)
        .context("no other flags than i, m, s and x")
        .parse_next(input)?;
    input.state.patterns += 1;
    if input.state.patterns > PATTERNS {
        let text = format!("a filter has at most {PATTERNS} patterns");
        return Err(ErrMode::Cut(Stop::limit(at, text)));
    }
    Pattern::new(&text, flags).map_err(|why| ErrMode::Cut(Stop::unfit(at, why)))
}

/// Between brackets, commas between them; one at least.
pub(super) fn list(input: &mut Text<'_>) -> Parsed<Vec<Literal>> {
    wanted("a list in brackets", '[').parse_next(input)?;
    let values = separated(1.., wanted("a value", literal), lexed(',')).parse_next(input)?;
    wanted("a comma or the closing bracket", ']').parse_next(input)?;
    Ok(values)
}
