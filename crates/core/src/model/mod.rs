//! The nouns as plain data: what the store keeps, the engine decides on and the API shows.

mod audit;
mod fleet;
mod job;
mod maintenance;
mod plan;
mod report;

pub use audit::{Actor, ActorKind, AuditEntry, AuditRow};
pub use fleet::{
    AppendOnly, Attachment, CredentialInfo, CredentialKind, CredentialSecret, Host, HostFacts, Repo, Role,
};
pub use job::{
    FinalState, Hold, IllegalMove, Job, JobEvent, JobIntent, JobKind, JobState, JobSummary, LockMode, Run,
    RunKey, RunState, UnlockScope, transition,
};
pub use maintenance::{CheckStatus, ForgetResult, LockOwner, PruneResult, SeenLock, SnapshotDecision};
pub use plan::{BackupOptions, Schedule, SourceGroup};
pub use report::{LogLine, LogStream, RepoStats, Snapshot, StatsKind};

pub use crate::text::ResticRepoId;
