//! The routes of tokens: `…/token`, their life from the first use to the last.
//!
//! For users of the company; the broker says so before a body is looked at.

pub mod older;

use crate::broker::Broker;
use crate::catalogue::NewToken;
use crate::database::now_ms;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::path::{CompanyName, Path};
use crate::domain::scope::{Scope, ScopeJson, Verb};
use crate::domain::token::{Access, Token, Verdict};
use crate::domain::visitor::Places;
use crate::protocol::json;
use crate::protocol::names::Names;
use crate::protocol::operations::other;
use crate::protocol::reply::{Done, Success};
use crate::protocol::rest::verbs::{Outcome, answer, asker, asker_and_body, names, query};
use crate::protocol::rest::wire::ListQuery;
use crate::protocol::shapes::VerbsShape;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
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

/// The routes of tokens by either set of names.
pub fn routes(config: &mut ServiceConfig, at: impl Fn(&str) -> Vec<String>) {
    config
        .service(
            web::resource(at("token"))
                .get(list)
                .post(add)
                .default_service(other("GET, POST")),
        )
        .service(
            web::resource(at("token/{id}"))
                .get(show)
                .delete(revoke)
                .default_service(other("GET, DELETE")),
        );
}

/// Those that flowthings had not.
pub fn routes_of_ours(config: &mut ServiceConfig) {
    config
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
    let names = names(request);
    let now_ms = now_ms();
    let (tokens, total) = broker.tokens(&access, page, |token| is_there(token, names, now_ms))?;
    let body: Value = tokens
        .iter()
        .map(|token| describe(broker, token, names, None))
        .collect();
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
    let (text, names) = (json::text(&body)?, names(request));
    let (company, most) = (&access.token.company, broker.limits().max_patterns);
    let new = match names {
        Names::Octave => parse_new(text, company, most)?,
        Names::Flowthings => older::parse(text, company, most, now_ms())?,
    };
    let (token, secret) = broker.add_token(&access, &new).await?;
    Ok((
        Done::Created,
        describe(broker, &token, names, Some(&secret)).to_string(),
    ))
}

fn parse_new(text: &str, company: &CompanyName, most: usize) -> Result<NewToken, Refusal> {
    let json: TokenBody = json::object(text)?;
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
    let token = token(broker, &access, request)?;
    Ok((
        Done::Processed,
        describe(broker, &token, names(request), None).to_string(),
    ))
}

async fn revoke(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_revoke(&broker, &request).await)
}

async fn try_revoke(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    access.require_user()?;
    let token = token(broker, &access, request)?;
    broker.revoke_token(&access, token.key).await?;
    Ok((Done::Processed, "{}".to_owned()))
}

async fn rotate(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_rotate(&broker, &request, payload).await)
}

async fn try_rotate(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    let token = token(broker, &asker(broker, request)?, request)?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let text = json::text(&body)?;
    let RotateBody { overlap } = match text.trim() {
        "" => RotateBody::default(),
        text => json::object(text)?,
    };
    let overlap_ms = overlap.saturating_mul(1_000);
    let (token, secret) = broker.rotate_token(&access, token.key, overlap_ms).await?;
    Ok((
        Done::Created,
        describe(broker, &token, names(request), Some(&secret)).to_string(),
    ))
}

async fn can(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_can(&broker, &request, payload).await)
}

async fn try_can(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    let token = token(broker, &asker(broker, request)?, request)?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let CanBody { verb, path } = json::object(json::text(&body)?)?;
    let wanted = || Refusal::new(Code::BodyMalformed, "\"verb\" is read, write or manage");
    let verb = Verb::parse(&verb).ok_or_else(wanted)?;
    let verdict = broker.can(&access, token.key, verb, &Path::parse(&path)?)?;
    let Verdict { allowed, rule, why } = verdict;
    let rule = rule.map(|(pattern, verbs)| json!({"pattern": pattern, "verbs": verbs}));
    let body = json!({"allowed": allowed, "rule": rule, "why": why});
    Ok((Done::Processed, body.to_string()))
}

/// The token that the address names; an id that is none names no token.
fn token(broker: &Broker, access: &Access, request: &HttpRequest) -> Result<Arc<Token>, Refusal> {
    access.require_user()?;
    let (text, names) = (request.match_info().get("id").unwrap_or_default(), names(request));
    let clipped: String = text.chars().take(64).collect();
    let unknown = || Refusal::new(Code::TokenUnknown, format!("no token {clipped}"));
    let token = broker.token(access, names.token_key(text).ok_or_else(unknown)?)?;
    Some(token)
        .filter(|token| is_there(token, names, now_ms()))
        .ok_or_else(unknown)
}

/// Whoever deletes a token by its older names does not expect to see it again.
fn is_there(token: &Token, names: Names, now_ms: u64) -> bool {
    match names {
        Names::Octave => true,
        Names::Flowthings => older::is_there(token, now_ms),
    }
}

/// A token; its secret if it was just made.
fn describe(broker: &Broker, token: &Token, names: Names, secret: Option<&str>) -> Value {
    if names.is_older() {
        return older::describe(token, now_ms(), secret);
    }
    let used_ms = token.used_ms.load(Ordering::Relaxed);
    let mut described = json!({
        "id": token.key, "label": token.label, "user": token.user, "paths": token.scope.to_json(),
        "origins": token.places.origins(), "addresses": token.places.addresses(),
        "created": token.created_ms, "expires": token.expires_ms, "revoked": token.revoked_ms,
        "lastUsed": (used_ms > 0).then_some(used_ms), "connections": broker.connections_of(token),
    });
    if let Some(secret) = secret {
        described["token"] = json!(secret);
    }
    described
}
