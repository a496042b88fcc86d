//! Tokens as flowthings' clients make and see them: paths with `dropRead` and `dropWrite`, a duration.
//!
//! Pure. From "Token Object Overview" and "Creating additional Tokens for Devices" at flowthings.io, and
//! the Java client's Token-Full.json. "Paths permissions are recursive", so a path is two patterns of
//! ours, itself and all below. Invariant: what was asked for is shown again as it was asked for.

use crate::catalogue::NewToken;
use crate::domain::error::{Code, Refusal};
use crate::domain::path::CompanyName;
use crate::domain::scope::{Scope, ScopeJson, Verbs};
use crate::domain::token::Token;
use crate::protocol::json;
use crate::protocol::names::Names;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What stands behind a path for all that is below it.
const BELOW: &str = "/**";

/// A token to be made. Members that it does not know are passed over.
#[derive(Deserialize, ToSchema)]
#[serde(expecting = "a token")]
#[schema(as = OlderTokenWish)]
pub struct OlderTokenBody {
    /// What it may do, by path: there and on all paths below.
    paths: BTreeMap<String, Permissions>,
    /// What it is for.
    description: Option<String>,
    /// After how many milliseconds it ends by itself; never if null.
    #[schema(minimum = 1)]
    duration: Option<u64>,
}

/// What a token may do on a path.
#[derive(Deserialize, ToSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "an object with \"dropRead\" or \"dropWrite\""
)]
pub struct Permissions {
    /// Find drops and subscribe.
    #[serde(default)]
    drop_read: bool,
    /// Publish drops.
    #[serde(default)]
    drop_write: bool,
}

/// Parses a token to be made for `company`, with at most `most` patterns.
pub fn parse(text: &str, company: &CompanyName, most: usize, now_ms: u64) -> Result<NewToken, Refusal> {
    let json: OlderTokenBody = json::object(text)?;
    let malformed = |text| Refusal::new(Code::BodyMalformed, text);
    if json.paths.is_empty() {
        return Err(malformed(
            "\"paths\" names at least one path, such as {\"/acme/door\":{\"dropRead\":true}}",
        ));
    }
    if json.duration == Some(0) {
        return Err(malformed("\"duration\" is a number of milliseconds, or null"));
    }
    let mut patterns = ScopeJson::new();
    for (path, Permissions { drop_read, drop_write }) in &json.paths {
        let verbs = Verbs {
            read: *drop_read,
            write: *drop_write,
            manage: false,
        };
        let is_company = path.strip_prefix('/') == Some(company.as_str());
        patterns.extend((!is_company).then(|| (path.clone(), verbs)));
        patterns.insert(format!("{path}{BELOW}"), verbs);
    }
    Ok(NewToken {
        scope: Scope::parse(&patterns, company, most)?,
        label: json.description.unwrap_or_default(),
        expires_ms: json.duration.map(|duration| now_ms.saturating_add(duration)),
        ..NewToken::default()
    })
}

/// A token; its secret if it was just made.
pub fn describe(token: &Token, now_ms: u64, secret: Option<&str>) -> Value {
    let left_ms = |expires_ms: u64| expires_ms.saturating_sub(now_ms);
    let mut described = json!({
        "id": Names::Flowthings.token_id(token.key), "paths": paths(&token.scope.to_json()),
        "description": token.label, "creationDate": token.created_ms,
        "duration": token.expires_ms.map(|expires_ms| expires_ms.saturating_sub(token.created_ms)),
        "expiresInMs": token.expires_ms.map(left_ms),
    });
    if let Some(secret) = secret {
        described["tokenString"] = json!(secret);
    }
    described
}

/// Whether it is one of those that can be made and deleted here, and not deleted.
pub fn is_there(token: &Token, now_ms: u64) -> bool {
    token.user.is_none() && token.check(now_ms).is_ok()
}

/// What is allowed on a path and on all below is shown once; patterns that no path stands for as they are.
fn paths(patterns: &ScopeJson) -> Map<String, Value> {
    let mut paths = Map::new();
    for (pattern, verbs) in patterns {
        let path = pattern.strip_suffix(BELOW).unwrap_or(pattern);
        let is_company = path.matches('/').count() == 1;
        let is_pair = patterns.get(path) == patterns.get(&format!("{path}{BELOW}"));
        let name = if is_company || is_pair { path } else { pattern };
        paths.insert(
            name.to_owned(),
            json!({"dropRead": verbs.read, "dropWrite": verbs.write}),
        );
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> CompanyName {
        CompanyName::parse("acme").expect("a name")
    }

    fn code(text: &str) -> Code {
        parse(text, &acme(), 4, 0).map(|_| ()).expect_err(text).code
    }

    #[test]
    fn a_path_is_itself_and_all_below() {
        let text =
            r#"{"paths":{"/acme/a":{"dropRead":true,"dropWrite":false},"/acme":{"dropWrite":true}},"duration":5}"#;
        let new = parse(text, &acme(), 4, 1_000).expect("a token");
        let shown = serde_json::to_value(new.scope.to_json()).expect("JSON");
        let expected = json!({"/acme/**": {"write": true}, "/acme/a": {"read": true}, "/acme/a/**": {"read": true}});
        assert_eq!((shown, new.expires_ms), (expected, Some(1_005)));
        let again = Value::Object(paths(&new.scope.to_json()));
        let expected = json!({
            "/acme": {"dropRead": false, "dropWrite": true}, "/acme/a": {"dropRead": true, "dropWrite": false},
        });
        assert_eq!(again, expected);
    }

    #[test]
    fn patterns_of_other_tokens_are_shown_as_they_are() {
        let json = json!({"/acme/a/*": {"read": true}, "/acme/b/**": {"read": true}, "/acme/b": {"write": true}});
        let patterns: ScopeJson = serde_json::from_value(json).expect("patterns");
        let names: Vec<String> = paths(&patterns).keys().cloned().collect();
        assert_eq!(names, ["/acme/a/*", "/acme/b", "/acme/b/**"]);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in [
            "[]",
            "{}",
            r#"{"paths":{}}"#,
            r#"{"paths":{"/acme/a":{"administer":true}}}"#,
            r#"{"paths":{"/acme/a":{"dropRead":true}},"duration":0}"#,
        ] {
            assert_eq!(code(text), Code::BodyMalformed, "{text}");
        }
        assert_eq!(code(r#"{"paths":{"acme":{}}}"#), Code::PathMalformed);
        assert_eq!(code(r#"{"paths":{"/other/a":{}}}"#), Code::ScopeDenied);
        assert_eq!(
            code(r#"{"paths":{"/acme/a":{},"/acme/b":{},"/acme/c":{}}}"#),
            Code::LimitPatterns
        );
        assert!(parse(r#"{"paths":{"/acme/a":{}},"colour":1}"#, &acme(), 4, 0).is_ok());
    }
}
