//! The server of restic-manager: a control-plane engine, and a warp shell around it.
//!
//! - [`engine`]: admits jobs, sends them to agents, takes in their reports; knows nothing of HTTP
//! - [`app`]: what an operator can do, one method a deed
//! - [`vault`], [`clock`], [`random`]: secrets at rest, time and chance as arguments
//! - with the feature `web` (on by default): `web`, the HTTP API with the dashboard and the agents' socket, people with passwords, and the
//!   `restic-manager-server` binary
//!
//! Without its default features the crate is the control plane alone, for embedding next to an HTTP framework of your own: agents enrol by
//! [`App::enroll`](app::App::enroll), are known by their token ([`App::agent`](app::App::agent)), and their WebSocket, whichever it is, is served by
//! [`Connections`](engine::Connections).
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
//! // `engine.run(shutdown)` belongs into a task, `app` behind an HTTP framework, each agent's socket into `Connections::serve`.
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
