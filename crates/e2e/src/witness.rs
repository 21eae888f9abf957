//! What a witness before restic saw.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::tools::{Restic, binary};

/// How restic locks its repository for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Not at all.
    None,
    /// Together with others that share it.
    Shared,
    /// Alone.
    Exclusive,
}

/// A call of restic on a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The process.
    pub pid: u32,
    /// The command's word.
    pub command: String,
    /// How it locks.
    pub mode: Mode,
    /// Whether another one ran then that excludes it.
    pub overlaps: bool,
}

/// Watches the calls on one repository by all who use [`Witness::restic`].
#[derive(Debug)]
pub struct Witness {
    folder: PathBuf,
    restic: Restic,
}

impl Mode {
    /// The command's word, and how restic locks for it: `openWithReadLock`, `openWithAppendLock` and `openWithExclusiveLock` in its
    /// `cmd/restic`. A word that is not listed counts as exclusive, so that a new command is noticed.
    pub fn of(args: &[impl AsRef<str>]) -> (String, Self) {
        let command = args.first().map_or("", AsRef::as_ref).to_owned();
        let mode = match command.as_str() {
            _ if args.iter().any(|arg| arg.as_ref() == "--no-lock") => Self::None,
            "" | "version" | "help" | "init" | "unlock" | "cache" => Self::None,
            "backup" | "snapshots" | "stats" | "ls" | "list" | "cat" | "find" | "diff" | "dump" => {
                Self::Shared
            }
            _ => Self::Exclusive,
        };
        (command, mode)
    }
}

impl Witness {
    /// Stands before a restic.
    ///
    /// # Panics
    ///
    /// When its folder cannot be made.
    pub fn before(restic: &Restic, folder: &Path) -> Self {
        fs::create_dir(folder).expect("a new folder");
        let program = folder.join("restic");
        let script = format!(
            "#!/bin/sh\nexec '{}' '{}' '{}' \"$@\"\n",
            binary("restic-witness").display(),
            folder.display(),
            restic.program.display()
        );
        fs::write(&program, script).expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a file of ours");
        Self { folder: folder.to_owned(), restic: Restic { program } }
    }

    /// The restic that is watched.
    pub const fn restic(&self) -> &Restic {
        &self.restic
    }

    /// All calls so far, in order.
    ///
    /// # Panics
    ///
    /// When what was written down is no call.
    pub fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(self.folder.join("calls")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a call")).collect()
    }
}
