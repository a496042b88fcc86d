//! What comes on a session's socket, and the body of `POST /session`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::protocol::session::wire::{self, Opening};
use streamgate_fuzz::{LIMITS, assert_json};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let request = wire::parse(text, &LIMITS);
        // Whatever it was, it can be answered.
        match &request.ask {
            Ok(_) => assert_json(&wire::acknowledge(request.msg_id, "{}")),
            Err(refusal) => assert_json(&wire::refuse(request.msg_id, refusal)),
        }
    }
    if let Ok(opening) = Opening::parse(bytes) {
        // An id and a place at least for each: a short body does not say much.
        assert!(opening.positions().count() * 32 <= bytes.len());
    }
});
