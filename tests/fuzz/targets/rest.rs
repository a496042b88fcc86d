//! The bodies of events, streams, tokens and aggregations over HTTP.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use streamgate::domain::path::{CompanyName, Path};
use streamgate::domain::stream::Target;
use streamgate::protocol::names::Names;
use streamgate::protocol::rest::aggregate::AggregateJson;
use streamgate::protocol::rest::tokens::older;
use streamgate::protocol::{events, json, streams};
use streamgate_fuzz::LIMITS;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = json::text(bytes) else {
        return;
    };
    let target = Target::Path(Path::parse("/acme/door").expect("a path"));
    for (target, names) in [(None, Names::Octave), (Some(&target), Names::Flowthings)] {
        let Ok(drafts) = events::parse(text, target, &LIMITS, names) else {
            continue;
        };
        assert!(!drafts.drafts.is_empty() && drafts.drafts.len() <= LIMITS.max_batch_events);
        for (_, draft) in &drafts.drafts {
            // What is taken is one JSON object on one line.
            let elems: Result<Box<RawValue>, _> = serde_json::from_str(draft.elems.as_str());
            assert!(elems.is_ok() && draft.elems.as_str().starts_with('{'));
            assert!(!draft.elems.as_str().contains(['\n', '\r']));
        }
    }
    if let Ok(wanted) = json::object::<AggregateJson>(text) {
        let _ = wanted.plan(LIMITS.max_filter_bytes);
    }
    // Who uses the older names may say more, and what they say means the same.
    let [ours, older_one] = [Names::Octave, Names::Flowthings].map(|names| streams::parse_new(text, &LIMITS, names));
    if let (Ok(ours), Ok(older_one)) = (&ours, &older_one) {
        assert_eq!(ours.path, older_one.path);
    }
    assert!(ours.is_err() || older_one.is_ok());
    let company = CompanyName::parse("acme").expect("a name");
    if let Ok(token) = older::parse(text, &company, LIMITS.max_patterns, 0) {
        assert!(token.scope.to_json().len() <= LIMITS.max_patterns);
    }
});
