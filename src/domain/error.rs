//! What can be refused, as one closed list, and what can fail.
//!
//! A [`Refusal`] is the client's to mend: stable code, HTTP status, close code, one sentence.
//! A [`Fault`] is ours: it keeps its source for the log and shows the client nothing of it.
//! Invariant: a code once released never changes its meaning.

use std::borrow::Cow;
use std::fmt;

/// One row of the error catalogue.
pub struct Entry {
    /// The stable name, for programs.
    pub code: &'static str,
    /// The HTTP status, also `head.status` of a failure acknowledgement.
    pub status: u16,
    /// The WebSocket close code, where the refusal ends a connection.
    pub close: Option<u16>,
    /// What to do about it.
    pub advice: &'static str,
    /// Whether the same request can succeed later.
    pub retry: bool,
}

macro_rules! catalogue {
    ($($name:ident = $code:literal, $status:literal, $close:expr, $retry:literal, $advice:literal;)*) => {
        /// Every way to be refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $advice] $name,)* }

        impl Code {
            /// All codes, in the order of the catalogue.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// What the catalogue says about this code.
            pub const fn entry(self) -> &'static Entry {
                match self {
                    $(Code::$name => &Entry { code: $code, status: $status, close: $close, advice: $advice, retry: $retry },)*
                }
            }
        }
    };
}

catalogue! {
    AuthMissing = "auth.missing", 401, None, false, "Send the headers X-Auth-Company, X-Auth-Token and, with a master token, X-Auth-User; or sign in.";
    AuthRefused = "auth.refused", 401, None, false, "Check company, user and token; the server's log says which of them was wrong.";
    JwtRefused = "jwt.refused", 401, None, false, "Check the JWT's company, key, algorithm and times; the server's log says what was wrong.";
    JwtExpired = "jwt.expired", 401, None, false, "Sign a new JWT.";
    SessionUnknown = "session.unknown", 401, None, false, "Open a session with POST /session and use its id unchanged.";
    SessionLapsed = "session.lapsed", 401, None, false, "Open a new session with POST /session; connect within its time to live.";
    SessionMoved = "session.moved", 409, None, true, "Read where the session is read now, or open its address again to read here.";
    TokenRevoked = "token.revoked", 401, Some(4001), false, "Ask for a new token, then open a new session with it.";
    TokenExpired = "token.expired", 401, Some(4002), false, "Ask for a new token, then open a new session with it.";
    TicketRefused = "ticket.refused", 401, None, false, "Get a token with POST /api/v1/connections/ (or /api/v1/tokens/ for a channel) and use it unchanged.";
    TicketExpired = "ticket.expired", 401, None, false, "Get a new token; connection and channel tokens are good for five minutes.";
    TicketUsed = "ticket.used", 409, None, true, "Get a token of its own for each client, or close the connection that has this one.";
    OriginDenied = "origin.denied", 403, None, false, "Add the page's origin to STREAMGATE_ALLOWED_ORIGINS, or to the token's origins.";
    AddressDenied = "address.denied", 403, None, false, "Come from a network that the token lists, or use another token.";
    ScopeDenied = "scope.denied", 403, None, false, "Use a token or session whose scope allows this verb on this path.";
    ChannelDenied = "channel.denied", 403, None, false, "Do what the text says, or change the company's settings allowClientSend, allowChannelSubscription or allowChannelAuthorization.";
    StreamUnknown = "stream.unknown", 404, None, false, "Create the stream first, or check its id or path.";
    StreamExists = "stream.exists", 409, None, false, "Use the stream that is there, or another path.";
    CompanyUnknown = "company.unknown", 404, None, false, "Create it with: streamgate company add NAME";
    CompanyExists = "company.exists", 409, None, false, "Use the company that is there, or another name.";
    UserUnknown = "user.unknown", 404, None, false, "Create the user with: streamgate user add COMPANY NAME";
    UserExists = "user.exists", 409, None, false, "For a new token use: streamgate user rotate COMPANY NAME";
    UserLast = "user.last", 409, None, false, "Have another user manage first; nobody removes themselves.";
    TokenUnknown = "token.unknown", 404, None, false, "List the tokens with: streamgate token list COMPANY";
    TokenEnded = "token.ended", 409, None, false, "Make a new token; one that has ended cannot be rotated.";
    LinkUnknown = "link.unknown", 404, None, false, "Ask for a new link: each is good once, for a day.";
    RouteUnknown = "route.unknown", 404, None, false, "The README lists every route.";
    MethodUnknown = "method.unknown", 405, None, false, "The header Allow lists what this route takes.";
    NameMalformed = "name.malformed", 400, None, false, "Use another name; the text says what it may hold.";
    PasswordMalformed = "password.malformed", 400, None, false, "Use a longer password, or one of fewer than 1024 bytes.";
    PathMalformed = "path.malformed", 400, None, false, "A path is /<company>/<segment>…, at most 128 characters.";
    ChannelMalformed = "channel.malformed", 400, None, false, "A channel is letters and digits in parts with a dot between them, at most 100 characters, and no reserved word.";
    BodyMalformed = "body.malformed", 400, None, false, "Correct the body; the text says where it stops being right.";
    BodyEncoding = "body.encoding", 415, None, false, "Send the body as it is or with Content-Encoding gzip.";
    ConnectionUnknown = "connection.unknown", 404, None, false, "List the connections that there are; this one has ended.";
    EventMalformed = "event.malformed", 400, None, false, "An event is {\"elems\":{…}}, optionally with \"hash\" and \"path\".";
    EventUnknown = "event.unknown", 404, None, false, "Check the event's id; the stream may have let go of it.";
    EventRepeated = "event.repeated", 409, None, false, "Nothing: the stream has an event of this hash already. For another event use another hash.";
    EventFiltered = "event.filtered", 422, None, false, "Send what the stream's filter accepts, or change the filter.";
    FilterMalformed = "filter.malformed", 400, None, false, "Correct the filter at the character that the text names.";
    OffsetMismatch = "offset.mismatch", 412, None, false, "Read what came since, then publish with the offset that the text names.";
    KeyMalformed = "key.malformed", 400, None, false, "An Idempotency-Key is 1 to 255 printable ASCII characters, best a random one a request.";
    KeyReused = "key.reused", 409, None, false, "Use a new Idempotency-Key for another request.";
    KeyBusy = "key.busy", 409, None, true, "The first request of this Idempotency-Key is not answered yet; try again in a moment.";
    QueryMalformed = "query.malformed", 400, None, false, "Correct the query parameter that the text names.";
    MetaMalformed = "meta.malformed", 400, None, false, "Name a part of the user's meta by members and dots, such as a.b.";
    FrameMalformed = "frame.malformed", 400, None, false, "Send one JSON object a text frame.";
    RequestUnknown = "request.unknown", 400, None, false, "Use type subscribe, unsubscribe, create, find, findmany, update, delete or heartbeat.";
    RequestUnsupported = "request.unsupported", 501, None, false, "Leave out the field that the text names.";
    TlsWanted = "tls.wanted", 400, None, false, "Use https:// or wss:// with this address.";
    UpgradeMalformed = "upgrade.malformed", 400, None, false, "Open the address with a WebSocket client (RFC 6455, version 13).";
    FrameProtocol = "frame.protocol", 400, Some(1002), false, "Use a WebSocket client that keeps to RFC 6455.";
    FrameBinary = "frame.binary", 400, Some(1003), false, "Send text frames.";
    FrameEncoding = "frame.encoding", 400, Some(1007), false, "Send UTF-8 in text frames.";
    FrameSize = "frame.size", 413, Some(1009), false, "Send smaller frames, or raise STREAMGATE_MAX_FRAME_BYTES.";
    LimitBody = "limit.body", 413, None, false, "Send less at once, or raise STREAMGATE_MAX_BODY_BYTES.";
    LimitBatch = "limit.batch", 413, None, false, "Send fewer events at once, or raise STREAMGATE_MAX_BATCH_EVENTS.";
    LimitDepth = "limit.depth", 400, None, false, "Nest less deeply, or raise STREAMGATE_MAX_JSON_DEPTH.";
    LimitCapacity = "limit.capacity", 400, None, false, "Ask for less, or raise STREAMGATE_MAX_CAPACITY.";
    LimitStreams = "limit.streams", 429, None, false, "Delete streams, or raise STREAMGATE_MAX_STREAMS.";
    LimitTokens = "limit.tokens", 429, None, false, "Revoke tokens, or raise STREAMGATE_MAX_TOKENS.";
    LimitUsers = "limit.users", 429, None, false, "Remove users, or raise STREAMGATE_MAX_USERS.";
    LimitAttempts = "limit.attempts", 429, None, true, "Wait for as long as the header Retry-After says, then try again.";
    LimitSigning = "limit.signing", 429, None, false, "Revoke signing keys that are not used any more.";
    LimitRate = "limit.rate", 429, None, true, "Do it less often, or raise STREAMGATE_RATE_SESSIONS or STREAMGATE_RATE_EVENTS.";
    LimitText = "limit.text", 400, None, false, "Use a shorter text, or raise STREAMGATE_MAX_TEXT_BYTES.";
    LimitMeta = "limit.meta", 400, None, false, "Store less, or raise STREAMGATE_MAX_META_BYTES.";
    LimitPatterns = "limit.patterns", 400, None, false, "Use fewer patterns, or raise STREAMGATE_MAX_PATTERNS.";
    LimitSubscriptions = "limit.subscriptions", 429, None, true, "Unsubscribe from something, or raise STREAMGATE_MAX_SUBSCRIPTIONS or STREAMGATE_MAX_KEPT_SUBSCRIPTIONS.";
    LimitConnections = "limit.connections", 429, None, true, "Close connections or try later, or raise STREAMGATE_MAX_CONNECTIONS or STREAMGATE_MAX_COMPANY_CONNECTIONS.";
    LimitSessions = "limit.sessions", 429, None, true, "Let sessions lapse, or raise STREAMGATE_MAX_SESSIONS or STREAMGATE_MAX_TOKEN_SESSIONS.";
    LimitFilter = "limit.filter", 400, None, false, "Use fewer, shorter or flatter filters, or raise STREAMGATE_MAX_FILTER_BYTES or STREAMGATE_MAX_FILTERS.";
    LimitFind = "limit.find", 400, None, false, "Ask for fewer events at once, or raise STREAMGATE_MAX_FIND_EVENTS.";
    LimitKeys = "limit.keys", 429, None, true, "Use fewer Idempotency-Keys, raise STREAMGATE_MAX_KEY_BYTES or shorten STREAMGATE_KEY_WINDOW.";
    LimitRequests = "limit.requests", 429, None, true, "Wait for answers before asking for more, or raise STREAMGATE_MAX_OPEN_REQUESTS.";
    LimitPending = "limit.pending", 503, None, true, "Publish more slowly: the disk does not keep up. Or raise STREAMGATE_MAX_PENDING_BYTES.";
    ConnectionClosed = "connection.closed", 410, Some(4004), true, "An operator closed this connection; connect again if it is still wanted.";
    ReaderSlow = "reader.slow", 503, Some(4003), true, "Read faster, or subscribe with another whenSlow; then connect again and resume from the last offset.";
    LogFull = "log.full", 503, None, true, "Make room on the server's disk; publishing goes on by itself.";
    LogUnavailable = "log.unavailable", 503, None, true, "The server's disk fails; its log has the cause. Publishing goes on by itself once it writes again.";
    RequestTimeout = "request.timeout", 408, None, true, "Send the request's body without long pauses.";
    ServerStopping = "server.stopping", 503, Some(1001), true, "Connect again in a moment.";
    ServerFault = "server.fault", 500, Some(1011), true, "Nothing to mend on your side; the server's log has the cause.";
}

/// Why something was not done, in words for the one who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// One sentence of what happened; never a token, a session id or a payload.
    pub text: Cow<'static, str>,
    /// Seconds after which it can succeed, where that is known.
    pub wait_s: Option<u32>,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        let (text, wait_s) = (text.into(), None);
        Self { code, text, wait_s }
    }

    /// One that can succeed after so many seconds.
    pub fn later(code: Code, text: impl Into<Cow<'static, str>>, wait_s: u32) -> Self {
        let wait_s = Some(wait_s);
        Self {
            wait_s,
            ..Self::new(code, text)
        }
    }

    /// The one answer for a stream that does not exist or that the asker must not know of.
    pub fn no_stream(name: impl fmt::Display) -> Self {
        Self::new(Code::StreamUnknown, format!("no stream at {name}"))
    }
}

/// What goes wrong on our side.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The database failed.
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    /// The migrations failed.
    #[error("migration: {0}")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The operating system failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The database file is damaged.
    #[error(
        "the database is damaged: {0}; stop whatever uses it, keep a copy of it, and put a backup in its place \
         (streamgate verify FILE tells whether one is sound)"
    )]
    Damaged(String),
    /// What is stored is not what we wrote.
    #[error("stored {what} is not valid: {why}")]
    Stored {
        /// Which kind of value.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl Fault {
    /// What it is called for those who wait for something to be written.
    pub fn log_code(&self) -> Code {
        match self.sqlite_code() {
            Some(SQLITE_FULL) => Code::LogFull,
            _ => Code::LogUnavailable,
        }
    }

    /// Whether the disk is full.
    pub fn is_full_disk(&self) -> bool {
        self.sqlite_code() == Some(SQLITE_FULL)
    }

    /// The primary result code, the low byte of an extended one.
    fn sqlite_code(&self) -> Option<i64> {
        let Fault::Database(sqlx::Error::Database(error)) = self else {
            return None;
        };
        Some(error.code()?.parse::<i64>().ok()? & 0xff)
    }
}

/// SQLite's result code for a disk without room.
const SQLITE_FULL: i64 = 13;

/// Either.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Theirs.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// Ours.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What SQLite says when it reads what it has not written: its result codes, low byte.
const DAMAGED: [i64; 2] = [11, 26];

/// Whether the database itself is damaged, not just out of reach.
fn tells_damage(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    let code = error.code().and_then(|code| code.parse::<i64>().ok());
    code.is_some_and(|code| DAMAGED.contains(&(code & 0xff)))
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match tells_damage(&error) {
            true => Fault::Damaged(error.to_string()),
            false => Fault::Database(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for Fault {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};
        match error {
            Execute(error) | ExecuteMigration(error, _) if tells_damage(&error) => Fault::Damaged(error.to_string()),
            error => Fault::Migration(error),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::Fault(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_close_codes_are_legal() {
        let mut seen = std::collections::HashSet::new();
        for entry in Code::ALL.iter().map(|code| code.entry()) {
            assert!(seen.insert(entry.code), "{} twice", entry.code);
            assert!((400..600).contains(&entry.status), "{}", entry.code);
            if let Some(close) = entry.close {
                assert!(matches!(close, 1001..=1003 | 1007..=1011 | 4000..=4099));
            }
        }
    }
}
