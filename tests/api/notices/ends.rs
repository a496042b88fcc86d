//! What is too much, who is silent or slow, and what ends connections of notices.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_and_told() {
    let stage = stage_with(&[
        "--max-meta-bytes",
        "200",
        "--max-frame-bytes",
        "4096",
        "--max-json-depth",
        "8",
    ])
    .await;
    let mut socket = backend(&stage, &stage.alice).await;
    let long = json!({"eventType": 9, "username": "alice", "val": "x".repeat(200)});
    let refused = r#"{"error":"Error: the meta of a user has at most 200 bytes","eventType":9}"#;
    assert_eq!(socket.ask(&long.to_string()).await, refused);
    let many_dots = json!({"eventType": 9, "username": "alice", "property": "a.".repeat(2_000), "val": 1});
    let refused = r#"{"error":"Error: a property leads at most 8 deep","eventType":9}"#;
    assert_eq!(socket.ask(&many_dots.to_string()).await, refused);
    let deep = format!(
        r#"{{"eventType":10,"message":{}1{},"broadcast":1}}"#,
        "[".repeat(9),
        "]".repeat(9)
    );
    let refused = r#"{"error":"Error: JSON is nested at most 8 deep here","eventType":10}"#;
    assert_eq!(socket.ask(&deep).await, refused);
    assert_quiet(&mut socket).await;
    // A message beyond the limit is the only one that ends the socket, and says so.
    socket.send(&"x".repeat(4_097)).await;
    assert_eq!(socket.closed().await.0, 1009);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_silent_is_pinged_and_lives_on() {
    let stage = stage_with(&["--ping-interval", "150ms", "--dead-after", "600ms"]).await;
    let mut silent = page(&stage).await;
    // Twelve pings come in no less than three times the time after which the dead are ended. The
    // library answers each while it is read from.
    for _ in 0..12 {
        let next = tokio::time::timeout(DEADLINE, silent.socket.next()).await;
        let message = next.expect("a ping in time").expect("a ping").expect("a ping");
        assert_eq!(message, Message::Ping(Default::default()));
    }
    stage.publish(&stage.alice, "/acme/notices", r#"{"eventType":5}"#).await;
    assert_eq!(silent.text().await, r#"{"eventType":5}"#);
    assert_eq!(stage.metric("peers_dead_total").await, 0);
    drop(silent);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_in_time_is_told_what_is_missing_in_a_frame_that_hurts_nobody() {
    let stage = stage_with(&["--max-outbox-bytes", "65536"]).await;
    let mut slow = RawSocket::connect_narrow(stage.address).await;
    slow.send(upgrade_at(ACME, "Origin: http://localhost\r\n").as_bytes())
        .await;
    slow.head().await;
    stage.until_metric("subscriptions", 1).await;
    let mut published = 0;
    while stage.metric("subscriptions_behind_total").await == 0 {
        let elems = json!({"eventType": 5, "n": published, "file": "x".repeat(10_000)});
        stage.publish(&stage.alice, "/acme/notices", &elems.to_string()).await;
        published += 1;
        assert!(published < 10_000, "nobody is that quick");
    }
    let (mut heard, mut missed) = (0, 0);
    while heard + missed < published {
        let frame: Value = serde_json::from_str(&slow.text().await).expect("JSON");
        let Some(error) = frame["error"].as_str() else {
            assert_eq!(frame["n"], heard + missed, "in order, nothing twice");
            heard += 1;
            continue;
        };
        assert_eq!(frame["eventType"], 0);
        let count = error
            .strip_suffix(" not delivered")
            .and_then(|error| error.split(' ').next());
        missed += count.expect("a count").parse::<u64>().expect("a number");
    }
    assert!(missed > 0);
    stage.publish(&stage.alice, "/acme/notices", r#"{"eventType":6}"#).await;
    assert_eq!(slow.text().await, r#"{"eventType":6}"#);
    drop(slow);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_notices_count_and_are_limited_as_all_are() {
    let stage = stage_with(&["--max-company-connections", "2"]).await;
    let (first, second) = (page(&stage).await, backend(&stage, &stage.alice).await);
    stage.until_metric("connections", 2).await;
    assert_dropped(page(&stage).await).await;
    assert_eq!(stage.metric(r#"refusals_total{code="limit.connections"}"#).await, 1);
    drop((first, second));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_key_ends_its_connections_and_a_stop_ends_all() {
    let mut stage = stage_with(&[]).await;
    let key = stage.add_token(&[("/acme/notices", "read")], None).await;
    let (mut by_key, mut page) = (backend(&stage, &key).await, page(&stage).await);
    assert_quiet(&mut by_key).await;
    let path = format!("/v5.0/acme/token/{}", key.key);
    assert_eq!(stage.request("DELETE", &path, Some(&stage.alice), "").await.status, 200);
    assert_eq!(by_key.closed().await.0, 4001);
    assert_quiet(&mut page).await;
    let stopped = stage.begin_stop();
    assert_eq!(page.closed().await.0, 1001);
    drop((page, by_key));
    stopped.await.expect("an end without panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_have_to_come_again_when_less_is_approved_and_nobody_else_has_to() {
    let stage = stage_with(&[]).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let mut holder = backend(&stage, &stage.alice).await;
    let mut stranger = come(&stage, "/users/umbrella/ws", "users-api-key", &albert.token).await;
    let mut guest = page(&stage).await;
    stage.until_metric("subscriptions", 3).await;
    // More is approved, and something else is settled.
    for settings in [
        json!({"approvedSocketDomains": ["example", "localhost"]}),
        json!({"allowMetaWithoutKey": true}),
    ] {
        stage.settle(settings).await;
        stage.publish(&stage.alice, "/acme/notices", r#"{"eventType":5}"#).await;
        for socket in [&mut holder, &mut guest] {
            assert_eq!(socket.text().await, r#"{"eventType":5}"#);
        }
    }
    stage.settle(json!({"approvedSocketDomains": ["example"]})).await;
    assert_eq!(guest.closed().await.0, 1008);
    assert!(!is_let_in(&stage, PAGE).await && is_let_in(&stage, "https://example.com").await);
    assert_quiet(&mut holder).await;
    assert_quiet(&mut stranger).await;
    drop((guest, holder, stranger));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_declared_for_notices_keeps_them_and_is_heard_by_who_was_there_before() {
    let stage = stage_with(&[]).await;
    let mut page = page(&stage).await;
    assert_quiet(&mut page).await;
    let declared = stage.add_stream(&stage.alice, "/acme/notices", 10).await;
    stage.publish(&stage.alice, "/acme/notices", r#"{"eventType":5}"#).await;
    assert_eq!(page.text().await, r#"{"eventType":5}"#);
    assert_eq!(
        page.ask(r#"{"eventType":10,"broadcast":true}"#).await,
        r#"{"eventType":10}"#
    );
    let kept = stage.get(&format!("/v5.0/acme/event/{declared}?order=asc")).await;
    let kept: Vec<&Value> = kept
        .as_array()
        .expect("events")
        .iter()
        .map(|event| &event["elems"])
        .collect();
    assert_eq!(kept, [&json!({"eventType": 5}), &json!({"eventType": 10})]);
    drop(page);
    stage.end().await;
}
