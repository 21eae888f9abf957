//! The server of restic-manager: a control-plane engine, and a warp shell around it.
//!
//! - [`engine`]: admits jobs, sends them to agents, takes in their reports; knows nothing of HTTP
//! - [`app`]: what an operator can do, one method a deed
//! - [`vault`], [`clock`], [`random`]: secrets at rest, time and chance as arguments
//! - with the feature `web` (on by default): `web` and `ws`, the HTTP API and the agents' socket, and the `restic-manager-server` binary
//!
//! Without its default features the crate is the engine alone, for embedding next to an HTTP framework of your own.

pub mod app;
pub mod clock;
#[cfg(feature = "web")]
pub mod config;
pub mod engine;
#[cfg(feature = "web")]
pub mod password;
pub mod random;
#[cfg(feature = "web")]
pub mod rate;
#[cfg(feature = "web")]
pub mod shell;
pub mod vault;
#[cfg(feature = "web")]
pub mod web;
#[cfg(feature = "web")]
pub mod ws;
