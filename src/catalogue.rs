//! Companies, users, logins, tokens and streams: SQLite, and a mirror of it in memory.
//!
//! Reads are answered by the mirror, without waiting; writes go to the database, whose triggers
//! note what changed, and the mirror follows those notes. So a change made by another process on
//! the same file is seen like our own. Invariant: the mirror never knows what the database has not.

mod audit;
mod companies;
mod database;
mod keys;
mod logins;
mod meta;
mod mirror;
mod shelf;
mod streams;
mod tokens;
mod users;

pub use crate::database::now_ms;
pub use companies::Company;
pub use keys::{ListedKey, NewKey, SigningKey};
pub use logins::{Member, Opened, not_signed_in};
pub use shelf::Shelved;
pub use tokens::{Issued, NewToken};
pub use users::Enrolled;

use crate::catalogue::mirror::Mirror;
use crate::database::Database;
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::id::{StreamId, TokenKey};
use crate::domain::path::{CompanyName, Path, UserName};
use crate::domain::stream::{Stream, Target};
use crate::domain::token::Token;
use crate::engine::filter::Filter;
use crate::metrics::Metrics;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::RwLock;
use sha2::Sha256;
use sqlx::SqlitePool;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of the last change before anything was read.
const NOTHING: i64 = -1;

/// The catalogue of one database file.
pub struct Catalogue {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Follows changes, and never waits behind somebody's long list.
    follower: SqlitePool,
    secret: [u8; 32],
    token_hash: Hmac<Sha256>,
    login_hash: Hmac<Sha256>,
    link_hash: Hmac<Sha256>,
    mirror: RwLock<Mirror>,
    keys: keys::Keys,
    /// Held while following changes, so that they are applied in order.
    followed: tokio::sync::Mutex<Followed>,
    used: parking_lot::Mutex<HashMap<TokenKey, u64>>,
    seen: parking_lot::Mutex<HashMap<i64, u64>>,
    metrics: Arc<Metrics>,
}

/// Somebody is signed in, in one browser.
pub struct Login {
    /// The user's row.
    pub user_id: i64,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: u64,
    /// When it was used last since it is known; 0 is never.
    used_ms: AtomicU64,
}

/// How far the mirror has come.
struct Followed {
    /// The last change that it knows.
    number: i64,
    /// What ended and nobody has been told of yet.
    ended: Ended,
}

/// What is no more, or different, since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Tokens revoked or expired.
    pub tokens: Vec<TokenKey>,
    /// Streams deleted.
    pub streams: Vec<StreamId>,
    /// Streams that are new or different.
    pub changed: Vec<Arc<Stream>>,
    /// Users who were removed.
    pub users: Vec<(CompanyName, UserName)>,
    /// Guests of companies that approve of less than they did.
    pub guests: Vec<TokenKey>,
}

impl Catalogue {
    /// Of a file that nobody has opened yet, for who needs nothing else of it.
    pub async fn open_file(url: &str, metrics: Arc<Metrics>) -> Result<Self, Fault> {
        let (file, writer) = Database::open(url).await?;
        Self::open(&file, writer, metrics).await
    }

    /// Of a file that `writer` opened. The mirror is empty until the first [`Catalogue::refresh`].
    pub async fn open(file: &Database, writer: SqlitePool, metrics: Arc<Metrics>) -> Result<Self, Fault> {
        let secret = database::signing_secret(&writer).await?;
        Ok(Self {
            writer,
            readers: file.readers(),
            follower: file.reader(),
            secret,
            token_hash: derive(&secret, "streamgate token hash 1"),
            login_hash: derive(&secret, "streamgate login hash 1"),
            link_hash: derive(&secret, "streamgate link hash 1"),
            mirror: RwLock::default(),
            keys: keys::Keys::default(),
            followed: tokio::sync::Mutex::new(Followed {
                number: NOTHING,
                ended: Ended::default(),
            }),
            used: parking_lot::Mutex::default(),
            seen: parking_lot::Mutex::default(),
            metrics,
        })
    }

    /// A key of our own for `purpose`; another purpose's tells nothing about it.
    pub fn key_for(&self, purpose: &str) -> Hmac<Sha256> {
        derive(&self.secret, purpose)
    }

    /// Who presents these three. The refusal never says which of them was wrong; the log does.
    pub fn authenticate(&self, company: &str, user: Option<&str>, secret: &str) -> Result<Arc<Token>, Refusal> {
        self.presented(company, secret, |token| {
            token.user.as_ref().map(UserName::as_str) == user
        })
    }

    /// Who presents a company and a token, and says no more. Refused like [`Catalogue::authenticate`].
    pub fn authenticate_of(&self, company: &str, secret: &str) -> Result<Arc<Token>, Refusal> {
        self.presented(company, secret, |_| true)
    }

    fn presented(
        &self,
        company: &str,
        secret: &str,
        is_users: impl FnOnce(&Token) -> bool,
    ) -> Result<Arc<Token>, Refusal> {
        let hash = self.hash(secret);
        let token = self.mirror.read().token_by_hash(&hash);
        let wrong = match &token {
            None => Some("unknown token"),
            Some(token) if token.company.as_str() != company => Some("the token is another company's"),
            Some(token) if !is_users(token) => Some("the token is not this user's"),
            Some(_) => None,
        };
        let refused = || Refusal::new(Code::AuthRefused, "company, user and token do not go together");
        if let Some(wrong) = wrong {
            tracing::info!(key = token.map(|token| token.key.to_string()), "not signed in: {wrong}");
            return Err(refused());
        }
        let token = token.ok_or_else(refused)?;
        let now_ms = now_ms();
        token.check(now_ms)?;
        token.touch(now_ms);
        Ok(token)
    }

    /// Whoever holds this token, whosever it is. Refused with `auth.refused`, or because the token has ended.
    pub fn authenticate_key(&self, secret: &str) -> Result<Arc<Token>, Refusal> {
        let token = self.mirror.read().token_by_hash(&self.hash(secret));
        let token = token.ok_or_else(|| Refusal::new(Code::AuthRefused, "the key is not known"))?;
        let now_ms = now_ms();
        token.check(now_ms)?;
        token.touch(now_ms);
        Ok(token)
    }

    /// The login of a secret, and the master token of its user, good or not; none if it has ended.
    pub fn login(&self, secret: &str) -> Option<(Arc<Login>, Arc<Token>)> {
        let found = self.mirror.read().login(&self.login_hash(secret));
        let now_ms = now_ms();
        let (login, token) = found.filter(|(login, _)| login.expires_ms > now_ms)?;
        login.used_ms.fetch_max(now_ms, Ordering::Relaxed);
        Some((login, token))
    }

    /// A company's tokens, in no order.
    pub fn tokens(&self, company_id: i64) -> Vec<Arc<Token>> {
        self.mirror.read().tokens_of(company_id)
    }

    /// A token, good or not.
    pub fn any_token(&self, key: TokenKey) -> Option<Arc<Token>> {
        self.mirror.read().token(&key)
    }

    /// A token that is used and still good.
    pub fn token(&self, key: TokenKey) -> Result<Arc<Token>, Refusal> {
        let now_ms = now_ms();
        let token = self.good_token(key, now_ms)?;
        token.touch(now_ms);
        Ok(token)
    }

    /// Refused when a token is no longer good.
    pub fn check_token(&self, key: TokenKey) -> Result<(), Refusal> {
        if key.is_guest() {
            return Ok(());
        }
        self.good_token(key, now_ms()).map(|_| ())
    }

    fn good_token(&self, key: TokenKey, now_ms: u64) -> Result<Arc<Token>, Refusal> {
        let token = self.mirror.read().token(&key);
        let token = token.ok_or_else(|| Refusal::new(Code::TokenRevoked, "the token was revoked"))?;
        token.check(now_ms)?;
        Ok(token)
    }

    /// How many streams a company has.
    pub fn stream_count(&self, company: &str) -> usize {
        self.mirror.read().stream_count_of(company)
    }

    /// A company's streams after a path, so many of them.
    pub fn streams_after(&self, company: &str, path: Option<&Path>, count: usize) -> Vec<Shelved> {
        self.mirror.read().streams_after(company, path, count)
    }

    /// The stream somebody means, whoever's it is.
    pub fn find(&self, target: &Target) -> Option<Arc<Stream>> {
        let mirror = self.mirror.read();
        match target {
            Target::Id(id) => mirror.stream(id),
            Target::Path(path) => mirror.stream_at(path),
        }
    }

    /// What a stream takes, if not everything.
    pub fn filter(&self, id: &StreamId) -> Option<Filter> {
        self.mirror.read().filter(id)
    }

    /// All streams.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.mirror.read().streams().cloned().collect()
    }

    /// Follows what changed in the database, and returns what ended by that or by its time.
    ///
    /// What ended is kept until it is returned, so that a caller who gives up half-way, or a
    /// database that fails half-way, leaves it to the next caller.
    pub async fn refresh(&self) -> Result<Ended, Fault> {
        let mut followed = self.followed.lock().await;
        let changes = database::changes_after(&self.follower, followed.number).await?;
        let missed_some = changes.first().is_some_and(|first| first.number > followed.number + 1);
        if followed.number == NOTHING || missed_some {
            self.reload(&mut followed).await?;
        } else {
            for change in changes {
                let number = change.number;
                self.follow(change, &mut followed.ended).await?;
                followed.number = number;
            }
        }
        let mut mirror = self.mirror.write();
        followed.ended.tokens.extend(mirror.take_expired(now_ms()));
        self.metrics.streams.set(mirror.stream_count() as i64);
        Ok(std::mem::take(&mut followed.ended))
    }

    /// Writes down when tokens and logins were used, for those used since the last call.
    pub async fn write_used(&self) -> Result<(), Fault> {
        let used = self.mirror.read().used_since(&self.used.lock());
        if !used.is_empty() {
            self.store_used(&used).await?;
            self.used.lock().extend(used);
        }
        let seen = self.mirror.read().seen_since(&self.seen.lock());
        if !seen.is_empty() {
            self.store_seen(&seen).await?;
            self.seen.lock().extend(seen);
        }
        Ok(())
    }

    /// Whether the database answers.
    pub async fn check(&self) -> Result<(), Fault> {
        database::newest_change(&self.follower).await?;
        Ok(())
    }

    async fn follow(&self, change: database::Change, ended: &mut Ended) -> Result<(), Fault> {
        match change.subject {
            database::Subject::Token(key) => {
                let token = self.load_token(key).await?;
                if token
                    .as_ref()
                    .is_none_or(|hashed| hashed.token.check(now_ms()).is_err())
                {
                    ended.tokens.push(key);
                }
                self.mirror.write().put_token(key, token);
                self.follow_key(key).await?;
            }
            database::Subject::Stream(id) => {
                let stream = self.load_stream(id).await?;
                let stream = stream.map(Arc::new);
                match &stream {
                    Some(stream) => ended.changed.push(Arc::clone(stream)),
                    None => ended.streams.push(id),
                }
                self.mirror.write().put_stream(id, stream);
            }
            database::Subject::Company(name) => {
                let company = self.load_company(&name).await?;
                let mut mirror = self.mirror.write();
                let before = mirror.company(&name);
                ended
                    .guests
                    .extend(before.and_then(|before| before.guests_ended(company.as_ref())));
                mirror.put_company(name, company);
            }
            database::Subject::User(company, user) => {
                let names = CompanyName::parse(&company).and_then(|company| Ok((company, UserName::parse(&user)?)));
                ended.users.extend(names);
            }
            database::Subject::Login(hash) => {
                let login = self.load_login(&hash).await?;
                self.mirror.write().put_login(hash, login);
            }
        }
        Ok(())
    }

    /// Reads everything; what changes meanwhile is noted after the number taken first.
    async fn reload(&self, followed: &mut Followed) -> Result<(), Fault> {
        let newest = database::newest_change(&self.follower).await?;
        let mirror = Mirror::new(
            self.load_tokens().await?,
            self.load_streams().await?,
            self.load_logins().await?,
        );
        let mirror = mirror.with_companies(self.load_companies().await?);
        self.reload_keys().await?;
        let mut current = self.mirror.write();
        mirror.inherit_use(&current);
        let before = std::mem::replace(&mut *current, mirror);
        let ended = current.missing_from(&before);
        followed.ended.tokens.extend(ended.tokens);
        followed.ended.guests.extend(ended.guests);
        followed.ended.streams.extend(ended.streams);
        followed.ended.changed = current.streams().cloned().collect();
        followed.number = newest;
        Ok(())
    }

    fn hash(&self, secret: &str) -> [u8; 32] {
        keyed(&self.token_hash, secret)
    }

    fn login_hash(&self, secret: &str) -> [u8; 32] {
        keyed(&self.login_hash, secret)
    }

    fn link_hash(&self, code: &str) -> [u8; 32] {
        keyed(&self.link_hash, code)
    }
}

fn keyed(key: &Hmac<Sha256>, secret: &str) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(secret.as_bytes());
    mac.finalize().into_bytes().into()
}

fn derive(secret: &[u8; 32], purpose: &str) -> Hmac<Sha256> {
    let root = Hmac::<Sha256>::new_from_slice(secret);
    let mut root = root.expect("HMAC takes a key of any length");
    root.update(purpose.as_bytes());
    let key = root.finalize().into_bytes();
    Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length")
}

/// Turns a broken named constraint into the refusal it stands for.
fn on_constraint(error: sqlx::Error, constraint: &str, refusal: Refusal) -> Error {
    match error.as_database_error() {
        Some(database) if database.is_unique_violation() && database.message().contains(constraint) => refusal.into(),
        _ => error.into(),
    }
}
