//! Things that go wrong only when much happens at once: subscribing while events fly, revoking
//! while clients hang up.
//!
//! Each of these was a bug once.

use crate::raw::RawSocket;
use crate::stage::{Account, BY, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use streamgate::catalogue::Catalogue;
use tokio::task::JoinSet;

/// Publishes without pause until told to stop.
async fn publish_until(http: reqwest::Client, address: String, account: Account, body: String, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let request = http
            .post(&address)
            .header("X-Auth-User", account.user.as_deref().unwrap_or_default())
            .header("X-Auth-Token", &account.token)
            .body(body.clone());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
    }
}

/// A subscription that begins while events are on their way to its worker gets the rest of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_subscribes_to_a_busy_stream_that_keeps_nothing_misses_nothing() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 0).await;
    let mut others = Vec::new();
    for _ in 0..20 {
        let mut other = RawSocket::open(&stage, &stage.alice).await;
        other.subscribe("/acme/door").await;
        others.push(other);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishers = JoinSet::new();
    let body = format!("[{}]", [r#"{"path":"/acme/door","elems":{"open":true}}"#; 20].join(","));
    for _ in 0..3 {
        let address = format!("http://{}/v5.0/acme/event", stage.address);
        let (http, alice) = (stage.http.clone(), stage.alice.clone());
        publishers.spawn(publish_until(http, address, alice, body.clone(), Arc::clone(&stop)));
    }
    for _ in 0..60 {
        let mut socket = stage.socket(&stage.alice).await;
        socket.subscribe("/acme/door").await;
        let mut expected = None;
        for _ in 0..20 {
            let event = socket.json().await;
            assert_eq!(event["type"], "message", "{event}");
            let offset = event["offset"].as_u64().expect("an offset");
            assert_eq!(offset, expected.unwrap_or(offset));
            expected = Some(offset + 1);
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = publishers.join_next().await {
        done.expect("a publisher without panic");
    }
    drop(others);
    stage.end().await;
}

/// Polls a future so many times at most, then drops it.
async fn give_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Once the last poll is spent there is nothing to wait for.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A request that makes a stream also follows the catalogue, and is dropped where it stands when
/// its client hangs up. Whoever follows next must be told what the dropped one had found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_told_whoever_hangs_up_meanwhile() {
    let stage = Stage::start().await;
    let url = format!("sqlite:{}/test.db", stage.folder().display());
    let follower = Catalogue::open_file(&url, Arc::default()).await.expect("a catalogue");
    follower.refresh().await.expect("all there is");
    let mut unfinished = 0;
    for polls in 1..14 {
        let token = stage.add_token(&[("/acme/**", "read")], None).await;
        follower.refresh().await.expect("the token");
        stage.catalogue.revoke_token(token.key, &BY).await.expect("revoked");
        for number in 0..3 {
            stage.add_stream_on_file(&format!("/acme/{polls}/{number}")).await;
        }
        let first = give_up_after(polls, follower.refresh()).await;
        unfinished += usize::from(first.is_none());
        let mut ended = first.map_or_else(Vec::new, |ended| ended.expect("followed").tokens);
        ended.extend(follower.refresh().await.expect("followed").tokens);
        assert!(ended.contains(&token.key), "given up after {polls} polls");
    }
    assert!(unfinished > 0, "the future was never dropped half-way");
    stage.end().await;
}
