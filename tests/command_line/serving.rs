//! The server's own life: first and later starts, starts that fail, being stopped, being killed.

use crate::server::{Account, Server};
use crate::shell::Shell;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

const FIRST_START: &str = "This is the first start";

/// The token on the screen of a first start.
fn token_on(screen: &str) -> &str {
    let line = screen.lines().find_map(|line| line.strip_prefix("    token "));
    line.expect("a token's line").trim()
}

#[test]
fn the_first_start_shows_the_token_once_and_later_starts_nothing_secret() {
    let shell = Shell::new();
    let server = Server::start(&shell, &[], &[]);
    let first = server.program.until_out("The token is lost?");
    let token = token_on(&first).to_owned();
    assert!(first.contains(FIRST_START), "{first}");
    let demo = Account {
        company: "demo".to_owned(),
        user: Some("admin".to_owned()),
        token,
    };
    assert_eq!(server.open_session(&demo).0, 201);
    let first = server.stop("TERM");
    assert!(!first.err.contains(&demo.token), "the log is no place for it");
    for arguments in [&[][..], &["serve"], &["serve", "--json"]] {
        let server = Server::start(&shell, &[], arguments);
        assert_eq!(server.open_session(&demo).0, 201, "the token goes on working");
        let address = server.address.clone();
        let later = server.stop("TERM");
        assert!(!later.said().contains(&demo.token), "{later:?}");
        assert!(!later.said().contains(FIRST_START), "{later:?}");
        assert!(
            later.err.contains(&format!("listening on http://{address}")),
            "{later:?}"
        );
        match arguments.contains(&"--json") {
            true => assert_eq!(later.json(), json!({"address": address})),
            false => assert_eq!(later.out, format!("Streamgate listens on http://{address}\n")),
        }
    }
}

#[test]
fn a_server_says_where_it_listens_for_clients_of_the_users_server() {
    let shell = Shell::new();
    shell.run(&["company", "add", "acme"]).done();
    let listen = ["--notices-listen", "127.0.0.1:0"];
    let server = Server::start(&shell, &[], &listen);
    let said = server.stop("TERM");
    assert!(
        said.out
            .contains(", and for clients of the users server on ws://127.0.0.1:"),
        "{said:?}"
    );
    let server = Server::start(&shell, &[], &[&["serve", "--json"], &listen[..]].concat());
    let notices = server.stop("TERM").json()["notices"].clone();
    assert!(
        notices
            .as_str()
            .is_some_and(|address| address.starts_with("127.0.0.1:")),
        "{notices}"
    );
}

#[test]
fn a_first_start_for_scripts_is_one_json_value() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    assert_eq!(server.open_session(&demo).0, 201);
    let address = server.address.clone();
    let first = server.stop("TERM").json();
    let link = first["link"].as_str().expect("a link");
    let code = link.strip_prefix(&format!("http://{address}/#/welcome/"));
    assert_eq!(code.map(str::len), Some(32), "{link}");
    let wanted = json!({
        "address": address, "company": "demo", "user": "admin", "token": demo.token, "path": "/demo/hello", "link": link,
    });
    assert_eq!(first, wanted);
}

#[test]
fn a_database_that_somebody_has_filled_is_no_first_start() {
    let shell = Shell::new();
    shell.run(&["company", "add", "acme"]).done();
    let server = Server::start(&shell, &[], &[]);
    let ended = server.stop("TERM");
    assert!(!ended.out.contains(FIRST_START), "{ended:?}");
    let demo = shell.run(&["stream", "list", "demo"]);
    assert_eq!(demo.code, Some(1), "nothing is made beside it: {demo:?}");
}

#[test]
fn a_second_server_on_the_same_file_is_refused() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    let other_port = [("STREAMGATE_LISTEN", "127.0.0.1:0")];
    let absolute = format!("sqlite:{}/streamgate.db", shell.folder().display());
    for url in [
        "sqlite:streamgate.db",
        "sqlite://streamgate.db",
        "sqlite:./streamgate.db?mode=rwc",
        &absolute,
    ] {
        let second = shell.run_with(&other_port, &["serve", "--database-url", url]);
        assert_eq!((second.code, second.out.as_str()), (Some(1), ""), "{url}: {second:?}");
        assert!(second.err.contains("another server uses this database"), "{second:?}");
        assert!(second.err.contains("STREAMGATE_DATABASE_URL"), "{second:?}");
    }
    let second = shell.run_with(&other_port, &["serve", "--json"]);
    assert!(second.json()["error"]["message"].is_string(), "{second:?}");
    assert_eq!(server.open_session(&demo).0, 201, "the first is not disturbed");
    server.stop("KILL");
    let next = Server::start(&shell, &[], &[]);
    assert_eq!(next.open_session(&demo).0, 201, "a dead server's lock holds nobody off");
}

#[test]
fn a_port_in_use_is_told_and_the_first_screen_is_not_lost() {
    let shell = Shell::new();
    let occupied = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = occupied.local_addr().expect("an address").to_string();
    let ended = shell.run_with(&[("STREAMGATE_LISTEN", address.as_str())], &["serve"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(
        ended.err.contains(&address) && ended.err.contains("STREAMGATE_LISTEN"),
        "{ended:?}"
    );
    let server = Server::start(&shell, &[], &[]);
    let screen = server.program.until_out("The token is lost?");
    let demo = Account {
        company: "demo".to_owned(),
        user: Some("admin".to_owned()),
        token: token_on(&screen).to_owned(),
    };
    assert_eq!(server.open_session(&demo).0, 201);
}

#[test]
fn a_database_that_cannot_be_opened_is_named() {
    let shell = Shell::new();
    let nowhere = [
        ("STREAMGATE_DATABASE_URL", "sqlite:missing/streamgate.db"),
        ("STREAMGATE_LISTEN", "127.0.0.1:0"),
    ];
    for arguments in [&["serve"][..], &["company", "add", "acme"]] {
        let ended = shell.run_with(&nowhere, arguments);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("missing/streamgate.db"), "{arguments:?}: {ended:?}");
    }
}

/// Starts a tail and a server, stops the server; both must end as they should.
fn ends_well(signal: &str) {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    let url = server.url();
    let tail = shell.start(&demo.variables(&url), &["tail", "/demo/hello"]);
    server.until_subscriptions(1);
    let ended = server.stop(signal);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.err.contains("stopped") && ended.err.contains("cut_off=0"),
        "{ended:?}"
    );
    let tail = tail.until_end();
    assert_eq!(tail.code, Some(1), "{tail:?}");
    assert!(tail.err.contains("the server is stopping, connect again"), "{tail:?}");
}

#[test]
fn sigterm_ends_the_server_and_tells_everybody() {
    ends_well("TERM");
}

#[test]
fn sigint_ends_the_server_and_tells_everybody() {
    ends_well("INT");
}

/// Asks for a socket by hand and never says anything on it; returns it and the status.
fn upgrade(server: &Server, id: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(&server.address).expect("a connection");
    let request = format!(
        "GET /session/{id}/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address
    );
    socket.write_all(request.as_bytes()).expect("it is read");
    let mut start = [0; 12];
    socket.read_exact(&mut start).expect("an answer");
    let start = String::from_utf8_lossy(&start);
    (socket, start.trim_start_matches("HTTP/1.1 ").to_owned())
}

#[test]
fn whoever_does_not_say_goodbye_cannot_hold_up_the_end() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[("STREAMGATE_SHUTDOWN_TIMEOUT", "1s")]);
    let answer: serde_json::Value = serde_json::from_str(&server.open_session(&demo).1).expect("JSON");
    let id = answer["body"]["id"].as_str().expect("an id");
    let (_silent, status) = upgrade(&server, id);
    assert_eq!(status, "101");
    // Beside it one that asks for something and never finishes.
    let mut half = TcpStream::connect(&server.address).expect("a connection");
    half.write_all(b"POST /session HTTP/1.1\r\nContent-Length: 9\r\n")
        .expect("it is read");
    server.until_metric("streamgate_connections 1");
    let ended = server.stop("TERM");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn what_was_there_before_a_crash_is_there_after_it() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    let restricted = shell.json(&["token", "add", "demo", "--read", "/demo/**", "--label", "kept"]);
    let restricted = Account::of(&restricted);
    server.until_admitted(&restricted, true);
    shell.run(&["stream", "add", "/demo/second", "--capacity", "5"]).done();
    let lists = || [&["stream", "list", "demo"], &["token", "list", "demo"]].map(|list| shell.json(list));
    let [streams, _] = lists();
    let url = server.url();
    shell
        .run_with(&demo.variables(&url), &["publish", "/demo/hello", "{}"])
        .done();
    let (_, session) = server.open_session(&demo);
    server.stop("KILL");
    let [after, tokens] = lists();
    assert_eq!(after, streams);
    assert_eq!(tokens.as_array().map(Vec::len), Some(2));
    let server = Server::start(&shell, &[], &["serve", "--json"]);
    assert!(!server.program.out().contains("token"), "no second first start");
    assert_eq!(
        (server.open_session(&demo).0, server.open_session(&restricted).0),
        (201, 201)
    );
    // The secret that signs ids is the old one, so a session from before is good as well.
    let session: serde_json::Value = serde_json::from_str(&session).expect("JSON");
    let id = session["body"]["id"].as_str().expect("an id");
    assert_eq!(upgrade(&server, id).1, "101");
    let url = server.url();
    shell
        .run_with(&demo.variables(&url), &["publish", "/demo/second", "{}"])
        .done();
}

#[test]
fn a_second_signal_changes_nothing() {
    let shell = Shell::new();
    let Server { program, .. } = Server::start(&shell, &[], &[]);
    program.signal("TERM");
    program.until_err("stopping");
    program.signal("INT");
    let ended = program.until_end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
