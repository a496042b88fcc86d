//! The grammar of signing in: names, passwords and codes in; who is signed in, and the cookie, out.
//!
//! Pure. Invariant: what was sent is never in a refusal.

use crate::broker::SignedIn;
use crate::catalogue::Member;
use crate::domain::error::{Code, Refusal};
use crate::domain::person::{Password, PublicUrl};
use crate::protocol::extract::LOGIN;
use crate::protocol::json;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// What is sent to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "company, user and password")]
pub struct Credentials {
    /// The company.
    pub company: String,
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

/// The code of a link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "the code of a link")]
pub struct Link {
    /// As it stands at the end of the link.
    pub code: String,
}

/// A password to be set: by the code of a link, or by the password that it was.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a password, with code or old")]
#[schema(as = NewPassword)]
pub struct PasswordJson {
    /// As it stands at the end of the link.
    code: Option<String>,
    /// The password that it was.
    old: Option<String>,
    /// What it is to be: at least 10 characters, at most 1024 bytes.
    #[schema(min_length = 10, max_length = 1024)]
    password: String,
}

/// By what right a password is set.
pub enum Right {
    /// A link's code.
    Code(String),
    /// The password that it was.
    Old(Password),
}

/// Parses what is sent to sign in.
pub fn parse_credentials(body: &[u8]) -> Result<Credentials, Refusal> {
    json::object(json::text(body)?)
}

/// Parses the code of a link.
pub fn parse_link(body: &[u8]) -> Result<Link, Refusal> {
    json::object(json::text(body)?)
}

/// Parses a password to be set; refused with `body.malformed` or `password.malformed`.
pub fn parse_password(body: &[u8]) -> Result<(Right, Password), Refusal> {
    let json: PasswordJson = json::object(json::text(body)?)?;
    let right = match (json.code, json.old) {
        (Some(code), None) => Right::Code(code),
        (None, Some(old)) => Right::Old(Password::presented(old)),
        _ => {
            let text = "either \"code\" or \"old\" is wanted beside \"password\"";
            return Err(Refusal::new(Code::BodyMalformed, text));
        }
    };
    Ok((right, Password::parse(json.password)?))
}

/// What is told of who is signed in if nobody is.
pub const NOBODY: &str = "null";

/// Who has just signed in.
pub fn signed_in(member: &Member, expires_ms: u64) -> String {
    member_json(member, expires_ms).to_string()
}

/// Who is signed in, with the name of their master token and the address for commands.
pub fn shown(signed_in: &SignedIn, url: &PublicUrl) -> String {
    let mut body = member_json(&signed_in.member, signed_in.expires_ms);
    body["token"] = json!(signed_in.token);
    body["url"] = json!(url.to_string());
    body.to_string()
}

fn member_json(member: &Member, expires_ms: u64) -> Value {
    json!({
        "company": member.company, "user": member.user, "manages": member.manages, "expires": expires_ms,
    })
}

/// Whose link it is.
pub fn welcome(member: &Member) -> String {
    json!({"company": member.company, "user": member.user}).to_string()
}

/// The cookie of a login that lasts so many seconds; none takes it away.
pub fn cookie(secret: &str, seconds: u64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{LOGIN}={secret}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_set_by_one_right() {
        let parse = |text: &str| parse_password(text.as_bytes());
        assert!(matches!(
            parse(r#"{"code":"abc","password":"long enough"}"#),
            Ok((Right::Code(_), _))
        ));
        assert!(matches!(
            parse(r#"{"old":"x","password":"long enough"}"#),
            Ok((Right::Old(_), _))
        ));
        for text in [
            r#"{"password":"long enough"}"#,
            r#"{"code":"abc","old":"x","password":"long enough"}"#,
            r#"{"code":"abc"}"#,
            r#"["abc","x","long enough"]"#,
        ] {
            let refusal = parse(text).err().expect("refused");
            assert_eq!(refusal.code, Code::BodyMalformed, "{text}");
        }
        let refusal = parse(r#"{"code":"abc","password":"short one"}"#)
            .err()
            .expect("refused");
        assert_eq!(refusal.code, Code::PasswordMalformed);
    }

    #[test]
    fn a_cookie_is_for_our_pages_only() {
        let cookie = cookie("abc", 60, true);
        assert_eq!(
            cookie,
            "streamgate=abc; Max-Age=60; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
    }
}
