//! The description of the API is there, is the server's own, and its examples are true.

use crate::stage::Stage;
use serde_json::Value;
use std::collections::BTreeSet;
use streamgate::domain::error::Code;
use streamgate::protocol::docs::socket::EXAMPLES;

/// Members whose value is part of the example; of others only the type is.
const WORDS: &[&str] = &[
    "msgId", "ok", "type", "status", "state", "reason", "code", "elems", "messages", "errors", "offset", "count",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_and_the_page_are_served_once_and_then_known() {
    let stage = Stage::start().await;
    for (path, kind) in [
        ("/openapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
    ] {
        let answer = stage.request("GET", path, None, "").await;
        assert_eq!(
            (answer.status, &answer.headers["content-type"]),
            (200, &kind.parse().expect("a value"))
        );
        assert!(
            answer.headers["content-security-policy"]
                .to_str()
                .expect("text")
                .starts_with("default-src 'none'")
        );
        let tag = answer.headers["etag"].to_str().expect("text");
        let again = stage.request_with("GET", path, &[("If-None-Match", tag)], "").await;
        assert_eq!((again.status, &*again.text), (304, ""));
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_has_every_operation_code_and_schema_and_nothing_from_elsewhere() {
    let stage = Stage::start().await;
    let page = stage.request("GET", "/docs", None, "").await.text;
    let document = stage.request("GET", "/openapi.json", None, "").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut anchors: Vec<String> = Code::ALL
        .iter()
        .map(|code| format!("error-{}", code.entry().code))
        .collect();
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("operations").values() {
            anchors.push(operation["operationId"].as_str().expect("an id").to_owned());
        }
    }
    anchors.extend(
        document["components"]["schemas"]
            .as_object()
            .expect("schemas")
            .keys()
            .map(|name| format!("schema-{name}")),
    );
    for anchor in anchors {
        assert_eq!(page.matches(&format!("id=\"{anchor}\"")).count(), 1, "{anchor}");
    }
    for link in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(page.contains(&format!("id=\"{link}\"")), "#{link} leads nowhere");
    }
    for foreign in ["src=\"http", "href=\"http", "<script", "style=\""] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    stage.end().await;
}

/// The methods that a route takes are those of the document: asked with one that none takes, it
/// lists them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_take_the_methods_that_are_described() {
    let stage = Stage::start().await;
    let document = stage.request("GET", "/openapi.json", None, "").await.json();
    for (template, item) in document["paths"].as_object().expect("paths") {
        let described: BTreeSet<String> = item
            .as_object()
            .expect("operations")
            .keys()
            .map(|name| name.trim_start_matches("x-").to_uppercase())
            .collect();
        let path = template.replace("{base}", "v0.1").replace("{company}", "acme");
        let path = path.replace(['{', '}'], "");
        let answer = stage.request("PATCH", &path, Some(&stage.alice), "").await;
        assert_eq!((answer.status, &*answer.code()), (405, "method.unknown"), "{template}");
        let allowed = answer.headers["allow"]
            .to_str()
            .expect("text")
            .split(", ")
            .map(str::to_owned);
        let allowed: BTreeSet<String> = allowed.filter(|method| method != "HEAD").collect();
        assert_eq!(described, allowed, "{template}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_of_the_socket_are_true() {
    let stage = Stage::start().await;
    for (path, capacity) in [("/acme/door/1", 1_000), ("/acme/door/2", 1_000), ("/acme/door/3", 1)] {
        stage.add_stream(&stage.alice, path, capacity).await;
    }
    for _ in 0..3 {
        stage.publish(&stage.alice, "/acme/door/3", r#"{"open":true}"#).await;
    }
    let mut socket = stage.socket(&stage.alice).await;
    for example in EXAMPLES {
        socket.send(example.send).await;
        let mut wanted: Vec<String> = example.receive.iter().map(|frame| shape(frame)).collect();
        let mut got = Vec::new();
        for _ in example.receive {
            got.push(shape(&socket.text().await));
        }
        // A message may overtake the acknowledgement of its own publishing.
        wanted.sort();
        got.sort();
        assert_eq!(wanted, got, "{}", example.title);
    }
    socket.assert_quiet().await;
    drop(socket);
    stage.end().await;
}

/// A frame with the order of its members, the types of their values, and the words that count.
fn shape(frame: &str) -> String {
    fn blur(name: &str, value: &mut Value) {
        match value {
            Value::Object(members) => members.iter_mut().for_each(|(name, value)| blur(name, value)),
            Value::Array(values) => values.iter_mut().for_each(|value| blur(name, value)),
            _ if WORDS.contains(&name) => {}
            Value::String(text) => text.clear(),
            Value::Number(number) => *number = 0.into(),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(frame).unwrap_or_else(|error| panic!("{error}: {frame}"));
    blur("", &mut value);
    value.to_string()
}
