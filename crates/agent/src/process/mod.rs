//! Restic as a process that outlives the agent.
//!
//! Its output goes to files that the agent [tails](Tail), never into a pipe: a pipe would kill restic when the agent dies and
//! leave its lock behind. A small [supervisor](supervise_main) waits for its end and writes it down, so that a later agent
//! can [adopt](Running::adopt) the run and still learn how it ended.

mod identity;
mod record;
mod running;
mod supervise;
mod tail;

pub(crate) use crate::clock::wall as now;
pub use identity::ProcessIdentity;
pub(crate) use record::STDOUT;
pub use record::{ChildRecord, ExitRecord, Spec, StopRecord};
pub(crate) use running::set_environment;
pub use running::{Adopted, End, Launch, Running, StartError, Supervisor};
pub(crate) use supervise::exit_of;
pub use supervise::{supervise_if_asked, supervise_main};
pub use tail::{MAX_LINE, RawLine, Tail};
