//! Runs that owe an attempt, and what agents did by themselves: the engine over the memory store, on a clock of its own.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

#[path = "../house/mod.rs"]
mod house;

mod adopted;
mod breaker;
mod drained;
mod operators;
mod troubled;
mod world;
