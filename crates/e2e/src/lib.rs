//! A house of real processes for the tests: server, agents, `rmctl`, restic, rest-server.
//!
//! Everything lies in one temporary folder, listens on loopback, and ends with the value that owns it. Waiting is polling with a
//! deadline; what a wait was for, and the logs, are in the panic.

mod browser;
mod cable;
pub mod fleet;
mod house;
mod ledger;
mod process;
mod rest;
mod sealed;
mod tools;
pub mod witness;

pub use browser::{Browser, Finding, Motion, Scheme, Scripts};
pub use cable::{Cable, Direction};
pub use house::{ADMIN_PASSWORD, Agent, House, Way};
pub use ledger::{Claim, Ledger};
pub use process::{Process, wait_for, wait_within};
pub use rest::{RestServer, Rights};
pub use sealed::SealedFiles;
pub use tools::{Restic, binary, noise, rest_server, restic_newest, restic_oldest};

/// The programs in the book's embedding guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/embedding.md")]
pub struct EmbeddingGuide;
