//! Companies, users and tokens: all SQL of who may do what.
//!
//! A secret is made here, returned once, and stored as a keyed hash only.

use crate::catalogue::database::{exact, unsigned};
use crate::catalogue::mirror::Hashed;
use crate::catalogue::{Catalogue, on_constraint};
use crate::database::now_ms;
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::id::{IdentityId, SYSTEM, TokenKey};
use crate::domain::path::{CompanyName, UserName};
use crate::domain::scope::{Scope, ScopeJson};
use crate::domain::token::Token;
use rand::RngExt;
use rand::distr::Alphanumeric;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A transaction that reads before it writes must be the writer from the start, or it can be told
/// at its first write that what it read is old.
const AT_ONCE: &str = "begin immediate";
/// Characters of a secret, as the service whose protocol this is had them (sample on rest.octave.dev).
const SECRET_CHARS: usize = 32;

/// A token that was just made; the only time its secret is known.
pub struct Issued {
    /// Its name in public.
    pub key: TokenKey,
    /// What its holder presents.
    pub secret: String,
}

/// A restricted token to be made.
pub struct NewToken {
    /// What it may do.
    pub scope: Scope,
    /// What it is for.
    pub label: String,
    /// When it ends by itself, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

impl Catalogue {
    /// Whether nobody has used this database: no token, and no company but perhaps `demo`, left by
    /// a first start that did not come to its end.
    pub async fn is_fresh(&self, demo: &CompanyName) -> Result<bool, Fault> {
        let used = "select (select count(*) from token) + (select count(*) from company where name <> $1)";
        let used: i64 = sqlx::query_scalar(used)
            .bind(demo.as_str())
            .fetch_one(&self.readers)
            .await?;
        Ok(used == 0)
    }

    /// Adds a company; refused with `company.exists`.
    pub async fn add_company(&self, name: &CompanyName) -> Result<(), Error> {
        let taken = Refusal::new(Code::CompanyExists, format!("there is a company {name} already"));
        sqlx::query("insert into company (name, created_ms) values ($1, $2)")
            .bind(name.as_str())
            .bind(now_ms() as i64)
            .execute(&self.writer)
            .await
            .map_err(|error| on_constraint(error, "company.name", taken))?;
        Ok(())
    }

    /// Adds a user with a master token; refused with `company.unknown` or `user.exists`.
    pub async fn add_user(&self, company: &CompanyName, name: &UserName) -> Result<Issued, Error> {
        let company_id = self.company_id(company).await?;
        let taken = Refusal::new(Code::UserExists, format!("there is a user {name} in {company} already"));
        let identity = IdentityId::random();
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let user_id = sqlx::query("insert into user (company_id, name, identity, created_ms) values ($1, $2, $3, $4)")
            .bind(company_id)
            .bind(name.as_str())
            .bind(&identity.bytes()[..])
            .bind(now_ms() as i64)
            .execute(&mut *transaction)
            .await
            .map_err(|error| on_constraint(error, "user.name", taken))?
            .last_insert_rowid();
        let issued = self
            .insert_master(&mut transaction, company_id, user_id, identity)
            .await?;
        transaction.commit().await?;
        Ok(issued)
    }

    /// Gives a user a new master token and revokes the old one.
    pub async fn rotate_user(&self, company: &CompanyName, name: &UserName) -> Result<Issued, Error> {
        let company_id = self.company_id(company).await?;
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let user = sqlx::query("select user_id, identity from user where company_id = $1 and name = $2")
            .bind(company_id)
            .bind(name.as_str())
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| Refusal::new(Code::UserUnknown, format!("no user {name} in {company}")))?;
        let user_id: i64 = user.try_get("user_id")?;
        let identity: Vec<u8> = user.try_get("identity")?;
        let identity = IdentityId::new(exact(&identity, "identity")?);
        sqlx::query("update token set revoked_ms = $1 where user_id = $2 and revoked_ms is null")
            .bind(now_ms() as i64)
            .bind(user_id)
            .execute(&mut *transaction)
            .await?;
        let issued = self
            .insert_master(&mut transaction, company_id, user_id, identity)
            .await?;
        transaction.commit().await?;
        Ok(issued)
    }

    /// Makes a restricted token; refused with `company.unknown`.
    pub async fn add_token(&self, company: &CompanyName, new: &NewToken) -> Result<Issued, Error> {
        let company_id = self.company_id(company).await?;
        let issued = issue();
        let scope = serde_json::to_string(&new.scope.to_json()).map_err(|error| Fault::Io(error.into()))?;
        sqlx::query(
            "insert into token (token_key, company_id, hash, scope, label, creator, created_ms, expires_ms)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&issued.key.0[..])
        .bind(company_id)
        .bind(&self.hash(&issued.secret)[..])
        .bind(scope)
        .bind(&new.label)
        .bind(&SYSTEM.bytes()[..])
        .bind(now_ms() as i64)
        .bind(new.expires_ms.map(|expires_ms| expires_ms as i64))
        .execute(&self.writer)
        .await?;
        Ok(issued)
    }

    /// Ends a token; refused with `token.unknown`. Doing it twice is no mistake.
    pub async fn revoke_token(&self, key: TokenKey) -> Result<(), Error> {
        let done = sqlx::query("update token set revoked_ms = coalesce(revoked_ms, $1) where token_key = $2")
            .bind(now_ms() as i64)
            .bind(&key.0[..])
            .execute(&self.writer)
            .await?;
        if done.rows_affected() == 0 {
            return Err(Refusal::new(Code::TokenUnknown, format!("no token {key}")).into());
        }
        Ok(())
    }

    /// A company's tokens, in the order in which they were made; refused with `company.unknown`.
    pub async fn tokens_of(&self, company: &CompanyName) -> Result<Vec<Arc<Token>>, Error> {
        let company_id = self.company_id(company).await?;
        let all = self.load_tokens().await?.into_iter().map(|hashed| hashed.token);
        Ok(all.filter(|token| token.company_id == company_id).collect())
    }

    /// A company's row; refused with `company.unknown`.
    pub(super) async fn company_id(&self, name: &CompanyName) -> Result<i64, Error> {
        let found: Option<i64> = sqlx::query_scalar("select company_id from company where name = $1")
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await?;
        found.ok_or_else(|| Refusal::new(Code::CompanyUnknown, format!("no company {name}")).into())
    }

    pub(super) async fn load_tokens(&self) -> Result<Vec<Hashed>, Fault> {
        let rows = sqlx::query(
            "select token.*, company.name as company, user.name as user from token
             join company using (company_id) left join user using (user_id) order by token.created_ms, token.rowid",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(parse_token).collect()
    }

    pub(super) async fn load_token(&self, key: TokenKey) -> Result<Option<Hashed>, Fault> {
        let row = sqlx::query(
            "select token.*, company.name as company, user.name as user from token
             join company using (company_id) left join user using (user_id) where token_key = $1",
        )
        .bind(&key.0[..])
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(parse_token).transpose()
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

    async fn insert_master(
        &self,
        connection: &mut SqliteConnection,
        company_id: i64,
        user_id: i64,
        identity: IdentityId,
    ) -> Result<Issued, Fault> {
        let issued = issue();
        sqlx::query(
            "insert into token (token_key, company_id, user_id, hash, label, creator, created_ms)
             values ($1, $2, $3, $4, 'master', $5, $6)",
        )
        .bind(&issued.key.0[..])
        .bind(company_id)
        .bind(user_id)
        .bind(&self.hash(&issued.secret)[..])
        .bind(&identity.bytes()[..])
        .bind(now_ms() as i64)
        .execute(connection)
        .await?;
        Ok(issued)
    }
}

fn issue() -> Issued {
    let characters = rand::rng().sample_iter(Alphanumeric);
    Issued {
        key: TokenKey::random(),
        secret: characters.take(SECRET_CHARS).map(char::from).collect(),
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
    let token = Token {
        key: TokenKey(exact(&key, "token key")?),
        company_id: row.try_get("company_id")?,
        company,
        user,
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
