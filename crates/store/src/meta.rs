//! Facts about the installation itself.

use async_trait::async_trait;

use crate::Result;

/// Facts about the installation, by key: its id, the canary of its encryption key. Never a secret in the clear.
#[async_trait]
pub trait Meta: Send + Sync {
    /// The fact with this key.
    async fn fact(&self, key: &str) -> Result<Option<String>>;
    /// Stores a fact unless there is one with this key; answers the one that is stored then. Of several at once the first stays.
    async fn fact_or_insert(&self, key: &str, value: &str) -> Result<String>;
    /// Sees whether the store takes writes: begins one, waiting for its turn as any other does, and gives it up.
    ///
    /// # Errors
    ///
    /// The fault that a write would meet before its first row; a full disk shows only where something is written.
    async fn ping(&self) -> Result<()>;
}
