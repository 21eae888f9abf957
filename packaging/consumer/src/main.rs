//! Decides the maintenance of a repository with nothing but the core.

use restic_manager_core::id::RepoId;
use restic_manager_core::maintenance::{MaintenancePolicy, RepoView, decide};
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::{DAY, Timestamp};

fn main() {
    let now = Timestamp::from_millis(1_795_323_600_000); // Sunday, 2026-11-22 05:00 UTC
    let since = now - DAY; // when its policy began to hold: what came since then is owed
    let view = RepoView::new(RepoId::mint(now, [7; 10]), MaintenancePolicy::standard(Zone::UTC), since);
    let decision = decide(&view, now);
    for report in &decision.reports {
        println!("{}", report.sentence);
    }
    let due: Vec<&str> = decision.due.iter().map(|job| job.kind.as_str()).collect();
    println!("due: {}", due.join(", "));
}
