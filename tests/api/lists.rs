//! Lists of streams: looked through, counted, and quick with very many.

use crate::stage::{Account, Stage};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

async fn listed(stage: &Stage, account: &Account, query: &str) -> (Vec<String>, String) {
    let path = format!("/v5.0/acme/stream?{query}");
    let answer = stage.request("GET", &path, Some(account), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let total = answer.headers["x-total-count"].to_str().expect("text").to_owned();
    let path = |stream: &Value| stream["path"].as_str().expect("a path").to_owned();
    let streams = answer.json();
    (
        streams["body"].as_array().expect("a list").iter().map(path).collect(),
        total,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_found_by_path_and_description() {
    let stage = Stage::start().await;
    for (path, description) in [
        ("/acme/door/1", "The Lobby"),
        ("/acme/door/2", ""),
        ("/acme/lobby", "ÄTHER"),
        ("/acme/bell", "rings"),
    ] {
        let body = format!(r#"{{"path":"{path}","description":"{description}"}}"#);
        let made = stage
            .request("POST", "/v5.0/acme/stream", Some(&stage.alice), &body)
            .await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let reader = stage.add_token(&[("/acme/door/*", "read")], None).await;
    for (account, query, paths, total) in [
        (&stage.alice, "search=LOBBY", &["/acme/door/1", "/acme/lobby"][..], "2"),
        (&stage.alice, "search=%C3%A4ther", &["/acme/lobby"], "1"),
        (&stage.alice, "search=door&limit=1", &["/acme/door/1"], "2"),
        (&stage.alice, "search=door&start=1", &["/acme/door/2"], "2"),
        (&stage.alice, "search=nowhere", &[], "0"),
        (&stage.alice, "limit=2&start=2", &["/acme/door/2", "/acme/lobby"], "4"),
        (&stage.alice, "limit=0&search=", &[], "4"),
        (&reader, "search=lobby", &["/acme/door/1"], "1"),
        (&reader, "", &["/acme/door/1", "/acme/door/2"], "2"),
    ] {
        let (found, count) = listed(&stage, account, query).await;
        assert_eq!(
            (found, &*count),
            (paths.iter().map(|path| (*path).to_owned()).collect(), total),
            "{query}"
        );
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_and_a_deletion_are_seen_at_once() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 1).await;
    let address = format!("/v5.0/acme/stream/{id}");
    let change = r#"{"description":"Second floor"}"#;
    let changed = stage.request("PUT", &address, Some(&stage.alice), change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(listed(&stage, &stage.alice, "search=second").await.1, "1");
    let deleted = stage.request("DELETE", &address, Some(&stage.alice), "").await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert_eq!(listed(&stage, &stage.alice, "").await, (vec![], "0".to_owned()));
    stage.end().await;
}

/// The page asks for such parts while somebody types; that it gets them is what this shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_streams_are_looked_through() {
    let mut stage = Stage::start().await;
    stage.stop().await;
    let url = format!("sqlite:{}/test.db", stage.folder().display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the file");
    let fill = "with recursive n(i) as (select 0 union all select i + 1 from n where i < 99999)
        insert into stream (stream_id, company_id, path, description, capacity, creator, created_ms)
        select cast(printf('%012d', i) as blob), (select company_id from company where name = 'acme'),
        printf('/acme/n/%05d', i), printf('Number %d', i), 1, zeroblob(12), 0 from n";
    sqlx::query(fill).execute(&mut connection).await.expect("it is filled");
    connection.close().await.expect("closed");
    stage.restart_stopped().await;
    let (found, total) = listed(&stage, &stage.alice, "search=number%2099999").await;
    assert_eq!((found, &*total), (vec!["/acme/n/99999".to_owned()], "1"));
    let (found, total) = listed(&stage, &stage.alice, "start=99990&limit=5").await;
    assert_eq!((found.len(), &*found[0], &*total), (5, "/acme/n/99990", "100000"));
    stage.end().await;
}
