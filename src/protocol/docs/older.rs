//! The operations by the names that flowthings had: each once for both bases.

use crate::domain::error::Code;
use crate::protocol::docs::events::{aggregates, deletes, finds, finds_many, publishes, shows, shows_many};
use crate::protocol::docs::operation::{Operation, Shape};
use crate::protocol::docs::streams::{self, RULES};
use crate::protocol::docs::tokens;
use crate::protocol::rest::tokens::older::OlderTokenBody;
use crate::protocol::shapes::older::{Drop, FlowWish, OlderToken, PublishedDrop};
use crate::protocol::shapes::{Nothing, Stream};
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post, Put};
use utoipa::openapi::schema::Type;

const TAG: &str = "Older names";
const DROPS: &str = "/{base}/{company}/drop";
const OF_FLOW: &str = "/{base}/{company}/drop/{id}";
const SUM: &str = "/{base}/{company}/drop/{id}/aggregate";
const DROP: &str = "/{base}/{company}/drop/{id}/{event}";
const FLOWS: &str = "/{base}/{company}/flow";
const FLOW: &str = "/{base}/{company}/flow/{id}";
const TOKENS: &str = "/{base}/{company}/token";
const TOKEN: &str = "/{base}/{company}/token/{id}";

/// All of them.
pub fn operations() -> Vec<Operation> {
    let all = drops().into_iter().chain(flows()).chain(older_tokens());
    all.map(|operation| operation.older(TAG)).collect()
}

fn drops() -> Vec<Operation> {
    vec![
        publishes::<PublishedDrop>(
            DROPS,
            "createDropByPath",
            "Publishes a drop, or several, each with its path.",
        ),
        finds::<Drop>(DROPS, "findDropsByPath", "Finds drops of the flow at `path`."),
        deletes(DROPS, "deleteDropsByPath", "Deletes all drops of the flow at `path`.").refuses(&[Code::PathMalformed]),
        finds_many::<Drop>(DROPS, "findDropsOfFlows", "Finds drops of several flows."),
        publishes::<PublishedDrop>(OF_FLOW, "createDrop", "Publishes a drop, or several, to one flow."),
        finds::<Drop>(OF_FLOW, "findDrops", "Finds drops of a flow."),
        deletes(OF_FLOW, "deleteDrops", "Deletes all drops of a flow."),
        shows_many::<Drop>(OF_FLOW, "readDrops", "Shows several drops of a flow."),
        aggregates(SUM, "aggregateDrops", "Puts drops into groups and sums each up."),
        shows::<Drop>(DROP, "readDrop", "Shows a drop."),
        deletes(DROP, "deleteDrop", "Deletes a drop.").refuses(&[Code::EventUnknown]),
    ]
}

fn flows() -> Vec<Operation> {
    let asks = streams::asks;
    vec![
        streams::lists(FLOWS, "findFlows", "Lists the flows that the asker may use, by path."),
        asks(Post, FLOWS, "createFlow", "Makes a flow.")
            .body(Shape::of::<FlowWish>())
            .answers(201, "The flow.", Shape::of::<Stream>())
            .refuses(streams::NEW)
            .refuses(RULES),
        streams::shows_many(FLOWS, "readFlows", "Shows several flows."),
        asks(Get, FLOW, "readFlow", "Shows a flow.")
            .answers(200, "The flow.", Shape::of::<Stream>())
            .refuses(&[Code::StreamUnknown]),
        asks(
            Put,
            FLOW,
            "updateFlow",
            "Changes a flow; what is not named stays as it is.",
        )
        .body(Shape::of::<FlowWish>())
        .answers(200, "The flow.", Shape::of::<Stream>())
        .refuses(&[Code::StreamUnknown])
        .refuses(RULES),
        asks(Delete, FLOW, "deleteFlow", "Deletes a flow and its drops.")
            .answers(200, "Deleted.", Shape::of::<Nothing>())
            .refuses(&[Code::StreamUnknown, Code::LogFull, Code::LogUnavailable]),
    ]
}

fn older_tokens() -> Vec<Operation> {
    let asks = tokens::asks;
    vec![
        asks(Get, TOKENS, "findTokens", "Lists restricted tokens, the newest first.")
            .in_pages()
            .answers(200, "The tokens.", Shape::list_of::<OlderToken>())
            .with_header("X-Total-Count", "How many there are.", Type::Integer),
        asks(Post, TOKENS, "createToken", "Makes a restricted token.")
            .body(Shape::of::<OlderTokenBody>())
            .answers(201, "The token, with its secret, this once.", Shape::of::<OlderToken>())
            .refuses(tokens::NEW),
        asks(Get, TOKEN, "readToken", "Shows a token.")
            .answers(200, "The token.", Shape::of::<OlderToken>())
            .refuses(&[Code::TokenUnknown]),
        asks(
            Delete,
            TOKEN,
            "deleteToken",
            "Revokes a token; its sockets end within a second.",
        )
        .answers(200, "Revoked.", Shape::of::<Nothing>())
        .refuses(&[Code::TokenUnknown]),
    ]
}
