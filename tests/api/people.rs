//! Users: who manages, who does not, who goes.

use crate::raw::RawSocket;
use crate::stage::{Account, Answer, Stage};
use serde_json::{Value, json};

const USERS: &str = "/v5.0/acme/user";
const PASSWORD: &str = "correct horse";

async fn ask(stage: &Stage, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    stage.request(method, path, Some(&stage.alice), &body).await
}

/// A cookie by way of a link's code.
async fn welcome(stage: &Stage, link: &Value) -> String {
    let link = link.as_str().expect("a link");
    let code = link.strip_prefix(&format!("http://{}/#/welcome/", stage.address));
    let body = json!({"code": code.expect("a code"), "password": PASSWORD}).to_string();
    let answer = stage.request_with("POST", "/login/password", &[], &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let cookie = answer.headers["set-cookie"].to_str().expect("text");
    cookie.split(';').next().expect("a pair").to_owned()
}

async fn with_cookie(stage: &Stage, method: &str, path: &str, cookie: &str, body: &str) -> Answer {
    let headers = [("X-Streamgate-Page", "1"), ("Cookie", cookie)];
    stage.request_with(method, path, &headers, body).await
}

fn person<'a>(list: &'a Value, name: &str) -> &'a Value {
    let mut list = list.as_array().expect("a list").iter();
    list.find(|person| person["user"] == name).expect("the user")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_added_signs_in_and_is_removed_with_all_that_is_theirs() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let added = ask(&stage, "POST", USERS, &json!({"user": "bob"})).await;
    let body = &added.json()["body"];
    assert_eq!(
        (added.status, &body["manages"], body.get("token")),
        (201, &json!(false), None)
    );
    let twice = ask(&stage, "POST", USERS, &json!({"user": "bob"})).await;
    assert_eq!((twice.status, &*twice.code()), (409, "user.exists"));
    let cookie = welcome(&stage, &body["link"]).await;
    let list = stage.get(USERS).await;
    let bob = person(&list, "bob");
    assert_eq!((&bob["hasPassword"], &bob["manages"]), (&json!(true), &json!(false)));
    assert_eq!(person(&list, "alice")["hasPassword"], false);

    // A master token of his own, known to nobody until he rotates it.
    let path = format!("/v5.0/acme/token/{}/rotate", bob["token"].as_str().expect("an id"));
    let rotated = with_cookie(&stage, "POST", &path, &cookie, "").await;
    assert_eq!(rotated.status, 201, "{rotated:?}");
    let rotated = rotated.json()["body"].take();
    let account = Account {
        user: Some("bob".to_owned()),
        token: rotated["token"].as_str().expect("a secret").to_owned(),
        ..stage.alice.clone()
    };
    let mut socket = stage.socket(&account).await;
    socket.subscribe("/acme/door").await;

    let removed = ask(&stage, "DELETE", "/v5.0/acme/user/bob", &Value::Null).await;
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(socket.closed().await.0, 4001);
    drop(socket);
    let login = with_cookie(&stage, "GET", "/v5.0/acme/stream", &cookie, "").await;
    assert_eq!((login.status, &*login.code()), (401, "auth.missing"));
    assert_eq!(stage.open_session(&account, "").await.status, 401);
    let again = json!({"company": "acme", "user": "bob", "password": PASSWORD}).to_string();
    assert_eq!(stage.request_with("POST", "/login", &[], &again).await.status, 401);
    let gone = ask(&stage, "DELETE", "/v5.0/acme/user/bob", &Value::Null).await;
    assert_eq!((gone.status, &*gone.code()), (404, "user.unknown"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_manages_always() {
    let stage = Stage::start().await;
    for (method, body) in [("PUT", json!({"manages": false})), ("DELETE", Value::Null)] {
        let refused = ask(&stage, method, "/v5.0/acme/user/alice", &body).await;
        assert_eq!((refused.status, &*refused.code()), (409, "user.last"), "{method}");
    }
    assert_eq!(
        ask(&stage, "POST", USERS, &json!({"user": "bob", "manages": true}))
            .await
            .status,
        201
    );
    let oneself = ask(&stage, "DELETE", "/v5.0/acme/user/alice", &Value::Null).await;
    assert_eq!((oneself.status, &*oneself.code()), (409, "user.last"), "not oneself");
    let changed = ask(&stage, "PUT", "/v5.0/acme/user/alice", &json!({"manages": false})).await;
    assert_eq!(
        (changed.status, &changed.json()["body"]["manages"]),
        (200, &json!(false))
    );
    // From the next request on.
    let denied = ask(&stage, "GET", USERS, &Value::Null).await;
    assert_eq!((denied.status, &*denied.code()), (403, "scope.denied"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_ends_password_and_logins_and_gives_a_new_link() {
    let stage = Stage::start().await;
    let added = ask(&stage, "POST", USERS, &json!({"user": "bob"})).await;
    let cookie = welcome(&stage, &added.json()["body"]["link"]).await;
    let reset = ask(&stage, "POST", "/v5.0/acme/user/bob/reset", &Value::Null).await;
    assert_eq!(reset.status, 200, "{reset:?}");
    let ended = with_cookie(&stage, "GET", "/v5.0/acme/stream", &cookie, "").await;
    assert_eq!(ended.status, 401);
    let old = json!({"company": "acme", "user": "bob", "password": PASSWORD}).to_string();
    assert_eq!(stage.request_with("POST", "/login", &[], &old).await.status, 401);
    welcome(&stage, &reset.json()["body"]["link"]).await;
    assert_eq!(stage.request_with("POST", "/login", &[], &old).await.status, 201);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_manage_keeps_their_own_and_restricted_tokens_only() {
    let stage = Stage::start().await;
    let added = ask(&stage, "POST", USERS, &json!({"user": "bob"})).await;
    let bob = welcome(&stage, &added.json()["body"]["link"]).await;
    let reader = stage
        .add_token(&[("/acme/**", "read"), ("/acme/**", "manage")], None)
        .await;
    let alices = format!("/v5.0/acme/token/{}", stage.alice.key);
    let readers = format!("/v5.0/acme/token/{}", reader.key);
    let can = r#"{"verb":"read","path":"/acme/x"}"#;
    let new = r#"{"paths":{"/acme/x":{"read":true}}}"#;
    for (method, path, body, by_bob) in [
        ("GET", USERS, "", 403),
        ("POST", USERS, r#"{"user":"carol"}"#, 403),
        ("PUT", "/v5.0/acme/user/bob", r#"{"manages":true}"#, 403),
        ("DELETE", "/v5.0/acme/user/alice", "", 403),
        ("POST", "/v5.0/acme/user/alice/reset", "", 403),
        ("GET", "/v5.0/acme/audit", "", 403),
        ("GET", &*alices, "", 403),
        ("DELETE", &*alices, "", 403),
        ("POST", &*format!("{alices}/rotate"), "", 403),
        ("POST", &*format!("{alices}/can"), can, 403),
        ("GET", "/v5.0/acme/token", "", 200),
        ("POST", "/v5.0/acme/token", new, 201),
        ("GET", &*readers, "", 200),
        ("POST", &*format!("{readers}/can"), can, 200),
    ] {
        let answer = with_cookie(&stage, method, path, &bob, body).await;
        assert_eq!(answer.status, by_bob, "{method} {path}: {answer:?}");
        let restricted = stage.request(method, path, Some(&reader), body).await;
        assert_eq!(
            (restricted.status, &*restricted.code()),
            (403, "scope.denied"),
            "{method} {path}"
        );
    }
    let list = with_cookie(&stage, "GET", "/v5.0/acme/token", &bob, "").await.json();
    let mut listed = list["body"].as_array().expect("a list").iter();
    assert!(!listed.any(|token| token["user"] == "alice"), "{list}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_has_so_many_users() {
    let stage = Stage::with(&["--max-users", "2"]).await;
    assert_eq!(ask(&stage, "POST", USERS, &json!({"user": "bob"})).await.status, 201);
    let full = ask(&stage, "POST", USERS, &json!({"user": "carol"})).await;
    assert_eq!((full.status, &*full.code()), (429, "limit.users"));
    let bad = ask(&stage, "POST", USERS, &json!({"user": "a b"})).await;
    assert!(matches!(bad.status, 400 | 429), "{bad:?}");
    stage.end().await;
}

/// Rights are those of the moment when something is done, however long the request takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_while_their_request_arrives_does_nothing_more() {
    let stage = Stage::start().await;
    let bob = stage.add_user("acme", "bob").await;
    let body = r#"{"user":"mallory","manages":true}"#;
    let head = format!(
        "POST {USERS} HTTP/1.1\r\nHost: test\r\nX-Auth-User: bob\r\nX-Auth-Token: {}\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        bob.token,
        body.len()
    );
    let mut raw = RawSocket::connect(stage.address).await;
    raw.send(head.as_bytes()).await;
    let go_on = raw.head().await;
    assert!(go_on.starts_with("HTTP/1.1 100"), "the body is waited for: {go_on}");
    let removed = ask(&stage, "DELETE", &format!("{USERS}/bob"), &Value::Null).await;
    assert_eq!(removed.status, 200, "{removed:?}");
    raw.send(body.as_bytes()).await;
    let (head, text) = raw.answer().await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}{text}");
    let list = stage.get(USERS).await;
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    drop(raw);
    stage.end().await;
}
