//! Streams over HTTP where several requests or sockets take part: deleting, paging, scopes.
//!
//! Shapes and single refusals are in `transcripts/rest`.

use crate::stage::{Account, Stage};
use serde_json::Value;

const STREAM: &str = "/v5.0/acme/stream";
const DOOR: &str = "/acme/door";

/// The paths of a list.
async fn paths(stage: &Stage, account: &Account, query: &str) -> Vec<String> {
    let address = format!("{STREAM}{query}");
    let answer = stage.request("GET", &address, Some(account), "").await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let streams = answer.json()["body"].as_array().expect("an array").clone();
    let path = |stream: Value| stream["path"].as_str().expect("a path").to_owned();
    streams.into_iter().map(path).collect()
}

async fn delete(stage: &Stage, account: &Account, id: &str) -> (u16, String) {
    let answer = stage
        .request("DELETE", &format!("{STREAM}/{id}"), Some(account), "")
        .await;
    let code = answer.code();
    (answer.status, code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_stream_ends_its_subscriptions_and_publishing_to_it() {
    let stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, DOOR, 1_000).await;
    stage.add_stream(&stage.alice, "/acme/window", 0).await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let mut socket = stage.socket(&stage.alice).await;
        socket.subscribe(DOOR).await;
        socket.subscribe("/acme/window").await;
        sockets.push(socket);
    }
    stage.publish(&stage.alice, DOOR, "{}").await;
    assert_eq!(stage.metric("subscriptions").await, 8);
    assert_eq!(stage.metric("log_events").await, 1);
    assert_eq!(delete(&stage, &stage.alice, &door).await, (200, String::new()));
    stage.until_metric("subscriptions", 4).await;
    stage.until_metric("log_events", 0).await;
    for (address, body) in [
        ("/v5.0/acme/event".to_owned(), r#"{"path":"/acme/door","elems":{}}"#),
        (format!("/v5.0/acme/event/{door}"), r#"{"elems":{}}"#),
    ] {
        let answer = stage.request("POST", &address, Some(&stage.alice), body).await;
        assert_eq!((answer.status, &*answer.code()), (404, "stream.unknown"));
    }
    stage.publish(&stage.alice, "/acme/window", "{}").await;
    for socket in &mut sockets {
        assert_eq!(socket.json().await["value"]["path"], DOOR);
        assert_eq!(socket.json().await["value"]["path"], "/acme/window");
        let ack = socket
            .ask(r#"{"msgId":1,"object":"event","type":"subscribe","path":"/acme/door"}"#)
            .await;
        assert!(ack.contains(r#""errors":["no stream at /acme/door"]"#), "{ack}");
    }
    drop(sockets);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_stream_at_an_old_path_is_another_stream() {
    let stage = Stage::start().await;
    let old = stage.add_stream(&stage.alice, DOOR, 1_000).await;
    let mut before = stage.socket(&stage.alice).await;
    before.subscribe(DOOR).await;
    stage.publish(&stage.alice, DOOR, "{}").await;
    assert_eq!(before.json().await["offset"], 1);
    assert_eq!(delete(&stage, &stage.alice, &old).await.0, 200);
    stage.until_metric("subscriptions", 0).await;
    let new = stage.add_stream(&stage.alice, DOOR, 1_000).await;
    assert_ne!(old, new);
    let mut after = stage.socket(&stage.alice).await;
    after.subscribe(DOOR).await;
    stage.publish(&stage.alice, DOOR, "{}").await;
    let event = after.json().await;
    assert_eq!((&event["resource"], &event["offset"]), (&new.into(), &1.into()));
    before.assert_quiet().await;
    drop((before, after));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_paged_by_path_without_gap_or_double() {
    let stage = Stage::start().await;
    let mut all = Vec::new();
    for n in 0..23 {
        // Made in another order than they are listed in.
        let path = format!("/acme/door/{:02}", (n * 7) % 23);
        stage.add_stream(&stage.alice, &path, 1).await;
        all.push(path);
    }
    all.sort();
    assert_eq!(paths(&stage, &stage.alice, "").await, all[..20]);
    assert_eq!(paths(&stage, &stage.alice, "?limit=1000").await, all);
    let mut paged = Vec::new();
    for start in [0, 5, 10, 15, 20] {
        paged.extend(paths(&stage, &stage.alice, &format!("?start={start}&limit=5")).await);
    }
    assert_eq!(paged, all);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_token_sees_only_the_streams_of_its_scope() {
    let stage = Stage::start().await;
    let mut ids = Vec::new();
    for path in ["/acme/bell", "/acme/door/1", "/acme/door/2", "/acme/window"] {
        ids.push(stage.add_stream(&stage.alice, path, 1).await);
    }
    let token = stage
        .add_token(&[("/acme/door/*", "read"), ("/acme/window", "write")], None)
        .await;
    let seen = ["/acme/door/1", "/acme/door/2", "/acme/window"];
    assert_eq!(paths(&stage, &token, "").await, seen);
    assert_eq!(paths(&stage, &token, "?start=1&limit=1").await, seen[1..2]);
    assert_eq!(paths(&stage, &token, "?path=/acme/window").await, seen[2..]);
    for (id, status) in ids.iter().zip([404, 200, 200, 200]) {
        let answer = stage.request("GET", &format!("{STREAM}/{id}"), Some(&token), "").await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let address = format!("{STREAM}?path=/acme/bell");
    let hidden = stage.request("GET", &address, Some(&token), "").await;
    assert_eq!((hidden.status, &*hidden.code()), (403, "scope.denied"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn making_changing_and_deleting_need_the_right_to_manage() {
    let stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, "/acme/door/1", 1).await;
    let user = stage
        .add_token(&[("/acme/**", "read"), ("/acme/**", "write")], None)
        .await;
    let keeper = stage.add_token(&[("/acme/door/**", "manage")], None).await;
    let address = format!("{STREAM}/{door}");
    let new = |path: &str| format!(r#"{{"path":"{path}"}}"#);
    for (account, path) in [
        (&user, "/acme/door/1"),
        (&user, "/acme/door/2"),
        (&keeper, "/acme/window"),
        (&keeper, "/acme/door"),
    ] {
        let answer = stage.request("POST", STREAM, Some(account), &new(path)).await;
        assert_eq!((answer.status, &*answer.code()), (403, "scope.denied"), "{path}");
        assert_eq!(answer.json()["head"]["errors"][0], format!("no right to manage {path}"));
    }
    let answer = stage.request("PUT", &address, Some(&user), r#"{"capacity":2}"#).await;
    assert_eq!((answer.status, &*answer.code()), (404, "stream.unknown"));
    assert_eq!(delete(&stage, &user, &door).await, (404, "stream.unknown".to_owned()));

    let answer = stage.request("PUT", &address, Some(&keeper), r#"{"capacity":2}"#).await;
    assert_eq!((answer.status, &answer.json()["body"]["capacity"]), (200, &2.into()));
    let answer = stage.request("POST", STREAM, Some(&keeper), &new("/acme/door/2")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(delete(&stage, &keeper, &door).await, (200, String::new()));
    assert_eq!(paths(&stage, &stage.alice, "").await, ["/acme/door/2"]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_may_be_sent_back_whole() {
    let stage = Stage::start().await;
    let bob = stage.add_user("acme", "bob").await;
    let door = stage.add_stream(&stage.alice, DOOR, 7).await;
    let address = format!("{STREAM}/{door}");
    let made = stage.request("GET", &address, Some(&bob), "").await.json()["body"].clone();
    assert!(
        made["lastEditDate"].is_null() && made["lastEditorId"].is_null(),
        "{made}"
    );
    let mut wanted = made.clone();
    wanted["description"] = "The front door".into();
    let answer = stage.request("PUT", &address, Some(&bob), &wanted.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let changed = answer.json()["body"].clone();
    for same in ["id", "path", "capacity", "creatorId", "creationDate"] {
        assert_eq!(changed[same], made[same], "{same}");
    }
    assert_eq!(changed["description"], "The front door");
    assert_ne!(changed["lastEditorId"], changed["creatorId"], "bob, not alice");
    let edited = changed["lastEditDate"].as_u64().expect("a time");
    assert!(edited >= made["creationDate"].as_u64().expect("a time"), "{changed}");
    // Again, with the members that only an edited stream has.
    let answer = stage
        .request("PUT", &address, Some(&stage.alice), &changed.to_string())
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["body"]["lastEditorId"], made["creatorId"]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capacity_has_a_most_that_is_configured() {
    let stage = Stage::with(&["--max-capacity", "5"]).await;
    let door = stage.add_stream(&stage.alice, DOOR, 5).await;
    let new = r#"{"path":"/acme/window","capacity":6}"#;
    let made = stage.request("POST", STREAM, Some(&stage.alice), new).await;
    let change = r#"{"capacity":6}"#;
    let changed = stage
        .request("PUT", &format!("{STREAM}/{door}"), Some(&stage.alice), change)
        .await;
    for answer in [made, changed] {
        assert_eq!((answer.status, &*answer.code()), (400, "limit.capacity"), "{answer:?}");
        assert_eq!(answer.json()["head"]["errors"][0], "a stream's capacity is at most 5");
    }
    assert_eq!(paths(&stage, &stage.alice, "").await, [DOOR]);
    stage.end().await;
}

/// A parser that takes an array for a struct would read it as `path`, `description`, `capacity`, ….
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_array_is_no_stream() {
    let stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, DOOR, 5).await;
    let new = r#"["/acme/window","",5,0,0,0,0,0]"#;
    let made = stage.request("POST", STREAM, Some(&stage.alice), new).await;
    let change = r#"["/acme/door","",6,0,0,0,0,0]"#;
    let changed = stage
        .request("PUT", &format!("{STREAM}/{door}"), Some(&stage.alice), change)
        .await;
    for answer in [made, changed] {
        assert_eq!((answer.status, &*answer.code()), (400, "body.malformed"), "{answer:?}");
    }
    assert_eq!(paths(&stage, &stage.alice, "").await, [DOOR]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_make_the_same_stream_at_once_one_is_told_that_it_exists() {
    let stage = Stage::start().await;
    let body = r#"{"path":"/acme/door"}"#;
    let make = || stage.request("POST", STREAM, Some(&stage.alice), body);
    let (a, b, c, d) = tokio::join!(make(), make(), make(), make());
    let mut outcomes: Vec<(u16, String)> = [a, b, c, d].iter().map(|a| (a.status, a.code())).collect();
    outcomes.sort();
    let exists = (409, "stream.exists".to_owned());
    assert_eq!(outcomes, [(201, String::new()), exists.clone(), exists.clone(), exists]);
    stage.publish(&stage.alice, DOOR, "{}").await;
    stage.end().await;
}
