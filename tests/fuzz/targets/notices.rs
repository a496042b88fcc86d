//! What comes on a socket of notices, and what becomes of somebody's meta by it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::domain::meta;
use streamgate::protocol::frame;
use streamgate::protocol::notices::wire::{self, Ask, Wish};
use streamgate_fuzz::{LIMITS, assert_json_frame};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match wire::parse(text) {
        Ask::Echo(echo) | Ask::Broadcast(echo) => assert_json_frame(&frame::text(&echo)),
        Ask::Meta(ask) => {
            assert_json_frame(&wire::failed(wire::META, &ask.username));
            keep(ask.wish);
        }
        Ask::Nothing => {}
    }
});

/// What is set is shown, and the whole is a document still.
fn keep(wish: Wish) {
    let old = r#"{"a":{"b":[1,{"c":null}]},"d":2.50}"#;
    let Wish::Set(part, value) = wish else {
        return;
    };
    if let Ok(new) = meta::set(old, &part, &value, &LIMITS) {
        assert_json_frame(&wire::meta(Some(&new)));
        assert_eq!(meta::show(&new, &part).as_deref(), Some(&*value), "{part}");
    }
}
