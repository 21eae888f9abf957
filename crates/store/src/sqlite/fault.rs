//! What SQLite reports, as faults of a store.

use sqlx::error::DatabaseError;

use crate::{Result, StoreError};

/// The primary result code of a full disk (`SQLITE_FULL`).
const SQLITE_FULL: &str = "13";

/// Names what was being done when the database failed.
pub(super) trait Doing<T> {
    /// Turns the database's error into ours; `doing` completes "the database failed while it was to ...".
    fn doing(self, doing: &'static str) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T> {
        self.map_err(|error| fault(doing, error))
    }
}

fn fault(doing: &'static str, error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(DatabaseError::code);
    if code.as_deref() == Some(SQLITE_FULL) {
        return StoreError::DiskFull;
    }
    StoreError::Backend { doing, source: Box::new(error) }
}
