//! The catalogue in memory: what a request may ask, found without waiting.
//!
//! Knows no SQL. Tokens are found by the keyed hash of their secret, which nobody outside can
//! aim at, so comparing it tells no timing.

use crate::catalogue::shelf::{Shelf, Shelved};
use crate::catalogue::{Company, Ended, Login};
use crate::domain::id::{StreamId, TokenKey};
use crate::domain::path::Path;
use crate::domain::stream::Stream;
use crate::domain::token::Token;
use crate::engine::filter::Filter;
use foldhash::fast::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A token with the hash it is found by.
pub struct Hashed {
    /// Keyed hash of the secret.
    pub hash: [u8; 32],
    /// The token.
    pub token: Arc<Token>,
}

/// All tokens and streams.
#[derive(Default)]
pub struct Mirror {
    tokens: HashMap<TokenKey, Hashed, RandomState>,
    by_hash: HashMap<[u8; 32], TokenKey, RandomState>,
    expiring: BTreeSet<(u64, TokenKey)>,
    /// Master tokens by user, the one to act with last: those that last before those that end,
    /// then by age.
    masters: HashMap<i64, BTreeSet<(bool, u64, TokenKey)>, RandomState>,
    /// Logins by the hash of their secret.
    logins: HashMap<[u8; 32], Arc<Login>, RandomState>,
    streams: HashMap<StreamId, Arc<Stream>, RandomState>,
    by_path: HashMap<Path, StreamId, RandomState>,
    /// What streams take, of those that do not take everything.
    filters: HashMap<StreamId, Filter, RandomState>,
    /// Streams by company and path.
    shelf: Shelf,
    /// Companies by name.
    companies: HashMap<String, Arc<Company>, RandomState>,
}

impl Mirror {
    /// Of everything there is.
    pub fn new(tokens: Vec<Hashed>, streams: Vec<Stream>, logins: Vec<([u8; 32], Login)>) -> Self {
        let mut mirror = Self::default();
        for (hash, login) in logins {
            mirror.put_login(hash, Some(login));
        }
        for hashed in tokens {
            mirror.put_token(hashed.token.key, Some(hashed));
        }
        for stream in streams {
            mirror.put_stream(stream.id, Some(Arc::new(stream)));
        }
        mirror
    }

    /// And of these companies.
    pub fn with_companies(mut self, companies: Vec<Company>) -> Self {
        for company in companies {
            self.put_company(company.name.to_string(), Some(company));
        }
        self
    }

    /// The company of a name.
    pub fn company(&self, name: &str) -> Option<Arc<Company>> {
        self.companies.get(name).cloned()
    }

    /// Puts a company in place of what was known of it.
    pub fn put_company(&mut self, name: String, company: Option<Company>) {
        match company {
            Some(company) => self.companies.insert(name, Arc::new(company)),
            None => self.companies.remove(&name),
        };
    }

    /// The token of a hash.
    pub fn token_by_hash(&self, hash: &[u8; 32]) -> Option<Arc<Token>> {
        let key = self.by_hash.get(hash)?;
        self.token(key)
    }

    /// The token of a key.
    pub fn token(&self, key: &TokenKey) -> Option<Arc<Token>> {
        self.tokens.get(key).map(|hashed| Arc::clone(&hashed.token))
    }

    /// The login of a hash, and its user's newest master token.
    pub fn login(&self, hash: &[u8; 32]) -> Option<(Arc<Login>, Arc<Token>)> {
        let login = self.logins.get(hash)?;
        let (_, _, key) = self.masters.get(&login.user_id)?.last()?;
        Some((Arc::clone(login), self.token(key)?))
    }

    /// Puts a login in place of what was known of it.
    pub fn put_login(&mut self, hash: [u8; 32], login: Option<Login>) {
        match login {
            Some(login) => self.logins.insert(hash, Arc::new(login)),
            None => self.logins.remove(&hash),
        };
    }

    /// A company's tokens, in no order.
    pub fn tokens_of(&self, company_id: i64) -> Vec<Arc<Token>> {
        let tokens = self.tokens.values().map(|hashed| &hashed.token);
        tokens.filter(|token| token.company_id == company_id).cloned().collect()
    }

    /// The stream of an id.
    pub fn stream(&self, id: &StreamId) -> Option<Arc<Stream>> {
        self.streams.get(id).cloned()
    }

    /// The stream at a path.
    pub fn stream_at(&self, path: &Path) -> Option<Arc<Stream>> {
        self.stream(self.by_path.get(path)?)
    }

    /// What a stream takes, if not everything.
    pub fn filter(&self, id: &StreamId) -> Option<Filter> {
        self.filters.get(id).cloned()
    }

    /// All streams.
    pub fn streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.streams.values()
    }

    /// How many streams there are.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// How many streams a company has.
    pub fn stream_count_of(&self, company: &str) -> usize {
        self.shelf.count(company)
    }

    /// A company's streams after a path, so many of them.
    pub fn streams_after(&self, company: &str, path: Option<&Path>, count: usize) -> Vec<Shelved> {
        self.shelf.after(company, path, count)
    }

    /// Puts a token in place of what was known of it.
    pub fn put_token(&mut self, key: TokenKey, hashed: Option<Hashed>) {
        let mut used_ms = 0;
        if let Some(old) = self.tokens.remove(&key) {
            used_ms = old.token.used_ms.load(Ordering::Relaxed);
            self.by_hash.remove(&old.hash);
            let expires_ms = old.token.expires_ms.unwrap_or_default();
            self.expiring.remove(&(expires_ms, key));
            if let Some((user_id, place)) = master(&old.token)
                && let Some(places) = self.masters.get_mut(&user_id)
            {
                places.remove(&place);
                if places.is_empty() {
                    self.masters.remove(&user_id);
                }
            }
        }
        let Some(hashed) = hashed else {
            return;
        };
        hashed.token.touch(used_ms);
        if let (Some(expires_ms), None) = (hashed.token.expires_ms, hashed.token.revoked_ms) {
            self.expiring.insert((expires_ms, key));
        }
        if let Some((user_id, place)) = master(&hashed.token) {
            self.masters.entry(user_id).or_default().insert(place);
        }
        self.by_hash.insert(hashed.hash, key);
        self.tokens.insert(key, hashed);
    }

    /// Puts a stream in place of what was known of it.
    pub fn put_stream(&mut self, id: StreamId, stream: Option<Arc<Stream>>) {
        if let Some(old) = self.streams.remove(&id) {
            if self.by_path.get(&old.path) == Some(&id) {
                self.by_path.remove(&old.path);
            }
            self.shelf.take(&old);
        }
        self.filters.remove(&id);
        if let Some(stream) = stream {
            // It was parsed when it was set; what does not parse any more takes nothing away.
            let filter = stream.rules.filter.as_deref();
            let parsed = filter.map(|text| Filter::parse(text, usize::MAX));
            if let Some(Ok(filter)) = parsed {
                self.filters.insert(id, filter);
            }
            self.shelf.put(&stream);
            self.by_path.insert(stream.path.clone(), id);
            self.streams.insert(id, stream);
        }
    }

    /// Tokens whose time has come since the last call.
    pub fn take_expired(&mut self, now_ms: u64) -> Vec<TokenKey> {
        let later = self.expiring.split_off(&(now_ms + 1, TokenKey([0; 8])));
        let expired = std::mem::replace(&mut self.expiring, later);
        expired.into_iter().map(|(_, key)| key).collect()
    }

    /// Takes over when tokens were used, which `before` may know better than the database.
    pub fn inherit_use(&self, before: &Mirror) {
        for (key, used_ms) in before.used_since(&HashMap::new()) {
            if let Some(hashed) = self.tokens.get(&key) {
                hashed.token.touch(used_ms);
            }
        }
    }

    /// Tokens used later than `known` says, and when.
    pub fn used_since(&self, known: &HashMap<TokenKey, u64>) -> Vec<(TokenKey, u64)> {
        let tokens = self.tokens.values().map(|hashed| &hashed.token);
        let used = tokens.map(|token| (token.key, token.used_ms.load(Ordering::Relaxed)));
        used.filter(|(key, used_ms)| *used_ms > known.get(key).copied().unwrap_or(0))
            .collect()
    }

    /// When users were signed in last, for those seen later than `known` says.
    pub fn seen_since(&self, known: &HashMap<i64, u64>) -> Vec<(i64, u64)> {
        let mut seen: HashMap<i64, u64> = HashMap::new();
        for login in self.logins.values() {
            let newest = seen.entry(login.user_id).or_default();
            *newest = login.used_ms.load(Ordering::Relaxed).max(*newest);
        }
        seen.retain(|user, used_ms| *used_ms > known.get(user).copied().unwrap_or(0));
        seen.into_iter().collect()
    }

    /// What `before` had that is no longer good or no more.
    pub fn missing_from(&self, before: &Mirror) -> Ended {
        let good = |key: &TokenKey| self.token(key).is_some_and(|token| token.revoked_ms.is_none());
        let tokens = before.tokens.keys().filter(|key| !good(key));
        let streams = before.streams.keys().filter(|id| !self.streams.contains_key(id));
        let companies = before.companies.iter();
        let guests = companies.filter_map(|(name, company)| company.guests_ended(self.company(name).as_deref()));
        Ended {
            users: Vec::new(),
            guests: guests.collect(),
            tokens: tokens.copied().collect(),
            streams: streams.copied().collect(),
            changed: Vec::new(),
        }
    }
}

/// The user of a master token, and where it stands among theirs.
fn master(token: &Token) -> Option<(i64, (bool, u64, TokenKey))> {
    let lasts = token.revoked_ms.is_none() && token.expires_ms.is_none();
    Some((token.user_id?, (lasts, token.created_ms, token.key)))
}
