//! Back ends that sign for themselves: a company's keys, and the JWTs that open sessions.

use crate::stage::{Answer, Stage};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "a secret of at least thirty-two bytes";
const RSA: (&str, &str) = (include_str!("keys/rsa.pem"), include_str!("keys/rsa.pub"));
const EC: (&str, &str) = (include_str!("keys/ec.pem"), include_str!("keys/ec.pub"));
const SHORT: &str = include_str!("keys/short.pub");
const ADDRESS: &str = "/v5.0/acme/key";

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// Claims that are good for a minute, with others put over them.
fn claims(more: Value) -> Value {
    let mut claims = json!({"company": "acme", "exp": now_s() + 60});
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).expect("a JWT")
}

async fn open(stage: &Stage, jwt: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {jwt}");
    stage
        .request_with("POST", "/session", &[("Authorization", &bearer)], body)
        .await
}

fn outcome(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

async fn add(stage: &Stage, key: &Value) -> Answer {
    stage
        .request("POST", ADDRESS, Some(&stage.alice), &key.to_string())
        .await
}

/// A key of the secret that may read below a path; its id.
async fn add_secret(stage: &Stage, path: &str) -> String {
    let key = json!({"label": "back end", "algorithm": "HS256", "key": SECRET, "paths": {path: {"read": true}}});
    let added = add(stage, &key).await;
    assert_eq!(added.status, 201, "{added:?}");
    added.json()["body"]["id"].as_str().expect("an id").to_owned()
}

async fn refused(stage: &Stage, jwt: &str) {
    let answer = open(stage, jwt, "").await;
    assert_eq!(outcome(&answer), (401, "jwt.refused".to_owned()));
    assert_eq!(answer.json()["head"]["errors"], json!(["the JWT is not accepted"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_session_may_do_what_its_key_may_and_no_more() {
    let stage = Stage::start().await;
    let id = add_secret(&stage, "/acme/**").await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let opened = open(&stage, &sign(&claims(json!({"sub": "somebody", "aud": "whoever"}))), "").await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let session = opened.json()["body"]["id"].as_str().expect("an id").to_owned();
    let mut socket = stage.connect(&session).await;
    socket.subscribe("/acme/door").await;
    stage.publish(&stage.alice, "/acme/door", "{}").await;
    assert_eq!(socket.json().await["type"], "message");
    let create = r#"{"msgId":1,"object":"event","type":"create","path":"/acme/door","value":{"elems":{}}}"#;
    assert!(socket.ask(create).await.contains("scope.denied"));
    let connections = stage.get("/v5.0/acme/connection").await;
    let shown = &connections["connections"][0];
    assert_eq!((&shown["token"], &shown["label"]), (&json!(id), &json!("back end")));
    let keys = stage.get(ADDRESS).await;
    let key = &keys[0];
    assert_eq!(
        (&key["id"], &key["algorithm"], &key["kid"]),
        (&json!(id), &json!("HS256"), &Value::Null)
    );
    assert_eq!(
        (&key["paths"], &key["revoked"]),
        (&json!({"/acme/**": {"read": true}}), &Value::Null)
    );
    assert!(key["lastUsed"].as_u64() >= key["created"].as_u64());
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_algorithm_that_is_promised_opens_sessions() {
    let stage = Stage::start().await;
    let rsa = EncodingKey::from_rsa_pem(RSA.0.as_bytes()).expect("a key");
    let ec = EncodingKey::from_ec_pem(EC.0.as_bytes()).expect("a key");
    let long = EncodingKey::from_secret(&[7; 64]);
    let point: Value = serde_json::from_str(include_str!("keys/ec.jwk.json")).expect("a JWK");
    let set = json!({"keys": [point, {"kty": "OKP", "crv": "Ed25519", "kid": "other", "x": "AAAA"}]});
    let paths = json!({"/acme/**": {"read": true}});
    let keys = [
        (
            json!({"algorithm": "RS256", "key": RSA.1, "paths": paths, "kid": "r"}),
            Algorithm::RS256,
            &rsa,
            "r",
        ),
        (
            json!({"algorithm": "ES256", "key": EC.1, "paths": paths, "kid": "e"}),
            Algorithm::ES256,
            &ec,
            "e",
        ),
        (
            json!({"algorithm": "ES256", "jwks": set, "paths": paths, "kid": "jwk"}),
            Algorithm::ES256,
            &ec,
            "jwk",
        ),
        (
            json!({"algorithm": "HS512", "key": "\u{7}".repeat(64), "paths": paths, "kid": "h"}),
            Algorithm::HS512,
            &long,
            "h",
        ),
    ];
    for (key, algorithm, signs, kid) in &keys {
        let added = add(&stage, key).await;
        assert_eq!(added.status, 201, "{added:?}");
        assert_eq!(added.json()["body"]["kid"], *kid);
        let mut header = Header::new(*algorithm);
        header.kid = Some((*kid).to_owned());
        let jwt = encode(&header, &claims(json!({})), signs).expect("a JWT");
        assert_eq!(open(&stage, &jwt, "").await.status, 201, "{kid}");
        header.kid = Some("nobody".to_owned());
        refused(&stage, &encode(&header, &claims(json!({})), signs).expect("a JWT")).await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_decides_the_algorithm_and_nobody_else() {
    let stage = Stage::start().await;
    let paths = json!({"/acme/**": {"read": true}});
    let rsa = json!({"algorithm": "RS256", "key": RSA.1, "paths": paths});
    assert_eq!(add(&stage, &rsa).await.status, 201);
    let good = claims(json!({}));
    // Who knows a public key only must not get far with it as if it were a secret.
    let public = EncodingKey::from_secret(RSA.1.trim().as_bytes());
    refused(
        &stage,
        &encode(&Header::new(Algorithm::HS256), &good, &public).expect("a JWT"),
    )
    .await;
    let other = EncodingKey::from_rsa_pem(RSA.0.as_bytes()).expect("a key");
    refused(
        &stage,
        &encode(&Header::new(Algorithm::RS512), &good, &other).expect("a JWT"),
    )
    .await;
    let right = encode(&Header::new(Algorithm::RS256), &good, &other).expect("a JWT");
    assert_eq!(open(&stage, &right, "").await.status, 201);
    let claims = right.split('.').nth(1).expect("claims");
    for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"] {
        refused(&stage, &format!("{header}.{claims}.")).await;
    }
    let (head, signature) = right.rsplit_once('.').expect("a signature");
    refused(&stage, &format!("{head}.{}", signature.replace(|_| true, "A"))).await;
    refused(&stage, head).await;
    refused(&stage, "x").await;
    refused(&stage, &"x".repeat(9_000)).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_bounded() {
    let stage = Stage::with(&["--jwt-max-age", "1h"]).await;
    add_secret(&stage, "/acme/**").await;
    let at = |more: Value| sign(&claims(more));
    let now = now_s();
    for good in [
        json!({"exp": now + 3_600}),
        json!({"exp": now - 30}),
        json!({"nbf": now + 30, "iat": now + 30}),
        json!({"exp": now as f64 + 0.5}),
    ] {
        assert_eq!(open(&stage, &at(good.clone()), "").await.status, 201, "{good}");
    }
    let expired = open(&stage, &at(json!({"exp": now - 90})), "").await;
    assert_eq!(outcome(&expired), (401, "jwt.expired".to_owned()));
    for bad in [
        json!({"exp": now + 3_600 + 120}),
        json!({"exp": u64::MAX}),
        json!({"exp": null}),
        json!({"exp": "soon"}),
        json!({"nbf": now + 120}),
        json!({"iat": now + 120}),
        json!({"paths": null}),
        json!({"paths": {"/acme/**": {"dance": true}}}),
        json!({"company": "umbrella"}),
        json!({"company": null}),
    ] {
        refused(&stage, &at(bad)).await;
    }
    refused(&stage, &sign(&json!({"company": "acme"}))).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_narrows_and_never_widens() {
    let mut stage = Stage::start().await;
    add_secret(&stage, "/acme/door/**").await;
    for path in ["/acme/door/1", "/acme/door/2"] {
        stage.add_stream(&stage.alice, path, 10).await;
    }
    let narrow = json!({"paths": {"/acme/door/1": {"read": true}}, "ttl": 30});
    let opened = open(&stage, &sign(&claims(narrow)), "").await;
    let session = opened.json()["body"]["id"].as_str().expect("an id").to_owned();
    let mut socket = stage.connect(&session).await;
    socket.subscribe("/acme/door/1").await;
    let other = r#"{"msgId":1,"object":"event","type":"subscribe","path":"/acme/door/2"}"#;
    assert!(socket.ask(other).await.contains("scope.denied"));
    let body = r#"{"paths":{"/acme/door/2":{"read":true}}}"#;
    assert_eq!(open(&stage, &sign(&claims(json!({}))), body).await.status, 201);
    for wide in [
        json!({"/acme/**": {"read": true}}),
        json!({"/acme/door/1": {"write": true}}),
    ] {
        let answer = open(&stage, &sign(&claims(json!({"paths": wide}))), "").await;
        assert_eq!(outcome(&answer), (403, "scope.denied".to_owned()));
    }
    let wider = open(
        &stage,
        &sign(&claims(json!({}))),
        r#"{"paths":{"/acme/**":{"read":true}}}"#,
    )
    .await;
    assert_eq!(outcome(&wider), (403, "scope.denied".to_owned()));
    drop(socket);
    stage.until_metric("connections", 0).await;
    // What the session was narrowed to is not in its id: after a restart it has lapsed, not widened.
    stage.restart().await;
    let lapsed = stage.try_connect(&session, &[]).await.map(|_| ()).expect_err("lapsed");
    assert!(lapsed.1.contains("session.lapsed"), "{lapsed:?}");
    assert_eq!(
        open(&stage, &sign(&claims(json!({}))), "").await.status,
        201,
        "the key is still there"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_ends_what_it_opened() {
    let stage = Stage::start().await;
    let id = add_secret(&stage, "/acme/**").await;
    let opened = open(&stage, &sign(&claims(json!({}))), "").await;
    let session = opened.json()["body"]["id"].as_str().expect("an id").to_owned();
    let mut socket = stage.connect(&session).await;
    stage.until_metric("connections", 1).await;
    let address = format!("{ADDRESS}/{id}");
    assert_eq!(
        stage.request("DELETE", &address, Some(&stage.alice), "").await.status,
        200
    );
    assert_eq!(socket.closed().await.0, 4001);
    refused(&stage, &sign(&claims(json!({})))).await;
    assert!(stage.get(ADDRESS).await[0]["revoked"].as_u64().is_some());
    let entry = |action: &str| [action.to_owned(), id.clone(), "alice".to_owned()];
    assert_eq!(stage.audited(2).await, [entry("key.removed"), entry("key.added")]);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_sound_keys_are_taken() {
    let stage = Stage::start().await;
    let paths = json!({"/acme/**": {"read": true}});
    for (algorithm, key) in [
        ("HS256", "too short"),
        ("HS256", RSA.1),
        ("RS256", SHORT),
        ("RS256", EC.1),
        ("RS256", RSA.0),
        ("ES256", RSA.1),
        ("ES256", EC.0),
        ("ES256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
        ("none", SECRET),
        ("HS1", SECRET),
    ] {
        let answer = add(&stage, &json!({"algorithm": algorithm, "key": key, "paths": paths})).await;
        assert_eq!(
            outcome(&answer),
            (400, "body.malformed".to_owned()),
            "{algorithm} {key}"
        );
    }
    for wrong in [
        json!({"algorithm": "HS256", "paths": paths}),
        json!({"algorithm": "HS256", "key": SECRET}),
        json!({"algorithm": "HS256", "key": SECRET, "jwks": {"keys": []}, "paths": paths}),
        json!({"algorithm": "ES256", "jwks": {"keys": []}, "paths": paths}),
    ] {
        assert_eq!(
            outcome(&add(&stage, &wrong).await),
            (400, "body.malformed".to_owned()),
            "{wrong}"
        );
    }
    let foreign = json!({"algorithm": "HS256", "key": SECRET, "paths": {"/umbrella/**": {"read": true}}});
    assert_eq!(outcome(&add(&stage, &foreign).await), (403, "scope.denied".to_owned()));
    assert_eq!(stage.get(ADDRESS).await, json!([]));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_for_users_of_their_company_who_manage() {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let token = stage.add_token(&[("/acme/**", "manage")], None).await;
    let bob = stage.add_plain_user("bob").await;
    let id = add_secret(&stage, "/acme/**").await;
    let one = format!("{ADDRESS}/{id}");
    for (method, address, body) in [("GET", ADDRESS, ""), ("POST", ADDRESS, "{}"), ("DELETE", &one, "")] {
        for account in [&token, &bob] {
            let denied = stage.request(method, address, Some(account), body).await;
            assert_eq!(outcome(&denied), (403, "scope.denied".to_owned()), "{method}");
        }
        let other = stage.request(method, address, Some(&albert), body).await;
        assert_eq!(outcome(&other), (401, "auth.refused".to_owned()), "{method}");
    }
    for (account, address) in [
        (&albert, format!("/v5.0/umbrella/key/{id}")),
        (&stage.alice, format!("{ADDRESS}/{}", token.key)),
        (&stage.alice, format!("{ADDRESS}/k0000000000000000")),
    ] {
        let unknown = stage.request("DELETE", &address, Some(account), "").await;
        assert_eq!(outcome(&unknown), (404, "token.unknown".to_owned()), "{address}");
    }
    assert_eq!(open(&stage, &sign(&claims(json!({}))), "").await.status, 201);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_has_so_many_keys_and_no_more() {
    let stage = Stage::start().await;
    let mut ids = Vec::new();
    for _ in 0..32 {
        ids.push(add_secret(&stage, "/acme/**").await);
    }
    let key = json!({"algorithm": "HS256", "key": SECRET, "paths": {}});
    assert_eq!(outcome(&add(&stage, &key).await), (429, "limit.signing".to_owned()));
    let address = format!("{ADDRESS}/{}", ids[0]);
    assert_eq!(
        stage.request("DELETE", &address, Some(&stage.alice), "").await.status,
        200
    );
    assert_eq!(add(&stage, &key).await.status, 201);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_never_in_the_file_or_an_answer_as_it_is() {
    let mut stage = Stage::start().await;
    add_secret(&stage, "/acme/**").await;
    let listed = stage.request("GET", ADDRESS, Some(&stage.alice), "").await;
    assert!(!listed.text.contains(SECRET));
    stage.stop().await;
    for file in std::fs::read_dir(stage.folder()).expect("a folder") {
        let path = file.expect("a file").path();
        let bytes = std::fs::read(&path).expect("bytes");
        let found = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        assert!(!found, "{}", path.display());
    }
}
