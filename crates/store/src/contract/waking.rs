//! What has the maintenance of a repository looked at.

use std::sync::Arc;

use restic_manager_core::id::SpoolId;
use restic_manager_core::maintenance::MaintenanceSettings;
use restic_manager_core::model::{
    AppendOnly, CheckStatus, CredentialKind, FinalState, JobEvent, JobKind, JobSummary, Repo, RepoStats,
    Role, SourceGroup,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::Timestamp;

use super::fixture::{
    Agent, asked, at, attached, attachment, audit, change, credential, dispatch, enrolled, group, hello, job,
    lock, made_repo, mint, queued, ran, session, tied, view,
};
use crate::{Effect, MaintenanceCommit, MaintenanceOutcome, RepoChange, Store};

fn no_entry(_: &restic_manager_core::model::Job) -> restic_manager_core::model::AuditEntry {
    audit("job.asked")
}

async fn settle(store: &Arc<dyn Store>, repo: &Repo, wake_at: Option<Timestamp>) -> i64 {
    let repo_revision = view(store, repo).await.repo.revision;
    let commit = MaintenanceCommit { repo_id: repo.id, repo_revision, wake_at, jobs: Vec::new() };
    let outcome = store.commit_maintenance(&[commit], &no_entry).await.unwrap();
    assert_eq!(outcome, [MaintenanceOutcome::Done(Vec::new())]);
    repo_revision
}

/// A repository that waits for a word and gets it.
struct Sleeper<'a> {
    store: &'a Arc<dyn Store>,
    repo: &'a Repo,
    revision: i64,
}

impl<'a> Sleeper<'a> {
    async fn of(store: &'a Arc<dyn Store>, repo: &'a Repo) -> Self {
        Self { store, repo, revision: settle(store, repo, None).await }
    }

    /// It was woken at that moment, and what was decided before is stale.
    async fn woke(&mut self, what: &str, now: Timestamp) {
        let found = view(self.store, self.repo).await;
        assert_eq!(found.row.wake_at, Some(now), "{what}");
        assert!(found.repo.revision > self.revision, "{what}");
        self.revision = settle(self.store, self.repo, None).await;
    }

    async fn sleeps_on(&self, what: &str) {
        let found = view(self.store, self.repo).await;
        assert_eq!((found.row.wake_at, found.repo.revision), (None, self.revision), "{what}");
    }
}

/// A hello of the host that does the maintenance wakes; that of another does not.
pub async fn a_hello_of_the_runner_wakes(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let other = enrolled(store, "db").await;
    let tie = attached(store, &other, &repo, Role::Copy).await;
    let mut sleeper = Sleeper::of(store, &repo).await;
    session(store, hello(&other, mint(SpoolId::mint), &[])).await;
    sleeper.sleeps_on("the hello of another").await;
    let take = hello(&host, mint(SpoolId::mint), &[]);
    let now = take.now;
    session(store, take).await;
    sleeper.woke("the hello of the runner", now).await;
    let named = RepoChange { name: None, runner: Some(Some(tie.id)) };
    store.change_repo(repo.id, named, audit("repo.changed")).await.unwrap();
    sleeper.woke("another runner", at(0)).await;
    session(store, hello(&host, mint(SpoolId::mint), &[])).await;
    sleeper.sleeps_on("the hello of the former runner").await;
    session(store, hello(&other, mint(SpoolId::mint), &[])).await;
    sleeper.woke("the hello of the named runner", now).await;
}

/// An attachment or a credential that is written or removed wakes, and so does what is noted of it; a refused one does not.
pub async fn attachments_and_credentials_wake(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let tie = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment;
    let other = enrolled(store, "db").await;
    let mut sleeper = Sleeper::of(store, &repo).await;
    let put = |revision| async move {
        let admin = credential(CredentialKind::Admin, revision);
        store.put_credential(tie.id, admin, audit("credential.put")).await.unwrap()
    };
    put(1).await;
    sleeper.woke("a credential", at(0)).await;
    put(1).await;
    sleeper.sleeps_on("a stale credential").await;
    store.delete_credential(tie.id, CredentialKind::Admin, audit("credential.deleted")).await.unwrap();
    sleeper.woke("a credential that is removed", at(0)).await;
    store.delete_credential(tie.id, CredentialKind::Admin, audit("credential.deleted")).await.unwrap();
    sleeper.sleeps_on("a credential that was not there").await;
    store.put_attachment(change(attachment(&other, &repo, Role::Copy)), audit("put")).await.unwrap();
    sleeper.woke("an attachment", at(0)).await;
    store.delete_attachment(other.id, repo.id, audit("deleted")).await.unwrap();
    sleeper.woke("an attachment that is removed", at(0)).await;
    store.note_append_only(tie.id, AppendOnly::Yes, at(7)).await.unwrap();
    sleeper.woke("what its credential may do", at(7)).await;
}

/// A host that leaves wakes the repositories it was attached to.
pub async fn a_host_that_leaves_wakes(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let mut sleeper = Sleeper::of(store, &repo).await;
    store.delete_host(host.id, audit("host.deleted")).await.unwrap();
    sleeper.woke("a host that leaves", at(0)).await;
}

/// Settings, and an override of the hold of the prune, wake.
pub async fn settings_and_overrides_wake(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let damaged = JobSummary { check: Some(CheckStatus::ErrorsFound), ..JobSummary::default() };
    ran(store, &host, job(JobKind::Check, &host, &repo), OutcomeClass::Unknown, at(40), damaged).await;
    let mut sleeper = Sleeper::of(store, &repo).await;
    let settings = MaintenanceSettings::standard(Zone::UTC);
    store.put_maintenance(repo.id, settings, at(70), audit("maintenance.put")).await.unwrap();
    sleeper.woke("settings", at(70)).await;
    assert!(store.lift_check_hold(repo.id, at(71), audit("hold.lifted")).await.unwrap());
    sleeper.woke("an override", at(71)).await;
}

/// A source group of an attached host that is made, changed or deleted wakes; that of another host does not.
pub async fn source_groups_wake(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (stranger, _) = tied(store, "db").await;
    let mut sleeper = Sleeper::of(store, &repo).await;
    store.create_group(group(&stranger, "far"), audit("group.created")).await.unwrap();
    sleeper.sleeps_on("a group of a stranger").await;
    let home = group(&host, "home");
    store.create_group(home.clone(), audit("group.created")).await.unwrap();
    sleeper.woke("a group", at(0)).await;
    let renamed = SourceGroup { name: super::fixture::name("heim"), ..home.clone() };
    store.replace_group(renamed, audit("group.replaced")).await.unwrap();
    sleeper.woke("a group that is changed", at(0)).await;
    store.delete_group(host.id, home.id, audit("group.deleted")).await.unwrap();
    sleeper.woke("a group that is deleted", at(0)).await;
}

/// The end of a job wakes, however it ends and whatever it was; its way there does not.
pub async fn the_end_of_a_job_wakes(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let mut agent = Agent::of(store, &host);
    let wakes = || async { view(store, &repo).await.row.wake_at };
    let mut sleeper = Sleeper::of(store, &repo).await;
    let backup = asked(store, job(JobKind::Backup, &host, &repo)).await;
    dispatch(store, backup).await;
    agent.starts(backup).await;
    assert_eq!(wakes().await, None);
    agent.finishes(backup, FinalState::Succeeded).await;
    // By the clock of the server, which heard of it at 60; the agent's clock said 40.
    sleeper.woke("a finished job", at(60)).await;
    let cancelled = queued(store, JobKind::Stats, &host, &repo).await;
    store.request_cancel(cancelled, at(80), audit("job.cancelled")).await.unwrap();
    sleeper.woke("a cancelled job", at(80)).await;
    for (event, seconds) in [(JobEvent::Withdraw, 81), (JobEvent::Lose, 82)] {
        let id = queued(store, JobKind::Check, &host, &repo).await;
        dispatch(store, id).await;
        settle(store, &repo, None).await;
        store.move_job(id, event, "so be it", at(seconds), None).await.unwrap();
        sleeper.woke("a job that was moved to its end", at(seconds)).await;
    }
    let stale = queued(store, JobKind::Check, &host, &repo).await;
    assert_eq!(store.withdraw_stale(at(90), at(91)).await.unwrap(), [stale]);
    sleeper.woke("a stale wish", at(91)).await;
}

/// A new sighting of locks wakes; other news of the repository do not.
pub async fn a_sighting_of_locks_wakes(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let mut agent = Agent::of(store, &host);
    let mut sleeper = Sleeper::of(store, &repo).await;
    let news = |stats| Effect::Stats { repo_id: repo.id, restic_id: None, stats };
    agent.says(news(RepoStats { snapshot_count: Some(3), ..RepoStats::default() })).await;
    sleeper.sleeps_on("a count").await;
    let (locks, locks_seen_at) = (Some(vec![lock("one")]), Some(at(30)));
    agent.says(news(RepoStats { locks, locks_seen_at, ..RepoStats::default() })).await;
    sleeper.woke("locks", at(60)).await;
}

/// A wake-up that is earlier keeps its place.
pub async fn an_earlier_wake_up_keeps_its_place(store: &Arc<dyn Store>) {
    let (_, repo) = tied(store, "web").await;
    let wake = |seconds| async move {
        let settings = MaintenanceSettings::standard(Zone::UTC);
        store.put_maintenance(repo.id, settings, at(seconds), audit("put")).await.unwrap();
        store.maintenance(repo.id).await.unwrap().unwrap().wake_at
    };
    let repo = &store.repo(repo.id).await.unwrap().unwrap();
    settle(store, repo, Some(at(500))).await;
    assert_eq!(wake(300).await, Some(at(300)));
    assert_eq!(wake(400).await, Some(at(300)));
}

/// A wake-up between a view and its decision makes the decision stale.
pub async fn a_wake_up_is_never_committed_over(store: &Arc<dyn Store>) {
    let (host, _) = tied(store, "web").await;
    let repo = made_repo(store, "other").await;
    let seen = view(store, &repo).await;
    attached(store, &host, &repo, Role::Copy).await;
    let repo_revision = seen.repo.revision;
    let commit = MaintenanceCommit { repo_id: repo.id, repo_revision, wake_at: None, jobs: Vec::new() };
    let outcome = store.commit_maintenance(&[commit], &no_entry).await.unwrap();
    assert_eq!(outcome, [MaintenanceOutcome::Stale]);
    assert_eq!(view(store, &repo).await.row.wake_at, Some(at(0)));
}
