//! What a job of maintenance needs at its dispatch, and what its payload is made of.

use std::sync::Arc;

use restic_manager_core::id::JobId;
use restic_manager_core::maintenance::MaintenanceSettings;
use restic_manager_core::model::{
    Actor, AppendOnly, Attachment, CheckStatus, Host, Job, JobIntent, JobKind, JobState, JobSummary, Repo,
    Role, SourceGroup,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::schedule::Zone;

use super::fixture::{
    admin_of, asked, at, attached, audit, backup, enrolled, intent, job, job_now, kept_group, queued, ran,
    tied, view,
};
use crate::{DispatchOutcome, DispatchRow, RepoChange, Store};

/// A host that is the runner of a repository, with its admin credential and a group to forget.
async fn runner(store: &Arc<dyn Store>) -> (Host, Repo, Attachment, SourceGroup) {
    let (host, repo) = tied(store, "web").await;
    let tie = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment;
    admin_of(store, &tie).await;
    let group = kept_group(store, &host, "home").await;
    (host, repo, tie, group)
}

async fn sent(store: &Arc<dyn Store>, id: JobId) -> DispatchOutcome {
    store.dispatch(&[intent(store, id).await], at(20)).await.unwrap().remove(0)
}

async fn goes(store: &Arc<dyn Store>, id: JobId) -> DispatchRow {
    match sent(store, id).await {
        DispatchOutcome::Dispatched(row) => *row,
        other => panic!("it was to be dispatched: {other:?}"),
    }
}

/// It is withdrawn with a reason, anchors nothing, and has its repository looked at.
async fn is_withdrawn(store: &Arc<dyn Store>, id: JobId) {
    assert_eq!(sent(store, id).await, DispatchOutcome::Withdrawn(id));
    let job = job_now(store, id).await;
    assert_eq!((job.state, job.finished_at), (JobState::Withdrawn, Some(at(20))));
    assert!(job.message.is_some_and(|why| !why.is_empty()));
    let found = store.maintenance_views(&[job.repo_id]).await.unwrap().remove(0);
    assert!(found.last.iter().flatten().all(|last| last.job_id != id));
    assert!(found.row.wake_at.is_some_and(|wake_at| wake_at <= at(20)));
}

async fn end(store: &Arc<dyn Store>, id: JobId) {
    let lose = restic_manager_core::model::JobEvent::Lose;
    store.move_job(id, lose, "over", at(30), None).await.unwrap();
}

async fn set(store: &Arc<dyn Store>, repo: &Repo, change: impl Fn(&mut MaintenanceSettings)) {
    let mut settings = MaintenanceSettings::standard(Zone::UTC);
    change(&mut settings);
    assert!(store.put_maintenance(repo.id, settings, at(5), audit("maintenance.put")).await.unwrap());
}

fn preview(host: &Host, repo: &Repo, group: &SourceGroup) -> Job {
    let intent = JobIntent { preview_group: Some(group.id), ..JobIntent::default() };
    Job { intent, ..job(JobKind::Forget, host, repo) }
}

/// A job of maintenance comes with all that its payload is made of, as it is in the commit; also when it is to be sent again.
pub async fn a_job_of_maintenance_comes_with_its_view(store: &Arc<dyn Store>) {
    let (host, repo, _, group) = runner(store).await;
    for kind in [JobKind::Forget, JobKind::Prune, JobKind::Check, JobKind::Unlock] {
        let id = queued(store, kind, &host, &repo).await;
        let row = goes(store, id).await;
        let found = row.maintenance.expect("it has its view");
        assert_eq!(*found, view(store, &repo).await);
        assert_eq!((found.forget.len(), found.runner.is_some()), (1, true));
        let again = store.unanswered(at(21)).await.unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].maintenance, Some(found));
        end(store, id).await;
    }
    let backup = asked(store, backup(&host, &repo, &group)).await;
    assert_eq!(goes(store, backup).await.maintenance, None);
}

/// What an asker wanted beyond the kind is kept.
pub async fn the_intent_of_a_job_is_kept(store: &Arc<dyn Store>) {
    let (host, repo, _, group) = runner(store).await;
    let wishes = [
        JobIntent { subset_pct: Some(33), ..JobIntent::default() },
        JobIntent { unlock: Some(restic_manager_core::model::UnlockScope::All), ..JobIntent::default() },
        JobIntent { preview_group: Some(group.id), ..JobIntent::default() },
    ];
    for (kind, intent) in [JobKind::Check, JobKind::Unlock, JobKind::Forget].into_iter().zip(wishes) {
        let id = asked(store, Job { intent: intent.clone(), ..job(kind, &host, &repo) }).await;
        assert_eq!(job_now(store, id).await.intent, intent);
        assert_eq!(goes(store, id).await.job.intent, intent);
    }
}

/// A forget without any group with a policy is withdrawn.
pub async fn a_forget_needs_a_policy(store: &Arc<dyn Store>) {
    let (host, repo, _, group) = runner(store).await;
    let id = queued(store, JobKind::Forget, &host, &repo).await;
    let without = SourceGroup { keep: KeepPolicy::default(), ..group };
    store.replace_group(without, audit("group.replaced")).await.unwrap();
    is_withdrawn(store, id).await;
}

/// A preview needs the policy of its own group, and neither the runner nor a cadence.
pub async fn a_preview_needs_the_policy_of_its_group(store: &Arc<dyn Store>) {
    let (host, repo, _, group) = runner(store).await;
    let other = enrolled(store, "db").await;
    attached(store, &other, &repo, Role::Copy).await;
    let far = asked(store, preview(&other, &repo, &group)).await;
    set(store, &repo, |settings| settings.policy.forget.enabled = false).await;
    goes(store, far).await;
    let id = asked(store, preview(&host, &repo, &group)).await;
    kept_group(store, &host, "mail").await;
    store.delete_group(host.id, group.id, audit("group.deleted")).await.unwrap();
    is_withdrawn(store, id).await;
}

/// A prune needs the admin credential, and so does a forget where the everyday one may not delete.
pub async fn what_deletes_needs_the_admin_credential(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let tie = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment;
    kept_group(store, &host, "home").await;
    let prune = queued(store, JobKind::Prune, &host, &repo).await;
    is_withdrawn(store, prune).await;
    let may = queued(store, JobKind::Forget, &host, &repo).await;
    goes(store, may).await;
    end(store, may).await;
    store.note_append_only(tie.id, AppendOnly::Yes, at(5)).await.unwrap();
    let may_not = queued(store, JobKind::Forget, &host, &repo).await;
    is_withdrawn(store, may_not).await;
    admin_of(store, &tie).await;
    for kind in [JobKind::Forget, JobKind::Prune] {
        let id = queued(store, kind, &host, &repo).await;
        goes(store, id).await;
    }
}

/// A prune, whoever asked for it, is withdrawn while errors of a check stand; once they are lifted it goes.
pub async fn a_prune_needs_a_repo_without_errors(store: &Arc<dyn Store>) {
    let (host, repo, ..) = runner(store).await;
    let damaged = JobSummary { check: Some(CheckStatus::ErrorsFound), ..JobSummary::default() };
    ran(store, &host, job(JobKind::Check, &host, &repo), OutcomeClass::Unknown, at(10), damaged).await;
    for actor in [Actor::system(), job(JobKind::Prune, &host, &repo).actor] {
        let id = asked(store, Job { actor, ..job(JobKind::Prune, &host, &repo) }).await;
        is_withdrawn(store, id).await;
    }
    for kind in [JobKind::Forget, JobKind::Check, JobKind::Unlock] {
        let id = queued(store, kind, &host, &repo).await;
        goes(store, id).await;
    }
    store.lift_check_hold(repo.id, at(15), audit("hold.lifted")).await.unwrap();
    let prune = queued(store, JobKind::Prune, &host, &repo).await;
    goes(store, prune).await;
}

/// A job whose host is no longer the runner is withdrawn; an unlock runs where it was asked for.
pub async fn maintenance_needs_the_runner(store: &Arc<dyn Store>) {
    let (host, repo, ..) = runner(store).await;
    let other = enrolled(store, "db").await;
    let tie = attached(store, &other, &repo, Role::Maintenance).await;
    admin_of(store, &tie).await;
    let mut ids = Vec::new();
    for kind in [JobKind::Forget, JobKind::Prune, JobKind::Check, JobKind::Unlock] {
        ids.push(queued(store, kind, &host, &repo).await);
    }
    let named = RepoChange { name: None, runner: Some(Some(tie.id)) };
    store.change_repo(repo.id, named, audit("repo.changed")).await.unwrap();
    for id in &ids[..3] {
        is_withdrawn(store, *id).await;
    }
    goes(store, ids[3]).await;
    let check = queued(store, JobKind::Check, &other, &repo).await;
    goes(store, check).await;
}

/// What the system asked for is withdrawn when its cadence was disabled meanwhile; what a person asked for goes.
pub async fn what_the_system_asked_for_needs_its_cadence(store: &Arc<dyn Store>) {
    let (host, repo, ..) = runner(store).await;
    let kinds = [JobKind::Forget, JobKind::Prune, JobKind::Check];
    for (n, kind) in kinds.into_iter().enumerate() {
        set(store, &repo, |settings| {
            settings.policy.forget.enabled = n != 0;
            settings.policy.prune.enabled = n != 1;
            settings.policy.check.enabled = n != 2;
        })
        .await;
        let systems = |kind| Job { actor: Actor::system(), ..job(kind, &host, &repo) };
        let id = asked(store, systems(kind)).await;
        is_withdrawn(store, id).await;
        for id in [queued(store, kind, &host, &repo).await, asked(store, systems(kinds[(n + 1) % 3])).await] {
            goes(store, id).await;
            end(store, id).await;
        }
    }
}
