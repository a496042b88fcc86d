//! The operations that show what is going on.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::shapes::Nothing;
use crate::protocol::shapes::watch::{Connections, Overview};
use utoipa::openapi::path::HttpMethod::{self, Delete, Get};

const TAG: &str = "Watching";
const CONNECTIONS: &str = "/v5.0/{company}/connection";

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![
        asks(
            Get,
            "/v5.0/{company}/overview",
            "overview",
            "Shows how the company is doing.",
        )
        .answers(200, "How it is doing.", Shape::of::<Overview>()),
        asks(
            Get,
            CONNECTIONS,
            "listConnections",
            "Lists the open sockets, the newest first.",
        )
        .in_pages()
        .answers(200, "The sockets.", Shape::of::<Connections>()),
        asks(
            Delete,
            "/v5.0/{company}/connection/{id}",
            "closeConnection",
            "Closes a socket, with code 4004.",
        )
        .answers(200, "Closed.", Shape::of::<Nothing>())
        .refuses(&[Code::ConnectionUnknown]),
    ]
}

fn asks(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(TAG, method, path, id, summary)
        .by(Who::Asker)
        .refuses(&[Code::ScopeDenied])
}
