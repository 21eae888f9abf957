//! Faults of a store.

/// A fault: the caller can only report it, or try again later.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database was written by a newer version of the product.
    #[error("the database has schema {found}, this build knows {known}: run the newer version that wrote it")]
    TooNew {
        /// The schema it has.
        found: i64,
        /// The newest schema this build knows.
        known: i64,
    },
    /// A stored value is not what this build can read.
    #[error("stored {what} {id} cannot be read: {why}")]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Its id.
        id: String,
        /// What is wrong.
        why: String,
    },
    /// A row that another one refers to is not there.
    #[error("there is no {what} {id}")]
    Missing {
        /// What it is.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The disk is full.
    #[error("the disk that holds the database is full: free some space there")]
    DiskFull,
    /// The backend failed; the source says how.
    #[error("the database failed while it was to {doing}")]
    Backend {
        /// What it was doing.
        doing: &'static str,
        /// Its own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
