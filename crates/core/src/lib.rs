//! The pure heart of restic-manager.
//!
//! No IO, no clock, no randomness, no async runtime: `now` and jitter are arguments, and the same input gives the same answer.
//! What it holds:
//!
//! - [`schedule`]: cron, time zones and clock changes; which slot is due and how many were missed
//! - [`maintenance`]: which of forget, prune and check is due on a repository, and why the others wait
//! - [`admission`]: which waiting jobs may start, and why the others may not
//! - [`pending`]: which of the runs that owe an attempt get one, and which are given up
//! - [`slots`] and [`duty`]: the agent's side of a schedule: which slot fires, who took it, and what is done without a server
//! - [`backoff`], [`retention`]: pauses between attempts, policies as restic's arguments
//! - [`restic`]: argument lists, environment, output, exit codes and locks of restic 0.14.0 and newer
//! - [`wire`] and [`link`]: the messages between agent and server, and the session that carries them, sans-IO
//! - [`model`], [`api`], [`id`], [`text`], [`time`], [`secret`]: the nouns, checked where they come in
//! - [`announce`]: what an agent without a token signs, and the fingerprint that people compare
//! - [`humane`]: numbers, times and states as people say them
//!
//! What it is not: it starts no process, opens no socket, stores nothing. The crates around it do.
//!
//! ```
//! use restic_manager_core::schedule::{Cadence, CronExpr, Zone};
//! use restic_manager_core::time::Timestamp;
//!
//! let cadence = Cadence { cron: "30 2 * * *".parse::<CronExpr>()?, zone: "Europe/Berlin".parse::<Zone>()? };
//! // The night in which Berlin has no 02:30: the backup runs at 03:00.
//! let evening = Timestamp::from_millis(1_774_724_400_000);
//! assert_eq!(cadence.next_after(evening).map(|at| at.to_string()).as_deref(), Some("2026-03-29T01:00:00Z"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]

/// The calendar behind [`time`] and [`schedule`]: its types stand in [`time::Timestamp::to_jiff`] and [`schedule::Zone::as_jiff`].
pub use jiff;

/// What a registry shows; its example is run like the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod admission;
pub mod announce;
pub mod api;
pub mod backoff;
pub mod duty;
pub mod humane;
pub mod id;
pub mod link;
pub mod maintenance;
pub mod model;
pub mod pending;
pub mod restic;
pub mod retention;
pub mod schedule;
pub mod secret;
pub mod slots;
pub mod text;
pub mod time;
pub mod wire;
