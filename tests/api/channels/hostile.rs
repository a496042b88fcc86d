//! Tokens that are none, or are somebody else's, or for something else; and what keys may not do.

use crate::channels::{CONNECTIONS, MESSAGES, TOKENS, decoded, now_s};
use crate::stage::Stage;
use hmac::Mac;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The key that the server signs with: whoever has the database file has it.
fn own_key(stage: &Stage) -> Vec<u8> {
    let halves = ["first", "second"].map(|half| {
        let purpose = format!("streamgate channel token 1, {half} half");
        stage.catalogue.key_for(&purpose).finalize().into_bytes()
    });
    halves.concat()
}

fn sign(algorithm: Algorithm, key: &[u8], claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key)).expect("a JWT")
}

/// Why nobody is let in with this token: status and code.
async fn refused(stage: &Stage, token: &str) -> (u16, String) {
    let (status, text) = stage.try_channels(token).await.err().expect("no socket");
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(body["detail"].is_string(), "{text}");
    (status, body["code"].as_str().expect("a code").to_owned())
}

fn outcome(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// What a subscription with this channel token is refused with.
async fn refused_channel(stage: &Stage, channel: &str, auth: &str) -> String {
    let mut socket = stage.channels(&stage.alice.token).await;
    let frame = json!({"event": "subscription-add", "data": {"channel": channel, "auth": auth}});
    let told: Value = socket.ask(&frame.to_string()).await.parse().expect("JSON");
    let detail = told["data"]["detail"].as_str().expect("a detail");
    assert!(detail.starts_with("cannot subscribe: "), "{told}");
    assert_eq!(
        (&told["event"], &told["data"]["where"]),
        (&json!("error"), &json!(channel))
    );
    told["data"]["code"].as_str().expect("a code").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_let_in_with_a_token_that_is_not_ours() {
    let stage = Stage::start().await;
    let key = own_key(&stage);
    let good = stage.connection_token(&stage.alice.token).await;
    let claims = decoded(&good);
    // To be sure that it is the key.
    drop(
        stage
            .try_channels(&sign(Algorithm::HS512, &key, &claims))
            .await
            .expect("a socket"),
    );
    stage.until_metric("connections", 0).await;
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    let last = if signature.ends_with('A') { "Q" } else { "A" };
    let bent = format!("{}{last}", &signature[..signature.len() - 1]);
    for bad in [
        "x".to_owned(),
        "..".to_owned(),
        "x".repeat(9_000),
        "%00".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{bent}"),
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}."),
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.{signature}"),
        sign(Algorithm::HS256, &key, &claims),
        sign(Algorithm::HS384, &key, &claims),
        sign(Algorithm::HS512, &[0; 64], &claims),
        sign(Algorithm::HS512, stage.alice.token.as_bytes(), &claims),
        stage.channel_token(&stage.alice.token, "a").await,
        stage.session(&stage.alice).await,
        stage.alice.token.clone(),
    ] {
        assert_eq!(refused(&stage, &bad).await, outcome(401, "ticket.refused"), "{bad}");
    }
    let mut late = claims.clone();
    late["exp"] = json!(now_s());
    let late = sign(Algorithm::HS512, &key, &late);
    assert_eq!(refused(&stage, &late).await, outcome(401, "ticket.expired"));
    for (name, value) in [
        ("id", json!("x")),
        ("key", json!("x")),
        ("category", json!("subscription")),
    ] {
        let mut claims = claims.clone();
        claims[name] = value;
        let odd = sign(Algorithm::HS512, &key, &claims);
        assert_eq!(refused(&stage, &odd).await, outcome(401, "ticket.refused"), "{name}");
    }
    // What is no path of a token is no socket.
    for path in ["/api/v1/ws/", "/api/v1/ws//", "/api/v1/ws/a/b/"] {
        let url = format!("ws://{}{path}", stage.address);
        assert!(stage.try_open(&url, &[]).await.is_err(), "{path}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_subscribes_with_a_channel_token_that_is_not_for_it() {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let reader = stage.add_token(&[("/acme/a", "read")], None).await;
    stage.settle(json!({"allowChannelAuthorization": true})).await;
    let key = own_key(&stage);
    let good = stage.channel_token(&stage.alice.token, "a").await;
    let claims = decoded(&good);
    let mut late = claims.clone();
    late["exp"] = json!(now_s());
    let own = stage.channel_token(&reader.token, "a").await;
    let mut wide = decoded(&own);
    wide["channel"] = json!("b");
    for (channel, auth, code) in [
        ("a", "x".to_owned(), "ticket.refused"),
        ("a", String::new(), "ticket.refused"),
        ("a", sign(Algorithm::HS256, &key, &claims), "ticket.refused"),
        ("a", sign(Algorithm::HS512, &[0; 64], &claims), "ticket.refused"),
        ("a", stage.connection_token(&stage.alice.token).await, "ticket.refused"),
        ("a", stage.channel_token(&albert.token, "a").await, "channel.denied"),
        ("b", good.clone(), "channel.denied"),
        ("A", good.clone(), "channel.denied"),
        ("a.a", good, "channel.denied"),
        ("a", sign(Algorithm::HS512, &key, &late), "ticket.expired"),
        // Even if we had signed it, its key may not read that.
        ("b", sign(Algorithm::HS512, &key, &wide), "scope.denied"),
    ] {
        assert_eq!(refused_channel(&stage, channel, &auth).await, code, "{channel} {auth}");
    }
    let address = format!("/v5.0/acme/token/{}", reader.key);
    assert_eq!(
        stage.request("DELETE", &address, Some(&stage.alice), "").await.status,
        200
    );
    assert_eq!(refused_channel(&stage, "a", &own).await, "token.revoked");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_token_widens_nothing() {
    let stage = Stage::start().await;
    let reader = stage.add_token(&[("/acme/a/**", "read")], None).await;
    stage.settle(json!({"allowChannelAuthorization": true})).await;
    let token = stage.channel_token(&stage.alice.token, "b").await;
    let mut socket = stage.channels(&reader.token).await;
    let frame = json!({"event": "subscription-add", "data": {"channel": "b", "auth": token}});
    let told = socket.ask(&frame.to_string()).await;
    assert_eq!(
        told,
        r#"{"event":"error","data":{"detail":"cannot subscribe: no right to read /acme/b","where":"b","code":"scope.denied"}}"#
    );
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_does_what_its_scope_says_and_no_more() {
    let stage = Stage::start().await;
    stage.settle(json!({"allowClientSend": true})).await;
    let reader = stage.add_token(&[("/acme/a/**", "read")], None).await;
    let writer = stage.add_token(&[("/acme/a/**", "write")], None).await;
    let answer = |key: &str, path: &str, body: &str| {
        let (key, path, body) = (key.to_owned(), path.to_owned(), body.to_owned());
        let stage = &stage;
        async move {
            let answer = stage.ask_with_key("POST", &path, &key, &body).await;
            (answer.status, answer.code())
        }
    };
    let denied = outcome(403, "scope.denied");
    let fine = outcome(200, "");
    let to = |channel: &str| json!({"category": 1, "channel": channel, "data": "x"}).to_string();
    assert_eq!(answer(&reader.token, CONNECTIONS, "").await, fine);
    assert_eq!(answer(&writer.token, CONNECTIONS, "").await, denied);
    assert_eq!(answer(&reader.token, TOKENS, &to("a.b")).await, fine);
    assert_eq!(answer(&reader.token, TOKENS, &to("b")).await, denied);
    assert_eq!(answer(&writer.token, TOKENS, &to("a.b")).await, denied);
    assert_eq!(answer(&writer.token, MESSAGES, &to("a.b")).await, fine);
    assert_eq!(answer(&writer.token, MESSAGES, &to("b")).await, denied);
    assert_eq!(answer(&reader.token, MESSAGES, &to("a.b")).await, denied);
    let token = stage.connection_token(&reader.token).await;
    assert_eq!(decoded(&token)["allowClientSend"], false);
    let mut socket = stage.try_channels(&token).await.expect("a socket");
    socket.join("a.b").await;
    let told = socket.ask(r#"{"event":"a.b","data":{"raw":"x"}}"#).await;
    assert!(told.contains(r#""where":"a.b","code":"channel.denied""#), "{told}");
    let told = socket
        .ask(r#"{"event":"subscription-add","data":{"channel":"b"}}"#)
        .await;
    assert!(told.contains("cannot subscribe: no right to read /acme/b"), "{told}");
    // Who may write somewhere is told so, and refused elsewhere.
    let both = stage
        .add_token(&[("/acme/**", "read"), ("/acme/a/*", "write")], None)
        .await;
    let mut other = stage.channels(&both.token).await;
    other.join("b").await;
    let told = other.ask(r#"{"event":"b","data":{"raw":"x"}}"#).await;
    assert_eq!(
        told,
        r#"{"event":"error","data":{"detail":"no right to write /acme/b","where":"b","code":"scope.denied"}}"#
    );
    drop((socket, other));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_ended_ends_what_it_let_in() {
    let stage = Stage::start().await;
    let reader = stage.add_token(&[("/acme/**", "read")], None).await;
    let token = stage.connection_token(&reader.token).await;
    let mut socket = stage.channels(&reader.token).await;
    socket.join("a").await;
    let address = format!("/v5.0/acme/token/{}", reader.key);
    assert_eq!(
        stage.request("DELETE", &address, Some(&stage.alice), "").await.status,
        200
    );
    assert_eq!(socket.closed().await.0, 4001);
    drop(socket);
    assert_eq!(refused(&stage, &token).await, outcome(401, "token.revoked"));
    let answer = stage.ask_with_key("POST", CONNECTIONS, &reader.token, "").await;
    assert_eq!((answer.status, answer.code()), outcome(401, "token.revoked"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_held_to_places_is_good_there_only() {
    let origin = "https://app.example.com";
    let stage = Stage::with(&["--allowed-origins", "*"]).await;
    let body = json!({"paths": {"/acme/**": {"read": true}}, "origins": [origin]}).to_string();
    let made = stage
        .request("POST", "/v5.0/acme/token", Some(&stage.alice), &body)
        .await;
    let key = made.json()["body"]["token"].as_str().expect("a secret").to_owned();
    let answer = stage.ask_with_key("POST", CONNECTIONS, &key, "").await;
    assert_eq!((answer.status, answer.code()), outcome(403, "origin.denied"));
    let headers = [("Authorization", &*key), ("Origin", origin)];
    let answer = stage.request_with("POST", CONNECTIONS, &headers, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    for headers in [&[][..], &[("origin", "https://evil.example.com")]] {
        let (status, text) = stage.try_channels_with(&token, headers).await.err().expect("no socket");
        assert_eq!(status, 403, "{text}");
    }
    let own = [("origin", origin)];
    drop(stage.try_channels_with(&token, &own).await.expect("a socket"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_counted_and_right_keys_are_not_refused_because_of_them() {
    let stage = Stage::with(&["--rate-attempts", "2", "--rate-sessions", "3"]).await;
    for expected in ["auth.refused", "auth.refused", "limit.attempts"] {
        let answer = stage.ask_with_key("POST", MESSAGES, "x", "").await;
        assert_eq!(answer.code(), expected);
    }
    for _ in 0..3 {
        stage.connection_token(&stage.alice.token).await;
    }
    let answer = stage.ask_with_key("POST", CONNECTIONS, &stage.alice.token, "").await;
    assert_eq!((answer.status, answer.code()), outcome(429, "limit.rate"));
    assert!(answer.headers.contains_key("retry-after"));
    stage.end().await;
}
