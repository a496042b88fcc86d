//! What answers look like: types that document what is rendered by hand elsewhere.
//!
//! Nothing is ever made of them but their description in the OpenAPI document. Invariant: they are
//! true, because the tests hold every answer of the server against that description.

pub mod account;
pub mod channels;
pub mod company;
pub mod older;
pub mod watch;

use crate::domain::error::Code;
use std::borrow::Cow;
use std::collections::BTreeMap;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// A stream.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Stream {
    /// Its name for programs.
    #[schema(pattern = "^s[0-9a-f]{24}$")]
    pub id: String,
    /// Its name for people: its company, then any segments.
    #[schema(max_length = 128)]
    pub path: String,
    /// What it is for.
    pub description: String,
    /// How many events it keeps; 0 keeps nothing, 1 the last.
    pub capacity: u64,
    /// Who made it.
    pub creator_id: String,
    /// When it was made, in milliseconds since 1970.
    pub creation_date: u64,
    /// When it was changed last, in milliseconds since 1970.
    #[schema(required = true)]
    pub last_edit_date: Option<u64>,
    /// Who changed it last.
    #[schema(required = true)]
    pub last_editor_id: Option<String>,
    /// What an answer to a publisher means, unless it is `durable`.
    #[schema(nullable = false)]
    pub ack: Option<Ack>,
    /// What it takes, unless everything.
    #[schema(nullable = false)]
    pub filter: Option<String>,
    /// How old events get, in seconds, unless any age.
    #[schema(nullable = false)]
    pub max_age: Option<u64>,
    /// How many bytes of events it keeps, unless any number.
    #[schema(nullable = false)]
    pub max_bytes: Option<u64>,
}

/// How safe an event is when its publisher is answered: in memory, in the operating system's hands,
/// or on the disk and synced.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Ack {
    /// A crash of the server loses it.
    Accepted,
    /// A power cut loses it.
    Written,
    /// It stays.
    Durable,
}

/// An event as its publisher gets it back.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct PublishedEvent {
    /// Its name.
    #[schema(pattern = "^e[0-9a-f]{24}$")]
    pub id: String,
    /// Its stream.
    pub stream_id: String,
    /// When it came, in milliseconds since 1970.
    pub creation_date: u64,
    /// The same.
    pub generated_date: u64,
    /// Its stream's path.
    pub path: String,
    /// Always 0.
    pub version: u64,
    /// What was published.
    pub elems: BTreeMap<String, serde_json::Value>,
    /// What the publisher named it by, if anything.
    #[schema(nullable = false)]
    pub hash: Option<String>,
    /// Its place in the stream; with `ack`, `Idempotency-Key` or `If-Offset-Match`.
    #[schema(nullable = false)]
    pub offset: Option<u64>,
    /// What it reached; with the same.
    #[schema(nullable = false)]
    pub ack: Option<Ack>,
}

/// An event as it is found: all its members but `offset`, or those that `only` names.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Event {
    /// Its name.
    #[schema(nullable = false, pattern = "^e[0-9a-f]{24}$")]
    pub id: Option<String>,
    /// Its stream.
    #[schema(nullable = false)]
    pub stream_id: Option<String>,
    /// Its stream's path.
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
    /// Always null.
    pub location: Option<String>,
    /// Always empty.
    #[schema(nullable = false)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Always 0.
    #[schema(nullable = false)]
    pub version: Option<u64>,
    /// Its place in the stream.
    #[schema(nullable = false)]
    pub offset: Option<u64>,
}

/// A row of an aggregation: what its events have in common, and what each selector of `output` tells.
#[derive(ToSchema)]
pub struct AggregateRow {
    /// By member, rule or part of a date.
    pub id: BTreeMap<String, serde_json::Value>,
    /// By selector.
    #[serde(flatten)]
    pub told: BTreeMap<String, serde_json::Value>,
}

/// A session that was opened.
#[derive(ToSchema)]
pub struct Opened {
    /// What the socket's address names: `/session/<id>/ws`. Whoever holds it may connect.
    #[schema(pattern = r"^[A-Za-z0-9_-]{11}\.[A-Za-z0-9_-]{32}$")]
    pub id: String,
    /// What a resume would find, for each stream of `positions`.
    #[schema(nullable = false)]
    pub streams: Option<BTreeMap<String, Outlook>>,
}

/// What a resume of a stream would find. A stream that is not there, or that the asker may not
/// read, has only its state: `unknown`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Outlook {
    /// How position and stream go together.
    pub state: OutlookState,
    /// Events after the position.
    #[schema(nullable = false)]
    pub behind: Option<u64>,
    /// Those of them that are gone.
    #[schema(nullable = false)]
    pub missing: Option<u64>,
    /// The oldest offset that is kept.
    #[schema(nullable = false)]
    pub first_available: Option<u64>,
    /// The newest offset.
    #[schema(nullable = false)]
    pub head: Option<u64>,
    /// How the numbering is called now.
    #[schema(nullable = false)]
    pub epoch: Option<String>,
}

/// How a position and its stream go together.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum OutlookState {
    /// Nothing came since.
    Complete,
    /// Something came, and all of it is there.
    Behind,
    /// Some of what came is gone.
    Gap,
    /// There is no such stream for the asker.
    Unknown,
}

/// What a rule allows.
#[derive(ToSchema)]
#[schema(as = Verbs)]
pub struct VerbsShape {
    /// Subscribe and find.
    #[schema(nullable = false)]
    pub read: Option<bool>,
    /// Publish.
    #[schema(nullable = false)]
    pub write: Option<bool>,
    /// Make, change and delete streams.
    #[schema(nullable = false)]
    pub manage: Option<bool>,
}

/// A key that signs JWTs; what verifies them is not shown.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct SigningKey {
    /// The token that it is.
    #[schema(pattern = "^k[0-9a-f]{16}$")]
    pub id: String,
    /// What a JWT may name it by.
    #[schema(required = true)]
    pub kid: Option<String>,
    /// The one algorithm that it is for.
    pub algorithm: SigningAlgorithm,
    /// What it is for.
    pub label: String,
    /// What whoever it signs for may do.
    pub paths: BTreeMap<String, VerbsShape>,
    /// When it was added, in milliseconds since 1970.
    pub created: u64,
    /// When it was revoked.
    #[schema(required = true)]
    pub revoked: Option<u64>,
    /// When it opened a session last.
    #[schema(required = true)]
    pub last_used: Option<u64>,
}

/// How something can be signed.
#[derive(ToSchema)]
#[schema(rename_all = "UPPERCASE")]
pub enum SigningAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

/// Any JSON object.
#[derive(ToSchema)]
pub struct AnyObject {
    /// Whatever.
    #[serde(flatten)]
    pub members: BTreeMap<String, serde_json::Value>,
}

/// Nothing.
#[derive(ToSchema)]
pub struct Nothing {}

/// Whether the server lives or is ready.
#[derive(ToSchema)]
pub struct Health {
    /// Whether it is.
    pub ok: bool,
    /// Why not.
    #[schema(nullable = false)]
    pub code: Option<Code>,
    /// Why not, in words.
    #[schema(nullable = false)]
    pub error: Option<String>,
}

/// The head of a success at `/session` and `/login`.
#[derive(ToSchema)]
pub struct SessionHead {
    /// True.
    pub ok: bool,
    /// The HTTP status.
    pub status: u16,
    /// Empty.
    pub errors: Vec<String>,
}

/// The head of a refusal at `/session` and `/login`.
#[derive(ToSchema)]
pub struct SessionRefusalHead {
    /// False.
    pub ok: bool,
    /// The HTTP status.
    pub status: u16,
    /// What happened, one sentence.
    pub errors: Vec<String>,
    /// The stable name of what happened.
    pub code: Code,
}

/// A refusal at `/session` and `/login`.
#[derive(ToSchema)]
pub struct SessionRefusal {
    /// What happened.
    pub head: SessionRefusalHead,
    /// Empty.
    pub body: Nothing,
}

/// The head of an acknowledgement.
#[derive(ToSchema)]
pub struct AcknowledgementHead {
    /// The request's own.
    #[serde(rename = "msgId")]
    pub msg_id: serde_json::Value,
    /// Whether it was done.
    pub ok: bool,
    /// The HTTP status of a refusal.
    #[schema(nullable = false)]
    pub status: Option<u16>,
    /// What happened, one sentence; empty if it was done.
    pub errors: Vec<String>,
    /// What was done, one sentence; empty if it was not.
    pub messages: Vec<String>,
    /// The stable name of what happened.
    #[schema(nullable = false)]
    pub code: Option<Code>,
}

/// The answer to a request of the session protocol.
#[derive(ToSchema)]
pub struct Acknowledgement {
    /// What became of it.
    pub head: AcknowledgementHead,
    /// What there is to tell of it.
    pub body: serde_json::Value,
}

/// The head of a success below `/v5.0`.
#[derive(ToSchema)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// True.
    pub ok: bool,
    /// What was done, one sentence.
    pub messages: Vec<String>,
    /// Empty.
    pub errors: Vec<String>,
    /// What the body refers to, by id, where it was asked for.
    pub references: BTreeMap<String, Stream>,
}

/// The head of a refusal below `/v5.0`.
#[derive(ToSchema)]
pub struct RefusalHead {
    /// The HTTP status.
    pub status: u16,
    /// False.
    pub ok: bool,
    /// Empty.
    pub messages: Vec<String>,
    /// What happened, one sentence.
    pub errors: Vec<String>,
    /// Empty.
    pub references: Nothing,
    /// The stable name of what happened.
    pub code: Code,
}

/// A refusal below `/v5.0`.
#[derive(ToSchema)]
pub struct Refusal {
    /// What happened.
    pub head: RefusalHead,
    /// Empty.
    pub body: Nothing,
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        codes(Code::ALL).into()
    }
}

impl ToSchema for Code {
    fn name() -> Cow<'static, str> {
        "Code".into()
    }
}

/// One of these codes.
pub fn codes(codes: &[Code]) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(codes.iter().map(|code| code.entry().code)))
        .build()
}
