//! What the answers look like that tell of a company.

use utoipa::ToSchema;

/// What a company says of itself.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct CompanySettings {
    /// Whether clients of channels may publish.
    pub allow_client_send: bool,
    /// Whether they may subscribe.
    pub allow_channel_subscription: bool,
    /// Whether they need a token of the channel for it.
    pub allow_channel_authorization: bool,
    /// Whether a channel that nobody declared as a stream exists while it is used.
    pub allow_undeclared_channels: bool,
    /// Regular expressions, one of which must be found in the origin of who connects to notices.
    pub approved_socket_domains: Vec<String>,
    /// Whether who connects to notices without a key may read and write what is kept of users.
    pub allow_meta_without_key: bool,
}

/// What is to be different about a company's settings; what is not named stays as it is.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct CompanyChange {
    /// Whether clients of channels may publish.
    #[schema(nullable = false)]
    pub allow_client_send: Option<bool>,
    /// Whether they may subscribe.
    #[schema(nullable = false)]
    pub allow_channel_subscription: Option<bool>,
    /// Whether they need a token of the channel for it.
    #[schema(nullable = false)]
    pub allow_channel_authorization: Option<bool>,
    /// Whether a channel that nobody declared as a stream exists while it is used.
    #[schema(nullable = false)]
    pub allow_undeclared_channels: Option<bool>,
    /// Regular expressions, one of which must be found in the origin of who connects to notices.
    #[schema(nullable = false, max_items = 64)]
    pub approved_socket_domains: Option<Vec<String>>,
    /// Whether who connects to notices without a key may read and write what is kept of users.
    #[schema(nullable = false)]
    pub allow_meta_without_key: Option<bool>,
}
