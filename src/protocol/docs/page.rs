//! The document as a page, with the socket protocol and the error catalogue beside it.
//!
//! Reads the OpenAPI document, so the page says what the document says. Works without JavaScript.
//! Invariant: every text is escaped; nothing comes from elsewhere.

use crate::domain::error::{Code, Entry};
use crate::protocol::docs::socket::{EXAMPLES, Example};
use crate::protocol::pages;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

/// Lines to paste first, and the story in short.
const START: &str = "\
export URL=http://127.0.0.1:8080 STREAMGATE_TOKEN=…
curl -X POST $URL/session -H 'X-Auth-Company: acme' -H 'X-Auth-User: alice' -H \"X-Auth-Token: $STREAMGATE_TOKEN\"
# {\"head\":{…},\"body\":{\"id\":\"<id>\"}} – whoever gets the id connects with it:
wscat -c ws://127.0.0.1:8080/session/<id>/ws
# on the socket:
{\"msgId\":1,\"object\":\"event\",\"type\":\"subscribe\",\"path\":\"/acme/door/1\"}
# and from elsewhere:
curl $URL/v5.0/acme/event -H 'X-Auth-User: alice' -H \"X-Auth-Token: $STREAMGATE_TOKEN\" \\
     -d '{\"path\":\"/acme/door/1\",\"elems\":{\"open\":true}}'
";
/// Ends of a socket that no refusal is behind.
const CLOSES: &[(u16, &str)] = &[(1000, "The client's own goodbye, given back.")];

/// The whole page.
pub fn page(document: &Value) -> String {
    let style = |name: &str| html! { link rel="stylesheet" href=(format!("/static/{}/{name}", pages::build())); };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Streamgate: the API" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href=(format!("/static/{}/icon.svg", pages::build())) type="image/svg+xml";
                (style("tokens.css")) (style("base.css")) (style("docs.css"))
            }
            body.docs {
                a.skip href="#content" { "Skip to the content" }
                header { a href="/" { "Streamgate" } }
                (contents(document))
                main #content {
                    h1 { "The API" }
                    (start(document))
                    @for tag in list(&document["tags"]) { (section(document, tag)) }
                    (socket())
                    (errors())
                    (schemas(document))
                }
            }
        }
    };
    page.into_string()
}

fn contents(document: &Value) -> Markup {
    html! {
        nav aria-label="Contents" {
            ul {
                @for tag in list(&document["tags"]) {
                    li { a href=(format!("#{}", anchor(text(&tag["name"])))) { (text(&tag["name"])) } }
                }
                li { a href="#socket" { "The socket" } }
                li { a href="#errors" { "Errors" } }
                li { a href="#schemas" { "Schemas" } }
            }
        }
    }
}

fn start(document: &Value) -> Markup {
    html! {
        p { "Version " (text(&document["info"]["version"])) ". For programs: " a href="/openapi.json" { "openapi.json" } " (OpenAPI 3.1)." }
        (code(START))
        h2 { "Who asks" }
        dl {
            @for (name, scheme) in members(&document["components"]["securitySchemes"]) {
                dt { code { (carrier(name, scheme)) } }
                dd { (prose(scheme["description"].as_str().unwrap_or(name))) }
            }
        }
    }
}

/// The header that carries it.
fn carrier(name: &str, scheme: &Value) -> String {
    match (text(&scheme["type"]), text(&scheme["in"])) {
        ("http", _) => format!("Authorization: {name}"),
        (_, "cookie") => format!("Cookie: {name}"),
        _ => name.to_owned(),
    }
}

fn section(document: &Value, tag: &Value) -> Markup {
    let name = text(&tag["name"]);
    let operations = members(&document["paths"]).flat_map(|(path, item)| {
        let of_tag = members(item).filter(|(_, operation)| list(&operation["tags"]).any(|tag| text(tag) == name));
        of_tag.map(move |(method, operation)| (path, method, operation))
    });
    html! {
        section aria-labelledby=(anchor(name)) {
            h2 #(anchor(name)) { (name) }
            p { (prose(text(&tag["description"]))) }
            @for (path, method, operation) in operations { (self::operation(path, method, operation)) }
        }
    }
}

fn operation(path: &str, method: &str, operation: &Value) -> Markup {
    html! {
        article {
            h3 #(text(&operation["operationId"])) { code { b { (method.trim_start_matches("x-").to_uppercase()) } " " (path) } }
            p { (prose(text(&operation["summary"]))) }
            @if let Some(more) = operation["description"].as_str() { p { (prose(more)) } }
            (ways(operation))
            @if let Some(parameters) = operation["parameters"].as_array().filter(|all| !all.is_empty()) {
                (table(&["Parameter", "In", "Type", "What"], parameters.iter().map(|parameter| [
                    html! { code { (text(&parameter["name"])) } },
                    html! { (text(&parameter["in"])) },
                    kind(&parameter["schema"]),
                    prose(text(&parameter["description"])),
                ])))
            }
            @if let Some((_, content)) = members(&operation["requestBody"]["content"]).next() {
                p { "Body: " (kind(&content["schema"])) @if operation["requestBody"]["required"] != true { ", may be left out" } "." }
            }
            (table(&["Answer", "Body", "What"], members(&operation["responses"]).map(|(status, answer)| [
                html! { (status) },
                answer_kind(answer),
                match text(&answer["description"]).starts_with('`') {
                    true => codes(text(&answer["description"])),
                    false => prose(text(&answer["description"])),
                },
            ])))
        }
    }
}

/// In which ways its asker may say who they are.
fn ways(operation: &Value) -> Markup {
    let ways: Vec<String> = list(&operation["security"])
        .map(|way| members(way).map(|(name, _)| name).collect::<Vec<_>>().join(" + "))
        .map(|way| {
            if way.is_empty() {
                "nobody in particular".to_owned()
            } else {
                way
            }
        })
        .collect();
    html! { @if !ways.is_empty() { p.ways { "Who asks: " (ways.join(", or ")) } } }
}

/// What is in the envelope, or the whole answer where there is none.
fn answer_kind(answer: &Value) -> Markup {
    let Some((media, content)) = members(&answer["content"]).next() else {
        return html! {};
    };
    let schema = &content["schema"];
    match (media, &schema["properties"]["body"], schema["allOf"].is_array()) {
        ("application/json", Value::Null, true) => html! { (kind(&schema["allOf"][0])) },
        ("application/json", Value::Null, false) => kind(schema),
        ("application/json", body, _) => kind(body),
        (media, ..) => html! { (media) },
    }
}

/// A schema in a word or two.
fn kind(schema: &Value) -> Markup {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return html! { a href=(format!("#schema-{name}")) { (name) } };
    }
    if let Some(words) = schema["enum"].as_array() {
        return html! { @for (n, word) in words.iter().enumerate() { @if n > 0 { ", " } code { (text(word)) } } };
    }
    for (key, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        if let Some(all) = schema[key].as_array() {
            return html! { @for (n, one) in all.iter().enumerate() { @if n > 0 { (between) } (kind(one)) } };
        }
    }
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().map(text).collect::<Vec<_>>().join(" or "),
        name => text(name).to_owned(),
    };
    match (&schema["items"], &schema["additionalProperties"]) {
        (items @ Value::Object(_), _) => html! { "array of " (kind(items)) },
        (_, values @ Value::Object(values_of)) if !values_of.is_empty() => html! { "map to " (kind(values)) },
        _ if name.is_empty() => html! { "anything" },
        _ => html! { (name) },
    }
}

fn codes(names: &str) -> Markup {
    let names = names.split(", ").map(|name| name.trim_matches('`'));
    html! {
        @for (n, name) in names.enumerate() { @if n > 0 { ", " } a href=(format!("#error-{name}")) { code { (name) } } }
    }
}

fn socket() -> Markup {
    html! {
        section aria-labelledby="socket" {
            h2 #socket { "The socket" }
            p { (prose("`GET /session/<id>/ws`, opened with any WebSocket client. One JSON object a text frame, either way. \
                The server pings a silent connection every 25 s and drops one that gave no sign of life for 60 s; WebSocket \
                clients answer pings by themselves.")) }
            @for example in EXAMPLES { (self::example(example)) }
            h3 #closing { "How it ends" }
            p { (prose("A close frame has a code and a reason, `code: what happened`.")) }
            (table(&["Close code", "Reason", "What to do"], closes()))
        }
    }
}

fn example(example: &Example) -> Markup {
    html! {
        article {
            h3 { (example.title) }
            p { (prose(example.says)) }
            (code(example.send))
            @if !example.receive.is_empty() {
                p { "What comes:" }
                (code(&example.receive.join("\n")))
            }
        }
    }
}

fn closes() -> impl Iterator<Item = [Markup; 3]> {
    let plain = CLOSES
        .iter()
        .map(|(code, says)| [html! { (code) }, html! {}, prose(says)]);
    let mut refused: Vec<&Entry> = Code::ALL
        .iter()
        .map(|code| code.entry())
        .filter(|entry| entry.close.is_some())
        .collect();
    refused.sort_by_key(|entry| entry.close);
    let refused = refused.into_iter().map(|entry| {
        let code = entry.close.unwrap_or_default();
        [html! { (code) }, html! { code { (entry.code) } }, prose(entry.advice)]
    });
    plain.chain(refused)
}

fn errors() -> Markup {
    html! {
        section aria-labelledby="errors" {
            h2 #errors { "Errors" }
            p { (prose("Every refusal says what happened in `head.errors`, and has one of these in `head.code`. A code never \
                changes its meaning.")) }
            (table(&["Code", "Status", "Closes with", "Retry helps", "What to do"], Code::ALL.iter().map(|code| {
                let entry = code.entry();
                [
                    html! { code #(format!("error-{}", entry.code)) { (entry.code) } },
                    html! { (entry.status) },
                    html! { @if let Some(close) = entry.close { (close) } },
                    html! { @if entry.retry { "yes" } @else { "no" } },
                    prose(entry.advice),
                ]
            })))
        }
    }
}

fn schemas(document: &Value) -> Markup {
    html! {
        section aria-labelledby="schemas" {
            h2 #schemas { "Schemas" }
            @for (name, schema) in members(&document["components"]["schemas"]) {
                article {
                    h3 #(format!("schema-{name}")) { (name) }
                    @if let Some(says) = schema["description"].as_str() { p { (prose(says)) } }
                    @if schema["properties"].is_object() {
                        (table(&["Member", "Type", "What"], members(&schema["properties"]).map(|(member, shape)| [
                            html! { code { (member) } @if list(&schema["required"]).any(|name| name == member) { " (always)" } },
                            kind(shape),
                            prose(shape["description"].as_str().unwrap_or_default()),
                        ])))
                    } @else { p { (kind(schema)) } }
                }
            }
        }
    }
}

/// A table that can be scrolled sideways, also with the keyboard.
fn table<const N: usize>(heads: &[&str; N], rows: impl Iterator<Item = [Markup; N]>) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label=(format!("Table: {}", heads.join(", "))) {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}

/// Lines to copy.
fn code(lines: &str) -> Markup {
    html! { pre tabindex="0" { code { (lines) } } }
}

/// Text with `code` between backticks.
fn prose(words: &str) -> Markup {
    let parts = words.split('`').enumerate();
    html! { @for (n, part) in parts { @if n % 2 == 1 { code { (part) } } @else { (part) } } }
}

fn anchor(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
}
