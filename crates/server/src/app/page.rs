//! Pages of lists.

use restic_manager_core::api::{DEFAULT_LIMIT, MAX_LIMIT, Page};
use restic_manager_store::{Cursor, Listed, PageRequest};
use serde::Deserialize;

use super::AppError;

/// The part of a query string that every list understands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ListQuery {
    /// At most so many items: 1 to 500, 100 when not given.
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl ListQuery {
    /// The page the store is asked for.
    ///
    /// # Errors
    ///
    /// When the limit is out of bounds.
    pub fn request(&self) -> Result<PageRequest, AppError> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(AppError::invalid("limit", format!("{limit} is not between 1 and {MAX_LIMIT}")));
        }
        Ok(PageRequest { after: self.cursor.clone().map(Cursor), limit })
    }
}

/// A page of the store as a page of the API.
pub(super) fn page<T, U>(listed: Listed<T>, view: impl FnMut(T) -> U) -> Page<U> {
    Page {
        items: listed.items.into_iter().map(view).collect(),
        next_cursor: listed.next.map(|cursor| cursor.0),
    }
}
