//! The audit log.

use restic_manager_core::api::Page;
use restic_manager_core::model::AuditRow;
use restic_manager_store::AuditFilter;

use super::page::page;
use super::{App, AppError, ListQuery};

impl App {
    /// Rows of the audit log, newest first.
    ///
    /// # Errors
    ///
    /// A limit out of bounds, or a fault of the store.
    pub async fn audit_rows(
        &self,
        filter: &AuditFilter,
        list: &ListQuery,
    ) -> Result<Page<AuditRow>, AppError> {
        let listed = self.store.audit(filter, list.request()?).await?;
        Ok(page(listed, |row| row))
    }
}
