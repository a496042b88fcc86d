//! What the answers look like that tell of people.

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
