//! Who is asking, and with what body: the same for every HTTP route.
//!
//! Header names are compared case-insensitively, as clients send them in both. Invariants: a
//! stranger's body is not read, but for the short ones that the lane must have whole; a cookie counts
//! only with a header that no other site's page can send.

use crate::broker::Broker;
use crate::domain::error::{Code, Refusal};
use crate::domain::origin::Origins;
use crate::domain::person::PublicUrl;
use crate::domain::token::Access;
use crate::domain::visitor::{Proxies, Visitor};
use crate::protocol::gzip;
use actix_web::HttpRequest;
use actix_web::http::header::{self, CONTENT_ENCODING, HOST, HeaderMap, HeaderName, ORIGIN};
use actix_web::web::{Bytes, Data, Payload};
use httparse::Header;
use std::net::IpAddr;
use std::time::Duration;

/// Names the company, where the address does not.
const COMPANY: HeaderName = HeaderName::from_static("x-auth-company");
/// What flowthings' clients call it; who names the company so names no user.
const ACCOUNT: HeaderName = HeaderName::from_static("x-auth-account");
const USER: HeaderName = HeaderName::from_static("x-auth-user");
/// The token.
pub const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
/// What our pages send, so that a cookie counts.
const PAGE: HeaderName = HeaderName::from_static("x-streamgate-page");
/// The cookie's name.
pub const LOGIN: &str = "streamgate";
/// What a proxy adds the address of its peer to.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The headers of a request, as they were parsed.
#[derive(Clone, Copy)]
pub enum Headers<'a> {
    /// By actix-http.
    Map(&'a HeaderMap),
    /// In the order in which they came.
    List(&'a [Header<'a>]),
}

/// The value of a header.
#[derive(Clone, Copy)]
pub struct Value<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// The first value of this name.
    pub fn get(self, name: &HeaderName) -> Option<Value<'a>> {
        match self {
            Headers::Map(map) => map.get(name).map(|value| Value(value.as_bytes())),
            Headers::List(list) => named(list, name).next(),
        }
    }

    /// Whether there is one of this name.
    pub fn has(self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// All values of this name, in order.
    fn all(self, name: &HeaderName) -> Vec<Value<'a>> {
        match self {
            Headers::Map(map) => map.get_all(name).map(|value| Value(value.as_bytes())).collect(),
            Headers::List(list) => named(list, name).collect(),
        }
    }
}

fn named<'a>(list: &'a [Header<'a>], name: &HeaderName) -> impl Iterator<Item = Value<'a>> {
    let named = list
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(name.as_str()));
    named.map(|field| Value(field.value))
}

impl<'a> Value<'a> {
    /// As text, if all of it is visible ASCII, blanks and tabs.
    pub fn text(self) -> Option<&'a str> {
        let is_text = self.0.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        std::str::from_utf8(self.0).ok().filter(|_| is_text)
    }
}

/// What a request says of who sent it, whichever way it came in.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Its headers.
    pub headers: Headers<'a>,
    /// The peer, if the connection has one.
    pub peer: Option<IpAddr>,
    /// Whose word is taken for where a request comes from.
    pub proxies: Option<&'a Proxies>,
    /// Where people reach this server.
    pub url: Option<&'a PublicUrl>,
}

impl<'a> From<&'a HttpRequest> for Caller<'a> {
    fn from(request: &'a HttpRequest) -> Self {
        Self {
            headers: Headers::Map(request.headers()),
            peer: request.peer_addr().map(|peer| peer.ip()),
            proxies: request.app_data::<Data<Proxies>>().map(|proxies| &***proxies),
            url: request.app_data::<Data<PublicUrl>>().map(|url| &***url),
        }
    }
}

/// The asker, by its headers, or else as who is signed in. The company is the one in the path,
/// if the route has it there.
pub fn asker<'a>(broker: &Broker, caller: impl Into<Caller<'a>>, company: Option<&str>) -> Result<Access, Refusal> {
    let caller = caller.into();
    let headers = caller.headers;
    let visitor = visitor(caller);
    if [&TOKEN, &COMPANY, &ACCOUNT, &USER]
        .iter()
        .all(|name| !headers.has(name))
        && let Some(secret) = login(caller)?
    {
        return broker.sign_in_again(secret, company, &visitor);
    }
    let company = match company {
        Some(company) => Some(company),
        None => self::company(headers)?,
    };
    let missing = |name| Refusal::new(Code::AuthMissing, format!("the header {name} is missing"));
    let company = company.ok_or_else(|| missing("X-Auth-Company"))?;
    let token = text(headers, &TOKEN)?.ok_or_else(|| missing("X-Auth-Token"))?;
    let user = text(headers, &USER)?;
    if user.is_none() && text(headers, &ACCOUNT)? == Some(company) {
        return broker.sign_in_of(company, token, &visitor);
    }
    broker.sign_in(company, user, token, &visitor)
}

/// The asker at an address that uses flowthings' names. Its clients send the token and nothing else
/// there ("flowthings.io HTTP API authentication"), also a master token.
pub fn account<'a>(broker: &Broker, caller: impl Into<Caller<'a>>, account: &str) -> Result<Access, Refusal> {
    let caller = caller.into();
    let named = text(caller.headers, &USER)?;
    match text(caller.headers, &TOKEN)? {
        Some(token) if named.is_none() => broker.sign_in_of(account, token, &visitor(caller)),
        _ => asker(broker, caller, Some(account)),
    }
}

/// The company that the headers name, by either name. Refused with `auth.refused` if they name two.
pub fn company(headers: Headers<'_>) -> Result<Option<&str>, Refusal> {
    match (text(headers, &COMPANY)?, text(headers, &ACCOUNT)?) {
        (Some(company), Some(account)) if company != account => {
            let text = "X-Auth-Company and X-Auth-Account are two names of one thing, and differ";
            Err(Refusal::new(Code::AuthRefused, text))
        }
        (company, account) => Ok(company.or(account)),
    }
}

/// Where a request comes from.
pub fn visitor<'a>(caller: impl Into<Caller<'a>>) -> Visitor<'a> {
    let Caller {
        headers, peer, proxies, ..
    } = caller.into();
    let hops = || {
        let texts = headers.all(&FORWARDED_FOR).into_iter().filter_map(Value::text);
        texts.flat_map(|text| text.split(',')).collect::<Vec<_>>()
    };
    Visitor {
        address: match proxies {
            Some(proxies) if proxies.is_empty() => peer.map(|peer| peer.to_canonical()),
            Some(proxies) => proxies.origin(peer, hops().into_iter()),
            None => peer,
        },
        origin: headers.get(&ORIGIN).map(|origin| origin.text().unwrap_or_default()),
    }
}

/// The secret of a login, if the request has the cookie and a page of ours sent it. Refused with
/// `origin.denied` if another's did.
pub fn login<'a>(caller: impl Into<Caller<'a>>) -> Result<Option<&'a str>, Refusal> {
    let caller = caller.into();
    let is_page = caller.headers.get(&PAGE).is_some_and(|value| value.0 == b"1");
    let Some(secret) = cookie(caller.headers).filter(|_| is_page) else {
        return Ok(None);
    };
    require_own_page(caller)?;
    Ok(Some(secret))
}

/// Refused with `origin.denied` if the request comes from a page that is not ours.
pub fn require_own_page<'a>(caller: impl Into<Caller<'a>>) -> Result<(), Refusal> {
    let caller = caller.into();
    let Some(origin) = visitor(caller).origin else {
        return Ok(());
    };
    let host = caller.headers.get(&HOST).and_then(Value::text);
    if Origins::default().allow(origin, host) || caller.url.is_some_and(|url| url.is_of(origin)) {
        return Ok(());
    }
    let text = "pages of other origins may not sign in; STREAMGATE_PUBLIC_URL says where ours are";
    Err(Refusal::new(Code::OriginDenied, text))
}

fn cookie(headers: Headers<'_>) -> Option<&str> {
    let texts = headers.all(&header::COOKIE).into_iter().filter_map(Value::text);
    let mut pairs = texts.flat_map(|text| text.split(';')).map(str::trim);
    pairs.find_map(|pair| pair.strip_prefix(LOGIN)?.strip_prefix('='))
}

/// The whole body, unpacked, however it calls itself: `curl -d` names no JSON, and the clients that
/// we serve do not either. Refused with `limit.body`, `body.malformed`, `body.encoding`
/// or `request.timeout`.
pub async fn body<'a>(broker: &Broker, caller: impl Into<Caller<'a>>, payload: Payload) -> Result<Bytes, Refusal> {
    let most = broker.limits().max_body_bytes;
    body_within(most, Code::LimitBody, caller, payload).await
}

/// As [`body`], of at most so many bytes, or else refused with `too_long`.
pub async fn body_within<'a>(
    most: usize,
    too_long: Code,
    caller: impl Into<Caller<'a>>,
    payload: Payload,
) -> Result<Bytes, Refusal> {
    let is_packed = gzip::is_packed(caller.into().headers.get(&CONTENT_ENCODING))?;
    match tokio::time::timeout(BODY_TIME, payload.to_bytes_limited(most)).await {
        Ok(Ok(Ok(bytes))) if is_packed => gzip::unpack(&bytes, most).await,
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(_))) => Err(Refusal::new(Code::BodyMalformed, "the body ended too early")),
        Ok(Err(_)) => {
            let text = format!("a body has at most {most} bytes");
            Err(Refusal::new(too_long, text))
        }
        Err(_) => Err(Refusal::new(Code::RequestTimeout, "the body took too long to arrive")),
    }
}

/// Refused with `origin.denied` if a page of another origin than those that may sends the request.
pub fn check_origin(headers: Headers<'_>, origins: &Origins) -> Result<(), Refusal> {
    let Some(origin) = headers.get(&ORIGIN) else {
        return Ok(());
    };
    let denied = || Refusal::new(Code::OriginDenied, "pages of this origin may not connect");
    let host = headers.get(&HOST).and_then(Value::text);
    if origins.allow(origin.text().ok_or_else(denied)?, host) {
        return Ok(());
    }
    let text = "pages of this origin may not connect; STREAMGATE_ALLOWED_ORIGINS lists those that may";
    Err(Refusal::new(Code::OriginDenied, text))
}

fn text<'a>(headers: Headers<'a>, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let refused = || Refusal::new(Code::AuthRefused, "company, user and token do not go together");
    let text = value.text().ok_or_else(refused)?;
    Ok(Some(text.trim()).filter(|text| !text.is_empty()))
}
