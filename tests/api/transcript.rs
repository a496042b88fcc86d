//! Plays the files of `transcripts/`: the protocol as a conversation, byte for byte.
//!
//! `# …` a comment, `> …` a frame sent, `< …` the next frame received, `POST path body` an HTTP
//! request by alice, `= 201 …` its status and body, `close` our goodbye, `settle {…}` a change of acme's
//! settings. `open NAME PATH` opens another socket, `open NAME PATH Header: value` with a header; `NAME> …`
//! and `NAME< …` are its frames. In what is sent and expected `$key` is alice's token, and in a path to be
//! opened `$ticket` a new connection token of hers; there is a user george, too. In what is sent and expected `$door`, `$other` and `$foreign` are stream ids (`/acme/door`, `/acme/other`, and
//! `/umbrella/door` of another company). In what is expected `$e`, `$s` and `$i` stand for any
//! event, stream or identity id, `$n` for any number, `$t` for any epoch, `$h` for 32 hexadecimal
//! digits and `$j` for a JWT.

use crate::stage::{Answer, Socket, Stage};
use std::collections::HashMap;
use std::path::PathBuf;

/// Plays every transcript of a protocol, each on a stage of its own.
pub async fn play_all(protocol: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/api/transcripts")
        .join(protocol);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("a folder of transcripts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a transcript");
        let name = file.file_name().expect("a name").to_string_lossy();
        play(&name, &text).await;
    }
}

/// A request of alice's, who says who she is as the address wants it.
async fn request(stage: &Stage, method: &str, path: &str, body: &str) -> Answer {
    match path.starts_with("/api/v1/") {
        true => stage.ask_with_key(method, path, &stage.alice.token, body).await,
        false => stage.request(method, path, Some(&stage.alice), body).await,
    }
}

async fn play(name: &str, text: &str) {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let stranger = stage.add_user("umbrella", "albert").await;
    stage.add_plain_user("george").await;
    let known = [
        ("$key", stage.alice.token.clone()),
        ("$door", stage.add_stream(&stage.alice, "/acme/door", 1_000).await),
        ("$other", stage.add_stream(&stage.alice, "/acme/other", 0).await),
        ("$foreign", stage.add_stream(&stranger, "/umbrella/door", 1_000).await),
    ];
    let fill = |line: &str| {
        known
            .iter()
            .fold(line.to_owned(), |line, (name, id)| line.replace(name, id))
    };
    let mut socket = stage.socket(&stage.alice).await;
    let mut others = HashMap::new();
    let mut answer = None;
    let mut steps = 0;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        match line.split_once(' ').unwrap_or((line, "")) {
            ("" | "#", _) => continue,
            (">", frame) => socket.send(&fill(frame)).await,
            ("<", expected) => check(&place, &fill(expected), &socket.text().await),
            (method @ ("GET" | "POST" | "PUT" | "DELETE" | "MGET"), rest) => {
                let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
                answer = Some(request(&stage, method, &fill(path), &fill(body)).await);
            }
            ("=", expected) => {
                let answer = answer.take().unwrap_or_else(|| panic!("{place}: no request before"));
                check(&place, &fill(expected), &format!("{} {}", answer.status, answer.text));
            }
            ("settle", settings) => stage.settle(settings.parse().expect("JSON")).await,
            ("open", rest) => {
                let (socket, rest) = rest.split_once(' ').expect("a name and a path");
                others.insert(socket, open(&stage, &fill(rest)).await);
            }
            (other, frame) if others.contains_key(other.trim_end_matches(['<', '>'])) => {
                let socket = others.get_mut(other.trim_end_matches(['<', '>'])).expect("a socket");
                match other.ends_with('>') {
                    true => socket.send(&fill(frame)).await,
                    false => check(&place, &fill(frame), &socket.text().await),
                }
            }
            ("close", _) => socket.socket.close(None).await.expect("a goodbye"),
            _ => panic!("{place}: not a step: {line}"),
        }
        steps += 1;
    }
    assert!(steps > 0, "{name} is empty");
    assert!(answer.is_none(), "{name}: an answer was not looked at");
    drop((socket, others));
    stage.end().await;
}

/// Opens a socket at a path, maybe with a header behind it.
async fn open(stage: &Stage, line: &str) -> Socket {
    let (path, header) = line.split_once(' ').unwrap_or((line, ""));
    let header = header.split_once(": ");
    let path = match path.contains("$ticket") {
        true => path.replace("$ticket", &stage.connection_token(&stage.alice.token).await),
        false => path.to_owned(),
    };
    let url = format!("ws://{}{path}", stage.address);
    let opened = stage.try_open(&url, header.as_slice()).await;
    opened.unwrap_or_else(|refusal| panic!("{path}: {refusal:?}"))
}

fn check(place: &str, expected: &str, got: &str) {
    assert!(matches(expected, got), "{place}\nexpected {expected}\n     got {got}");
}

/// Whether `got` is `expected`, with the wildcards.
fn matches(mut expected: &str, mut got: &str) -> bool {
    while let Some(at) = expected.find('$') {
        let Some(rest) = got.strip_prefix(&expected[..at]) else {
            return false;
        };
        // Where there is one, it stands for itself: selectors begin so.
        if let Some(rest) = rest.strip_prefix('$') {
            (expected, got) = (&expected[at + 1..], rest);
            continue;
        }
        let kind = expected[at + 1..].chars().next().unwrap_or(' ');
        let run = |rest: &str, is: fn(u8) -> bool| rest.bytes().take_while(|byte| is(*byte)).count();
        let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_jwt = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_base32 = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z');
        let (length, is_right) = match kind {
            'n' => (run(rest, |byte| byte.is_ascii_digit()), 1..=20),
            't' => (run(rest, is_base32), 8..=8),
            'h' => (run(rest, is_hex), 32..=32),
            'j' => (run(rest, is_jwt), 100..=2_048),
            letter if rest.starts_with(letter) => (1 + run(&rest[1..], is_hex), 25..=25),
            _ => return false,
        };
        if !is_right.contains(&length) {
            return false;
        }
        (expected, got) = (&expected[at + 2..], &rest[length..]);
    }
    expected == got
}

#[test]
fn wildcards_take_what_they_stand_for_and_nothing_else() {
    let id = "e53b1d1600cf27b75148de0ac";
    assert!(matches(r#"{"id":"$e","n":$n}"#, &format!(r#"{{"id":"{id}","n":42}}"#)));
    assert!(!matches(r#"{"id":"$s"}"#, &format!(r#"{{"id":"{id}"}}"#)));
    assert!(matches(r#"{"epoch":"$t"}"#, r#"{"epoch":"k3x9z0a1"}"#));
    assert!(!matches(r#"{"epoch":"$t"}"#, r#"{"epoch":"k3x9z0a"}"#));
    assert!(matches(r#"{"$sum:t":$n}"#, r#"{"$sum:t":3}"#));
    assert!(!matches("$n", "x"));
    assert!(!matches("$n", ""));
    assert!(!matches("$n,", "4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_protocol_reads_as_its_transcripts() {
    play_all("session").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_channels_protocol_reads_as_its_transcripts() {
    play_all("channels").await;
}
