//! What operators ask: is it alive, is it ready, what has it counted. And what nobody has.

use crate::broker::Broker;
use crate::domain::error::{Code, Fault, Refusal};
use crate::protocol::reply::{self, Envelope};
use actix_web::http::Method;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

/// `/health/live`, `/health/ready` and `/metrics`.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/health/live")
                .get(live)
                .default_service(web::to(wrong_method)),
        )
        .service(
            web::resource("/health/ready")
                .get(ready)
                .default_service(web::to(wrong_method)),
        )
        .service(
            web::resource("/metrics")
                .get(metrics)
                .default_service(web::to(wrong_method)),
        );
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
            reply::answer(broker.metrics(), Envelope::Session, Err(fault.into()))
        }
    }
}

/// No such route.
pub async fn unknown(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    let refusal = Refusal::new(Code::RouteUnknown, "there is nothing at this address");
    reply::refuse(broker.metrics(), envelope(&request), &refusal)
}

/// A route that does not take this method; the upgrade of a session also ends here when it is none.
pub async fn wrong_method(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    let text = format!("this address does not take {}", clipped(request.method()));
    let refusal = Refusal::new(Code::MethodUnknown, text);
    reply::refuse(broker.metrics(), envelope(&request), &refusal)
}

fn clipped(method: &Method) -> &str {
    let name = method.as_str();
    &name[..name.len().min(16)]
}

fn envelope(request: &HttpRequest) -> Envelope {
    if request.path().starts_with("/v5.0/") {
        Envelope::Rest
    } else {
        Envelope::Session
    }
}
