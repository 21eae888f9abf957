//! Keyset pages: stable while rows come and go. A row that stays is listed once and exactly once.

/// Where a page begins, as an opaque text that only the store reads.
///
/// A text that is no cursor of that list is [`crate::StoreError::BadCursor`]. The row it was made from may be gone meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub String);

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The cursor of the page before; none for the first.
    pub after: Option<Cursor>,
    /// At most so many items; 0 counts as 1.
    pub limit: u32,
}

impl PageRequest {
    /// The first page.
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; none when this was the last.
    pub next: Option<Cursor>,
}
