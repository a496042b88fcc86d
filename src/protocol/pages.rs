//! The dashboard: the files of `static/`, built into the program and served from memory.
//!
//! Knows nothing of what the pages do. `/` is the only document and is asked for anew each time;
//! everything else stands under the build's own name and may be kept for ever, so a page never
//! mixes files of two versions. Invariant: a file is served as it was built in, or not at all.

use crate::broker::Broker;
use crate::protocol::operations::{self, other};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, Encoding, EntityTag,
    IfNoneMatch, VARY,
};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::LazyLock;

/// The one document.
const INDEX: &str = "index.html";
/// What stands in the document where the build's name belongs.
const BUILD_MARK: &str = "/static/-/";
/// Digits of the build's name.
const BUILD_DIGITS: usize = 16;

macro_rules! files {
    ($($name:literal)*) => {
        /// Every file of `static/`, with what is in it.
        const FILES: &[(&str, &[u8])] = &[$(($name, include_bytes!(concat!("../../static/", $name))),)*];
    };
}

files! {
    "index.html" "icon.svg"
    "tokens.css" "base.css" "layout.css" "parts.css" "docs.css"
    "api.js" "app.js" "charts.js" "commands.js" "format.js" "forms.js" "list.js" "shell.js" "socket.js"
    "ui.js"
    "pages/account.js" "pages/audit.js" "pages/connections.js" "pages/events.js" "pages/first-steps.js"
    "pages/keys.js" "pages/live.js" "pages/overview.js" "pages/pointed.js" "pages/publish.js" "pages/settings.js" "pages/sign-in.js"
    "pages/stream-form.js" "pages/stream.js" "pages/streams.js" "pages/token-dialogs.js" "pages/tokens.js"
    "pages/users.js" "pages/welcome.js"
}

/// What every file is sent with. `connect-src 'self'` includes sockets of the same host.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// A file, ready to be sent.
pub struct File {
    kind: &'static str,
    plain: Bytes,
    zipped: Bytes,
    /// Names the contents; the zipped form has a name of its own.
    tag: String,
}

/// All files by name, and the name of this build.
struct Site {
    build: String,
    files: BTreeMap<&'static str, File>,
}

/// Compressed once, when the first page is asked for.
static SITE: LazyLock<Site> = LazyLock::new(Site::new);

impl Site {
    fn new() -> Self {
        let build = digest(FILES.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]));
        let file = |(name, bytes): &(&'static str, &'static [u8])| (*name, File::new(name, bytes, &build));
        let files = FILES.iter().map(file).collect();
        Self { build, files }
    }
}

impl File {
    fn new(name: &str, bytes: &'static [u8], build: &str) -> Self {
        let plain = match std::str::from_utf8(bytes) {
            Ok(text) if name == INDEX => Bytes::from(text.replace(BUILD_MARK, &format!("/static/{build}/"))),
            _ => Bytes::from_static(bytes),
        };
        Self::of(kind(name), plain)
    }

    fn of(kind: &'static str, plain: Bytes) -> Self {
        Self {
            kind,
            zipped: zipped(&plain),
            tag: digest([&*plain]),
            plain,
        }
    }

    /// A text that was made by the program; `kind` is its media type.
    pub fn made(kind: &'static str, text: String) -> Self {
        Self::of(kind, text.into())
    }
}

/// The name of this build: its files are at `/static/<build>/<name>`.
pub fn build() -> &'static str {
    &SITE.build
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// Hexadecimal digits of a hash over all parts and their lengths.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut text = String::new();
    for byte in &hash.finalize()[..BUILD_DIGITS / 2] {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn zipped(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.expect("memory takes what is written to it").into()
}

/// `/` and `/static/<build>/<name>`.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/")
                .get(index)
                .route(web::head().to(index))
                .default_service(other("GET, HEAD")),
        )
        .service(
            web::resource("/static/{build}/{name:.*}")
                .get(file)
                .route(web::head().to(file))
                .default_service(other("GET, HEAD")),
        );
}

async fn index(request: HttpRequest) -> HttpResponse {
    send(&request, &SITE.files[INDEX], "no-cache")
}

async fn file(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    let part = |name| request.match_info().get(name).unwrap_or_default();
    let (build, name) = (part("build"), part("name"));
    match SITE.files.get(name) {
        Some(file) if build == SITE.build && name != INDEX => {
            send(&request, file, "public, max-age=31536000, immutable")
        }
        _ => operations::unknown(broker, request).await,
    }
}

/// Answers with a file, compressed if that is understood, or says that it is known already;
/// `caching` is the value of `Cache-Control`.
pub fn send(request: &HttpRequest, file: &File, caching: &'static str) -> HttpResponse {
    let zip = takes_gzip(request);
    let tag = EntityTag::new_strong(if zip {
        format!("{}-gz", file.tag)
    } else {
        file.tag.clone()
    });
    let known = request.get_header::<IfNoneMatch>().is_some_and(|known| match known {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|known| known.weak_eq(&tag)),
    });
    let status = if known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    };
    let mut answer = HttpResponse::build(status);
    for header in HEADERS {
        answer.insert_header(*header);
    }
    answer.insert_header((CACHE_CONTROL, caching));
    answer.insert_header((VARY, ACCEPT_ENCODING.as_str()));
    answer.insert_header((ETAG, tag.to_string()));
    if known {
        return answer.finish();
    }
    answer.insert_header((CONTENT_TYPE, file.kind));
    if zip {
        answer.insert_header((CONTENT_ENCODING, "gzip"));
    }
    let body = if zip { &file.zipped } else { &file.plain };
    answer.body(body.clone())
}

/// Gzip is understood by every browser; who does not ask for it gets the file as it is.
fn takes_gzip(request: &HttpRequest) -> bool {
    let supported = [Encoding::gzip(), Encoding::identity()];
    let accepted = request.get_header::<AcceptEncoding>();
    accepted.is_some_and(|accepted| accepted.negotiate(supported.iter()) == Some(Encoding::gzip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn names(folder: &Path, before: &str) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let entries = entries.map(|entry| entry.expect("an entry"));
        entries
            .flat_map(|entry| {
                let name = format!("{before}{}", entry.file_name().to_string_lossy());
                match entry.path().is_dir() {
                    true => names(&entry.path(), &format!("{name}/")),
                    false => vec![name],
                }
            })
            .collect()
    }

    #[test]
    fn every_file_of_the_folder_is_built_in() {
        let mut there = names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("static"), "");
        let mut built: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        there.sort_unstable();
        built.sort_unstable();
        assert_eq!(there, built);
        assert!(FILES.iter().all(|(name, _)| kind(name) != "application/octet-stream"));
    }

    #[test]
    fn the_document_names_files_that_there_are_and_the_build() {
        let index = &SITE.files[INDEX].plain;
        let text = std::str::from_utf8(index).expect("text");
        let start = format!("\"/static/{}/", SITE.build);
        let named: Vec<&str> = text
            .split(start.as_str())
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(named.len() > 5 && !text.contains(BUILD_MARK), "{text}");
        for name in named {
            assert!(SITE.files.contains_key(name), "{name} is not built in");
        }
    }
}
