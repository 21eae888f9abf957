//! Maintenance over the memory store: cadences in virtual time, holds, credentials, locks, clocks.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

mod admin_credential;
mod cadence;
mod check_and_prune;
mod clocks;
#[path = "../house/mod.rs"]
mod house;
mod lab;
mod locks;
mod refusals;
mod waiting;
