//! The README says what is true: its table of errors is the closed list in the code, and it names
//! every route that there is; so does the OpenAPI document.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use streamgate::domain::error::Code;

const README: &str = include_str!("../README.md");

#[test]
fn the_table_of_errors_is_the_list_in_the_code() {
    let documented: Vec<&str> = README.lines().filter(|line| is_error_row(line)).collect();
    let listed: Vec<String> = Code::ALL.iter().map(|code| row(*code)).collect();
    assert_eq!(documented, listed);
}

fn is_error_row(line: &str) -> bool {
    let code = line.strip_prefix("| `").and_then(|rest| rest.split_once("` | "));
    code.is_some_and(|(code, rest)| code.contains('.') && rest.starts_with(['4', '5']))
}

fn row(code: Code) -> String {
    let entry = code.entry();
    let close = entry.close.map(|close| close.to_string()).unwrap_or_default();
    let retry = if entry.retry { "yes" } else { "no" };
    format!(
        "| `{}` | {} | {close} | {retry} | {} |",
        entry.code, entry.status, entry.advice
    )
}

/// Every address that the sources register, as the router has it.
fn registered() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(path).expect("a source");
            // Where an address may be written in several ways, the first one counts.
            let routes = source.split("web::resource(").skip(1);
            let quoted = routes.filter_map(|rest| rest.trim_start_matches('[').strip_prefix('"'));
            found.extend(quoted.map(|rest| rest.split('"').next().expect("a route").to_owned()));
            // Those that have two names are there by both.
            let routes = source.split("web::resource(at(\"").skip(1);
            for route in routes.map(|rest| rest.split('"').next().expect("a route")) {
                found.insert(format!("/v5.0/{{company}}/{route}"));
                let older = route.replacen("event", "drop", 1).replacen("stream", "flow", 1);
                found.insert(format!("/{{base}}/{{company}}/{older}"));
            }
        }
    }
    assert!(found.len() >= 13, "{found:?}");
    found
}

#[test]
fn every_route_is_in_the_readme() {
    for route in registered().difference(&pages()) {
        let stream = if route.contains("/event/") {
            "<streamId>"
        } else {
            "<id>"
        };
        let written = route.replace("{company}", "<company>").replace("{id}", stream);
        let written = written.replace("{event}", "<eventId>").replace("{name}", "<name>");
        let written = written
            .replace(['{', '}'], "|")
            .split('|')
            .enumerate()
            .fold(String::new(), bracketed);
        assert!(README.contains(&written), "{written} is not in the README");
    }
}

/// Puts what stood in braces into angles.
fn bracketed(text: String, (n, part): (usize, &str)) -> String {
    match n % 2 {
        1 => format!("{text}<{part}>"),
        _ => text + part,
    }
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let document = serde_json::to_value(streamgate::protocol::docs::document()).expect("a document");
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<String> = paths.keys().cloned().collect();
    let registered: BTreeSet<String> = registered().difference(&pages()).cloned().collect();
    assert_eq!(registered, described);
}

/// Files of the dashboard are no part of the API.
fn pages() -> BTreeSet<String> {
    ["/", "/static/{build}/{name:.*}"].map(str::to_owned).into()
}
