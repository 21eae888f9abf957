//! How a process of restic ended, and what was done to it.

use serde::{Deserialize, Serialize};

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// A signal of this number ended it.
    Signal(i32),
    /// It could not be started: there is no restic, or it may not be run.
    NotStarted,
}

/// The strongest signal that the caller sent to the process.
///
/// That a run was cancelled is known from this alone: the exit code may be 1, 130 or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// None.
    Nothing,
    /// SIGINT.
    SigInt(StopReason),
    /// SIGKILL, after SIGINT did not do.
    SigKill(StopReason),
}

/// Why the caller stopped a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// A person asked for it, or the agent is leaving.
    Cancel,
    /// The repository did not answer for too long.
    Unreachable,
    /// The server refused to delete, and restic goes on asking: 0.14.0 does so for 44 s.
    DeleteRefused,
}
