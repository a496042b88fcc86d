//! Requests of the short way, one after the other on one connection.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::protocol::lane::wire::{self, Errand, Parsed};

/// The longest body.
const MOST: usize = 256;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    loop {
        let mut fields = wire::FIELDS;
        let Parsed::Whole(request) = wire::parse(rest, &mut fields, MOST) else {
            return;
        };
        let (length, body) = (request.length, request.body);
        assert!(body.len() <= MOST && length <= rest.len());
        assert!(rest[..length].ends_with(body), "a request ends where its body does");
        assert!(request.errand.route().starts_with('/'));
        if let Errand::Publish { company, stream, .. } = request.errand {
            assert!(!company.contains(['/', '%']) && stream.is_none_or(|stream| !stream.contains(['/', '%'])));
        }
        // What has not come yet changes nothing: a part of it waits, and is never taken for another.
        for some in [length - 1, length / 2] {
            let mut fields = wire::FIELDS;
            let part = wire::parse(&rest[..some], &mut fields, MOST);
            assert!(matches!(part, Parsed::Part), "{some} of {length} bytes");
        }
        rest = &rest[length..];
    }
});
