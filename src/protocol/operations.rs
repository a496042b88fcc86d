//! What operators ask: is it alive, is it ready, what has it counted. And what nobody has.

use crate::broker::Broker;
use crate::domain::error::{Code, Fault, Refusal};
use crate::protocol::names::Names;
use crate::protocol::reply::{self, Envelope};
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::http::{ConnectionType, Method};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Route};
use std::borrow::Cow;

/// `/health/live`, `/health/ready` and `/metrics`.
pub fn routes(config: &mut ServiceConfig) {
    let probe = || other("GET, HEAD");
    config
        .service(
            web::resource("/health/live")
                .get(live)
                .route(web::head().to(live))
                .default_service(probe()),
        )
        .service(
            web::resource("/health/ready")
                .get(ready)
                .route(web::head().to(ready))
                .default_service(probe()),
        )
        .service(web::resource("/metrics").get(metrics).default_service(other("GET")));
}

/// Alive means that this answers; it depends on nothing else.
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"ok": true}))
}

/// Ready means that the database answers and that we are not stopping.
async fn ready(broker: Data<Broker>) -> HttpResponse {
    match broker.check_ready().await {
        Ok(()) => HttpResponse::Ok().json(serde_json::json!({"ok": true})),
        Err(error) => {
            let refusal = reply::explain(broker.metrics(), error);
            let body = serde_json::json!({"ok": false, "code": refusal.code.entry().code, "error": refusal.text});
            HttpResponse::ServiceUnavailable().json(body)
        }
    }
}

async fn metrics(broker: Data<Broker>) -> HttpResponse {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match broker.metrics().render() {
        Ok(text) => HttpResponse::Ok().content_type(format).body(text),
        Err(error) => {
            let fault = Fault::Io(std::io::Error::other(error));
            reply::refuse(
                broker.metrics(),
                Envelope::Session,
                &reply::explain(broker.metrics(), fault.into()),
            )
        }
    }
}

/// No such route.
pub async fn unknown(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    let refusal = Refusal::new(Code::RouteUnknown, "there is nothing at this address");
    reply::refuse(broker.metrics(), envelope(&request), &refusal)
}

/// What the address of a socket answers to a request that is no upgrade.
pub async fn no_upgrade(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    let text = "this address is a WebSocket: connect with a WebSocket client";
    let refusal = Refusal::new(Code::UpgradeMalformed, text);
    let mut response = reply::refuse(broker.metrics(), envelope(&request), &refusal);
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}

/// What a route answers to methods that it does not take; `allow` lists those that it does.
pub fn other(allow: &'static str) -> Route {
    web::to(move |broker: Data<Broker>, request: HttpRequest| async move {
        let text = format!("this address does not take {}", clipped(request.method()));
        refuse_method(&broker, &request, allow, text)
    })
}

/// Says why a route does not take a method; `allow` lists those that it does.
pub fn refuse_method(
    broker: &Broker,
    request: &HttpRequest,
    allow: &'static str,
    text: impl Into<Cow<'static, str>>,
) -> HttpResponse {
    let refusal = Refusal::new(Code::MethodUnknown, text);
    let mut response = reply::refuse(broker.metrics(), envelope(request), &refusal);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn clipped(method: &Method) -> &str {
    let name = method.as_str();
    &name[..name.len().min(16)]
}

fn envelope(request: &HttpRequest) -> Envelope {
    match Names::of_path(request.path()) {
        Some(_) => Envelope::Rest,
        None if request.path().starts_with("/api/v1/") => Envelope::Detail,
        None => Envelope::Session,
    }
}
