//! The agent of restic-manager.

pub mod agent;
mod clock;
pub mod job;
mod journal;
pub mod ledger;
pub mod process;
mod random;
pub mod restic;
pub mod secrets;
pub mod server_url;
pub mod session;
pub mod spool;
pub mod state;
