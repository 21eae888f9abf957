//! Dispatching jobs, and moving them.

use std::sync::Arc;

use restic_manager_core::id::JobId;
use restic_manager_core::model::{Job, JobEvent, JobKind, JobState, Role, transition};

use super::fixture::{
    Agent, actions, asked, at, at_once, attached, audit, backup, dispatch, dispatched, enrolled, intent, job,
    job_in_state, job_now, made_group, made_repo, mint, queued, revisions, state_of, tied,
};
use crate::{Deleted, DispatchIntent, DispatchOutcome, GroupDeleted, JobMove, Store};

/// A dispatched job comes with the rows its payload is made of, and the revisions are raised.
pub async fn a_dispatched_job_comes_with_its_rows(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = made_group(store, &host, "home").await;
    let wanted = backup(&host, &repo, &group);
    let id = asked(store, wanted.clone()).await;
    let before = revisions(store, &host, &repo).await;
    let mut outcomes = store.dispatch(&[intent(store, id).await], at(20)).await.unwrap();
    let Some(DispatchOutcome::Dispatched(row)) = outcomes.pop() else { panic!("it is dispatched") };
    let expected = Job { state: JobState::Dispatched, dispatched_at: Some(at(20)), ..wanted };
    assert_eq!(row.job, expected);
    assert_eq!(job_now(store, id).await, expected);
    assert_eq!((row.host.id, row.repo.id, row.run), (host.id, repo.id, None));
    let attachment = store.attachment(host.id, repo.id).await.unwrap().unwrap().attachment;
    assert_eq!((row.attachment, row.group), (attachment, Some(group)));
    let after = revisions(store, &host, &repo).await;
    assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
}

/// Several intents of one view on one repository and one host are not stale for each other.
pub async fn intents_of_one_view_do_not_make_each_other_stale(store: &Arc<dyn Store>) {
    let (web, repo) = tied(store, "web").await;
    let db = enrolled(store, "db").await;
    attached(store, &db, &repo, Role::Copy).await;
    let mut intents = Vec::new();
    for (kind, host) in [(JobKind::Stats, &web), (JobKind::Unlock, &web), (JobKind::Stats, &db)] {
        let id = queued(store, kind, host, &repo).await;
        intents.push(id);
    }
    let view = store.admission_view().await.unwrap();
    let intents: Vec<_> = view
        .queued
        .iter()
        .map(|queued| DispatchIntent {
            job_id: queued.job.id,
            host_revision: queued.host_revision,
            repo_revision: queued.repo_revision,
        })
        .collect();
    let outcomes = store.dispatch(&intents, at(20)).await.unwrap();
    assert_eq!(outcomes.len(), 3);
    for (intent, outcome) in intents.iter().zip(&outcomes) {
        let DispatchOutcome::Dispatched(row) = outcome else { panic!("{outcome:?}") };
        assert_eq!(row.job.id, intent.job_id, "outcomes come in the order given");
    }
}

/// A host or a repository that moved since the view was read makes the intent stale, and nothing changes.
pub async fn an_intent_on_an_older_revision_is_stale(store: &Arc<dyn Store>) {
    let (web, shared) = tied(store, "web").await;
    let db = enrolled(store, "db").await;
    attached(store, &db, &shared, Role::Copy).await;
    let own = made_repo(store, "own").await;
    attached(store, &web, &own, Role::Copy).await;
    let on_repo = queued(store, JobKind::Stats, &db, &shared).await;
    let on_host = queued(store, JobKind::Stats, &web, &own).await;
    let mover = queued(store, JobKind::Check, &web, &shared).await;
    let (on_repo, on_host) = (intent(store, on_repo).await, intent(store, on_host).await);
    dispatch(store, mover).await;
    let outcomes = store.dispatch(&[on_repo.clone(), on_host.clone()], at(21)).await.unwrap();
    assert_eq!(outcomes, [DispatchOutcome::Stale, DispatchOutcome::Stale]);
    for intent in [&on_repo, &on_host] {
        let waiting = job_now(store, intent.job_id).await;
        assert_eq!((waiting.state, waiting.dispatched_at), (JobState::Queued, None));
    }
    dispatch(store, on_repo.job_id).await;
    dispatch(store, on_host.job_id).await;
}

/// Whatever number of engines decided on one view, one of them dispatches.
pub async fn one_dispatcher_wins(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let backup = queued(store, JobKind::Backup, &host, &repo).await;
    let check = queued(store, JobKind::Check, &host, &repo).await;
    let choices = [intent(store, backup).await, intent(store, check).await];
    let try_one = |store: Arc<dyn Store>, n: usize| {
        let choice = choices[n % 2].clone();
        async move { store.dispatch(&[choice], at(20)).await.unwrap().remove(0) }
    };
    let outcomes = at_once(8, try_one, store).await;
    let won = outcomes.iter().filter(|outcome| matches!(outcome, DispatchOutcome::Dispatched(_))).count();
    assert_eq!(won, 1, "two jobs that exclude each other were decided on one revision: {outcomes:?}");
    let occupying = store.admission_view().await.unwrap().occupying;
    assert_eq!(occupying.len(), 1);
}

/// A job that no longer waits, or is not there, is not queued; a job named twice is dispatched once.
pub async fn only_a_job_that_waits_is_dispatched(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = queued(store, JobKind::Check, &host, &repo).await;
    let intent = intent(store, id).await;
    let unknown = DispatchIntent { job_id: mint(JobId::mint), ..intent.clone() };
    let outcomes = store.dispatch(&[unknown, intent.clone(), intent.clone()], at(20)).await.unwrap();
    assert_eq!(outcomes[0], DispatchOutcome::NotQueued);
    assert!(matches!(outcomes[1], DispatchOutcome::Dispatched(_)), "{outcomes:?}");
    assert_eq!(outcomes[2], DispatchOutcome::NotQueued);
    assert_eq!(store.dispatch(&[intent], at(21)).await.unwrap(), [DispatchOutcome::NotQueued]);
    assert_eq!(job_now(store, id).await.dispatched_at, Some(at(20)));
    assert!(store.dispatch(&[], at(22)).await.unwrap().is_empty());
}

/// A job without its attachment is withdrawn when it is to be dispatched.
pub async fn a_job_without_its_attachment_is_withdrawn(store: &Arc<dyn Store>) {
    let (host, repo) = (enrolled(store, "web").await, made_repo(store, "main").await);
    let id = queued(store, JobKind::Check, &host, &repo).await;
    let outcomes = store.dispatch(&[intent(store, id).await], at(20)).await.unwrap();
    assert_eq!(outcomes, [DispatchOutcome::Withdrawn(id)]);
    let withdrawn = job_now(store, id).await;
    assert_eq!((withdrawn.state, withdrawn.finished_at), (JobState::Withdrawn, Some(at(20))));
    assert!(withdrawn.message.is_some(), "it says why");
    assert_eq!(withdrawn.dispatched_at, None);
}

/// A backup without its group is withdrawn when it is to be dispatched, beside one that goes out.
pub async fn a_backup_without_its_group_is_withdrawn(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (home, mail) = (made_group(store, &host, "home").await, made_group(store, &host, "mail").await);
    let gone = asked(store, backup(&host, &repo, &home)).await;
    let there = asked(store, backup(&host, &repo, &mail)).await;
    let deleted = store.delete_group(host.id, home.id, audit("group.deleted")).await.unwrap();
    assert_eq!(deleted, GroupDeleted::Done);
    let intents = [intent(store, gone).await, intent(store, there).await];
    let outcomes = store.dispatch(&intents, at(20)).await.unwrap();
    assert_eq!(outcomes[0], DispatchOutcome::Withdrawn(gone));
    assert!(matches!(outcomes[1], DispatchOutcome::Dispatched(_)), "{outcomes:?}");
    assert_eq!(state_of(store, gone).await, JobState::Withdrawn);
}

/// Jobs that went out before an instant and were not answered for, with the rows they were made of.
pub async fn unanswered_jobs_are_those_still_dispatched(store: &Arc<dyn Store>) {
    let mut dispatched = Vec::new();
    for state in JobState::ALL {
        let (host, repo) = tied(store, state.as_str()).await;
        let id = job_in_state(store, &host, &repo, state).await;
        if state == JobState::Dispatched {
            dispatched.push((id, host.id, repo.id));
        }
    }
    let late = store.unanswered(at(20) + 1).await.unwrap();
    let found: Vec<_> = late.iter().map(|row| (row.job.id, row.host.id, row.repo.id)).collect();
    assert_eq!(found, dispatched);
    assert_eq!(late[0].attachment.host_id, late[0].host.id);
    assert!(
        store.unanswered(at(20)).await.unwrap().is_empty(),
        "dispatched at that instant is not before it"
    );
}

/// A job that went out is answered for also when its group is gone.
pub async fn an_unanswered_job_outlives_its_group(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = made_group(store, &host, "home").await;
    let id = asked(store, backup(&host, &repo, &group)).await;
    dispatch(store, id).await;
    store.delete_group(host.id, group.id, audit("group.deleted")).await.unwrap();
    let late = store.unanswered(at(100)).await.unwrap();
    assert_eq!(late.len(), 1);
    assert_eq!((late[0].job.id, late[0].group.as_ref()), (id, None));
}

/// The server moves jobs as the table allows, and a refused move changes nothing.
pub async fn moves_follow_the_table(store: &Arc<dyn Store>) {
    for event in [JobEvent::Requeue, JobEvent::Withdraw, JobEvent::Lose] {
        for state in JobState::ALL {
            let (host, repo) = tied(store, &format!("{event:?} {state:?}")).await;
            let id = job_in_state(store, &host, &repo, state).await;
            let (before, revisions_before) = (job_now(store, id).await, revisions(store, &host, &repo).await);
            let moved = store.move_job(id, event, "the server says so", at(70), None).await.unwrap();
            let (after, revisions_after) = (job_now(store, id).await, revisions(store, &host, &repo).await);
            match transition(state, event) {
                Ok(to) => {
                    assert_eq!(moved, JobMove::Moved(to), "{event:?} from {state:?}");
                    assert_eq!(after.state, to);
                    let raised =
                        revisions_after.0 > revisions_before.0 && revisions_after.1 > revisions_before.1;
                    assert!(raised, "{event:?} from {state:?}");
                }
                Err(_) => {
                    assert_eq!(moved, JobMove::Refused(state), "{event:?} from {state:?}");
                    assert_eq!((after, revisions_after), (before, revisions_before));
                }
            }
        }
    }
}

/// A job the server ends says when and why; one that waits again was never sent and says nothing.
pub async fn a_moved_job_says_when_and_why(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    let mover = |event| async move {
        store.move_job(id, event, "the agent did not answer", at(70), Some(audit("job.moved"))).await.unwrap()
    };
    assert_eq!(mover(JobEvent::Requeue).await, JobMove::Moved(JobState::Queued));
    let waiting = job_now(store, id).await;
    assert_eq!((waiting.dispatched_at, waiting.finished_at, waiting.message), (None, None, None));
    assert_eq!(mover(JobEvent::Withdraw).await, JobMove::Moved(JobState::Withdrawn));
    let over = job_now(store, id).await;
    assert_eq!((over.finished_at, over.message.as_deref()), (Some(at(70)), Some("the agent did not answer")));
    assert_eq!(mover(JobEvent::Withdraw).await, JobMove::Refused(JobState::Withdrawn));
    assert_eq!(actions(store).await.iter().filter(|action| *action == "job.moved").count(), 2);
    let unknown =
        store.move_job(mint(JobId::mint), JobEvent::Lose, "", at(70), Some(audit("job.moved"))).await;
    assert_eq!(unknown.unwrap(), JobMove::NotFound);
    assert_eq!(actions(store).await.iter().filter(|action| *action == "job.moved").count(), 2);
}

/// Of several that end a job at once one does, and a running job stays one's own.
pub async fn a_job_ends_once_however_many_end_it(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = queued(store, JobKind::Check, &host, &repo).await;
    let chosen = intent(store, id).await;
    let try_one = |store: Arc<dyn Store>, n: usize| {
        let chosen = chosen.clone();
        async move {
            if n.is_multiple_of(2) {
                let moved = store.move_job(id, JobEvent::Withdraw, "race", at(30), None).await.unwrap();
                return moved == JobMove::Moved(JobState::Withdrawn);
            }
            store.dispatch(&[chosen], at(30)).await.unwrap();
            false
        }
    };
    let ended = at_once(8, try_one, store).await;
    assert_eq!(ended.into_iter().filter(|ended| *ended).count(), 1);
    assert_eq!(state_of(store, id).await, JobState::Withdrawn);
}

/// A job that waits again goes out again and ends as any other.
pub async fn a_requeued_job_goes_out_again(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    store.move_job(id, JobEvent::Requeue, "the agent left", at(30), None).await.unwrap();
    let again = job(JobKind::Check, &host, &repo);
    assert!(matches!(store.enqueue(again, audit("job.asked")).await.unwrap(), crate::Enqueued::Existing(_)));
    dispatch(store, id).await;
    let mut agent = Agent::of(store, &host);
    agent.starts(id).await;
    agent.finishes(id, restic_manager_core::model::FinalState::Succeeded).await;
    assert_eq!(state_of(store, id).await, JobState::Succeeded);
    let gone = store.delete_attachment(host.id, repo.id, audit("attachment.deleted")).await.unwrap();
    assert_eq!(gone, Deleted::Done, "nothing of it is unfinished");
}
