//! A year of jobs, the runs that owe an attempt, and the attempts at a slot.

use restic_manager_core::id::RunId;
use restic_manager_core::model::{
    Actor, ActorKind, FinalState, Job, JobKind, JobSummary, Run, RunKey, RunState,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_store::{DispatchIntent, Effect, FiredRun};

use super::views::Fleet;
use super::*;
use restic_manager_core::id::JobId;

#[tokio::test]
async fn a_year_shows_what_failed_and_leads_to_the_jobs_of_a_day() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    fleet.ended(JobKind::Backup, FinalState::Failed, "no storage", JobSummary::default()).await;
    house.clock.advance(3 * DAY);
    fleet.ended(JobKind::Backup, FinalState::Succeeded, "", JobSummary::default()).await;
    let of_host = format!("/hosts/{}/jobs", fleet.host);
    let page = browser.look(&of_host).await.html;
    assert!(
        page.contains(r#"<rect class="d-bad""#) && page.contains("<title>2026-11-18: 1 failed</title>"),
        "{page}"
    );
    assert!(page.contains("<title>2026-11-21: 1 succeeded</title>"), "{page}");
    // The schedule was due each night since it was made.
    assert!(page.contains("2026-11-19: missed: a schedule was due and nothing succeeded"), "{page}");
    assert!(!page.contains("2026-11-17: missed"), "nobody knows what was due before");
    let day = browser.look(&format!("{of_host}?day=2026-11-18")).await.html;
    assert!(day.contains("Jobs of 2026-11-18") && day.contains("<small>no storage</small>"), "{day}");
    assert!(!day.contains("mark ok"), "{day}");
    let none = browser.look(&format!("{of_host}?day=2026-11-19")).await.html;
    assert!(none.contains("No job was asked for then"), "{none}");
    let of_repo = browser.look(&format!("/repos/{}/jobs", fleet.repo)).await.html;
    assert!(
        of_repo.contains("<title>2026-11-18: 1 failed</title>") && of_repo.contains("2026-11-19: missed")
    );
    assert_eq!(browser.look("/hosts/01900000-0000-7000-8000-000000000000/jobs").await.status, 404);
}

#[tokio::test]
async fn a_month_shows_each_day_with_its_counts_and_leads_to_its_jobs() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    fleet.ended(JobKind::Backup, FinalState::Failed, "no storage", JobSummary::default()).await;
    fleet.ended(JobKind::Backup, FinalState::Succeeded, "", JobSummary::default()).await;
    house.clock.advance(15 * DAY);
    let path = format!("/hosts/{}/jobs", fleet.host);
    let year = browser.look(&path).await.html;
    assert!(
        year.contains(&format!(r#"<a href="{path}?month=2026-10" aria-label="Oct: October, day by day">"#))
    );
    assert!(year.contains(&format!(r#"<a href="{path}?month=2026-12">This month, day by day</a>"#)));
    let month = browser.look(&format!("{path}?month=2026-11")).await.html;
    insta::assert_snapshot!("month", browser.steady(&month, r#"<nav class="pages""#, "</table>"));
    assert!(month.contains("Jobs of November 2026 (UTC)") && month.contains("no storage"), "{month}");
    let before = browser.look(&format!("{path}?month=2026-10")).await.html;
    assert!(before.contains("No job was asked for then"), "{before}");
    let day = browser.look(&format!("{path}?month=2026-11&day=2026-11-18")).await.html;
    assert!(
        day.contains("Jobs of 2026-11-18 (UTC)") && day.contains(r#"<td class="d-bad chosen">"#),
        "{day}"
    );
    let nonsense = browser.look(&format!("{path}?month=2026-13")).await;
    assert!(nonsense.status == 200 && nonsense.html.contains("Backups of a year"));
    let of_repo = browser.look(&format!("/repos/{}/jobs?month=2026-11", fleet.repo)).await.html;
    assert!(of_repo.contains(r#"<td class="d-bad">"#), "{of_repo}");
}

impl Fleet<'_> {
    /// A slot whose first attempt failed for want of storage.
    async fn failed_slot(&mut self) -> (RunId, JobId) {
        let store = self.house.state.app.store();
        let now = self.house.clock.now();
        let schedule = store.enabled_schedules(&[self.host]).await.unwrap().remove(0);
        let key = RunKey {
            schedule_id: schedule.id,
            group_id: schedule.group_ids[0],
            repo_id: self.repo,
            slot: now,
        };
        let run = Run {
            id: RunId::mint(now, [3; 10]),
            key,
            host_id: self.host,
            state: RunState::Open,
            attempt: 1,
            pending: None,
            why: None,
            created_at: now,
        };
        let actor = Actor { kind: ActorKind::Schedule, name: schedule.id.to_string() };
        let job = Job {
            group_id: Some(key.group_id),
            run_id: Some(run.id),
            slot: Some(now),
            ..Job::queued(JobId::mint(now, [4; 10]), JobKind::Backup, self.host, self.repo, actor, now)
        };
        let (run_id, job_id) = (run.id, job.id);
        self.says(Effect::Fire { runs: vec![FiredRun { run, job: Some(job) }], missed: None }).await;
        let view = store.admission_view().await.unwrap();
        let queued = view.queued.iter().find(|queued| queued.job.id == job_id).unwrap();
        let intent = DispatchIntent {
            job_id,
            host_revision: queued.host_revision,
            repo_revision: queued.repo_revision,
        };
        store.dispatch(&[intent], now).await.unwrap();
        self.says(Effect::Started { job_id, at: now, adopt: None }).await;
        self.says(Effect::Finished {
            job_id,
            at: now,
            state: FinalState::Failed,
            class: OutcomeClass::Unreachable,
            exit_code: Some(1),
            message: "the storage does not answer".to_owned(),
            hint: None,
            summary: Box::default(),
            adopt: None,
        })
        .await;
        (run_id, job_id)
    }
}

#[tokio::test]
async fn a_run_that_owes_an_attempt_is_seen_and_can_be_given_up() {
    let house = House::new();
    let browser = house.browser().await;
    assert!(browser.look("/pending-runs").await.html.contains("Nothing is owed"));
    let mut fleet = Fleet::new(&house, "web1").await;
    let (run, job) = fleet.failed_slot().await;
    let page = browser.look("/pending-runs").await.html;
    insta::assert_snapshot!("pending_run", browser.steady(&page, "<tbody>", "</tbody>"));
    let of_job = browser.look(&format!("/jobs/{job}")).await.html;
    insta::assert_snapshot!("job_chain", browser.steady(&of_job, r#"<ol class="chain""#, "</ol>"));
    let offline = browser.send(&format!("/pending-runs/{run}/run"), &[]).await;
    assert_eq!(offline.status, 503, "its host is away: {}", offline.html);
    let asked = browser.look(&format!("/pending-runs/{run}/drop")).await.html;
    assert!(asked.contains("No further attempt at this slot?"), "{asked}");
    let dropped = browser.send(&format!("/pending-runs/{run}/drop"), &[]).await;
    assert_eq!((dropped.status, dropped.to.as_deref()), (303, Some("/pending-runs")));
    assert!(browser.look("/pending-runs").await.html.contains("Nothing is owed"));
    assert_eq!(browser.send(&format!("/pending-runs/{run}/drop"), &[]).await.status, 409);
}
