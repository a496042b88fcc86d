//! Who did what: asked for by those who manage, and written for what the catalogue does not do.

use crate::broker::Broker;
use crate::domain::audit::{AuditPage, Entry, Note};
use crate::domain::error::{Error, Fault};
use crate::domain::token::Access;

impl Broker {
    /// The company's entries, the newest first.
    pub async fn audit(&self, access: &Access, page: &AuditPage) -> Result<Vec<Entry>, Error> {
        access.require_managing()?;
        Ok(self.catalogue.audit_of(access.token.company_id, page).await?)
    }

    /// Writes down what somebody did.
    pub(super) async fn note(&self, access: &Access, note: Note) -> Result<(), Fault> {
        let (company_id, by) = (access.token.company_id, access.actor());
        self.catalogue.note(company_id, &by, &note).await
    }
}
