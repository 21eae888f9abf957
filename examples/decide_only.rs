//! Feeds state of one's own to the scheduler, and gets what is due and why. No async, no clock, no storage.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::maintenance::{
    LastJob, MaintenanceKind, MaintenancePolicy, RepoView, RunnerState, decide,
};
use restic_manager_core::model::JobState;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::{DAY, HOUR, MINUTE, Timestamp};

fn main() -> Result<(), Box<dyn Error>> {
    // Ids are yours to mint: a time and ten random bytes.
    let saturday = Timestamp::from_millis(1_795_255_200_000); // 2026-11-21 10:00 UTC
    let repo_id = RepoId::mint(saturday, [7; 10]);
    let zone: Zone = "Europe/Berlin".parse()?;
    let mut view = RepoView::new(repo_id, MaintenancePolicy::standard(zone), saturday);

    tell("a new repository", &view, saturday);

    let mut now = saturday + DAY - 5 * HOUR;
    tell("the night of Sunday", &view, now);

    // What was decided is yours to do. The runner, meanwhile, was switched off.
    for job in decide(&view, now).due {
        println!("  started: {} for the slot {}", job.kind.as_str(), job.slot);
        view.set_last(job.kind, ended(now, job.slot, JobState::Succeeded, OutcomeClass::Ok));
    }
    now = now + DAY;
    view.runner = RunnerState::Away;
    tell("a night later, without the runner", &view, now);

    view.runner = RunnerState::Ready;
    let slot = decide(&view, now).due[0].slot;
    view.set_last(MaintenanceKind::Forget, ended(now, slot, JobState::Failed, OutcomeClass::Locked));
    now = now + 20 * MINUTE;
    tell("the runner is back, and met a lock 20 minutes ago", &view, now);

    view.check_errors = true;
    now = now + 6 * DAY;
    tell("the next Sunday, after a check that found errors", &view, now);
    Ok(())
}

/// Prints a decision: what is due, what each kind says of itself, and when to look again.
fn tell(title: &str, view: &RepoView, now: Timestamp) {
    println!("{title} ({now})");
    let decision = decide(view, now);
    for report in &decision.reports {
        println!("  {}", report.sentence);
    }
    let due: Vec<&str> = decision.due.iter().map(|job| job.kind.as_str()).collect();
    println!("  due: {}", if due.is_empty() { "nothing".to_owned() } else { due.join(", ") });
    match decision.wake_at {
        Some(at) => println!("  look again: {at}\n"),
        None => println!("  look again: when somebody tells\n"),
    }
}

/// A job that ended ten minutes after it was asked for.
fn ended(at: Timestamp, slot: Timestamp, state: JobState, class: OutcomeClass) -> LastJob {
    LastJob {
        job_id: JobId::mint(at, [1; 10]),
        created_at: at,
        finished_at: Some(at + 10 * MINUTE),
        state,
        class: Some(class),
        slot: Some(slot),
        attempt: 1,
    }
}
