//! Why something waits.

use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::time::Timestamp;

/// Why something that is due or queued does not run at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Hold {
    /// The host's agent is not connected.
    HostOffline,
    /// The host runs another job.
    HostBusy {
        /// That job.
        job_id: JobId,
    },
    /// The repository is used in a way that excludes this job.
    RepoBusy {
        /// The job that uses it.
        job_id: JobId,
    },
    /// A job that must run alone waits for the repository and closed the door behind it.
    Draining {
        /// That job.
        job_id: JobId,
    },
    /// A job in the way runs on a host that is out of contact.
    OutOfContact {
        /// That job.
        job_id: JobId,
    },
    /// The admin credential is missing.
    AdminCredsRequired,
    /// The last check found errors.
    CheckErrors,
    /// Somebody else's lock is on the repository.
    ForeignLock,
    /// No host is named, or left, to run the repository's maintenance.
    NoRunner,
    /// The host has no usable restic.
    ResticMissing,
    /// The clock jumped.
    ClockSuspect,
    /// The repository was unreachable for many; one tries, the others wait.
    BreakerOpen,
    /// The next attempt is not due yet.
    WaitingRetry {
        /// When it is.
        until: Timestamp,
    },
}

impl Hold {
    /// The reason in one sentence.
    pub const fn sentence(&self) -> &'static str {
        match self {
            Self::HostOffline => "the host's agent is not connected",
            Self::HostBusy { .. } => "the host is busy with another job",
            Self::RepoBusy { .. } => "the repository is in use by a job that excludes this one",
            Self::Draining { .. } => "a job that must run alone waits for the repository first",
            Self::OutOfContact { .. } => "a job in the way runs on a host that is out of contact",
            Self::AdminCredsRequired => "the admin credential of the repository is missing",
            Self::CheckErrors => "the last check found errors in the repository",
            Self::ForeignLock => "the repository is locked by a process that is not ours",
            Self::NoRunner => "no host is set to run the repository's maintenance",
            Self::ResticMissing => "the host has no usable restic",
            Self::ClockSuspect => "the clock jumped and is not trusted yet",
            Self::BreakerOpen => "the repository is unreachable for many hosts; one of them is trying",
            Self::WaitingRetry { .. } => "the next attempt is not due yet",
        }
    }

    /// What a person can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::HostOffline => "start the agent on the host, or see `restic-manager-agent doctor` there",
            Self::HostBusy { .. } | Self::RepoBusy { .. } | Self::Draining { .. } => {
                "wait, or cancel the job in the way"
            }
            Self::OutOfContact { .. } => "bring that host back, or cancel its job by name",
            Self::AdminCredsRequired => "set it with `rmctl creds set --kind admin`",
            Self::CheckErrors => "repair the repository and run a check, or override the hold",
            Self::ForeignLock => "see who holds it, then `rmctl repo unlock`",
            Self::NoRunner => "name a runner for the repository",
            Self::ResticMissing => "install restic on the host; its agent finds it by itself",
            Self::ClockSuspect => "check the clock of the server and of the hosts",
            Self::BreakerOpen => "look after the storage; the others follow by themselves",
            Self::WaitingRetry { .. } => "wait, or run it now",
        }
    }
}
