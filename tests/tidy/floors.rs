//! Imports go down one floor or more; sideways only as the tables here say.
//!
//! ARCHITECTURE.md explains the floors. These tables are where a new module is given its place.

use super::{Fault, Source, holds, imports};

/// Module and floor; imports go down. A new top-level module needs a line here.
const FLOORS: &[(&str, u8)] = &[
    ("domain", 1),
    ("engine", 2),
    ("broker", 3),
    ("sessions", 3),
    ("catalogue", 3),
    ("database", 3),
    ("log", 3),
    ("hub", 3),
    ("metrics", 3),
    ("protocol", 4),
    ("cli", ROOF),
    ("config", ROOF),
    ("lib", ROOF),
    ("main", ROOF),
    ("server", ROOF),
];
const ROOF: u8 = 5;
/// Which owner may import which others: one direction, no cycle.
const OWNERS: &[(&str, &[&str])] = &[
    (
        "broker",
        &["sessions", "log", "hub", "catalogue", "database", "metrics"],
    ),
    ("sessions", &["catalogue", "metrics"]),
    ("catalogue", &["database", "metrics"]),
    ("log", &["database", "hub", "metrics"]),
    ("hub", &["metrics"]),
];
/// Parts of `protocol` that never import one another; what is in neither list is shared by them.
const PROTOCOLS: &[&str] = &["session", "rest", "channels", "actions", "notices"];
/// Parts of `protocol` that put the others together, and that no other part imports.
const ASSEMBLERS: &[&str] = &["docs", "lane"];

/// Nothing on the roof is checked: it may import everything.
fn floors(source: &Source) -> Vec<Fault> {
    let own = source.module();
    if !source.is_src() || floor(&own) == Some(ROOF) {
        return Vec::new();
    }
    let unknown = format!("`{}` is on no floor: add it to FLOORS in tests/tidy/floors.rs", own[0]);
    let mut faults: Vec<Fault> = floor(&own).is_none().then_some((1, unknown)).into_iter().collect();
    for (line, path) in imports(&source.code) {
        let inline_test = usize::from(source.test[line - 1]);
        if let Some(to) = resolve(&own, &path, inline_test)
            && let Some(why) = refusal(&own, &to)
        {
            faults.push((line, format!("imports `{}`, {why}", to.join("::"))));
        }
    }
    faults
}

fn floor(module: &[String]) -> Option<u8> {
    let name = module.first()?;
    FLOORS.iter().find(|(known, _)| known == name).map(|(_, floor)| *floor)
}

/// The path from the crate's root, if it is one of ours. `nested` counts modules within the file.
fn resolve(own: &[String], path: &[String], nested: usize) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    match path[0].as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => {
            let kept = own.len().saturating_sub(ups.saturating_sub(nested));
            Some([&own[..kept], &path[ups..]].concat())
        }
        _ => None,
    }
}

/// Why `from` must not import `to`.
fn refusal(from: &[String], to: &[String]) -> Option<String> {
    let (mine, theirs) = (floor(from)?, floor(to).unwrap_or(ROOF));
    let part = |path: &[String]| path.get(1).cloned().unwrap_or_default();
    if theirs > mine {
        return Some(format!("which is above floor {mine}: move what both need down"));
    }
    if theirs < mine {
        return None;
    }
    if from[0] != to[0] {
        let table = OWNERS.iter().find(|(owner, _)| *owner == from[0]);
        let allowed = table.map_or(&[][..], |(_, others)| others);
        return (!allowed.contains(&to[0].as_str()))
            .then(|| format!("which is beside it: `{}` may import only {allowed:?}", from[0]));
    }
    let free = from[0] != "protocol" || part(from) == part(to);
    let assembles = from.len() == 1 || ASSEMBLERS.contains(&part(from).as_str());
    let shared = ![PROTOCOLS, ASSEMBLERS].concat().contains(&part(to).as_str());
    (!free && !assembles && !shared)
        .then(|| "which is another protocol or assembles them: move what both need to a shared part".into())
}

#[test]
fn imports_go_down() {
    let bad = [
        ("src/domain/id.rs", "use crate::engine::shard::Shard;"),
        ("src/domain.rs", "fn a() -> crate::broker::Broker {}"),
        ("src/engine/shard.rs", "use crate::{domain::id::Id, hub::Hub};"),
        ("src/engine/shard.rs", "use super::super::log::Log;"),
        ("src/catalogue.rs", "use crate::sessions::Sessions;"),
        ("src/log/writer.rs", "use super::{Log, super::broker};"),
        ("src/hub.rs", "use crate::config::Config;"),
        ("src/hub.rs", "use crate::ReexportedAtTheRoot;"),
        ("src/protocol/session/wire.rs", "use crate::protocol::rest::wire;"),
        ("src/protocol/session.rs", "use super::rest;"),
        ("src/protocol/pump.rs", "use super::session::Verb;"),
        ("src/protocol/rest.rs", "use crate::protocol::docs::document;"),
        (
            "src/protocol/rest.rs",
            "#[cfg(test)]\nmod tests {\n    use super::super::session;\n}",
        ),
        ("src/newcomer.rs", ""),
    ];
    let good = [
        ("src/domain/id.rs", "use super::error::Refusal; // crate::engine"),
        ("src/engine/shard.rs", "use crate::{domain::id::Id, engine::index};"),
        (
            "src/broker.rs",
            "use crate::{log::Log, hub::{self, Hub}, engine::shard};",
        ),
        ("src/log/writer.rs", "use super::super::metrics::Metrics;"),
        (
            "src/protocol/session/wire.rs",
            "use crate::protocol::{pump, session::verbs};",
        ),
        ("src/protocol/pump.rs", "use super::reply::Reply;"),
        ("src/protocol/docs.rs", "use super::{rest, session};"),
        ("src/protocol.rs", "use crate::protocol::{docs, rest};"),
        (
            "src/protocol/rest.rs",
            "#[cfg(test)]\nmod tests {\n    use super::*;\n}",
        ),
        ("src/server.rs", "use crate::{config::Config, protocol::docs};"),
    ];
    holds(floors, &bad, &good);
}
