//! What a company says of itself: `…/settings`, for those who manage.

use crate::broker::Broker;
use crate::domain::error::{Code, Refusal};
use crate::protocol::json;
use crate::protocol::operations::other;
use crate::protocol::reply::Done;
use crate::protocol::rest::verbs::{Outcome, answer, asker, asker_and_body};
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

/// The route of a company's settings.
pub fn routes(config: &mut ServiceConfig) {
    config.service(
        web::resource("/v5.0/{company}/settings")
            .get(show)
            .put(change)
            .default_service(other("GET, PUT")),
    );
}

async fn show(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_show(&broker, &request))
}

fn try_show(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    access.require_managing()?;
    let company = broker.company_settings(access.token.company.as_str());
    let company = company.ok_or_else(|| Refusal::new(Code::CompanyUnknown, "there is no such company"))?;
    Ok((Done::Processed, json!(company.settled.settings).to_string()))
}

async fn change(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_change(&broker, &request, payload).await)
}

async fn try_change(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    asker(broker, request)?.require_managing()?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let changes = json::object(json::text(&body)?)?;
    let settings = broker.change_company_settings(&access, &changes).await?;
    Ok((Done::Processed, json!(settings).to_string()))
}
