//! The HTTP API described: for programs at `/openapi.json`, for people at `/docs`.
//!
//! Puts together what the protocols' wire types say of themselves. Knows no broker. Invariant:
//! nothing here is said twice; the page is made from the document, and the document from types and
//! the closed list of refusals.

mod account;
mod address;
mod channels;
mod company;
mod document;
mod events;
mod keys;
mod older;
mod operation;
mod page;
mod people;
mod refused;
mod security;
mod service;
mod sessions;
pub mod socket;
mod streams;
mod tokens;
mod watch;

pub use document::document;

use crate::protocol::operations::other;
use crate::protocol::pages::{self, File};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use std::sync::LazyLock;

/// Made once, when they are first asked for.
static FILES: LazyLock<Files> = LazyLock::new(Files::new);

struct Files {
    document: File,
    page: File,
}

impl Files {
    fn new() -> Self {
        let document = serde_json::to_value(document()).expect("a document has names for keys");
        Self {
            page: File::made("text/html; charset=utf-8", page::page(&document)),
            document: File::made("application/json", document.to_string()),
        }
    }
}

/// `/openapi.json` and `/docs`.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/openapi.json")
                .get(openapi)
                .route(web::head().to(openapi))
                .default_service(other("GET, HEAD")),
        )
        .service(
            web::resource("/docs")
                .get(read)
                .route(web::head().to(read))
                .default_service(other("GET, HEAD")),
        );
}

async fn openapi(request: HttpRequest) -> HttpResponse {
    pages::send(&request, &FILES.document, "no-cache")
}

async fn read(request: HttpRequest) -> HttpResponse {
    pages::send(&request, &FILES.page, "no-cache")
}
