//! The audit: all SQL of who did what.
//!
//! A change and its entry are one transaction. Invariant: entries are only ever added; the tables'
//! triggers see to it, and let go of what is older than the newest hundred thousand of a company.

use crate::catalogue::Catalogue;
use crate::catalogue::database::{exact, unsigned};
use crate::catalogue::tokens::AT_ONCE;
use crate::database::now_ms;
use crate::domain::audit::{Actor, AuditPage, Entry, Note};
use crate::domain::error::Fault;
use crate::domain::id::TokenKey;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

/// Writes an entry, as part of the transaction that makes it true.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    company_id: i64,
    by: &Actor,
    note: &Note,
) -> Result<(), Fault> {
    sqlx::query(
        "insert into audit (company_id, number, time_ms, user, token, address, action, subject, detail)
         select $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7, $8 from audit where company_id = $1",
    )
    .bind(company_id)
    .bind(now_ms() as i64)
    .bind(by.user.as_ref().map(|user| user.as_str()))
    .bind(by.token.as_ref().map(|key| &key.0[..]))
    .bind(by.address.map(|address| address.to_canonical().to_string()))
    .bind(note.action.word())
    .bind(&note.subject)
    .bind(note.detail.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

impl Catalogue {
    /// Writes an entry of what was done elsewhere.
    pub async fn note(&self, company_id: i64, by: &Actor, note: &Note) -> Result<(), Fault> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        record(&mut transaction, company_id, by, note).await?;
        Ok(transaction.commit().await?)
    }

    /// A company's entries, the newest first.
    pub async fn audit_of(&self, company_id: i64, page: &AuditPage) -> Result<Vec<Entry>, Fault> {
        let rows = sqlx::query(
            "select * from audit where company_id = $1 and ($2 is null or action = $2) and ($3 is null or user = $3)
             order by number desc limit $4 offset $5",
        )
        .bind(company_id)
        .bind(page.action.map(|action| action.word()))
        .bind(page.user.as_deref())
        .bind(i64::try_from(page.limit).unwrap_or(i64::MAX))
        .bind(i64::try_from(page.start).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(parse_entry).collect()
    }
}

fn parse_entry(row: &SqliteRow) -> Result<Entry, Fault> {
    let token: Option<Vec<u8>> = row.try_get("token")?;
    let token = token.map(|bytes| Ok::<_, Fault>(TokenKey(exact(&bytes, "token key")?)));
    Ok(Entry {
        number: unsigned(row.try_get("number")?),
        time_ms: unsigned(row.try_get("time_ms")?),
        user: row.try_get("user")?,
        token: token.transpose()?,
        address: row.try_get("address")?,
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        detail: row.try_get("detail")?,
    })
}
