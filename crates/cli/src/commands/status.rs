//! The fleet on one screen.

use restic_manager_core::api::{Attention, FleetStatus};

use super::Session;
use crate::error::CliError;
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, Tone, View, ago, count};

pub(crate) fn run(session: &Session) -> Result<(), CliError> {
    session.ui.show(&session.client.get(&Route::new(["status"]))?, screen)
}

fn screen(status: &FleetStatus, look: &Look) -> View {
    let online = if status.hosts_online == status.hosts { Tone::Good } else { Tone::Warning };
    let failed = if status.jobs_failed_24h == 0 { Tone::Good } else { Tone::Bad };
    let numbers = View::Card(vec![
        ("Hosts", Cell::new(format!("{} of {} online", status.hosts_online, status.hosts), online)),
        ("Repositories", status.repos.to_string().into()),
        ("Jobs", format!("{} running, {} waiting", status.jobs_running, status.jobs_queued).into()),
        ("Pending runs", pending_runs(status.runs_pending)),
        ("Last 24 hours", Cell::new(format!("{} failed", count(status.jobs_failed_24h, "job")), failed)),
    ]);
    let row = |thing: &Attention| {
        vec![
            Cell::new(&thing.message, tone(thing)),
            Cell::or_none(thing.since.map(|at| ago(at, look.now))),
            Cell::from(&thing.hint),
        ]
    };
    let attention = Grid::new(&["NEEDS ATTENTION", "SINCE", "WHAT TO DO"], nothing(status));
    View::Stack(vec![numbers, attention.rows(status.attention.iter().map(row))])
}

fn pending_runs(number: u64) -> Cell {
    match number {
        0 => Cell::from("none"),
        number => Cell::new(format!("{number}: rmctl pending ls"), Tone::Warning),
    }
}

fn nothing(status: &FleetStatus) -> &'static str {
    if status.hosts == 0 {
        "No hosts yet: rmctl host enroll-token makes a command that enrols one."
    } else {
        "Nothing needs attention."
    }
}

/// The codes are the server's and may grow: one that is not known is as bad as the others.
fn tone(thing: &Attention) -> Tone {
    match thing.code.as_str() {
        "job_warning" | "never_seen" | "no_backup" => Tone::Warning,
        _ => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn a_fleet_that_needs_somebody() {
        let status: FleetStatus =
            serde_json::from_str(include_str!("../../tests/answers/status.json")).unwrap();
        insta::assert_snapshot!(screen(&status, &fixed_look()).render(&fixed_look()));
    }

    #[test]
    fn a_fleet_at_rest_says_so() {
        let mut status = FleetStatus {
            hosts: 0,
            hosts_online: 0,
            repos: 0,
            jobs_running: 0,
            jobs_queued: 0,
            runs_pending: 0,
            jobs_failed_24h: 0,
            attention: Vec::new(),
        };
        let said = |status: &FleetStatus| screen(status, &fixed_look()).render(&fixed_look());
        assert!(said(&status).contains("rmctl host enroll-token"));
        status.hosts = 1;
        status.hosts_online = 1;
        assert!(said(&status).contains("Nothing needs attention."));
    }
}
