//! Signing in: links, passwords, cookies, and what ends them.

use crate::stage::{Account, Answer, BY, Stage};
use serde_json::{Value, json};
use std::time::Duration;
use streamgate::domain::path::{CompanyName, UserName};

const PASSWORD: &str = "correct horse";
const PAGE: (&str, &str) = ("X-Streamgate-Page", "1");

fn names(account: &Account) -> (CompanyName, UserName) {
    let user = account.user.as_deref().expect("a user");
    let user = UserName::parse(user).expect("a name");
    (CompanyName::parse(&account.company).expect("a name"), user)
}

/// A code for a link, as the command line makes one.
async fn code(stage: &Stage, account: &Account) -> String {
    let (company, user) = names(account);
    let made = stage.catalogue.reset_user(&company, &user, &BY).await;
    made.expect("a code")
}

async fn post(stage: &Stage, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    stage.request_with("POST", path, headers, &body.to_string()).await
}

/// The cookie that an answer sets, as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    let cookie = answer
        .headers
        .get("set-cookie")
        .expect("a cookie")
        .to_str()
        .expect("text");
    cookie.split(';').next().expect("a pair").to_owned()
}

async fn try_sign_in(stage: &Stage, user: &str, password: &str) -> Answer {
    let body = json!({"company": "acme", "user": user, "password": password});
    post(stage, "/login", &[], &body).await
}

async fn sign_in(stage: &Stage, user: &str) -> String {
    let answer = try_sign_in(stage, user, PASSWORD).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    cookie(&answer)
}

/// A `GET` as a page of ours sends it.
async fn get(stage: &Stage, path: &str, cookie: &str) -> Answer {
    stage.request_with("GET", path, &[PAGE, ("Cookie", cookie)], "").await
}

/// A stage whose alice has a password and is signed in.
async fn stage() -> (Stage, String) {
    let stage = Stage::start().await;
    let body = json!({"code": code(&stage, &stage.alice).await, "password": PASSWORD});
    let answer = post(&stage, "/login/password", &[], &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let cookie = cookie(&answer);
    (stage, cookie)
}

/// Whether the answer of `GET /login` says that nobody is signed in.
fn is_nobody(answer: &Answer) -> bool {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["body"].is_null()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_sets_a_password_once_and_signs_in() {
    let stage = Stage::start().await;
    let first = code(&stage, &stage.alice).await;
    let code = code(&stage, &stage.alice).await;
    let replaced = post(&stage, "/login/link", &[], &json!({"code": first})).await;
    assert_eq!((replaced.status, &*replaced.code()), (404, "link.unknown"));
    let whose = post(&stage, "/login/link", &[], &json!({"code": code})).await;
    assert_eq!(whose.json()["body"], json!({"company": "acme", "user": "alice"}));

    let short = post(
        &stage,
        "/login/password",
        &[],
        &json!({"code": code, "password": "too short"}),
    )
    .await;
    assert_eq!((short.status, &*short.code()), (400, "password.malformed"));
    let body = json!({"code": code, "password": PASSWORD});
    let tries = (0..4).map(|_| post(&stage, "/login/password", &[], &body));
    let mut answers = futures_util::future::join_all(tries).await;
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(
        answers.iter().map(|answer| answer.status).collect::<Vec<_>>(),
        [201, 404, 404, 404]
    );
    assert_eq!(answers[1].code(), "link.unknown");

    let body = &answers[0].json()["body"];
    assert_eq!((&body["user"], &body["manages"]), (&json!("alice"), &json!(true)));
    let set = answers[0].headers["set-cookie"].to_str().expect("text");
    assert!(
        set.contains("; Path=/; HttpOnly; SameSite=Strict") && !set.contains("Secure"),
        "{set}"
    );
    let shown = get(&stage, "/login", &cookie(&answers[0])).await;
    assert_eq!(shown.json()["body"]["expires"], body["expires"]);
    assert_eq!(shown.json()["body"]["url"], format!("http://{}", stage.address));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_signed_in_acts_as_their_master_token() {
    let (mut stage, cookie) = stage().await;
    let headers = [PAGE, ("Cookie", &*format!("other=1; {cookie}; last=2"))];
    let body = r#"{"path":"/acme/door","capacity":10}"#;
    let added = stage.request_with("POST", "/v5.0/acme/stream", &headers, body).await;
    assert_eq!(added.status, 201, "{added:?}");
    let listed = stage.request("GET", "/v5.0/acme/stream", Some(&stage.alice), "").await;
    assert_eq!(listed.json()["body"][0]["creatorId"], added.json()["body"]["creatorId"]);
    let session = stage.request_with("POST", "/session", &headers, "").await;
    let session = session.json()["body"]["id"].as_str().expect("an id").to_owned();
    let mut socket = stage.connect(&session).await;
    socket.subscribe("/acme/door").await;
    drop(socket);
    stage.until_metric("connections", 0).await;

    let elsewhere = get(&stage, "/v5.0/umbrella/stream", &cookie).await;
    assert_eq!((elsewhere.status, &*elsewhere.code()), (401, "auth.refused"));
    // The headers of a token win, though they are wrong.
    let wrong = [
        PAGE,
        ("Cookie", &*cookie),
        ("X-Auth-User", "alice"),
        ("X-Auth-Token", "wrong"),
    ];
    let refused = stage.request_with("GET", "/v5.0/acme/stream", &wrong, "").await;
    assert_eq!((refused.status, &*refused.code()), (401, "auth.refused"));

    stage.restart().await;
    assert_eq!(
        get(&stage, "/v5.0/acme/stream", &cookie).await.status,
        200,
        "after a restart"
    );
    let out = stage.request_with("DELETE", "/login", &headers, "").await;
    assert_eq!(out.status, 200, "{out:?}");
    let set = out.headers["set-cookie"].to_str().expect("text");
    assert!(set.starts_with("streamgate=; Max-Age=0;"), "{set}");
    let gone = get(&stage, "/v5.0/acme/stream", &cookie).await;
    assert_eq!((gone.status, &*gone.code()), (401, "auth.missing"));
    assert!(is_nobody(&get(&stage, "/login", &cookie).await));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_counts_only_for_our_own_pages() {
    let (stage, cookie) = stage().await;
    let own = format!("http://{}", stage.address);
    for (headers, expected) in [
        (vec![("Cookie", &*cookie)], (401, "auth.missing")),
        (
            vec![("Cookie", &*cookie), ("X-Streamgate-Page", "0")],
            (401, "auth.missing"),
        ),
        (vec![PAGE], (401, "auth.missing")),
        (vec![PAGE, ("Cookie", "streamgate=wrong")], (401, "auth.missing")),
        (
            vec![PAGE, ("Cookie", &*cookie), ("Origin", "http://evil.example")],
            (403, "origin.denied"),
        ),
        (
            vec![PAGE, ("Cookie", &*cookie), ("Origin", "null")],
            (403, "origin.denied"),
        ),
        (vec![PAGE, ("Cookie", &*cookie), ("Origin", &*own)], (200, "")),
    ] {
        for path in ["/v5.0/acme/stream", "/login"] {
            let answer = stage.request_with("GET", path, &headers, "").await;
            if path == "/login" && expected.0 == 401 {
                assert!(is_nobody(&answer), "{headers:?}: {answer:?}");
                continue;
            }
            assert_eq!((answer.status, &*answer.code()), expected, "{path} {headers:?}");
        }
    }
    let body = json!({"company": "acme", "user": "alice", "password": PASSWORD});
    let foreign = post(&stage, "/login", &[("Origin", "http://evil.example")], &body).await;
    assert_eq!((foreign.status, &*foreign.code()), (403, "origin.denied"));
    assert!(!foreign.headers.contains_key("set-cookie"));
    let secure = post(&stage, "/login", &[("X-Forwarded-Proto", "https")], &body).await;
    let set = secure.headers["set-cookie"].to_str().expect("text");
    assert!(set.ends_with("; Secure"), "{set}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cannot_sign_in_is_told_the_same() {
    let (stage, _) = stage().await;
    stage.add_user("acme", "bob").await;
    let mut texts = Vec::new();
    for (company, user, password) in [
        ("acme", "alice", "wrong horse"),
        ("acme", "bob", PASSWORD),
        ("acme", "nobody", PASSWORD),
        ("nowhere", "alice", PASSWORD),
        ("", "", ""),
        ("a b", "c d", PASSWORD),
    ] {
        let body = json!({"company": company, "user": user, "password": password});
        let answer = post(&stage, "/login", &[], &body).await;
        assert_eq!((answer.status, &*answer.code()), (401, "auth.refused"), "{body}");
        assert!(!answer.headers.contains_key("set-cookie"));
        texts.push(answer.text);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_have_to_wait_but_only_for_that_user() {
    let (stage, cookie) = stage().await;
    let bob = stage.add_user("acme", "bob").await;
    let body = json!({"code": code(&stage, &bob).await, "password": PASSWORD});
    assert_eq!(post(&stage, "/login/password", &[], &body).await.status, 201);
    let tries = (0..12).map(|_| try_sign_in(&stage, "alice", "wrong horse"));
    let answers = futures_util::future::join_all(tries).await;
    let refused = answers.iter().filter(|answer| answer.code() == "auth.refused").count();
    assert!(refused <= 6, "many at once gain nothing: {refused}");
    let locked = answers.iter().find(|answer| answer.status == 429).expect("a wait");
    assert_eq!(locked.code(), "limit.attempts");
    let wait_s: u32 = locked.headers["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("a number");
    assert!((1..=60).contains(&wait_s), "{wait_s}");
    // Neither who is signed in nor anybody else has to wait.
    assert!(!is_nobody(&get(&stage, "/login", &cookie).await));
    sign_in(&stage, "bob").await;
    stage
        .until("alice may try again", || async {
            try_sign_in(&stage, "alice", PASSWORD).await.status == 201
        })
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_ends_the_other_logins() {
    let (stage, first) = stage().await;
    let second = sign_in(&stage, "alice").await;
    let headers = [PAGE, ("Cookie", &*second)];
    let wrong = json!({"old": "wrong horse", "password": "battery staple"});
    let wrong = post(&stage, "/login/password", &headers, &wrong).await;
    assert_eq!((wrong.status, &*wrong.code()), (401, "auth.refused"));
    let body = json!({"old": PASSWORD, "password": "battery staple"});
    let nobody = post(&stage, "/login/password", &[("Cookie", &*second)], &body).await;
    assert_eq!((nobody.status, &*nobody.code()), (401, "auth.missing"));
    let changed = post(&stage, "/login/password", &headers, &body).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert!(!is_nobody(&get(&stage, "/login", &second).await));
    assert!(is_nobody(&get(&stage, "/login", &first).await));
    assert_eq!(try_sign_in(&stage, "alice", PASSWORD).await.status, 401);
    assert_eq!(try_sign_in(&stage, "alice", "battery staple").await.status, 201);

    // A reset on the database file is seen by the server as well.
    code(&stage, &stage.alice).await;
    let ended = || async { is_nobody(&get(&stage, "/login", &second).await) };
    tokio::time::timeout(Duration::from_secs(5), stage.until("the login ends", ended))
        .await
        .expect("soon");
    assert_eq!(try_sign_in(&stage, "alice", "battery staple").await.status, 401);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_logins_and_no_more() {
    let (stage, first) = stage().await;
    let mut cookies = vec![first];
    for _ in 0..32 {
        cookies.push(sign_in(&stage, "alice").await);
    }
    assert!(
        is_nobody(&get(&stage, "/login", &cookies[0]).await),
        "the oldest made room"
    );
    assert!(!is_nobody(&get(&stage, "/login", &cookies[32]).await));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_files_hold_no_password_and_no_login() {
    let (mut stage, cookie) = stage().await;
    let code = code(&stage, &stage.alice).await;
    stage.stop().await;
    let login = cookie.trim_start_matches("streamgate=");
    let mut holds_hash = false;
    for file in std::fs::read_dir(stage.folder()).expect("a folder") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("a file that can be read");
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds(PASSWORD) && !holds(login) && !holds(&code));
        holds_hash |= holds("$argon2id$");
    }
    assert!(holds_hash, "what is stored in the clear is found in this way");
}
