//! The OpenAPI document: all operations put together.

use crate::protocol::docs::operation::{Method, Operation};
use crate::protocol::docs::{
    account, channels, company, events, keys, older, people, security, service, sessions, streams, tokens, watch,
};
use std::collections::BTreeMap;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{self, PathItemBuilder, PathsBuilder};
use utoipa::openapi::schema::ComponentsBuilder;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, License, OpenApi, OpenApiBuilder, PathItem, Server};

/// What the operations are sorted by, in the order of the page.
const TAGS: &[(&str, &str)] = &[
    (
        "Sessions",
        "A back end opens a session; whoever gets its id connects with it.",
    ),
    ("Events", "Published, found, deleted."),
    ("Streams", "Made, changed, deleted."),
    (
        "Tokens",
        "Long-lived credentials of servers, scripts and devices; for users of the company.",
    ),
    (
        "Watching",
        "How the company is doing, and who is connected; for its users.",
    ),
    (
        "Users and audit",
        "Who may sign in, and who did what; for users who manage.",
    ),
    (
        "The company",
        "Its settings, for users who manage; and its notices, for clients of the users server.",
    ),
    (
        "Signing in",
        "People sign in with a password and get a login, a cookie that acts as their master token.",
    ),
    ("Signing keys", "With which a back end signs for its clients by itself."),
    (
        "Older names",
        "The same for clients of flowthings.io: a drop is an event, a flow a stream. They may send X-Auth-Account for \
         X-Auth-Company, and no user; ids may begin with `f` and `d`.",
    ),
    (
        "RootSocket clients",
        "What clients of RootSocket ask for, whose key is a token of ours, and nothing else, in `Authorization`.",
    ),
    ("The server", "Is it well, and what has it counted?"),
];

/// All operations there are.
fn operations() -> Vec<Operation> {
    [
        sessions::operations(),
        events::operations(),
        streams::operations(),
        tokens::operations(),
        watch::operations(),
        people::operations(),
        company::operations(),
        account::operations(),
        keys::operations(),
        older::operations(),
        channels::operations(),
        service::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An operation in its place.
fn item(method: Method, operation: path::Operation) -> PathItem {
    match method {
        Method::Http(method) => PathItem::new(method, operation),
        Method::Mget => PathItemBuilder::new()
            .additional_operations([("MGET", operation)])
            .build(),
    }
}

/// What stands where OpenAPI 3.2 has it goes to where 3.1 lets it be.
fn extend(item: &mut PathItem) {
    let additional = std::mem::take(&mut item.additional_operations);
    let named = additional.into_iter().map(|(method, operation)| {
        let operation = serde_json::to_value(operation).expect("an operation has names for keys");
        (format!("x-{}", method.to_lowercase()), operation)
    });
    item.extensions = Some(Extensions::from_iter(named)).filter(|named| !named.is_empty());
}

/// The document.
pub fn document() -> OpenApi {
    let mut named = BTreeMap::new();
    let mut paths = PathsBuilder::new();
    for operation in operations() {
        let (path, method) = (operation.path, operation.method.clone());
        let built = operation.build(&mut named);
        paths = paths.path(path, item(method, built));
    }
    let components = ComponentsBuilder::new().schemas_from_iter(named);
    let components = security::schemes()
        .into_iter()
        .fold(components, |components, (name, scheme)| {
            components.security_scheme(name, scheme)
        });
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    let info = InfoBuilder::new()
        .title("Streamgate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Pushes live streams to browsers, devices and scripts. What is said on the sockets is described at /docs.",
        ))
        .license(Some(license));
    let tag =
        |(name, description): &(&str, &str)| TagBuilder::new().name(*name).description(Some(*description)).build();
    let mut document = OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(TAGS.iter().map(tag)))
        .build();
    document.paths.paths.values_mut().for_each(extend);
    document
}
