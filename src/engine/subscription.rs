//! One connection's cursor into one stream.
//!
//! A live event follows the cursor, repeats what was seen, or lies beyond; the first is pushed,
//! the second dropped, the third means reading the log from the cursor. Races, slow readers and
//! missed messages are all this one machine. Invariant: the cursor only rises, and what it passes
//! was either pushed or told as a gap.

use crate::domain::position::{Epoch, Gap, GapReason, Offset, Position};
use crate::engine::filter::Filter;

/// Where a connection is in a stream, and what it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    cursor: Offset,
    state: State,
}

/// What a subscription follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The events as they are published.
    Live,
    /// The log, a page at a time, because it asked for what was before.
    Replaying,
    /// The log, a page at a time, because it fell behind.
    CatchingUp,
}

/// What a subscription wants if it does not read in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenSlow {
    /// Everything, later.
    #[default]
    CatchUp,
    /// The newest event, and to be told what it missed.
    Latest,
    /// What comes then, and to be told what it missed.
    Drop,
    /// An end of the connection.
    Disconnect,
}

/// What is agreed about a subscription beyond where it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// If it does not read in time.
    pub when_slow: WhenSlow,
    /// Which events it wants.
    pub filter: Option<Filter>,
    /// What its reader calls the stream, where that is neither its id nor told with every event.
    pub name: Option<Box<str>>,
}

/// What to do with a run of live events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// They follow from this place on: push those, then [`Subscription::advance`].
    PushFrom(Offset),
    /// They are old, or the log will bring them: do nothing.
    Skip,
    /// Something lies between: the subscription catches up from now on.
    Behind,
}

impl Subscription {
    /// Live from just after `cursor`.
    pub fn live(cursor: Offset) -> Self {
        let state = State::Live;
        Self { cursor, state }
    }

    /// Everything after `cursor`, then live.
    pub fn replay(cursor: Offset) -> Self {
        let state = State::Replaying;
        Self { cursor, state }
    }

    /// Behind at `cursor`, and following as it did.
    pub fn behind(cursor: Offset, state: State) -> Self {
        let state = match state {
            State::Live => State::Replaying,
            behind => behind,
        };
        Self { cursor, state }
    }

    /// The same, further back.
    pub fn back_to(self, cursor: Offset) -> Self {
        match cursor < self.cursor {
            true => Self::behind(cursor, self.state),
            false => self,
        }
    }

    /// The last place that was passed.
    pub fn cursor(&self) -> Offset {
        self.cursor
    }

    /// The same as a place in a numbering.
    pub fn position(&self, epoch: Epoch) -> Position {
        let (epoch, offset) = (Some(epoch), self.cursor);
        Position { epoch, offset }
    }

    /// What it follows.
    pub fn state(&self) -> State {
        self.state
    }

    /// Decides about the live events from `first` to `last`, without a hole between them.
    pub fn on_run(&mut self, first: Offset, last: Offset) -> Step {
        if self.state != State::Live || last <= self.cursor {
            return Step::Skip;
        }
        let next = self.cursor.next();
        if first <= next {
            return Step::PushFrom(next);
        }
        self.state = State::CatchingUp;
        Step::Behind
    }

    /// Events up to `offset` have been pushed.
    pub fn advance(&mut self, offset: Offset) {
        debug_assert!(offset > self.cursor);
        self.cursor = offset;
    }

    /// A push was refused: catch up once there is room.
    pub fn fall_behind(&mut self) {
        self.state = State::CatchingUp;
    }

    /// The log holds nothing between the cursor and `first`: returns what is missing and passes it.
    pub fn skip_to(&mut self, first: Offset, reason: GapReason) -> Option<Gap> {
        let from = self.cursor.next();
        if first <= from {
            return None;
        }
        let to = first.previous();
        self.cursor = to;
        Some(Gap { from, to, reason })
    }

    /// A page has been pushed; live again if it reached `head`, the log's newest place.
    pub fn caught_up_to(&mut self, head: Offset) {
        if self.cursor >= head {
            self.state = State::Live;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_follows_is_pushed_and_what_was_seen_is_not() {
        let mut subscription = Subscription::live(Offset(5));
        assert_eq!(subscription.on_run(Offset(6), Offset(8)), Step::PushFrom(Offset(6)));
        subscription.advance(Offset(8));
        assert_eq!(subscription.on_run(Offset(7), Offset(8)), Step::Skip);
        assert_eq!(subscription.on_run(Offset(7), Offset(9)), Step::PushFrom(Offset(9)));
        assert_eq!(subscription.on_run(Offset(10), Offset(10)), Step::Behind);
        assert_eq!(subscription.on_run(Offset(9), Offset(9)), Step::Skip);
        assert_eq!(subscription.state(), State::CatchingUp);
    }

    #[test]
    fn a_hole_in_the_log_is_told_exactly() {
        let mut subscription = Subscription::live(Offset(11));
        subscription.fall_behind();
        let gap = subscription.skip_to(Offset(41), GapReason::Retention).expect("a gap");
        assert_eq!((gap.from, gap.to, gap.count()), (Offset(12), Offset(40), 29));
        assert_eq!(subscription.skip_to(Offset(41), GapReason::Retention), None);
    }

    proptest! {
        /// Whatever reaches the machine, in whatever order: each place is pushed or told, once.
        #[test]
        fn every_place_is_accounted_for(
            runs in proptest::collection::vec((1..40_u64, 0..5_u64), 1..60),
            kept in 1..10_u64,
            room in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let mut subscription = Subscription::live(Offset(0));
            let mut passed = Vec::new();
            let mut head = 0;
            for ((first, more), room) in runs.into_iter().zip(room) {
                let last = first + more;
                head = head.max(last);
                match subscription.on_run(Offset(first), Offset(last)) {
                    Step::PushFrom(from) if room => {
                        passed.extend(from.0..=last);
                        subscription.advance(Offset(last));
                    }
                    Step::PushFrom(_) => subscription.fall_behind(),
                    Step::Skip | Step::Behind => {}
                }
                if subscription.state() == State::CatchingUp && room {
                    let oldest = head.saturating_sub(kept) + 1;
                    if let Some(gap) = subscription.skip_to(Offset(oldest), GapReason::Retention) {
                        passed.extend(gap.from.0..=gap.to.0);
                    }
                    while subscription.cursor().0 < head {
                        let next = subscription.cursor().next();
                        passed.push(next.0);
                        subscription.advance(next);
                    }
                    subscription.caught_up_to(Offset(head));
                }
            }
            let expected: Vec<u64> = (1..=subscription.cursor().0).collect();
            prop_assert_eq!(passed, expected);
        }
    }
}
