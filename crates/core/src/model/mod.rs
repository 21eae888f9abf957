//! The nouns as plain data: what the store keeps, the engine decides on and the API shows.

mod audit;
mod fleet;
mod hold;
mod job;
mod maintenance;
mod plan;
mod report;
mod run;
mod state;

pub use audit::{Actor, ActorKind, AuditEntry, AuditRow};
pub use fleet::{
    AppendOnly, Attachment, CredentialError, CredentialInfo, CredentialKind, CredentialSecret, Host,
    HostFacts, Repo, Role,
};
pub use hold::Hold;
pub use job::{Job, JobIntent, JobKind, JobSummary, LockMode, UnlockScope};
pub use maintenance::{CheckStatus, ForgetResult, LockOwner, PruneResult, SeenLock, SnapshotDecision};
pub use plan::{BackupOptions, MissedSoFar, Schedule, SourceGroup};
pub use report::{LogLine, LogStream, RepoStats, Snapshot, StatsKind};
pub use run::{Pending, PendingCause, Run, RunAfter, RunKey, RunState};
pub use state::{FinalState, IllegalMove, JobEvent, JobState, transition};

pub use crate::text::ResticRepoId;
