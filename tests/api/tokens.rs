//! Tokens: how they end (revoked, expired, rotated) for whoever holds a socket, a session or a
//! request in hand, and what a scope lets them do.
//!
//! Tokens are changed on the database file, as the command line does from a process of its own.

use crate::stage::{Account, Answer, BY, Socket, Stage};
use std::time::Duration;
use streamgate::catalogue::NewToken;
use streamgate::domain::path::{CompanyName, UserName};
use streamgate::domain::scope::Scope;

const DOOR: &str = "/acme/door/1";
const REVOKED: &str =
    r#"{"head":{"ok":false,"status":401,"errors":["the token was revoked"],"code":"token.revoked"},"body":{}}"#;
const EXPIRED: &str =
    r#"{"head":{"ok":false,"status":401,"errors":["the token has expired"],"code":"token.expired"},"body":{}}"#;

/// Far longer than it may take, far shorter than anything else that would close a socket.
const SOON: Duration = Duration::from_secs(5);

fn acme() -> CompanyName {
    CompanyName::parse("acme").expect("a name")
}

fn now_ms() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("a time after 1970");
    u64::try_from(since.as_millis()).expect("a time before the end")
}

async fn closed_soon(socket: &mut Socket) -> (u16, String) {
    let closed = tokio::time::timeout(SOON, socket.closed()).await;
    closed.expect("a close frame soon")
}

async fn try_publish(stage: &Stage, account: &Account) -> Answer {
    let body = format!(r#"{{"path":"{DOOR}","elems":{{}}}}"#);
    stage.request("POST", "/v5.0/acme/event", Some(account), &body).await
}

/// Sessions, sockets of sessions opened before, and requests: nothing takes the token any more.
async fn assert_useless(stage: &Stage, account: &Account, session: &str, refusal: &str) {
    let opened = stage.open_session(account, "").await;
    assert_eq!((opened.status, &*opened.text), (401, refusal));
    match stage.try_connect(session, &[]).await {
        Err(refused) => assert_eq!(refused, (401, refusal.to_owned())),
        Ok(_) => panic!("let in by a token that has ended"),
    }
    let published = try_publish(stage, account).await;
    assert_eq!(published.status, 401);
    let code = &published.code();
    assert!(refusal.contains(&format!(r#""code":"{code}""#)), "{published:?}");
}

/// When the token was used last, as the file says; 0 is never.
async fn last_used(stage: &Stage, account: &Account) -> u64 {
    let tokens = stage.catalogue.tokens_of(&acme()).await.expect("tokens");
    let token = tokens.iter().find(|token| token.key == account.key);
    let token = token.expect("the token");
    token.used_ms.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_closes_its_sockets_with_a_reason() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 10).await;
    let lost = stage
        .add_token(&[("/acme/door/*", "read"), ("/acme/door/*", "write")], None)
        .await;
    let kept = stage.add_token(&[("/acme/door/*", "read")], None).await;
    let session = stage.session(&lost).await;
    let narrow = stage
        .open_session(&lost, r#"{"paths":{"/acme/door/1":{"read":true}}}"#)
        .await;
    let narrow = narrow.json()["body"]["id"].as_str().expect("an id").to_owned();
    let mut lost_sockets = Vec::new();
    for id in [&session, &session, &narrow] {
        lost_sockets.push(stage.connect(id).await);
    }
    // On more than one worker, one of them with nothing but silence.
    for socket in &mut lost_sockets[1..] {
        socket.subscribe(DOOR).await;
    }
    let mut kept_socket = stage.socket(&kept).await;
    kept_socket.subscribe(DOOR).await;

    stage.catalogue.revoke_token(lost.key, &BY).await.expect("a token");
    for socket in &mut lost_sockets {
        let (code, reason) = closed_soon(socket).await;
        assert_eq!((code, &*reason), (4001, "token.revoked: the token was revoked"));
    }
    drop(lost_sockets);
    assert_useless(&stage, &lost, &session, REVOKED).await;
    assert_useless(&stage, &lost, &narrow, REVOKED).await;
    stage.publish(&stage.alice, DOOR, "{}").await;
    assert_eq!(kept_socket.json().await["offset"], 1);
    stage.until_metric("subscriptions", 1).await;
    drop(kept_socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_closes_its_sockets_with_a_reason() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 10).await;
    let expires_ms = now_ms() + 2_000;
    let token = stage
        .add_token(&[(DOOR, "read"), (DOOR, "write")], Some(expires_ms))
        .await;
    let session = stage.session(&token).await;
    let mut socket = stage.connect(&session).await;
    socket.subscribe(DOOR).await;
    assert_eq!(try_publish(&stage, &token).await.status, 201);
    assert_eq!(socket.json().await["offset"], 1);

    let (code, reason) = closed_soon(&mut socket).await;
    assert_eq!((code, &*reason), (4002, "token.expired: the token has expired"));
    assert!(now_ms() >= expires_ms, "not before its time");
    assert_useless(&stage, &token, &session, EXPIRED).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotating_a_user_ends_the_old_token_and_starts_a_new_one() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 10).await;
    let old = stage.add_user("acme", "bob").await;
    let session = stage.session(&old).await;
    let mut socket = stage.connect(&session).await;
    let bystander = stage.session(&stage.alice).await;
    let mut bystander = stage.connect(&bystander).await;

    let bob = UserName::parse("bob").expect("a name");
    let issued = stage
        .catalogue
        .rotate_user(&acme(), &bob, &BY)
        .await
        .expect("a new token");
    assert_eq!(closed_soon(&mut socket).await.0, 4001);
    drop(socket);
    assert_useless(&stage, &old, &session, REVOKED).await;
    let new = Account {
        token: issued.secret,
        key: issued.key,
        ..old
    };
    let opened = || async { stage.open_session(&new, "").await.status == 201 };
    stage.until("the server knows the new token", opened).await;
    let session = stage.session(&new).await;
    let mut socket = stage.connect(&session).await;
    socket.subscribe(DOOR).await;
    assert_eq!(try_publish(&stage, &new).await.status, 201);
    assert_eq!(socket.json().await["offset"], 1);
    bystander.assert_quiet().await;
    drop((socket, bystander));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_revoked_stays_revoked_after_a_restart() {
    let mut stage = Stage::start().await;
    let token = stage.add_token(&[(DOOR, "read")], None).await;
    let session = stage.session(&token).await;
    stage.catalogue.revoke_token(token.key, &BY).await.expect("a token");
    // Whether the server saw it before it stopped makes no difference.
    stage.restart().await;
    assert_useless(&stage, &token, &session, REVOKED).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_to_read_cannot_publish() {
    let stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, DOOR, 10).await;
    let reader = stage.add_token(&[("/acme/door/*", "read")], None).await;
    let mut socket = stage.socket(&reader).await;
    socket.subscribe(DOOR).await;
    for path in [DOOR, "/acme/door/2", "/acme/window"] {
        let body = format!(r#"{{"path":"{path}","elems":{{}}}}"#);
        let answer = stage.request("POST", "/v5.0/acme/event", Some(&reader), &body).await;
        assert_eq!((answer.status, &*answer.code()), (403, "scope.denied"), "{answer:?}");
        assert_eq!(answer.json()["head"]["errors"][0], format!("no right to write {path}"));
    }
    for id in [&*door, "s000000000000000000000000"] {
        let address = format!("/v5.0/acme/event/{id}");
        let answer = stage.request("POST", &address, Some(&reader), r#"{"elems":{}}"#).await;
        assert_eq!((answer.status, &*answer.code()), (404, "stream.unknown"), "{answer:?}");
        assert_eq!(answer.json()["head"]["errors"][0], format!("no stream at {id}"));
    }
    socket.assert_quiet().await;
    assert_eq!(stage.metric("events_published_total").await, 0);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_to_write_cannot_subscribe() {
    let stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, DOOR, 10).await;
    let writer = stage.add_token(&[("/acme/door/*", "write")], None).await;
    let mut socket = stage.socket(&writer).await;
    let refused = |name: &str, status: u16, text: &str, code: &str| {
        let request = format!(r#"{{"msgId":1,"object":"event","type":"subscribe",{name}}}"#);
        let ack = format!(
            r#"{{"head":{{"msgId":1,"ok":false,"status":{status},"errors":["{text}"],"messages":[],"code":"{code}"}},"body":{{}}}}"#
        );
        (request, ack)
    };
    // Inside the own company it makes no difference whether there is such a stream.
    for path in [DOOR, "/acme/door/2", "/acme/window"] {
        let name = format!(r#""path":"{path}""#);
        let (request, ack) = refused(&name, 403, &format!("no right to read {path}"), "scope.denied");
        assert_eq!(socket.ask(&request).await, ack);
    }
    for id in [&*door, "s000000000000000000000000"] {
        let name = format!(r#""streamId":"{id}""#);
        let (request, ack) = refused(&name, 404, &format!("no stream at {id}"), "stream.unknown");
        assert_eq!(socket.ask(&request).await, ack);
    }
    assert_eq!(try_publish(&stage, &writer).await.status, 201);
    socket.assert_quiet().await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_writes_down_when_tokens_were_used() {
    let mut stage = Stage::start().await;
    let before = now_ms();
    let used = stage.add_token(&[(DOOR, "read")], None).await;
    let unused = NewToken {
        scope: Scope::default(),
        ..NewToken::default()
    };
    let unused = stage.catalogue.add_token(&acme(), &unused, &BY).await.expect("a token");
    let unused = Account {
        token: unused.secret,
        key: unused.key,
        ..used.clone()
    };
    stage.stop().await;
    let used_ms = last_used(&stage, &used).await;
    assert!((before..=now_ms()).contains(&used_ms), "{before} {used_ms}");
    assert_eq!(last_used(&stage, &unused).await, 0);
}

/// Whoever revokes a token wants to know this most of all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_a_token_does_not_forget_when_it_was_used() {
    let mut stage = Stage::start().await;
    let token = stage.add_token(&[(DOOR, "read")], None).await;
    stage.catalogue.revoke_token(token.key, &BY).await.expect("a token");
    let refused = || async { stage.open_session(&token, "").await.code() == "token.revoked" };
    stage.until("the server knows of it", refused).await;
    stage.stop().await;
    assert_ne!(last_used(&stage, &token).await, 0);
}

/// Only a keyed hash of it is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_files_hold_no_token_and_no_session() {
    let mut stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 10).await;
    let token = stage.add_token(&[(DOOR, "read")], None).await;
    let session = stage.session(&token).await;
    let mut socket = stage.connect(&session).await;
    socket.subscribe(DOOR).await;
    drop(socket);
    stage.stop().await;
    let (mut files, mut holds_path) = (0, false);
    for file in std::fs::read_dir(stage.folder()).expect("a folder") {
        let file = file.expect("a file").path();
        let bytes = std::fs::read(&file).expect("a file that can be read");
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        for secret in [&stage.alice.token, &token.token, &session] {
            assert!(!holds(secret), "{}", file.display());
        }
        files += 1;
        holds_path |= holds(DOOR);
    }
    // What is stored in the clear is found in this way.
    assert!(files > 0 && holds_path, "{files} files");
}
