//! How somebody says who they are, as the document has it.
//!
//! Each requirement is one way; the headers within it go together.

use crate::protocol::docs::operation::Who;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

const COMPANY: &str = "X-Auth-Company";
const USER: &str = "X-Auth-User";
const TOKEN: &str = "X-Auth-Token";
const COOKIE: &str = "streamgate";
const PAGE: &str = "X-Streamgate-Page";
const BEARER: &str = "Bearer";
const KEY: &str = "Authorization";

/// All schemes by the names that requirements have for them.
pub fn schemes() -> Vec<(&'static str, SecurityScheme)> {
    let header =
        |name, description| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, description)));
    let cookie = ApiKeyValue::with_description(
        "streamgate",
        "A login, made by POST /login; its holder acts as the user.",
    );
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".to_owned());
    bearer.description = Some("A token signed with one of the company's signing keys.".to_owned());
    vec![
        (
            COMPANY,
            header("X-Auth-Company", "The company, where the address does not name it."),
        ),
        (USER, header("X-Auth-User", "The user whose master token it is.")),
        (TOKEN, header("X-Auth-Token", "A master token, or a restricted one.")),
        (COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie))),
        (
            PAGE,
            header("X-Streamgate-Page", "`1`; a cookie without it counts for nothing."),
        ),
        (BEARER, SecurityScheme::Http(bearer)),
        (
            KEY,
            header(
                "Authorization",
                "A master token, or a restricted one, without `Bearer`.",
            ),
        ),
    ]
}

/// The ways in which an operation's asker may say who they are.
pub fn requirements(who: Who, path: &str) -> Vec<SecurityRequirement> {
    let company: &[&str] = match path.contains("{company}") {
        true => &[],
        false => &[COMPANY],
    };
    let together = |names: &[&[&'static str]]| {
        let names = names.iter().copied().flatten();
        names.fold(SecurityRequirement::default(), |all, name| {
            all.add(*name, Vec::<String>::new())
        })
    };
    let master = || together(&[company, &[USER, TOKEN]]);
    let restricted = || together(&[company, &[TOKEN]]);
    let login = || together(&[&[COOKIE, PAGE]]);
    match who {
        Who::Anybody => Vec::new(),
        Who::Asker => vec![master(), restricted(), login()],
        Who::Visitor => vec![login(), SecurityRequirement::default()],
        Who::Keyholder => vec![together(&[&[KEY]])],
        Who::Opener => vec![master(), restricted(), login(), together(&[&[BEARER]])],
    }
}
