//! The operations of the server itself: health, metrics, and this document.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Operation, Shape};
use crate::protocol::shapes::{AnyObject, Health};
use utoipa::openapi::path::HttpMethod::Get;

const TAG: &str = "The server";
const KNOWN: &str = "It is the one of If-None-Match.";

/// All of them.
pub fn operations() -> Vec<Operation> {
    let json = "application/json";
    let ask = |path, id, summary| Operation::new(TAG, Get, path, id, summary);
    vec![
        ask("/health/live", "live", "Does it run?").answers_plainly(200, "It does.", json, Shape::of::<Health>()),
        ask("/health/ready", "ready", "Can it serve?")
            .answers_plainly(200, "It can.", json, Shape::of::<Health>())
            .answers_plainly(503, "It cannot now.", json, Shape::of::<Health>()),
        ask("/metrics", "metrics", "Counters for Prometheus.")
            .answers_plainly(
                200,
                "The counters.",
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                Shape::of::<String>(),
            )
            .refuses(&[Code::ServerFault]),
        ask("/openapi.json", "openapi", "This document.")
            .answers_plainly(200, "An OpenAPI 3.1 document.", json, Shape::of::<AnyObject>())
            .answers_nothing(304, KNOWN),
        ask("/docs", "docs", "This document and the socket protocol, to be read.")
            .answers_plainly(200, "A page.", "text/html; charset=utf-8", Shape::of::<String>())
            .answers_nothing(304, KNOWN),
    ]
}
