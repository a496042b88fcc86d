//! Publishing on a condition: `If-Offset-Match` says where the stream must be.
//!
//! Invariant under test: of those who expect the same place exactly one writes.

use crate::stage::{Answer, Stage};

const EVENT: &str = "/v5.0/acme/event";

async fn stage_with_a_door(ack: &str) -> (Stage, String) {
    let stage = Stage::start().await;
    let body = format!(r#"{{"path":"/acme/door","ack":"{ack}"}}"#);
    let answer = stage
        .request("POST", "/v5.0/acme/stream", Some(&stage.alice), &body)
        .await;
    let id = answer.json()["body"]["id"].as_str().expect("an id").to_owned();
    (stage, format!("{EVENT}/{id}"))
}

async fn post(stage: &Stage, address: &str, expected: u64, n: u64) -> Answer {
    let body = format!(r#"{{"elems":{{"n":{n}}}}}"#);
    let expected = expected.to_string();
    stage.post_with(address, &[("If-Offset-Match", &expected)], &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_expects_the_right_place_writes_and_others_are_told_where_it_is() {
    for ack in ["durable", "written", "accepted"] {
        let (mut stage, door) = stage_with_a_door(ack).await;
        let miss = post(&stage, &door, 1, 0).await;
        assert_eq!((miss.status, &*miss.code()), (412, "offset.mismatch"));
        let hit = post(&stage, &door, 0, 1).await;
        assert_eq!((hit.status, &hit.json()["body"]["offset"]), (201, &1.into()), "{hit:?}");
        for expected in [0, 2, u64::MAX] {
            let miss = post(&stage, &door, expected, 9).await;
            assert_eq!((miss.status, &*miss.code()), (412, "offset.mismatch"));
            let text = format!("the stream is at offset 1, not {expected}");
            assert_eq!(miss.json()["head"]["errors"][0], text);
        }
        stage.restart().await;
        assert_eq!(post(&stage, &door, 0, 9).await.status, 412);
        assert_eq!(post(&stage, &door, 1, 2).await.status, 201);
        assert_eq!(stage.find_numbers(&door).await, [2, 1]);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_expects_one_place_of_one_stream() {
    let (stage, door) = stage_with_a_door("durable").await;
    stage.add_stream(&stage.alice, "/acme/other", 10).await;
    let batch = r#"[{"elems":{"n":1}},{"elems":{"n":2}},{"elems":{"n":3}}]"#;
    for (expected, status) in [("1", 412), ("0", 201), ("0", 412), ("3", 201)] {
        let answer = stage.post_with(&door, &[("If-Offset-Match", expected)], batch).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let both = r#"[{"path":"/acme/door","elems":{}},{"path":"/acme/other","elems":{}}]"#;
    let answer = stage.post_with(EVENT, &[("If-Offset-Match", "6")], both).await;
    assert_eq!((answer.status, &*answer.code()), (400, "event.malformed"));
    for bad in ["", "x", "-1", "1.5", "\"6\""] {
        let answer = stage.post_with(&door, &[("If-Offset-Match", bad)], batch).await;
        assert_eq!((answer.status, &*answer.code()), (400, "query.malformed"), "{bad}");
    }
    assert_eq!(stage.find_numbers(&door).await, [3, 2, 1, 3, 2, 1]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_exactly_one_writes() {
    const MANY: u64 = 16;
    for ack in ["durable", "accepted"] {
        let (stage, door) = stage_with_a_door(ack).await;
        for round in 0..10 {
            let writes = (0..MANY).map(|n| post(&stage, &door, round, n));
            let answers = futures_util::future::join_all(writes).await;
            let written: Vec<u64> = (0..MANY).filter(|n| answers[*n as usize].status == 201).collect();
            assert_eq!(written.len(), 1, "{ack}: {answers:?}");
            assert!(
                answers.iter().all(|answer| matches!(answer.status, 201 | 412)),
                "{answers:?}"
            );
            assert_eq!(stage.find_numbers(&format!("{door}?limit=1")).await, written);
        }
        assert_eq!(stage.find_numbers(&door).await.len(), 10);
        stage.end().await;
    }
}

/// Everybody reads where the stream is and writes the next number: none is lost, none comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_many_raise_counts_all_of_them() {
    const EACH: u64 = 8;
    let (stage, door) = stage_with_a_door("durable").await;
    let raise = || async {
        let mut done = 0;
        while done < EACH {
            let newest = stage.get(&format!("{door}?limit=1&only=offset,elems.n")).await;
            let offset = newest[0]["offset"].as_u64().unwrap_or(0);
            let n = newest[0]["elems"]["n"].as_u64().unwrap_or(0);
            done += u64::from(post(&stage, &door, offset, n + 1).await.status == 201);
        }
    };
    futures_util::future::join_all((0..4).map(|_| raise())).await;
    let numbers: Vec<u64> = (1..=4 * EACH).collect();
    assert_eq!(
        stage.find_numbers(&format!("{door}?order=asc&limit=100")).await,
        numbers
    );
    stage.end().await;
}
