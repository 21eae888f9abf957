//! Maintenance of a repository: which of forget, prune and check is due, and why the others are not.
//!
//! [`decide`] looks at a [`RepoView`] and a time, and answers with what is due, what holds the rest, and when to look again. It is
//! deterministic and total, and calls nothing outside: the same view and time give the same [`Decision`].
//!
//! - A kind is due when a slot of its cadence has come since its **anchor**: its newest job in any state but superseded and
//!   withdrawn. However many slots passed, one is due: the newest. A job in flight suppresses the next.
//! - Every repository starts a little later than its slot, by a stable jitter, so that a fleet does not start at once.
//! - A job that ended in a way that may pass (locked, unreachable, lost) owes its slot again after 15 minutes, 1 hour and 4 hours, before
//!   the next slot comes. Any other end waits for the cadence.
//! - What would only be refused is held instead, with a reason: see [`Hold`](crate::model::Hold).
//! - The three kinds exclude each other on one repository: restic gives each of them its lock for itself. When several are due at once,
//!   start them one after another, in the order of [`Decision::due`].
//! - A job counts as under way until its state is final. One that a crash left `Running` is under way for ever, until the caller sets it
//!   to [`Lost`](crate::model::JobState::Lost).

mod decide;
mod policy;
mod view;

#[cfg(test)]
mod tests;

pub use decide::{Decision, DueJob, KindReport, decide};
pub use policy::{CadenceSetting, MaintenanceKind, MaintenancePolicy, MaintenanceSettings, PolicyError};
pub use view::{ForgetNeeds, LastJob, RepoView, RunnerState};
