//! Storage of restic-manager behind one trait.
//!
//! [`Store`] joins traits of the size of one concern each: [`Accounts`], [`Fleet`], [`Plans`], [`Work`], [`PendingRuns`], [`Reports`], [`Maintenance`],
//! [`Glance`], [`Audit`], [`Meta`], [`PendingHosts`].
//! Their methods are verbs of the domain and each is one transaction; what can be refused is told by the return type, and an error is
//! a fault of the store. One is not: [`StoreError::BadCursor`], of a list that is asked to go on from a text which is no cursor of it; such a
//! text often comes from a client, who can begin again without it. Nothing here reads a clock: `now` is an argument.
//!
//! `SqliteStore` (feature `sqlite`, on by default) keeps all of it in one SQLite file, [`MemoryStore`] in memory, for tests and
//! simulations. Whoever writes a backend of their own proves it with the contract suite (feature `contract`); [`delegate_store!`] makes a layer in
//! front of another store.
//!
//! What it is not: it decides nothing. What is due and what may run is said by the core, and committed here at the revision that was read.
//!
//! ```
//! # async fn fleet() -> restic_manager_store::Result<()> {
//! use restic_manager_store::{Fleet, HostFilter, MemoryStore, PageRequest};
//!
//! let store = MemoryStore::new();
//! let hosts = store.hosts(&HostFilter::default(), PageRequest::first(50)).await?;
//! assert!(hosts.items.is_empty());
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod accounts;
mod aftermath;
mod audit;
#[cfg(feature = "contract")]
pub mod contract;
#[doc(hidden)]
pub mod delegate;
mod error;
mod fleet;
mod glance;
mod maintenance;
mod memory;
mod meta;
mod names;
mod page;
mod pending;
mod pending_runs;
mod plans;
mod preconditions;
mod reports;
#[cfg(feature = "sqlite")]
mod sqlite;
mod stats;
mod work;

pub use accounts::{
    Accounts, Bootstrapped, EnrollOutcome, EnrollmentRow, SessionRow, TokenCreated, TokenHash, TokenRow,
    UserRow,
};
pub use audit::{Audit, AuditFilter};
pub use error::StoreError;
pub use fleet::{
    AttachmentChange, AttachmentRow, Deleted, Fleet, HostChange, HostFilter, PutAttachment, PutCredential,
    Renamed, RepoChange, RepoFilter, ResticIdLearned, SealedCredential, Seen,
};
pub use glance::{DaysOf, Glance, JobDay, PrimaryRepo};
pub(crate) use maintenance::anchored_since;
pub use maintenance::{
    ForgetGroupRow, Maintenance, MaintenanceCommit, MaintenanceOutcome, MaintenanceRow, MaintenanceView,
    RunnerRow,
};
pub use memory::MemoryStore;
pub use meta::Meta;
pub use page::{Cursor, Listed, PageRequest};
pub use pending::{
    AnnounceOutcome, ApproveOutcome, ClaimOutcome, PendingHostRow, PendingHosts, RejectOutcome,
};
pub use pending_runs::{
    Becomes, MissedSlots, PendingOf, PendingRow, PendingRuns, RunNames, Settled, Settlement,
};
pub use plans::{GroupDeleted, HostPlan, PlanWritten, Plans};
pub use reports::{
    Adoption, Applied, Effect, FiredRun, LOG_CAP_BYTES, LogSlice, NumberedEffect, Reports, SnapshotFilter,
    SnapshotList, SnapshotRow,
};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use work::{
    AdmissionView, CancelOutcome, DispatchIntent, DispatchOutcome, DispatchRow, Enqueued, FleetCounts,
    JobFilter, JobMove, JobRow, QueuedJob, TakeSession, TakenSession, Work,
};

/// What a store answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// All that the product keeps.
pub trait Store:
    Accounts + Fleet + Plans + Work + PendingRuns + Reports + Maintenance + Glance + Audit + Meta + PendingHosts
{
}

impl<
    T: Accounts
        + Fleet
        + Plans
        + Work
        + PendingRuns
        + Reports
        + Maintenance
        + Glance
        + Audit
        + Meta
        + PendingHosts,
> Store for T
{
}
