//! How names are compared.

use restic_manager_core::text::DisplayName;

/// What two names that differ only in case have in common: the Unicode lowercase. Lists are sorted by it, uniqueness is held on it.
pub(crate) fn name_key(name: &DisplayName) -> String {
    folded(name.as_str())
}

/// A text without regard to case.
pub(crate) fn folded(text: &str) -> String {
    text.to_lowercase()
}
