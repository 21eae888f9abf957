#![doc = include_str!("../README.md")]

pub mod agent;
pub mod checker;
pub mod dice;
pub mod fabric;
pub mod fates;
pub mod fleet;
pub mod history;
pub mod jobs;
pub mod network;
pub mod repos;
pub mod restic;
pub mod server;
pub mod when;
pub mod world;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use history::Counts;
use world::World;

/// How many of the last events are shown of a history that went wrong.
const LAST_EVENTS: usize = 60;

/// What is to be said of a history.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Which.
    pub seed: u64,
    /// What is wrong with it; empty when nothing is.
    pub wrong: Vec<String>,
    /// How much happened.
    pub counts: Counts,
    /// Its events, where they were asked for.
    pub trace: Vec<String>,
}

/// Plays a history and judges it.
pub fn judge(seed: u64, trace: bool) -> Verdict {
    let world = World::play(seed, trace);
    let mut counts = world.fabric.history.counts;
    let wrong = checker::judge(&world, &mut counts);
    let line = |(at, what): &(i64, String)| {
        let wall = restic_manager_core::time::Timestamp::from_millis(when::BEGIN + at);
        format!("{wall} {what}")
    };
    Verdict { seed, wrong, counts, trace: world.fabric.history.trace().iter().map(line).collect() }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}:", self.seed)?;
        for wrong in self.wrong.iter().take(12) {
            writeln!(f, "  wrong: {wrong}")?;
        }
        if self.wrong.len() > 12 {
            writeln!(f, "  and {} more", self.wrong.len() - 12)?;
        }
        for line in self.trace.iter().rev().take(LAST_EVENTS).rev() {
            writeln!(f, "  {line}")?;
        }
        write!(f, "  replay: cargo run -p restic-manager-sim --release -- --seed {} --trace", self.seed)
    }
}

/// The outcome of a future that never waits: nothing does over the memory store, on one thread.
pub fn now_or_never<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("something waited, where nothing can"),
    }
}
