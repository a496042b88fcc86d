//! What one reader has been given of one stream, and whether it should have been.
//!
//! A plain machine: events and notices in, findings out. Invariant: between two events of one
//! epoch every offset was either delivered or told as missing, once.

/// What is wrong with something that a reader was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is what had to come.
    Right,
    /// It had been given or told already; so many places back.
    Repeated,
    /// So many events before it were neither given nor told.
    Untold(u64),
    /// A notice does not begin where the last event ended, or its numbers do not add up.
    Miscounted,
}

/// The numbers of a gap notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first missing offset.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// How many.
    pub count: u64,
    /// Whether the numbering begins anew.
    pub is_renumbering: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Any offset: nothing is known.
    Anything,
    /// This offset, or a notice from it on.
    Offset(u64),
    /// A notice that the numbering begins anew.
    Renumbering,
}

/// One reader's place in one stream.
#[derive(Clone, Copy, Debug)]
pub struct View {
    expected: Expected,
}

impl View {
    /// Subscribed without a word about where.
    pub const fn unknown() -> Self {
        Self {
            expected: Expected::Anything,
        }
    }

    /// Everything after `offset` is to come.
    pub const fn after(offset: u64) -> Self {
        Self {
            expected: Expected::Offset(offset + 1),
        }
    }

    /// The numbering is another one than the reader's: this has to be told first.
    pub const fn renumbered() -> Self {
        Self {
            expected: Expected::Renumbering,
        }
    }

    /// The offset up to which everything was given or told, if that is known.
    pub fn place(&self) -> Option<u64> {
        match self.expected {
            Expected::Offset(next) => Some(next - 1),
            Expected::Anything | Expected::Renumbering => None,
        }
    }

    /// Takes an event.
    pub fn event(&mut self, offset: u64) -> Finding {
        let finding = match self.expected {
            Expected::Anything => Finding::Right,
            Expected::Renumbering => Finding::Untold(1),
            Expected::Offset(next) if offset < next => return Finding::Repeated,
            Expected::Offset(next) if offset > next => Finding::Untold(offset - next),
            Expected::Offset(_) => Finding::Right,
        };
        self.expected = Expected::Offset(offset + 1);
        finding
    }

    /// Takes a notice.
    pub fn gap(&mut self, gap: Gap) -> Finding {
        let starts_right = match self.expected {
            Expected::Anything => true,
            _ if gap.is_renumbering => gap.from == 1,
            Expected::Renumbering => false,
            Expected::Offset(next) => gap.from == next,
        };
        let is_empty = gap.is_renumbering && gap.to.saturating_add(1) == gap.from;
        let adds_up =
            (is_empty || gap.to >= gap.from) && gap.to.saturating_add(1).checked_sub(gap.from) == Some(gap.count);
        let finding = match self.expected {
            Expected::Offset(next) if !gap.is_renumbering && gap.from > next => Finding::Untold(gap.from - next),
            _ if starts_right && adds_up => Finding::Right,
            _ => Finding::Miscounted,
        };
        self.expected = Expected::Offset(gap.to.saturating_add(1));
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from: u64, to: u64, count: u64) -> Gap {
        Gap {
            from,
            to,
            count,
            is_renumbering: false,
        }
    }

    fn renumbering(to: u64, count: u64) -> Gap {
        Gap {
            is_renumbering: true,
            ..gap(1, to, count)
        }
    }

    #[test]
    fn what_follows_is_right() {
        let mut view = View::after(0);
        assert_eq!([view.event(1), view.event(2)], [Finding::Right; 2]);
        assert_eq!(view.gap(gap(3, 9, 7)), Finding::Right);
        assert_eq!(view.event(10), Finding::Right);
        assert_eq!(view.gap(renumbering(3, 3)), Finding::Right);
        assert_eq!(view.event(4), Finding::Right);
        assert_eq!(view.gap(renumbering(0, 0)), Finding::Right);
        assert_eq!(view.event(1), Finding::Right);
        assert_eq!(view.place(), Some(1));
        let mut view = View::unknown();
        assert_eq!((view.place(), view.event(17)), (None, Finding::Right));
        assert_eq!(view.event(18), Finding::Right);
    }

    #[test]
    fn duplicates_and_steps_back_are_found() {
        let mut view = View::after(4);
        assert_eq!(view.event(5), Finding::Right);
        assert_eq!([view.event(5), view.event(3)], [Finding::Repeated; 2]);
        assert_eq!(view.event(6), Finding::Right);
    }

    #[test]
    fn a_hole_is_found_and_counted() {
        let mut view = View::after(4);
        assert_eq!(view.event(8), Finding::Untold(3));
        assert_eq!(view.event(9), Finding::Right);
        assert_eq!(view.gap(gap(12, 13, 2)), Finding::Untold(2));
        assert_eq!(view.event(14), Finding::Right);
    }

    #[test]
    fn a_notice_that_does_not_add_up_is_found() {
        for wrong in [
            gap(5, 9, 4),
            gap(5, 9, 6),
            gap(4, 9, 6),
            gap(5, 4, 0),
            renumbering(3, 4),
        ] {
            assert_eq!(View::after(4).gap(wrong), Finding::Miscounted, "{wrong:?}");
        }
        let from_two = Gap {
            from: 2,
            count: 2,
            ..renumbering(3, 3)
        };
        assert_eq!(View::after(4).gap(from_two), Finding::Miscounted);
    }

    #[test]
    fn a_new_numbering_has_to_be_told() {
        assert_eq!(View::renumbered().event(1), Finding::Untold(1));
        assert_eq!(View::renumbered().gap(gap(1, 3, 3)), Finding::Miscounted);
        let mut view = View::renumbered();
        assert_eq!(view.gap(renumbering(2, 2)), Finding::Right);
        assert_eq!(view.event(3), Finding::Right);
    }
}
