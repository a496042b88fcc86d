//! The README says what is true: its table of errors is the closed list in the code, and it names
//! every route that there is.

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

#[test]
fn every_route_is_in_the_readme() {
    let sources = [
        include_str!("../src/protocol/operations.rs"),
        include_str!("../src/protocol/account/verbs.rs"),
        include_str!("../src/protocol/session/verbs.rs"),
        include_str!("../src/protocol/rest/verbs.rs"),
        include_str!("../src/protocol/rest/watch.rs"),
    ];
    let mut routes = 0;
    for source in sources {
        for rest in source.split("web::resource(\"").skip(1) {
            let route = rest
                .split('"')
                .next()
                .expect("a route")
                .replace("{company}", "<company>");
            let stream = if route.contains("/event/") {
                "<streamId>"
            } else {
                "<id>"
            };
            let route = route.replace("{id}", stream).replace("{event}", "<eventId>");
            assert!(README.contains(&route), "{route} is not in the README");
            routes += 1;
        }
    }
    assert!(routes >= 9, "{routes} routes found");
}
