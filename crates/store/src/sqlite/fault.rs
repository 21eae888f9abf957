//! What SQLite reports, as faults of a store.

use std::path::Path;

use sqlx::error::DatabaseError;

use crate::{Result, StoreError};

/// The primary result code of a full disk (`SQLITE_FULL`).
const SQLITE_FULL: &str = "13";
/// That of a file which is no database (`SQLITE_NOTADB`).
const SQLITE_NOTADB: &str = "26";

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
    if has_code(&error, SQLITE_FULL) {
        return StoreError::DiskFull;
    }
    StoreError::Backend { doing, source: Box::new(error) }
}

/// A fault that was met while the database in `path` was opened, told by that path.
pub(super) fn of_file(path: &Path, error: StoreError) -> StoreError {
    let StoreError::Backend { doing, source } = error else { return error };
    let path = path.to_owned();
    if source.downcast_ref().is_some_and(|error| has_code(error, SQLITE_NOTADB)) {
        return StoreError::NotADatabase { path };
    }
    StoreError::Open { path, source: Box::new(StoreError::Backend { doing, source }) }
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(DatabaseError::code).as_deref() == Some(code)
}
