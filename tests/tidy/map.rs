//! ARCHITECTURE.md shows what is in the tree, and nothing that is not.

use super::{Fault, files, is_word, read, report};
use std::collections::BTreeSet;

/// The words between backticks, fenced blocks included, with their lines.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut line) = (Vec::new(), 1);
    for (n, part) in text.split('`').enumerate() {
        for (row, words) in part.lines().enumerate().filter(|_| n % 2 == 1) {
            found.extend(words.split_whitespace().map(|word| (line + row, word)));
        }
        line += part.matches('\n').count();
    }
    found
}

/// Names of files and folders in the map that are not in the tree.
fn stale(map: &str, files: &[String]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (line, word) in quoted(map) {
        let name = word.trim_end_matches([',', ';', ':', '.', ')']);
        let known = |file: &String| file == name || file.ends_with(&format!("/{name}"));
        if is_path(name) && !files.iter().any(known) {
            faults.push((line, format!("`{name}` is not in the tree: correct the map")));
        }
    }
    faults
}

fn is_path(name: &str) -> bool {
    let folders = ["src/", "tests/", "migrations/", "benches/", "static/", ".ci/"];
    let plain = name.chars().all(|c| is_word(c) || "/.-".contains(c)) && !name.starts_with('/');
    folders.iter().any(|folder| name.starts_with(folder)) || (plain && (name.ends_with(".rs") || name.ends_with('/')))
}

/// Modules that the map has to show and does not.
fn unmentioned(map: &str, files: &[String]) -> Vec<Fault> {
    let words: BTreeSet<&str> = quoted(map)
        .iter()
        .flat_map(|(_, word)| word.split(|c| !is_word(c)))
        .collect();
    let shown = ["src", "src/domain", "src/engine", "src/protocol"];
    files
        .iter()
        .filter_map(|file| file.strip_suffix(".rs")?.rsplit_once('/'))
        .filter(|(folder, stem)| shown.contains(folder) && !words.contains(stem))
        .map(|(folder, stem)| (1, format!("`{folder}/{stem}.rs` is missing in the map: add it")))
        .collect()
}

#[test]
fn the_map_is_true() {
    let tree = ["src/engine/shard.rs", "src/engine/", "src/log.rs"].map(String::from);
    let bad = "One\n`src/engine/index.rs`, `log.rs`, `cli/`, `tests/{a,b}.rs`\n```\nsrc/gone\n```";
    let lines: Vec<usize> = stale(bad, &tree).iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 2, 2, 4]);
    let good = "`src/engine/shard.rs`: `shard.rs` in `engine/`. `GET /session/`, `ws://a/`, src/x.rs";
    assert_eq!(stale(good, &tree), []);
    let faults = report("ARCHITECTURE.md", stale(&read("ARCHITECTURE.md"), &files("")));
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n"));
}

#[test]
fn the_map_is_complete() {
    let tree = ["src/log.rs", "src/log/writer.rs", "src/engine/shard.rs"].map(String::from);
    assert_eq!(unmentioned("log and shard", &tree).len(), 2);
    assert_eq!(unmentioned("`log`\n```\nengine/{shard,outbox}\n```\n", &tree), []);
    let faults = report("ARCHITECTURE.md", unmentioned(&read("ARCHITECTURE.md"), &files("")));
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n"));
}
