//! Subscriptions with a filter: who is given what, live and in replays, and what is refused.
//!
//! What a filter passes over is no gap: its subscriber did not want it.

use crate::reading::{DOOR, NO_MEMORY, assert_events, assert_gap, follow, publish, refused, until_on_disk};
use crate::stage::Stage;
use serde_json::json;

async fn stage_with(flags: &[&str]) -> Stage {
    let stage = Stage::with(flags).await;
    stage.add_stream(&stage.alice, DOOR, 1_000).await;
    stage
}

fn filter(text: &str) -> String {
    format!(r#""filter":{}"#, json!(text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_wanted_comes_and_the_rest_is_no_gap() {
    let stage = stage_with(&[]).await;
    let mut socket = stage.socket(&stage.alice).await;
    let set_up = follow(&mut socket, DOOR, &filter("n % 10 == 0")).await;
    assert_eq!((&set_up["offset"], &set_up["state"]), (&json!(0), &json!("complete")));
    // One by one and in batches.
    for n in 1..=12 {
        publish(&stage, DOOR, n..=n).await;
    }
    publish(&stage, DOOR, 13..=600).await;
    assert_events(&mut socket, (1..=60).map(|ten| 10 * ten)).await;
    socket.assert_quiet().await;
    stage.until_metric("events_delivered_total", 60).await;
    assert_eq!(stage.metric("events_missed_total").await, 0);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_filtered_like_what_comes_after_it() {
    for flags in [&[][..], &NO_MEMORY] {
        let stage = stage_with(flags).await;
        publish(&stage, DOOR, 1..=700).await;
        if flags == NO_MEMORY {
            until_on_disk(&stage).await;
        }
        let mut socket = stage.socket(&stage.alice).await;
        let members = format!(r#""since":95,{}"#, filter("n % 100 == 0 || elems.n == 97"));
        let set_up = follow(&mut socket, DOOR, &members).await;
        assert_eq!((&set_up["offset"], &set_up["state"]), (&json!(95), &json!("behind")));
        assert_events(&mut socket, [97, 100, 200, 300, 400, 500, 600, 700]).await;
        publish(&stage, DOOR, 701..=800).await;
        assert_events(&mut socket, [800]).await;
        socket.assert_quiet().await;
        stage.until_metric("events_delivered_total", 9).await;
        assert_eq!(stage.metric("events_missed_total").await, 0);
        drop(socket);
        stage.end().await;
    }
}

/// Whether they were wanted cannot be told any more, so they are told as missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_is_a_gap_whatever_is_wanted() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 5).await;
    publish(&stage, DOOR, 1..=20).await;
    let mut socket = stage.socket(&stage.alice).await;
    let members = format!(r#""since":2,{}"#, filter("n == 18 || n < 10"));
    follow(&mut socket, DOOR, &members).await;
    assert_gap(&mut socket, 3, 15, "retention").await;
    assert_events(&mut socket, [18]).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_falls_behind_still_gets_only_what_is_wanted() {
    let stage = stage_with(&["--max-mailbox-events", "10"]).await;
    let mut socket = stage.socket(&stage.alice).await;
    follow(&mut socket, DOOR, &filter("n % 7 == 0")).await;
    publish(&stage, DOOR, 1..=100).await;
    assert_events(&mut socket, (1..=14).map(|seven| 7 * seven)).await;
    publish(&stage, DOOR, 101..=105).await;
    assert_events(&mut socket, [105]).await;
    assert_eq!(stage.metric("events_missed_total").await, 0);
    drop(socket);
    stage.end().await;
}

/// Those with the same filter share what it makes of a run; nobody gets what is another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_filters_on_one_stream_are_each_their_own() {
    let stage = stage_with(&[]).await;
    let mut sockets = Vec::new();
    // More different ones than are shared at once, each three times, and some without any.
    for round in 0..3 {
        for rest in 0..20 {
            let mut socket = stage.socket(&stage.alice).await;
            follow(&mut socket, DOOR, &filter(&format!("n % 20 == {rest}"))).await;
            sockets.push((socket, Some(rest)));
        }
        let mut socket = stage.socket(&stage.alice).await;
        follow(&mut socket, DOOR, &format!(r#""last":{round}"#)).await;
        sockets.push((socket, None));
    }
    publish(&stage, DOOR, 1..=3).await;
    publish(&stage, DOOR, 4..=100).await;
    for (socket, rest) in &mut sockets {
        let wanted = (1..=100).filter(|n| rest.is_none_or(|rest| n % 20 == rest));
        assert_events(socket, wanted).await;
        socket.assert_quiet().await;
    }
    drop(sockets);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_sees_more_than_elements() {
    let stage = stage_with(&[]).await;
    let mut wanted = stage.socket(&stage.alice).await;
    follow(
        &mut wanted,
        DOOR,
        &filter(r#"path == "/acme/door" && EXISTS n && HAS integer"#),
    )
    .await;
    let mut unwanted = stage.socket(&stage.alice).await;
    follow(
        &mut unwanted,
        DOOR,
        &filter(r#"path == "/acme/window" || AGE > 3600000"#),
    )
    .await;
    publish(&stage, DOOR, 1..=1).await;
    stage.publish(&stage.alice, DOOR, r#"{"m":2}"#).await;
    stage.publish(&stage.alice, DOOR, r#"{"n":3}"#).await;
    assert_events(&mut wanted, [1, 3]).await;
    unwanted.assert_quiet().await;
    drop((wanted, unwanted));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_is_wrong_is_refused_at_the_character_and_subscribes_to_nothing() {
    let stage = stage_with(&[]).await;
    let mut socket = stage.socket(&stage.alice).await;
    for (text, character) in [
        ("n ==", "character 5, its end: expected a value or a member"),
        ("n == 1 &", "character 8: "),
        (
            "(n == 1",
            "character 8, its end: expected &&, || or the closing parenthesis",
        ),
        // Characters are counted, not bytes.
        (r#"é == "é" && ?"#, "character 13: expected a member"),
        (r#"n =~ /[/"#, "character 6: this is no regular expression"),
        ("", "character 1, its end: expected a member"),
    ] {
        let request = crate::reading::following(DOOR, &filter(text));
        let (code, told) = refused(&mut socket, &request).await;
        assert_eq!(code, "filter.malformed", "{text}: {told}");
        assert!(told.contains(character), "{text}: {told}");
    }
    publish(&stage, DOOR, 1..=1).await;
    socket.assert_quiet().await;
    assert_eq!(stage.metric("subscriptions").await, 0);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_are_as_long_and_as_many_as_the_limits() {
    let stage = Stage::with(&["--max-filter-bytes", "10", "--max-filters", "2"]).await;
    for path in ["/acme/a", "/acme/b", "/acme/c"] {
        stage.add_stream(&stage.alice, path, 10).await;
    }
    let mut socket = stage.socket(&stage.alice).await;
    let long = crate::reading::following("/acme/a", &filter("n == 12345 "));
    let (code, told) = refused(&mut socket, &long).await;
    assert_eq!((&*code, &*told), ("limit.filter", "a filter has at most 10 bytes"));
    for path in ["/acme/a", "/acme/b", "/acme/b"] {
        follow(&mut socket, path, &filter("n == 12345")).await;
    }
    let third = crate::reading::following("/acme/c", &filter("n == 1"));
    let (code, told) = refused(&mut socket, &third).await;
    let wanted = "a connection has at most 2 subscriptions with a filter";
    assert_eq!((&*code, &*told), ("limit.filter", wanted));
    // Without one it may be followed; and what is given back makes room.
    socket.subscribe("/acme/c").await;
    for path in ["/acme/a", "/acme/c"] {
        let request = format!(r#"{{"msgId":1,"type":"unsubscribe","path":"{path}"}}"#);
        assert!(socket.ask(&request).await.contains(r#""ok":true"#));
    }
    follow(&mut socket, "/acme/c", &filter("n == 1")).await;
    drop(socket);
    stage.end().await;
}
