//! Companies and users: all SQL of who there is.
//!
//! Invariant: a company that has users has one who manages, unless the command line took it away.

use crate::catalogue::audit::record;
use crate::catalogue::database::{exact, unsigned};
use crate::catalogue::logins::LINK_MS;
use crate::catalogue::tokens::{AT_ONCE, Issued, random_secret};
use crate::catalogue::{Catalogue, on_constraint};
use crate::database::now_ms;
use crate::domain::audit::{Action, Actor, Note};
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::id::{IdentityId, TokenKey};
use crate::domain::path::{CompanyName, UserName};
use crate::domain::person::Person;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

/// A user who was just added; the only time that these secrets are known.
pub struct Enrolled {
    /// The master token.
    pub issued: Issued,
    /// The code of a link for their first password.
    pub code: String,
}

/// A user's row.
pub(super) struct UserRow {
    pub(super) user_id: i64,
    pub(super) company_id: i64,
    pub(super) identity: IdentityId,
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

    /// Adds a user with a master token and a link; refused with `company.unknown` or `user.exists`.
    pub async fn add_user(
        &self,
        company: &CompanyName,
        name: &UserName,
        manages: bool,
        by: &Actor,
    ) -> Result<Enrolled, Error> {
        let company_id = self.company_id(company).await?;
        let taken = Refusal::new(Code::UserExists, format!("there is a user {name} in {company} already"));
        let identity = IdentityId::random();
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let user_id = sqlx::query(
            "insert into user (company_id, name, identity, created_ms, manages) values ($1, $2, $3, $4, $5)",
        )
        .bind(company_id)
        .bind(name.as_str())
        .bind(&identity.bytes()[..])
        .bind(now_ms() as i64)
        .bind(manages)
        .execute(&mut *transaction)
        .await
        .map_err(|error| on_constraint(error, "user.name", taken))?
        .last_insert_rowid();
        let user = UserRow {
            user_id,
            company_id,
            identity,
        };
        let issued = self.insert_master(&mut transaction, &user).await?;
        let code = self.insert_link(&mut transaction, user_id).await?;
        let note = Note::with(
            Action::UserAdded,
            name,
            json!({"manages": manages, "token": issued.key}),
        );
        record(&mut transaction, company_id, by, &note).await?;
        transaction.commit().await?;
        Ok(Enrolled { issued, code })
    }

    /// Has a user manage, or not; refused with `user.unknown`, or with `user.last` where nobody
    /// would be left who does.
    pub async fn change_user(
        &self,
        company: &CompanyName,
        name: &UserName,
        manages: bool,
        by: &Actor,
    ) -> Result<(), Error> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let user = user_row(&mut transaction, company, name).await?;
        if !manages {
            require_another(&mut transaction, &user).await?;
        }
        sqlx::query("update user set manages = $1 where user_id = $2")
            .bind(manages)
            .bind(user.user_id)
            .execute(&mut *transaction)
            .await?;
        let note = Note::with(Action::UserChanged, name, json!({"manages": manages}));
        record(&mut transaction, user.company_id, by, &note).await?;
        Ok(transaction.commit().await?)
    }

    /// Removes a user with their tokens, logins and links; refused as [`Catalogue::change_user`].
    pub async fn remove_user(&self, company: &CompanyName, name: &UserName, by: &Actor) -> Result<(), Error> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let user = user_row(&mut transaction, company, name).await?;
        require_another(&mut transaction, &user).await?;
        for statement in [
            "delete from token where user_id = $1",
            "delete from login where user_id = $1",
            "delete from link where user_id = $1",
            "delete from user where user_id = $1",
        ] {
            sqlx::query(statement)
                .bind(user.user_id)
                .execute(&mut *transaction)
                .await?;
        }
        record(
            &mut transaction,
            user.company_id,
            by,
            &Note::new(Action::UserRemoved, name),
        )
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Ends a user's password and logins; returns the code of a link for a new password.
    pub async fn reset_user(&self, company: &CompanyName, name: &UserName, by: &Actor) -> Result<String, Error> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let user = user_row(&mut transaction, company, name).await?;
        for statement in [
            "update user set password = null where user_id = $1",
            "delete from login where user_id = $1",
        ] {
            sqlx::query(statement)
                .bind(user.user_id)
                .execute(&mut *transaction)
                .await?;
        }
        let code = self.insert_link(&mut transaction, user.user_id).await?;
        record(
            &mut transaction,
            user.company_id,
            by,
            &Note::new(Action::UserReset, name),
        )
        .await?;
        transaction.commit().await?;
        Ok(code)
    }

    /// A company's users by name; refused with `company.unknown`.
    pub async fn users_of(&self, company: &CompanyName) -> Result<Vec<Person>, Error> {
        let company_id = self.company_id(company).await?;
        let rows = sqlx::query(
            "select user.*, (select max(used_ms) from token where token.user_id = user.user_id) as token_used_ms,
             (select token_key from token where token.user_id = user.user_id
              order by revoked_ms is null desc, expires_ms is null desc, created_ms desc, rowid desc limit 1) as token_key
             from user where company_id = $1 order by name",
        )
        .bind(company_id)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok(parse_person(row)?)).collect()
    }

    /// How many users a company has.
    pub async fn user_count(&self, company_id: i64) -> Result<usize, Fault> {
        let count: i64 = sqlx::query_scalar("select count(*) from user where company_id = $1")
            .bind(company_id)
            .fetch_one(&self.readers)
            .await?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// A link in place of those that the user had; returns its code.
    async fn insert_link(&self, connection: &mut SqliteConnection, user_id: i64) -> Result<String, Fault> {
        let code = random_secret();
        sqlx::query("delete from link where user_id = $1")
            .bind(user_id)
            .execute(&mut *connection)
            .await?;
        sqlx::query("insert into link (hash, user_id, expires_ms) values ($1, $2, $3)")
            .bind(&self.link_hash(&code)[..])
            .bind(user_id)
            .bind((now_ms() + LINK_MS) as i64)
            .execute(connection)
            .await?;
        Ok(code)
    }

    /// A company's row, if there is one.
    pub async fn company(&self, name: &CompanyName) -> Result<Option<i64>, Fault> {
        let found = sqlx::query_scalar("select company_id from company where name = $1");
        Ok(found.bind(name.as_str()).fetch_optional(&self.readers).await?)
    }

    /// A company's row; refused with `company.unknown`.
    pub(super) async fn company_id(&self, name: &CompanyName) -> Result<i64, Error> {
        let found = self.company(name).await?;
        found.ok_or_else(|| Refusal::new(Code::CompanyUnknown, format!("no company {name}")).into())
    }
}

/// A user's row; refused with `company.unknown` or `user.unknown`.
pub(super) async fn user_row(
    connection: &mut SqliteConnection,
    company: &CompanyName,
    name: &UserName,
) -> Result<UserRow, Error> {
    let found = sqlx::query(
        "select company.company_id, user_id, identity from company
         left join user on user.company_id = company.company_id and user.name = $2 where company.name = $1",
    );
    let row = found
        .bind(company.as_str())
        .bind(name.as_str())
        .fetch_optional(connection)
        .await?;
    let row = row.ok_or_else(|| Refusal::new(Code::CompanyUnknown, format!("no company {company}")))?;
    let user_id: Option<i64> = row.try_get("user_id")?;
    let user_id = user_id.ok_or_else(|| Refusal::new(Code::UserUnknown, format!("no user {name} in {company}")))?;
    let identity: Vec<u8> = row.try_get("identity")?;
    Ok(UserRow {
        user_id,
        company_id: row.try_get("company_id")?,
        identity: IdentityId::new(exact(&identity, "identity")?),
    })
}

/// Refused with `user.last` unless somebody else of the company manages.
async fn require_another(connection: &mut SqliteConnection, user: &UserRow) -> Result<(), Error> {
    let others = "select count(*) from user where company_id = $1 and user_id <> $2 and manages";
    let others: i64 = sqlx::query_scalar(others)
        .bind(user.company_id)
        .bind(user.user_id)
        .fetch_one(connection)
        .await?;
    match others {
        0 => Err(Refusal::new(Code::UserLast, "nobody would be left who manages").into()),
        _ => Ok(()),
    }
}

fn parse_person(row: &SqliteRow) -> Result<Person, Fault> {
    let name = UserName::parse(row.try_get("name")?).map_err(|refusal| Fault::Stored {
        what: "user",
        why: refusal.to_string(),
    })?;
    let token: Option<Vec<u8>> = row.try_get("token_key")?;
    let token = token.map(|bytes| Ok::<_, Fault>(TokenKey(exact(&bytes, "token key")?)));
    let used_ms = |column| -> Result<u64, Fault> { Ok(row.try_get::<Option<i64>, _>(column)?.map_or(0, unsigned)) };
    Ok(Person {
        name,
        manages: row.try_get("manages")?,
        created_ms: unsigned(row.try_get("created_ms")?),
        used_ms: used_ms("used_ms")?.max(used_ms("token_used_ms")?),
        has_password: row.try_get::<Option<&str>, _>("password")?.is_some(),
        token: token.transpose()?,
    })
}
