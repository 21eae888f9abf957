//! Pages out of rows that were read one further than asked for.

use restic_manager_core::id::IdError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rows::json;
use crate::{Cursor, Listed, PageRequest, Result, StoreError};

/// How many rows to read for a page: one more tells whether another page follows.
pub(super) fn rows_for(page: &PageRequest) -> i64 {
    i64::from(page.limit.max(1)) + 1
}

/// The page made of these items; `cursor_of` names the place behind an item.
pub(super) fn listed<T>(
    mut items: Vec<T>,
    page: &PageRequest,
    cursor_of: impl FnOnce(&T) -> Result<Cursor>,
) -> Result<Listed<T>> {
    let limit = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
    if items.len() <= limit {
        return Ok(Listed { items, next: None });
    }
    items.truncate(limit);
    let next = items.last().map(cursor_of).transpose()?;
    Ok(Listed { items, next })
}

/// The id in a cursor that is an id.
pub(super) fn id_after<I: std::str::FromStr<Err = IdError>>(page: &PageRequest) -> Result<Option<I>> {
    page.after
        .as_ref()
        .map(|cursor| cursor.0.parse().map_err(|error: IdError| StoreError::bad_cursor(&cursor.0, error)))
        .transpose()
}

/// A cursor of several keys.
pub(super) fn cursor_of_keys<K: Serialize>(keys: &K) -> Result<Cursor> {
    json("a cursor", keys).map(Cursor)
}

/// The keys in such a cursor.
pub(super) fn keys_after<K: DeserializeOwned>(page: &PageRequest) -> Result<Option<K>> {
    page.after
        .as_ref()
        .map(|cursor| {
            serde_json::from_str(&cursor.0).map_err(|error| StoreError::bad_cursor(&cursor.0, error))
        })
        .transpose()
}
