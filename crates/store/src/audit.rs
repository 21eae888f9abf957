//! The audit log.

use async_trait::async_trait;
use restic_manager_core::model::{ActorKind, AuditEntry, AuditRow};
use restic_manager_core::time::Timestamp;

use crate::{Listed, PageRequest, Result};

/// Which rows of the audit log; what is none, or empty, matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// By an actor of this kind.
    pub actor_kind: Option<ActorKind>,
    /// By the actor with exactly this name.
    pub actor: Option<String>,
    /// With exactly this action.
    pub action: Option<String>,
    /// About a thing of this kind.
    pub subject_kind: Option<String>,
    /// About the thing with this id.
    pub subject_id: Option<String>,
    /// At or after this instant.
    pub since: Option<Timestamp>,
}

/// Who did what.
///
/// Every method of the store that takes an [`AuditEntry`] writes it, as it is given, in the commit that makes the change. A change that
/// is refused, and a repeat that changes nothing, writes none.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Writes down what happened outside the store: a failed login, an exported secret.
    async fn record(&self, entry: AuditEntry) -> Result<()>;
    /// Rows of the log, newest first by id.
    async fn audit(&self, filter: &AuditFilter, page: PageRequest) -> Result<Listed<AuditRow>>;
}
