//! The restic of this host: where it is and what it can do.

mod binary;
mod finder;
mod problem;

pub use binary::ResticBinary;
pub use finder::ResticFinder;
pub use problem::ResticProblem;
