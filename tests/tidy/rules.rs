//! Sizes, names and what must not be left lying about, one function a rule and one test each.

use super::{Fault, Source, declared, holds, imports, item_lines};

const FUNCTION_LINES: usize = 70;
const SOURCE_LINES: usize = 400;
const TEST_LINES: usize = 600;
const HEAD_LINES: usize = 10;
const EMPTY_WORDS: &[&str] = &[
    "manager", "handler", "helper", "util", "common", "misc", "info", "data", "process",
];

/// What is small can be read; the tests at the end of a file do not count as its lines.
fn sizes(source: &Source) -> Vec<Fault> {
    let (lines, most) = match source.is_src() {
        true => (source.product().count(), SOURCE_LINES),
        false => (source.test.len(), TEST_LINES),
    };
    let mut faults = Vec::new();
    if lines > most {
        faults.push((1, format!("{lines} lines, {most} at most: split it by what it owns")));
    }
    for (line, keyword, name, item) in declared(&source.code) {
        let lines = item_lines(item);
        if keyword == "fn" && lines > FUNCTION_LINES {
            let advice = format!("{FUNCTION_LINES} at most: split it by stage");
            faults.push((line, format!("`{name}` has {lines} lines, {advice}")));
        }
    }
    faults
}

/// Names that would fit anything say nothing.
fn names(source: &Source) -> Vec<Fault> {
    let module = source.module();
    let files = module.iter().map(|part| (1, part.as_str()));
    let declared = declared(&source.code);
    let all = files.chain(declared.iter().map(|(line, _, name, _)| (*line, *name)));
    all.filter(|(_, name)| source.is_src() && says_nothing(name))
        .map(|(line, name)| (line, format!("`{name}`: say what it is or does, without a filler word")))
        .collect()
}

fn says_nothing(name: &str) -> bool {
    let spaced: String = name
        .chars()
        .flat_map(|c| [c.is_uppercase().then_some('_'), Some(c)])
        .flatten()
        .collect();
    let lower = spaced.to_lowercase();
    lower
        .split('_')
        .any(|word| EMPTY_WORDS.contains(&word) || EMPTY_WORDS.contains(&word.trim_end_matches('s')))
}

/// What never belongs into the tree, whatever it says.
fn leftovers(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    if source.text.trim().is_empty() {
        faults.push((1, "is empty: delete it".to_string()));
    }
    if source.path.ends_with("/mod.rs") {
        faults.push((1, "call it after its folder and put it beside the folder".to_string()));
    }
    for (at, line) in source.code.lines().enumerate() {
        if ["dbg!", "todo!", "unimplemented!"]
            .iter()
            .any(|mark| line.contains(mark))
        {
            faults.push((at + 1, "left over from writing: finish it or take it out".to_string()));
        }
    }
    for (line, comment) in &source.comments {
        if ["TODO", "FIXME"].iter().any(|mark| comment.contains(mark)) {
            faults.push((*line, "a promise in a comment: do it now or file it".to_string()));
        }
        if comment.lines().any(|row| !is_doc(comment) && is_code(row)) {
            faults.push((*line, "looks like commented-out code: delete it".to_string()));
        }
    }
    faults
}

fn is_doc(comment: &str) -> bool {
    ["///", "//!", "/**", "/*!"]
        .iter()
        .any(|start| comment.starts_with(start))
}

/// Whether a line of a comment reads like Rust. What quotes code in backticks is prose.
fn is_code(row: &str) -> bool {
    let text = row.trim_start_matches(['/', '*', ' ']).trim_end();
    let closers = !text.is_empty() && text.chars().all(|c| "{}();,".contains(c));
    let signs = [");", "?;", "];", "};", " = ", "::", "let "];
    let statement = !text.contains(' ') || signs.iter().any(|sign| text.contains(sign));
    let quotes = text.contains('`');
    closers || !quotes && (text.ends_with('{') || text.ends_with(';') && statement)
}

/// Fine in a test, not in the product.
fn shortcuts(source: &Source) -> Vec<Fault> {
    let unwraps = source.product().filter(|(_, line)| line.contains(".unwrap()"));
    let mut faults: Vec<Fault> = unwraps
        .map(|(line, _)| (line, "`.unwrap()`: `?`, or `.expect(\"why it cannot be\")`".to_string()))
        .collect();
    for (line, path) in imports(&source.code) {
        if path.last().is_some_and(|name| name == "*") && !source.test[line - 1] {
            faults.push((line, "glob import: write the names out".to_string()));
        }
    }
    faults
}

/// A file says first what it is for.
fn heads(source: &Source) -> Vec<Fault> {
    let lines = source.text.lines().take_while(|line| line.starts_with("//!")).count();
    let good = !source.is_src() || (1..=HEAD_LINES).contains(&lines);
    let advice = format!("starts with {lines} lines of `//!`, wanted are 1 to {HEAD_LINES}");
    let what = "what it owns, what it does not know, its invariant";
    (!good).then(|| (1, format!("{advice}: {what}"))).into_iter().collect()
}

/// An applied migration is never edited, so it is named and explained for good.
fn migrations(source: &Source) -> Vec<Fault> {
    let Some(name) = source.path.strip_prefix("migrations/") else {
        return Vec::new();
    };
    let words = name.trim_start_matches(|c: char| c.is_ascii_digit());
    let letters = words
        .trim_end_matches(".sql")
        .chars()
        .all(|c| c == '_' || c.is_ascii_lowercase());
    let numbered = name.len() - words.len() == 4 && words.starts_with('_') && words.ends_with(".sql");
    let mut faults = Vec::new();
    if !numbered || !letters {
        faults.push((1, "is not named like `0001_what_it_does.sql`".to_string()));
    }
    if !source.text.starts_with("--") {
        faults.push((
            1,
            "does not start with a comment: say what it brings and why".to_string(),
        ));
    }
    faults
}

#[test]
fn functions_and_files_are_small() {
    let long = format!("fn a() {{\n{}}}", "    b();\n".repeat(FUNCTION_LINES - 1));
    let file = "const A: u8 = 1;\n".repeat(SOURCE_LINES + 1);
    let test = "const A: u8 = 1;\n".repeat(TEST_LINES + 1);
    let bad = [
        ("src/a.rs", &*long),
        ("src/a.rs", &file),
        ("tests/a.rs", &test),
        ("tests/a.rs", &long),
    ];
    let most = format!("fn a() {{\n{}}}", "    \"}\";\n".repeat(FUNCTION_LINES - 2));
    let tested = format!("a();\n#[cfg(test)]\nmod tests {{\n{file}}}\n");
    holds(
        sizes,
        &bad,
        &[("src/a.rs", &most), ("src/a.rs", &tested), ("tests/a.rs", &file)],
    );
}

#[test]
fn names_say_something() {
    let bad = [
        ("src/a.rs", "struct StreamManager;"),
        ("src/a.rs", "    pub(crate) async fn process(b: u8) {}"),
        ("src/a.rs", "type PathInfo = u8;"),
        ("src/a.rs", "mod test_helpers {}"),
        ("src/utils.rs", ""),
        ("src/common/a.rs", ""),
    ];
    let good = [
        (
            "src/a.rs",
            "use std::process; fn metadata(info: u8) { let data = process::id(); }",
        ),
        ("src/a.rs", "// struct Manager\nconst A: &str = \"fn data\";"),
        ("tests/a.rs", "fn handler() {}"),
    ];
    holds(names, &bad, &good);
}

#[test]
fn nothing_is_left_over() {
    let bad = [
        ("src/a.rs", " \n"),
        ("src/a/mod.rs", "//! A."),
        ("src/a.rs", "fn a() { todo!() }"),
        ("tests/a.rs", "fn a() { dbg!(1); }"),
        ("src/a.rs", "// TODO: more"),
        ("src/a.rs", "/* FIXME */"),
        ("src/a.rs", "// let b = c;"),
        ("src/a.rs", "//     if b {\n//     }"),
        ("src/a.rs", "/*\n  call(b);\n*/"),
        ("src/a.rs", "// return;"),
    ];
    let good = [
        (
            "src/a.rs",
            "// Written first, so that a crash loses nothing; then answered.",
        ),
        ("src/a.rs", "// Orders what it gets;\n// then stores it: {\"a\":1}"),
        ("src/a.rs", "/// ```\n/// let b = c(TO_DO);\n/// ```\nfn a() {}"),
        ("src/a.rs", "const A: &str = \"TODO // let b = c;\";"),
    ];
    holds(leftovers, &bad, &good);
}

#[test]
fn the_product_takes_no_shortcuts() {
    let bad = [
        ("src/a.rs", "fn a() { b.unwrap(); }"),
        ("src/a.rs", "use b::*;"),
        ("src/a.rs", "pub use b::{c, d::*};"),
        ("src/a.rs", "#[cfg(test)]\nmod tests {}\nfn a() {\n    b.unwrap();\n}"),
    ];
    let good = [
        ("src/a.rs", "// .unwrap()\nfn a() { b.unwrap_or(2 * c); }"),
        (
            "src/a.rs",
            "#[cfg(test)]\nmod tests {\n    use super::*;\n    fn a() { b.unwrap(); }\n}",
        ),
        ("tests/a.rs", "use b::*; fn a() { b.unwrap(); }"),
    ];
    holds(shortcuts, &bad, &good);
}

#[test]
fn files_start_with_what_they_own() {
    let long = "//! A.\n".repeat(HEAD_LINES + 1);
    let bad = [("src/a.rs", "use b;"), ("src/a.rs", "// A.\n"), ("src/a.rs", &long)];
    holds(
        heads,
        &bad,
        &[("src/a.rs", "//! A.\n\nuse b;"), ("tests/a.rs", "use b;")],
    );
}

#[test]
fn migrations_are_numbered_and_explained() {
    let bad = [
        ("migrations/1_company.sql", "-- Companies."),
        ("migrations/0001company.sql", "-- Companies."),
        ("migrations/0001_Company.sql", "-- Companies."),
        ("migrations/0001_company.sql", "create table company (id text);"),
    ];
    holds(
        migrations,
        &bad,
        &[("migrations/0001_company_and_user.sql", "-- Companies.")],
    );
}
