//! Runs that schedules fire, and how they follow their jobs.

use std::sync::Arc;

use restic_manager_core::id::RunId;
use restic_manager_core::model::{
    FinalState, Host, Job, JobEvent, JobState, Pending, PendingCause, Run, RunState,
};

use super::fixture::{
    Agent, at, at_once, audit, dispatch, enrolled, fired, hello, intent, job_now, made_repo, made_schedule,
    mint, revisions, run, session, state_of,
};
use super::nightly::Nightly;
use crate::{
    AuditFilter, CancelOutcome, DispatchOutcome, Effect, FiredRun, GroupDeleted, JobFilter, MissedSlots,
    PageRequest, Store,
};

async fn run_now(store: &Arc<dyn Store>, id: RunId) -> Run {
    store.run(id).await.unwrap().expect("the run is there")
}

async fn jobs_of(store: &Arc<dyn Store>, host: &Host) -> Vec<Job> {
    let filter = JobFilter { host_id: Some(host.id), ..JobFilter::default() };
    let listed = store.jobs(&filter, PageRequest::first(100)).await.unwrap();
    listed.items.into_iter().map(|row| row.job).collect()
}

/// A fired run is there with its first job, both as they were given.
pub async fn a_fired_run_is_there_with_its_job(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let run = nightly.run(100);
    let fired = fired(&run);
    let job = fired.job.clone().unwrap();
    nightly.fires(vec![fired]).await;
    assert_eq!(store.run(run.id).await.unwrap(), Some(run.clone()));
    let row = store.job(job.id).await.unwrap().unwrap();
    assert_eq!((row.job, row.group_name.as_deref()), (job.clone(), Some("home")));
    assert_eq!(store.run(mint(RunId::mint)).await.unwrap(), None);
    let outcomes = store.dispatch(&[intent(store, job.id).await], at(20)).await.unwrap();
    let [DispatchOutcome::Dispatched(row)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(row.run, Some(run), "its row comes with the dispatch");
}

/// A slot that is only noted as missed has a run and no job.
pub async fn a_missed_slot_is_a_run_without_a_job(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let missed = Run { state: RunState::Missed, why: Some("the host slept".to_owned()), ..nightly.run(100) };
    nightly.fires(vec![FiredRun { run: missed.clone(), job: None }]).await;
    assert_eq!(run_now(store, missed.id).await, missed);
    assert!(jobs_of(store, &nightly.host).await.is_empty());
}

/// The key of a run makes its repeats harmless, by whatever message and under whatever ids they come.
pub async fn a_run_key_fires_once(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let (first, job) = nightly.fires_one(100).await;
    let (again, another) = nightly.fires_one(100).await;
    assert_eq!(store.run(again.id).await.unwrap(), None);
    assert_eq!(store.job(another).await.unwrap(), None);
    dispatch(store, job).await;
    let (next, next_job) = nightly.fires_one(200).await;
    assert_eq!(run_now(store, first.id).await, first);
    assert_eq!(run_now(store, next.id).await, next);
    let ids: Vec<_> = jobs_of(store, &nightly.host).await.into_iter().map(|job| job.id).collect();
    assert_eq!(ids, [next_job, job]);
}

/// New and repeated runs in one message: the new ones are made.
pub async fn a_message_of_new_and_known_runs_makes_the_new_ones(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    nightly.fires_one(100).await;
    let (known, new) = (nightly.run(100), nightly.run(200));
    nightly.fires(vec![fired(&known), fired(&new), fired(&nightly.run(200))]).await;
    assert_eq!(store.run(known.id).await.unwrap(), None);
    assert_eq!(run_now(store, new.id).await, new);
    assert_eq!(jobs_of(store, &nightly.host).await.len(), 2);
}

/// Slots that were missed before one are counted with its fire, also when its run is known already because the agent did it by itself and
/// claimed it first; a fire that is told again counts nothing.
pub async fn missed_slots_are_counted_once_whoever_told_of_the_run_first(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let id = nightly.schedule.id;
    nightly.fires_one(100).await;
    for (slot, until) in [(100, 100), (100, 100), (90, 90), (200, 200)] {
        let audit = audit("schedule.missed");
        let missed = Some(Box::new(MissedSlots { schedule_id: id, count: 3, until: at(until), audit }));
        let runs = vec![fired(&nightly.run(slot))];
        nightly.agent.says(Effect::Fire { runs, missed }).await;
    }
    let missed = store.schedule(id).await.unwrap().unwrap().missed;
    assert_eq!((missed.count, missed.until), (6, Some(at(200))));
    let filter = AuditFilter { action: Some("schedule.missed".to_owned()), ..AuditFilter::default() };
    assert_eq!(store.audit(&filter, PageRequest::first(9)).await.unwrap().items.len(), 2);
}

/// A newer slot takes the place of older ones that wait: they are missed, and their jobs superseded; an older one that comes behind it is
/// missed at once. One that is under way goes on, and so does what another schedule fired.
pub async fn a_newer_slot_takes_the_place_of_older_ones_that_wait(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let hourly = made_schedule(store, &nightly.host, "hourly", &[&nightly.group]).await;
    let other = run(&nightly.host, &nightly.repo, &nightly.group, &hourly, at(50));
    nightly.fires(vec![fired(&other)]).await;
    let (under_way, sent) = nightly.fires_one(100).await;
    dispatch(store, sent).await;
    let (waiting, waits) = nightly.fires_one(200).await;
    let before = revisions(store, &nightly.host, &nightly.repo).await;
    let (third, newest) = (fired(&nightly.run(300)), fired(&nightly.run(400)));
    let late = fired(&nightly.run(350));
    nightly.fires(vec![third.clone(), newest.clone(), late.clone()]).await;
    for (run, job) in [(waiting.id, waits), (third.run.id, third.job.unwrap().id)] {
        let missed = run_now(store, run).await;
        assert_eq!(
            (missed.state, missed.why.as_deref()),
            (RunState::Missed, Some("superseded by a newer slot"))
        );
        let over = job_now(store, job).await;
        assert_eq!(
            (over.state, over.finished_at, over.message),
            (JobState::Superseded, Some(at(60)), missed.why)
        );
    }
    assert_eq!(run_now(store, under_way.id).await, under_way);
    assert_eq!(state_of(store, sent).await, JobState::Dispatched);
    for open in [&other, &newest.run] {
        assert_eq!(run_now(store, open.id).await, *open);
    }
    let overtaken = run_now(store, late.run.id).await;
    assert_eq!(overtaken.state, RunState::Missed, "what comes behind a newer one is late");
    assert_eq!(store.job(late.job.unwrap().id).await.unwrap(), None, "and gets no job");
    let far_behind = fired(&nightly.run(150));
    nightly.fires(vec![far_behind.clone()]).await;
    assert_eq!(run_now(store, far_behind.run.id).await.state, RunState::Missed);
    let after = revisions(store, &nightly.host, &nightly.repo).await;
    assert!(after.0 > before.0 && after.1 > before.1);
    let missed = Run { state: RunState::Missed, ..nightly.run(500) };
    nightly.fires(vec![FiredRun { run: missed, job: None }]).await;
    assert_eq!(
        run_now(store, newest.run.id).await.state,
        RunState::Open,
        "a slot that is only noted runs nothing"
    );
}

/// One key fires once, however many spools bring it at once.
pub async fn a_run_key_fires_once_however_many_bring_it(store: &Arc<dyn Store>) {
    let nightly = Nightly::of(store, "web").await;
    let wanted = nightly.run(100);
    let try_one = |store: Arc<dyn Store>, _| {
        let mut agent = Agent::of(&store, &nightly.host);
        let runs = vec![fired(&Run { id: mint(RunId::mint), ..wanted.clone() })];
        async move { agent.says(Effect::Fire { runs, missed: None }).await }
    };
    at_once(8, try_one, store).await;
    assert_eq!(jobs_of(store, &nightly.host).await.len(), 1);
}

/// A later attempt joins the run that is there and opens it again; the same attempt is left out.
pub async fn a_later_attempt_joins_its_run(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let (run, first) = nightly.fires_one(100).await;
    dispatch(store, first).await;
    nightly.agent.finishes(first, FinalState::Failed).await;
    assert_eq!(run_now(store, run.id).await.state, RunState::Failed);
    let same = nightly.run(100);
    let second = Run { attempt: 2, ..nightly.run(100) };
    let (same, second) = (fired(&same), fired(&second));
    let id = second.job.as_ref().unwrap().id;
    nightly.fires(vec![same, second]).await;
    let second = job_now(store, id).await;
    assert_eq!((second.run_id, second.attempt), (Some(run.id), 2));
    let open = run_now(store, run.id).await;
    assert_eq!((open.state, open.attempt), (RunState::Open, 2));
    assert_eq!(jobs_of(store, &nightly.host).await.len(), 2);
    dispatch(store, id).await;
    nightly.agent.finishes(id, FinalState::Succeeded).await;
    assert_eq!(run_now(store, run.id).await.state, RunState::Succeeded);
}

/// Runs of another host, or on a repository that is not there, are left out; the others of the message are made.
pub async fn runs_that_are_not_the_hosts_are_left_out(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let other = enrolled(store, "db").await;
    let foreign = Run { host_id: other.id, ..nightly.run(100) };
    let gone = made_repo(store, "gone").await;
    store.delete_repo(gone.id, audit("repo.deleted")).await.unwrap();
    let nowhere = run(&nightly.host, &gone, &nightly.group, &nightly.schedule, at(100));
    let good = nightly.run(200);
    nightly.fires([&foreign, &nowhere, &good].map(fired).to_vec()).await;
    assert_eq!(store.run(foreign.id).await.unwrap(), None);
    assert_eq!(store.run(nowhere.id).await.unwrap(), None);
    assert_eq!(run_now(store, good.id).await, good);
    assert!(jobs_of(store, &other).await.is_empty());
    assert_eq!(jobs_of(store, &nightly.host).await.len(), 1);
}

/// A run of a group that is gone is accepted; its job is withdrawn when it is to be dispatched, and the run abandoned with the reason.
pub async fn a_run_whose_group_is_gone_is_abandoned(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    store.delete_schedule(nightly.host.id, nightly.schedule.id, audit("schedule.deleted")).await.unwrap();
    let deleted =
        store.delete_group(nightly.host.id, nightly.group.id, audit("group.deleted")).await.unwrap();
    assert_eq!(deleted, GroupDeleted::Done);
    let (run, job) = nightly.fires_one(100).await;
    let outcomes = store.dispatch(&[intent(store, job).await], at(20)).await.unwrap();
    assert_eq!(outcomes, [DispatchOutcome::Withdrawn(job)]);
    let abandoned = run_now(store, run.id).await;
    assert_eq!(abandoned.state, RunState::Abandoned);
    assert!(abandoned.why.is_some());
    assert_eq!(abandoned.why, job_now(store, job).await.message);
}

/// A run goes where its job's end takes it, and stays open while the job goes on.
pub async fn a_run_follows_the_end_of_its_job(store: &Arc<dyn Store>) {
    let ends = [
        (FinalState::Succeeded, RunState::Succeeded),
        (FinalState::Warning, RunState::Warning),
        (FinalState::Failed, RunState::Failed),
        (FinalState::Cancelled, RunState::Failed),
    ];
    for (end, expected) in ends {
        let mut nightly = Nightly::of(store, &format!("{end:?}")).await;
        let (run, job) = nightly.fires_one(100).await;
        dispatch(store, job).await;
        assert_eq!(run_now(store, run.id).await.state, RunState::Open);
        nightly.agent.starts(job).await;
        assert_eq!(run_now(store, run.id).await.state, RunState::Open);
        nightly.agent.finishes(job, end).await;
        assert_eq!(run_now(store, run.id).await.state, expected);
    }
}

/// A run follows what the server does to its job as well.
pub async fn a_run_follows_what_the_server_does_to_its_job(store: &Arc<dyn Store>) {
    for (event, expected) in [
        (JobEvent::Requeue, RunState::Open),
        (JobEvent::Supersede, RunState::Open),
        (JobEvent::Lose, RunState::Open),
        (JobEvent::Withdraw, RunState::Abandoned),
    ] {
        let mut nightly = Nightly::of(store, &format!("{event:?}")).await;
        let (run, job) = nightly.fires_one(100).await;
        dispatch(store, job).await;
        store.move_job(job, event, "the server says so", at(30), None).await.unwrap();
        let after = run_now(store, run.id).await;
        let why = (expected == RunState::Abandoned).then_some("the server says so");
        assert_eq!((after.state, after.why.as_deref()), (expected, why));
        let owed = (event == JobEvent::Lose).then(|| Pending::unplanned(PendingCause::Lost, at(30)));
        assert_eq!(after.pending, owed);
    }
}

/// A run fails with a job that was cancelled while it waited, and owes an attempt for one that was lost.
pub async fn a_run_fails_with_a_cancelled_job_and_goes_on_after_a_lost_one(store: &Arc<dyn Store>) {
    let mut cancelled = Nightly::of(store, "web").await;
    let (run, job) = cancelled.fires_one(100).await;
    let answer = store.request_cancel(job, at(30), audit("job.cancelled")).await.unwrap();
    assert_eq!(answer, CancelOutcome::Cancelled);
    assert_eq!(run_now(store, run.id).await.state, RunState::Failed);

    let mut lost = Nightly::of(store, "db").await;
    let (run, job) = lost.fires_one(100).await;
    dispatch(store, job).await;
    lost.agent.starts(job).await;
    let taken = session(store, hello(&lost.host, lost.agent.spool_id, &[])).await;
    assert_eq!(taken.lost, [job]);
    assert_eq!(state_of(store, job).await, JobState::Lost);
    let owing = run_now(store, run.id).await;
    assert_eq!(owing.state, RunState::Open);
    assert_eq!(owing.pending, Some(Pending::unplanned(PendingCause::Lost, at(50))));
}

/// A run that lost a job, or was given up with a withdrawn one, follows what the agent says of that job later: a success counts whatever
/// came in between, a failure only while no other attempt is open.
pub async fn a_run_follows_late_evidence(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    for (slot, event) in [(100, JobEvent::Lose), (200, JobEvent::Withdraw)] {
        let (run, job) = nightly.fires_one(slot).await;
        dispatch(store, job).await;
        store.move_job(job, event, "given up", at(30), None).await.unwrap();
        nightly.agent.finishes(job, FinalState::Succeeded).await;
        let late = run_now(store, run.id).await;
        assert_eq!((late.state, late.why, late.pending), (RunState::Succeeded, None, None));
    }
    for (slot, late_end, expected) in
        [(300, FinalState::Succeeded, RunState::Succeeded), (400, FinalState::Failed, RunState::Open)]
    {
        let (run, job) = nightly.fires_one(slot).await;
        dispatch(store, job).await;
        store.move_job(job, JobEvent::Lose, "given up", at(30), None).await.unwrap();
        let second = Run { attempt: 2, ..run.clone() };
        nightly.agent.says(Effect::Fire { runs: vec![fired(&second)], missed: None }).await;
        nightly.agent.finishes(job, late_end).await;
        assert_eq!(run_now(store, run.id).await.state, expected, "{late_end:?} beside an open attempt");
        let retry = store.admission_view().await.unwrap().queued.remove(0).job.id;
        dispatch(store, retry).await;
        nightly.agent.finishes(retry, FinalState::Failed).await;
        let given_up = if expected == RunState::Open { RunState::Failed } else { expected };
        assert_eq!(run_now(store, run.id).await.state, given_up, "a failure takes no success away");
    }
}
