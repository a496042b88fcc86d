//! How a company is doing: its own counts, what was measured, and what somebody should see to.

use crate::stage::Stage;
use serde_json::{Value, json};

const ADDRESS: &str = "/v5.0/acme/overview";

fn codes(overview: &Value) -> Vec<&str> {
    let problems = overview["problems"].as_array().expect("an array").iter();
    problems.filter_map(|problem| problem["code"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_sees_its_own_counts_and_nobody_elses() {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    stage.add_stream(&albert, "/umbrella/door", 10).await;
    let counts = |overview: &Value| {
        let names = ["connections", "subscriptions", "published", "delivered", "streams"];
        names.map(|name| overview[name].as_u64().expect(name))
    };
    let before = stage.get(ADDRESS).await;
    assert_eq!(counts(&before), [0, 0, 0, 0, 1]);
    assert_eq!(before["latency"], Value::Null);
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe("/acme/door").await;
    let mut theirs = stage.socket(&albert).await;
    theirs.subscribe("/umbrella/door").await;
    for _ in 0..3 {
        stage.publish(&stage.alice, "/acme/door", "{}").await;
        socket.json().await;
    }
    for _ in 0..5 {
        stage.publish(&albert, "/umbrella/door", "{}").await;
        theirs.json().await;
    }
    let has = |wanted: [u64; 5]| {
        let stage = &stage;
        async move { counts(&stage.get(ADDRESS).await) == wanted }
    };
    stage.until("all is counted", || has([1, 1, 3, 3, 1])).await;
    drop(socket);
    stage.until_metric("connections", 1).await;
    stage.until("what was counted stays", || has([0, 0, 3, 3, 1])).await;
    drop(theirs);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_and_disk_are_measured() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe("/acme/door").await;
    for _ in 0..20 {
        stage.publish(&stage.alice, "/acme/door", "{}").await;
        socket.json().await;
    }
    stage.until_metric("delivery_seconds_count", 20).await;
    assert_eq!(stage.metric(r#"delivery_seconds_bucket{le="+Inf"}"#).await, 20);
    let overview = stage.get(ADDRESS).await;
    let [p50, p90, p99] = ["p50", "p90", "p99"].map(|name| overview["latency"][name].as_f64().expect(name));
    assert!(0.0 < p50 && p50 <= p90 && p90 <= p99, "{overview}");
    let disk = &overview["disk"];
    let file = stage.folder().join("test.db").metadata().expect("a file").len();
    assert_eq!(disk["database"], file);
    assert!(disk["free"].as_u64() > Some(0), "{overview}");
    assert_eq!(stage.metric("database_bytes").await, file);
    assert!(overview["time"].as_u64() > Some(1_700_000_000_000));
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_once_is_counted_once() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let body = r#"[{"path":"/acme/door","elems":{}},{"path":"/acme/door","elems":{}}]"#;
    for _ in 0..3 {
        let answer = stage
            .post_with("/v5.0/acme/event", &[("Idempotency-Key", "once")], body)
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert_eq!(stage.get(ADDRESS).await["published"], 2);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_connections_are_a_problem_of_whom_they_were_refused() {
    let stage = Stage::with(&["--max-company-connections", "1"]).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let session = stage.session(&stage.alice).await;
    let socket = stage.connect(&session).await;
    assert!(!codes(&stage.get(ADDRESS).await).contains(&"connections.refused"));
    let refused = stage.try_connect(&session, &[]).await.map(|_| ()).expect_err("full");
    assert_eq!(refused.0, 429);
    let overview = stage.get(ADDRESS).await;
    assert!(codes(&overview).contains(&"connections.refused"), "{overview}");
    let problem = overview["problems"].as_array().expect("an array").iter();
    let problem = problem.clone().find(|problem| problem["code"] == "connections.refused");
    let problem = problem.expect("it is there");
    assert!(
        problem["text"]
            .as_str()
            .expect("a text")
            .contains(": 1 since the start")
    );
    assert!(
        problem["advice"]
            .as_str()
            .expect("advice")
            .contains("STREAMGATE_MAX_COMPANY_CONNECTIONS")
    );
    let theirs = stage.request("GET", "/v5.0/umbrella/overview", Some(&albert), "").await;
    assert!(!codes(&theirs.json()["body"]).contains(&"connections.refused"));
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_is_for_users_of_the_company_only() {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let token = stage.add_token(&[("/acme/**", "manage")], None).await;
    let denied = stage.request("GET", ADDRESS, Some(&token), "").await;
    assert_eq!((denied.status, denied.code().as_str()), (403, "scope.denied"));
    let refused = stage.request("GET", ADDRESS, Some(&albert), "").await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "auth.refused"));
    let nobody = stage.request("GET", ADDRESS, None, "").await;
    assert_eq!(nobody.status, 401);
    assert_eq!(stage.get(ADDRESS).await["published"], json!(0));
    stage.end().await;
}
