//! What the book answers while the disk fails, and what it has the disk know.

use super::*;
use crate::domain::event::Stamp;
use crate::domain::id::SYSTEM;
use crate::domain::path::Path;
use crate::domain::payload::Payload;
use crate::domain::stream::Rules;
use std::collections::HashSet;

const KEY: RequestKey = RequestKey {
    key: [1; 16],
    request: [2; 16],
};

fn stream(number: u8, capacity: u64) -> Arc<Stream> {
    Arc::new(Stream {
        id: StreamId::new([number; 12]),
        path: Path::parse("/acme/door").expect("a path"),
        description: String::new(),
        capacity,
        rules: Rules::default(),
        creator: SYSTEM,
        created_ms: 0,
        edited: None,
    })
}

fn publication(stream: &Arc<Stream>, key: Option<RequestKey>) -> Publication {
    let draft = Draft {
        elems: Payload::stored("{}".into()),
        hash: None,
    };
    Publication {
        asked: Stamp::UNKNOWN,
        creator: SYSTEM,
        now_ms: 0,
        drafts: vec![(Arc::clone(stream), draft)],
        ack: None,
        expected: None,
        key,
    }
}

fn book() -> Book {
    Book::new(Ledger::new(1_000_000), Keys::new(1_000, 1_000), 1_000_000)
}

/// Has the disk take what waits.
fn write(book: &mut Book) {
    let taken = book.take(1_000_000).expect("something waits");
    let batch = book.arrange(taken, &HashSet::new());
    for (answer, published) in book.commit(batch, |_| {}) {
        let _ = answer.send(published);
    }
}

#[test]
fn who_waits_is_told_when_the_disk_begins_to_fail_and_may_try_again() {
    let (mut book, kept) = (book(), stream(1, 10));
    let waits = |entry| match entry {
        Ok(Entry::Waits(receiver)) => receiver,
        _ => panic!("it has to wait for the disk"),
    };
    let mut first = waits(book.enter(publication(&kept, Some(KEY)), |_| {}));
    for (answer, refused) in book.refuse_waiting(Code::LogFull) {
        let _ = answer.send(refused);
    }
    let refused = first.try_recv().expect("an answer").err().expect("a refusal");
    assert_eq!(refused.code, Code::LogFull);
    assert!(book.is_written() && book.pending_bytes() == 0);
    assert_eq!(
        book.enter(publication(&kept, None), |_| {})
            .err()
            .map(|refusal| refusal.code),
        Some(Code::LogFull)
    );
    book.failing = None;
    let mut again = waits(book.enter(publication(&kept, Some(KEY)), |_| {}));
    write(&mut book);
    assert!(again.try_recv().expect("an answer").is_ok());
}

#[test]
fn what_keeps_nothing_any_more_does_not_wait_for_a_disk_that_fails() {
    let (mut book, kept) = (book(), stream(1, 10));
    let entry = book.enter(publication(&kept, None), |_| {});
    assert!(matches!(entry, Ok(Entry::Waits(_))));
    write(&mut book);
    // The disk knows its numbering as firm, and would have to be told.
    let emptied = stream(1, 0);
    book.ledger.adjust(&emptied);
    book.failing = Some(Code::LogFull);
    let refused = book.enter(publication(&emptied, None), |_| {}).err();
    assert_eq!(refused.map(|refusal| refusal.code), Some(Code::LogFull));
    let fresh = book.enter(publication(&stream(2, 0), None), |_| {});
    assert!(matches!(fresh, Ok(Entry::Done(_))), "the disk knows nothing of it");
}

#[test]
fn that_a_stream_is_loose_is_settled_before_the_row_that_says_so_goes() {
    let (mut book, kept) = (book(), stream(1, 10));
    let _ = book.enter(publication(&kept, None), |_| {});
    write(&mut book);
    let emptied = stream(1, 0);
    book.ledger.adjust(&emptied);
    assert_eq!(book.ledger.take_unsettled(), [kept.id]);
    let _ = book.enter(publication(&emptied, None), |_| {});
    write(&mut book);
    assert_eq!(book.ledger.take_unsettled(), [kept.id]);
    assert!(book.ledger.place(&kept.id).is_some_and(|place| place.loose));
}

#[test]
fn a_stream_the_disk_does_not_know_is_not_settled_before_it_has_an_event() {
    let mut book = book();
    book.ledger.open(&stream(1, 10));
    book.ledger.adjust(&stream(1, 20));
    assert!(book.ledger.take_unsettled().is_empty());
}

#[test]
fn what_is_not_kept_leaves_no_hash_behind() {
    let mut book = book();
    let hashed = |stream: &Arc<Stream>, hash: &str| {
        let mut wish = publication(stream, Some(KEY));
        wish.drafts[0].1.hash = Some(hash.into());
        wish
    };
    let _ = book.enter(hashed(&stream(1, 0), "a"), |_| {});
    write(&mut book);
    assert!(book.hashes.is_empty());
    let mut wish = hashed(&stream(2, 1), "b");
    wish.key = None;
    let _ = book.enter(wish, |_| {});
    write(&mut book);
    assert_eq!(book.hashes.len(), 1);
}
