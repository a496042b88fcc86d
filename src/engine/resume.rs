//! Where a reader goes on, and what it is told about what lies between.
//!
//! Pure. Invariant: everything between the reader's position and the head is either going to be
//! replayed or counted as missing.

use crate::domain::position::{Gap, GapReason, Offset, Position};
use crate::engine::ledger::View;
use crate::engine::subscription::Subscription;

/// How a reader's position and the stream go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing came since.
    Complete,
    /// All that came since can be read.
    Behind,
    /// Some of what came since cannot be read, or the position is of another numbering.
    Gap,
}

/// Where a reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The place after which it goes on.
    pub cursor: Offset,
    /// How position and stream go together.
    pub state: State,
    /// Events after the position.
    pub behind: u64,
    /// Those of them that are gone.
    pub missing: u64,
    /// To be told at once, because reading on would not show it.
    pub told: Option<Gap>,
}

impl State {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            State::Complete => "complete",
            State::Behind => "behind",
            State::Gap => "gap",
        }
    }
}

impl Resume {
    /// From the head on.
    pub fn live(view: &View) -> Self {
        Self::at(view.head, view)
    }

    /// From where a subscription is on.
    pub fn from(view: &View, cursor: Offset) -> Self {
        Self::at(cursor.min(view.head), view)
    }

    /// From the newest `count` events on; that there are fewer is no gap.
    pub fn last(view: &View, count: u64) -> Self {
        let cursor = view.head.0.saturating_sub(count);
        Self::at(Offset(cursor).max(view.first.previous()), view)
    }

    /// From what was seen last on.
    ///
    /// A position of another epoch, or beyond the head, says nothing about this numbering: all that
    /// is kept is read from its beginning, and that is told.
    pub fn since(view: &View, position: Position) -> Self {
        let is_foreign = position.epoch.is_some_and(|epoch| epoch != view.epoch) || position.offset > view.head;
        if !is_foreign {
            return Self::at(position.offset, view);
        }
        let gap = Gap {
            from: Offset(1),
            to: view.first.previous(),
            reason: GapReason::Epoch,
        };
        Self {
            cursor: view.first.previous(),
            state: State::Gap,
            behind: view.head.0,
            missing: gap.count(),
            told: Some(gap),
        }
    }

    /// A subscription that goes on here.
    pub fn subscription(&self, view: &View) -> Subscription {
        match self.cursor < view.head {
            true => Subscription::replay(self.cursor),
            false => Subscription::live(self.cursor),
        }
    }

    fn at(cursor: Offset, view: &View) -> Self {
        let behind = view.head.0 - cursor.0;
        let missing = view.first.0.saturating_sub(cursor.next().0);
        let state = match (behind, missing) {
            (0, _) => State::Complete,
            (_, 0) => State::Behind,
            _ => State::Gap,
        };
        let told = None;
        Self {
            cursor,
            state,
            behind,
            missing,
            told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::position::Epoch;

    fn view(first: u64, head: u64) -> View {
        View {
            epoch: Epoch::new(7),
            head: Offset(head),
            first: Offset(first),
            settled: Offset(0),
        }
    }

    fn since(view: &View, epoch: Option<u64>, offset: u64) -> Resume {
        let position = Position {
            epoch: epoch.map(Epoch::new),
            offset: Offset(offset),
        };
        Resume::since(view, position)
    }

    #[test]
    fn what_came_since_is_behind_or_missing() {
        let view = view(11, 20);
        for (offset, state, behind, missing) in [
            (20, State::Complete, 0, 0),
            (15, State::Behind, 5, 0),
            (10, State::Behind, 10, 0),
            (9, State::Gap, 11, 1),
            (0, State::Gap, 20, 10),
        ] {
            let resume = since(&view, Some(7), offset);
            assert_eq!(
                (resume.cursor, resume.state, resume.behind, resume.missing),
                (Offset(offset), state, behind, missing),
                "{offset}"
            );
            assert_eq!(resume.told, None);
        }
    }

    #[test]
    fn another_numbering_begins_at_the_beginning() {
        for resume in [since(&view(11, 20), Some(8), 15), since(&view(11, 20), None, 21)] {
            assert_eq!(
                (resume.cursor, resume.state, resume.missing),
                (Offset(10), State::Gap, 10)
            );
            assert_eq!(resume.told.map(|gap| (gap.from.0, gap.to.0)), Some((1, 10)));
        }
    }

    #[test]
    fn the_last_few_are_as_many_as_there_are() {
        assert_eq!(Resume::last(&view(11, 20), 3).cursor, Offset(17));
        assert_eq!(Resume::last(&view(11, 20), 99).cursor, Offset(10));
        assert_eq!(Resume::last(&view(1, 0), 1).state, State::Complete);
        assert_eq!(Resume::live(&view(11, 20)).cursor, Offset(20));
    }
}
