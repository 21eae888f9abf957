//! What one decision costs: `cargo bench -p restic-manager-core --bench decide`.

#![allow(clippy::disallowed_methods, clippy::print_stdout)] // a benchmark takes the time and prints it

use std::time::Instant;

use restic_manager_core::id::RepoId;
use restic_manager_core::maintenance::{MaintenancePolicy, RepoView, decide};
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::{HOUR, Timestamp};

const REPOS: u8 = 100;
const ROUNDS: i64 = 200;

fn main() {
    let start = Timestamp::from_millis(1_795_000_000_000);
    let views: Vec<RepoView> = (0..REPOS).map(|n| view(RepoId::mint(start, [n; 10]), start)).collect();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let now = start + round * HOUR;
            let begun = Instant::now();
            let due: usize = views.iter().map(|view| decide(std::hint::black_box(view), now).due.len()).sum();
            std::hint::black_box(due);
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{REPOS} decisions: median {:.2} ms of {ROUNDS} rounds", rounds[rounds.len() / 2]);
}

/// Nobody keeps track of its cadence.
fn view(repo_id: RepoId, start: Timestamp) -> RepoView {
    RepoView {
        policy_since: [None; 3],
        ..RepoView::new(repo_id, MaintenancePolicy::standard(Zone::UTC), start)
    }
}
