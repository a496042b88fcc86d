//! How often somebody may: failed attempts, sessions and events, limited by address and by token.

use crate::stage::{Account, Answer, Stage};

fn outcome(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

fn wait_s(answer: &Answer) -> u64 {
    let later = answer.headers.get("retry-after").expect("Retry-After");
    later.to_str().expect("text").parse().expect("seconds")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_attempts_are_limited_and_right_ones_are_not() {
    let stage = Stage::with(&["--rate-attempts", "3"]).await;
    let wrong = Account {
        token: "x".repeat(32),
        ..stage.alice.clone()
    };
    // A busy back end on the same address is never slowed, neither before nor after.
    for _ in 0..20 {
        assert_eq!(stage.open_session(&stage.alice, "").await.status, 201);
    }
    for _ in 0..3 {
        assert_eq!(
            outcome(&stage.open_session(&wrong, "").await),
            (401, "auth.refused".to_owned())
        );
    }
    let limited = stage.open_session(&wrong, "").await;
    assert_eq!(outcome(&limited), (429, "limit.attempts".to_owned()));
    assert!((1..=20).contains(&wait_s(&limited)), "{limited:?}");
    let jwt = [("Authorization", "Bearer x")];
    for _ in 0..3 {
        let refused = stage.request_with("POST", "/session", &jwt, "").await;
        assert_eq!(outcome(&refused), (401, "jwt.refused".to_owned()));
    }
    let limited = stage.request_with("POST", "/session", &jwt, "").await;
    assert_eq!(outcome(&limited), (429, "limit.attempts".to_owned()));
    for _ in 0..20 {
        assert_eq!(stage.open_session(&stage.alice, "").await.status, 201);
    }
    // Who forgot a header has not tried anything.
    for _ in 0..5 {
        assert_eq!(stage.request("POST", "/session", None, "").await.status, 401);
    }
    // What is another company's, or nobody's, is counted apart, whether it is there or not.
    for company in ["umbrella", "nobodies"] {
        let elsewhere = Account {
            company: company.to_owned(),
            ..wrong.clone()
        };
        assert_eq!(stage.open_session(&elsewhere, "").await.status, 401);
    }
    assert_eq!(stage.metric("attempts_failed_total").await, 10);
    assert_eq!(stage.metric(r#"refusals_total{code="limit.attempts"}"#).await, 2);
    stage
        .until("it is remembered", || async {
            stage.metric("rates_remembered").await == 4
        })
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_token_are_limited() {
    let stage = Stage::with(&["--rate-sessions", "3"]).await;
    for _ in 0..3 {
        assert_eq!(stage.open_session(&stage.alice, "").await.status, 201);
    }
    let limited = stage.open_session(&stage.alice, "").await;
    assert_eq!(outcome(&limited), (429, "limit.rate".to_owned()));
    assert!((1..=20).contains(&wait_s(&limited)), "{limited:?}");
    // Another token has its own share, and nothing else of this one is limited.
    stage.add_token(&[("/acme/**", "read")], None).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    stage.publish(&stage.alice, "/acme/door", "{}").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_token_are_limited_whichever_way_they_come() {
    let stage = Stage::with(&["--rate-events", "2"]).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let writer = stage.add_token(&[("/acme/**", "write")], None).await;
    let mut socket = stage.socket(&writer).await;
    let batch = |count: usize| {
        let events = vec![r#"{"path":"/acme/door","elems":{}}"#; count];
        format!("[{}]", events.join(","))
    };
    let publish = |account: &Account, count| {
        let (stage, account, body) = (&stage, account.clone(), batch(count));
        async move { stage.request("POST", "/v5.0/acme/event", Some(&account), &body).await }
    };
    let never = publish(&stage.alice, 3).await;
    assert_eq!(outcome(&never), (413, "limit.batch".to_owned()));
    // Faster than it may, it is refused in the end, and told when to come again.
    let limited = loop {
        let answer = publish(&stage.alice, 2).await;
        if answer.status != 201 {
            break answer;
        }
    };
    assert_eq!(outcome(&limited), (429, "limit.rate".to_owned()));
    assert_eq!(wait_s(&limited), 1);
    let create = r#"{"msgId":1,"object":"event","type":"create","path":"/acme/door","value":{"elems":{}}}"#;
    let refused = loop {
        let answer = socket.ask(create).await;
        if !answer.contains(r#""ok":true"#) {
            break answer;
        }
    };
    assert!(refused.contains(r#""code":"limit.rate""#), "{refused}");
    stage
        .until("it goes on", || async { publish(&stage.alice, 1).await.status == 201 })
        .await;
    drop(socket);
    stage.end().await;
}
