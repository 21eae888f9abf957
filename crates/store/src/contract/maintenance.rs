//! The settings of maintenance, what is looked at when it is decided, and the commit of what was decided.

use std::sync::Arc;

use restic_manager_core::id::{AuditId, JobId, RepoId};
use restic_manager_core::maintenance::MaintenanceSettings;
use restic_manager_core::model::{
    Actor, AppendOnly, AuditEntry, Host, HostFacts, Job, JobIntent, JobKind, JobState, Repo, Role,
};
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::Timestamp;

use super::fixture::{
    Agent, actions, admin_of, asked, at, at_once, attached, attachment, audit, change, dispatch, enrolled,
    job, job_in_state, job_now, kept_group, made_group, made_repo, mint, queued, tied, view,
};
use super::snapshots::{listing, snapshot};
use crate::{
    Deleted, MaintenanceCommit, MaintenanceOutcome, MaintenanceRow, PutAttachment, RepoChange, Store,
};

fn settings() -> MaintenanceSettings {
    MaintenanceSettings::standard(Zone::UTC)
}

/// A job of maintenance for a slot.
fn slotted(kind: JobKind, host: &Host, repo: &Repo, slot: Timestamp) -> Job {
    Job { slot: Some(slot), actor: Actor::system(), ..job(kind, host, repo) }
}

fn asked_for(job: &Job) -> AuditEntry {
    AuditEntry { subject_id: job.id.to_string(), id: mint(AuditId::mint), ..audit("job.asked") }
}

/// Commits jobs at the present revision of their repository.
async fn commit(store: &Arc<dyn Store>, repo: &Repo, jobs: Vec<Job>) -> MaintenanceOutcome {
    let repo_revision = view(store, repo).await.repo.revision;
    let commit = MaintenanceCommit { repo_id: repo.id, repo_revision, wake_at: Some(at(900)), jobs };
    store.commit_maintenance(&[commit], &asked_for).await.unwrap().remove(0)
}

/// A new repository has no settings, is anchored at its making, and is looked at at once.
pub async fn a_new_repo_is_looked_at_at_once(store: &Arc<dyn Store>) {
    let repo = made_repo(store, "main").await;
    let row = MaintenanceRow {
        repo_id: repo.id,
        settings: None,
        policy_since: [repo.created_at; 3],
        wake_at: Some(repo.created_at),
    };
    assert_eq!(store.maintenance(repo.id).await.unwrap(), Some(row.clone()));
    let due = store.due_maintenance(repo.created_at, 10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!((&due[0].repo, &due[0].row, &due[0].runner), (&repo, &row, &None));
    assert_eq!((&due[0].last, due[0].forget.len(), due[0].check_errors_since), (&[None; 3], 0, None));
    assert_eq!(store.maintenance(mint(RepoId::mint)).await.unwrap(), None);
}

/// Settings come back as they were written; those of a repository that is not there are refused, and nothing is written.
pub async fn settings_come_back_as_they_were_written(store: &Arc<dyn Store>) {
    let repo = made_repo(store, "main").await;
    let wanted = MaintenanceSettings { auto_unlock: false, keep_admin_credential: Some(true), ..settings() };
    assert!(
        store.put_maintenance(repo.id, wanted.clone(), at(5), audit("maintenance.changed")).await.unwrap()
    );
    assert_eq!(store.maintenance(repo.id).await.unwrap().unwrap().settings, Some(wanted.clone()));
    assert_eq!(view(store, &repo).await.row.settings, Some(wanted));
    let ghost = mint(RepoId::mint);
    assert!(!store.put_maintenance(ghost, settings(), at(5), audit("maintenance.ghost")).await.unwrap());
    assert_eq!(actions(store).await, ["repo.created", "maintenance.changed"]);
}

/// A kind whose cadence, zone or enabled flag changed begins anew; what else changes leaves it where it stands.
pub async fn a_changed_cadence_begins_anew(store: &Arc<dyn Store>) {
    let repo = made_repo(store, "main").await;
    let put = |settings: &MaintenanceSettings, seconds| {
        let settings = settings.clone();
        async move {
            store.put_maintenance(repo.id, settings, at(seconds), audit("maintenance.put")).await.unwrap();
            store.maintenance(repo.id).await.unwrap().unwrap().policy_since
        }
    };
    let mut wanted = settings();
    assert_eq!(put(&wanted, 100).await, [at(100); 3], "nobody can say what it was before");
    assert_eq!(put(&wanted, 150).await, [at(100); 3]);
    wanted.policy.forget.cron = "1 1 * * *".parse().unwrap();
    assert_eq!(put(&wanted, 200).await, [at(200), at(100), at(100)]);
    wanted.policy.prune.enabled = false;
    assert_eq!(put(&wanted, 300).await, [at(200), at(300), at(100)]);
    wanted.policy.check_subset_pct = 99;
    wanted.policy.spread_minutes = 1;
    wanted.auto_unlock = false;
    assert_eq!(put(&wanted, 400).await, [at(200), at(300), at(100)]);
    wanted.policy.timezone = "Europe/Berlin".parse().unwrap();
    assert_eq!(put(&wanted, 500).await, [at(500); 3]);
}

/// What is due comes longest waiting first, at most as many as asked for; what is not due, or waits for a word, does not come.
pub async fn what_is_due_comes_longest_waiting_first(store: &Arc<dyn Store>) {
    let mut repos = Vec::new();
    for (text, wake_at) in [("a", Some(30)), ("b", Some(10)), ("c", None), ("d", Some(20)), ("e", Some(31))] {
        let repo = made_repo(store, text).await;
        let wake_at = wake_at.map(at);
        let commit = MaintenanceCommit { repo_id: repo.id, repo_revision: 0, wake_at, jobs: Vec::new() };
        let outcome = store.commit_maintenance(&[commit], &asked_for).await.unwrap();
        assert_eq!(outcome, [MaintenanceOutcome::Done(Vec::new())]);
        assert_eq!(store.maintenance(repo.id).await.unwrap().unwrap().wake_at, wake_at);
        repos.push(repo.id);
    }
    let due = |seconds, limit| async move {
        let views = store.due_maintenance(at(seconds), limit).await.unwrap();
        views.into_iter().map(|view| view.repo.id).collect::<Vec<_>>()
    };
    assert_eq!(due(30, 10).await, [repos[1], repos[3], repos[0]]);
    assert_eq!(due(30, 2).await, [repos[1], repos[3]]);
    assert_eq!(due(9, 10).await, []);
}

/// Views come in the order asked for; repositories that are gone are left out.
pub async fn views_come_in_the_order_asked(store: &Arc<dyn Store>) {
    let (one, two) = (made_repo(store, "one").await, made_repo(store, "two").await);
    let views = store.maintenance_views(&[two.id, mint(RepoId::mint), one.id]).await.unwrap();
    assert_eq!(views.iter().map(|view| view.repo.id).collect::<Vec<_>>(), [two.id, one.id]);
    assert_eq!(store.maintenance_views(&[]).await.unwrap(), []);
}

/// The runner is the named attachment, else the oldest primary one, else the oldest one.
pub async fn the_runner_is_named_or_the_oldest(store: &Arc<dyn Store>) {
    let repo = made_repo(store, "main").await;
    let runner = || async { view(store, &repo).await.runner.map(|runner| runner.attachment.id) };
    assert_eq!(runner().await, None);
    let mut ids = Vec::new();
    let made = [(Role::Copy, 5), (Role::Maintenance, 3), (Role::Primary, 9), (Role::Primary, 7)];
    for (n, (role, created)) in made.into_iter().enumerate() {
        let host = enrolled(store, &format!("host {n}")).await;
        let tie = restic_manager_core::model::Attachment {
            created_at: at(created),
            ..attachment(&host, &repo, role)
        };
        let put = store.put_attachment(change(tie.clone()), audit("attachment.put")).await.unwrap();
        assert_eq!(put, PutAttachment::Done);
        ids.push(tie.id);
        let expected = [0, 1, 2, 3][n];
        assert_eq!(runner().await, Some(ids[expected]), "after {n}");
    }
    let named = RepoChange { name: None, runner: Some(Some(ids[0])) };
    store.change_repo(repo.id, named, audit("repo.changed")).await.unwrap();
    assert_eq!(runner().await, Some(ids[0]));
    let nobody = RepoChange { name: None, runner: Some(None) };
    store.change_repo(repo.id, nobody, audit("repo.changed")).await.unwrap();
    assert_eq!(runner().await, Some(ids[3]));
}

/// A runner comes with its host, whether its admin credential is stored, whether it is alone, and whether its name is its own.
pub async fn a_runner_comes_with_what_is_around_it(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let tie = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment;
    let runner = || async { view(store, &repo).await.runner.unwrap() };
    let named = |text: Option<&str>| HostFacts { os_hostname: text.map(Into::into), ..HostFacts::default() };
    let first = runner().await;
    assert_eq!((first.attachment, first.host.id), (tie.clone(), host.id));
    assert!(!first.has_admin_creds && first.only_host);
    assert!(!first.os_hostname_unique, "a name that nobody knows is nobody's own");
    store.record_facts(host.id, &named(Some("box"))).await.unwrap();
    assert!(runner().await.os_hostname_unique);
    let stranger = enrolled(store, "stranger").await;
    store.record_facts(stranger.id, &named(Some("box"))).await.unwrap();
    assert!(runner().await.os_hostname_unique, "a host of other repositories does not matter");
    attached(store, &stranger, &repo, Role::Copy).await;
    let second = runner().await;
    assert!(!second.only_host && !second.os_hostname_unique && !second.has_admin_creds);
    store.record_facts(stranger.id, &named(Some("other"))).await.unwrap();
    admin_of(store, &tie).await;
    let third = runner().await;
    assert!(third.os_hostname_unique && third.has_admin_creds && !third.only_host);
}

/// The groups to forget are those with a policy, by id, of hosts that back up into the repository.
pub async fn groups_with_a_policy_are_to_forget(store: &Arc<dyn Store>) {
    let (web, repo) = tied(store, "web").await;
    let (db, keeper) = (enrolled(store, "db").await, enrolled(store, "keeper").await);
    let copy = attached(store, &db, &repo, Role::Copy).await;
    attached(store, &keeper, &repo, Role::Maintenance).await;
    let (stranger, _) = tied(store, "stranger").await;
    let of_db = kept_group(store, &db, "mail").await;
    made_group(store, &web, "without a policy").await;
    let of_web = kept_group(store, &web, "home").await;
    kept_group(store, &keeper, "own").await;
    kept_group(store, &stranger, "far").await;
    let found = view(store, &repo).await.forget;
    assert_eq!(found.iter().map(|row| &row.group).collect::<Vec<_>>(), [&of_db, &of_web]);
    assert_eq!((&found[0].attachment, found[1].attachment.host_id), (&copy, web.id));
}

/// A group to forget names the time of its newest snapshot: any that carries its tag, in this repository, as listed last.
pub async fn a_group_to_forget_knows_its_newest_snapshot(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let copy = made_repo(store, "copy").await;
    attached(store, &host, &copy, Role::Copy).await;
    let group = kept_group(store, &host, "home").await;
    let other = kept_group(store, &host, "mail").await;
    let newest = || async {
        let rows = view(store, &repo).await.forget;
        rows.iter().map(|row| row.newest_snapshot_at).collect::<Vec<_>>()
    };
    assert_eq!(newest().await, [None, None]);
    let (home, mail) = (group.tag.as_str(), other.tag.as_str());
    let mut agent = Agent::of(store, &host);
    let both = snapshot(at(30), &["x", mail, home]);
    let old = snapshot(at(20), &[home]);
    agent.says(listing(repo.id, at(50), &[&old, &both, &snapshot(at(40), &["x"])])).await;
    agent.says(listing(copy.id, at(50), &[&snapshot(at(99), &[home])])).await;
    assert_eq!(newest().await, [Some(at(30)), Some(at(30))]);
    agent.says(listing(repo.id, at(60), &[&old])).await;
    assert_eq!(newest().await, [Some(at(20)), None]);
}

/// The newest job of a kind is its anchor, in any state but superseded and withdrawn.
pub async fn the_newest_job_of_a_kind_is_its_anchor(store: &Arc<dyn Store>) {
    for state in JobState::ALL {
        let (host, repo) = tied(store, state.as_str()).await;
        let old = job_in_state(store, &host, &repo, JobState::Succeeded).await;
        let new = job_in_state(store, &host, &repo, state).await;
        let gone = [JobState::Superseded, JobState::Withdrawn].contains(&state);
        let anchor = job_now(store, if gone { old } else { new }).await;
        let last = view(store, &repo).await.last;
        assert_eq!((&last[0], &last[1]), (&None, &None));
        let last = last[2].expect("the check is known");
        assert_eq!((last.job_id, last.state, last.class), (anchor.id, anchor.state, anchor.class));
        assert_eq!((last.created_at, last.finished_at), (anchor.created_at, anchor.finished_at));
        assert_eq!((last.slot, last.attempt), (anchor.slot, anchor.attempt));
    }
}

/// A preview is no forget as far as the cadence is concerned.
pub async fn a_preview_anchors_nothing(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = kept_group(store, &host, "home").await;
    let intent = JobIntent { preview_group: Some(group.id), ..JobIntent::default() };
    let preview = asked(store, Job { intent: intent.clone(), ..job(JobKind::Forget, &host, &repo) }).await;
    assert_eq!(job_now(store, preview).await.intent, intent);
    assert_eq!(view(store, &repo).await.last, [None; 3]);
    let forget = queued(store, JobKind::Forget, &host, &repo).await;
    assert_eq!(view(store, &repo).await.last[0].map(|last| last.job_id), Some(forget));
}

/// What was decided is committed: the jobs wait, each with its row in the audit log, and the repository is looked at when it said.
pub async fn a_decision_is_committed_whole(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let before = actions(store).await.len();
    let jobs = vec![
        slotted(JobKind::Forget, &host, &repo, at(100)),
        Job { attempt: 2, ..slotted(JobKind::Prune, &host, &repo, at(200)) },
    ];
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    assert_eq!(commit(store, &repo, jobs.clone()).await, MaintenanceOutcome::Done(ids.clone()));
    for job in &jobs {
        assert_eq!(&job_now(store, job.id).await, job);
    }
    let after = view(store, &repo).await;
    assert_eq!(after.row.wake_at, Some(at(900)));
    let last = after.last.map(|last| last.map(|last| (last.job_id, last.slot, last.attempt)));
    assert_eq!(last, [Some((ids[0], Some(at(100)), 1)), Some((ids[1], Some(at(200)), 2)), None]);
    assert_eq!(actions(store).await[before..], ["job.asked", "job.asked"]);
}

/// A decision on an older view, or on a repository that is gone, changes nothing, and does not touch the others of its call.
pub async fn a_decision_on_an_older_view_is_stale(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (other_host, other) = tied(store, "db").await;
    let before = view(store, &repo).await;
    let job = slotted(JobKind::Check, &host, &repo, at(100));
    let good = slotted(JobKind::Check, &other_host, &other, at(100));
    let of = |repo_id, repo_revision, job: &Job| MaintenanceCommit {
        repo_id,
        repo_revision,
        wake_at: None,
        jobs: vec![job.clone()],
    };
    let commits = [
        of(repo.id, before.repo.revision - 1, &job),
        of(mint(RepoId::mint), 0, &slotted(JobKind::Check, &host, &repo, at(300))),
        of(other.id, view(store, &other).await.repo.revision, &good),
    ];
    let outcomes = store.commit_maintenance(&commits, &asked_for).await.unwrap();
    let done = MaintenanceOutcome::Done(vec![good.id]);
    assert_eq!(outcomes, [MaintenanceOutcome::Stale, MaintenanceOutcome::NotFound, done]);
    assert_eq!(view(store, &repo).await, before);
    assert_eq!(store.job(job.id).await.unwrap(), None);
}

/// A slot is made once for each attempt; a job that was withdrawn gives it back.
pub async fn a_slot_is_made_once(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let slot = |attempt| Job { attempt, ..slotted(JobKind::Check, &host, &repo, at(100)) };
    let first = slot(1);
    assert_eq!(commit(store, &repo, vec![first.clone()]).await, MaintenanceOutcome::Done(vec![first.id]));
    let withdraw = restic_manager_core::model::JobEvent::Withdraw;
    store.move_job(first.id, withdraw, "no more", at(30), None).await.unwrap();
    let again = slot(1);
    assert_eq!(commit(store, &repo, vec![again.clone()]).await, MaintenanceOutcome::Done(vec![again.id]));
    dispatch(store, again.id).await;
    Agent::of(store, &host).finishes(again.id, restic_manager_core::model::FinalState::Failed).await;
    let wrote = actions(store).await;
    assert_eq!(commit(store, &repo, vec![slot(1)]).await, MaintenanceOutcome::Done(Vec::new()));
    let pressed = store.enqueue(slot(1), audit("job.pressed")).await.unwrap();
    assert!(matches!(&pressed, crate::Enqueued::Existing(job) if job.id == again.id), "{pressed:?}");
    assert_eq!(actions(store).await, wrote);
    let next = slot(2);
    assert_eq!(commit(store, &repo, vec![next.clone()]).await, MaintenanceOutcome::Done(vec![next.id]));
}

/// A job that was withdrawn and ran all the same is over as its agent says; the slot stays with the job that was made since.
pub async fn a_slot_that_was_given_back_is_not_taken_again(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let slot = || slotted(JobKind::Check, &host, &repo, at(100));
    let first = slot();
    commit(store, &repo, vec![first.clone()]).await;
    let withdraw = restic_manager_core::model::JobEvent::Withdraw;
    store.move_job(first.id, withdraw, "no more", at(30), None).await.unwrap();
    let second = slot();
    commit(store, &repo, vec![second.clone()]).await;
    Agent::of(store, &host).finishes(first.id, restic_manager_core::model::FinalState::Succeeded).await;
    assert_eq!(job_now(store, first.id).await.state, JobState::Succeeded);
    let pressed = store.enqueue(slot(), audit("job.pressed")).await.unwrap();
    assert!(matches!(&pressed, crate::Enqueued::Existing(job) if job.id == second.id), "{pressed:?}");
}

/// A job of the kind that is not final is the one that is made, whoever asked for it; a preview is none.
pub async fn a_kind_waits_for_its_job_under_way(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = kept_group(store, &host, "home").await;
    let intent = JobIntent { preview_group: Some(group.id), ..JobIntent::default() };
    asked(store, Job { intent, ..job(JobKind::Forget, &host, &repo) }).await;
    queued(store, JobKind::Prune, &host, &repo).await;
    let jobs = [JobKind::Forget, JobKind::Prune, JobKind::Check]
        .map(|kind| slotted(kind, &host, &repo, at(100)))
        .to_vec();
    let made = vec![jobs[0].id, jobs[2].id];
    assert_eq!(commit(store, &repo, jobs).await, MaintenanceOutcome::Done(made));
}

/// Whatever number of engines commit a decision on one view, each job is made once.
pub async fn a_decision_is_made_once_however_many_commit_it(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let repo_revision = view(store, &repo).await.repo.revision;
    let try_one = |store: Arc<dyn Store>, _| {
        let jobs = vec![slotted(JobKind::Check, &host, &repo, at(100))];
        let commit = MaintenanceCommit { repo_id: repo.id, repo_revision, wake_at: None, jobs };
        async move { store.commit_maintenance(&[commit], &asked_for).await.unwrap().remove(0) }
    };
    let outcomes = at_once(8, try_one, store).await;
    let made: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !matches!(outcome, MaintenanceOutcome::Done(made) if made.is_empty()))
        .collect();
    assert_eq!(made.len(), 1, "{outcomes:?}");
    assert_eq!(store.admission_view().await.unwrap().queued.len(), 1);
}

/// Whether the everyday credential may delete is noted at its attachment.
pub async fn whether_a_credential_may_delete_is_noted(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let tie = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment;
    for append_only in [AppendOnly::Yes, AppendOnly::No, AppendOnly::Unknown] {
        store.note_append_only(tie.id, append_only, at(5)).await.unwrap();
        let noted = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment;
        assert_eq!(noted, restic_manager_core::model::Attachment { append_only, ..tie.clone() });
        assert_eq!(view(store, &repo).await.runner.unwrap().attachment, noted);
    }
}

/// What is kept of maintenance goes with its repository.
pub async fn maintenance_goes_with_its_repo(store: &Arc<dyn Store>) {
    let repo = made_repo(store, "main").await;
    store.put_maintenance(repo.id, settings(), at(5), audit("maintenance.put")).await.unwrap();
    assert_eq!(store.delete_repo(repo.id, audit("repo.deleted")).await.unwrap(), Deleted::Done);
    assert_eq!(store.maintenance(repo.id).await.unwrap(), None);
    assert_eq!(store.due_maintenance(at(1_000), 10).await.unwrap(), []);
    assert!(!store.lift_check_hold(repo.id, at(6), audit("hold.lifted")).await.unwrap());
}
