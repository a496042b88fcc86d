//! Settings, the notes of what changed, and how values are stored.

use crate::domain::error::Fault;
use crate::domain::id::{StreamId, TokenKey};
use rand::TryRng;
use rand::rngs::SysRng;
use sqlx::{Row, SqlitePool};

/// Changes read at once.
const CHANGES: i64 = 10_000;

/// The secret that signs sessions and keys the hashes of tokens; made at the first start.
pub async fn signing_secret(writer: &SqlitePool) -> Result<[u8; 32], Fault> {
    let mut fresh = [0; 32];
    SysRng.try_fill_bytes(&mut fresh).map_err(std::io::Error::from)?;
    sqlx::query("insert into setting (name, value) values ('signing_secret', $1) on conflict do nothing")
        .bind(&fresh[..])
        .execute(writer)
        .await?;
    let stored: Vec<u8> = sqlx::query_scalar("select value from setting where name = 'signing_secret'")
        .fetch_one(writer)
        .await?;
    exact(&stored, "signing secret")
}

/// One note.
pub struct Change {
    /// Notes are numbered without holes, but the oldest are thrown away.
    pub number: i64,
    /// What changed.
    pub subject: Subject,
}

/// What can change.
pub enum Subject {
    /// A token.
    Token(TokenKey),
    /// A stream.
    Stream(StreamId),
    /// A login, by the hash of its secret.
    Login([u8; 32]),
    /// A company, by its name.
    Company(String),
    /// A user who is no more, by the names of company and user.
    User(String, String),
}

/// The notes after `number`, the oldest first.
pub async fn changes_after(readers: &SqlitePool, number: i64) -> Result<Vec<Change>, Fault> {
    let rows =
        sqlx::query("select change_id, kind, subject from change where change_id > $1 order by change_id limit $2")
            .bind(number)
            .bind(CHANGES)
            .fetch_all(readers)
            .await?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        let subject: Vec<u8> = row.try_get("subject")?;
        let subject = match row.try_get("kind")? {
            "token" => Subject::Token(TokenKey(exact(&subject, "token key")?)),
            "login" => Subject::Login(exact(&subject, "login hash")?),
            "user" => {
                let names = String::from_utf8_lossy(&subject);
                let (company, user) = names.split_once('/').unwrap_or_default();
                Subject::User(company.to_owned(), user.to_owned())
            }
            "company" => Subject::Company(String::from_utf8_lossy(&subject).into_owned()),
            _ => Subject::Stream(StreamId::new(exact(&subject, "stream id")?)),
        };
        let number = row.try_get("change_id")?;
        changes.push(Change { number, subject });
    }
    Ok(changes)
}

/// The newest note's number.
pub async fn newest_change(readers: &SqlitePool) -> Result<i64, Fault> {
    let newest = sqlx::query_scalar("select coalesce(max(change_id), 0) from change");
    Ok(newest.fetch_one(readers).await?)
}

/// Bytes of a stored value that must have a certain length.
pub fn exact<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::Stored {
        what,
        why: format!("{} bytes instead of {N}", bytes.len()),
    })
}

/// A stored number that is never negative.
pub fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}
