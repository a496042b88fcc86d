//! Who is asking, and with what body: the same for every HTTP route.
//!
//! Header names are compared case-insensitively, as clients send them in both. Invariants: a
//! stranger's body is not read; a cookie counts only with a header that no other site's page can
//! send.

use crate::broker::Broker;
use crate::domain::error::{Code, Refusal};
use crate::domain::origin::Origins;
use crate::domain::person::PublicUrl;
use crate::domain::token::Access;
use crate::domain::visitor::{Proxies, Visitor};
use actix_web::HttpRequest;
use actix_web::http::header::{self, CONTENT_ENCODING, HOST, HeaderMap, ORIGIN};
use actix_web::web::{self, Bytes, Data};
use std::net::IpAddr;
use std::time::Duration;

const COMPANY: &str = "x-auth-company";
const USER: &str = "x-auth-user";
const TOKEN: &str = "x-auth-token";
/// What our pages send, so that a cookie counts.
const PAGE: &str = "x-streamgate-page";
/// The cookie's name.
pub const LOGIN: &str = "streamgate";
/// What a proxy adds the address of its peer to.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The asker, by its headers, or else as who is signed in. The company is the one in the path,
/// if the route has it there.
pub fn asker(broker: &Broker, request: &HttpRequest, company: Option<&str>) -> Result<Access, Refusal> {
    let headers = request.headers();
    let visitor = visitor(request);
    if [COMPANY, USER, TOKEN].iter().all(|name| !headers.contains_key(*name))
        && let Some(secret) = login(request)?
    {
        return broker.sign_in_again(secret, company, &visitor);
    }
    let company = match company {
        Some(company) => Some(company),
        None => text(headers, COMPANY)?,
    };
    let missing = |name| Refusal::new(Code::AuthMissing, format!("the header {name} is missing"));
    let company = company.ok_or_else(|| missing("X-Auth-Company"))?;
    let token = text(headers, TOKEN)?.ok_or_else(|| missing("X-Auth-Token"))?;
    broker.sign_in(company, text(headers, USER)?, token, &visitor)
}

/// Where a request comes from.
pub fn visitor(request: &HttpRequest) -> Visitor<'_> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let proxies = request.app_data::<Data<Proxies>>();
    visitor_of(request.headers(), peer, proxies.map(|proxies| &***proxies))
}

/// The same of a request in parts.
pub fn visitor_of<'a>(headers: &'a HeaderMap, peer: Option<IpAddr>, proxies: Option<&Proxies>) -> Visitor<'a> {
    let origin = headers.get(ORIGIN);
    let hops = || {
        let texts = headers.get_all(FORWARDED_FOR).filter_map(|value| value.to_str().ok());
        texts.flat_map(|text| text.split(',')).collect::<Vec<_>>()
    };
    Visitor {
        address: match proxies {
            Some(proxies) => proxies.origin(peer, hops().into_iter()),
            None => peer,
        },
        origin: origin.map(|origin| origin.to_str().unwrap_or_default()),
    }
}

/// The secret of a login, if the request has the cookie and a page of ours sent it. Refused with
/// `origin.denied` if another's did.
pub fn login(request: &HttpRequest) -> Result<Option<&str>, Refusal> {
    let is_page = request.headers().get(PAGE).is_some_and(|value| value == "1");
    let Some(secret) = cookie(request.headers()).filter(|_| is_page) else {
        return Ok(None);
    };
    require_own_page(request)?;
    Ok(Some(secret))
}

/// Refused with `origin.denied` if the request comes from a page that is not ours.
pub fn require_own_page(request: &HttpRequest) -> Result<(), Refusal> {
    let Some(origin) = visitor(request).origin else {
        return Ok(());
    };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let is_public = |url: &Data<PublicUrl>| url.is_of(origin);
    if Origins::default().allow(origin, host) || request.app_data().is_some_and(is_public) {
        return Ok(());
    }
    let text = "pages of other origins may not sign in; STREAMGATE_PUBLIC_URL says where ours are";
    Err(Refusal::new(Code::OriginDenied, text))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let texts = headers.get_all(header::COOKIE).filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).map(str::trim);
    pairs.find_map(|pair| pair.strip_prefix(LOGIN)?.strip_prefix('='))
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
