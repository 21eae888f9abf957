//! The hexadecimal names restic gives to what it stores.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is no id of restic's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no restic id: expected {expected} lowercase hex digits")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

const FULL: usize = 64;
const SHORT: usize = 8;

pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The id of a snapshot: all 64 hex digits, or the first 8 as 0.14.0 prints them after a backup.
///
/// A short id is a hint to look the snapshot up; two snapshots may share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct SnapshotId(String);

impl SnapshotId {
    /// Checks the text and takes it.
    ///
    /// # Errors
    ///
    /// It has neither 64 nor 8 lowercase hex digits.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        if !is_hex(&text) || !matches!(text.len(), FULL | SHORT) {
            return Err(IdError { text: text.chars().take(80).collect(), expected: "64 or 8" });
        }
        Ok(Self(text))
    }

    /// Whether all 64 digits are known.
    pub fn is_full(&self) -> bool {
        self.0.len() == FULL
    }

    /// The digits known.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 8 digits, as people see them.
    pub fn short(&self) -> &str {
        &self.0[..SHORT]
    }

    /// Whether both may name the same snapshot: equal as far as both are known.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

/// The full id of a lock: what `cat lock` asks for, 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct LockId(String);

impl LockId {
    /// Checks the text and takes it.
    ///
    /// # Errors
    ///
    /// It has not 64 lowercase hex digits.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        if !is_hex(&text) || text.len() != FULL {
            return Err(IdError { text: text.chars().take(80).collect(), expected: "64" });
        }
        Ok(Self(text))
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 8 digits, as a refusal names them (`storage ID`).
    pub fn short(&self) -> &str {
        &self.0[..SHORT]
    }
}

macro_rules! text_forms {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )*};
}

text_forms!(SnapshotId, LockId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_short_snapshot_ids_are_told_apart() {
        let full = SnapshotId::new("ab".repeat(32)).unwrap();
        let short = SnapshotId::new("abababab").unwrap();
        assert!(full.is_full() && !short.is_full());
        assert_eq!(full.short(), short.as_str());
        assert!(full.agrees_with(&short) && short.agrees_with(&full));
        assert!(!full.agrees_with(&SnapshotId::new("abababac").unwrap()));
    }

    #[test]
    fn anything_else_is_no_id() {
        for text in
            ["", "latest", "ABABABAB", "abababa", "ababababa", &"g".repeat(64), &"a".repeat(63), "ééééaaaa"]
        {
            assert!(SnapshotId::new(text).is_err(), "{text}");
            assert!(LockId::new(text).is_err(), "{text}");
        }
        assert!(LockId::new("abababab").is_err(), "a lock is never named by a short id");
        assert_eq!(LockId::new("0".repeat(64)).unwrap().short(), "00000000");
    }
}
