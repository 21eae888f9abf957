//! The server of restic-manager: a control-plane engine, and a warp shell around it.
//!
//! - [`engine`]: admits jobs, sends them to agents, takes in their reports; knows nothing of HTTP
//! - [`app`]: what an operator can do, one method a deed
//! - [`vault`], [`clock`], [`random`]: secrets at rest, time and chance as arguments
//! - with the feature `web` (on by default): `web` and `ws`, the HTTP API and the agents' socket, and the `restic-manager-server` binary
//!
//! Without its default features the crate is the engine alone, for embedding next to an HTTP framework of your own.
//!
//! What it is not: no backup passes through it, and no policy is decided here; that is the core's.
//!
//! ```
//! use std::sync::Arc;
//!
//! use restic_manager_server::app::App;
//! use restic_manager_server::clock::SystemClock;
//! use restic_manager_server::engine::{Engine, Sessions};
//! use restic_manager_server::random::OsRandom;
//! use restic_manager_server::vault::Vault;
//! use restic_manager_store::MemoryStore;
//!
//! let (store, sessions) = (Arc::new(MemoryStore::new()), Arc::new(Sessions::default()));
//! let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(OsRandom));
//! let vault = Arc::new(Vault::in_memory());
//! let engine = Arc::new(Engine::new(store.clone(), sessions, vault, clock.clone(), random.clone()));
//! let app = App::new(store, engine.clone(), clock, random);
//! // `engine.run(shutdown)` belongs into a task, `app` behind an HTTP framework, agents into the sessions.
//! ```

#![deny(missing_docs)]

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
