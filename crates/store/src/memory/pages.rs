//! Keyset pages over rows in order.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Cursor, Listed, PageRequest, Result, StoreError};

/// One page of rows that come in the order of their keys; the cursor is the key of the last row.
pub(super) fn page<K, T>(rows: impl IntoIterator<Item = (K, T)>, request: &PageRequest) -> Result<Listed<T>>
where
    K: Ord + Serialize + DeserializeOwned,
{
    let after = request.after.as_ref().map(read::<K>).transpose()?;
    let limit = usize::try_from(request.limit.max(1)).unwrap_or(usize::MAX);
    let mut rest = rows.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
    let mut items = Vec::new();
    let mut last = None;
    for (key, item) in rest.by_ref().take(limit) {
        items.push(item);
        last = Some(key);
    }
    let next = match (last, rest.next()) {
        (Some(key), Some(_)) => Some(write(&key)?),
        (_, _) => None,
    };
    Ok(Listed { items, next })
}

fn read<K: DeserializeOwned>(cursor: &Cursor) -> Result<K> {
    serde_json::from_str(&cursor.0).map_err(|error| StoreError::bad_cursor(&cursor.0, error))
}

fn write<K: Serialize>(key: &K) -> Result<Cursor> {
    serde_json::to_string(key)
        .map(Cursor)
        .map_err(|error| StoreError::Backend { doing: "write a cursor", source: Box::new(error) })
}
