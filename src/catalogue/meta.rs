//! What clients keep of users: all SQL of it.
//!
//! Knows nothing of what is in it. Invariant: a change is made to what is there when it is made.

use crate::catalogue::Catalogue;
use crate::catalogue::tokens::AT_ONCE;
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::meta::NO_META;
use crate::domain::path::UserName;

/// A user's row and meta.
const FIND: &str = "select user.user_id, meta from user left join user_meta on user_meta.user_id = user.user_id
                    where company_id = $1 and name = $2";

impl Catalogue {
    /// The meta of a company's user; refused with `user.unknown`.
    pub async fn meta_of(&self, company_id: i64, user: &UserName) -> Result<String, Error> {
        let found: Option<(i64, Option<String>)> = sqlx::query_as(FIND)
            .bind(company_id)
            .bind(user.as_str())
            .fetch_optional(&self.readers)
            .await?;
        let (_, meta) = found.ok_or_else(|| unknown(user))?;
        Ok(meta.unwrap_or_else(|| NO_META.to_owned()))
    }

    /// Puts what `change` makes of a user's meta in its place; refused with `user.unknown`, or as it is.
    pub async fn change_meta(
        &self,
        company_id: i64,
        user: &UserName,
        change: impl FnOnce(&str) -> Result<String, Refusal>,
    ) -> Result<(), Error> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await.map_err(Fault::from)?;
        let found: Option<(i64, Option<String>)> = sqlx::query_as(FIND)
            .bind(company_id)
            .bind(user.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
        let (user_id, meta) = found.ok_or_else(|| unknown(user))?;
        let meta = change(meta.as_deref().unwrap_or(NO_META))?;
        sqlx::query(
            "insert into user_meta (user_id, meta) values ($1, $2)
             on conflict (user_id) do update set meta = excluded.meta",
        )
        .bind(user_id)
        .bind(meta)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}

fn unknown(user: &UserName) -> Refusal {
    Refusal::new(Code::UserUnknown, format!("no user {user}"))
}
