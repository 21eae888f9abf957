//! Sessions of agents.

use std::sync::Arc;

use restic_manager_core::id::{HostId, SpoolId};
use restic_manager_core::model::{FinalState, Host, HostFacts, JobKind, JobState};

use super::fixture::{
    Agent, at, at_once, audit, dispatched, enrolled, finished, hello, host_now, job_in_state, job_now, mint,
    queued, revisions, session, state_of, tied,
};
use crate::{Applied, Effect, Store, TakeSession};

/// Every session of a host has a higher number than all before it, also of several at once.
pub async fn the_epoch_strictly_rises(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "db").await);
    let first = session(store, hello(&web, mint(SpoolId::mint), &[])).await.epoch;
    let try_one = |store: Arc<dyn Store>, _| {
        let take = hello(&web, mint(SpoolId::mint), &[]);
        async move { store.take_session(take).await.unwrap().unwrap().epoch }
    };
    let mut epochs = at_once(8, try_one, store).await;
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 8, "no two sessions share a number");
    assert!(epochs.iter().all(|epoch| *epoch > first));
    let newest = session(store, hello(&web, mint(SpoolId::mint), &[])).await.epoch;
    assert!(newest > epochs[7]);
    assert!(session(store, hello(&db, mint(SpoolId::mint), &[])).await.epoch >= 1);
}

/// A spool that was not seen before begins at 0; one that was goes on where it stood.
pub async fn a_spool_goes_on_where_it_stood(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "db").await);
    let mut agent = Agent::of(store, &web);
    assert_eq!(session(store, hello(&web, agent.spool_id, &[])).await.committed_seq, 0);
    for _ in 0..3 {
        agent.says(Effect::PlanAcked { schedule_version: 1 }).await;
    }
    assert_eq!(session(store, hello(&web, agent.spool_id, &[])).await.committed_seq, 3);
    assert_eq!(session(store, hello(&web, mint(SpoolId::mint), &[])).await.committed_seq, 0);
    assert_eq!(
        session(store, hello(&db, agent.spool_id, &[])).await.committed_seq,
        0,
        "a spool is its host's"
    );
    assert_eq!(session(store, hello(&web, agent.spool_id, &[])).await.committed_seq, 3);
}

/// The facts, the plan version and the sign of life are stored, and the host is answered with them.
pub async fn a_session_stores_what_the_agent_says(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let facts = HostFacts { restic_version: Some("0.18.0".to_owned()), ..HostFacts::default() };
    let take =
        TakeSession { facts: facts.clone(), schedule_version: 1, ..hello(&host, mint(SpoolId::mint), &[]) };
    let taken = session(store, take).await;
    let expected = Host { facts, last_seen_at: Some(at(50)), schedule_version_acked: 1, ..host.clone() };
    assert_eq!(taken.host, expected);
    assert_eq!(host_now(store, &host).await, expected);
    let lost_its_plan = TakeSession { schedule_version: 0, ..hello(&host, mint(SpoolId::mint), &[]) };
    assert_eq!(session(store, lost_its_plan).await.host.schedule_version_acked, 0);
}

/// There is no session of a host that is not there.
pub async fn a_session_needs_its_host(store: &Arc<dyn Store>) {
    let host = Host { id: mint(HostId::mint), ..super::fixture::host("never enrolled") };
    assert_eq!(store.take_session(hello(&host, mint(SpoolId::mint), &[])).await.unwrap(), None);
}

/// Jobs the agent does not know: running ones are lost, dispatched ones wait again, and no others are touched.
pub async fn unknown_jobs_are_judged_by_where_they_stand(store: &Arc<dyn Store>) {
    for state in JobState::ALL {
        let (host, repo) = tied(store, state.as_str()).await;
        let id = job_in_state(store, &host, &repo, state).await;
        let (before, revisions_before) = (job_now(store, id).await, revisions(store, &host, &repo).await);
        let taken = session(store, hello(&host, mint(SpoolId::mint), &[])).await;
        let after = job_now(store, id).await;
        let raised = revisions(store, &host, &repo).await > revisions_before;
        match state {
            JobState::Running => {
                assert_eq!(
                    (taken.lost.as_slice(), taken.requeued.as_slice()),
                    ([id].as_slice(), [].as_slice())
                );
                assert_eq!((after.state, after.finished_at), (JobState::Lost, Some(at(50))));
                assert!(after.message.is_some() && raised);
            }
            JobState::Dispatched => {
                assert_eq!(
                    (taken.lost.as_slice(), taken.requeued.as_slice()),
                    ([].as_slice(), [id].as_slice())
                );
                assert_eq!((after.state, after.dispatched_at), (JobState::Queued, None));
                assert!(raised);
            }
            JobState::Queued
            | JobState::Succeeded
            | JobState::Warning
            | JobState::Failed
            | JobState::Cancelled
            | JobState::Lost
            | JobState::Superseded
            | JobState::Withdrawn => {
                assert!(taken.lost.is_empty() && taken.requeued.is_empty(), "{state:?}");
                assert_eq!(after, before);
            }
        }
    }
}

/// Jobs the agent runs, or whose end it still holds, stay as they are.
pub async fn known_jobs_stay_as_they_are(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let running = dispatched(store, JobKind::Check, &host, &repo).await;
    let fresh = dispatched(store, JobKind::Stats, &host, &repo).await;
    let mut agent = Agent::of(store, &host);
    agent.starts(running).await;
    let taken = session(store, hello(&host, agent.spool_id, &[fresh, running])).await;
    assert!(taken.lost.is_empty() && taken.requeued.is_empty() && taken.cancel.is_empty(), "{taken:?}");
    assert_eq!(state_of(store, running).await, JobState::Running);
    assert_eq!(state_of(store, fresh).await, JobState::Dispatched);
}

/// Another host's jobs are not judged, whatever this one says it knows.
pub async fn a_hello_judges_its_own_jobs_only(store: &Arc<dyn Store>) {
    let (web, web_repo) = tied(store, "web").await;
    let (db, db_repo) = tied(store, "db").await;
    let own = dispatched(store, JobKind::Check, &web, &web_repo).await;
    let foreign = dispatched(store, JobKind::Check, &db, &db_repo).await;
    Agent::of(store, &db).starts(foreign).await;
    let waiting = queued(store, JobKind::Stats, &web, &web_repo).await;
    let taken = session(store, hello(&web, mint(SpoolId::mint), &[])).await;
    assert_eq!((taken.lost.len(), taken.requeued), (0, vec![own]));
    store.request_cancel(foreign, at(55), audit("job.cancel_asked")).await.unwrap();
    let taken = session(store, hello(&web, mint(SpoolId::mint), &[foreign])).await;
    assert!(taken.cancel.is_empty(), "it is not this host's to stop");
    assert_eq!(state_of(store, foreign).await, JobState::Running);
    assert_eq!(state_of(store, waiting).await, JobState::Queued);
}

/// Lists of judged jobs come by id.
pub async fn judged_jobs_come_by_id(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let mut agent = Agent::of(store, &host);
    let (mut running, mut dispatched_only) = (Vec::new(), Vec::new());
    for kind in [JobKind::Check, JobKind::Stats, JobKind::Unlock, JobKind::Diff] {
        let id = dispatched(store, kind, &host, &repo).await;
        if running.len() < 2 {
            agent.starts(id).await;
            running.push(id);
        } else {
            dispatched_only.push(id);
        }
    }
    let taken = session(store, hello(&host, agent.spool_id, &[])).await;
    assert_eq!((taken.lost, taken.requeued), (running, dispatched_only));
}

/// What the agent of a lost job says later of its end is how it ended: evidence beats what was presumed.
pub async fn a_lost_job_is_over_as_its_agent_says(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    let mut agent = Agent::of(store, &host);
    agent.starts(id).await;
    session(store, hello(&host, agent.spool_id, &[])).await;
    assert_eq!(state_of(store, id).await, JobState::Lost);
    agent.finishes(id, FinalState::Succeeded).await;
    let over = job_now(store, id).await;
    assert_eq!((over.state, over.finished_at), (JobState::Succeeded, Some(at(40))));
    let again = agent.says(finished(id, FinalState::Failed)).await;
    assert!(matches!(&again, Applied::Ignored(why) if why.contains(&id.to_string())), "{again:?}");
    assert_eq!(job_now(store, id).await, over);
}
