//! The users server's clients (Webinate users 0.3.2): who is let in, what they hear, what they may ask.
//!
//! What their code was seen to rely on has a test of that name; the exchanges are transcripts.

mod ends;

use crate::raw::{BINARY, PING, PONG, RawSocket, TEXT, frame, upgrade_at};
use crate::stage::{Account, BY, DEADLINE, Socket, Stage};
use crate::transcript::play_all;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use streamgate::domain::path::{CompanyName, UserName};
use tokio_tungstenite::tungstenite::Message;

const PAGE: &str = "http://localhost:8000";
const ACME: &str = "/users/acme/ws";

/// A stage whose company approves of pages on localhost, and which listens for notices at a port of its own.
async fn stage_with(flags: &[&str]) -> Stage {
    let listen = ["--notices-listen", "127.0.0.1:0"];
    let stage = Stage::with(&[&listen, flags].concat()).await;
    stage.settle(json!({"approvedSocketDomains": ["localhost"]})).await;
    stage
}

/// A socket of who comes with this header; let in or not.
async fn come(stage: &Stage, path: &str, name: &str, value: &str) -> Socket {
    let url = format!("ws://{}{path}", stage.address);
    stage.try_open(&url, &[(name, value)]).await.expect("an upgrade")
}

async fn page(stage: &Stage) -> Socket {
    come(stage, ACME, "Origin", PAGE).await
}

async fn backend(stage: &Stage, account: &Account) -> Socket {
    come(stage, ACME, "users-api-key", &account.token).await
}

/// Asserts that nothing has come: what comes next is an echo asked for now.
async fn assert_quiet(socket: &mut Socket) {
    let echo = r#"{"eventType":10,"message":"quiet?"}"#;
    assert_eq!(socket.ask(echo).await, echo);
}

/// Asserts that the socket was cut without a word: what a browser calls 1006.
async fn assert_dropped(mut socket: Socket) {
    let next = socket.socket.next().await;
    assert!(matches!(next, None | Some(Err(_))), "{next:?}");
}

async fn is_let_in(stage: &Stage, origin: &str) -> bool {
    let mut socket = come(stage, ACME, "Origin", origin).await;
    let echo = r#"{"eventType":10}"#;
    // Who is not let in may find that out while sending.
    let _ = socket.socket.send(Message::text(echo)).await;
    matches!(socket.socket.next().await, Some(Ok(Message::Text(text))) if text == echo)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_notices_protocol_reads_as_its_transcripts() {
    play_all("notices").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_approved_sees_the_socket_open_and_then_end_without_a_close_frame() {
    let stage = stage_with(&[]).await;
    for (path, header) in [
        (ACME, "Origin: https://evil.example.com\r\n"),
        (ACME, "users-api-key: nonsense\r\n"),
        ("/users/nobodies/ws", "Origin: http://localhost\r\n"),
        ("/users//ws", "Origin: http://localhost\r\n"),
        ("/users/acme/more/ws", "Origin: http://localhost\r\n"),
    ] {
        let mut refused = RawSocket::connect(stage.address).await;
        refused.send(upgrade_at(path, header).as_bytes()).await;
        let head = refused.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        refused.assert_ended().await;
    }
    assert_dropped(come(&stage, ACME, "Origin", "https://evil.example.com").await).await;
    assert_eq!(stage.metric("connections_opened_total").await, 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_origin_nobody_is_let_in() {
    let stage = stage_with(&[]).await;
    // Not even where every origin would be.
    stage.settle(json!({"approvedSocketDomains": [""]})).await;
    for headers in ["", "Origin: \r\n"] {
        let mut refused = RawSocket::connect(stage.address).await;
        refused.send(upgrade_at(ACME, headers).as_bytes()).await;
        assert!(refused.head().await.starts_with("HTTP/1.1 101 "));
        refused.assert_ended().await;
    }
    assert!(is_let_in(&stage, "anything at all").await);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_are_searched_in_the_raw_origin_unless_they_are_anchored() {
    let stage = stage_with(&[]).await;
    let long = format!("http://localhost/{}", "x".repeat(512));
    for (domains, origin, may) in [
        (json!(["localhost"]), "http://localhost:8000", true),
        (json!(["localhost"]), "http://localhost.evil.example.com", true),
        (json!(["localhost"]), "http://LOCALHOST", false),
        (json!([r"^https://app\.acme\.com$"]), "https://app.acme.com", true),
        (json!([r"^https://app\.acme\.com$"]), "https://app.acme.com:8443", false),
        (json!(["no", "app|www"]), "https://www.acme.com", true),
        (json!([]), "http://localhost", false),
        (json!(["localhost"]), &long, false),
    ] {
        stage.settle(json!({"approvedSocketDomains": domains})).await;
        assert_eq!(is_let_in(&stage, origin).await, may, "{domains} {origin}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_number_of_expressions_match_one_frame_comes_once() {
    let stage = stage_with(&[]).await;
    let domains = json!({"approvedSocketDomains": ["localhost", "local", ".", "http"]});
    stage.settle(domains).await;
    let mut page = page(&stage).await;
    let echo = r#"{"eventType":10,"message":1}"#;
    assert_eq!(page.ask(echo).await, echo);
    let broadcast = r#"{"eventType":10,"message":2,"broadcast":true}"#;
    assert_eq!(page.ask(broadcast).await, r#"{"eventType":10,"message":2}"#);
    assert_quiet(&mut page).await;
    drop(page);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_passes_without_an_origin_and_one_that_is_none_leaves_it_to_the_origin() {
    let stage = stage_with(&[]).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let reader = stage.add_token(&[("/acme/notices", "read")], None).await;
    let elsewhere = stage.add_token(&[("/acme/door", "manage")], None).await;
    for (key, origin, may) in [
        (&*stage.alice.token, "", true),
        (&stage.alice.token, "https://evil.example.com", true),
        (&reader.token, "", true),
        (&elsewhere.token, "", false),
        (&albert.token, "", false),
        ("nonsense", "", false),
        ("nonsense", PAGE, true),
        (&albert.token, PAGE, true),
    ] {
        let url = format!("ws://{}{ACME}", stage.address);
        let mut headers = vec![("Users-API-Key", key)];
        headers.extend((!origin.is_empty()).then_some(("Origin", origin)));
        let mut socket = stage.try_open(&url, &headers).await.expect("an upgrade");
        match may {
            true => assert_quiet(&mut socket).await,
            false => assert_dropped(socket).await,
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_of_keys_are_counted_and_end_before_the_origin_is_looked_at() {
    let stage = stage_with(&["--rate-attempts", "2"]).await;
    let url = format!("ws://{}{ACME}", stage.address);
    let guess = [("users-api-key", "nonsense"), ("Origin", PAGE)];
    for _ in 0..2 {
        let mut socket = stage.try_open(&url, &guess).await.expect("an upgrade");
        assert_quiet(&mut socket).await;
    }
    // An attempt comes back every thirty seconds; this takes no thirty.
    assert_dropped(stage.try_open(&url, &guess).await.expect("an upgrade")).await;
    assert_eq!(stage.metric("attempts_failed_total").await, 3);
    assert_eq!(stage.metric(r#"refusals_total{code="limit.attempts"}"#).await, 1);
    // A right key passes, and so does who has none.
    assert_quiet(&mut backend(&stage, &stage.alice).await).await;
    assert_quiet(&mut page(&stage).await).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_sent_with_the_upgrade_are_answered() {
    let stage = stage_with(&[]).await;
    let echo = r#"{"eventType":10,"message":"at once"}"#;
    let request = upgrade_at(ACME, "Origin: http://localhost\r\n");
    let early = [request.as_bytes(), &frame(TEXT, echo.as_bytes())].concat();
    let mut socket = RawSocket::connect(stage.address).await;
    socket.send(&early).await;
    assert!(socket.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(socket.text().await, echo);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_cannot_send_events_and_what_is_not_understood_closes_nothing() {
    let stage = stage_with(&[]).await;
    let mut other = backend(&stage, &stage.alice).await;
    let mut socket = RawSocket::connect(stage.address).await;
    socket
        .send(upgrade_at(ACME, "Origin: http://localhost\r\n").as_bytes())
        .await;
    socket.head().await;
    for number in 1..=8 {
        let event = json!({"eventType": number, "username": "alice", "broadcast": true});
        socket.send_frame(TEXT, event.to_string().as_bytes()).await;
    }
    for junk in ["", "null", "{", "{}", "[]", r#"{"eventType":{}}"#, r#"{"eventType":10"#] {
        socket.send_frame(TEXT, junk.as_bytes()).await;
    }
    let deep = format!(r#"{{"eventType":{}"#, "[".repeat(50_000));
    socket.send_frame(TEXT, deep.as_bytes()).await;
    socket.send_frame(BINARY, br#"{"eventType":10}"#).await;
    socket.send_frame(BINARY, &[0xff; 200]).await;
    let echo = r#"{"eventType":10,"message":"open"}"#;
    socket.send_frame(TEXT, echo.as_bytes()).await;
    assert_eq!(socket.text().await, echo);
    socket.send_frame(PING, b"?").await;
    assert_eq!(socket.next().await.first, PONG);
    assert_quiet(&mut other).await;
    drop((socket, other));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_of_another_company_hears_and_everybody_of_ones_own_does_in_order_once() {
    let stage = stage_with(&[]).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let mut stranger = come(&stage, "/users/umbrella/ws", "users-api-key", &albert.token).await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(page(&stage).await);
        sockets.push(backend(&stage, &stage.alice).await);
    }
    // Which worker somebody is on is chance; that all of them listen is not.
    stage.until_metric("subscriptions", 11).await;
    for n in 0..20 {
        stage
            .publish(&stage.alice, "/acme/notices", &format!(r#"{{"eventType":6,"n":{n}}}"#))
            .await;
    }
    for socket in &mut sockets {
        for n in 0..20 {
            assert_eq!(socket.text().await, format!(r#"{{"eventType":6,"n":{n}}}"#));
        }
        assert_quiet(socket).await;
    }
    assert_quiet(&mut stranger).await;
    let broadcast = r#"{"eventType":10,"message":"us","broadcast":1}"#;
    assert_eq!(stranger.ask(broadcast).await, r#"{"eventType":10,"message":"us"}"#);
    for socket in &mut sockets {
        assert_quiet(socket).await;
    }
    drop((sockets, stranger));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_users_is_told() {
    let stage = stage_with(&[]).await;
    let mut page = page(&stage).await;
    let body = json!({"user": "george"}).to_string();
    let added = stage
        .request("POST", "/v5.0/acme/user", Some(&stage.alice), &body)
        .await;
    let set = async |answer: Value, password: &str| {
        let link = answer["body"]["link"].as_str().expect("a link").to_owned();
        let code = link.rsplit('/').next().expect("a code");
        let body = json!({"code": code, "password": password}).to_string();
        let answer = stage.request_with("POST", "/login/password", &[], &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let cookie = answer.headers["set-cookie"].to_str().expect("text");
        cookie.split(';').next().expect("a pair").to_owned()
    };
    let told = |number| format!(r#"{{"eventType":{number},"username":"george"}}"#);
    let cookie = set(added.json(), "correct horse").await;
    assert_eq!([page.text().await, page.text().await], [told(3), told(1)]);
    let sign_out = async |cookie: &str| {
        let headers = [("X-Streamgate-Page", "1"), ("Cookie", cookie)];
        stage.request_with("DELETE", "/login", &headers, "").await.status
    };
    assert_eq!(sign_out(&cookie).await, 200);
    assert_eq!(page.text().await, told(2));
    // Nobody signs out twice, and a wrong password signs nobody in.
    sign_out(&cookie).await;
    for (password, status) in [("battery staple", 401), ("correct horse", 201)] {
        let body = json!({"company": "acme", "user": "george", "password": password}).to_string();
        let answer = stage.request_with("POST", "/login", &[], &body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(page.text().await, told(1));
    // Another password than the first is no activation.
    let reset = stage
        .request("POST", "/v5.0/acme/user/george/reset", Some(&stage.alice), "")
        .await;
    set(reset.json(), "battery staple").await;
    assert_eq!(page.text().await, told(1));
    stage
        .request("DELETE", "/v5.0/acme/user/george", Some(&stage.alice), "")
        .await;
    assert_eq!(page.text().await, told(4));
    // The command line removes people, too.
    stage.add_user("acme", "harriet").await;
    let acme = CompanyName::parse("acme").expect("a name");
    let harriet = UserName::parse("harriet").expect("a name");
    stage
        .catalogue
        .remove_user(&acme, &harriet, &BY)
        .await
        .expect("removed");
    assert_eq!(page.text().await, r#"{"eventType":4,"username":"harriet"}"#);
    assert_quiet(&mut page).await;
    drop(page);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_users_waits_for_no_disk_though_it_is_kept() {
    let stage = stage_with(&[]).await;
    let declared = stage.add_stream(&stage.alice, "/acme/notices", 10).await;
    let names = ["george", "harriet"];
    for name in names {
        stage.add_user("acme", name).await;
    }
    let mut page = page(&stage).await;
    assert_quiet(&mut page).await;
    let url = format!("sqlite:{}/test.db", stage.folder().display());
    let mut file = SqliteConnection::connect(&url).await.expect("the file");
    let mut run = async |sql: String| {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut file).await;
        done.expect("statements that succeed");
    };
    run("begin immediate".to_owned()).await;
    for name in names {
        // Nobody else can write from here on.
        let user = format!("(select user_id from user where name = '{name}')");
        run(format!(
            "delete from token where user_id = {user}; delete from login where user_id = {user};
             delete from link where user_id = {user}; delete from user where name = '{name}';
             commit; begin immediate"
        ))
        .await;
        let told = format!(r#"{{"eventType":4,"username":"{name}"}}"#);
        assert_eq!(page.text().await, told);
    }
    run("commit".to_owned()).await;
    let kept = stage.get(&format!("/v5.0/acme/event/{declared}")).await;
    assert_eq!(kept.as_array().map(Vec::len), Some(2));
    drop(page);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meta_is_for_who_has_a_key_that_manages_notices_unless_the_company_says_otherwise() {
    let stage = stage_with(&[]).await;
    let keeper = stage
        .add_token(&[("/acme/notices", "read"), ("/acme/notices", "manage")], None)
        .await;
    let writer = stage
        .add_token(&[("/acme/**", "read"), ("/acme/**", "write")], None)
        .await;
    let set = r#"{"eventType":9,"username":"alice","property":"seen","val":1}"#;
    let get = r#"{"eventType":9,"username":"alice","property":"seen"}"#;
    let done = r#"{"eventType":9,"val":1}"#;
    let denied = r#"{"error":"Error: You do not have permission to make this request: connect with a key in users-api-key that manages /acme/notices","eventType":9}"#;
    let (mut page, mut writes) = (page(&stage).await, backend(&stage, &writer).await);
    for socket in [&mut page, &mut writes] {
        for request in [set, get, r#"{"eventType":9,"username":"nobody"}"#] {
            assert_eq!(socket.ask(request).await, denied);
        }
    }
    let mut keeps = backend(&stage, &keeper).await;
    assert_eq!([keeps.ask(set).await, keeps.ask(get).await], [done, done]);
    stage.settle(json!({"allowMetaWithoutKey": true})).await;
    for socket in [&mut page, &mut writes] {
        assert_eq!([socket.ask(get).await, socket.ask(set).await], [done, done]);
    }
    drop((page, writes, keeps));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meta_is_of_users_of_the_own_company_who_may_be_named_by_address_and_goes_with_them() {
    let stage = stage_with(&[]).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    stage.add_user("umbrella", "alice").await;
    stage.add_user("acme", "George@Example.com").await;
    let mut acme = backend(&stage, &stage.alice).await;
    let mut umbrella = come(&stage, "/users/umbrella/ws", "users-api-key", &albert.token).await;
    let set = |name: &str| json!({"eventType": 9, "username": name, "val": {"of": name}}).to_string();
    let get = |name: &str| json!({"eventType": 9, "username": name}).to_string();
    let unknown = |name: &str| format!(r#"{{"error":"Could not find user {name}","eventType":9}}"#);
    acme.ask(&set("alice")).await;
    assert_eq!(umbrella.ask(&get("alice")).await, r#"{"eventType":9,"val":{}}"#);
    assert_eq!(acme.ask(&get("albert")).await, unknown("albert"));
    acme.ask(&set("George@Example.com")).await;
    let found = acme.ask(&get("  George@Example.com ")).await;
    assert_eq!(found, r#"{"eventType":9,"val":{"of":"George@Example.com"}}"#);
    assert_eq!(
        acme.ask(&get("george@example.com")).await,
        unknown("george@example.com")
    );
    let path = "/v5.0/acme/user/George@Example.com";
    assert_eq!(stage.request("DELETE", path, Some(&stage.alice), "").await.status, 200);
    assert!(acme.text().await.starts_with(r#"{"eventType":4,"#));
    assert_eq!(
        acme.ask(&get("George@Example.com")).await,
        unknown("George@Example.com")
    );
    stage.add_user("acme", "George@Example.com").await;
    assert_eq!(
        acme.ask(&get("George@Example.com")).await,
        r#"{"eventType":9,"val":{}}"#
    );
    drop((acme, umbrella));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_broadcasts_in_one_write_is_told_whole_and_in_its_order() {
    let stage = stage_with(&[]).await;
    let mut socket = RawSocket::connect(stage.address).await;
    socket
        .send(upgrade_at(ACME, "Origin: http://localhost\r\n").as_bytes())
        .await;
    socket.head().await;
    let echo = |n: u32| format!(r#"{{"eventType":10,"message":{n}}}"#);
    let broadcast = |n| format!(r#"{{"eventType":10,"message":{n},"broadcast":true}}"#);
    let burst: Vec<u8> = (0..1_000).flat_map(|n| frame(TEXT, broadcast(n).as_bytes())).collect();
    socket.send(&burst).await;
    for n in 0..1_000 {
        assert_eq!(socket.text().await, echo(n));
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_may_be_limited_whether_they_are_broadcast_or_published() {
    let stage = stage_with(&["--rate-events", "1"]).await;
    let mut socket = page(&stage).await;
    let broadcast = r#"{"eventType":10,"broadcast":true}"#;
    // Faster than it may, it is refused in the end.
    let refused = loop {
        let answer = socket.ask(broadcast).await;
        if answer != r#"{"eventType":10}"# {
            break answer;
        }
    };
    let told = r#"{"error":"Error: a token may publish 1 events a second, and no more at once","eventType":10}"#;
    assert_eq!(refused, told);
    // What goes back to its sender alone is no event.
    assert_quiet(&mut socket).await;
    while socket.ask(broadcast).await != r#"{"eventType":10}"# {}
    // Changes of meta count as events do, and looking at it does not.
    stage.settle(json!({"allowMetaWithoutKey": true})).await;
    let set = r#"{"eventType":9,"username":"alice","property":"seen","val":1}"#;
    while socket.ask(set).await != told.replace("10}", "9}") {}
    let look = r#"{"eventType":9,"username":"alice"}"#;
    for _ in 0..20 {
        let shown = socket.ask(look).await;
        assert!(shown.starts_with(r#"{"eventType":9,"val":"#), "{shown}");
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_meta_are_answered_in_their_order() {
    let stage = stage_with(&[]).await;
    let mut socket = backend(&stage, &stage.alice).await;
    for n in 0..100 {
        let set = json!({"eventType": 9, "username": "alice", "property": "n", "val": n});
        socket.send(&set.to_string()).await;
        socket
            .send(r#"{"eventType":9,"username":"alice","property":"n"}"#)
            .await;
    }
    for n in 0..100 {
        let answer = format!(r#"{{"eventType":9,"val":{n}}}"#);
        assert_eq!([socket.text().await, socket.text().await], [&*answer, &answer]);
    }
    drop(socket);
    stage.end().await;
}
