//! `Idempotency-Key`: whoever is not sure whether a request was taken sends it again, and it is
//! done once and answered the same.

use crate::stage::{Answer, DEADLINE, Stage};
use serde_json::Value;
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

const EVENT: &str = "/v5.0/acme/event";
const ONE: &str = r#"{"elems":{"n":1}}"#;

async fn stage_with_a_door(flags: &[&str]) -> (Stage, String) {
    let stage = Stage::with(flags).await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 1_000).await;
    (stage, format!("{EVENT}/{id}"))
}

async fn post(stage: &Stage, address: &str, key: &str, body: &str) -> Answer {
    stage.post_with(address, &[("Idempotency-Key", key)], body).await
}

async fn taken(stage: &Stage, address: &str, key: &str, body: &str) -> String {
    let answer = post(stage, address, key, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.text
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &*answer.code()), (status, code), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_gets_the_same_answer_byte_for_byte() {
    for flags in [&[][..], &["--max-log-bytes", "8"]] {
        let (mut stage, door) = stage_with_a_door(flags).await;
        stage.add_stream(&stage.alice, "/acme/other", 1_000).await;
        stage.add_stream(&stage.alice, "/acme/relay", 0).await;
        let batch = r#"[{"elems":{"n":2},"hash":"h"},{"elems":{"n":3}}]"#;
        let mixed = r#"[{"path":"/acme/other","elems":{}},{"path":"/acme/door","elems":{"n":4}},
            {"path":"/acme/relay","elems":{"z":1.0}},{"path":"/acme/other","elems":{}}]"#;
        let requests = [("one", &*door, ONE), ("batch", &*door, batch), ("mixed", EVENT, mixed)];
        let mut answers = Vec::new();
        for (key, address, body) in requests {
            answers.push(taken(&stage, address, key, body).await);
        }
        for _ in 0..3 {
            for ((key, address, body), answer) in requests.iter().zip(&answers) {
                assert_eq!(&taken(&stage, address, key, body).await, answer);
            }
            assert_eq!(stage.find_numbers(&format!("{door}?order=asc")).await, [1, 2, 3, 4]);
            stage.restart().await;
        }
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_request_or_another_person_is_another() {
    let (stage, door) = stage_with_a_door(&[]).await;
    let bob = stage.add_user("acme", "bob").await;
    let first = taken(&stage, &door, "k", ONE).await;
    for (address, body) in [
        (&*door, r#"{"elems":{"n":2}}"#),
        (&*door, r#"[{"elems":{"n":1}}]"#),
        (EVENT, r#"{"path":"/acme/door","elems":{"n":1}}"#),
    ] {
        refused(&post(&stage, address, "k", body).await, 409, "key.reused");
    }
    let as_bob = [
        ("X-Auth-User", "bob"),
        ("X-Auth-Token", &*bob.token),
        ("Idempotency-Key", "k"),
    ];
    let bobs = stage.request_with("POST", &door, &as_bob, ONE).await;
    assert_eq!(bobs.status, 201, "{bobs:?}");
    assert_ne!(bobs.text, first);
    assert_ne!(taken(&stage, &door, "K", ONE).await, first);
    assert_eq!(taken(&stage, &door, "k", ONE).await, first);
    assert_eq!(stage.find_numbers(&door).await, [1, 1, 1]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_taken_and_the_others_are_answered_alike_or_told_to_wait() {
    let (stage, door) = stage_with_a_door(&[]).await;
    for round in 0..10 {
        let key = round.to_string();
        let posts = (0..16).map(|_| post(&stage, &door, &key, ONE));
        let answers = futures_util::future::join_all(posts).await;
        let taken: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert!(taken.iter().all(|answer| answer.text == taken[0].text), "{taken:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            refused(answer, 409, "key.busy");
            assert_eq!(answer.headers["retry-after"], "1");
        }
        assert!(!taken.is_empty());
    }
    assert_eq!(stage.find_numbers(&door).await, [1; 10]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_its_time_is_over_a_key_is_new() {
    let (stage, door) = stage_with_a_door(&["--key-window", "200ms"]).await;
    let first = taken(&stage, &door, "k", ONE).await;
    let tries = AtomicU64::new(0);
    stage
        .until("the key is forgotten", || async {
            tries.fetch_add(1, Ordering::Relaxed);
            taken(&stage, &door, "k", ONE).await != first
        })
        .await;
    assert!(tries.into_inner() >= 1);
    assert_eq!(stage.find_numbers(&door).await, [1, 1]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_table_refuses_new_keys_and_knows_the_old() {
    let (stage, door) = stage_with_a_door(&["--max-key-bytes", "1"]).await;
    let first = taken(&stage, &door, "k", ONE).await;
    assert!(stage.metric("log_key_bytes").await > 0);
    let answer = post(&stage, &door, "l", ONE).await;
    refused(&answer, 429, "limit.keys");
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(taken(&stage, &door, "k", ONE).await, first);
    stage.post_with(&door, &[], r#"{"elems":{"n":2}}"#).await;
    assert_eq!(stage.find_numbers(&door).await, [2, 1]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_may_be_tried_again_with_its_key() {
    let (stage, door) = stage_with_a_door(&[]).await;
    for (offset, status) in [("7", 412), ("0", 201), ("7", 201)] {
        let headers = [("Idempotency-Key", "k"), ("If-Offset-Match", offset)];
        let answer = stage.post_with(&door, &headers, ONE).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let hashed = r#"{"elems":{"n":2},"hash":"h"}"#;
    stage.post_with(&door, &[], hashed).await;
    refused(&post(&stage, &door, "hashed", hashed).await, 409, "event.repeated");
    assert_eq!(stage.request("DELETE", &door, Some(&stage.alice), "").await.status, 200);
    let answer = taken(&stage, &door, "hashed", hashed).await;
    assert_eq!(taken(&stage, &door, "hashed", hashed).await, answer);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_answered_whatever_became_of_the_stream_since() {
    let (stage, door) = stage_with_a_door(&[]).await;
    let first = taken(&stage, &door, "k", ONE).await;
    let stream = door.replace("/event/", "/stream/");
    let filter = r#"{"filter":"n > 1"}"#;
    let changed = stage.request("PUT", &stream, Some(&stage.alice), filter).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    refused(&post(&stage, &door, "other", ONE).await, 422, "event.filtered");
    assert_eq!(stage.request("DELETE", &door, Some(&stage.alice), "").await.status, 200);
    assert_eq!(taken(&stage, &door, "k", ONE).await, first);
    assert_eq!(stage.get(&door).await, Value::Array(Vec::new()));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_a_form() {
    let (stage, door) = stage_with_a_door(&[]).await;
    let (most, more) = ("k".repeat(255), "k".repeat(256));
    for bad in ["", &*more, "\u{fc}", "a\tb"] {
        refused(&post(&stage, &door, bad, ONE).await, 400, "key.malformed");
    }
    for good in [&*most, "a b", "~"] {
        taken(&stage, &door, good, ONE).await;
    }
    stage.end().await;
}

/// A server of its own on the stage's file, which is killed without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_gets_the_same_answer_though_the_server_was_killed() {
    let (mut stage, door) = stage_with_a_door(&[]).await;
    stage.stop().await;
    let log = stage.folder().join("log");
    let url = format!("sqlite:{}/test.db", stage.folder().display());
    let mut child = Command::new(env!("CARGO_BIN_EXE_streamgate"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--workers",
            "1",
            "--database-url",
            &url,
        ])
        .current_dir(stage.folder())
        .stdout(Stdio::null())
        .stderr(File::create(&log).expect("a file"))
        .spawn()
        .expect("a server");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let address = || {
        let said = said();
        let rest = said.split_once("listening on http://")?.1;
        let end = rest.find([' ', '\n', '"'])?;
        rest[..end].parse().ok()
    };
    let deadline = std::time::Instant::now() + DEADLINE;
    while address().is_none() && std::time::Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    let Some(there) = address() else {
        let _ = child.kill();
        panic!("it does not start: {}", said());
    };
    stage.address = there;
    let first = taken(&stage, &door, "k", ONE).await;
    child.kill().expect("a server that runs");
    child.wait().expect("its end");
    stage.restart_stopped().await;
    assert_eq!(taken(&stage, &door, "k", ONE).await, first);
    assert_eq!(stage.find_numbers(&door).await, [1]);
    stage.end().await;
}
