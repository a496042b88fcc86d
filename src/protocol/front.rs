//! The short way for what is asked most: publishing, and opening a session.
//!
//! A back end does both without pause, so these two requests are answered before the `App`, by the
//! functions that its routes call too; what remains is parsing, checking and doing. Invariant: whatever
//! is unusual about a request (a page sent it, its path is escaped) is left to the `App`.

use crate::broker::Broker;
use crate::domain::person::PublicUrl;
use crate::domain::visitor::Proxies;
use crate::protocol::extract::Caller;
use crate::protocol::rest::verbs::{Letter, publish_letter};
use crate::protocol::session::verbs::open_for;
use crate::protocol::traffic::{Told, Visit};
use actix_http::header::ORIGIN;
use actix_http::{HttpMessage, Request, Response};
use actix_web::body::BoxBody;
use actix_web::http::Method;
use std::sync::Arc;

/// What the short way needs of a server.
pub struct Front {
    /// The product.
    pub broker: Arc<Broker>,
    /// Whose word is taken for where a request comes from.
    pub proxies: Arc<Proxies>,
    /// Where people reach this server.
    pub url: Arc<PublicUrl>,
}

/// What an address asks for.
#[derive(Debug, PartialEq, Eq)]
enum Errand<'a> {
    /// `POST /session`
    Open,
    /// `POST /v5.0/<company>/event[/<stream>]`
    Publish { company: &'a str, stream: Option<&'a str> },
}

impl<'a> Errand<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        if path == "/session" {
            return Some(Self::Open);
        }
        let (company, rest) = path.strip_prefix("/v5.0/")?.split_once('/')?;
        let stream = match rest.strip_prefix("event")? {
            "" => None,
            stream => Some(stream.strip_prefix('/')?),
        };
        let is_plain = |segment: &str| !segment.is_empty() && !segment.contains(['/', '%']);
        let plain = is_plain(company) && stream.is_none_or(is_plain);
        plain.then_some(Self::Publish { company, stream })
    }

    /// As the `App` calls it.
    fn route(&self) -> &'static str {
        match self {
            Self::Open => "/session",
            Self::Publish { stream: None, .. } => "/v5.0/{company}/event",
            Self::Publish { stream: Some(_), .. } => "/v5.0/{company}/event/{id}",
        }
    }
}

impl Front {
    /// Whether [`Front::answer`] is for this request.
    pub fn takes(request: &Request) -> bool {
        request.method() == Method::POST
            && Errand::parse(request.path()).is_some()
            && !request.headers().contains_key(ORIGIN)
    }

    /// Answers a request that it takes.
    pub async fn answer(&self, mut request: Request) -> Response<BoxBody> {
        let visit = Visit::begin().await;
        let payload = request.take_payload();
        let errand = Errand::parse(request.path()).expect("it takes no other");
        let caller = Caller {
            headers: request.headers(),
            peer: request.peer_addr().map(|peer| peer.ip()),
            proxies: Some(&self.proxies),
            url: Some(&self.url),
        };
        let route = errand.route();
        let response = match errand {
            Errand::Open => open_for(&self.broker, caller, payload).await,
            Errand::Publish { company, stream } => {
                let query = request.uri().query().unwrap_or_default();
                let letter = Letter {
                    caller,
                    company,
                    stream,
                    query,
                };
                publish_letter(&self.broker, &letter, payload).await
            }
        };
        let told = Told {
            peer: request.peer_addr(),
            method: request.method(),
            route: Some(route),
            status: response.status().as_u16(),
        };
        visit.end(&self.broker, &told);
        response.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_is_for_two_kinds_of_plain_addresses() {
        let publish = |company, stream| Some(Errand::Publish { company, stream });
        assert_eq!(Errand::parse("/session"), Some(Errand::Open));
        assert_eq!(Errand::parse("/v5.0/acme/event"), publish("acme", None));
        assert_eq!(Errand::parse("/v5.0/acme/event/s1"), publish("acme", Some("s1")));
        for other in [
            "/session/",
            "/session/x/ws",
            "/v5.0/acme/event/",
            "/v5.0//event",
            "/v5.0/acme/events",
            "/v5.0/acme/event/s1/e1",
            "/v5.0/acme/event/%73",
            "/v5.0/acme/stream",
        ] {
            assert_eq!(Errand::parse(other), None, "{other}");
        }
    }
}
