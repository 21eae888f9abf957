//! Jobs that agents took for themselves.

use std::sync::Arc;

use restic_manager_core::id::{JobId, RunId};
use restic_manager_core::model::{FinalState, Job, JobState, Pending, PendingCause, Run, RunState};

use super::fixture::{
    Agent, at, audit, dispatch, enrolled, finished, hello, job_now, made_repo, mint, session, state_of,
};
use super::nightly::Nightly;
use crate::{Adoption, Applied, Effect, PageRequest, Store, TakeSession};

/// A job that the agent took for a slot, under way.
fn claim(nightly: &Nightly, slot: i64, attempt: u32) -> Adoption {
    let run = Run { attempt, ..nightly.run(slot) };
    let job = Job {
        state: JobState::Running,
        slot: Some(at(slot)),
        attempt,
        started_at: Some(at(16)),
        ..nightly.backup(15)
    };
    Adoption { run, job }
}

async fn says_hello(nightly: &Nightly, store: &Arc<dyn Store>, claims: Vec<Adoption>) {
    let known: Vec<JobId> = claims.iter().map(|claim| claim.job.id).collect();
    session(store, TakeSession { claims, ..hello(&nightly.host, nightly.agent.spool_id, &known) }).await;
}

async fn run_of(store: &Arc<dyn Store>, job: JobId) -> Run {
    let id = job_now(store, job).await.run_id.expect("it is an attempt of a run");
    store.run(id).await.unwrap().unwrap()
}

async fn twice(store: &Arc<dyn Store>) -> usize {
    let rows = store.audit(&crate::AuditFilter::default(), PageRequest::first(500)).await.unwrap().items;
    rows.iter().filter(|row| row.action == "slot.ran_twice").count()
}

/// A claim of a slot that the server does not know makes its run and its job; the same claim again changes nothing.
pub async fn a_claim_makes_its_run_and_its_job_once(store: &Arc<dyn Store>) {
    let nightly = Nightly::of(store, "web").await;
    let claim = claim(&nightly, 100, 1);
    for _ in 0..2 {
        says_hello(&nightly, store, vec![claim.clone()]).await;
        let job = job_now(store, claim.job.id).await;
        assert_eq!((job.state, job.attempt, job.run_id), (JobState::Running, 1, Some(claim.run.id)));
        assert_eq!(store.run(claim.run.id).await.unwrap(), Some(claim.run.clone()));
    }
    assert_eq!(store.admission_view().await.unwrap().occupying.len(), 1);
}

/// A claim takes the place of what the server holds for open of the run: a job that waits or was sent is superseded, one that was thought
/// to run is lost, and what the run owed is settled.
pub async fn a_claim_ends_what_the_server_had_for_its_slot(store: &Arc<dyn Store>) {
    for (name, dispatched, started, expected) in [
        ("queued", false, false, JobState::Superseded),
        ("dispatched", true, false, JobState::Superseded),
        ("running", true, true, JobState::Lost),
    ] {
        let mut nightly = Nightly::of(store, name).await;
        let (run, servers) = nightly.fires_one(100).await;
        if dispatched {
            dispatch(store, servers).await;
        }
        if started {
            nightly.agent.starts(servers).await;
        }
        let claim = claim(&nightly, 100, 2);
        says_hello(&nightly, store, vec![claim.clone()]).await;
        assert_eq!(state_of(store, servers).await, expected, "{name}");
        let after = run_of(store, claim.job.id).await;
        assert_eq!((after.id, after.state, after.attempt, after.pending), (run.id, RunState::Open, 2, None));
    }
    let mut nightly = Nightly::of(store, "owing").await;
    let (_, servers) = nightly.fires_one(100).await;
    dispatch(store, servers).await;
    store.put_off(servers, "no way", at(20)).await.unwrap();
    let claim = claim(&nightly, 100, 1);
    says_hello(&nightly, store, vec![claim.clone()]).await;
    assert_eq!(run_of(store, claim.job.id).await.pending, None);
    assert_eq!(job_now(store, claim.job.id).await.attempt, 1, "what was never sent gave its number back");
}

/// A claim whose number another attempt has gets the next.
pub async fn a_claim_under_a_taken_number_gets_the_next(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let (_, first) = nightly.fires_one(100).await;
    dispatch(store, first).await;
    nightly.agent.finishes(first, FinalState::Failed).await;
    let claim = claim(&nightly, 100, 1);
    says_hello(&nightly, store, vec![claim.clone()]).await;
    assert_eq!(job_now(store, claim.job.id).await.attempt, 2);
    let run = run_of(store, claim.job.id).await;
    assert_eq!((run.state, run.attempt), (RunState::Open, 2), "evidence opens it again");
}

/// The start of a job, and its end, bring the claim with them where no hello did.
pub async fn a_start_or_an_end_adopts_its_own_job(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let started = claim(&nightly, 100, 1);
    for _ in 0..2 {
        let adopt = Some(Box::new(started.clone()));
        let start = Effect::Started { job_id: started.job.id, at: at(17), adopt };
        assert_eq!(nightly.agent.says(start).await, Applied::Done);
    }
    assert_eq!(state_of(store, started.job.id).await, JobState::Running);
    let ended = claim(&nightly, 200, 1);
    for (claim, state) in [(&ended, RunState::Succeeded), (&started, RunState::Succeeded)] {
        let mut end = finished(claim.job.id, FinalState::Succeeded);
        if let Effect::Finished { adopt, .. } = &mut end {
            *adopt = Some(Box::new(claim.clone()));
        }
        assert_eq!(nightly.agent.says(end).await, Applied::Done);
        assert_eq!(run_of(store, claim.job.id).await.state, state);
    }
    assert_eq!(twice(store).await, 0);
}

/// A claim of a newer slot takes the place of runs for older ones that wait or owe an attempt, and a fire that comes behind it is late.
pub async fn a_claim_takes_the_place_of_older_slots(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let (waiting, waits) = nightly.fires_one(100).await;
    let claim = claim(&nightly, 200, 1);
    says_hello(&nightly, store, vec![claim.clone()]).await;
    assert_eq!(state_of(store, waits).await, JobState::Superseded);
    assert_eq!(store.run(waiting.id).await.unwrap().unwrap().state, RunState::Missed);
    let (late, none) = nightly.fires_one(150).await;
    assert_eq!(store.run(late.id).await.unwrap().unwrap().state, RunState::Missed);
    assert_eq!(store.job(none).await.unwrap(), None);
    let (known, none) = nightly.fires_one(200).await;
    assert_eq!(store.run(known.id).await.unwrap(), None, "the slot has its run");
    assert_eq!(store.job(none).await.unwrap(), None);
}

/// A second success of a run is kept beside the first and audited once.
pub async fn a_slot_that_ran_twice_is_audited(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let (run, first) = nightly.fires_one(100).await;
    dispatch(store, first).await;
    nightly.agent.finishes(first, FinalState::Succeeded).await;
    let claim = claim(&nightly, 100, 1);
    says_hello(&nightly, store, vec![claim.clone()]).await;
    assert_eq!(store.run(run.id).await.unwrap().unwrap().state, RunState::Succeeded, "a success stands");
    assert_eq!(twice(store).await, 0, "it has not succeeded yet");
    nightly.agent.finishes(claim.job.id, FinalState::Warning).await;
    assert_eq!(state_of(store, claim.job.id).await, JobState::Warning);
    assert_eq!(store.run(run.id).await.unwrap().unwrap().state, RunState::Succeeded);
    assert_eq!(twice(store).await, 1);
}

/// A host claims slots of its own only: not of another's run, not of another's schedule, not on a repository that is gone. One of a
/// schedule that was deleted is accepted.
pub async fn a_host_claims_its_own_slots_only(store: &Arc<dyn Store>) {
    let mut web = Nightly::of(store, "web").await;
    let other = enrolled(store, "other").await;
    let mut foreign = claim(&web, 100, 1);
    (foreign.run.host_id, foreign.job.host_id) = (other.id, other.id);
    let take = TakeSession {
        claims: vec![foreign.clone(), claim(&web, 200, 1)],
        ..hello(&other, Agent::of(store, &other).spool_id, &[])
    };
    session(store, take).await;
    assert!(store.admission_view().await.unwrap().occupying.is_empty());
    let gone = made_repo(store, "gone").await;
    store.delete_repo(gone.id, audit("repo.deleted")).await.unwrap();
    let mut nowhere = claim(&web, 300, 1);
    (nowhere.run.key.repo_id, nowhere.job.repo_id) = (gone.id, gone.id);
    store.delete_schedule(web.host.id, web.schedule.id, audit("schedule.deleted")).await.unwrap();
    let orphan = claim(&web, 400, 1);
    says_hello(&web, store, vec![nowhere.clone(), orphan.clone()]).await;
    assert_eq!(store.job(nowhere.job.id).await.unwrap(), None);
    assert_eq!(state_of(store, orphan.job.id).await, JobState::Running);
    web.agent.finishes(orphan.job.id, FinalState::Succeeded).await;
    assert_eq!(run_of(store, orphan.job.id).await.state, RunState::Succeeded);
}

/// A job whose slot another one has leaves its run to that; where there is none, the run owes an attempt.
pub async fn a_superseded_job_leaves_no_run_stuck(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let refused = |job_id| Effect::Refused {
        job_id,
        event: restic_manager_core::model::JobEvent::Supersede,
        class: None,
        message: "taken".to_owned(),
        hint: None,
        at: at(40),
    };
    let (alone, job) = nightly.fires_one(100).await;
    dispatch(store, job).await;
    nightly.agent.says(refused(job)).await;
    let owing = store.run(alone.id).await.unwrap().unwrap();
    assert_eq!(owing.pending, Some(Pending::unplanned(PendingCause::Lost, at(60))));
    let (done, servers) = nightly.fires_one(200).await;
    let claim = claim(&nightly, 200, 1);
    says_hello(&nightly, store, vec![claim.clone()]).await;
    nightly.agent.says(refused(servers)).await;
    let taken = store.run(done.id).await.unwrap().unwrap();
    assert_eq!((taken.state, taken.pending), (RunState::Open, None), "the agent has it");
    assert_eq!(store.run(mint(RunId::mint)).await.unwrap(), None);
}
