//! The dashboard as a browser is served it: one document, files that may be kept, and nothing that
//! would let another page in.

use crate::stage::{Answer, DEADLINE, Stage};
use std::collections::BTreeSet;

/// Bytes that the first page may take, compressed, with all that it asks for before anybody clicks.
const FIRST_PAGE_BYTES: usize = 40 * 1024;
/// Bytes that all pages together may take, compressed.
const ALL_BYTES: usize = 100 * 1024;

const GZIP: (&str, &str) = ("Accept-Encoding", "gzip, deflate, br, zstd");

async fn ask(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> Answer {
    fetch(stage, "GET", path, headers).await
}

/// Not by way of the stage: what is no part of the API is not described as one.
async fn fetch(stage: &Stage, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = stage.http.request(method, format!("http://{}{path}", stage.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.timeout(DEADLINE).send().await.expect("an answer");
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.expect("text"),
    }
}

fn header(answer: &Answer, name: &str) -> String {
    let value = answer.headers.get(name).map(|value| value.to_str().expect("text"));
    value.unwrap_or_default().to_owned()
}

/// The addresses under `/static/` that stand between double quotes, in the order of the document.
fn named(document: &str) -> Vec<String> {
    let quoted = document.split('"').filter(|part| part.starts_with("/static/"));
    quoted.map(str::to_owned).collect()
}

/// The modules that a module imports, as addresses.
fn imported(address: &str, text: &str) -> Vec<String> {
    let folder = address.rsplit_once('/').expect("a folder").0;
    let names = text
        .split('"')
        .filter(|part| part.starts_with("./") || part.starts_with("../"));
    names
        .filter(|name| name.ends_with(".js"))
        .map(|name| match name.strip_prefix("../") {
            Some(name) => format!("{}/{name}", folder.rsplit_once('/').expect("a folder").0),
            None => format!("{folder}/{}", name.trim_start_matches("./")),
        })
        .collect()
}

/// Every file that the document leads to.
async fn all_files(stage: &Stage) -> BTreeSet<String> {
    let mut waiting = named(&ask(stage, "/", &[]).await.text);
    let mut found = BTreeSet::new();
    while let Some(address) = waiting.pop() {
        if !found.insert(address.clone()) {
            continue;
        }
        let answer = ask(stage, &address, &[]).await;
        assert_eq!(answer.status, 200, "{address}");
        if address.ends_with(".js") {
            waiting.extend(imported(&address, &answer.text));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_asked_for_anew_and_its_files_are_kept_for_ever() {
    let stage = Stage::start().await;
    let document = ask(&stage, "/", &[]).await;
    assert_eq!(
        (document.status, &*header(&document, "content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert_eq!(header(&document, "cache-control"), "no-cache");
    let tag = header(&document, "etag");
    for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let again = ask(&stage, "/", &[("If-None-Match", &known)]).await;
        assert_eq!((again.status, &*again.text), (304, ""), "{known}");
        assert_eq!(header(&again, "etag"), tag);
    }
    assert_eq!(ask(&stage, "/", &[("If-None-Match", "\"other\"")]).await.status, 200);

    for address in all_files(&stage).await {
        let answer = ask(&stage, &address, &[]).await;
        assert_eq!(
            header(&answer, "cache-control"),
            "public, max-age=31536000, immutable",
            "{address}"
        );
        let kind = match address.rsplit_once('.').expect("an ending").1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(header(&answer, "content-type"), kind, "{address}");
        let tag = header(&answer, "etag");
        assert_eq!(ask(&stage, &address, &[("If-None-Match", &tag)]).await.status, 304);
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_run_nothing_but_their_own_files() {
    let stage = Stage::start().await;
    let document = ask(&stage, "/", &[]).await;
    let mut addresses: Vec<String> = all_files(&stage).await.into_iter().collect();
    addresses.push("/".to_owned());
    for address in addresses {
        let answer = ask(&stage, &address, &[]).await;
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                 form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(header(&answer, name), value, "{address}");
        }
        assert!(header(&answer, "permissions-policy").contains("camera=()"), "{address}");
        let fetched = ["http://", "https://", "//cdn", "@import"];
        let foreign = fetched.iter().find(|start| {
            let text = answer
                .text
                .replace("http://www.w3.org/", "")
                .replace("https://app.example.com", "");
            text.contains(**start)
        });
        assert_eq!(foreign, None, "{address} asks somebody else");
    }
    // The policy forbids them, so a page that had some would be broken.
    assert!(
        !document.text.contains("<script>") && !document.text.contains("<style") && !document.text.contains(" style=")
    );
    assert!(!document.text.contains(" on"), "no listener stands in the markup");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_compressed_for_who_takes_it() {
    let stage = Stage::start().await;
    let plain = ask(&stage, "/", &[]).await;
    assert_eq!(header(&plain, "content-encoding"), "");
    assert!(header(&plain, "vary").contains("accept-encoding"));
    for refused in ["identity", "gzip;q=0", "br"] {
        let answer = ask(&stage, "/", &[("Accept-Encoding", refused)]).await;
        assert_eq!(
            (header(&answer, "content-encoding"), answer.text),
            (String::new(), plain.text.clone()),
            "{refused}"
        );
    }
    let head = fetch(&stage, "HEAD", "/", &[]).await;
    assert_eq!(header(&head, "content-length"), plain.text.len().to_string());

    let size = async |address: &str| {
        let head = fetch(&stage, "HEAD", address, &[GZIP]).await;
        assert_eq!(
            (head.status, &*header(&head, "content-encoding"), &*head.text),
            (200, "gzip", ""),
            "{address}"
        );
        assert_ne!(header(&head, "etag"), header(&ask(&stage, address, &[]).await, "etag"));
        header(&head, "content-length").parse::<usize>().expect("a length")
    };
    let mut first = size("/").await;
    for address in BTreeSet::from_iter(named(&plain.text)) {
        first += size(&address).await;
    }
    let mut all = size("/").await;
    for address in all_files(&stage).await {
        all += size(&address).await;
    }
    assert!(
        (1_000..FIRST_PAGE_BYTES).contains(&first),
        "the first page takes {first} bytes"
    );
    assert!((first..ALL_BYTES).contains(&all), "all pages take {all} bytes");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_nothing_else() {
    let stage = Stage::start().await;
    let document = ask(&stage, "/", &[]).await;
    let files = named(&document.text);
    let script = files.iter().find(|name| name.ends_with("/app.js")).expect("a start");
    let build = script.trim_end_matches("/app.js");
    for address in [
        "/index.html",
        "/static/",
        "/static/app.js",
        "/static/0000000000000000/app.js",
        &format!("{build}/"),
        &format!("{build}/index.html"),
        &format!("{build}/none.js"),
        &format!("{build}/pages"),
        &format!("{build}/../Cargo.toml"),
        &format!("{build}/%2e%2e/Cargo.toml"),
        &format!("{build}/pages/..%2fapp.js"),
    ] {
        let answer = ask(&stage, address, &[]).await;
        assert_eq!((answer.status, &*answer.code()), (404, "route.unknown"), "{address}");
    }
    for address in ["/", script] {
        let answer = stage.request_with("POST", address, &[], "{}").await;
        assert_eq!((answer.status, &*answer.code()), (405, "method.unknown"), "{address}");
        assert_eq!(header(&answer, "allow"), "GET, HEAD");
    }
    stage.end().await;
}
