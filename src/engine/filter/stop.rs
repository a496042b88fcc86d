//! Where a filter's text stopped being right, and why, on the way to a refusal.
//!
//! Knows the parser library's errors so that the grammar need not. Invariant: the place is that of the
//! first character that nothing could be made of, and the words are those of the innermost rule.

use crate::domain::error::{Code, Refusal};
use crate::engine::filter::pattern::Unfit;
use std::borrow::Cow;
use winnow::error::{AddContext, ParserError};
use winnow::stream::{Location, Stream};

/// A place in the text, in bytes from its beginning, and what is wrong there.
#[derive(Debug)]
pub(super) struct Stop {
    at: usize,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// Nobody has said yet.
    Unsaid,
    /// Something else has to stand here.
    Expected(&'static str),
    /// What stands here cannot be had, with the reason.
    Wrong(Cow<'static, str>),
    /// What stands here is right and too much.
    Limit(Cow<'static, str>),
}

impl Stop {
    /// What stands at `at` cannot be had.
    pub(super) fn wrong(at: usize, why: impl Into<Cow<'static, str>>) -> Self {
        let why = Why::Wrong(why.into());
        Self { at, why }
    }

    /// What stands at `at` is too much.
    pub(super) fn limit(at: usize, why: impl Into<Cow<'static, str>>) -> Self {
        let why = Why::Limit(why.into());
        Self { at, why }
    }

    /// The pattern at `at` was not taken.
    pub(super) fn unfit(at: usize, why: Unfit) -> Self {
        match why {
            Unfit::Malformed(why) => Self::wrong(at, format!("this is no regular expression, {why}")),
            Unfit::Large(why) => Self::limit(at, why),
        }
    }

    /// In words, about the text that was parsed.
    pub(super) fn refusal(self, text: &str) -> Refusal {
        let character = text[..self.at].chars().count() + 1;
        let end = if self.at == text.len() { ", its end" } else { "" };
        let malformed = |what: &str| {
            let text = format!("the filter's character {character}{end}: {what}");
            Refusal::new(Code::FilterMalformed, text)
        };
        match self.why {
            Why::Unsaid => malformed("this is unexpected"),
            Why::Expected(what) => malformed(&format!("expected {what}")),
            Why::Wrong(what) => malformed(&what),
            Why::Limit(what) => Refusal::new(Code::LimitFilter, what),
        }
    }
}

impl<I: Stream + Location> ParserError<I> for Stop {
    type Inner = Self;

    fn from_input(input: &I) -> Self {
        let at = input.current_token_start();
        let why = Why::Unsaid;
        Self { at, why }
    }

    /// Of several ways, the one that came furthest was meant.
    fn or(self, other: Self) -> Self {
        if self.at > other.at { self } else { other }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

impl<I: Stream> AddContext<I> for Stop {
    fn add_context(mut self, _input: &I, _start: &I::Checkpoint, expected: &'static str) -> Self {
        if matches!(self.why, Why::Unsaid) {
            self.why = Why::Expected(expected);
        }
        self
    }
}
