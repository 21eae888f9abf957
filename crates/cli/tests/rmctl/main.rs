//! The binary against a server that answers with recorded bodies.

// Clippy takes the functions beside the tests for ordinary code.
#![allow(clippy::unwrap_used)]

mod follow;
mod login;
mod maintenance;
mod output;
mod refusals;
mod secrets;
mod server;
mod terminal;
