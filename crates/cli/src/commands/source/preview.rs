//! What a forget would do.

use clap::Args;
use restic_manager_core::api::{Accepted, JobView};
use restic_manager_core::model::{ForgetResult, SnapshotDecision};
use restic_manager_core::restic::{OutcomeClass, SnapshotId};

use super::super::Session;
use super::route;
use crate::commands::job::follow_one;
use crate::error::CliError;
use crate::ui::{Cell, Grid, LogLines, Look, Tone, View, ago, count, instant};

/// A preview lists so many snapshots and no more.
const LISTED: usize = 2_000;

#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// The host
    host: String,
    /// The source group
    source: String,
    /// The repository; the primary one of the host when not given
    #[arg(long, value_name = "REPO")]
    repo: Option<String>,
}

impl Preview {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let client = &session.client;
        let repo_id = self.repo.as_ref().map(|repo| client.repo_id(repo)).transpose()?;
        let route =
            route(session, &self.host, &self.source)?.below("forget-preview").with("repo_id", repo_id);
        let started: Accepted = client.start(&route)?.read()?;
        follow_one(session, &started.job_id, LogLines::Hidden, forecast)
    }
}

fn forecast(view: &JobView, look: &Look) -> View {
    let groups = view.job.summary.as_ref().map_or(&[][..], |summary| &summary.forget);
    View::Stack(groups.iter().map(|group| fates(group, look)).collect())
}

fn fates(group: &ForgetResult, look: &Look) -> View {
    let whose = format!("of `{}` with the tag `{}`", group.restic_host, group.tag);
    if group.class != OutcomeClass::Ok {
        return View::Text(format!("Nothing is known of the snapshots {whose}: {}", group.message));
    }
    let goes = count(group.planned, "snapshot");
    let stay = group.decisions.iter().filter(|decision| !decision.keeps.is_empty()).count();
    let sum = if group.decisions.len() < LISTED {
        format!("{goes} {whose} would go, {stay} would stay.")
    } else {
        format!("{goes} {whose} would go. Here are the newest {LISTED}:")
    };
    let rows = group.decisions.iter().map(|decision| fate(decision, look));
    let header = &["SNAPSHOT", "TIME", "AGE", "FATE", "WHY"];
    View::Stack(vec![View::Text(sum), Grid::new(header, "There are no snapshots yet").rows(rows)])
}

fn fate(decision: &SnapshotDecision, look: &Look) -> Vec<Cell> {
    let id = SnapshotId::new(&decision.snapshot_id);
    let id = id.as_ref().map_or(decision.snapshot_id.as_str(), |id| id.short());
    let (fate, why) = if decision.keeps.is_empty() {
        (Cell::new("goes", Tone::Bad), "no rule keeps it".to_owned())
    } else {
        (Cell::new("stays", Tone::Good), decision.keeps.join(", "))
    };
    vec![
        Cell::from(id),
        Cell::from(instant(decision.time, &look.zone)),
        Cell::from(ago(decision.time, look.now)),
        fate,
        Cell::from(why),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    fn preview() -> JobView {
        serde_json::from_str(include_str!("../../../tests/answers/preview.json")).unwrap()
    }

    #[test]
    fn what_goes_what_stays_and_why() {
        insta::assert_snapshot!(forecast(&preview(), &fixed_look()).render(&fixed_look()));
    }

    #[test]
    fn a_list_that_is_cut_says_so_and_a_failure_never_looks_like_an_empty_list() {
        let mut view = preview();
        let said = |view: &JobView| forecast(view, &fixed_look()).render(&fixed_look());
        let group = &mut view.job.summary.as_mut().unwrap().forget[0];
        group.planned = 2_300;
        group.decisions = vec![group.decisions[1].clone(); LISTED];
        let text = said(&view);
        assert!(text.starts_with("2300 snapshots of `web1`") && text.contains("the newest 2000"), "{text}");
        let group = &mut view.job.summary.as_mut().unwrap().forget[0];
        group.class = OutcomeClass::Locked;
        group.message = "the repository is locked".to_owned();
        assert_eq!(
            said(&view),
            "Nothing is known of the snapshots of `web1` with the tag `home`: the repository is locked\n"
        );
        view.job.summary = None;
        assert_eq!(said(&view), "");
    }
}
