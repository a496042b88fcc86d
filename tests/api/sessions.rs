//! Sessions: who may open one, what its id looks like, when it lapses, how it is narrowed, and
//! what a restart of the server does to it.
//!
//! Time passes here by the server's own clock: tests wait until it has forgotten a session that
//! was opened with a short time to live, never for a while.

use crate::stage::{Account, Answer, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REFUSED: &str = r#"{"head":{"ok":false,"status":401,"errors":["company, user and token do not go together"],"code":"auth.refused"},"body":{}}"#;
const UNKNOWN: &str =
    r#"{"head":{"ok":false,"status":401,"errors":["no such session"],"code":"session.unknown"},"body":{}}"#;
const LAPSED: &str =
    r#"{"head":{"ok":false,"status":401,"errors":["the session has lapsed"],"code":"session.lapsed"},"body":{}}"#;

fn id_in(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["body"]["id"].as_str().expect("an id").to_owned()
}

/// 11 base64url characters, a dot, 32 more.
fn has_the_shape_of_an_id(id: &str) -> bool {
    let is_base64url = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    match id.split_once('.') {
        Some((head, tail)) => head.len() == 11 && tail.len() == 32 && is_base64url(head) && is_base64url(tail),
        None => false,
    }
}

/// The error of a connection that must not come about: status and text.
async fn refused(stage: &Stage, session: &str) -> (u16, String) {
    match stage.try_connect(session, &[]).await {
        Ok(_) => panic!("let in with {session}"),
        Err(refusal) => refusal,
    }
}

/// `POST /session` with the header names exactly as given.
async fn open_raw(stage: &Stage, headers: &[(&str, &str)]) -> String {
    let mut request = "POST /session HTTP/1.1\r\nhost: stage\r\nconnection: close\r\n".to_owned();
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut socket = TcpStream::connect(stage.address).await.expect("a connection");
    let request = format!("{request}content-length: 0\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("a request sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_opened_by_headers_in_any_case() {
    let stage = Stage::start().await;
    let token = &stage.alice.token;
    for [company, user, secret] in [
        ["X-Auth-Company", "X-Auth-User", "X-Auth-Token"],
        ["x-auth-company", "x-auth-user", "x-auth-token"],
        ["X-AUTH-COMPANY", "x-Auth-uSer", "X-auth-TOKEN"],
    ] {
        let answer = open_raw(&stage, &[(company, "acme"), (user, "alice"), (secret, token)]).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{company}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let body = body.strip_prefix(r#"{"head":{"ok":true,"status":201,"errors":[]},"body":{"id":""#);
        let id = body.and_then(|body| body.strip_suffix(r#""}}"#)).expect("the shape");
        assert!(has_the_shape_of_an_id(id), "{id}");
        drop(stage.connect(id).await);
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_one_token_share_their_first_half_and_no_other_token_has_it() {
    let stage = Stage::start().await;
    let bob = stage.add_user("acme", "bob").await;
    let (first, second) = (stage.session(&stage.alice).await, stage.session(&stage.alice).await);
    let other = stage.session(&bob).await;
    for id in [&first, &second, &other] {
        assert!(has_the_shape_of_an_id(id), "{id}");
    }
    assert_eq!(first[..12], second[..12]);
    assert_ne!(first[12..], second[12..]);
    assert_ne!(first[..12], other[..12]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_header_is_named() {
    let stage = Stage::start().await;
    let token = stage.alice.token.clone();
    let company = ("X-Auth-Company", "acme");
    let missing = |name: &str| {
        format!(
            r#"{{"head":{{"ok":false,"status":401,"errors":["the header {name} is missing"],"code":"auth.missing"}},"body":{{}}}}"#
        )
    };
    for (headers, wanted) in [
        (vec![], missing("X-Auth-Company")),
        (vec![("X-Auth-Token", &*token)], missing("X-Auth-Company")),
        (
            vec![("X-Auth-Company", " "), ("X-Auth-Token", &token)],
            missing("X-Auth-Company"),
        ),
        (vec![company, ("X-Auth-User", "alice")], missing("X-Auth-Token")),
        // Without a user it would be a restricted token's; this one is not.
        (vec![company, ("X-Auth-Token", &token)], REFUSED.to_owned()),
    ] {
        let answer = stage.request_with("POST", "/session", &headers, "").await;
        assert_eq!((answer.status, answer.text), (401, wanted));
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_of_company_user_and_token_is_wrong_the_answer_is_the_same() {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let bob = stage.add_user("acme", "bob").await;
    let door = stage.add_token(&[("/acme/door/**", "read")], None).await;
    let alice = &stage.alice.token;
    let almost = format!("{}{}", &alice[1..], &alice[..1]);
    for (company, user, token) in [
        ("umbrella", "alice", alice),
        ("nobody", "alice", alice),
        ("Acme", "alice", alice),
        ("acme", "bob", alice),
        ("acme", "nobody", alice),
        ("acme", "Alice", alice),
        ("acme", "alice", &bob.token),
        ("acme", "alice", &albert.token),
        ("umbrella", "albert", alice),
        ("acme", "alice", &almost),
        ("acme", "alice", &"x".to_owned()),
        ("acme", "albert", &albert.token),
        // A restricted token is nobody's own.
        ("acme", "alice", &door.token),
        ("umbrella", "", &door.token),
        ("nobody", "", &door.token),
        ("caf\u{e9}", "alice", alice),
    ] {
        let headers = [
            ("X-Auth-Company", company),
            ("X-Auth-User", user),
            ("X-Auth-Token", token),
        ];
        let answer = stage.request_with("POST", "/session", &headers, "").await;
        assert_eq!((answer.status, &*answer.text), (401, REFUSED), "{company} {user}");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_token_opens_a_session_without_a_user() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door/1", 10).await;
    let door = stage.add_token(&[("/acme/door/**", "read")], None).await;
    let mut socket = stage.socket(&door).await;
    socket.subscribe("/acme/door/1").await;
    stage.publish(&stage.alice, "/acme/door/1", "{}").await;
    assert_eq!(socket.json().await["offset"], 1);
    drop(socket);
    let with_user = Account {
        user: Some("alice".to_owned()),
        ..door
    };
    let answer = stage.open_session(&with_user, "").await;
    assert_eq!((answer.status, &*answer.text), (401, REFUSED));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_id_is_refused_before_the_upgrade() {
    let (stage, elsewhere) = (Stage::start().await, Stage::start().await);
    let good = stage.session(&stage.alice).await;
    let mut bad = vec![
        elsewhere.session(&elsewhere.alice).await,
        "n2fBC9YeE6g.qsQNPOZfoSRP3brEY_9QWapawcjXl04Y".to_owned(),
        "x".to_owned(),
        "-".repeat(44),
        good[..43].to_owned(),
        format!("{good}A"),
        format!("{good}="),
        good.replace('.', "-"),
        good.to_uppercase(),
        format!("{}.{}", &good[12..23], &good[12..]),
        format!("{}/x", &good),
    ];
    // A character changed in the token's name, the expiry, the nonce and the signature.
    for place in [0, 5, 12, 15, 18, 22, 30, 42] {
        let other = if &good[place..=place] == "A" { "B" } else { "A" };
        let mut changed = good.clone();
        changed.replace_range(place..=place, other);
        bad.push(changed);
    }
    for id in bad {
        assert_eq!(refused(&stage, &id).await, (401, UNKNOWN.to_owned()), "{id}");
    }
    drop(stage.connect(&good).await);
    elsewhere.end().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_nobody_connects_to_lapses() {
    let stage = Stage::with(&["--session-ttl", "1s"]).await;
    let plain = stage.session(&stage.alice).await;
    let longer = id_in(&stage.open_session(&stage.alice, r#"{"ttl":2}"#).await);
    // When the server has forgotten the one of two seconds, the other's one second is over too.
    stage.until_metric("sessions", 0).await;
    assert_eq!(refused(&stage, &longer).await, (401, LAPSED.to_owned()));
    assert_eq!(refused(&stage, &plain).await, (401, LAPSED.to_owned()));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_does_not_lapse_while_a_socket_is_open_nor_within_its_ttl_after() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let open = id_in(&stage.open_session(&stage.alice, r#"{"ttl":2}"#).await);
    let mut socket = stage.connect(&open).await;
    let unconnected = id_in(&stage.open_session(&stage.alice, r#"{"ttl":2}"#).await);
    stage.until_metric("sessions", 1).await;
    assert_eq!(refused(&stage, &unconnected).await, (401, LAPSED.to_owned()));
    socket.subscribe("/acme/door").await;
    drop(stage.connect(&open).await);
    stage.until_metric("connections", 1).await;
    drop(socket);
    stage.until_metric("connections", 0).await;
    drop(stage.connect(&open).await);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lapses_its_ttl_after_the_last_socket_closed() {
    let stage = Stage::start().await;
    let id = id_in(&stage.open_session(&stage.alice, r#"{"ttl":1}"#).await);
    drop(stage.connect(&id).await);
    stage.until_metric("sessions", 0).await;
    assert_eq!(refused(&stage, &id).await, (401, LAPSED.to_owned()));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sockets_on_one_session_are_each_their_own() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let session = stage.session(&stage.alice).await;
    let (mut first, mut second) = (stage.connect(&session).await, stage.connect(&session).await);
    first.subscribe("/acme/door").await;
    stage.publish(&stage.alice, "/acme/door", r#"{"n":1}"#).await;
    assert_eq!(first.json().await["value"]["elems"]["n"], 1);
    second.assert_quiet().await;
    second.subscribe("/acme/door").await;
    drop(first);
    stage.until_metric("connections", 1).await;
    stage.publish(&stage.alice, "/acme/door", r#"{"n":2}"#).await;
    assert_eq!(second.json().await["value"]["elems"]["n"], 2);
    drop(second);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrowed_session_reads_what_it_was_narrowed_to_and_nothing_else() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door/1", 10).await;
    let window = stage.add_stream(&stage.alice, "/acme/window", 10).await;
    let body = r#"{"paths":{"/acme/door/**":{"read":true},"/acme/window":{"write":true}}}"#;
    let narrow = id_in(&stage.open_session(&stage.alice, body).await);
    let mut socket = stage.connect(&narrow).await;
    socket.subscribe("/acme/door/1").await;
    for path in ["/acme/window", "/acme/door", "/acme/nowhere"] {
        let request = format!(r#"{{"msgId":1,"object":"event","type":"subscribe","path":"{path}"}}"#);
        let wanted = format!(
            r#"{{"head":{{"msgId":1,"ok":false,"status":403,"errors":["no right to read {path}"],"messages":[],"code":"scope.denied"}},"body":{{}}}}"#
        );
        assert_eq!(socket.ask(&request).await, wanted);
    }
    let request = format!(r#"{{"msgId":2,"object":"event","type":"subscribe","streamId":"{window}"}}"#);
    let ack = socket.ask(&request).await;
    assert!(
        ack.contains(r#""status":404"#) && ack.contains("stream.unknown"),
        "{ack}"
    );
    stage.publish(&stage.alice, "/acme/window", "{}").await;
    stage.publish(&stage.alice, "/acme/door/1", "{}").await;
    assert_eq!(socket.json().await["value"]["path"], "/acme/door/1");
    drop(socket);
    let nothing = id_in(&stage.open_session(&stage.alice, r#"{"paths":{}}"#).await);
    let mut socket = stage.connect(&nothing).await;
    let ack = socket
        .ask(r#"{"msgId":1,"object":"event","type":"subscribe","path":"/acme/door/1"}"#)
        .await;
    assert!(ack.contains("scope.denied"), "{ack}");
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn narrowing_never_gives_more_than_the_token_has() {
    let stage = Stage::start().await;
    let door = stage.add_token(&[("/acme/door/**", "read")], None).await;
    for less in [
        r#"{"/acme/door/1":{"read":true}}"#,
        r#"{"/acme/door/**":{"read":true}}"#,
        r#"{"/acme/door/*":{}}"#,
        "{}",
    ] {
        let answer = stage.open_session(&door, &format!(r#"{{"paths":{less}}}"#)).await;
        assert_eq!(answer.status, 201, "{less}: {answer:?}");
    }
    let more = "\\\"paths\\\" asks for more than the token may do";
    let others = "a scope of company acme has patterns that start with /acme/";
    for (paths, text) in [
        (r#"{"/acme/door/1":{"write":true}}"#, more),
        (r#"{"/acme/door/1":{"read":true,"manage":true}}"#, more),
        (r#"{"/acme/window":{"read":true}}"#, more),
        (r#"{"/acme/**":{"read":true}}"#, more),
        (r#"{"/acme/*/1":{"read":true}}"#, more),
        (r#"{"/acme/door/1":{"read":true},"/acme/door":{"read":true}}"#, more),
        (r#"{"/umbrella/door":{"read":true}}"#, others),
        (r#"{"/nobody/**":{"read":true}}"#, others),
    ] {
        let answer = stage.open_session(&door, &format!(r#"{{"paths":{paths}}}"#)).await;
        let wanted =
            format!(r#"{{"head":{{"ok":false,"status":403,"errors":["{text}"],"code":"scope.denied"}},"body":{{}}}}"#);
        assert_eq!((answer.status, answer.text), (403, wanted), "{paths}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_understood_opens_nothing() {
    let stage = Stage::with(&["--session-ttl-max", "10m", "--max-patterns", "2"]).await;
    let three = r#"{"paths":{"/acme/a":{},"/acme/b":{},"/acme/c":{}}}"#;
    for (body, code) in [
        ("not JSON", "body.malformed"),
        (r#"{"ttl":60"#, "body.malformed"),
        (r#"{"ttl":60} {}"#, "body.malformed"),
        ("7", "body.malformed"),
        ("null", "body.malformed"),
        // A struct's members in order are no object, whatever a parser makes of them.
        ("[]", "body.malformed"),
        ("[null,60]", "body.malformed"),
        (r#"{"paths":{"/acme/door":[true]}}"#, "body.malformed"),
        (r#"{"ttl":0}"#, "body.malformed"),
        (r#"{"ttl":601}"#, "body.malformed"),
        (r#"{"ttl":-1}"#, "body.malformed"),
        (r#"{"ttl":1.5}"#, "body.malformed"),
        (r#"{"ttl":"60"}"#, "body.malformed"),
        (r#"{"ttl":18446744073709551615}"#, "body.malformed"),
        (r#"{"colour":"red"}"#, "body.malformed"),
        (r#"{"paths":null}"#, "body.malformed"),
        (r#"{"paths":[]}"#, "body.malformed"),
        (r#"{"paths":{"/acme/door":true}}"#, "body.malformed"),
        (r#"{"paths":{"/acme/door":{"raed":true}}}"#, "body.malformed"),
        (r#"{"paths":{"/acme/door":{"read":1}}}"#, "body.malformed"),
        (r#"{"positions":null}"#, "body.malformed"),
        (r#"{"positions":["s53b1d1600cf27b75148de0ac"]}"#, "body.malformed"),
        (r#"{"positions":{"s53b1d1600cf27b75148de0ac":7}}"#, "body.malformed"),
        (
            r#"{"positions":{"s53b1d1600cf27b75148de0ac":{"epoch":"k3x9"}}}"#,
            "body.malformed",
        ),
        (
            r#"{"positions":{"s53b1d1600cf27b75148de0ac":{"offset":-1}}}"#,
            "body.malformed",
        ),
        (
            r#"{"positions":{"s53b1d1600cf27b75148de0ac":{"offset":1,"time":2}}}"#,
            "body.malformed",
        ),
        (r#"{"paths":{"door":{"read":true}}}"#, "path.malformed"),
        (r#"{"paths":{"/acme/**/x":{"read":true}}}"#, "path.malformed"),
        (three, "limit.patterns"),
    ] {
        let answer = stage.open_session(&stage.alice, body).await;
        assert_eq!((answer.status, &*answer.code()), (400, code), "{body}: {answer:?}");
    }
    let answer = stage.open_session(&stage.alice, r#"{"resume":"x"}"#).await;
    assert_eq!((answer.status, &*answer.code()), (501, "request.unsupported"));
    for body in [
        "{}",
        " \r\n",
        r#"{"ttl":null}"#,
        r#"{"ttl":600}"#,
        r#"{"positions":{}}"#,
    ] {
        assert_eq!(stage.open_session(&stage.alice, body).await.status, 201, "{body}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_plain_sessions_and_never_widens_narrowed_ones() {
    let mut stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let (plain, used) = (stage.session(&stage.alice).await, stage.session(&stage.alice).await);
    let body = r#"{"paths":{"/acme/door":{"read":true}}}"#;
    let narrow = id_in(&stage.open_session(&stage.alice, body).await);
    let body = r#"{"ttl":600}"#;
    let own_ttl = id_in(&stage.open_session(&stage.alice, body).await);
    for id in [&used, &narrow, &own_ttl] {
        drop(stage.connect(id).await);
    }
    stage.until_metric("connections", 0).await;
    stage.restart().await;
    for id in [&plain, &used] {
        let mut socket = stage.connect(id).await;
        socket.subscribe("/acme/door").await;
        stage.publish(&stage.alice, "/acme/door", "{}").await;
        assert_eq!(socket.json().await["value"]["path"], "/acme/door");
    }
    for id in [&narrow, &own_ttl] {
        assert_eq!(refused(&stage, id).await, (401, LAPSED.to_owned()));
    }
    stage.end().await;
}
