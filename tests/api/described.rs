//! Holds answers against the OpenAPI document: every answer that any test gets, by way of the stage.
//!
//! An answer must have a status that its operation names, the content type that goes with it, and a
//! body that its schema accepts. Here no member may be there that the schema does not name.

use crate::stage::Answer;
use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let document = streamgate::protocol::docs::document();
    let mut document = serde_json::to_value(document).expect("a document");
    for schema in document["components"]["schemas"]
        .as_object_mut()
        .expect("schemas")
        .values_mut()
    {
        if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
            schema["additionalProperties"] = json!(false);
        }
    }
    document
});

/// Schemas that were compiled, by where they stand in the document.
static COMPILED: LazyLock<Mutex<HashMap<String, &'static Validator>>> = LazyLock::new(Mutex::default);

/// Asserts that an answer is as described.
pub fn check(method: &str, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else {
        let no_route = answer.status >= 400 || method == "OPTIONS" || method == "HEAD";
        assert!(no_route, "{method} {path} is not described, and answers {answer:?}");
        return;
    };
    let place = format!("{method} {path} → {}", answer.status);
    let described = &operation["responses"][answer.status.to_string()];
    assert!(described.is_object(), "{place} is not described: {answer:?}");
    let Some(content) = described["content"].as_object() else {
        assert_eq!(answer.text, "", "{place} is described without a body");
        return;
    };
    let kind = answer.headers.get("content-type").and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default();
    let schema = content
        .get(kind)
        .unwrap_or_else(|| panic!("{place}: {kind} is not described"));
    // An event may nest more deeply than the parser here goes.
    let too_deep = |error: &serde_json::Error| error.to_string().starts_with("recursion limit");
    let is_json = kind == "application/json";
    if is_json && !serde_json::from_str::<Value>(&answer.text).is_err_and(|error| too_deep(&error)) {
        let validator = compiled(&place, &schema["schema"]);
        if let Err(error) = validator.validate(&answer.json()) {
            panic!(
                "{place}: not as described at {}: {error}\n{}",
                error.instance_path(),
                answer.text
            );
        }
    }
}

/// The operation that an address means: where two would do, the one that names more of it.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let path = path.split('?').next().unwrap_or_default();
    // RootSocket's clients put a slash at the end, and so does their part of the document; flowthings'
    // may put one. What is meant is the same.
    let bare = path.trim_end_matches('/');
    let path = &match () {
        () if path.starts_with("/api/v1/") => format!("{bare}/"),
        () if path.starts_with("/v0.1/") || path.starts_with("/v4.0/") => bare.to_owned(),
        () => path.to_owned(),
    };
    let fitting = paths
        .iter()
        .filter_map(|(template, item)| Some((literals(template, path)?, item)));
    let (_, item) = fitting.max_by_key(|(literals, _)| *literals)?;
    let method = method.to_lowercase();
    // What OpenAPI has no place for is an extension.
    item.get(&method).or_else(|| item.get(format!("x-{method}")))
}

/// How many parts of an address a template names, if it fits.
fn literals(template: &str, path: &str) -> Option<usize> {
    let (wanted, parts) = (template.split('/'), path.split('/'));
    if wanted.clone().count() != parts.clone().count() {
        return None;
    }
    let mut literals = 0;
    for (wanted, part) in wanted.zip(parts) {
        match wanted == part {
            true => literals += 1,
            false if wanted == "{base}" && !["v0.1", "v4.0"].contains(&part) => return None,
            false if wanted.starts_with('{') && !part.is_empty() => {}
            false => return None,
        }
    }
    Some(literals)
}

fn compiled(place: &str, schema: &Value) -> &'static Validator {
    let key = schema.to_string();
    let mut compiled = COMPILED.lock().expect("no panic while it is held");
    compiled.entry(key).or_insert_with(|| {
        let mut schema = schema.clone();
        schema["components"] = DOCUMENT["components"].clone();
        let validator = jsonschema::draft202012::new(&schema);
        Box::leak(Box::new(validator.unwrap_or_else(|error| panic!("{place}: {error}"))))
    })
}

#[test]
fn the_most_particular_template_is_meant() {
    assert_eq!(literals("/v5.0/{company}/event", "/v5.0/acme/event"), Some(3));
    assert_eq!(literals("/v5.0/{company}/event", "/v5.0/acme/stream"), None);
    assert_eq!(literals("/v5.0/{company}/event/{id}", "/v5.0/acme/event"), None);
    assert!(operation("GET", "/v5.0/acme/stream?limit=1").is_some());
    assert!(operation("PATCH", "/v5.0/acme/stream").is_none());
}

#[test]
#[should_panic(expected = "not as described")]
fn a_member_that_is_not_described_is_found() {
    let answer = Answer {
        status: 200,
        text: r#"{"ok":true,"more":1}"#.to_owned(),
        headers: [(
            "content-type".parse().expect("a name"),
            "application/json".parse().expect("a value"),
        )]
        .into_iter()
        .collect(),
    };
    check("GET", "/health/live", &answer);
}

#[test]
#[should_panic(expected = "is not described")]
fn a_status_that_is_not_described_is_found() {
    let answer = Answer {
        status: 418,
        text: String::new(),
        headers: reqwest::header::HeaderMap::new(),
    };
    check("GET", "/health/live", &answer);
}
