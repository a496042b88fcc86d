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

#[test]
fn a_short_torture_finds_nothing_lost_and_says_what_it_did() {
    let shell = Shell::new();
    let ended = torture(
        &shell,
        &["--seed", "1", "--seconds", "8", "--dir", "it", "--json"],
        &own_path(),
    );
    let verdict = ended.json();
    let figure = |name: &str| {
        verdict["figures"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name}: {verdict}"))
    };
    for name in [
        "requests",
        "delivered",
        "sockets",
        "streams made",
        "changes of files",
        "syncs",
        "kills",
        "power cuts",
    ] {
        assert!(figure(name) > 0, "{name}: {verdict}");
    }
    let promises = [
        "lost, durable",
        "lost, written",
        "lost streams",
        "duplicated",
        "swapped",
        "altered",
        "delivered again or too late",
        "untold gaps",
        "miscounted gaps",
        "never arrived",
        "frames nobody asked for",
        "ended by itself",
        "disorderly ends",
        "leaks",
    ];
    for name in promises {
        assert_eq!(figure(name), 0, "{name}: {verdict}");
    }
    let holds = verdict["holds"].as_bool().expect("a verdict");
    assert_eq!(ended.code, Some(i32::from(!holds)), "{ended:?}");
    assert_eq!(holds, verdict["broken"].as_array().expect("a list").is_empty());
    assert_eq!(
        shell.folder().join("it").exists(),
        !holds,
        "only what is to be looked at is kept"
    );
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
