//! What restic is told and what it answers: argument lists, environment, output, exit codes, locks.
//!
//! Nothing here starts a process. A caller builds a [`Command`], asks it for its [arguments](Command::args), sets the
//! variables of an [`Environment`], runs restic with standard input closed, feeds every line of output to
//! [`Facts::observe`], and lets [`classify`] say how it ended.
//!
//! Supported are restic 0.14.0 ([`Version::OLDEST_SUPPORTED`]) and everything newer. Statements about restic's
//! behaviour were recorded with 0.14.0, 0.18.0 and 0.19.1; releases in between are covered by restic's change log.

mod backup;
mod capabilities;
mod check;
mod class;
mod command;
mod counter;
mod diagnosis;
mod environment;
mod exit;
mod facts;
mod forget;
mod go_duration;
mod id;
mod init;
mod line;
mod lock;
mod outcome;
mod prune;
mod repo_url;
mod sighting;
mod snapshot;
mod snapshot_time;
mod stats;
mod version;

pub use backup::{BackupSummary, ItemError, Progress};
pub use capabilities::Capabilities;
pub use check::{CheckOutcome, CheckReport, check_outcome, parse_check};
pub use class::OutcomeClass;
pub use command::{
    Backup, Command, CommandError, Forget, GlobalOptions, Kind, ReadData, RetryLock, SnapshotFilter,
    SubsetPercent,
};
pub use counter::{Counter, parse_counter};
pub use environment::{Access, Environment, EnvironmentError, is_inherited_removed};
pub use exit::{Exit, Sent, StopReason};
pub use facts::Facts;
pub use forget::{ForgetGroup, KeepReason, ReasonedSnapshot, parse_forget};
pub use id::{IdError, LockId, SnapshotId};
pub use init::{InitReport, parse_init};
pub use line::{Line, Stream, parse_line};
pub use lock::{
    Holder, Lock, RepoConfig, Unlock, parse_cat_config, parse_cat_lock, parse_list_locks, parse_unlocked,
};
pub use outcome::{Ended, Outcome, classify, retries_refused_delete};
pub use prune::{PruneReport, parse_prune};
pub use repo_url::{Backend, RepoUrl, RepoUrlError, Separated};
pub use sighting::{LockSighting, is_locked, sight_lock};
pub use snapshot::{Snapshot, SnapshotSummary, count_ignored_snapshots, parse_snapshots};
pub use snapshot_time::SnapshotTime;
pub use stats::{RawDataStats, parse_stats};
pub use version::{Version, VersionError};

/// Output of restic that is not what its command prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("restic's answer to `{command}` is not what it prints: {problem}")]
pub struct OutputError {
    command: &'static str,
    problem: String,
}

impl OutputError {
    fn new(command: &'static str, problem: impl Into<String>) -> Self {
        Self { command, problem: problem.into() }
    }
}
