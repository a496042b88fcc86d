//! Who is asking, and with what body: the same for every HTTP route.
//!
//! Header names are compared case-insensitively, as clients send them in both. Invariant: a
//! stranger's body is not read.

use crate::broker::Broker;
use crate::domain::error::{Code, Refusal};
use crate::domain::token::Access;
use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, HeaderMap};
use actix_web::web::{self, Bytes};
use std::time::Duration;

const COMPANY: &str = "x-auth-company";
const USER: &str = "x-auth-user";
const TOKEN: &str = "x-auth-token";
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The asker, by its headers. The company is the one in the path, if the route has it there.
pub fn asker(broker: &Broker, headers: &HeaderMap, company: Option<&str>) -> Result<Access, Refusal> {
    let company = match company {
        Some(company) => Some(company),
        None => text(headers, COMPANY)?,
    };
    let missing = |name| Refusal::new(Code::AuthMissing, format!("the header {name} is missing"));
    let company = company.ok_or_else(|| missing("X-Auth-Company"))?;
    let token = text(headers, TOKEN)?.ok_or_else(|| missing("X-Auth-Token"))?;
    broker.sign_in(company, text(headers, USER)?, token)
}

/// The whole body, however it calls itself: `curl -d` names no JSON, and the clients that we
/// serve do not either. Refused with `limit.body`, `body.malformed`, `body.encoding`
/// or `request.timeout`.
pub async fn body(broker: &Broker, request: &HttpRequest, payload: web::Payload) -> Result<Bytes, Refusal> {
    let coding = request.headers().get(CONTENT_ENCODING);
    if coding.is_some_and(|coding| coding != "identity") {
        let text = "this version does not know compressed bodies yet";
        return Err(Refusal::new(Code::BodyEncoding, text));
    }
    let most = broker.limits().max_body_bytes;
    match tokio::time::timeout(BODY_TIME, payload.to_bytes_limited(most)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(_))) => Err(Refusal::new(Code::BodyMalformed, "the body ended too early")),
        Ok(Err(_)) => {
            let text = format!("a body has at most {most} bytes");
            Err(Refusal::new(Code::LimitBody, text))
        }
        Err(_) => Err(Refusal::new(Code::RequestTimeout, "the body took too long to arrive")),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str().map(str::trim);
    let refused = |_| Refusal::new(Code::AuthRefused, "company, user and token do not go together");
    Ok(Some(text.map_err(refused)?).filter(|text| !text.is_empty()))
}
