//! What a Rust program does with the crates of restic-manager: each file of this folder is one use, under 150 lines.
//!
//! ```text
//! cargo run -p restic-manager-examples --example decide_only
//! ```
//!
//! | example | crates | shows |
//! | --- | --- | --- |
//! | `decide_only` | core | your own state in, what is due and why out; no async |
//! | `simulate_year` | core | a year of a fleet's maintenance as text and SVG |
//! | `retention_preview` | core | what `forget` would do to `restic snapshots --json`, with reasons |
//! | `lock_doctor` | core | the locks of a repository, explained |
//! | `run_restic` | core, agent | the runner alone: typed progress, cancel, typed outcome |
//! | `custom_store` | store | a layer and a capability of one's own, held against the contract |
//! | `embed_engine` | core, store, server | the engine inside another tokio program, behind axum |
//! | `custom_dispatch` | core, store, server | maintenance over ssh, without any agent |
//!
//! `tests/output.rs` runs each and keeps what it prints.
