//! The publisher's own key of an event: a stream refuses a hash that it still keeps, wherever the
//! event with it is, and takes it again once that is gone.

use crate::stage::Stage;

const EVENT: &str = "/v5.0/acme/event";
/// Memory for nothing: whatever is settled is in chunks only.
const NO_MEMORY: &[&str] = &["--max-log-bytes", "8"];

async fn post(stage: &Stage, address: &str, hashes: &[&str]) -> (u16, String) {
    let events: Vec<String> = hashes
        .iter()
        .map(|hash| format!(r#"{{"elems":{{}},"hash":"{hash}"}}"#))
        .collect();
    let answer = stage.post_with(address, &[], &format!("[{}]", events.join(","))).await;
    let code = if answer.status == 201 {
        String::new()
    } else {
        answer.code()
    };
    (answer.status, code)
}

async fn assert_taken(stage: &Stage, address: &str, hashes: &[&str]) {
    assert_eq!(post(stage, address, hashes).await, (201, String::new()), "{hashes:?}");
}

async fn assert_repeated(stage: &Stage, address: &str, hashes: &[&str]) {
    let expected = (409, "event.repeated".to_owned());
    assert_eq!(post(stage, address, hashes).await, expected, "{hashes:?}");
}

/// The hashes of a stream, the oldest first.
async fn hashes(stage: &Stage, address: &str) -> Vec<String> {
    let events = stage.get(&format!("{address}?order=asc&limit=1000")).await;
    let events = events.as_array().expect("an array").iter();
    events
        .map(|event| event["hash"].as_str().unwrap_or("-").to_owned())
        .collect()
}

async fn stage_with_a_door(flags: &[&str], capacity: u64) -> (Stage, String) {
    let stage = Stage::with(flags).await;
    let id = stage.add_stream(&stage.alice, "/acme/door", capacity).await;
    (stage, format!("{EVENT}/{id}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_takes_a_hash_once() {
    for flags in [&[][..], NO_MEMORY] {
        let (mut stage, door) = stage_with_a_door(flags, 1_000).await;
        assert_repeated(&stage, &door, &["a", "b", "a"]).await;
        assert_taken(&stage, &door, &["a", "b"]).await;
        for _ in 0..2 {
            assert_repeated(&stage, &door, &["a"]).await;
            assert_repeated(&stage, &door, &["c", "b"]).await;
            assert_eq!(hashes(&stage, &door).await, ["a", "b"]);
            if flags == NO_MEMORY {
                stage.until_metric("log_events", 0).await;
                assert_repeated(&stage, &door, &["b"]).await;
            }
            stage.restart().await;
        }
        // Of what was refused as a whole nothing is remembered; letters of another case are others.
        assert_taken(&stage, &door, &["c", "A"]).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_with_one_hash_at_once_exactly_one_is_taken() {
    let (stage, door) = stage_with_a_door(&[], 1_000).await;
    for round in 0..10 {
        let hash = format!("h{round}");
        let hash = [&*hash];
        let posts = (0..16).map(|_| post(&stage, &door, &hash));
        let answers = futures_util::future::join_all(posts).await;
        let taken = answers.iter().filter(|(status, _)| *status == 201).count();
        assert_eq!(taken, 1, "{answers:?}");
    }
    assert_eq!(hashes(&stage, &door).await.len(), 10);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_capacity_let_go_of_may_come_again() {
    for flags in [&[][..], NO_MEMORY] {
        let (mut stage, door) = stage_with_a_door(flags, 3).await;
        assert_taken(&stage, &door, &["a", "b", "c"]).await;
        assert_repeated(&stage, &door, &["a"]).await;
        assert_taken(&stage, &door, &["d"]).await;
        assert_repeated(&stage, &door, &["b"]).await;
        assert_taken(&stage, &door, &["a"]).await;
        stage.restart().await;
        assert_eq!(hashes(&stage, &door).await, ["c", "d", "a"]);
        assert_repeated(&stage, &door, &["a"]).await;
        assert_repeated(&stage, &door, &["c"]).await;
        assert_taken(&stage, &door, &["b"]).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_may_come_again() {
    for flags in [&[][..], NO_MEMORY] {
        let (stage, door) = stage_with_a_door(flags, 1_000).await;
        assert_taken(&stage, &door, &["a", "b", "c"]).await;
        let events = stage.get(&format!("{door}?filter=hash+%3D%3D+'b'")).await;
        let one = format!("{door}/{}", events[0]["id"].as_str().expect("an id"));
        assert_eq!(stage.request("DELETE", &one, Some(&stage.alice), "").await.status, 200);
        assert_repeated(&stage, &door, &["a"]).await;
        assert_repeated(&stage, &door, &["c"]).await;
        assert_taken(&stage, &door, &["b"]).await;
        assert_repeated(&stage, &door, &["b"]).await;
        assert_eq!(stage.request("DELETE", &door, Some(&stage.alice), "").await.status, 200);
        assert_taken(&stage, &door, &["c", "b", "a"]).await;
        assert_eq!(hashes(&stage, &door).await, ["c", "b", "a"]);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_stream_or_one_that_keeps_nothing_does_not_mind() {
    let (stage, door) = stage_with_a_door(&[], 1_000).await;
    let other = stage.add_stream(&stage.alice, "/acme/other", 1_000).await;
    let relay = stage.add_stream(&stage.alice, "/acme/relay", 0).await;
    assert_taken(&stage, &door, &["a"]).await;
    assert_taken(&stage, &format!("{EVENT}/{other}"), &["a"]).await;
    assert_taken(&stage, &format!("{EVENT}/{relay}"), &["a", "a"]).await;
    assert_taken(&stage, &format!("{EVENT}/{relay}"), &["a"]).await;
    stage.end().await;
}
