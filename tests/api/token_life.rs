//! The life of a token over HTTP: made, used, asked, rotated, held to places, ended.

use crate::stage::{Account, Answer, Socket, Stage};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use std::time::Duration;
use streamgate::domain::id::TokenKey;
use streamgate::domain::path::CompanyName;

const TOKENS: &str = "/v5.0/acme/token";
const DOOR: &str = "/acme/door/1";

fn now_ms() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("a time after 1970");
    u64::try_from(since.as_millis()).expect("a time before the end")
}

/// Whoever an answer hands a token to.
fn holder(answer: &Answer) -> Account {
    let body = &answer.json()["body"];
    Account {
        company: "acme".to_owned(),
        user: body["user"].as_str().map(str::to_owned),
        token: body["token"].as_str().expect("a secret").to_owned(),
        key: TokenKey::parse(body["id"].as_str().expect("an id")).expect("an id"),
    }
}

async fn post(stage: &Stage, account: &Account, path: &str, body: &Value) -> Answer {
    stage.request("POST", path, Some(account), &body.to_string()).await
}

async fn make(stage: &Stage, body: &Value) -> Account {
    let answer = post(stage, &stage.alice, TOKENS, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    holder(&answer)
}

async fn rotate(stage: &Stage, by: &Account, old: &Account, overlap: u64) -> Answer {
    let path = format!("{TOKENS}/{}/rotate", old.key);
    post(stage, by, &path, &json!({"overlap": overlap})).await
}

async fn show(stage: &Stage, account: &Account) -> Value {
    stage.get(&format!("{TOKENS}/{}", account.key)).await
}

/// The status and code of opening a session.
async fn opens(stage: &Stage, account: &Account) -> (u16, String) {
    let answer = stage.open_session(account, "").await;
    let code = answer.code();
    (answer.status, code)
}

async fn closed_soon(socket: &mut Socket) -> u16 {
    let closed = tokio::time::timeout(Duration::from_secs(5), socket.closed()).await;
    closed.expect("a close frame soon").0
}

fn refused(code: &str, status: u16) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_made_used_shown_and_revoked() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 10).await;
    let paths = json!({"/acme/door/*": {"read": true}});
    let expires = now_ms() + 3_600_000;
    let body = json!({"label": "the lobby", "paths": paths, "expires": expires});
    let made = post(&stage, &stage.alice, TOKENS, &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = holder(&made);
    let mut expected = made.json()["body"].take();
    expected.as_object_mut().expect("an object").remove("token");
    assert_eq!(show(&stage, &token).await, expected, "and never the secret again");
    for (name, value) in [
        ("label", json!("the lobby")),
        ("paths", paths),
        ("user", Value::Null),
        ("expires", json!(expires)),
        ("revoked", Value::Null),
        ("lastUsed", Value::Null),
        ("connections", json!(0)),
        ("origins", json!([])),
        ("addresses", json!([])),
    ] {
        assert_eq!(expected[name], value, "{name}");
    }
    let mut socket = stage.socket(&token).await;
    socket.subscribe(DOOR).await;
    let used = show(&stage, &token).await;
    assert_eq!(used["connections"], 1);
    assert!(used["lastUsed"].is_u64(), "{used}");

    let path = format!("{TOKENS}/{}", token.key);
    for _ in 0..2 {
        let revoked = stage.request("DELETE", &path, Some(&stage.alice), "").await;
        assert_eq!((revoked.status, revoked.json()["body"].clone()), (200, json!({})));
    }
    assert_eq!(closed_soon(&mut socket).await, 4001);
    assert_eq!(opens(&stage, &token).await, refused("token.revoked", 401));
    assert!(show(&stage, &token).await["revoked"].is_u64());
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_the_newest_first_and_revoked_ones_last() {
    let stage = Stage::start().await;
    let body = json!({"paths": {DOOR: {"read": true}}});
    let mut made = Vec::new();
    for _ in 0..3 {
        // Two of one moment have no order.
        let before = now_ms();
        made.push(make(&stage, &body).await.key.to_string());
        stage.until("time passes", || async { now_ms() > before + 1 }).await;
    }
    let path = format!("{TOKENS}/{}", made[2]);
    assert_eq!(stage.request("DELETE", &path, Some(&stage.alice), "").await.status, 200);
    let ids = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|token| token["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    let alice = stage.alice.key.to_string();
    let all = stage.request("GET", TOKENS, Some(&stage.alice), "").await;
    let expected = [&*made[1], &*made[0], &*alice, &*made[2]];
    assert_eq!(ids(&all.json()["body"]), expected);
    assert_eq!(all.headers["x-total-count"], "4");
    let part = stage.get(&format!("{TOKENS}?start=1&limit=2")).await;
    assert_eq!(ids(&part), expected[1..3]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotating_with_an_overlap_keeps_the_old_one_for_a_while() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 10).await;
    let places = json!(["127.0.0.0/8"]);
    let body = json!({"label": "x", "paths": {DOOR: {"read": true}}, "addresses": places});
    let old = make(&stage, &body).await;
    let mut socket = stage.socket(&old).await;
    let answer = rotate(&stage, &stage.alice, &old, 2).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let new = holder(&answer);
    let body = &answer.json()["body"];
    assert_eq!((&body["label"], &body["addresses"]), (&json!("x"), &places));
    assert_eq!((opens(&stage, &old).await.0, opens(&stage, &new).await.0), (201, 201));
    socket.subscribe(DOOR).await;
    assert_eq!(closed_soon(&mut socket).await, 4002, "its time is over");
    assert_eq!(opens(&stage, &old).await, refused("token.expired", 401));
    assert_eq!(opens(&stage, &new).await.0, 201);
    drop(socket);

    let newest = holder(&rotate(&stage, &stage.alice, &new, 0).await);
    assert_eq!(opens(&stage, &new).await, refused("token.revoked", 401), "at once");
    assert_eq!(opens(&stage, &newest).await.0, 201);
    for ended in [&old, &new] {
        let again = rotate(&stage, &stage.alice, ended, 0).await;
        assert_eq!((again.status, &*again.code()), (409, "token.ended"));
    }
    let long = rotate(&stage, &stage.alice, &newest, u64::MAX).await;
    assert_eq!((long.status, &*long.code()), (400, "body.malformed"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_token_is_rotated_by_its_user() {
    let stage = Stage::start().await;
    let bob = stage.add_user("acme", "bob").await;
    let new = holder(&rotate(&stage, &bob, &bob, 600).await);
    assert_eq!(new.user.as_deref(), Some("bob"));
    assert_eq!((opens(&stage, &bob).await.0, opens(&stage, &new).await.0), (201, 201));
    // Nobody has more than one that lasts: rotating ends all of them.
    let newest = holder(&rotate(&stage, &new, &bob, 0).await);
    for ended in [&bob, &new] {
        assert_eq!(opens(&stage, ended).await, refused("token.revoked", 401));
    }
    assert_eq!(opens(&stage, &newest).await.0, 201);
    // Who lost it gets another from somebody who manages, though it was revoked.
    let path = format!("{TOKENS}/{}", newest.key);
    assert_eq!(stage.request("DELETE", &path, Some(&stage.alice), "").await.status, 200);
    let found = holder(&rotate(&stage, &stage.alice, &newest, 0).await);
    assert_eq!(opens(&stage, &found).await.0, 201);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_held_to_its_addresses() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 10).await;
    let paths = json!({DOOR: {"read": true, "write": true}});
    let near = make(
        &stage,
        &json!({"paths": paths, "addresses": ["127.0.0.1", "10.0.0.0/8"]}),
    )
    .await;
    let far = make(&stage, &json!({"paths": paths, "addresses": ["10.0.0.0/8"]})).await;
    stage.publish(&near, DOOR, "{}").await;
    let socket = stage.socket(&near).await;
    drop(socket);
    assert_eq!(opens(&stage, &far).await, refused("address.denied", 403));
    let body = format!(r#"{{"path":"{DOOR}","elems":{{}}}}"#);
    let published = stage.request("POST", "/v5.0/acme/event", Some(&far), &body).await;
    assert_eq!((published.status, &*published.code()), (403, "address.denied"));
    stage.end().await;
}

/// Behind a proxy that is trusted it is the address that the proxy names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_says_where_a_token_is_used() {
    let office = json!({"paths": {DOOR: {"read": true}}, "addresses": ["192.0.2.0/24"]});
    let stage = Stage::with(&["--trusted-proxies", "127.0.0.1"]).await;
    let token = make(&stage, &office).await;
    let open = async |forwarded: &str| {
        let headers = [
            ("X-Auth-Company", "acme"),
            ("X-Auth-Token", &*token.token),
            ("X-Forwarded-For", forwarded),
        ];
        stage.request_with("POST", "/session", &headers, "").await
    };
    assert_eq!(
        open("192.0.2.1, 198.51.100.1").await.code(),
        "address.denied",
        "the last one counts"
    );
    let session = open("198.51.100.1, 192.0.2.1").await;
    assert_eq!(session.status, 201, "{session:?}");
    let session = session.json()["body"]["id"].as_str().expect("an id").to_owned();
    let near = [("X-Forwarded-For", "192.0.2.1")];
    drop(stage.try_connect(&session, &near).await.expect("let in"));
    let refused = stage.try_connect(&session, &[]).await.err().expect("refused");
    assert_eq!(refused.0, 403, "{refused:?}");
    stage.end().await;

    let stage = Stage::start().await;
    let token = make(&stage, &office).await;
    let headers = [
        ("X-Auth-Company", "acme"),
        ("X-Auth-Token", &*token.token),
        ("X-Forwarded-For", "192.0.2.1"),
    ];
    let refused = stage.request_with("POST", "/session", &headers, "").await;
    assert_eq!(refused.code(), "address.denied", "nobody else is believed");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_at_a_time_that_can_be_shown() {
    let stage = Stage::start().await;
    for (expires, status) in [
        (253_402_300_799_999_u64, 201),
        (253_402_300_800_000, 400),
        (u64::MAX, 400),
    ] {
        let body = json!({"paths": {DOOR: {"read": true}}, "expires": expires});
        let answer = post(&stage, &stage.alice, TOKENS, &body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_held_to_its_origins_at_every_use() {
    const PAGE: &str = "https://app.example.com";
    let stage = Stage::with(&["--allowed-origins", "https://app.example.com,https://other.example.com"]).await;
    let token = make(
        &stage,
        &json!({"paths": {DOOR: {"read": true}}, "origins": ["https://App.example.com"]}),
    )
    .await;
    let open = async |origin: Option<&str>| {
        let mut headers = vec![("X-Auth-Company", "acme"), ("X-Auth-Token", &*token.token)];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        stage.request_with("POST", "/session", &headers, "").await
    };
    let session = open(Some(PAGE)).await;
    assert_eq!(session.status, 201, "{session:?}");
    let session = session.json()["body"]["id"].as_str().expect("an id").to_owned();
    for origin in [None, Some("https://other.example.com")] {
        let answer = open(origin).await;
        assert_eq!((answer.status, &*answer.code()), (403, "origin.denied"), "{origin:?}");
    }
    drop(stage.try_connect(&session, &[("Origin", PAGE)]).await.expect("let in"));
    for headers in [vec![], vec![("Origin", "https://other.example.com")]] {
        let refused = stage.try_connect(&session, &headers).await.err().expect("refused");
        assert_eq!(refused.0, 403, "{headers:?}");
        assert!(refused.1.contains("origin.denied"), "{refused:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_says_what_it_can_do_and_why() {
    let stage = Stage::start().await;
    let paths = json!({"/acme/door/*": {"read": true, "write": true}, "/acme/bell": {"manage": true}});
    let token = make(&stage, &json!({"paths": paths})).await;
    let path = format!("{TOKENS}/{}/can", token.key);
    let ask = async |verb: &str, of: &str| {
        let answer = post(&stage, &stage.alice, &path, &json!({"verb": verb, "path": of})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["body"].take()
    };
    let rule = json!({"pattern": "/acme/door/*", "verbs": {"read": true, "write": true}});
    let why = "/acme/door/* lets it write /acme/door/1";
    assert_eq!(
        ask("write", DOOR).await,
        json!({"allowed": true, "rule": rule, "why": why})
    );
    for (verb, of, why) in [
        ("manage", DOOR, "no rule lets it manage /acme/door/1"),
        ("read", "/acme/bell", "no rule lets it read /acme/bell"),
        ("read", "/umbrella/door/1", "the path is another company's"),
    ] {
        let expected = json!({"allowed": false, "rule": null, "why": why});
        assert_eq!(ask(verb, of).await, expected, "{verb} {of}");
    }
    let word = post(&stage, &stage.alice, &path, &json!({"verb": "own", "path": DOOR})).await;
    assert_eq!((word.status, &*word.code()), (400, "body.malformed"));
    let revoke = format!("{TOKENS}/{}", token.key);
    assert_eq!(
        stage.request("DELETE", &revoke, Some(&stage.alice), "").await.status,
        200
    );
    assert_eq!(ask("write", DOOR).await["why"], "the token was revoked");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_token_is_refused() {
    let stage = Stage::with(&["--max-tokens", "2", "--max-patterns", "2"]).await;
    let read = json!({"read": true});
    for (body, status, code) in [
        (json!({}), 400, "body.malformed"),
        (json!({"paths": {}}), 400, "body.malformed"),
        (json!({"paths": {"/acme/x": {"own": true}}}), 400, "body.malformed"),
        (json!({"paths": {"acme": read}}), 400, "path.malformed"),
        (json!({"paths": {"/umbrella/x": read}}), 403, "scope.denied"),
        (json!({"paths": {DOOR: read}, "expires": 1}), 400, "body.malformed"),
        (
            json!({"paths": {DOOR: read}, "expires": u64::MAX}),
            400,
            "body.malformed",
        ),
        (json!({"paths": {DOOR: read}, "origins": ["*"]}), 400, "body.malformed"),
        (
            json!({"paths": {DOOR: read}, "addresses": ["x"]}),
            400,
            "body.malformed",
        ),
        (
            json!({"paths": {DOOR: read}, "label": "x".repeat(1_025)}),
            400,
            "limit.text",
        ),
        (json!({"paths": {DOOR: read}, "token": "mine"}), 400, "body.malformed"),
        (
            json!({"paths": {"/acme/1": read, "/acme/2": read, "/acme/3": read}}),
            400,
            "limit.patterns",
        ),
    ] {
        let answer = post(&stage, &stage.alice, TOKENS, &body).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{body}");
    }
    let token = make(&stage, &json!({"paths": {DOOR: read}})).await;
    let full = post(&stage, &stage.alice, TOKENS, &json!({"paths": {DOOR: read}})).await;
    assert_eq!((full.status, &*full.code()), (429, "limit.tokens"));
    let path = format!("{TOKENS}/{}", token.key);
    assert_eq!(stage.request("DELETE", &path, Some(&stage.alice), "").await.status, 200);
    make(&stage, &json!({"paths": {DOOR: read}})).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signing_key_is_no_token_that_could_be_had() {
    let stage = Stage::start().await;
    let secret = "0123456789abcdef0123456789abcdef";
    let body = json!({"label": "x", "algorithm": "HS256", "key": secret, "paths": {DOOR: {"read": true}}});
    let added = post(&stage, &stage.alice, "/v5.0/acme/key", &body).await;
    assert_eq!(added.status, 201, "{added:?}");
    let id = added.json()["body"]["id"].as_str().expect("an id").to_owned();
    for (method, path) in [
        ("GET", format!("{TOKENS}/{id}")),
        ("DELETE", format!("{TOKENS}/{id}")),
        ("POST", format!("{TOKENS}/{id}/rotate")),
        ("POST", format!("{TOKENS}/{id}/can")),
    ] {
        let answer = stage.request(method, &path, Some(&stage.alice), "").await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (404, "token.unknown"),
            "{method} {path}"
        );
    }
    assert_eq!(stage.get(TOKENS).await.as_array().map(Vec::len), Some(1), "alice's own");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_ended_long_ago_are_forgotten_but_no_users_last() {
    let stage = Stage::start().await;
    let url = format!("sqlite:{}/test.db", stage.folder().display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the file");
    let end = "update token set revoked_ms = 1";
    sqlx::query(end)
        .execute(&mut connection)
        .await
        .expect("alice's has ended");
    let fill = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1100)
        insert into token (token_key, company_id, hash, scope, label, creator, created_ms, revoked_ms)
        select randomblob(8), (select company_id from company where name = 'acme'), randomblob(32), '{}', '',
        zeroblob(12), 0, i + 1 from n";
    sqlx::query(fill).execute(&mut connection).await.expect("it is filled");
    connection.close().await.expect("closed");
    stage.catalogue.sweep_tokens().await.expect("swept");
    let acme = CompanyName::parse("acme").expect("a name");
    let left = stage.catalogue.tokens_of(&acme).await.expect("tokens");
    assert_eq!(left.len(), 1_001);
    assert!(left.iter().any(|token| token.key == stage.alice.key));
    stage.end().await;
}
