//! Signing keys: all SQL of them, and those that are good in memory, by company.
//!
//! A key is a token with one more row. Invariants: no secret that anybody could present has that
//! token's hash; a secret key is sealed before it is written.

use crate::catalogue::Catalogue;
use crate::catalogue::audit::record;
use crate::catalogue::database::exact;
use crate::catalogue::tokens::AT_ONCE;
use crate::database::now_ms;
use crate::domain::audit::{Action, Actor, Note};
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::id::{SYSTEM, TokenKey};
use crate::domain::scope::Scope;
use crate::domain::signing::{Algorithm, Material};
use crate::domain::token::Token;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::Mac;
use jsonwebtoken::DecodingKey;
use parking_lot::RwLock;
use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::collections::HashMap;
use std::sync::Arc;

/// Keys of a company that are good at the same time; a JWT that names none is tried with each.
const MOST: i64 = 32;
/// Keys in a list.
const LISTED: i64 = 1_000;
/// What stands before a sealed secret.
const NONCE_BYTES: usize = 24;

/// A key that is good.
pub struct SigningKey {
    /// The token that it is.
    pub token: TokenKey,
    /// What a JWT may name it by.
    pub kid: Option<String>,
    /// The one algorithm that it is for.
    pub algorithm: Algorithm,
    /// What verifies signatures.
    pub verifies: DecodingKey,
}

/// A key to be added.
pub struct NewKey {
    /// What a JWT may name it by.
    pub kid: Option<String>,
    /// The one algorithm that it is for.
    pub algorithm: Algorithm,
    /// What verifies signatures.
    pub material: Material,
    /// What it is for.
    pub label: String,
    /// What whoever it signs for may do.
    pub scope: Scope,
}

/// A key in a list, good or not.
pub struct ListedKey {
    /// The token that it is.
    pub token: Arc<Token>,
    /// What a JWT may name it by.
    pub kid: Option<String>,
    /// The one algorithm that it is for.
    pub algorithm: Algorithm,
}

/// The good keys of all companies, by the company's name.
#[derive(Default)]
pub(super) struct Keys(RwLock<HashMap<Box<str>, Vec<Arc<SigningKey>>>>);

impl Catalogue {
    /// A company's good keys that a JWT may mean: those of its `kid`, and those that have none.
    pub fn signing_keys(&self, company: &str, kid: Option<&str>) -> Vec<Arc<SigningKey>> {
        let keys = self.keys.0.read();
        let of_company = keys.get(company).map_or(&[][..], Vec::as_slice).iter();
        let is_meant = |key: &&Arc<SigningKey>| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid;
        of_company.filter(is_meant).cloned().collect()
    }

    /// Adds a key to a company; refused with `limit.signing`.
    pub async fn add_key(&self, company_id: i64, new: &NewKey, by: &Actor) -> Result<TokenKey, Error> {
        let key = TokenKey::random();
        let scope = serde_json::to_string(&new.scope.to_json()).map_err(|error| Fault::Io(error.into()))?;
        let (form, bytes) = new.material.stored();
        let material = match new.material {
            Material::Secret(_) => self.seal(key, bytes)?,
            Material::Pem(_) | Material::Jwk(_) => bytes.to_vec(),
        };
        let hash: [u8; 32] = rand::random();
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let there: i64 = sqlx::query_scalar(
            "select count(*) from signing_key join token using (token_key)
             where company_id = $1 and revoked_ms is null",
        )
        .bind(company_id)
        .fetch_one(&mut *transaction)
        .await?;
        if there >= MOST {
            let text = format!("a company has at most {MOST} signing keys");
            return Err(Refusal::new(Code::LimitSigning, text).into());
        }
        sqlx::query(
            "insert into token (token_key, company_id, hash, scope, label, creator, created_ms)
             values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&key.0[..])
        .bind(company_id)
        .bind(&hash[..])
        .bind(scope)
        .bind(&new.label)
        .bind(&SYSTEM.bytes()[..])
        .bind(now_ms() as i64)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("insert into signing_key (token_key, kid, algorithm, form, material) values ($1, $2, $3, $4, $5)")
            .bind(&key.0[..])
            .bind(&new.kid)
            .bind(new.algorithm.word())
            .bind(form)
            .bind(material)
            .execute(&mut *transaction)
            .await?;
        let detail = json!({
            "label": new.label, "algorithm": new.algorithm.word(), "kid": new.kid, "paths": new.scope.to_json(),
        });
        let note = Note::with(Action::KeyAdded, key, detail);
        record(&mut transaction, company_id, by, &note).await?;
        transaction.commit().await?;
        Ok(key)
    }

    /// Ends a key, and what it opened with it. Doing it twice is no mistake.
    pub async fn remove_key(&self, company_id: i64, key: TokenKey, by: &Actor) -> Result<(), Fault> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let done = sqlx::query("update token set revoked_ms = $1 where token_key = $2 and revoked_ms is null")
            .bind(now_ms() as i64)
            .bind(&key.0[..])
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() > 0 {
            record(&mut transaction, company_id, by, &Note::new(Action::KeyRemoved, key)).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// A company's keys, good or not, the newest first.
    pub async fn list_keys(&self, company_id: i64) -> Result<Vec<ListedKey>, Fault> {
        let rows = sqlx::query(
            "select signing_key.* from signing_key join token using (token_key)
             where company_id = $1 order by created_ms desc, token.rowid desc limit $2",
        )
        .bind(company_id)
        .bind(LISTED)
        .fetch_all(&self.readers)
        .await?;
        let mut listed = Vec::with_capacity(rows.len());
        for row in &rows {
            let (key, kid, algorithm) = parse_row(row)?;
            // One that another process added a moment ago is not in the mirror yet.
            if let Some(token) = self.mirror.read().token(&key) {
                listed.push(ListedKey { token, kid, algorithm });
            }
        }
        Ok(listed)
    }

    /// Whether a token is a signing key, and which; none if it is another company's.
    pub async fn is_key(&self, company_id: i64, key: TokenKey) -> Result<bool, Fault> {
        let found: i64 = sqlx::query_scalar(
            "select count(*) from signing_key join token using (token_key) where company_id = $1 and token_key = $2",
        )
        .bind(company_id)
        .bind(&key.0[..])
        .fetch_one(&self.readers)
        .await?;
        Ok(found > 0)
    }

    /// Follows what became of a token, if it is a key.
    pub(super) async fn follow_key(&self, token: TokenKey) -> Result<(), Fault> {
        let row = sqlx::query(GOOD_KEY)
            .bind(&token.0[..])
            .fetch_optional(&self.readers)
            .await?;
        let found = row.as_ref().map(|row| self.parse_key(row)).transpose()?;
        let mut keys = self.keys.0.write();
        for of_company in keys.values_mut() {
            of_company.retain(|key| key.token != token);
        }
        if let Some((company, key)) = found {
            keys.entry(company).or_default().push(Arc::new(key));
        }
        keys.retain(|_, of_company| !of_company.is_empty());
        Ok(())
    }

    /// Reads all keys that are good.
    pub(super) async fn reload_keys(&self) -> Result<(), Fault> {
        let rows = sqlx::query(GOOD_KEYS).fetch_all(&self.readers).await?;
        let mut keys: HashMap<Box<str>, Vec<Arc<SigningKey>>> = HashMap::new();
        for row in &rows {
            let (company, key) = self.parse_key(row)?;
            keys.entry(company).or_default().push(Arc::new(key));
        }
        *self.keys.0.write() = keys;
        Ok(())
    }

    fn parse_key(&self, row: &SqliteRow) -> Result<(Box<str>, SigningKey), Fault> {
        let (token, kid, algorithm) = parse_row(row)?;
        let (form, mut bytes): (&str, Vec<u8>) = (row.try_get("form")?, row.try_get("material")?);
        if form == "secret" {
            bytes = self.unseal(token, &bytes)?;
        }
        let material = Material::read(form, bytes).ok_or_else(|| stored("its form is unknown"))?;
        let verifies = material.decoding_key(algorithm).map_err(stored)?;
        let company: String = row.try_get("company")?;
        let key = SigningKey {
            token,
            kid,
            algorithm,
            verifies,
        };
        Ok((company.into(), key))
    }

    /// Seals a secret for one row.
    fn seal(&self, token: TokenKey, secret: &[u8]) -> Result<Vec<u8>, Fault> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let sealed = self.seals().encrypt(&XNonce::from(nonce), for_row(&token, secret));
        let sealed = sealed.map_err(|_| stored("it cannot be sealed"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    fn unseal(&self, token: TokenKey, sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        let (nonce, sealed) = sealed
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(|| stored("it is too short"))?;
        let opened = self.seals().decrypt(&XNonce::from(*nonce), for_row(&token, sealed));
        opened.map_err(|_| stored("it was sealed by another server or for another row"))
    }

    fn seals(&self) -> XChaCha20Poly1305 {
        let key: [u8; 32] = self.key_for("streamgate signing key 1").finalize().into_bytes().into();
        XChaCha20Poly1305::new(&key.into())
    }
}

const GOOD_KEYS: &str = "select signing_key.*, company.name as company from signing_key
    join token using (token_key) join company using (company_id) where revoked_ms is null";
const GOOD_KEY: &str = "select signing_key.*, company.name as company from signing_key
    join token using (token_key) join company using (company_id) where revoked_ms is null and token_key = $1";

fn for_row<'a>(token: &'a TokenKey, bytes: &'a [u8]) -> Payload<'a, 'a> {
    Payload {
        msg: bytes,
        aad: &token.0,
    }
}

fn parse_row(row: &SqliteRow) -> Result<(TokenKey, Option<String>, Algorithm), Fault> {
    let key: Vec<u8> = row.try_get("token_key")?;
    let algorithm = Algorithm::parse(row.try_get("algorithm")?).map_err(stored)?;
    Ok((TokenKey(exact(&key, "token key")?), row.try_get("kid")?, algorithm))
}

fn stored(why: impl ToString) -> Fault {
    let (what, why) = ("signing key", why.to_string());
    Fault::Stored { what, why }
}
