//! Agents and server are killed at random moments under continuous work; afterwards restic's own snapshots and the agents' ledgers are
//! the truth that the server's rows are held against.
//!
//! `RM_E2E_KILLS` says how many kills there are, `RM_E2E_SEED` makes the same choices again.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics
#![allow(clippy::print_stderr)] // the seed and the figures are for people

mod audit;
mod dice;
mod slots;
mod storm;

use std::time::Instant;

use dice::Dice;
use storm::Storm;

/// As many as the normal run has time for.
const KILLS: u64 = 24;
/// The choices of the normal run; the instants differ each time all the same.
const SEED: u64 = 2;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`, which is no number")))
}

#[test]
fn nothing_is_lost_and_nothing_done_twice_whoever_is_killed_whenever() {
    let seed = number("RM_E2E_SEED").unwrap_or(SEED);
    let kills = number("RM_E2E_KILLS").unwrap_or(KILLS);
    eprintln!("RM_E2E_SEED={seed} RM_E2E_KILLS={kills}");
    let begun = Instant::now();
    let mut storm = Storm::gather(Dice::new(seed));
    while storm.tally.kills() < kills || !storm.slots_came() {
        storm.strike();
    }
    let struck = begun.elapsed();
    storm.calm_down();
    let figures = audit::audit(&mut storm);
    eprintln!("{:?}\n{figures:?}\nkilled for {struck:?}, all in {:?}", storm.tally, begun.elapsed());
    // Of 200 at least 50, and as many in proportion.
    assert!(storm.tally.between * 4 >= kills, "{:?}", storm.tally);
}
