//! What is kept of a session between two transports, and who is told of what is not.

use crate::moving::close;
use crate::outflow::offsets;
use crate::transports::{publish, stage};
use serde_json::{Value, json};

/// What a session says of a subscription that it lost.
fn lost(said: &Value, status: u16, code: &str) {
    let wanted = json!({
        "head": {
            "msgId": null, "ok": false, "status": status, "errors": said["head"]["errors"], "messages": [],
            "code": code,
        },
        "body": {},
    });
    assert_eq!(*said, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_next_is_told_that_there_was_no_room_to_keep_what_was_followed() {
    // Of which one company has half.
    let stage = stage(&["--max-kept-subscriptions", "3", "--poll-time", "1s"]).await;
    let [one, two] = [stage.session(&stage.alice).await, stage.session(&stage.alice).await];
    for (session, paths) in [(&one, &["/acme/door", "/acme/window"][..]), (&two, &["/acme/door"])] {
        let mut socket = stage.connect(session).await;
        for path in paths {
            socket.subscribe(path).await;
        }
        close(socket).await;
    }
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(offsets(&stage.poll(&one).await), [1]);
    let came = stage.poll(&two).await;
    assert_eq!(came.len(), 1, "{came:?}");
    lost(&came[0], 429, "limit.subscriptions");
    assert_eq!(stage.poll(&two).await, Vec::<Value>::new(), "once");
    stage.end().await;
}
