//! The session between an agent and the server, without IO: calls in, actions out, time as an argument.
//!
//! [`AgentLink`] decides when the agent connects, what it sends next from its spool, and when it gives a connection up.
//! [`ServerLink`] decides what the server does with each frame of one connection. Neither knows of sockets, clocks or disks:
//! a shell feeds them and carries out their actions, and a test drives both ends on virtual time.
//!
//! One connection delivers in order or breaks. Numbers may be missing (what was given up for space), so each frame names the
//! reliable one sent before it; a frame before which one is missing ends the connection, and the next one brings both.
//!
//! Times are milliseconds on a clock that never goes back.

mod agent;
mod server;

#[cfg(test)]
mod pair_tests;
#[cfg(test)]
mod timing_tests;

pub use agent::{AgentAction, AgentLink, DownCause, LinkState};
pub use server::{CloseReason, ServerAction, ServerLink};

/// How long the server waits for hello, and the agent for welcome, in milliseconds.
pub const HELLO_TIMEOUT: i64 = 10_000;
/// The pause between two heartbeats, in milliseconds.
pub const HEARTBEAT_EVERY: i64 = 30_000;
/// A peer that was silent for so long is gone, in milliseconds: three heartbeats.
pub const SILENCE_TIMEOUT: i64 = 90_000;
/// A session that stood for so long was a good one, in milliseconds: after it the pauses between attempts begin anew. Two
/// agents that replace each other never have one, and so do not take turns without a pause.
pub const STEADY_AFTER: i64 = 10_000;
/// How many reliable messages may be under way without an acknowledgement.
pub const WINDOW: u64 = 512;
/// How long an agent that was turned away for good reasons waits before it asks again, in milliseconds.
pub const REFUSED_RETRY: i64 = 3_600_000;
