//! Why this host has no usable restic.

use std::path::PathBuf;

use restic_manager_core::restic::Version;

/// Why this host has no usable restic. It is a value, not the end of the agent: jobs fail with it until it is mended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResticProblem {
    /// None of the usual places holds one.
    #[error("restic is not installed on this host, or not in the agent's PATH")]
    NotFound,
    /// The configuration names a file that is not there.
    #[error("the configured restic {} does not exist", path.display())]
    ConfiguredMissing {
        /// The file.
        path: PathBuf,
    },
    /// It is there, but cannot be run.
    #[error("{} cannot be run: {why}", path.display())]
    NotRunnable {
        /// The file.
        path: PathBuf,
        /// What the operating system or the program said.
        why: String,
    },
    /// It runs, but does not say a version as restic does.
    #[error("{} does not answer as restic does: {said}", path.display())]
    NotRestic {
        /// The file.
        path: PathBuf,
        /// The begin of what it said.
        said: String,
    },
    /// It is older than what this agent knows how to drive.
    #[error("{} is restic {version}, which is too old", path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: Version,
    },
}

impl ResticProblem {
    /// What a person can do about it. The agent looks again by itself before each job.
    pub fn remedy(&self) -> String {
        let oldest = Version::OLDEST_SUPPORTED;
        match self {
            Self::NotFound => format!("install restic {oldest} or newer; the agent finds it by itself"),
            Self::ConfiguredMissing { .. } => {
                format!(
                    "correct `restic` in the agent's configuration, or install restic {oldest} or newer there"
                )
            }
            Self::NotRunnable { .. } => {
                "make it a program for this machine that the agent's user may execute".to_owned()
            }
            Self::NotRestic { .. } => {
                format!(
                    "put a real restic {oldest} or newer in its place, or name another one in the configuration"
                )
            }
            Self::TooOld { .. } => format!("upgrade restic to {oldest} or newer"),
        }
    }

    /// The problem and its remedy in one sentence, as a host shows it.
    pub fn sentence(&self) -> String {
        format!("{self}; {}", self.remedy())
    }
}
