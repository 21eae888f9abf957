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

/// A page of a short list that was read whole. `key` gives each item's place: unique, and the order of the list.
///
/// The cursor is the place of the last item shown, so a page stays right when items come and go.
pub(super) fn slice<T, U>(
    mut items: Vec<T>,
    list: &ListQuery,
    key: impl Fn(&T) -> String,
    view: impl FnMut(T) -> U,
) -> Result<Page<U>, AppError> {
    let limit = list.request()?.limit as usize;
    items.sort_by_cached_key(&key);
    if let Some(cursor) = &list.cursor {
        items.retain(|item| key(item) > *cursor);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(key);
    Ok(Page { items: items.into_iter().map(view).collect(), next_cursor })
}

/// A page of the store as a page of the API.
pub(super) fn page<T, U>(listed: Listed<T>, view: impl FnMut(T) -> U) -> Page<U> {
    Page {
        items: listed.items.into_iter().map(view).collect(),
        next_cursor: listed.next.map(|cursor| cursor.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_short_list_show_each_item_once_while_others_go() {
        let mut names = vec!["d", "a", "c", "b", "e"];
        let list = |cursor: Option<String>| ListQuery { limit: Some(2), cursor };
        let take = |names: &[&'static str], cursor| {
            slice(names.to_vec(), &list(cursor), |name| (*name).to_owned(), |name| name).unwrap()
        };
        let first = take(&names, None);
        assert_eq!(first.items, ["a", "b"]);
        names.retain(|name| *name != "b");
        let second = take(&names, first.next_cursor);
        assert_eq!(second.items, ["c", "d"]);
        let third = take(&names, second.next_cursor);
        assert_eq!((third.items, third.next_cursor), (vec!["e"], None));
    }
}
