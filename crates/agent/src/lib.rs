//! The agent of restic-manager.

mod clock;
mod journal;
pub mod ledger;
mod random;
pub mod secrets;
pub mod server_url;
pub mod spool;
pub mod state;
