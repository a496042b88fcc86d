//! The routes that show what is going on: how the company is doing, and its live
//! connections, which can be closed.
//!
//! For users of the company only; the broker says so.

use crate::broker::{Broker, Problem, Watched};
use crate::domain::id::ConnectionId;
use crate::domain::session_id::SessionId;
use crate::protocol::operations::other;
use crate::protocol::reply::Done;
use crate::protocol::rest::verbs::{Outcome, answer, asker, query};
use crate::protocol::rest::wire::ListQuery;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

/// The overview and the connections.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/v5.0/{company}/overview")
                .get(overview)
                .default_service(other("GET")),
        )
        .service(
            web::resource("/v5.0/{company}/connection")
                .get(connections)
                .default_service(other("GET")),
        )
        .service(
            web::resource("/v5.0/{company}/connection/{id}")
                .delete(close)
                .default_service(other("DELETE")),
        );
}

async fn overview(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_overview(&broker, &request))
}

fn try_overview(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let overview = broker.overview(&access)?;
    let rounded = |ms: f64| (ms * 1_000.0).round() / 1_000.0;
    let latency = overview
        .latency
        .map(|latency| json!({"p50": rounded(latency.p50), "p90": rounded(latency.p90), "p99": rounded(latency.p99)}));
    let (sums, space) = (overview.sums, overview.space);
    let problems: Vec<Value> = overview.problems.iter().map(problem).collect();
    let body = json!({
        "time": overview.time_ms,
        "connections": sums.connections,
        "subscriptions": sums.subscriptions,
        "published": overview.published,
        "delivered": sums.delivered,
        "latency": latency,
        "disk": {"free": space.free, "database": space.database, "log": space.log},
        "streams": overview.streams,
        "problems": problems,
    });
    Ok((Done::Processed, body.to_string()))
}

fn problem(problem: &Problem) -> Value {
    json!({"code": problem.code, "text": problem.text, "advice": problem.advice})
}

async fn connections(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_connections(&broker, &request))
}

fn try_connections(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let page = query::<ListQuery>(request)?.page()?;
    let (page, total) = broker.connections(&access, page.start, page.limit)?;
    let page: Vec<Value> = page.iter().map(|one| connection(one)).collect();
    Ok((
        Done::Processed,
        json!({"connections": page, "total": total}).to_string(),
    ))
}

fn connection(watched: &Watched) -> Value {
    let numbers = watched.numbers();
    let token = &watched.token;
    json!({
        "id": watched.id.to_string(),
        "session": SessionId::first_half(token.key),
        "token": token.key,
        "label": token.label,
        "user": token.user.as_ref().map(|user| user.as_str()),
        "protocol": watched.wire.word(),
        "address": watched.peer.map(|peer| peer.to_string()),
        "since": watched.since_ms,
        "subscriptions": numbers.subscriptions,
        "sent": numbers.sent,
        "waiting": numbers.waiting,
    })
}

async fn close(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_close(&broker, &request).await)
}

async fn try_close(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let text = request.match_info().get("id").unwrap_or_default();
    let id = ConnectionId::parse(text);
    // Also for a name that is none: who may not look learns nothing else.
    broker.close_connection(&access, id.unwrap_or_default()).await?;
    Ok((Done::Processed, "{}".to_owned()))
}
