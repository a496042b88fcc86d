//! Copies of a database: made while it is being written, verified, served, put back.

use crate::publisher::{Ledger, Publisher, remember};
use crate::server::{Account, Server};
use crate::shell::{Shell, until};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const PATHS: [&str; 3] = ["/demo/copy/a", "/demo/copy/b", "/demo/copy/c"];
const SMALL: [(&str, &str); 1] = [("STREAMGATE_MAX_LOG_BYTES", "65536")];

fn add_streams(server: &Server, demo: &Account) -> [String; 3] {
    let publisher = Publisher::new(server, demo);
    PATHS.map(|path| publisher.add_stream(path, 100_000))
}

fn epochs(server: &Server, demo: &Account, streams: &[String]) -> Vec<String> {
    let publisher = Publisher::new(server, demo);
    streams.iter().map(|stream| publisher.place(stream).0).collect()
}

#[test]
fn a_backup_of_a_busy_server_is_a_sound_prefix_and_of_other_epochs() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &SMALL);
    let streams = add_streams(&server, &demo);
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let answered = std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let (publisher, mut answered) = (Publisher::new(&server, &demo), Ledger::new());
            while !stop.load(Ordering::Relaxed) {
                let event = |path| json!({"path": path, "elems": {"n": count.load(Ordering::Relaxed), "fill": "x".repeat(500)}});
                let answer = publisher.publish(&PATHS.map(event).into(), "durable");
                remember(&answer.expect("a server that lives"), &mut answered);
                count.fetch_add(1, Ordering::Relaxed);
            }
            answered
        });
        until("some is settled", || count.load(Ordering::Relaxed) > 100);
        let made = shell.json(&["backup", "copy.db"]);
        stop.store(true, Ordering::Relaxed);
        let copy = shell.folder().join("copy.db").metadata().expect("a copy");
        assert_eq!(made, json!({"file": "copy.db", "bytes": copy.len()}));
        assert_eq!(copy.permissions().mode() & 0o777, 0o600, "it holds secrets");
        publishing.join().expect("nobody panics")
    });
    let verified = shell.json(&["verify", "copy.db"]);
    assert!(
        verified["sound"] == true && verified["settled"].as_u64() > Some(100),
        "{verified}"
    );
    // The file that is being served is sound as well.
    shell.run(&["verify", "streamgate.db"]).done();
    let second = [SMALL[0], ("STREAMGATE_DATABASE_URL", "sqlite:copy.db")];
    let copy = Server::start(&shell, &second, &[]);
    let (original, copied) = (Publisher::new(&server, &demo), Publisher::new(&copy, &demo));
    for (stream, path) in streams.iter().zip(PATHS) {
        original.check_all_is_there(stream, &answered);
        let (all, part) = (original.replay(stream), copied.replay(stream));
        assert!(
            part.len() > 100 && all.starts_with(&part),
            "{} of {}",
            part.len(),
            all.len()
        );
        assert_ne!(original.place(stream).0, copied.place(stream).0);
        let next = copied.published(path, json!({}), "durable");
        assert_eq!(next.offset as usize, part.len() + 1);
        assert_ne!(all.get(part.len()).map(|event| &event.id), Some(&next.id));
    }
}

#[test]
fn a_backup_never_takes_another_files_place_and_is_of_something() {
    let shell = Shell::new();
    let nothing = shell.run(&["backup", "copy.db"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (Some(1), ""), "{nothing:?}");
    assert!(nothing.err.contains("STREAMGATE_DATABASE_URL"), "{nothing:?}");
    let left = std::fs::read_dir(shell.folder()).expect("a folder").count();
    assert_eq!(left, 0, "nothing is made for a database that is not there");
    shell.run(&["company", "add", "acme"]).done();
    let there = shell.folder().join("copy.db");
    std::fs::write(&there, "precious").expect("a file");
    let refused = shell.run(&["backup", "copy.db"]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{refused:?}");
    assert!(refused.err.contains("copy.db is there already"), "{refused:?}");
    assert_eq!(std::fs::read(&there).expect("it is there"), b"precious");
    let elsewhere = shell.run(&["backup", "no/folder/copy.db", "--json"]);
    assert_eq!(elsewhere.code, Some(1));
    assert!(
        elsewhere.json()["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("no/folder/copy.db"))
    );
    let said = shell.run(&["backup", "other.db"]).done();
    assert!(said.contains("other.db") && said.contains("bytes"), "{said}");
}

/// Copies the database's files, not its lock file.
fn copy_files(shell: &Shell, from: &str, to: &str) {
    let folder = shell.folder();
    std::fs::create_dir_all(folder.join(to)).expect("a folder");
    for name in ["streamgate.db", "streamgate.db-wal", "streamgate.db-shm"] {
        let (from, to) = (folder.join(from).join(name), folder.join(to).join(name));
        if from.exists() {
            std::fs::copy(from, to).expect("a copy");
        } else if to.exists() {
            std::fs::remove_file(to).expect("it goes");
        }
    }
}

#[test]
fn only_a_database_that_is_where_it_was_keeps_its_epochs() {
    let shell = Shell::new();
    let (server, demo) = Server::first_start(&shell, &[]);
    let streams = add_streams(&server, &demo);
    let publish = |server: &Server| {
        let publisher = Publisher::new(server, &demo);
        PATHS.map(|path| publisher.published(path, json!({}), "durable"))
    };
    publish(&server);
    let before = epochs(&server, &demo, &streams);
    server.stop("TERM");
    copy_files(&shell, ".", "old");

    // Killed at once: the mark must not wait for a quiet moment.
    let server = Server::start(&shell, &[], &[]);
    assert_eq!(epochs(&server, &demo, &streams), before, "untouched");
    let lost = publish(&server);
    server.stop("KILL");
    copy_files(&shell, "old", ".");
    let server = Server::start(&shell, &[], &[]);
    let restored = epochs(&server, &demo, &streams);
    assert!(
        restored.iter().zip(&before).all(|(new, old)| new != old),
        "{restored:?} after {before:?}"
    );
    let again = publish(&server);
    for (lost, again) in lost.iter().zip(&again) {
        assert_eq!(lost.offset, again.offset);
        assert_ne!(lost.id, again.id);
    }
    server.stop("TERM");

    let server = Server::start(&shell, &[], &[]);
    assert_eq!(epochs(&server, &demo, &streams), restored, "untouched");
    server.stop("TERM");
    std::fs::remove_file(shell.folder().join("streamgate.db.lock")).expect("a lock file");
    let server = Server::start(&shell, &[], &[]);
    let elsewhere = epochs(&server, &demo, &streams);
    assert!(
        elsewhere.iter().zip(&restored).all(|(new, old)| new != old),
        "{elsewhere:?}"
    );
}
