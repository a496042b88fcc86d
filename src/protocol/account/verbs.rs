//! The routes under `/login`: who signs in gets a cookie, and gives it back when signing out.
//!
//! Invariant: a cookie is only ever set in answer to a page of ours, or to no page at all.

use crate::broker::Broker;
use crate::catalogue::{Member, Opened};
use crate::database::now_ms;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::person::{Password, PublicUrl};
use crate::protocol::account::wire::{self, Right};
use crate::protocol::extract;
use crate::protocol::operations::other;
use crate::protocol::reply::{self, Done, Envelope};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE};
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

type Outcome = Result<(Done, String), Error>;

/// All routes of this protocol.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/login")
                .get(show)
                .post(open)
                .delete(close)
                .default_service(other("GET, POST, DELETE")),
        )
        .service(web::resource("/login/link").post(link).default_service(other("POST")))
        .service(
            web::resource("/login/password")
                .post(password)
                .default_service(other("POST")),
        );
}

async fn show(broker: Data<Broker>, url: Data<PublicUrl>, request: HttpRequest) -> HttpResponse {
    let outcome = try_show(&broker, &url, &request).await;
    answer(&broker, outcome, None)
}

/// That nobody is signed in is an answer too: browsers would log a refusal as an error of the page.
async fn try_show(broker: &Broker, url: &PublicUrl, request: &HttpRequest) -> Outcome {
    let body = match extract::login(request)? {
        Some(secret) => match broker.signed_in(secret).await {
            Ok(signed_in) => wire::shown(&signed_in, url),
            Err(Error::Refusal(refusal)) if refusal.code == Code::AuthMissing => wire::NOBODY.to_owned(),
            Err(error) => return Err(error),
        },
        None => wire::NOBODY.to_owned(),
    };
    Ok((Done::Processed, body))
}

async fn open(broker: Data<Broker>, url: Data<PublicUrl>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let outcome = try_open(&broker, &request, payload).await;
    answer_signed_in(&broker, &url, &request, outcome)
}

async fn try_open(broker: &Broker, request: &HttpRequest, payload: Payload) -> Result<(Member, Opened), Error> {
    extract::require_own_page(request)?;
    let sent = wire::parse_credentials(&extract::body(broker, request, payload).await?)?;
    let address = extract::visitor(request).address;
    let password = Password::presented(sent.password);
    broker.open_login(&sent.company, &sent.user, password, address).await
}

async fn close(broker: Data<Broker>, url: Data<PublicUrl>, request: HttpRequest) -> HttpResponse {
    let outcome = try_close(&broker, &request).await;
    let gone = outcome.is_ok().then(|| wire::cookie("", 0, is_secure(&request, &url)));
    answer(&broker, outcome, gone)
}

async fn try_close(broker: &Broker, request: &HttpRequest) -> Outcome {
    if let Some(secret) = extract::login(request)? {
        broker.close_login(secret).await?;
    }
    Ok((Done::Processed, "{}".to_owned()))
}

async fn link(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let outcome = try_link(&broker, &request, payload).await;
    answer(&broker, outcome, None)
}

async fn try_link(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    let sent = wire::parse_link(&extract::body(broker, request, payload).await?)?;
    Ok((Done::Processed, wire::welcome(&broker.welcome(&sent.code).await?)))
}

async fn password(broker: Data<Broker>, url: Data<PublicUrl>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let parsed = match extract::require_own_page(&request) {
        Ok(()) => extract::body(&broker, &request, payload).await,
        Err(refusal) => Err(refusal),
    };
    match parsed.and_then(|body| wire::parse_password(&body)) {
        Ok((Right::Code(code), password)) => {
            let address = extract::visitor(&request).address;
            let outcome = broker.set_first_password(&code, password, address).await;
            answer_signed_in(&broker, &url, &request, outcome)
        }
        Ok((Right::Old(old), password)) => {
            let outcome = change(&broker, &request, old, password).await;
            answer(&broker, outcome, None)
        }
        Err(refusal) => answer(&broker, Err(refusal.into()), None),
    }
}

async fn change(broker: &Broker, request: &HttpRequest, old: Password, password: Password) -> Outcome {
    let address = extract::visitor(request).address;
    let changed = broker.change_password(secret(request)?, old, password, address).await?;
    Ok((Done::Processed, wire::signed_in(&changed.member, changed.expires_ms)))
}

/// The secret of the login behind a request; refused with `auth.missing`.
fn secret(request: &HttpRequest) -> Result<&str, Refusal> {
    let missing = || Refusal::new(Code::AuthMissing, "nobody is signed in");
    extract::login(request)?.ok_or_else(missing)
}

fn answer_signed_in(
    broker: &Broker,
    url: &PublicUrl,
    request: &HttpRequest,
    outcome: Result<(Member, Opened), Error>,
) -> HttpResponse {
    match outcome {
        Ok((member, opened)) => {
            let seconds = opened.expires_ms.saturating_sub(now_ms()) / 1_000;
            let cookie = wire::cookie(&opened.secret, seconds, is_secure(request, url));
            let body = wire::signed_in(&member, opened.expires_ms);
            answer(broker, Ok((Done::Created, body)), Some(cookie))
        }
        Err(error) => answer(broker, Err(error), None),
    }
}

fn answer(broker: &Broker, outcome: Outcome, cookie: Option<String>) -> HttpResponse {
    let mut response = reply::answer(broker.metrics(), Envelope::Session, outcome);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(Ok(cookie)) = cookie.map(HeaderValue::try_from) {
        headers.insert(SET_COOKIE, cookie);
    }
    response
}

/// Whether the browser came by HTTPS, as far as we or a proxy before us can tell.
fn is_secure(request: &HttpRequest, url: &PublicUrl) -> bool {
    let forwarded = request.headers().get("x-forwarded-proto");
    url.is_secure() || forwarded.is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"))
}
