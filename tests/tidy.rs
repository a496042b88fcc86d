//! The house rules that a compiler does not know, each shown to fail on a bad sample first.
//!
//! Reads the source tree as text. Comments, strings and character literals are blanked before a
//! rule looks at code, so that only code can break a rule about code. Needs nothing but `std`.

use std::{env, fs, path::Path};

#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/map.rs"]
mod map;
#[path = "tidy/rules.rs"]
mod rules;

/// The keywords that a declared name follows.
const DECLARERS: &[&str] = &["fn", "struct", "enum", "union", "trait", "mod", "type"];

/// A line number and what is wrong there.
type Fault = (usize, String);

/// A file, read once. `code` is `text` with everything that is no code blanked, line for line.
struct Source {
    path: String,
    text: String,
    code: String,
    comments: Vec<Fault>,
    /// For each line, whether it belongs to an item under `#[cfg(test)]`.
    test: Vec<bool>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let (code, comments) = blank(text);
        let test = test_lines(&code, !path.starts_with("src/") || path.ends_with("/tests.rs"));
        Self {
            path: path.into(),
            text: text.into(),
            code,
            comments,
            test,
        }
    }

    fn is_src(&self) -> bool {
        self.path.starts_with("src/")
    }

    /// The lines of code outside tests, numbered from one.
    fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.lines().enumerate();
        lines.filter(|(at, _)| !self.test[*at]).map(|(at, line)| (at + 1, line))
    }

    /// `["engine", "shard"]` for `src/engine/shard.rs`.
    fn module(&self) -> Vec<String> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inside.split('/').map(String::from).collect()
    }
}

// --- reading Rust -------------------------------------------------------------------------------

/// The text with comments and literals blanked, and the comments with their lines.
fn blank(text: &str) -> (String, Vec<Fault>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments, mut at, mut line) = (String::new(), Vec::new(), 0, 1);
    while at < chars.len() {
        let end = no_code_until(&chars, at).min(chars.len());
        if chars[at] == '/' && end > at {
            comments.push((line, chars[at..end].iter().collect()));
        }
        for &c in &chars[at..end.max(at + 1)] {
            line += usize::from(c == '\n');
            code.push(if end == at || c == '\n' { c } else { ' ' });
        }
        at = end.max(at + 1);
    }
    (code, comments)
}

/// Where the comment or literal that begins at `at` ends; `at` itself when it is code.
fn no_code_until(chars: &[char], at: usize) -> usize {
    match (chars[at], chars.get(at + 1)) {
        ('/', Some('/')) => find(chars, at, |rest| rest[0] == '\n'),
        ('/', Some('*')) => block_end(chars, at),
        ('"', _) => string_end(chars, at),
        ('\'', Some('\\')) => find(chars, at + 3, |rest| rest[0] == '\'') + 1,
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

fn find(chars: &[char], from: usize, is: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|&at| is(&chars[at..])).unwrap_or(chars.len())
}

fn block_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The end of a string; of a raw one when `r`, `br` or `cr` and as many `#` stand before the quote.
fn string_end(chars: &[char], quote: usize) -> usize {
    let hashes = chars[..quote].iter().rev().take_while(|c| **c == '#').count();
    let before = &chars[..quote - hashes];
    let prefix: String = before.iter().rev().take_while(|c| is_word(**c)).collect();
    if ["r", "rb", "rc"].contains(&prefix.as_str()) {
        let closes = |rest: &[char]| rest[0] == '"' && rest[1..].iter().take_while(|c| **c == '#').count() >= hashes;
        return find(chars, quote + 1, closes) + 1 + hashes;
    }
    let mut at = quote + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How many lines the item at the start of `code` takes: to its closing brace, or its semicolon.
fn item_lines(code: &str) -> usize {
    let (mut depth, mut lines) = (0, 1);
    for c in code.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '\n' => lines += 1,
            _ => {}
        }
        if depth <= 0 && matches!(c, ';' | '}') {
            break;
        }
    }
    lines
}

fn test_lines(code: &str, all: bool) -> Vec<bool> {
    const MARK: &str = "#[cfg(test)]";
    let mut test = vec![all; code.lines().count()];
    for (at, _) in code.match_indices(MARK) {
        let first = line_of(code, at) - 1;
        let last = (first + item_lines(&code[at + MARK.len()..])).min(test.len());
        test[first..last].fill(true);
    }
    test
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Every name that is declared, with its line, its keyword and the code from the keyword on.
fn declared(code: &str) -> Vec<(usize, &str, &str, &str)> {
    let mut found = Vec::new();
    for keyword in DECLARERS {
        for (at, _) in code.match_indices(&format!("{keyword} ")) {
            let name = code[at + keyword.len()..].trim_start();
            let name = &name[..name.find(|c| !is_word(c)).unwrap_or(name.len())];
            if !code[..at].ends_with(|c| is_word(c) || c == '#') && !name.is_empty() {
                found.push((line_of(code, at), *keyword, name, &code[at..]));
            }
        }
    }
    found
}

/// Every path that a `use` names or that starts at `crate` or `super`, groups written out.
fn imports(code: &str) -> Vec<(usize, Vec<String>)> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(at) = ["use ", "crate::", "super::"]
        .iter()
        .filter_map(|start| Some(from + code[from..].find(start)?))
        .min()
    {
        let mut rest = code[at..].trim_start_matches("use ");
        let mut paths = Vec::new();
        if !code[..at].ends_with(|c| is_word(c) || c == ':') {
            path_tree(&mut rest, &[], &mut paths);
        }
        found.extend(paths.into_iter().map(|path| (line_of(code, at), path)));
        from = (code.len() - rest.len()).max(at + 4);
    }
    found
}

fn path_tree(rest: &mut &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    loop {
        *rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            *rest = inside;
            return path_group(rest, &path, paths);
        }
        let glob = usize::from(rest.starts_with('*'));
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(glob);
        path.push(rest[..length].to_string());
        *rest = &rest[length..];
        match rest.strip_prefix("::") {
            Some(next) => *rest = next,
            None => return paths.push(path),
        }
    }
}

/// What stands between braces; `rest` ends behind the closing one.
fn path_group(rest: &mut &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    while !rest.trim_start().starts_with('}') && !rest.is_empty() {
        path_tree(rest, before, paths);
        *rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
        *rest = rest.trim_start_matches(',');
    }
    *rest = rest.trim_start().trim_start_matches('}');
}

// --- the tree -----------------------------------------------------------------------------------

fn root() -> String {
    let built = option_env!("CARGO_MANIFEST_DIR").map(String::from);
    env::var("CARGO_MANIFEST_DIR")
        .ok()
        .or(built)
        .expect("CARGO_MANIFEST_DIR says where the tree is")
}

/// Every file below `folder` as a path from the root, and every folder, with a slash behind it.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(&root()).join(folder)).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let name = format!("{folder}{}", entry.file_name().to_string_lossy());
        if !entry.path().is_dir() {
            found.push(name);
        } else if !["target", ".git", "node_modules"].contains(&name.as_str()) {
            found.extend(files(&format!("{name}/")));
            found.push(format!("{name}/"));
        }
    }
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(&root()).join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

fn report(path: &str, faults: Vec<Fault>) -> Vec<String> {
    faults
        .iter()
        .map(|(line, what)| format!("{path}:{line}: {what}"))
        .collect()
}

/// The rule catches each bad sample, lets each good one pass, and finds nothing in the tree.
fn holds(rule: fn(&Source) -> Vec<Fault>, bad: &[(&str, &str)], good: &[(&str, &str)]) {
    for (path, text) in bad {
        assert!(!rule(&Source::new(path, text)).is_empty(), "lets pass: {path}: {text}");
    }
    for (path, text) in good {
        assert_eq!(rule(&Source::new(path, text)), [], "refuses: {path}: {text}");
    }
    let kinds = [".rs", ".sql"];
    let paths = files("")
        .into_iter()
        .filter(|path| kinds.iter().any(|kind| path.ends_with(kind)));
    let faults: Vec<String> = paths
        .flat_map(|path| report(&path, rule(&Source::new(&path, &read(&path)))))
        .collect();
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n"));
}

#[test]
fn literals_and_comments_are_no_code() {
    let text = r##"let a = r#"{"#; // {
let b: &'a str = "\"{"; let c = ['{', '\'', '\u{7b}', b'{']; /* { /* { */ { */ end"##;
    let (code, comments) = blank(text);
    assert!(!code.contains('{') && code.ends_with(" end"), "{code}");
    assert_eq!(code.matches('\n').count(), 1);
    assert_eq!(comments[0], (1, "// {".to_string()));
    assert_eq!(comments[1], (2, "/* { /* { */ { */".to_string()));
}

#[test]
fn items_end_where_they_end() {
    assert_eq!(item_lines("fn a(b: [u8; 2]) {\n    if c {\n    }\n}\nfn d() {}"), 4);
    assert_eq!(item_lines("fn a() -> [u8; 2];\nfn b() {}"), 1);
    let source = Source::new("src/a.rs", "a\n#[cfg(test)]\nmod tests {\n    b;\n}\nc\n");
    assert_eq!(source.test, [false, true, true, true, true, false]);
}

#[test]
fn groups_of_imports_are_written_out() {
    let found = imports("use a::{self, b::{c as d, *}, e};\nfn f() { crate::g::h(&super::super::i) }");
    let paths: Vec<String> = found
        .iter()
        .map(|(line, path)| format!("{line} {}", path.join("::")))
        .collect();
    let wanted = [
        "1 a::self",
        "1 a::b::c",
        "1 a::b::*",
        "1 a::e",
        "2 crate::g::h",
        "2 super::super::i",
    ];
    assert_eq!(paths, wanted);
}
