//! What stands in chunks is read back as it was written, whatever stood there before.

use crate::publisher::{Publisher, number_in};
use crate::server::Server;
use crate::shell::{Shell, until};
use serde_json::{Value, json};

#[test]
fn a_reader_never_gets_what_a_deleted_stream_had_in_the_same_place() {
    let shell = Shell::new();
    let small = [("STREAMGATE_MAX_LOG_BYTES", "65536")];
    let (server, demo) = Server::first_start(&shell, &small);
    let publisher = Publisher::new(&server, &demo);
    let file = shell.folder().join("streamgate.db");
    let chunks = || number_in(&file, "select count(*) from chunk");
    let fill = |path: &str| {
        let stream = publisher.add_stream(path, 10_000);
        let event = |number| json!({"path": path, "elems": {"of": path, "n": number, "fill": "x".repeat(500)}});
        for _ in 0..4 {
            let events: Vec<Value> = (0..100).map(event).collect();
            let answer = publisher
                .publish(&Value::Array(events), "durable")
                .expect("a server that lives");
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        until("it is settled", || chunks() > 2);
        stream
    };
    let first = fill("/demo/first");
    assert_eq!(publisher.replay(&first).len(), 400, "and now it is remembered");
    let deleted = publisher.send("DELETE", &format!("/v5.0/demo/stream/{first}"), &[], "");
    assert_eq!(deleted.expect("a server that lives").status, 200);
    until("its chunks are gone", || chunks() == 0);
    let second = fill("/demo/second");
    let replayed = publisher.replay(&second);
    assert_eq!(replayed.len(), 400);
    for event in replayed {
        assert_eq!(
            (event.stream.as_str(), &event.elems["of"]),
            (second.as_str(), &json!("/demo/second"))
        );
    }
}
