//! Every route with another company's credentials and another company's ids: nothing is shown,
//! nothing is changed.
//!
//! The routes are read from the API's own description, so that none is forgotten.

use crate::stage::{Account, Answer, Stage};
use serde_json::{Value, json};
use streamgate::protocol::docs;

/// What acme has, by the names that stand for it in addresses.
struct Names(Vec<(&'static str, String)>);

impl Names {
    fn put_into(&self, template: &str) -> String {
        let pairs = self.0.iter();
        pairs.fold(template.to_owned(), |path, (place, name)| path.replace(place, name))
    }
}

/// Bodies that would do something, by the end of the address.
fn body(method: &str, path: &str) -> &'static str {
    let ends: [(&str, &str); 14] = [
        ("/aggregate", r#"{"output":["$count"]}"#),
        ("/flow", r#"{"path":"/acme/mallory"}"#),
        ("/drop", r#"{"path":"/acme/door","elems":{}}"#),
        ("/rotate", "{}"),
        ("/reset", ""),
        ("/can", r#"{"verb":"read","path":"/acme/door"}"#),
        ("/token", r#"{"paths":{"/acme/door":{"read":true}}}"#),
        ("/user", r#"{"user":"mallory","manages":true}"#),
        ("/settings", r#"{"allowClientSend":true}"#),
        ("/user/bob", r#"{"manages":true}"#),
        ("/stream", r#"{"path":"/acme/mallory"}"#),
        ("/event", r#"{"path":"/acme/door","elems":{}}"#),
        (
            "/key",
            r#"{"label":"x","algorithm":"HS256","key":"0123456789abcdef0123456789abcdef","paths":{"/acme/**":{"read":true}}}"#,
        ),
        ("", r#"{"capacity":1}"#),
    ];
    if method == "get" || method == "delete" {
        return "";
    }
    if method == "mget" {
        return "[]";
    }
    if !path.ends_with("/aggregate") && (path.contains("/event/") || path.contains("/drop/")) {
        return r#"{"elems":{}}"#;
    }
    let body = ends.iter().find(|(end, _)| path.ends_with(end));
    body.map_or("", |(_, body)| *body)
}

/// Every operation under `/v5.0/` and the older bases: its method and the template of its address.
fn operations() -> Vec<(String, String)> {
    let document = serde_json::to_value(docs::document()).expect("a document");
    let paths = document["paths"].as_object().expect("paths");
    let mut found = Vec::new();
    for (template, item) in paths {
        let templates: Vec<String> = match template.strip_prefix("/{base}/") {
            Some(rest) => ["v0.1", "v4.0"].map(|base| format!("/{base}/{rest}")).into(),
            None if template.starts_with("/v5.0/") => vec![template.clone()],
            None => continue,
        };
        let methods = item.as_object().expect("an object").keys();
        let methods = methods.map(|name| name.trim_start_matches("x-"));
        let methods = methods.filter(|name| ["get", "post", "put", "delete", "mget"].contains(name));
        for method in methods {
            found.extend(templates.iter().map(|template| (method.to_owned(), template.clone())));
        }
    }
    assert!(found.len() >= 70, "{found:?}");
    assert!(found.contains(&("mget".to_owned(), "/v0.1/{company}/drop".to_owned())));
    found
}

/// Everything that acme can see of itself; times of use aside.
async fn state(stage: &Stage) -> Value {
    let mut state = Vec::new();
    for what in [
        "stream?limit=1000",
        "token?limit=1000",
        "user",
        "audit?limit=1000",
        "settings",
        "event?path=/acme/door",
    ] {
        state.push(stage.get(&format!("/v5.0/acme/{what}")).await);
    }
    let mut state = json!(state);
    forget_use(&mut state);
    state
}

fn forget_use(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("lastUsed");
            members.values_mut().for_each(forget_use);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_use),
        _ => {}
    }
}

/// Acme with one of everything, and who is not of it.
async fn stage() -> (Stage, Names, Vec<Account>) {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    stage.add_user("acme", "bob").await;
    let token = stage.add_token(&[("/acme/door", "read")], None).await;
    let stream = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let event = stage.publish(&stage.alice, "/acme/door", "{}").await;
    let event = event.json()["body"]["id"].as_str().expect("an id").to_owned();
    let posing = Account {
        company: "acme".to_owned(),
        ..albert.clone()
    };
    let as_alice = Account {
        user: Some("alice".to_owned()),
        ..posing.clone()
    };
    let guessing = Account {
        token: "x".repeat(32),
        ..stage.alice.clone()
    };
    let names = Names(vec![
        ("{event}", event.clone()),
        ("{eventId}", event),
        ("{name}", "bob".to_owned()),
        ("stream/{id}", format!("stream/{stream}")),
        ("event/{id}", format!("event/{stream}")),
        ("flow/{id}", format!("flow/{stream}")),
        ("drop/{id}", format!("drop/{stream}")),
        ("token/{id}", format!("token/{}", token.key)),
        ("key/{id}", format!("key/{}", token.key)),
        ("{id}", "1".to_owned()),
    ]);
    // Older clients name no user.
    let nameless = Account {
        user: None,
        ..posing.clone()
    };
    (stage, names, vec![albert, posing, as_alice, guessing, nameless])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_is_open_to_who_is_not_of_the_company() {
    let (stage, names, strangers) = stage().await;
    let before = state(&stage).await;
    for (method, template) in operations() {
        let path = names.put_into(&template.replace("{company}", "acme"));
        assert!(!path.contains('{'), "{path} has a name that this test does not know");
        let body = body(&method, &path);
        let method = method.to_uppercase();
        for stranger in &strangers {
            let answer = stage.request(&method, &path, Some(stranger), body).await;
            assert_eq!(
                (answer.status, &*answer.code()),
                (401, "auth.refused"),
                "{method} {path}"
            );
        }
        let nobody = stage.request(&method, &path, None, body).await;
        assert_eq!(
            (nobody.status, &*nobody.code()),
            (401, "auth.missing"),
            "{method} {path}"
        );
    }
    assert_eq!(state(&stage).await, before);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_of_ones_own_company_leads_to_what_is_anothers() {
    let (stage, names, strangers) = stage().await;
    let albert = &strangers[0];
    let before = state(&stage).await;
    let refused = |answer: &Answer| matches!(answer.status, 403 | 404);
    for (method, template) in operations().iter().filter(|(_, template)| template.contains('{')) {
        let path = names.put_into(&template.replace("{company}", "umbrella"));
        let names_something = template.replace("{company}", "").contains('{');
        if !names_something {
            continue;
        }
        let body = body(method, &path);
        let method = method.to_uppercase();
        let answer = stage.request(&method, &path, Some(albert), body).await;
        assert!(refused(&answer), "{method} {path}: {answer:?}");
    }
    // Where the body or the query names it.
    let many = format!(
        r#"[{{"streamId":"{}"}}]"#,
        names.put_into("stream/{id}").replace("stream/", "")
    );
    let ids = many.replace(r#"{"streamId":"#, "").replace('}', "");
    for (method, path, body) in [
        ("MGET", "/v5.0/umbrella/event", &*many),
        ("MGET", "/v0.1/umbrella/drop", &many),
        ("MGET", "/v0.1/umbrella/flow", &ids),
        ("POST", "/v0.1/umbrella/flow", r#"{"path":"/acme/mallory"}"#),
        ("GET", "/v0.1/umbrella/drop?path=/acme/door", ""),
        (
            "POST",
            "/v4.0/umbrella/token",
            r#"{"paths":{"/acme/door":{"dropRead":true}}}"#,
        ),
        ("POST", "/v5.0/umbrella/stream", r#"{"path":"/acme/mallory"}"#),
        ("GET", "/v5.0/umbrella/stream?path=/acme/door", ""),
        ("POST", "/v5.0/umbrella/event", r#"{"path":"/acme/door","elems":{}}"#),
        ("GET", "/v5.0/umbrella/event?path=/acme/door", ""),
        ("DELETE", "/v5.0/umbrella/event?path=/acme/door", ""),
        (
            "POST",
            "/v5.0/umbrella/token",
            r#"{"paths":{"/acme/door":{"read":true}}}"#,
        ),
        ("POST", "/session", r#"{"paths":{"/acme/door":{"read":true}}}"#),
    ] {
        let answer = stage.request(method, path, Some(albert), body).await;
        assert!(refused(&answer), "{method} {path}: {answer:?}");
    }
    assert_eq!(state(&stage).await, before);
    stage.end().await;
}
