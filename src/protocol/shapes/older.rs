//! What answers look like by the names that flowthings had.

use crate::protocol::shapes::Ack;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A drop as its publisher gets it back.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct PublishedDrop {
    /// Its name.
    #[schema(pattern = "^e[0-9a-f]{24}$")]
    pub id: String,
    /// Its flow.
    pub stream_id: String,
    /// The same.
    pub flow_id: String,
    /// When it came, in milliseconds since 1970.
    pub creation_date: u64,
    /// The same.
    pub generated_date: u64,
    /// Its flow's path.
    pub path: String,
    /// Always 0.
    pub version: u64,
    /// What was published.
    pub elems: BTreeMap<String, serde_json::Value>,
    /// What the publisher named it by, if anything.
    #[schema(nullable = false)]
    pub hash: Option<String>,
    /// The same.
    #[schema(nullable = false)]
    pub fhash: Option<String>,
    /// Its place in the flow; with `ack`, `Idempotency-Key` or `If-Offset-Match`.
    #[schema(nullable = false)]
    pub offset: Option<u64>,
    /// What it reached; with the same.
    #[schema(nullable = false)]
    pub ack: Option<Ack>,
}

/// A drop as it is found: all its members but `offset`, or those that `only` names.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Drop {
    /// Its name.
    #[schema(nullable = false, pattern = "^e[0-9a-f]{24}$")]
    pub id: Option<String>,
    /// Its flow.
    #[schema(nullable = false)]
    pub stream_id: Option<String>,
    /// The same.
    #[schema(nullable = false)]
    pub flow_id: Option<String>,
    /// Its flow's path.
    #[schema(nullable = false)]
    pub path: Option<String>,
    /// Who published it.
    #[schema(nullable = false)]
    pub creator_id: Option<String>,
    /// When it came, in milliseconds since 1970.
    #[schema(nullable = false)]
    pub creation_date: Option<u64>,
    /// The same.
    #[schema(nullable = false)]
    pub generated_date: Option<u64>,
    /// What was published, or the parts of it that `only` names.
    #[schema(value_type = Option<Value>, nullable = false)]
    pub elems: Option<serde_json::Value>,
    /// What the publisher named it by.
    pub hash: Option<String>,
    /// The same, if there is one.
    #[schema(nullable = false)]
    pub fhash: Option<String>,
    /// Always null.
    pub location: Option<String>,
    /// Always empty.
    #[schema(nullable = false)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Always 0.
    #[schema(nullable = false)]
    pub version: Option<u64>,
    /// Its place in the flow.
    #[schema(nullable = false)]
    pub offset: Option<u64>,
}

/// What may be said of a flow. Members that it does not know are passed over.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct FlowWish {
    /// Where it is: needed for a new flow, and never changed.
    #[schema(max_length = 128)]
    pub path: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// How many drops it keeps (1000); 0 keeps nothing, 1 the last.
    pub capacity: Option<u64>,
    /// What it takes; null for everything.
    pub filter: Option<String>,
}

/// A token.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct OlderToken {
    /// Its id, filled up with noughts.
    #[schema(pattern = "^k[0-9a-f]{24}$")]
    pub id: String,
    /// What it may do, by path: there and on all paths below.
    pub paths: BTreeMap<String, ShownPermissions>,
    /// What it is for.
    pub description: String,
    /// When it was made, in milliseconds since 1970.
    pub creation_date: u64,
    /// How long it was made for, in milliseconds.
    #[schema(required = true)]
    pub duration: Option<u64>,
    /// In how many milliseconds it ends by itself.
    #[schema(required = true)]
    pub expires_in_ms: Option<u64>,
    /// Its secret: what goes into X-Auth-Token. It is told once, when the token is made.
    #[schema(nullable = false)]
    pub token_string: Option<String>,
}

/// What a token may do on a path.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ShownPermissions {
    /// Find drops and subscribe.
    pub drop_read: bool,
    /// Publish drops.
    pub drop_write: bool,
}
