//! Passwords, logins and one-time links: all SQL of how people sign in.
//!
//! Of logins and links there is a keyed hash only, of passwords what `src/broker/passwords.rs` makes
//! of them. Invariant: a link is used up by the statement that honours it; and a login is made
//! only while the password is still the one that was verified.

use crate::catalogue::audit::record;
use crate::catalogue::database::{exact, unsigned};
use crate::catalogue::tokens::{AT_ONCE, random_secret};
use crate::catalogue::{Catalogue, Login};
use crate::database::now_ms;
use crate::domain::audit::{Action, Actor, Note};
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::path::{CompanyName, UserName};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::sync::atomic::AtomicU64;

/// How long a link is good.
pub(super) const LINK_MS: u64 = 24 * 60 * 60 * 1_000;
/// How long a login lasts.
const LOGIN_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Most logins of one user; the oldest make room.
const MOST_LOGINS: i64 = 32;

/// Whoever signs in.
pub struct Member {
    /// The user's row.
    pub user_id: i64,
    /// The company's row.
    pub company_id: i64,
    /// The company.
    pub company: CompanyName,
    /// The user.
    pub user: UserName,
    /// Whether they manage.
    pub manages: bool,
    /// Whether they have never signed in.
    pub is_new: bool,
    /// What their password was made into, if they have one.
    pub password: Option<String>,
}

/// A login that was just made; the only time that its secret is known.
pub struct Opened {
    /// What the browser presents.
    pub secret: String,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: u64,
}

macro_rules! member {
    ($which:literal) => {
        concat!(
            "select user.*, company.name as company from user join company using (company_id) ",
            $which
        )
    };
}

impl Catalogue {
    /// The user of these names, if there is one.
    pub async fn member(&self, company: &str, user: &str) -> Result<Option<Member>, Fault> {
        let row = sqlx::query(member!("where company.name = $1 and user.name = $2"))
            .bind(company)
            .bind(user)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(parse_member).transpose()
    }

    /// Whose login this is.
    pub async fn member_of(&self, login: &Login) -> Result<Option<Member>, Fault> {
        let row = sqlx::query(member!("where user_id = $1"))
            .bind(login.user_id)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(parse_member).transpose()
    }

    /// Whose link this is; refused with `link.unknown`.
    pub async fn member_of_link(&self, code: &str) -> Result<Member, Error> {
        let select = member!("join link using (user_id) where link.hash = $1 and link.expires_ms > $2");
        let row = sqlx::query(select)
            .bind(&self.link_hash(code)[..])
            .bind(now_ms() as i64)
            .fetch_optional(&self.readers)
            .await?;
        Ok(parse_member(&row.ok_or_else(no_link)?)?)
    }

    /// Signs somebody in whose password was verified; refused with `auth.refused` if it is another
    /// one by now.
    pub async fn open_login(&self, member: &Member, by: &Actor) -> Result<Opened, Error> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let same = "select count(*) from user where user_id = $1 and password = $2";
        let same: i64 = sqlx::query_scalar(same)
            .bind(member.user_id)
            .bind(&member.password)
            .fetch_one(&mut *transaction)
            .await?;
        if same == 0 {
            return Err(not_signed_in().into());
        }
        let opened = self.insert_login(&mut transaction, member, by).await?;
        transaction.commit().await?;
        Ok(opened)
    }

    /// Uses a link up, sets a password, ends all logins, and opens one; refused with `link.unknown`.
    pub async fn set_first_password(&self, code: &str, password: &str, by: &Actor) -> Result<(Member, Opened), Error> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let used: Option<i64> =
            sqlx::query_scalar("delete from link where hash = $1 and expires_ms > $2 returning user_id")
                .bind(&self.link_hash(code)[..])
                .bind(now_ms() as i64)
                .fetch_optional(&mut *transaction)
                .await?;
        let user_id = used.ok_or_else(no_link)?;
        sqlx::query("update user set password = $1 where user_id = $2")
            .bind(password)
            .bind(user_id)
            .execute(&mut *transaction)
            .await?;
        let row = sqlx::query(member!("where user_id = $1"))
            .bind(user_id)
            .fetch_one(&mut *transaction)
            .await?;
        let member = parse_member(&row)?;
        let by = member.actor(by);
        self.end_logins(&mut transaction, &member, None, &by).await?;
        let opened = self.insert_login(&mut transaction, &member, &by).await?;
        transaction.commit().await?;
        Ok((member, opened))
    }

    /// Puts a password in place of the one that was verified, and ends all other logins; refused
    /// with `auth.refused` if it is another one by now.
    pub async fn change_password(&self, member: &Member, password: &str, login: &str, by: &Actor) -> Result<(), Error> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let done = sqlx::query("update user set password = $1 where user_id = $2 and password = $3")
            .bind(password)
            .bind(member.user_id)
            .bind(&member.password)
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Err(not_signed_in().into());
        }
        self.end_logins(&mut transaction, member, Some(login), &member.actor(by))
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Ends a login; that there is none is no mistake.
    pub async fn close_login(&self, secret: &str) -> Result<(), Fault> {
        sqlx::query("delete from login where hash = $1")
            .bind(&self.login_hash(secret)[..])
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Forgets logins and links whose time is over.
    pub async fn sweep_logins(&self) -> Result<(), Fault> {
        for statement in [
            "delete from login where expires_ms <= $1",
            "delete from link where expires_ms <= $1",
        ] {
            sqlx::query(statement)
                .bind(now_ms() as i64)
                .execute(&self.writer)
                .await?;
        }
        Ok(())
    }

    /// A password was set: every login ends but that of the secret `kept`, and every link.
    async fn end_logins(
        &self,
        connection: &mut SqliteConnection,
        member: &Member,
        kept: Option<&str>,
        by: &Actor,
    ) -> Result<(), Fault> {
        sqlx::query("delete from login where user_id = $1 and hash is not $2")
            .bind(member.user_id)
            .bind(kept.map(|secret| self.login_hash(secret).to_vec()))
            .execute(&mut *connection)
            .await?;
        sqlx::query("delete from link where user_id = $1")
            .bind(member.user_id)
            .execute(&mut *connection)
            .await?;
        let note = Note::new(Action::PasswordSet, &member.user);
        record(connection, member.company_id, by, &note).await
    }

    async fn insert_login(
        &self,
        connection: &mut SqliteConnection,
        member: &Member,
        by: &Actor,
    ) -> Result<Opened, Fault> {
        let (secret, now_ms) = (random_secret(), now_ms());
        let expires_ms = now_ms + LOGIN_MS;
        sqlx::query(
            "delete from login where user_id = $1 and hash not in
             (select hash from login where user_id = $1 order by created_ms desc limit $2)",
        )
        .bind(member.user_id)
        .bind(MOST_LOGINS - 1)
        .execute(&mut *connection)
        .await?;
        sqlx::query("insert into login (hash, user_id, created_ms, expires_ms) values ($1, $2, $3, $4)")
            .bind(&self.login_hash(&secret)[..])
            .bind(member.user_id)
            .bind(now_ms as i64)
            .bind(expires_ms as i64)
            .execute(&mut *connection)
            .await?;
        sqlx::query("update user set used_ms = $1 where user_id = $2")
            .bind(now_ms as i64)
            .bind(member.user_id)
            .execute(&mut *connection)
            .await?;
        let note = Note::new(Action::LoginOpened, &member.user);
        record(connection, member.company_id, &member.actor(by), &note).await?;
        Ok(Opened { secret, expires_ms })
    }

    pub(super) async fn load_logins(&self) -> Result<Vec<([u8; 32], Login)>, Fault> {
        let rows = sqlx::query("select * from login").fetch_all(&self.readers).await?;
        rows.iter().map(parse_login).collect()
    }

    pub(super) async fn load_login(&self, hash: &[u8; 32]) -> Result<Option<Login>, Fault> {
        let row = sqlx::query("select * from login where hash = $1")
            .bind(&hash[..])
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.as_ref().map(parse_login).transpose()?.map(|(_, login)| login))
    }

    pub(super) async fn store_seen(&self, seen: &[(i64, u64)]) -> Result<(), Fault> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        for (user_id, used_ms) in seen {
            sqlx::query("update user set used_ms = max(coalesce(used_ms, 0), $1) where user_id = $2")
                .bind(*used_ms as i64)
                .bind(user_id)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }
}

impl Member {
    /// This user, who came from where `by` did.
    fn actor(&self, by: &Actor) -> Actor {
        Actor {
            user: Some(self.user.clone()),
            ..by.clone()
        }
    }
}

/// The one refusal of whoever cannot sign in, whatever is wrong.
pub fn not_signed_in() -> Refusal {
    Refusal::new(Code::AuthRefused, "company, user and password do not go together")
}

fn no_link() -> Refusal {
    Refusal::new(
        Code::LinkUnknown,
        "there is no such link, or it was used, or its time is over",
    )
}

fn parse_login(row: &SqliteRow) -> Result<([u8; 32], Login), Fault> {
    let hash: Vec<u8> = row.try_get("hash")?;
    let login = Login {
        user_id: row.try_get("user_id")?,
        expires_ms: unsigned(row.try_get("expires_ms")?),
        used_ms: AtomicU64::new(0),
    };
    Ok((exact(&hash, "login hash")?, login))
}

fn parse_member(row: &SqliteRow) -> Result<Member, Fault> {
    let stored = |what, refusal: Refusal| Fault::Stored {
        what,
        why: refusal.to_string(),
    };
    Ok(Member {
        user_id: row.try_get("user_id")?,
        company_id: row.try_get("company_id")?,
        company: CompanyName::parse(row.try_get("company")?).map_err(|refusal| stored("company", refusal))?,
        user: UserName::parse(row.try_get("name")?).map_err(|refusal| stored("user", refusal))?,
        manages: row.try_get("manages")?,
        is_new: row.try_get::<Option<i64>, _>("used_ms")?.is_none(),
        password: row.try_get("password")?,
    })
}
