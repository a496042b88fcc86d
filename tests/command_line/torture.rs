//! `torture` in its short form: it torments a real server, counts, and leaves nothing behind.

use crate::shell::{Ended, Shell};

/// Runs it to its end, however long that takes; it gives up by itself.
fn torture(shell: &Shell, arguments: &[&str], path: &str) -> Ended {
    let mut command = shell.command(env!("CARGO_BIN_EXE_streamgate"));
    command
        .arg("torture")
        .args(arguments)
        .env("PATH", path)
        .env("TMPDIR", shell.folder());
    let ended = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
    Ended {
        code: ended.status.code(),
        out: text(ended.stdout),
        err: text(ended.stderr),
    }
}

fn own_path() -> String {
    std::env::var("PATH").expect("there is a path")
}

/// Of this seed's faults 25 s see two power cuts of two kinds, failing syncs between them, and a full disk.
#[test]
fn a_short_torture_finds_every_promise_kept_and_leaves_nothing() {
    let shell = Shell::new();
    let ended = torture(
        &shell,
        &["--seed", "3675", "--seconds", "25", "--dir", "it", "--json"],
        &own_path(),
    );
    let verdict = ended.json();
    assert_eq!(verdict["broken"], serde_json::json!([]), "{ended:?}");
    assert_eq!((&verdict["holds"], ended.code), (&serde_json::json!(true), Some(0)));
    let put_to_the_test = [
        "acked durable",
        "acked written",
        "acked accepted",
        "delivered",
        "resumed",
        "positions asked about",
        "replays",
        "scans",
        "streams made",
        "kills",
        "power cuts",
        "changes not synced then",
        "failing disks",
        "writes and syncs failed",
    ];
    for name in put_to_the_test {
        assert!(verdict["figures"][name].as_u64() > Some(0), "{name}: {verdict}");
    }
    assert!(!shell.folder().join("it").exists(), "it is kept only to be looked at");
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let shell = Shell::new();
    std::fs::write(shell.folder().join("mine"), "").expect("it can be written");
    let ended = torture(&shell, &["--dir", "."], &own_path());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("is not empty"), "{ended:?}");
}

#[test]
fn without_a_compiler_it_says_so() {
    let shell = Shell::new();
    let ended = torture(&shell, &["--seconds", "1"], "/nowhere");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("a C compiler is needed"), "{ended:?}");
}
