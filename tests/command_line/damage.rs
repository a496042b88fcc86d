//! Damaged files: no server serves one, none is changed by looking at it, and everybody is told
//! what to do.

use crate::publisher::{Publisher, number_in, with_database};
use crate::server::Server;
use crate::shell::Shell;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const FILE: &str = "streamgate.db";
const ELSEWHERE: (&str, &str) = ("STREAMGATE_LISTEN", "127.0.0.1:0");

/// A database with chunks and a journal, that nobody uses any more.
fn filled() -> (Shell, PathBuf) {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[("STREAMGATE_MAX_LOG_BYTES", "65536")]);
    let publisher = Publisher::new(&server, &demo);
    for _ in 0..4 {
        let event = |number| json!({"path": "/demo/hello", "elems": {"n": number, "fill": "x".repeat(500)}});
        let events: Vec<Value> = (0..50).map(event).collect();
        let answer = publisher
            .publish(&Value::Array(events), "durable")
            .expect("a server that lives");
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    server.stop("TERM");
    // And something that is not settled.
    let server = Server::start(&shell, &[], &[]);
    let publisher = Publisher::new(&server, &demo);
    publisher.published("/demo/hello", json!({"last": true}), "durable");
    server.stop("TERM");
    let file = shell.folder().join(FILE);
    assert!(number_in(&file, "select count(*) from chunk") > 0);
    assert!(number_in(&file, "select count(*) from journal") > 0);
    let sound = shell.json(&["verify", FILE]);
    let found = (&sound["sound"], &sound["streams"]);
    assert_eq!(found, (&json!(true), &json!(1)), "{sound}");
    let events = sound["settled"].as_u64().zip(sound["journaled"].as_u64());
    assert_eq!(
        events.map(|(settled, journaled)| settled + journaled),
        Some(201),
        "{sound}"
    );
    (shell, file)
}

/// Overwrites the first bytes of a table's or an index's first page.
fn break_page(file: &Path, statement: &'static str) {
    let page = number_in(file, statement);
    let size = number_in(file, "pragma page_size");
    let file = OpenOptions::new().write(true).open(file).expect("a file");
    let at = (page - 1) * size;
    file.write_all_at(&[0xff; 8], at as u64).expect("it is written");
}

/// Turns over a bit in the middle of a body.
fn break_body(file: &Path, table: &str) {
    let (read, write) = match table {
        "chunk" => (
            "select chunk_id, body from chunk limit 1",
            "update chunk set body = $2 where chunk_id = $1",
        ),
        _ => (
            "select journal_id, body from journal limit 1",
            "update journal set body = $2 where journal_id = $1",
        ),
    };
    with_database(file, async |connection| {
        let row: (i64, Vec<u8>) = sqlx::query_as(read).fetch_one(&mut *connection).await.expect("a row");
        let (id, mut body) = row;
        let middle = body.len() / 2;
        body[middle] ^= 1;
        let done = sqlx::query(write).bind(id).bind(body).execute(&mut *connection).await;
        assert_eq!(done.expect("it is written").rows_affected(), 1);
    });
}

/// Nobody serves it, `verify` finds it, both say what to do, and neither touches it.
fn is_refused(shell: &Shell, file: &Path) {
    let before = std::fs::read(file).expect("a file");
    let served = shell.run_with(&[ELSEWHERE], &["serve"]);
    assert_eq!((served.code, served.out.as_str()), (Some(1), ""), "{served:?}");
    is_found(shell);
    for said in [&served.err, &shell.run(&["verify", FILE]).err] {
        for wanted in [
            "is damaged",
            "stop whatever uses it",
            "keep a copy",
            "backup",
            "streamgate verify",
        ] {
            assert!(said.contains(wanted), "{wanted:?} is missing: {said}");
        }
    }
    assert!(std::fs::read(file).expect("a file") == before, "it was changed");
}

fn is_found(shell: &Shell) {
    let found = shell.run(&["verify", FILE, "--json"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    let json = found.json();
    let message = json["error"]["message"].as_str().expect("a message");
    assert!(message.contains("damaged") && message.contains(FILE), "{message}");
}

#[test]
fn a_broken_page_is_found_before_anything_is_served() {
    for statement in [
        "select rootpage from sqlite_schema where name = 'chunk'",
        "select rootpage from sqlite_schema where name = 'stream'",
        "select rootpage from sqlite_schema where name = 'setting'",
        "select rootpage from sqlite_schema where name = 'chunk_place'",
    ] {
        let (shell, file) = filled();
        break_page(&file, statement);
        is_refused(&shell, &file);
    }
}

#[test]
fn a_file_that_was_cut_off_is_found() {
    let (shell, file) = filled();
    let length = file.metadata().expect("a file").len();
    let cut = OpenOptions::new().write(true).open(&file).expect("a file");
    cut.set_len(length / 2).expect("it is cut");
    is_refused(&shell, &file);
    cut.set_len(length / 2 - 100).expect("it is cut");
    is_refused(&shell, &file);
}

#[test]
fn a_file_of_something_else_is_found() {
    let shell = Shell::new();
    let file = shell.folder().join(FILE);
    std::fs::write(&file, "a letter to my aunt\n".repeat(1_000)).expect("a file");
    is_refused(&shell, &file);
}

#[test]
fn a_broken_journal_is_found_whether_or_not_the_file_is_looked_through() {
    let (shell, file) = filled();
    break_body(&file, "journal");
    is_refused(&shell, &file);
    let served = shell.run_with(&[ELSEWHERE, ("STREAMGATE_CHECK_DATABASE", "false")], &["serve"]);
    assert_eq!(served.code, Some(1), "{served:?}");
    assert!(
        served.err.contains("of the journal: its checksum is wrong"),
        "{served:?}"
    );
}

#[test]
fn a_broken_chunk_is_found_by_verify() {
    let (shell, file) = filled();
    break_body(&file, "chunk");
    is_found(&shell);
    // A server does not read all chunks when it starts.
    let server = Server::start(&shell, &[], &[]);
    is_found(&shell);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn a_server_that_is_told_so_does_not_look_the_file_through() {
    let (shell, file) = filled();
    break_page(
        &file,
        "select rootpage from sqlite_schema where name = 'event_hash_place'",
    );
    is_refused(&shell, &file);
    let server = Server::start(&shell, &[("STREAMGATE_CHECK_DATABASE", "false")], &[]);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn verifying_says_when_there_is_nothing_to_verify_and_leaves_nothing_behind() {
    let shell = Shell::new();
    let missing = shell.run(&["verify", "missing.db"]);
    assert_eq!((missing.code, missing.out.as_str()), (Some(1), ""), "{missing:?}");
    assert!(missing.err.contains("missing.db: No such file"), "{missing:?}");
    std::fs::write(shell.folder().join("empty.db"), "").expect("a file");
    let empty = shell.run(&["verify", "empty.db"]);
    assert_eq!(empty.code, Some(1), "{empty:?}");
    assert!(empty.err.contains("no database of this program"), "{empty:?}");
    shell.run(&["company", "add", "acme"]).done();
    shell.run(&["backup", "copy.db"]).done();
    shell.run(&["verify", "copy.db"]).done();
    let names = std::fs::read_dir(shell.folder()).expect("a folder");
    let names = names.map(|entry| entry.expect("a name").file_name().into_string().expect("a name"));
    let mut besides: Vec<String> = names.filter(|name| !name.starts_with("streamgate.db")).collect();
    besides.sort();
    assert_eq!(besides, ["copy.db", "empty.db"]);
}
