//! Cancelling jobs.

use std::sync::Arc;

use restic_manager_core::id::{JobId, SpoolId};
use restic_manager_core::model::{FinalState, Job, JobEvent, JobKind, JobState};
use restic_manager_core::restic::OutcomeClass;

use super::fixture::{
    Agent, actions, at, at_once, audit, dispatched, hello, job_in_state, job_now, mint, queued, revisions,
    session, state_of, tied,
};
use crate::{Applied, CancelOutcome, Effect, JobMove, Store};

async fn cancel(store: &Arc<dyn Store>, id: JobId, seconds: i64) -> CancelOutcome {
    store.request_cancel(id, at(seconds), audit("job.cancel_asked")).await.unwrap()
}

async fn asked_times(store: &Arc<dyn Store>) -> usize {
    actions(store).await.iter().filter(|action| *action == "job.cancel_asked").count()
}

/// A job that waits is over at once.
pub async fn a_job_that_waits_is_cancelled_at_once(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = queued(store, JobKind::Check, &host, &repo).await;
    let before = revisions(store, &host, &repo).await;
    assert_eq!(cancel(store, id, 30).await, CancelOutcome::Cancelled);
    let over = job_now(store, id).await;
    assert_eq!((over.state, over.finished_at), (JobState::Cancelled, Some(at(30))));
    assert_eq!((over.class, over.cancel_requested_at), (Some(OutcomeClass::Cancelled), Some(at(30))));
    let after = revisions(store, &host, &repo).await;
    assert!(after.0 > before.0 && after.1 > before.1);
    assert_eq!(cancel(store, id, 31).await, CancelOutcome::AlreadyFinal(JobState::Cancelled));
    assert_eq!(asked_times(store).await, 1);
}

/// A job that the agent has goes on until the agent says otherwise; the first wish counts.
pub async fn a_job_that_went_out_is_asked_to_stop(store: &Arc<dyn Store>) {
    for state in [JobState::Dispatched, JobState::Running] {
        let (host, repo) = tied(store, state.as_str()).await;
        let id = job_in_state(store, &host, &repo, state).await;
        let expected = Job { cancel_requested_at: Some(at(33)), ..job_now(store, id).await };
        let asked_before = asked_times(store).await;
        for seconds in [33, 44] {
            assert_eq!(
                cancel(store, id, seconds).await,
                CancelOutcome::Requested(Box::new(expected.clone()))
            );
            assert_eq!(job_now(store, id).await, expected);
        }
        assert_eq!(asked_times(store).await, asked_before + 1, "a repeat changes nothing");
        Agent::of(store, &host).finishes(id, FinalState::Cancelled).await;
        assert_eq!(state_of(store, id).await, JobState::Cancelled);
    }
}

/// A job that is over stays as it ended; one that is not there is not found.
pub async fn a_job_that_is_over_stays_as_it_ended(store: &Arc<dyn Store>) {
    for state in JobState::ALL.into_iter().filter(|state| state.is_final()) {
        let (host, repo) = tied(store, state.as_str()).await;
        let id = job_in_state(store, &host, &repo, state).await;
        let before = job_now(store, id).await;
        assert_eq!(cancel(store, id, 90).await, CancelOutcome::AlreadyFinal(state));
        assert_eq!(job_now(store, id).await, before);
    }
    assert_eq!(cancel(store, mint(JobId::mint), 90).await, CancelOutcome::NotFound);
    assert_eq!(asked_times(store).await, 0);
}

/// A wish is delivered again at every hello until the job is over.
pub async fn a_wish_to_cancel_is_delivered_at_hello(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let running = dispatched(store, JobKind::Check, &host, &repo).await;
    let other = dispatched(store, JobKind::Stats, &host, &repo).await;
    let mut agent = Agent::of(store, &host);
    agent.starts(running).await;
    cancel(store, running, 30).await;
    for _ in 0..2 {
        let taken = session(store, hello(&host, agent.spool_id, &[running, other])).await;
        assert_eq!(taken.cancel, [running]);
        assert!(taken.lost.is_empty() && taken.requeued.is_empty());
    }
    agent.finishes(running, FinalState::Cancelled).await;
    let taken = session(store, hello(&host, agent.spool_id, &[running, other])).await;
    assert!(taken.cancel.is_empty());
}

/// A dispatched job that never reached its agent is not run after somebody asked to cancel it.
pub async fn a_cancelled_job_that_never_arrived_is_over(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    cancel(store, id, 30).await;
    let taken = session(store, hello(&host, mint(SpoolId::mint), &[])).await;
    assert!(taken.requeued.is_empty() && taken.lost.is_empty() && taken.cancel.is_empty(), "{taken:?}");
    let over = job_now(store, id).await;
    assert_eq!((over.state, over.finished_at), (JobState::Cancelled, Some(at(50))));
}

/// A job that somebody asked to cancel never waits again, whoever sends it back.
pub async fn a_cancelled_job_never_waits_again(store: &Arc<dyn Store>) {
    let (web, web_repo) = tied(store, "web").await;
    let by_server = dispatched(store, JobKind::Check, &web, &web_repo).await;
    cancel(store, by_server, 30).await;
    let moved = store.move_job(by_server, JobEvent::Requeue, "the agent left", at(40), None).await.unwrap();
    assert_eq!(moved, JobMove::Moved(JobState::Cancelled));
    let (db, db_repo) = tied(store, "db").await;
    let by_agent = dispatched(store, JobKind::Check, &db, &db_repo).await;
    cancel(store, by_agent, 30).await;
    let busy = Effect::Refused {
        job_id: by_agent,
        event: JobEvent::Requeue,
        class: None,
        message: "the agent is busy".to_owned(),
        hint: None,
        at: at(41),
    };
    assert_eq!(Agent::of(store, &db).says(busy).await, Applied::Done);
    for (id, seconds) in [(by_server, 40), (by_agent, 41)] {
        let over = job_now(store, id).await;
        assert_eq!((over.state, over.finished_at), (JobState::Cancelled, Some(at(seconds))));
        assert_eq!(over.class, Some(OutcomeClass::Cancelled));
    }
}

/// A job that is given up after somebody asked to stop it stays so: what cannot wait again is not cancelled in its place.
pub async fn a_requeue_cancels_no_job_that_is_over(store: &Arc<dyn Store>) {
    for event in [JobEvent::Lose, JobEvent::Withdraw] {
        let (host, repo) = tied(store, &format!("{event:?}")).await;
        let id = dispatched(store, JobKind::Check, &host, &repo).await;
        cancel(store, id, 30).await;
        store.move_job(id, event, "given up", at(40), None).await.unwrap();
        let before = job_now(store, id).await;
        let moved = store.move_job(id, JobEvent::Requeue, "the agent left", at(41), None).await.unwrap();
        assert_eq!(moved, JobMove::Refused(event.leads_to()));
        assert_eq!(job_now(store, id).await, before);
    }
}

/// However many ask at once, the job is cancelled once and every other is told that it is over.
pub async fn a_job_is_cancelled_once_however_many_ask(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = queued(store, JobKind::Check, &host, &repo).await;
    let try_one = |store: Arc<dyn Store>, _| async move {
        store.request_cancel(id, at(30), audit("job.cancel_asked")).await.unwrap()
    };
    let answers = at_once(6, try_one, store).await;
    assert_eq!(
        answers.iter().filter(|answer| **answer == CancelOutcome::Cancelled).count(),
        1,
        "{answers:?}"
    );
    let told = CancelOutcome::AlreadyFinal(JobState::Cancelled);
    assert_eq!(answers.iter().filter(|answer| **answer == told).count(), 5, "{answers:?}");
    assert_eq!(asked_times(store).await, 1);
}
