//! The process around the engine: its folder, its socket, its signals, its log and its exit code.

mod address;
pub mod admin;
mod bootstrap;
pub mod cli;
mod client;
mod compose;
mod data_dir;
pub mod exit;
mod failure;
mod guarded;
mod logging;
mod panics;
mod patience;
mod run;
mod serve;

pub use address::AddressFile;
pub use bootstrap::BootstrapToken;
pub use client::{Peer, client_addr, is_https};
pub use data_dir::{DataDir, DataDirError};
pub use failure::Failure;
pub use logging::start_logging;
pub use patience::TooSlow;
pub use run::run;
pub use serve::{Limits, bind, serve};
