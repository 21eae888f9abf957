//! One restic program.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use restic_manager_core::restic::{Capabilities, Command, GlobalOptions, Version, is_inherited_removed};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;

use super::ResticProblem;

/// A restic that this agent can drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResticBinary {
    /// The program: an absolute path.
    pub path: PathBuf,
    /// Its version.
    pub version: Version,
    /// What that version can do.
    pub capabilities: Capabilities,
}

/// How long `restic version` may take: it opens no repository.
const PROBE: Duration = Duration::from_secs(20);
/// More than any restic says about its version.
const ANSWER: u64 = 16 * 1024;

impl ResticBinary {
    /// A program whose version is known.
    pub fn known(path: impl Into<PathBuf>, version: Version) -> Self {
        Self { path: path.into(), version, capabilities: Capabilities::of(version) }
    }

    /// Asks the program at `path` for its version.
    ///
    /// # Errors
    ///
    /// It cannot be run, is no restic, or is older than 0.14.0.
    pub async fn probe(path: &Path) -> Result<Self, ResticProblem> {
        let said = ask_version(path).await?;
        let version = Version::from_output(&said).map_err(|_| ResticProblem::NotRestic {
            path: path.to_owned(),
            said: match said.trim().lines().next() {
                Some(line) => line.chars().take(80).collect(),
                None => "nothing".to_owned(),
            },
        })?;
        if !version.is_supported() {
            return Err(ResticProblem::TooOld { path: path.to_owned(), version });
        }
        Ok(Self::known(path, version))
    }
}

async fn ask_version(path: &Path) -> Result<String, ResticProblem> {
    let not_runnable = |why: String| ResticProblem::NotRunnable { path: path.to_owned(), why };
    // Every release knows `version`; which arguments a newer one would take does not matter yet.
    let oldest = Capabilities::of(Version::OLDEST_SUPPORTED);
    let mut program = tokio::process::Command::new(path);
    program.args(Command::Version.args(oldest, &GlobalOptions::default()));
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_inherited_removed) {
            program.env_remove(name);
        }
    }
    let mut child = program.spawn().map_err(|error| not_runnable(error.to_string()))?;
    let stdout = child.stdout.take();
    let answer = async {
        let said = read_some(stdout).await;
        let status = child.wait().await.map_err(|error| not_runnable(error.to_string()))?;
        match said.is_empty() && !status.success() {
            true => Err(not_runnable(format!("it ended with {status} and said nothing"))),
            false => Ok(said),
        }
    };
    match tokio::time::timeout(PROBE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(not_runnable(format!("it did not say its version within {} s", PROBE.as_secs()))),
    }
}

async fn read_some(stdout: Option<ChildStdout>) -> String {
    let mut said = Vec::new();
    if let Some(stdout) = stdout {
        // What was read before an error is judged all the same.
        let _ = stdout.take(ANSWER).read_to_end(&mut said).await;
    }
    String::from_utf8_lossy(&said).into_owned()
}
