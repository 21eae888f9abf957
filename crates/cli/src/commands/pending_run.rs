//! Pending runs: scheduled backups that owe an attempt.

use clap::Subcommand;
use restic_manager_core::api::{Page, PendingRunView};
use restic_manager_core::id::RunId;
use restic_manager_core::model::Hold;

use super::job::{Following, started};
use super::{Listing, Session};
use crate::error::CliError;
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, Tone, View, ago, instant};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the runs that owe an attempt, the newest first
    Ls {
        /// Only runs of this host
        #[arg(long, value_name = "HOST", conflicts_with = "repo")]
        host: Option<String>,
        /// Only runs on this repository
        #[arg(long, value_name = "REPO")]
        repo: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one of them
    Show {
        /// The run's id
        run: RunId,
    },
    /// Give a run up: nothing is tried again for its slot
    ///
    /// The schedule goes on with its next slot. What was backed up so far stays as it is.
    Drop {
        /// The run's id
        run: RunId,
    },
    /// Make the attempt that a run owes now, without waiting for its time
    Run {
        /// The run's id
        run: RunId,
        #[command(flatten)]
        following: Following,
    },
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Session { client, ui } = session;
        let one = |run: &RunId| Route::new(["pending-runs", &run.to_string()]);
        match self {
            Self::Ls { host, repo, listing } => {
                let route = Route::new(["pending-runs"])
                    .with("host_id", host.as_ref().map(|host| client.host_id(host)).transpose()?)
                    .with("repo_id", repo.as_ref().map(|repo| client.repo_id(repo)).transpose()?);
                ui.show_page(&listing.fetch(client, route)?, table)
            }
            Self::Show { run } => ui.show(&client.get(&one(run))?, card),
            Self::Drop { run } => ui.done(&client.delete(&one(run))?, "the run is given up"),
            Self::Run { run, following } => {
                let body = client.start(&Route::new(["pending-runs", &run.to_string(), "run"]))?;
                started(session, &body, *following)
            }
        }
    }
}

/// What the attempt waits for.
fn next(view: &PendingRunView, look: &Look) -> Cell {
    match &view.hold {
        None => Cell::new("at once", Tone::Good),
        Some(Hold::WaitingRetry { until }) => Cell::from(ago(*until, look.now)),
        Some(hold) => Cell::new(hold.sentence(), Tone::Warning),
    }
}

fn attempts(view: &PendingRunView) -> String {
    match view.retry_max {
        Some(max) => format!("{} of {max}", view.run.attempt),
        None => view.run.attempt.to_string(),
    }
}

fn table(page: &Page<PendingRunView>, look: &Look) -> View {
    let row = |view: &PendingRunView| {
        vec![
            Cell::from(view.run.id.to_string()),
            Cell::from(&view.host_name),
            Cell::from(&view.repo_name),
            Cell::from(&view.group_name),
            Cell::from(instant(view.run.key.slot, &look.zone)),
            Cell::from(attempts(view)),
            next(view, look),
            Cell::or_none(view.last_message.as_ref()),
        ]
    };
    Grid::new(
        &["RUN", "HOST", "REPOSITORY", "SOURCE", "SLOT", "ATTEMPT", "NEXT", "LAST ATTEMPT"],
        "No pending runs: every scheduled backup ran, or is under way.",
    )
    .sparing(&["REPOSITORY", "SLOT"])
    .rows(page.items.iter().map(row))
}

fn card(view: &PendingRunView, look: &Look) -> View {
    let when = |at| format!("{} ({})", instant(at, &look.zone), ago(at, look.now));
    let pending = view.run.pending;
    View::Card(vec![
        ("Id", view.run.id.to_string().into()),
        ("Host", Cell::from(&view.host_name)),
        ("Repository", Cell::from(&view.repo_name)),
        ("Source", Cell::from(&view.group_name)),
        ("Schedule", Cell::or_none(Some(&view.schedule_name).filter(|name| !name.is_empty()))),
        ("Slot", when(view.run.key.slot).into()),
        ("Attempt", attempts(view).into()),
        ("Owed since", Cell::or_none(pending.map(|pending| when(pending.since)))),
        ("Next attempt", next(view, look)),
        ("Why", Cell::from(&view.sentence)),
        ("Remedy", Cell::or_none(view.hold.as_ref().map(|hold| hold.remedy().to_owned()))),
        ("Last job", Cell::or_none(view.last_job_id.map(|id| id.to_string()))),
        ("It said", Cell::or_none(view.last_message.as_ref())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    fn answer() -> Page<PendingRunView> {
        serde_json::from_str(include_str!("../../tests/answers/pending_runs.json")).unwrap()
    }

    #[test]
    fn pending_runs_as_a_table() {
        insta::assert_snapshot!(table(&answer(), &fixed_look()).render(&fixed_look()));
        let none = Page { items: Vec::new(), next_cursor: None };
        assert!(table(&none, &fixed_look()).render(&fixed_look()).contains("No pending runs"));
    }

    #[test]
    fn a_pending_run_as_a_card() {
        insta::assert_snapshot!(card(&answer().items[0], &fixed_look()).render(&fixed_look()));
    }
}
