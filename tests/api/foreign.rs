//! Every route with another company's credentials and another company's ids: nothing is shown,
//! nothing is changed.
//!
//! The routes are read from the API's own description, so that none is forgotten. Below `/api/v1/` the key
//! says the company, so a stranger's is good, for what is the stranger's.

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
    let found = operations_below(&["/v5.0/", "/v4.0/", "/v0.1/"]);
    assert!(found.len() >= 70, "{found:?}");
    assert!(found.contains(&("mget".to_owned(), "/v0.1/{company}/drop".to_owned())));
    found
}

fn operations_below(bases: &[&str]) -> Vec<(String, String)> {
    let document = serde_json::to_value(docs::document()).expect("a document");
    let paths = document["paths"].as_object().expect("paths");
    let mut found = Vec::new();
    for (template, item) in paths {
        let templates: Vec<String> = match template.strip_prefix("/{base}/") {
            Some(rest) => ["v0.1", "v4.0"].map(|base| format!("/{base}/{rest}")).into(),
            None => vec![template.clone()],
        };
        let templates: Vec<String> = templates
            .into_iter()
            .filter(|template| bases.iter().any(|base| template.starts_with(base)))
            .collect();
        let methods = item.as_object().expect("an object").keys();
        let methods = methods.map(|name| name.trim_start_matches("x-"));
        let methods = methods.filter(|name| ["get", "post", "put", "delete", "mget"].contains(name));
        for method in methods {
            found.extend(templates.iter().map(|template| (method.to_owned(), template.clone())));
        }
    }
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

/// Every operation below `/api/v1/` but the socket, with a body that would do something.
fn keyed() -> Vec<(String, String)> {
    let mut found = operations_below(&["/api/v1/"]);
    found.retain(|(_, template)| !template.contains("{token}"));
    assert!(found.len() >= 4, "{found:?}");
    found
}

const TO_DOOR: &str = r#"{"category":1,"channel":"door","data":"mallory"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_that_takes_a_key_is_open_without_one() {
    let (stage, ..) = stage().await;
    let before = state(&stage).await;
    let session = stage.session(&stage.alice).await;
    let bearer = format!("Bearer {}", stage.alice.token);
    let ticket = stage.connection_token(&stage.alice.token).await;
    let guessed = "x".repeat(stage.alice.token.len());
    for (method, path) in keyed() {
        let (method, body) = (method.to_uppercase(), if method == "get" { "" } else { TO_DOOR });
        for wrong in [
            &session,
            &bearer,
            &ticket,
            &guessed,
            "alice",
            stage.alice.key.to_string().as_str(),
        ] {
            let answer = stage.ask_with_key(&method, &path, wrong, body).await;
            assert_eq!(
                (answer.status, &*answer.code()),
                (401, "auth.refused"),
                "{method} {path}"
            );
        }
        // Who says it as other routes want it has not said it.
        for account in [None, Some(&stage.alice)] {
            let answer = stage.request(&method, &path, account, body).await;
            assert_eq!(
                (answer.status, &*answer.code()),
                (401, "auth.missing"),
                "{method} {path}"
            );
        }
    }
    assert_eq!(state(&stage).await, before);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_key_leads_to_what_is_the_strangers() {
    let (stage, _, strangers) = stage().await;
    let key = &strangers[0].token;
    let mut ours = stage.channels(&stage.alice.token).await;
    ours.join("door").await;
    let before = state(&stage).await;
    for (method, path) in keyed() {
        let (method, body) = (method.to_uppercase(), if method == "get" { "" } else { TO_DOOR });
        let answer = stage.ask_with_key(&method, &path, key, body).await;
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        if method == "GET" {
            assert_eq!(answer.text, "{}", "who is connected is acme's business");
        }
    }
    assert_eq!(state(&stage).await, before);
    let mut theirs = stage.channels(key).await;
    theirs.join("door").await;
    stage.send_message(&stage.alice.token, "door", "ours").await;
    assert_eq!(ours.message().await.1, "ours");
    theirs.assert_silent().await;
    drop((ours, theirs));
    stage.end().await;
}
