//! The routes of signing keys: listed, added, revoked. For users who manage; the broker says so.

use crate::broker::Broker;
use crate::catalogue::{ListedKey, NewKey};
use crate::domain::error::{Code, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::path::CompanyName;
use crate::domain::scope::{Scope, ScopeJson};
use crate::domain::signing::{Algorithm, Material};
use crate::protocol::json;
use crate::protocol::operations::other;
use crate::protocol::reply::Done;
use crate::protocol::rest::verbs::{Outcome, answer, asker, asker_and_body};
use crate::protocol::shapes::{AnyObject, SigningAlgorithm, VerbsShape};
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use utoipa::ToSchema;

/// Signing keys.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/v5.0/{company}/key")
                .get(list)
                .post(add)
                .default_service(other("GET, POST")),
        )
        .service(
            web::resource("/v5.0/{company}/key/{id}")
                .delete(remove)
                .default_service(other("DELETE")),
        );
}

/// A key to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a signing key")]
#[schema(as = SigningKeyWish)]
pub struct KeyJson {
    /// What it is for.
    #[serde(default)]
    label: String,
    /// The one algorithm that it is for.
    #[schema(value_type = SigningAlgorithm)]
    algorithm: String,
    /// A secret of 32 bytes or more, or a public key in PEM.
    key: Option<String>,
    /// Instead of `key`: a JSON Web Key Set that has it.
    #[schema(value_type = Option<AnyObject>)]
    jwks: Option<Value>,
    /// What whoever it signs for may do.
    #[schema(value_type = BTreeMap<String, VerbsShape>)]
    paths: ScopeJson,
    /// What a JWT may name it by; which one of `jwks` it is.
    kid: Option<String>,
}

impl KeyJson {
    /// Refused with `body.malformed`, or as a scope is.
    fn new_key(self, company: &CompanyName, most_patterns: usize) -> Result<NewKey, Refusal> {
        let algorithm = Algorithm::parse(&self.algorithm)?;
        let (material, own) = match (&self.key, &self.jwks) {
            (Some(text), None) => (Material::pasted(text, algorithm)?, None),
            (None, Some(set)) => Material::from_set(set, algorithm, self.kid.as_deref())?,
            _ => {
                let text = "either \"key\" or \"jwks\" is wanted";
                return Err(Refusal::new(Code::BodyMalformed, text));
            }
        };
        Ok(NewKey {
            kid: self.kid.or(own),
            algorithm,
            material,
            label: self.label,
            scope: Scope::parse(&self.paths, company, most_patterns)?,
        })
    }
}

async fn list(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_list(&broker, &request).await)
}

async fn try_list(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let keys: Vec<Value> = broker.list_keys(&access).await?.iter().map(key).collect();
    Ok((Done::Processed, Value::from(keys).to_string()))
}

async fn add(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_add(&broker, &request, payload).await)
}

async fn try_add(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    // Before the body is looked at: who may not add keys learns nothing of what is wrong with one.
    asker(broker, request)?.require_managing()?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let wish: KeyJson = json::object(json::text(&body)?)?;
    let new = wish.new_key(&access.token.company, broker.limits().max_patterns)?;
    let added = broker.add_key(&access, &new).await?;
    Ok((Done::Created, key(&added).to_string()))
}

async fn remove(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_remove(&broker, &request).await)
}

async fn try_remove(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let text = request.match_info().get("id").unwrap_or_default();
    access.require_managing()?;
    broker.remove_key(&access, TokenKey::parse(text)?).await?;
    Ok((Done::Processed, "{}".to_owned()))
}

fn key(listed: &ListedKey) -> Value {
    let token = &listed.token;
    let used_ms = token.used_ms.load(Ordering::Relaxed);
    json!({
        "id": token.key,
        "kid": listed.kid,
        "algorithm": listed.algorithm.word(),
        "label": token.label,
        "paths": token.scope.to_json(),
        "created": token.created_ms,
        "revoked": token.revoked_ms,
        "lastUsed": (used_ms > 0).then_some(used_ms),
    })
}
