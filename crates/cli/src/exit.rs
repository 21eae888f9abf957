//! Exit codes: a documented part of the interface.

use std::process::ExitCode;

/// Everything was done.
pub const DONE: u8 = 0;
/// Something on this machine failed: a file could not be read or written.
pub const LOCAL: u8 = 1;
/// The command line is wrong, or there is no login; nothing was sent.
pub const USAGE: u8 = 2;
/// What was named does not exist, or the name is not unique.
pub const NOT_FOUND: u8 = 3;
/// The server refused.
pub const REFUSED: u8 = 4;
/// No restic-manager could be reached.
pub const UNREACHABLE: u8 = 5;
/// The followed job did not succeed.
pub const JOB_FAILED: u8 = 6;
/// Ctrl-C; a followed job goes on.
pub const INTERRUPTED: u8 = 130;

/// The codes as `--help` shows them.
pub const HELP: &str = "\
Exit codes:
    0  done
    1  something on this machine failed: a file could not be read or written
    2  the command line is wrong, or there is no login; nothing was sent
    3  what was named does not exist, or the name is not unique
    4  the server refused
    5  no restic-manager could be reached
    6  the followed job failed, was cancelled or was lost
  130  Ctrl-C; a followed job goes on";

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Local,
    Usage,
    NotFound,
    Refused,
    Unreachable,
    JobFailed,
    Interrupted,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => DONE,
            Self::Local => LOCAL,
            Self::Usage => USAGE,
            Self::NotFound => NOT_FOUND,
            Self::Refused => REFUSED,
            Self::Unreachable => UNREACHABLE,
            Self::JobFailed => JOB_FAILED,
            Self::Interrupted => INTERRUPTED,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
