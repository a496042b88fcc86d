//! Query strings, and what a browser brings back of Server-Sent Events: the first line is the event id.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::protocol::finding::FindQuery;
use streamgate::protocol::names::Names;
use streamgate::protocol::rest::wire::{ListQuery, PublishQuery};
use streamgate::protocol::session::wire::{EventsQuery, Places};
use streamgate_fuzz::LIMITS;

fuzz_target!(|text: &str| {
    let (id, query) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(pairs) = serde_urlencoded::from_str::<Vec<(String, String)>>(query)
        && let Ok(wanted) = EventsQuery::parse(&pairs, Some(id), &LIMITS)
    {
        assert!(wanted.wishes.len() <= pairs.len());
        // What was understood is told again in the same words.
        let mut places = Places::default();
        for (stream, position) in &wanted.seen {
            places.put(*stream, position.epoch.expect("an id says of which numbering"), position.offset);
        }
        let again = EventsQuery::parse(&[], places.id().as_deref(), &LIMITS).expect("an id of ours");
        assert_eq!(again.seen, wanted.seen);
    }
    if let Ok(find) = serde_urlencoded::from_str::<FindQuery>(query) {
        let _ = (find.target(), find.check_whole(), find.wants_references());
        if let Ok(search) = find.search(&LIMITS) {
            assert!(search.limit <= LIMITS.max_find_events);
        }
        for names in [Names::Octave, Names::Flowthings] {
            let _ = find.only(names);
        }
    }
    if let Ok(list) = serde_urlencoded::from_str::<ListQuery>(query) {
        let _ = list.page();
    }
    if let Ok(publish) = serde_urlencoded::from_str::<PublishQuery>(query) {
        let _ = publish.ack();
    }
});
