//! Wrong histories, and that each is found, with the right count.

use super::view::{Finding, Gap};
use super::{Acked, Given, Level, Mark, Nature, Oracle, Stored};

fn mark(number: u32) -> Mark {
    Mark { publisher: 3, number }
}

fn given(offset: u64, number: u32) -> Given {
    let (mark, print) = (mark(number), u64::from(number) + 100);
    Given { offset, mark, print }
}

fn nature(capacity: u64, is_firm: bool) -> Nature {
    let name = "stream";
    Nature {
        name,
        capacity,
        is_firm,
    }
}

/// One stream, where the publisher has sent its events 0 to 19.
fn oracle(capacity: u64) -> Oracle {
    let mut oracle = Oracle::new([nature(capacity, false)]);
    for number in 0..20 {
        oracle.sends(mark(number), u64::from(number) + 100);
    }
    oracle
}

/// Event number `offset - 1` was acknowledged at `offset`.
fn ack(oracle: &mut Oracle, offset: u64, level: Level, generation: u32) {
    let ack = Acked {
        mark: mark(offset as u32 - 1),
        offset: Some(offset),
        level: Some(level),
        since: generation,
        generation,
    };
    oracle.acked(0, ack, Some(level));
}

fn scan(oracle: &mut Oracle, generation: u32, limit: u64, events: &[Given]) {
    let bookmark = oracle.bookmark(0);
    oracle.scanned(0, generation, bookmark, &still(limit, events));
}

/// Found while nothing was published.
fn still(limit: u64, events: &[Given]) -> Stored<'_> {
    let head_after = events.last().map_or(0, |given| given.offset);
    Stored {
        events,
        limit,
        head_after,
    }
}

fn right(offsets: std::ops::RangeInclusive<u64>) -> Vec<Given> {
    offsets.map(|offset| given(offset, offset as u32 - 1)).collect()
}

/// Whatever is wrong, by name.
fn wrong(oracle: &Oracle) -> Vec<(&'static str, u64)> {
    let tally = &oracle.tally;
    let all = [
        ("shortfalls", tally.shortfalls),
        ("lost durable", tally.lost_durable),
        ("lost written", tally.lost_written),
        ("duplicated", tally.duplicated),
        ("swapped", tally.swapped),
        ("altered", tally.altered),
        ("holes", tally.stored_holes),
        ("short", tally.stored_short),
        ("repeated", tally.repeated),
        ("untold", tally.untold),
        ("miscounted", tally.miscounted),
        ("renumbered", tally.renumbered),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_right_history_is_right() {
    let mut oracle = oracle(4);
    let epoch = oracle.epoch(0, 1, "e");
    for offset in 1..=6 {
        ack(&mut oracle, offset, Level::Durable, 1);
        oracle.delivered(0, Some(epoch), given(offset, offset as u32 - 1), Finding::Right);
    }
    scan(&mut oracle, 1, 100, &right(3..=6));
    scan(&mut oracle, 1, 2, &right(5..=6));
    oracle.power_cut(1);
    let epoch = oracle.epoch(0, 2, "e");
    oracle.delivered(0, Some(epoch), given(6, 5), Finding::Right);
    scan(&mut oracle, 2, 100, &right(3..=6));
    oracle.settle();
    assert_eq!(wrong(&oracle), []);
    assert_eq!((oracle.tally.acked_durable, oracle.tally.delivered), (6, 7));
}

#[test]
fn a_lost_event_is_found_once() {
    let mut oracle = oracle(100);
    for offset in 1..=5 {
        ack(&mut oracle, offset, Level::Durable, 1);
    }
    scan(&mut oracle, 2, 100, &right(1..=3));
    scan(&mut oracle, 2, 100, &right(1..=3));
    assert_eq!(wrong(&oracle), [("lost durable", 2)]);
}

#[test]
fn an_event_that_another_stands_for_is_lost() {
    let mut oracle = oracle(100);
    ack(&mut oracle, 1, Level::Durable, 1);
    ack(&mut oracle, 2, Level::Durable, 1);
    scan(&mut oracle, 2, 100, &[given(1, 0), given(2, 9)]);
    assert_eq!(wrong(&oracle), [("lost durable", 1)]);
}

#[test]
fn what_is_acknowledged_after_the_question_need_not_be_in_the_answer() {
    let mut oracle = oracle(100);
    ack(&mut oracle, 1, Level::Durable, 1);
    let bookmark = oracle.bookmark(0);
    ack(&mut oracle, 2, Level::Durable, 1);
    oracle.scanned(0, 1, bookmark, &still(100, &right(1..=1)));
    assert_eq!(wrong(&oracle), []);
}

#[test]
fn retention_is_no_loss_and_loss_is_no_retention() {
    let mut oracle = oracle(3);
    for offset in 1..=6 {
        ack(&mut oracle, offset, Level::Durable, 1);
    }
    scan(&mut oracle, 1, 100, &right(4..=6));
    assert_eq!(wrong(&oracle), []);
    scan(&mut oracle, 1, 100, &right(5..=6));
    assert_eq!(wrong(&oracle), [("lost durable", 1), ("short", 1)]);
}

#[test]
fn what_makes_room_during_a_scan_is_not_lost() {
    for (head_after, expected) in [(7, vec![]), (6, vec![("lost durable", 1), ("short", 1)])] {
        let mut oracle = oracle(3);
        for offset in 1..=6 {
            ack(&mut oracle, offset, Level::Durable, 1);
        }
        let (bookmark, events) = (oracle.bookmark(0), right(5..=6));
        let stored = Stored {
            head_after,
            ..still(100, &events)
        };
        oracle.scanned(0, 1, bookmark, &stored);
        assert_eq!(wrong(&oracle), expected, "{head_after}");
    }
}

#[test]
fn written_events_survive_a_kill_but_need_not_survive_the_power() {
    let mut killed = oracle(100);
    ack(&mut killed, 1, Level::Written, 1);
    ack(&mut killed, 2, Level::Accepted, 1);
    scan(&mut killed, 2, 100, &[]);
    assert_eq!(wrong(&killed), [("lost written", 1)]);
    let mut cut = oracle(100);
    ack(&mut cut, 1, Level::Written, 1);
    cut.power_cut(1);
    scan(&mut cut, 2, 100, &[]);
    ack(&mut cut, 1, Level::Written, 2);
    assert_eq!(wrong(&cut), []);
    scan(&mut cut, 3, 100, &[]);
    assert_eq!(wrong(&cut), [("lost written", 1)]);
}

#[test]
fn a_duplicate_is_found_in_what_is_stored_and_in_what_is_delivered() {
    let mut stored = oracle(100);
    scan(&mut stored, 1, 100, &[given(1, 0), given(2, 1), given(3, 0)]);
    assert_eq!(wrong(&stored), [("duplicated", 1)]);
    let mut seen = oracle(100);
    let epoch = seen.epoch(0, 1, "e");
    for offset in [1, 2, 1, 2] {
        seen.delivered(0, Some(epoch), given(offset, 7), Finding::Right);
    }
    assert_eq!(wrong(&seen), [("duplicated", 1)]);
}

#[test]
fn in_another_numbering_an_event_may_be_elsewhere() {
    let mut oracle = oracle(100);
    let (first, second) = (oracle.epoch(0, 1, "e"), oracle.epoch(0, 2, "f"));
    oracle.delivered(0, Some(first), given(5, 7), Finding::Right);
    oracle.delivered(0, Some(second), given(2, 7), Finding::Right);
    oracle.delivered(0, Some(second), given(5, 8), Finding::Right);
    assert_eq!(wrong(&oracle), []);
}

#[test]
fn two_contents_of_one_place_are_found_whoever_saw_them() {
    let mut readers = oracle(100);
    let epoch = readers.epoch(0, 1, "e");
    for number in [7, 8, 8, 7] {
        readers.delivered(0, Some(epoch), given(1, number), Finding::Right);
    }
    assert_eq!(wrong(&readers), [("swapped", 1)]);
    // The second life numbers on as if nothing had been lost, and gives a place again.
    let mut acks = oracle(100);
    acks.epoch(0, 1, "e");
    acks.epoch(0, 2, "e");
    ack(&mut acks, 1, Level::Accepted, 1);
    let other = Acked {
        mark: mark(9),
        offset: Some(1),
        level: Some(Level::Accepted),
        since: 2,
        generation: 2,
    };
    acks.acked(0, other, None);
    acks.settle();
    assert_eq!(wrong(&acks), [("swapped", 1)]);
}

#[test]
fn an_acknowledged_place_is_held_against_what_readers_saw() {
    let mut oracle = oracle(100);
    let (first, second) = (oracle.epoch(0, 1, "e"), oracle.epoch(0, 1, "f"));
    oracle.delivered(0, Some(first), given(1, 8), Finding::Right);
    ack(&mut oracle, 1, Level::Accepted, 1);
    oracle.settle();
    assert_eq!(wrong(&oracle), [], "it may have been in the second numbering");
    oracle.delivered(0, Some(second), given(1, 9), Finding::Right);
    ack(&mut oracle, 1, Level::Accepted, 1);
    oracle.settle();
    assert_eq!(wrong(&oracle), [("swapped", 1)]);
}

#[test]
fn an_answer_given_again_is_of_the_numbering_in_which_it_was_given_first() {
    let late = |number| Acked {
        mark: mark(number),
        offset: Some(1),
        level: Some(Level::Accepted),
        since: 1,
        generation: 2,
    };
    let told = |late: Acked| {
        let mut oracle = oracle(0);
        let (first, second) = (oracle.epoch(0, 1, "e"), oracle.epoch(0, 2, "f"));
        oracle.delivered(0, Some(first), given(1, 7), Finding::Right);
        oracle.delivered(0, Some(second), given(1, 8), Finding::Right);
        oracle.acked(0, late, None);
        oracle.settle();
        wrong(&oracle)
    };
    assert_eq!(told(late(7)), []);
    assert_eq!(told(late(8)), []);
    assert_eq!(told(late(9)), [("swapped", 1)]);
    assert_eq!(told(Acked { since: 2, ..late(7) }), [("swapped", 1)]);
}

#[test]
fn a_numbering_that_need_not_end_must_not() {
    for (is_firm, expected) in [(true, vec![("renumbered", 2)]), (false, vec![])] {
        let mut oracle = Oracle::new([nature(100, is_firm)]);
        for (generation, epoch) in [(1, "e"), (2, "e"), (3, "f"), (4, "f"), (5, "g")] {
            oracle.epoch(0, generation, epoch);
        }
        assert_eq!(wrong(&oracle), expected);
    }
}

#[test]
fn the_first_contradictions_are_put_into_words() {
    let mut oracle = oracle(100);
    for offset in 0..100 {
        oracle.delivered(0, None, given(offset, 0), Finding::Repeated);
    }
    assert_eq!(oracle.tally.notes.len(), 20);
    assert_eq!(oracle.tally.notes[1], "Repeated in stream: the event at 1");
}

#[test]
fn what_nobody_published_is_found() {
    let mut oracle = oracle(100);
    let altered = Given {
        print: 1,
        ..given(1, 0)
    };
    oracle.delivered(0, None, altered, Finding::Right);
    scan(&mut oracle, 1, 100, &[altered, given(2, 50)]);
    assert_eq!(wrong(&oracle), [("altered", 3)]);
}

#[test]
fn holes_and_disorder_in_what_is_stored_are_found() {
    let mut holes = oracle(100);
    scan(&mut holes, 1, 2, &[given(2, 1), given(5, 4)]);
    assert_eq!(wrong(&holes), [("holes", 2)]);
    let mut disorder = oracle(100);
    scan(&mut disorder, 1, 2, &[given(3, 1), given(2, 4)]);
    assert_eq!(wrong(&disorder), [("swapped", 1)]);
}

#[test]
fn less_than_was_asked_for_is_found() {
    let mut oracle = oracle(100);
    let plain = |level, offset| Acked {
        mark: mark(0),
        offset,
        level,
        since: 1,
        generation: 1,
    };
    oracle.acked(0, plain(Some(Level::Written), Some(1)), Some(Level::Durable));
    oracle.acked(0, plain(None, None), Some(Level::Accepted));
    oracle.acked(0, plain(Some(Level::Durable), None), Some(Level::Durable));
    oracle.acked(0, plain(None, None), None);
    assert_eq!(wrong(&oracle), [("shortfalls", 3)]);
}

#[test]
fn findings_of_readers_are_counted() {
    let mut oracle = oracle(100);
    let gap = Gap {
        from: 3,
        to: 9,
        count: 7,
        is_renumbering: false,
    };
    oracle.told(0, gap, Finding::Miscounted);
    oracle.told(0, gap, Finding::Untold(2));
    oracle.delivered(0, None, given(1, 0), Finding::Untold(4));
    oracle.delivered(0, None, given(1, 0), Finding::Repeated);
    assert_eq!(wrong(&oracle), [("repeated", 1), ("untold", 6), ("miscounted", 1)]);
    assert_eq!(oracle.tally.told, 14);
}
