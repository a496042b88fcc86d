//! The filter language, and what filters make of events.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use streamgate::domain::event::Draft;
use streamgate::domain::id::{IdentityId, StreamId};
use streamgate::domain::path::Path;
use streamgate::domain::payload::Payload;
use streamgate::engine::filter::{Filter, Subject};

fuzz_target!(|text: &str| {
    let Ok(filter) = Filter::parse(text, 1_024) else {
        return;
    };
    // What was understood once is understood again, and is the same.
    assert_eq!(Filter::parse(filter.source(), 1_024).expect("its own source"), filter);
    let (stream, creator) = (StreamId::new([1; 12]), IdentityId::new([2; 12]));
    let path = Path::parse("/acme/door").expect("a path");
    let elems = json!({"t": 21.5, "name": "north", "open": true, "list": [1, "a", null], "at": {"lat": 1, "lon": 2}});
    let draft = Draft {
        elems: Payload::check(&serde_json::value::to_raw_value(&elems).expect("JSON"), 64).expect("an object"),
        hash: None,
    };
    let subject = Subject::draft(stream, &path, creator, 1_700_000_000_000, &draft, &elems);
    let first = filter.accepts(&subject, 1_700_000_000_000);
    assert_eq!(
        first,
        filter.accepts(&subject, 1_700_000_000_000),
        "it is no matter of luck"
    );
});
