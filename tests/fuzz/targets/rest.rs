//! The bodies of events over HTTP.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::domain::path::Path;
use streamgate::domain::stream::Target;
use streamgate::protocol::{events, json};
use streamgate_fuzz::LIMITS;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = json::text(bytes) else {
        return;
    };
    let target = Target::Path(Path::parse("/acme/door").expect("a path"));
    for target in [None, Some(&target)] {
        let Ok(drafts) = events::parse(text, target, &LIMITS) else {
            continue;
        };
        assert!(!drafts.drafts.is_empty() && drafts.drafts.len() <= LIMITS.max_batch_events);
        for (_, draft) in &drafts.drafts {
            // What is taken is one JSON object on one line.
            assert!(draft.elems.value().is_some_and(|value| value.is_object()));
            assert!(!draft.elems.as_str().contains(['\n', '\r']));
        }
    }
});
