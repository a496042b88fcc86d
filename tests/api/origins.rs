//! Which web pages may use the server: preflights, answers that a page may read, and upgrades.
//!
//! Browsers enforce the first two by what the server answers; the upgrade is refused here.

use crate::stage::{Answer, Stage};

const LISTED: &str = "https://app.example.com";
const EVIL: &str = "https://evil.example.com";
const DENIED: &str = r#"{"head":{"ok":false,"status":403,"errors":["pages of this origin may not connect; STREAMGATE_ALLOWED_ORIGINS lists those that may"],"code":"origin.denied"},"body":{}}"#;

async fn stage_with_pages() -> Stage {
    Stage::with(&["--allowed-origins", "https://app.example.com, http://localhost:3000"]).await
}

/// What a browser asks before it posts to `/session` with our three headers.
async fn preflight(stage: &Stage, origin: &str) -> Answer {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        (
            "Access-Control-Request-Headers",
            "x-auth-company,x-auth-token,x-auth-user",
        ),
    ];
    stage.request_with("OPTIONS", "/session", &headers, "").await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .headers
        .get(name)
        .map_or("", |value| value.to_str().expect("text"))
}

/// Whether a browser goes on to post.
fn lets_post(answer: &Answer, origin: &str) -> bool {
    let allowed = header(answer, "access-control-allow-headers").to_ascii_lowercase();
    let allows = |name: &str| allowed == "*" || allowed.split(',').any(|one| one.trim() == name);
    let methods = header(answer, "access-control-allow-methods");
    (200..300).contains(&answer.status)
        && header(answer, "access-control-allow-origin") == origin
        && methods.split(',').any(|one| one.trim() == "POST")
        && ["x-auth-company", "x-auth-token", "x-auth-user"]
            .into_iter()
            .all(allows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_succeeds_for_listed_and_own_pages_only() {
    let stage = stage_with_pages().await;
    let own = format!("http://{}", stage.address);
    for origin in [LISTED, "http://localhost:3000", &own] {
        let answer = preflight(&stage, origin).await;
        assert!(lets_post(&answer, origin), "{origin}: {answer:?}");
    }
    for origin in [EVIL, "http://app.example.com", "https://app.example.com:8443", "null"] {
        let answer = preflight(&stage, origin).await;
        assert!(!lets_post(&answer, origin), "{origin}: {answer:?}");
        assert_eq!(header(&answer, "access-control-allow-origin"), "", "{origin}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_page_may_use_every_method_of_the_api() {
    let stage = stage_with_pages().await;
    for method in ["GET", "POST", "PUT", "DELETE"] {
        let headers = [
            ("Origin", LISTED),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "content-type,x-auth-token"),
        ];
        let address = "/v5.0/acme/stream/s000000000000000000000000";
        let answer = stage.request_with("OPTIONS", address, &headers, "").await;
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
        assert_eq!(header(&answer, "access-control-allow-origin"), LISTED);
        assert!(
            header(&answer, "access-control-allow-methods").contains(method),
            "{answer:?}"
        );
        let allowed = header(&answer, "access-control-allow-headers").to_ascii_lowercase();
        assert!(allowed.contains("content-type"), "{answer:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_may_read_answers_and_refusals_if_its_origin_is_listed() {
    let stage = stage_with_pages().await;
    let token = stage.alice.token.clone();
    for (token, status) in [(&*token, 201), ("wrong", 401)] {
        for (origin, readable) in [(LISTED, LISTED), (EVIL, "")] {
            let headers = [
                ("X-Auth-Company", "acme"),
                ("X-Auth-User", "alice"),
                ("X-Auth-Token", token),
                ("Origin", origin),
            ];
            let answer = stage.request_with("POST", "/session", &headers, "").await;
            // Who is no browser is no page either, whatever it says: the token decides.
            assert_eq!(answer.status, status, "{origin}: {answer:?}");
            assert_eq!(header(&answer, "access-control-allow-origin"), readable, "{origin}");
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_from_another_origin_is_refused() {
    let stage = stage_with_pages().await;
    let session = stage.session(&stage.alice).await;
    let own = format!("http://{}", stage.address);
    for origin in [LISTED, "HTTPS://APP.example.com", "http://localhost:3000", &own] {
        let connected = stage.try_connect(&session, &[("origin", origin)]).await;
        assert!(connected.is_ok(), "{origin} was refused");
    }
    let connected = stage.try_connect(&session, &[]).await;
    assert!(connected.is_ok(), "who is no page was refused");
    drop(connected);
    for origin in [
        EVIL,
        "null",
        "",
        "http://app.example.com",
        "https://app.example.com.evil.example",
        "https://app.example.com:8443",
        "file://",
    ] {
        match stage.try_connect(&session, &[("origin", origin)]).await {
            Err(refusal) => assert_eq!(refusal, (403, DENIED.to_owned()), "{origin}"),
            Ok(_) => panic!("{origin} was let in"),
        }
    }
    let counted = stage.metric(r#"refusals_total{code="origin.denied"}"#).await;
    assert_eq!(counted, 7);
    stage.end().await;
}

/// An origin that is not allowed must not find out which session ids are good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_origin_is_checked_before_the_session() {
    let stage = stage_with_pages().await;
    for session in ["x", "n2fBC9YeE6g.qsQNPOZfoSRP3brEY_9QWapawcjXl04Y"] {
        let refused = stage.try_connect(session, &[("origin", EVIL)]).await.err();
        assert_eq!(refused, Some((403, DENIED.to_owned())));
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_star_lets_every_page_in_and_nothing_only_its_own() {
    let open = Stage::with(&["--allowed-origins", "*"]).await;
    let closed = Stage::start().await;
    for origin in [EVIL, "null"] {
        let session = open.session(&open.alice).await;
        assert!(
            open.try_connect(&session, &[("origin", origin)]).await.is_ok(),
            "{origin}"
        );
        assert!(lets_post(&preflight(&open, origin).await, origin), "{origin}");
        let session = closed.session(&closed.alice).await;
        let refused = closed.try_connect(&session, &[("origin", origin)]).await.err();
        assert_eq!(refused, Some((403, DENIED.to_owned())), "{origin}");
    }
    let own = format!("http://{}", closed.address);
    let session = closed.session(&closed.alice).await;
    assert!(closed.try_connect(&session, &[("origin", &own)]).await.is_ok());
    open.end().await;
    closed.end().await;
}
