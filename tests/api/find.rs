//! Finding, showing and deleting events over HTTP, wherever they are: in memory, in the journal
//! that a restart reads, in chunks.
//!
//! Shapes and single refusals are in `transcripts/rest`.

use crate::stage::{Account, Stage};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

const DOOR: &str = "/acme/door";
const EVENT: &str = "/v5.0/acme/event";
/// Memory for nothing: whatever is settled is read from chunks.
const NO_MEMORY: &[&str] = &["--max-log-bytes", "8"];
const NO_CURSORS: [u64; 0] = [];

/// A stage with a stream of so many events, `n` from 0 on.
async fn stage_of(flags: &[&str], count: u64) -> (Stage, String) {
    let stage = Stage::with(flags).await;
    let door = stage.add_stream(&stage.alice, DOOR, 100_000).await;
    stage.publish_numbers(&door, 0..count).await;
    if flags == NO_MEMORY {
        stage.until_metric("log_events", 0).await;
    }
    (stage, format!("{EVENT}/{door}"))
}

/// Every way to page through 0 to 299 gives all of them, in order.
async fn page_through(stage: &Stage, door: &str) {
    let all: Vec<u64> = (0..300).collect();
    for (order, limit) in [
        ("asc", 1_000),
        ("asc", 70),
        ("desc", 1_000),
        ("desc", 70),
        ("desc", 299),
    ] {
        let mut found = Vec::new();
        while found.len() < all.len() {
            let query = format!("{door}?order={order}&start={}&limit={limit}", found.len());
            let page = stage.find_numbers(&query).await;
            assert_eq!(page.len(), limit.min(all.len() - found.len()), "{query}");
            found.extend(page);
        }
        if order == "desc" {
            found.reverse();
        }
        assert_eq!(found, all, "{order} {limit}");
    }
    let newest: Vec<u64> = (280..300).rev().collect();
    assert_eq!(stage.find_numbers(door).await, newest);
    assert_eq!(stage.find_numbers(&format!("{EVENT}?path={DOOR}")).await, newest);
    assert_eq!(stage.find_numbers(&format!("{door}?skip=298")).await, [1, 0]);
    assert_eq!(stage.find_numbers(&format!("{door}?start=300")).await, NO_CURSORS);
    assert_eq!(stage.find_numbers(&format!("{door}?limit=0")).await, NO_CURSORS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_have_every_event_once_in_memory_and_after_a_restart() {
    let (mut stage, door) = stage_of(&[], 300).await;
    page_through(&stage, &door).await;
    stage.restart().await;
    page_through(&stage, &door).await;
    assert_eq!(stage.metric("log_chunks_read_total").await, 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_have_every_event_once_in_chunks_and_after_a_restart() {
    let (mut stage, door) = stage_of(NO_MEMORY, 300).await;
    page_through(&stage, &door).await;
    stage.restart().await;
    page_through(&stage, &door).await;
    assert!(stage.metric("log_events_read_total").await > 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_go_over_from_memory_to_chunks() {
    let (stage, door) = stage_of(&["--max-log-bytes", "49152"], 300).await;
    let in_memory = || async { stage.metric("log_events").await };
    stage
        .until("a part is dropped", || async { in_memory().await < 200 })
        .await;
    assert!(in_memory().await > 0);
    page_through(&stage, &door).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_of_many_are_found_without_reading_others() {
    let (stage, door) = stage_of(NO_MEMORY, 5_000).await;
    for (query, read) in [("limit=20", 20), ("limit=1&order=desc", 1), ("start=30&limit=10", 40)] {
        let before = stage.metric("log_events_read_total").await;
        let found = stage.find_numbers(&format!("{door}?{query}")).await;
        let newest = 5_000 - read;
        assert_eq!(found.last(), Some(&newest), "{query}");
        assert_eq!(stage.metric("log_events_read_total").await - before, read, "{query}");
    }
    stage.end().await;
}

/// The statements as they stand in the source, asked how SQLite would run them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_looked_for_by_the_index_of_their_places() {
    let (mut stage, _) = stage_of(NO_MEMORY, 5_000).await;
    stage.stop().await;
    let url = format!("sqlite:{}/test.db", stage.folder().display());
    let mut file = SqliteConnection::connect(&url).await.expect("a database");
    let source = include_str!("../../src/log/chunks.rs");
    let statements: Vec<&str> = source.split('"').filter(|text| text.starts_with("select ")).collect();
    assert_eq!(statements.len(), 4, "{statements:#?}");
    for statement in statements {
        let explain = AssertSqlSafe(format!("explain query plan {statement}"));
        let plan = sqlx::query(explain).fetch_all(&mut file).await.expect("a plan");
        let plan: Vec<String> = plan.iter().map(|row| row.get::<String, _>("detail")).collect();
        let steps: Vec<&String> = plan.iter().filter(|step| step.contains("chunk")).collect();
        assert!(!steps.is_empty(), "{statement}: {plan:#?}");
        for step in steps {
            let good = step.starts_with("SEARCH chunk USING")
                && (step.contains("chunk_place") || step.contains("INTEGER PRIMARY KEY"));
            assert!(good, "{statement}: {plan:#?}");
        }
        assert!(
            plan.iter().all(|step| !step.contains("B-TREE")),
            "{statement}: {plan:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_event_is_gone_and_its_place_stays_empty() {
    for flags in [&[][..], NO_MEMORY] {
        let (mut stage, door) = stage_of(flags, 40).await;
        let ids = stage.get(&format!("{door}?order=asc&limit=40&only=id,offset")).await;
        let gone = [0, 7, 8, 20, 39];
        for n in gone {
            assert_eq!(ids[n]["offset"], n + 1);
            let address = format!("{door}/{}", ids[n]["id"].as_str().expect("an id"));
            let delete = || stage.request("DELETE", &address, Some(&stage.alice), "");
            assert_eq!(delete().await.status, 200);
            let again = delete().await;
            assert_eq!((again.status, &*again.code()), (404, "event.unknown"));
            let shown = stage.request("GET", &address, Some(&stage.alice), "").await;
            assert_eq!((shown.status, &*shown.code()), (404, "event.unknown"));
        }
        let left: Vec<u64> = (0..40).filter(|n| !gone.contains(&(*n as usize))).collect();
        for starts in 0..2 {
            let found = stage.find_numbers(&format!("{door}?order=asc&limit=40")).await;
            assert_eq!(found, left, "after {starts} restarts with {flags:?}");
            let newest: Vec<u64> = left.iter().rev().take(20).copied().collect();
            assert_eq!(stage.find_numbers(&door).await, newest);
            let beside = format!("{door}/{}", ids[9]["id"].as_str().expect("an id"));
            assert_eq!(stage.get(&beside).await["elems"], json!({"n": 9}));
            stage.restart().await;
        }
        // Its place is not given again.
        let answer = stage
            .post_with(&door, &[("If-Offset-Match", "40")], r#"{"elems":{"n":40}}"#)
            .await;
        assert_eq!(answer.json()["body"]["offset"], 41, "{answer:?}");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_events_of_a_stream_are_deleted_at_once() {
    for flags in [&[][..], NO_MEMORY] {
        let (mut stage, door) = stage_of(flags, 40).await;
        let by_path = format!("{EVENT}?path={DOOR}");
        for address in [&door, &by_path] {
            let answer = stage.request("DELETE", address, Some(&stage.alice), "").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(stage.get(&door).await, json!([]));
        }
        stage.restart().await;
        assert_eq!(stage.get(&door).await, json!([]));
        let answer = stage
            .post_with(&door, &[("If-Offset-Match", "40")], r#"{"elems":{"n":7}}"#)
            .await;
        assert_eq!(answer.json()["body"]["offset"], 41, "{answer:?}");
        assert_eq!(stage.find_numbers(&door).await, [7]);
        stage.end().await;
    }
}

/// SQLite gives the number of the newest row again once that is deleted, unless told otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_of_a_stream_is_never_shown_for_another() {
    let (stage, door) = stage_of(NO_MEMORY, 40).await;
    let forward = "order=asc&limit=100";
    for round in 0..5 {
        assert_eq!(stage.find_numbers(&format!("{door}?{forward}")).await.len(), 40);
        assert_eq!(stage.request("DELETE", &door, Some(&stage.alice), "").await.status, 200);
        let path = format!("/acme/other/{round}");
        let other = stage.add_stream(&stage.alice, &path, 1_000).await;
        stage.publish_numbers(&other, 100..120).await;
        stage.until_metric("log_events", 0).await;
        let found = stage.find_numbers(&format!("{EVENT}?path={path}&{forward}")).await;
        assert_eq!(found, (100..120).collect::<Vec<u64>>());
        stage
            .publish_numbers(door.rsplit('/').next().expect("an id"), 0..40)
            .await;
        stage.until_metric("log_events", 0).await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_and_orders_go_together() {
    for flags in [&[][..], NO_MEMORY] {
        let stage = Stage::with(flags).await;
        let door = stage.add_stream(&stage.alice, DOOR, 1_000).await;
        let door = format!("{EVENT}/{door}");
        // n 0 to 4 by t: missing, true, 2, 10, "x".
        for (n, t) in ["null", "true", "2", "10", "\"x\""].iter().enumerate() {
            let elems = match n {
                0 => "{\"n\":0}".to_owned(),
                _ => format!(r#"{{"n":{n},"t":{t}}}"#),
            };
            let body = format!(r#"{{"elems":{elems},"hash":"h{}"}}"#, 9 - n);
            stage.post_with(&door, &[], &body).await;
        }
        for (query, found) in [
            ("filter=elems.t+%3E+1", &[3, 2][..]),
            ("filter=EXISTS+t&order=asc", &[1, 2, 3, 4]),
            ("filter=t+%3D%3D+'x'", &[4]),
            ("filter=n+%3E+7", &[]),
            ("filter=n+%3E+0&start=1&limit=2", &[3, 2]),
            ("sort=elems.t&order=asc", &[0, 1, 2, 3, 4]),
            ("sort=t", &[4, 3, 2, 1, 0]),
            ("sort=t&start=1&limit=2", &[3, 2]),
            ("sort=hash&order=asc", &[4, 3, 2, 1, 0]),
            ("sort=hash&filter=EXISTS+t&limit=2", &[1, 2]),
            ("sort=creationDate&order=asc", &[0, 1, 2, 3, 4]),
            ("sort=generatedDate", &[4, 3, 2, 1, 0]),
            ("sort=offset&order=asc&limit=1", &[0]),
            ("colour=red&order=asc&limit=1", &[0]),
        ] {
            assert_eq!(stage.find_numbers(&format!("{door}?{query}")).await, found, "{query}");
        }
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_wanted_is_shown_and_as_it_was_published() {
    let stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, DOOR, 1_000).await;
    let address = format!("{EVENT}/{door}");
    let body = r#"{"elems":{"z":1.10,"a":{"c":1E5,"b":12345678901234567890}},"hash":"h"}"#;
    let made = stage.post_with(&address, &[], body).await.json()["body"].clone();
    let id = made["id"].as_str().expect("an id");
    for (only, shown) in [
        ("elems.a.c,elems.z", r#"{"elems":{"z":1.10,"a":{"c":1E5}}}"#.to_owned()),
        ("a.b", r#"{"elems":{"a":{"b":12345678901234567890}}}"#.to_owned()),
        ("hash,offset,id", format!(r#"{{"id":"{id}","hash":"h","offset":1}}"#)),
        (
            "version,tags,location",
            r#"{"location":null,"tags":{},"version":0}"#.to_owned(),
        ),
        ("streamId,path", format!(r#"{{"streamId":"{door}","path":"{DOOR}"}}"#)),
        ("nothing", r#"{"elems":{}}"#.to_owned()),
    ] {
        for (address, body) in [
            (format!("{address}?only={only}"), format!("[{shown}]")),
            (format!("{address}/{id}?only={only}"), shown),
        ] {
            let answer = stage.request("GET", &address, Some(&stage.alice), "").await;
            assert!(
                answer.text.ends_with(&format!("\"body\":{body}}}")),
                "{only}: {answer:?}"
            );
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_is_what_was_pushed() {
    let stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, DOOR, 1_000).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe(DOOR).await;
    stage.publish(&stage.alice, DOOR, r#"{"b":1.0,"a":[]}"#).await;
    let pushed = socket.text().await;
    let value = pushed.split_once("\"value\":").expect("a value").1;
    let event = value.strip_suffix('}').expect("a frame");
    let answer = stage
        .request("GET", &format!("{EVENT}/{door}"), Some(&stage.alice), "")
        .await;
    assert!(answer.text.ends_with(&format!("\"body\":[{event}]}}")), "{answer:?}");
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn references_are_the_streams_of_what_is_found() {
    let (stage, door) = stage_of(&[], 3).await;
    let id = door.rsplit('/').next().expect("an id").to_owned();
    let stream = stage.get(&format!("/v5.0/acme/stream/{id}")).await;
    let event = stage.get(&door).await[0]["id"].as_str().expect("an id").to_owned();
    let references = |address: String| {
        let stage = &stage;
        async move {
            let answer = stage.request("GET", &address, Some(&stage.alice), "").await;
            answer.json()["head"]["references"].clone()
        }
    };
    let expected = json!({id: stream});
    assert_eq!(references(format!("{door}?refs=1")).await, expected);
    assert_eq!(references(format!("{door}?refs=true&limit=0")).await, expected);
    assert_eq!(references(format!("{door}/{event}?refs=1")).await, expected);
    assert_eq!(references(format!("{door}?refs=0")).await, json!({}));
    assert_eq!(references(door.clone()).await, json!({}));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finding_needs_the_right_to_read_and_deleting_the_right_to_manage() {
    let (stage, door) = stage_of(&[], 3).await;
    stage.add_company("umbrella").await;
    let stranger = stage.add_user("umbrella", "albert").await;
    let reader = stage
        .add_token(&[("/acme/door/**", "read"), (DOOR, "read")], None)
        .await;
    let writer = stage.add_token(&[(DOOR, "write")], None).await;
    let keeper = stage.add_token(&[(DOOR, "manage")], None).await;
    let event = stage.get(&door).await[0]["id"].as_str().expect("an id").to_owned();
    let one = format!("{door}/{event}");
    let status = |method: &'static str, address: String, account: Account| {
        let stage = &stage;
        async move { stage.request(method, &address, Some(&account), "").await.status }
    };
    // Who asks by an id is not told whether there is such a stream.
    for (address, denied) in [(&door, 404), (&format!("{EVENT}?path={DOOR}"), 403), (&one, 404)] {
        for (account, method, expected) in [
            (&reader, "GET", 200),
            (&reader, "DELETE", denied),
            (&writer, "GET", denied),
            (&writer, "DELETE", denied),
            (&keeper, "GET", denied),
        ] {
            let got = status(method, address.clone(), account.clone()).await;
            assert_eq!(got, expected, "{method} {address}");
        }
    }
    for (method, address) in [("GET", &door), ("DELETE", &door), ("GET", &one), ("DELETE", &one)] {
        let address = address.replace("/acme/", "/umbrella/");
        assert_eq!(status(method, address, stranger.clone()).await, 404);
    }
    assert_eq!(stage.find_numbers(&door).await, [2, 1, 0]);
    assert_eq!(status("DELETE", one, keeper.clone()).await, 200);
    assert_eq!(stage.find_numbers(&door).await, [1, 0]);
    assert_eq!(status("DELETE", door.clone(), keeper).await, 200);
    assert_eq!(stage.get(&door).await, Value::Array(Vec::new()));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_finds_no_more_than_the_limit() {
    let (stage, door) = stage_of(&["--max-find-events", "5"], 9).await;
    assert_eq!(stage.find_numbers(&door).await, [8, 7, 6, 5, 4]);
    assert_eq!(
        stage.find_numbers(&format!("{door}?limit=5&start=5")).await,
        [3, 2, 1, 0]
    );
    let answer = stage
        .request("GET", &format!("{door}?limit=6"), Some(&stage.alice), "")
        .await;
    assert_eq!((answer.status, &*answer.code()), (400, "limit.find"));
    stage.end().await;
}

/// Whoever repeats the query of a search as a deletion would lose more than they mean.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_all_events_of_a_stream_are_deleted_at_once() {
    let (stage, door) = stage_of(&[], 3).await;
    for query in ["filter=n%3E1", "limit=1", "start=1", "skip=1"] {
        let answer = stage
            .request("DELETE", &format!("{door}?{query}"), Some(&stage.alice), "")
            .await;
        assert_eq!((answer.status, &*answer.code()), (400, "query.malformed"), "{query}");
    }
    assert_eq!(stage.find_numbers(&door).await, [2, 1, 0]);
    stage.end().await;
}
