//! Faults of a store.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// A fault: the caller can only report it, or try again later. [`StoreError::BadCursor`] alone is the caller's own.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A text that was handed in as the place where a page begins is no cursor of that list.
    #[error("`{}` is no cursor of this list: begin again without it", cursor.escape_debug())]
    BadCursor {
        /// The text, cut after 80 characters.
        cursor: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file of the database cannot be made or opened; the source says why.
    #[error("the database {} cannot be opened: {}", path.display(), remedy(source.as_ref()))]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system or the backend said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file is no SQLite database. It was left as it is.
    #[error("{} is no SQLite database and was left as it is: name another path", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database of another program. It was left as it is.
    #[error("{} is a database of another program and was left as it is: name another path", path.display())]
    OfAnotherProgram {
        /// The file.
        path: PathBuf,
    },
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
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// The error of a text that is no cursor of a list.
    pub(crate) fn bad_cursor(cursor: &str, why: impl std::fmt::Display) -> Self {
        Self::BadCursor { cursor: cursor.chars().take(80).collect(), why: why.to_string() }
    }
}

/// What helps against a file that cannot be opened.
fn remedy(source: &(dyn Error + Send + Sync + 'static)) -> &'static str {
    match source.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => "make its folder, or name another path",
        Some(io::ErrorKind::PermissionDenied) => "let this user write there, or name another path",
        Some(_) | None => "see that file, folder and disk are well, or name another path",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_cursor_is_quoted_on_one_line_and_cut() {
        let error = StoreError::bad_cursor("a\nb", "expected an id");
        assert_eq!(error.to_string(), "`a\\nb` is no cursor of this list: begin again without it");
        let StoreError::BadCursor { cursor, why } = StoreError::bad_cursor(&"ü".repeat(100), "no") else {
            panic!("another error");
        };
        assert_eq!((cursor, why.as_str()), ("ü".repeat(80), "no"));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told_with_what_helps() {
        let told = |source: Box<dyn Error + Send + Sync>| {
            let path = PathBuf::from("/srv/rm/store.db");
            let told = StoreError::Open { path, source }.to_string();
            told.strip_prefix("the database /srv/rm/store.db cannot be opened: ").unwrap().to_owned()
        };
        let of_system = |kind: io::ErrorKind| told(Box::new(io::Error::from(kind)));
        assert_eq!(of_system(io::ErrorKind::NotFound), "make its folder, or name another path");
        assert_eq!(
            of_system(io::ErrorKind::PermissionDenied),
            "let this user write there, or name another path"
        );
        assert_eq!(told("locked".into()), "see that file, folder and disk are well, or name another path");
    }
}
