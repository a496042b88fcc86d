//! The routes of users and of the audit: `…/user` and `…/audit`, for those who manage.

use crate::broker::Broker;
use crate::domain::audit::{Action, AuditPage, Entry};
use crate::domain::error::{Code, Refusal};
use crate::domain::path::UserName;
use crate::domain::person::{Person, PublicUrl};
use crate::protocol::json;
use crate::protocol::operations::other;
use crate::protocol::reply::Done;
use crate::protocol::rest::verbs::{Outcome, answer, asker, asker_and_body, query};
use crate::protocol::rest::wire;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

/// A user to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a user")]
#[schema(as = UserWish)]
pub struct UserBody {
    /// The name.
    user: String,
    /// Whether they manage.
    #[serde(default)]
    manages: bool,
}

/// What is to be different about a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with \"manages\"")]
#[schema(as = UserChange)]
pub struct UserChangeBody {
    /// Whether they manage.
    manages: bool,
}

/// The query parameters of the audit.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct AuditQuery {
    /// How many to pass over (0).
    #[param(value_type = Option<u64>, maximum = 9_007_199_254_740_991_u64)]
    start: Option<String>,
    /// How many to show (20).
    #[param(value_type = Option<u64>, maximum = 1_000)]
    limit: Option<String>,
    /// Only of this action.
    action: Option<String>,
    /// Only of this user.
    user: Option<String>,
}

/// All routes of users and the audit.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/v5.0/{company}/user")
                .get(list)
                .post(add)
                .default_service(other("GET, POST")),
        )
        .service(
            web::resource("/v5.0/{company}/user/{name}")
                .put(change)
                .delete(remove)
                .default_service(other("PUT, DELETE")),
        )
        .service(
            web::resource("/v5.0/{company}/user/{name}/reset")
                .post(reset)
                .default_service(other("POST")),
        )
        .service(
            web::resource("/v5.0/{company}/audit")
                .get(audit)
                .default_service(other("GET")),
        );
}

async fn list(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_list(&broker, &request).await)
}

async fn try_list(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let people = broker.users(&access).await?;
    let body: Value = people.iter().map(describe).collect();
    Ok((Done::Processed, body.to_string()))
}

async fn add(broker: Data<Broker>, url: Data<PublicUrl>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_add(&broker, &url, &request, payload).await)
}

async fn try_add(broker: &Broker, url: &PublicUrl, request: &HttpRequest, payload: Payload) -> Outcome {
    asker(broker, request)?.require_managing()?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let UserBody { user, manages } = json::object(json::text(&body)?)?;
    let name = UserName::parse(&user)?;
    let code = broker.add_user(&access, &name, manages).await?;
    let body = json!({"user": name, "manages": manages, "link": url.link(&code)});
    Ok((Done::Created, body.to_string()))
}

async fn change(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_change(&broker, &request, payload).await)
}

async fn try_change(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    asker(broker, request)?.require_managing()?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let UserChangeBody { manages } = json::object(json::text(&body)?)?;
    let person = broker.change_user(&access, &name(request)?, manages).await?;
    Ok((Done::Processed, describe(&person).to_string()))
}

async fn remove(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_remove(&broker, &request).await)
}

async fn try_remove(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    access.require_managing()?;
    broker.remove_user(&access, &name(request)?).await?;
    Ok((Done::Processed, "{}".to_owned()))
}

async fn reset(broker: Data<Broker>, url: Data<PublicUrl>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_reset(&broker, &url, &request).await)
}

async fn try_reset(broker: &Broker, url: &PublicUrl, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    access.require_managing()?;
    let code = broker.reset_user(&access, &name(request)?).await?;
    Ok((Done::Processed, json!({"link": url.link(&code)}).to_string()))
}

async fn audit(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_audit(&broker, &request).await)
}

async fn try_audit(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    access.require_managing()?;
    let query: AuditQuery = query(request)?;
    let page = wire::page(&query.start, &query.limit)?;
    let wanted = || {
        Refusal::new(
            Code::QueryMalformed,
            "\"action\" is one that the audit knows, such as token.created",
        )
    };
    let action = query.action.map(|word| Action::parse(&word).ok_or_else(wanted));
    let page = AuditPage {
        start: page.start,
        limit: page.limit,
        action: action.transpose()?,
        user: query.user,
    };
    let entries = broker.audit(&access, &page).await?;
    let body: Value = entries.iter().map(entry).collect();
    Ok((Done::Processed, body.to_string()))
}

/// The user that the address names; a name that is none names nobody.
fn name(request: &HttpRequest) -> Result<UserName, Refusal> {
    let text = request.match_info().get("name").unwrap_or_default();
    UserName::parse(text).map_err(|_| Refusal::new(Code::UserUnknown, "there is no such user"))
}

/// A user, as lists show them.
pub fn describe(person: &Person) -> Value {
    json!({
        "user": person.name, "manages": person.manages, "created": person.created_ms,
        "lastUsed": (person.used_ms > 0).then_some(person.used_ms), "hasPassword": person.has_password,
        "token": person.token,
    })
}

fn entry(entry: &Entry) -> Value {
    // We wrote it as an object; what is no JSON any more is left out.
    let detail: Option<Value> = serde_json::from_str(&entry.detail).ok();
    json!({
        "id": entry.number, "time": entry.time_ms, "user": entry.user, "token": entry.token,
        "address": entry.address, "action": entry.action, "subject": entry.subject, "detail": detail,
    })
}
