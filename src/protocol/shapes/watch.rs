//! What the answers look like that show what is going on.

use utoipa::ToSchema;

/// How a company is doing. What it counts only rises, until the server starts anew.
#[derive(ToSchema)]
pub struct Overview {
    /// When, in milliseconds since 1970.
    pub time: u64,
    /// Sockets that are open.
    pub connections: u64,
    /// Streams that they follow, each counted as often as it is followed.
    pub subscriptions: u64,
    /// Events published.
    pub published: u64,
    /// Events delivered.
    pub delivered: u64,
    /// From publishing to a socket, lately; null if nothing was delivered.
    #[schema(required = true)]
    pub latency: Option<Latency>,
    /// The server's disk.
    pub disk: Disk,
    /// Streams that there are.
    pub streams: u64,
    /// What somebody should see to.
    pub problems: Vec<Problem>,
}

/// Milliseconds from publishing to a socket that so many of a hundred events took at most.
#[derive(ToSchema)]
pub struct Latency {
    /// Half of them.
    pub p50: f64,
    /// Ninety.
    pub p90: f64,
    /// Ninety-nine.
    pub p99: f64,
}

/// The server's disk, in bytes.
#[derive(ToSchema)]
pub struct Disk {
    /// Free.
    pub free: u64,
    /// The database.
    pub database: u64,
    /// Its write-ahead log.
    pub log: u64,
}

/// Something that somebody should see to.
#[derive(ToSchema)]
pub struct Problem {
    /// Its stable name.
    pub code: String,
    /// What it is.
    pub text: String,
    /// What to do about it.
    pub advice: String,
}

/// A part of the connections, the newest first.
#[derive(ToSchema)]
pub struct Connections {
    /// The part.
    pub connections: Vec<Connection>,
    /// How many there are.
    pub total: u64,
}

/// An open socket.
#[derive(ToSchema)]
pub struct Connection {
    /// Its name.
    pub id: String,
    /// The first half of its session's id.
    pub session: String,
    /// Its token's id.
    #[schema(pattern = "^k[0-9a-f]{16}$")]
    pub token: String,
    /// What its token is called.
    pub label: String,
    /// Whose master token it is, if it is one.
    #[schema(required = true)]
    pub user: Option<String>,
    /// What is spoken on it.
    pub protocol: String,
    /// Where it comes from.
    #[schema(required = true)]
    pub address: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// Streams that it follows.
    pub subscriptions: u32,
    /// Events handed to it.
    pub sent: u64,
    /// Bytes that wait for it to take them.
    pub waiting: u64,
}
