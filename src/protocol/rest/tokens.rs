//! The routes of tokens: `…/token`, their life from the first use to the last.
//!
//! For users of the company; the broker says so before a body is looked at.

use crate::broker::Broker;
use crate::catalogue::NewToken;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::path::{CompanyName, Path};
use crate::domain::scope::{Scope, ScopeJson, Verb};
use crate::domain::token::{Token, Verdict};
use crate::domain::visitor::Places;
use crate::protocol::json;
use crate::protocol::operations::other;
use crate::protocol::reply::{Done, Success};
use crate::protocol::rest::verbs::{Outcome, answer, asker, asker_and_body, query};
use crate::protocol::rest::wire::ListQuery;
use crate::protocol::shapes::VerbsShape;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use utoipa::ToSchema;

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a token")]
#[schema(as = TokenWish)]
pub struct TokenBody {
    /// What it is for.
    #[serde(default)]
    label: String,
    /// What it may do.
    #[schema(value_type = BTreeMap<String, VerbsShape>)]
    paths: ScopeJson,
    /// When it ends by itself, in milliseconds since 1970; never if null.
    #[serde(default)]
    expires: Option<u64>,
    /// Pages of these origins only may use it.
    #[serde(default)]
    origins: Vec<String>,
    /// It may be used from these networks only.
    #[serde(default)]
    addresses: Vec<String>,
}

/// How a token is to be rotated.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with \"overlap\"")]
#[schema(as = Rotation)]
pub struct RotateBody {
    /// Seconds that the old one is still good.
    #[serde(default)]
    overlap: u64,
}

/// What a token is asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with \"verb\" and \"path\"")]
#[schema(as = CanQuestion)]
pub struct CanBody {
    /// read, write or manage.
    verb: String,
    /// A stream's path, whether there is one or not.
    path: String,
}

/// All routes of tokens.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/v5.0/{company}/token")
                .get(list)
                .post(add)
                .default_service(other("GET, POST")),
        )
        .service(
            web::resource("/v5.0/{company}/token/{id}")
                .get(show)
                .delete(revoke)
                .default_service(other("GET, DELETE")),
        )
        .service(
            web::resource("/v5.0/{company}/token/{id}/rotate")
                .post(rotate)
                .default_service(other("POST")),
        )
        .service(
            web::resource("/v5.0/{company}/token/{id}/can")
                .post(can)
                .default_service(other("POST")),
        );
}

async fn list(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_list(&broker, &request))
}

fn try_list(broker: &Broker, request: &HttpRequest) -> Result<Success, Error> {
    let access = asker(broker, request)?;
    let page = query::<ListQuery>(request)?.page()?;
    let (tokens, total) = broker.tokens(&access, page.start, page.limit)?;
    let body: Value = tokens.iter().map(|token| describe(broker, token)).collect();
    Ok(Success {
        total: Some(total),
        ..(Done::Processed, body.to_string()).into()
    })
}

async fn add(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_add(&broker, &request, payload).await)
}

async fn try_add(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    asker(broker, request)?.require_user()?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let new = parse_new(&body, &access.token.company, broker.limits().max_patterns)?;
    let (token, secret) = broker.add_token(&access, &new).await?;
    Ok((Done::Created, with_secret(broker, &token, &secret)))
}

fn parse_new(body: &[u8], company: &CompanyName, most: usize) -> Result<NewToken, Refusal> {
    let json: TokenBody = json::object(json::text(body)?)?;
    if json.paths.is_empty() {
        let text = "\"paths\" names at least one pattern, such as {\"/acme/door/*\":{\"read\":true}}";
        return Err(Refusal::new(Code::BodyMalformed, text));
    }
    Ok(NewToken {
        scope: Scope::parse(&json.paths, company, most)?,
        label: json.label,
        expires_ms: json.expires,
        places: Places::parse(&json.origins, &json.addresses)?,
    })
}

async fn show(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_show(&broker, &request))
}

fn try_show(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let token = broker.token(&access, key(request)?)?;
    Ok((Done::Processed, describe(broker, &token).to_string()))
}

async fn revoke(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_revoke(&broker, &request).await)
}

async fn try_revoke(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    access.require_user()?;
    broker.revoke_token(&access, key(request)?).await?;
    Ok((Done::Processed, "{}".to_owned()))
}

async fn rotate(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_rotate(&broker, &request, payload).await)
}

async fn try_rotate(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    broker.token(&asker(broker, request)?, key(request)?)?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let text = json::text(&body)?;
    let RotateBody { overlap } = match text.trim() {
        "" => RotateBody::default(),
        text => json::object(text)?,
    };
    let overlap_ms = overlap.saturating_mul(1_000);
    let (token, secret) = broker.rotate_token(&access, key(request)?, overlap_ms).await?;
    Ok((Done::Created, with_secret(broker, &token, &secret)))
}

async fn can(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_can(&broker, &request, payload).await)
}

async fn try_can(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    broker.token(&asker(broker, request)?, key(request)?)?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let CanBody { verb, path } = json::object(json::text(&body)?)?;
    let wanted = || Refusal::new(Code::BodyMalformed, "\"verb\" is read, write or manage");
    let verb = Verb::parse(&verb).ok_or_else(wanted)?;
    let verdict = broker.can(&access, key(request)?, verb, &Path::parse(&path)?)?;
    let Verdict { allowed, rule, why } = verdict;
    let rule = rule.map(|(pattern, verbs)| json!({"pattern": pattern, "verbs": verbs}));
    let body = json!({"allowed": allowed, "rule": rule, "why": why});
    Ok((Done::Processed, body.to_string()))
}

/// The token that the address names; an id that is none names no token.
fn key(request: &HttpRequest) -> Result<TokenKey, Refusal> {
    let text = request.match_info().get("id").unwrap_or_default();
    let clipped: String = text.chars().take(64).collect();
    TokenKey::parse(text).map_err(|_| Refusal::new(Code::TokenUnknown, format!("no token {clipped}")))
}

fn describe(broker: &Broker, token: &Token) -> Value {
    let used_ms = token.used_ms.load(Ordering::Relaxed);
    json!({
        "id": token.key, "label": token.label, "user": token.user, "paths": token.scope.to_json(),
        "origins": token.places.origins(), "addresses": token.places.addresses(),
        "created": token.created_ms, "expires": token.expires_ms, "revoked": token.revoked_ms,
        "lastUsed": (used_ms > 0).then_some(used_ms), "connections": broker.connections_of(token),
    })
}

fn with_secret(broker: &Broker, token: &Token, secret: &str) -> String {
    let mut json = describe(broker, token);
    json["token"] = json!(secret);
    json.to_string()
}
