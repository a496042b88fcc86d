//! Tokens: all SQL of who may do what.
//!
//! A secret is made here, returned once, and stored as a keyed hash only. Every change is written
//! down in the same transaction.

use crate::catalogue::Catalogue;
use crate::catalogue::audit::record;
use crate::catalogue::database::{exact, unsigned};
use crate::catalogue::mirror::Hashed;
use crate::catalogue::users::{UserRow, user_row};
use crate::database::now_ms;
use crate::domain::audit::{Action, Actor, Note};
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::id::{IdentityId, SYSTEM, TokenKey};
use crate::domain::path::{CompanyName, UserName};
use crate::domain::scope::{Scope, ScopeJson};
use crate::domain::token::{LAST_EXPIRY_MS, Token};
use crate::domain::visitor::Places;
use rand::RngExt;
use rand::distr::Alphanumeric;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A transaction that reads before it writes must be the writer from the start, or it can be told
/// at its first write that what it read is old.
pub(super) const AT_ONCE: &str = "begin immediate";
/// Characters of a secret, as the service whose protocol this is had them (sample on rest.octave.dev).
const SECRET_CHARS: usize = 32;
/// The longest that an old token is good beside the new one.
const MAX_OVERLAP_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Tokens that have ended and are still listed, of each company; the audit remembers all.
const ENDED_TOKENS: i64 = 1_000;

/// A token that was just made; the only time its secret is known.
pub struct Issued {
    /// Its name in public.
    pub key: TokenKey,
    /// What its holder presents.
    pub secret: String,
}

/// A restricted token to be made.
#[derive(Default)]
pub struct NewToken {
    /// What it may do.
    pub scope: Scope,
    /// What it is for.
    pub label: String,
    /// When it ends by itself, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// Where it may be used.
    pub places: Places,
}

macro_rules! token {
    ($which:literal) => {
        concat!(
            "select token.*, company.name as company, user.name as user, coalesce(user.manages, 0) as manages,
             exists (select 1 from signing_key where signing_key.token_key = token.token_key) as signs from token
             join company using (company_id) left join user using (user_id) ",
            $which
        )
    };
}

macro_rules! ending {
    ($which:literal) => {
        concat!(
            "update token set revoked_ms = iif($1, null, $2), expires_ms = iif($1, min(coalesce(expires_ms, $2), $2), expires_ms)
             where revoked_ms is null and ",
            $which
        )
    };
}

impl Catalogue {
    /// Gives a user a new master token and revokes the old one; refused with `company.unknown` or
    /// `user.unknown`.
    pub async fn rotate_user(&self, company: &CompanyName, name: &UserName, by: &Actor) -> Result<Issued, Error> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let user = user_row(&mut transaction, company, name).await?;
        end_masters(&mut transaction, user.user_id, now_ms(), 0).await?;
        let issued = self.insert_master(&mut transaction, &user).await?;
        let note = Note::with(Action::TokenRotated, issued.key, json!({"user": name, "overlap": 0}));
        record(&mut transaction, user.company_id, by, &note).await?;
        transaction.commit().await?;
        Ok(issued)
    }

    /// Makes a restricted token; refused with `company.unknown`.
    pub async fn add_token(&self, company: &CompanyName, new: &NewToken, by: &Actor) -> Result<Issued, Error> {
        if new.expires_ms.is_some_and(|expires_ms| expires_ms > LAST_EXPIRY_MS) {
            let text = "\"expires\" is milliseconds since 1970, before the year 10000";
            return Err(Refusal::new(Code::BodyMalformed, text).into());
        }
        let company_id = self.company_id(company).await?;
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let issued = self.insert_restricted(&mut transaction, company_id, new).await?;
        let detail = json!({
            "label": new.label, "paths": new.scope.to_json(), "expires": new.expires_ms,
            "origins": new.places.origins(), "addresses": new.places.addresses(),
        });
        let note = Note::with(Action::TokenCreated, issued.key, detail);
        record(&mut transaction, company_id, by, &note).await?;
        transaction.commit().await?;
        Ok(issued)
    }

    /// Ends a token; refused with `token.unknown`. Doing it twice is no mistake.
    pub async fn revoke_token(&self, key: TokenKey, by: &Actor) -> Result<(), Error> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let token = self.require_token(&mut transaction, key).await?;
        if token.revoked_ms.is_none() {
            end_token(&mut transaction, key, now_ms(), 0).await?;
            let note = Note::with(
                Action::TokenRevoked,
                key,
                json!({"label": token.label, "user": token.user}),
            );
            record(&mut transaction, token.company_id, by, &note).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Makes a token of the same rights; the old one ends after `overlap_ms`, of a user's master
    /// tokens all do. Refused with `token.unknown`, with `token.ended` if a restricted one has
    /// ended, or with `body.malformed` for an overlap beyond its bound.
    pub async fn rotate_token(&self, key: TokenKey, overlap_ms: u64, by: &Actor) -> Result<Issued, Error> {
        if overlap_ms > MAX_OVERLAP_MS {
            let text = format!("an overlap is at most {} seconds", MAX_OVERLAP_MS / 1_000);
            return Err(Refusal::new(Code::BodyMalformed, text).into());
        }
        let now_ms = now_ms();
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let old = self.require_token(&mut transaction, key).await?;
        if old.signs {
            let text = format!("{key} is a signing key; instead of rotating it add another");
            return Err(Refusal::new(Code::TokenUnknown, text).into());
        }
        let issued = match old.user_id {
            Some(user_id) => {
                end_masters(&mut transaction, user_id, now_ms, overlap_ms).await?;
                let user = UserRow {
                    user_id,
                    company_id: old.company_id,
                    identity: old.creator,
                };
                self.insert_master(&mut transaction, &user).await?
            }
            None => {
                let ended = |_| Refusal::new(Code::TokenEnded, format!("token {key} has ended"));
                old.check(now_ms).map_err(ended)?;
                end_token(&mut transaction, key, now_ms, overlap_ms).await?;
                let new = NewToken {
                    scope: old.scope.clone(),
                    label: old.label.clone(),
                    expires_ms: old.expires_ms,
                    places: old.places.clone(),
                };
                self.insert_restricted(&mut transaction, old.company_id, &new).await?
            }
        };
        let detail = json!({"old": key, "user": old.user, "label": old.label, "overlap": overlap_ms / 1_000});
        let note = Note::with(Action::TokenRotated, issued.key, detail);
        record(&mut transaction, old.company_id, by, &note).await?;
        transaction.commit().await?;
        Ok(issued)
    }

    /// A company's tokens, in the order in which they were made; refused with `company.unknown`.
    pub async fn tokens_of(&self, company: &CompanyName) -> Result<Vec<Arc<Token>>, Error> {
        let company_id = self.company_id(company).await?;
        let all = self.load_tokens().await?.into_iter().map(|hashed| hashed.token);
        Ok(all.filter(|token| token.company_id == company_id).collect())
    }

    /// Forgets tokens that have ended, beyond the newest of them; but never the last that a user
    /// has, for who is signed in acts by it.
    pub async fn sweep_tokens(&self) -> Result<(), Fault> {
        sqlx::query(
            "delete from token where token_key in (select token_key from (
                select token_key, row_number() over (
                    partition by company_id order by coalesce(revoked_ms, expires_ms) desc
                ) as place from token where coalesce(revoked_ms, expires_ms) <= $1
            ) where place > $2) and (user_id is null or exists (
                select 1 from token as newer where newer.user_id = token.user_id and newer.rowid > token.rowid
            ))",
        )
        .bind(now_ms() as i64)
        .bind(ENDED_TOKENS)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Refused with `token.unknown`.
    async fn require_token(&self, connection: &mut SqliteConnection, key: TokenKey) -> Result<Arc<Token>, Error> {
        let found = select_token(connection, key).await?;
        let unknown = || Refusal::new(Code::TokenUnknown, format!("no token {key}"));
        Ok(found.ok_or_else(unknown)?.token)
    }

    pub(super) async fn load_tokens(&self) -> Result<Vec<Hashed>, Fault> {
        let rows = sqlx::query(token!("order by token.created_ms, token.rowid"))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(parse_token).collect()
    }

    pub(super) async fn load_token(&self, key: TokenKey) -> Result<Option<Hashed>, Fault> {
        select_token(&mut *self.readers.acquire().await?, key).await
    }

    pub(super) async fn store_used(&self, used: &[(TokenKey, u64)]) -> Result<(), Fault> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        for (key, used_ms) in used {
            sqlx::query("update token set used_ms = max(coalesce(used_ms, 0), $1) where token_key = $2")
                .bind(*used_ms as i64)
                .bind(&key.0[..])
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    pub(super) async fn insert_master(
        &self,
        connection: &mut SqliteConnection,
        user: &UserRow,
    ) -> Result<Issued, Fault> {
        let issued = issue();
        sqlx::query(
            "insert into token (token_key, company_id, user_id, hash, label, creator, created_ms)
             values ($1, $2, $3, $4, 'master', $5, $6)",
        )
        .bind(&issued.key.0[..])
        .bind(user.company_id)
        .bind(user.user_id)
        .bind(&self.hash(&issued.secret)[..])
        .bind(&user.identity.bytes()[..])
        .bind(now_ms() as i64)
        .execute(connection)
        .await?;
        Ok(issued)
    }

    async fn insert_restricted(
        &self,
        connection: &mut SqliteConnection,
        company_id: i64,
        new: &NewToken,
    ) -> Result<Issued, Fault> {
        let issued = issue();
        let list = |list: &[String]| (!list.is_empty()).then(|| json!(list).to_string());
        sqlx::query(
            "insert into token (token_key, company_id, hash, scope, label, creator, created_ms, expires_ms, origins, addresses)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(&issued.key.0[..])
        .bind(company_id)
        .bind(&self.hash(&issued.secret)[..])
        .bind(json!(new.scope.to_json()).to_string())
        .bind(&new.label)
        .bind(&SYSTEM.bytes()[..])
        .bind(now_ms() as i64)
        .bind(new.expires_ms.map(|expires_ms| expires_ms as i64))
        .bind(list(new.places.origins()))
        .bind(list(&new.places.addresses()))
        .execute(connection)
        .await?;
        Ok(issued)
    }
}

async fn select_token(connection: &mut SqliteConnection, key: TokenKey) -> Result<Option<Hashed>, Fault> {
    let row = sqlx::query(token!("where token_key = $1"))
        .bind(&key.0[..])
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(parse_token).transpose()
}

/// Ends a token now, or has it end by itself; never later than it would have.
async fn end_token(
    connection: &mut SqliteConnection,
    key: TokenKey,
    now_ms: u64,
    overlap_ms: u64,
) -> Result<(), Fault> {
    sqlx::query(ending!("token_key = $3"))
        .bind(overlap_ms > 0)
        .bind((now_ms + overlap_ms) as i64)
        .bind(&key.0[..])
        .execute(connection)
        .await?;
    Ok(())
}

/// The same with all master tokens of a user.
async fn end_masters(
    connection: &mut SqliteConnection,
    user_id: i64,
    now_ms: u64,
    overlap_ms: u64,
) -> Result<(), Fault> {
    sqlx::query(ending!("user_id = $3"))
        .bind(overlap_ms > 0)
        .bind((now_ms + overlap_ms) as i64)
        .bind(user_id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Something nobody can guess, to be presented later.
pub(super) fn random_secret() -> String {
    let characters = rand::rng().sample_iter(Alphanumeric);
    characters.take(SECRET_CHARS).map(char::from).collect()
}

fn issue() -> Issued {
    Issued {
        key: TokenKey::random(),
        secret: random_secret(),
    }
}

fn parse_token(row: &SqliteRow) -> Result<Hashed, Fault> {
    let stored = |what, why: String| Fault::Stored { what, why };
    let key: Vec<u8> = row.try_get("token_key")?;
    let hash: Vec<u8> = row.try_get("hash")?;
    let creator: Vec<u8> = row.try_get("creator")?;
    let company =
        CompanyName::parse(row.try_get("company")?).map_err(|refusal| stored("company", refusal.to_string()))?;
    let user: Option<&str> = row.try_get("user")?;
    let user = user
        .map(UserName::parse)
        .transpose()
        .map_err(|refusal| stored("user", refusal.to_string()))?;
    let scope = match row.try_get::<Option<&str>, _>("scope")? {
        None => Scope::master(&company),
        Some(json) => {
            let json: ScopeJson = serde_json::from_str(json).map_err(|error| stored("scope", error.to_string()))?;
            Scope::parse(&json, &company, usize::MAX).map_err(|refusal| stored("scope", refusal.to_string()))?
        }
    };
    let places = Places::parse(&list(row, "origins")?, &list(row, "addresses")?);
    let token = Token {
        key: TokenKey(exact(&key, "token key")?),
        company_id: row.try_get("company_id")?,
        company,
        user,
        user_id: row.try_get("user_id")?,
        manages: row.try_get("manages")?,
        signs: row.try_get("signs")?,
        places: places.map_err(|refusal| stored("places", refusal.to_string()))?,
        creator: IdentityId::new(exact(&creator, "creator")?),
        scope,
        label: row.try_get("label")?,
        created_ms: unsigned(row.try_get("created_ms")?),
        expires_ms: row.try_get::<Option<i64>, _>("expires_ms")?.map(unsigned),
        revoked_ms: row.try_get::<Option<i64>, _>("revoked_ms")?.map(unsigned),
        used_ms: AtomicU64::new(row.try_get::<Option<i64>, _>("used_ms")?.map_or(0, unsigned)),
    };
    Ok(Hashed {
        hash: exact(&hash, "token hash")?,
        token: Arc::new(token),
    })
}

/// A stored JSON array of texts; nothing stands for an empty one.
fn list(row: &SqliteRow, column: &'static str) -> Result<Vec<String>, Fault> {
    let Some(text) = row.try_get::<Option<&str>, _>(column)? else {
        return Ok(Vec::new());
    };
    serde_json::from_str(text).map_err(|error| Fault::Stored {
        what: column,
        why: error.to_string(),
    })
}
