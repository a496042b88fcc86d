//! What the answers look like that tell of people.

use crate::protocol::shapes::VerbsShape;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Who is signed in.
#[derive(ToSchema)]
pub struct SignedIn {
    /// The company.
    pub company: String,
    /// The user.
    pub user: String,
    /// Whether the user may manage users, keys and other people's tokens.
    pub manages: bool,
    /// Until when, in milliseconds since 1970.
    pub expires: u64,
    /// The server's public address, for commands; where who is signed in was asked.
    #[schema(nullable = false)]
    pub url: Option<String>,
    /// The id of the user's master token.
    #[schema(nullable = false, pattern = "^k[0-9a-f]{16}$")]
    pub token: Option<String>,
}

/// Whose link it is.
#[derive(ToSchema)]
pub struct Welcome {
    /// The company.
    pub company: String,
    /// The user.
    pub user: String,
}

/// A token.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Token {
    /// Its id.
    #[schema(pattern = "^k[0-9a-f]{16}$")]
    pub id: String,
    /// What it is for.
    pub label: String,
    /// Whose master token it is, if it is one.
    #[schema(required = true)]
    pub user: Option<String>,
    /// What it may do, by path pattern.
    pub paths: BTreeMap<String, VerbsShape>,
    /// Pages of these origins only may use it; any, if empty.
    pub origins: Vec<String>,
    /// It may be used from these networks only; from anywhere, if empty.
    pub addresses: Vec<String>,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// When it ends by itself.
    #[schema(required = true)]
    pub expires: Option<u64>,
    /// When it was revoked.
    #[schema(required = true)]
    pub revoked: Option<u64>,
    /// When it was used last.
    #[schema(required = true)]
    pub last_used: Option<u64>,
    /// Sockets that are open with it.
    pub connections: u64,
}

/// A token that was just made.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NewToken {
    /// Its id.
    #[schema(pattern = "^k[0-9a-f]{16}$")]
    pub id: String,
    /// What it is for.
    pub label: String,
    /// Whose master token it is, if it is one.
    #[schema(required = true)]
    pub user: Option<String>,
    /// What it may do, by path pattern.
    pub paths: BTreeMap<String, VerbsShape>,
    /// Pages of these origins only may use it; any, if empty.
    pub origins: Vec<String>,
    /// It may be used from these networks only; from anywhere, if empty.
    pub addresses: Vec<String>,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// When it ends by itself.
    #[schema(required = true)]
    pub expires: Option<u64>,
    /// When it was revoked.
    #[schema(required = true)]
    pub revoked: Option<u64>,
    /// When it was used last.
    #[schema(required = true)]
    pub last_used: Option<u64>,
    /// Sockets that are open with it.
    pub connections: u64,
    /// Its secret: what goes into X-Auth-Token. It is told this once.
    pub token: String,
}

/// Whether a token may do something.
#[derive(ToSchema)]
pub struct Verdict {
    /// Whether it may.
    pub allowed: bool,
    /// The rule that decides, if one does.
    #[schema(required = true)]
    pub rule: Option<Rule>,
    /// Why, one sentence.
    pub why: String,
}

/// A rule of a token.
#[derive(ToSchema)]
pub struct Rule {
    /// Which paths.
    pub pattern: String,
    /// What it allows there.
    pub verbs: VerbsShape,
}

/// A user.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct User {
    /// The name.
    pub user: String,
    /// Whether they manage.
    pub manages: bool,
    /// When they were added, in milliseconds since 1970.
    pub created: u64,
    /// When their token was used last.
    #[schema(required = true)]
    pub last_used: Option<u64>,
    /// Whether they set a password.
    pub has_password: bool,
    /// The id of their master token.
    #[schema(required = true)]
    pub token: Option<String>,
}

/// A user who was just added.
#[derive(ToSchema)]
pub struct NewUser {
    /// The name.
    pub user: String,
    /// Whether they manage.
    pub manages: bool,
    /// Where they set a password, once.
    pub link: String,
}

/// Where a user sets another password, once.
#[derive(ToSchema)]
pub struct ResetLink {
    /// The link.
    pub link: String,
}

/// What somebody did.
#[derive(ToSchema)]
pub struct AuditEntry {
    /// Its number.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub time: u64,
    /// Who; null for restricted tokens and for strangers.
    #[schema(required = true)]
    pub user: Option<String>,
    /// With which token.
    #[schema(required = true)]
    pub token: Option<String>,
    /// From where; null for commands on the server.
    #[schema(required = true)]
    pub address: Option<String>,
    /// What was done, such as `token.created`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// What else is to be known.
    #[schema(required = true, value_type = Option<Object>)]
    pub detail: Option<serde_json::Value>,
}
