//! What comes on a socket of channels, and the bodies of RootSocket's requests.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::domain::path::CompanyName;
use streamgate::protocol::channels::channel::Channel;
use streamgate::protocol::channels::wire::{self, Ask};
use streamgate_fuzz::{LIMITS, assert_json_frame};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match wire::parse(text, &LIMITS) {
        Ok(Ask::Ping | Ask::Nothing) => {}
        Ok(Ask::Join { channel, .. } | Ask::Leave(channel)) => check(channel.as_str()),
        Ok(Ask::Send { channel, elems }) => {
            check(channel.as_str());
            assert!(
                elems.value().is_some_and(|value| value["raw"].is_string()),
                "a text is what is sent"
            );
        }
        Err(complaint) => assert_json_frame(&complaint.render()),
    }
});

/// No reserved word is a channel, and each is a stream's path.
fn check(channel: &str) {
    let channel = Channel::parse(channel).expect("it was one before");
    assert!(!["ping", "pong", "error", "disconnect"].contains(&channel.as_str()));
    let company = CompanyName::parse("acme").expect("a name");
    let path = channel.path(&company).expect("a path");
    assert!(path.as_str().starts_with("/acme/"));
}
