//! The exit codes, a documented interface.

/// Done.
pub(crate) const DONE: u8 = 0;
/// It did not work, or `doctor` found a problem.
pub(crate) const FAILED: u8 = 1;
/// The arguments or the configuration are wrong (clap's own code for it).
pub(crate) const USAGE: u8 = 2;
/// The agent is not enrolled, or does not run.
pub(crate) const NOT_THERE: u8 = 3;
/// The server said no.
pub(crate) const REFUSED: u8 = 4;
/// The server cannot be reached.
pub(crate) const UNREACHABLE: u8 = 5;

/// The codes for the help.
pub(crate) const HELP: &str = "Exit codes: 0 done; 1 it did not work, or doctor found a problem; 2 wrong arguments or \
    configuration; 3 not enrolled, or status found no running agent; 4 the server said no; 5 the server cannot be reached";
