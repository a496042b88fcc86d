//! Companies as the mirror knows them: all SQL of their settings.

use crate::catalogue::Catalogue;
use crate::catalogue::audit::record;
use crate::catalogue::tokens::AT_ONCE;
use crate::domain::audit::{Action, Actor, Note};
use crate::domain::company::{Changes, CompanySettings, Settled};
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::path::CompanyName;
use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::sync::Arc;

/// A company and its settings, by its name.
const FIND: &str = "select company.company_id, name, settings from company
                    left join company_setting on company_setting.company_id = company.company_id where name = $1";

/// A company that exists.
#[derive(Debug)]
pub struct Company {
    /// Its row.
    pub id: i64,
    /// Its name.
    pub name: CompanyName,
    /// Its settings.
    pub settled: Settled,
}

impl Company {
    /// The key of its guests, if some of them may have to go, now that it is as `now`.
    pub fn guests_ended(&self, now: Option<&Company>) -> Option<TokenKey> {
        let before = &self.settled.settings;
        let stay = now.is_some_and(|now| now.id == self.id && !now.settled.settings.approve_less_than(before));
        (!stay).then(|| TokenKey::guest(self.id))
    }
}

impl Catalogue {
    /// The company of a name, if there is one; as the mirror knows it.
    pub fn company_by_name(&self, name: &str) -> Option<Arc<Company>> {
        self.mirror.read().company(name)
    }

    /// A company's settings, as the database has them; refused with `company.unknown`.
    pub async fn settings_of(&self, name: &CompanyName) -> Result<CompanySettings, Error> {
        let found = self.load_company(name.as_str()).await?;
        let found = found.ok_or_else(|| Refusal::new(Code::CompanyUnknown, format!("no company {name}")))?;
        Ok(found.settled.settings)
    }

    /// Changes a company's settings, and returns what they are now; refused with `company.unknown` or
    /// `body.malformed`.
    pub async fn change_company(
        &self,
        name: &CompanyName,
        changes: &Changes,
        by: &Actor,
    ) -> Result<CompanySettings, Error> {
        let mut transaction = self.writer.begin_with(AT_ONCE).await?;
        let row = sqlx::query(FIND).bind(name.as_str());
        let row = row.fetch_optional(&mut *transaction).await?;
        let row = row.ok_or_else(|| Refusal::new(Code::CompanyUnknown, format!("no company {name}")))?;
        let found = parse_company(&row)?;
        let settled = Settled::check(found.settled.settings.with(changes)?)?;
        let company_id = found.id;
        sqlx::query(
            "insert into company_setting (company_id, settings) values ($1, $2)
             on conflict (company_id) do update set settings = excluded.settings",
        )
        .bind(company_id)
        .bind(json!(settled.settings).to_string())
        .execute(&mut *transaction)
        .await?;
        let note = Note::with(Action::CompanyChanged, name, json!(changes));
        record(&mut transaction, company_id, by, &note).await?;
        transaction.commit().await?;
        Ok(settled.settings)
    }

    pub(super) async fn load_companies(&self) -> Result<Vec<Company>, Fault> {
        let rows = sqlx::query(
            "select company.company_id, name, settings from company
             left join company_setting on company_setting.company_id = company.company_id",
        );
        let rows = rows.fetch_all(&self.follower).await?;
        rows.iter().map(parse_company).collect()
    }

    pub(super) async fn load_company(&self, name: &str) -> Result<Option<Company>, Fault> {
        let row = sqlx::query(FIND).bind(name);
        let row = row.fetch_optional(&self.follower).await?;
        row.as_ref().map(parse_company).transpose()
    }
}

/// What this version cannot use of settings allows nothing; who never said anything has the defaults.
fn parse_company(row: &SqliteRow) -> Result<Company, Fault> {
    let stored = |refusal: Refusal| Fault::Stored {
        what: "company",
        why: refusal.to_string(),
    };
    let settings: Option<String> = row.try_get("settings")?;
    let (settled, wrong) = settings.as_deref().map(Settled::stored).unwrap_or_default();
    for why in wrong {
        tracing::error!("a company's settings are not understood, so less is allowed: {why}");
    }
    Ok(Company {
        id: row.try_get("company_id")?,
        name: CompanyName::parse(row.try_get("name")?).map_err(stored)?,
        settled,
    })
}
