//! Runs that owe an attempt, and repositories out of reach.

use std::sync::Arc;

use restic_manager_core::id::{HostId, JobId, RunId};
use restic_manager_core::model::{
    FinalState, Host, JobKind, JobState, Pending, PendingCause, Role, Run, RunState, Schedule,
};
use restic_manager_core::pending::{Plan, Retry, Target};
use restic_manager_core::restic::OutcomeClass;

use super::fixture::{
    Agent, asked, at, at_once, attached, audit, dispatch, enrolled, finished, job, mint, state_of,
};
use super::nightly::Nightly;
use crate::{
    Becomes, CancelOutcome, Effect, JobMove, PageRequest, PendingOf, PendingRow, Settled, Settlement, Store,
};

/// A run whose first job was sent.
async fn sent(nightly: &mut Nightly, store: &Arc<dyn Store>, slot: i64) -> (Run, JobId) {
    let (run, job) = nightly.fires_one(slot).await;
    dispatch(store, job).await;
    (run, job)
}

/// A run that owes an attempt since `since`, because its job could not be sent.
async fn owing(nightly: &mut Nightly, store: &Arc<dyn Store>, slot: i64, since: i64) -> PendingRow {
    let (run, job) = sent(nightly, store, slot).await;
    let moved = store.put_off(job, "no way", at(since)).await.unwrap();
    assert_eq!(moved, JobMove::Moved(JobState::Withdrawn));
    store.pending_run(run.id).await.unwrap().expect("it owes an attempt")
}

async fn settle(store: &Arc<dyn Store>, row: &PendingRow, becomes: Becomes) -> Settled {
    let settlement = Settlement { run_id: row.run.id, owed: row.owed, becomes };
    store.settle(vec![settlement], at(80)).await.unwrap().remove(0)
}

fn given_up() -> Becomes {
    Becomes::Abandoned { why: "enough".to_owned(), audit: audit("pending_run.abandoned") }
}

fn ids(rows: &[PendingRow]) -> Vec<RunId> {
    rows.iter().map(|row| row.run.id).collect()
}

/// A job that could not be sent is withdrawn, and its run owes an attempt with all that is decided on; a job without a run waits again,
/// and one that somebody asked to stop is over.
pub async fn a_job_that_could_not_be_sent_is_put_off(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let row = owing(&mut nightly, store, 100, 30).await;
    assert_eq!(row.owed, Pending::unplanned(PendingCause::DispatchFailed, at(30)));
    assert_eq!((row.run.state, row.run.attempt, row.run.pending), (RunState::Open, 1, Some(row.owed)));
    let retry = Retry { max: nightly.group.retry_max, backoff_seconds: nightly.group.retry_backoff_seconds };
    assert_eq!((row.schedule, row.retry, row.target), (Plan::Enabled, Some(retry), Target::Attached));
    let names = [row.names.host, row.names.repo, row.names.group, row.names.schedule];
    let expected =
        [nightly.host.name.to_string(), nightly.repo.name.to_string(), "home".into(), "nightly".into()];
    assert_eq!(names, expected);
    assert_eq!(row.last_message.as_deref(), Some("no way"));
    let alone = asked(store, job(JobKind::Check, &nightly.host, &nightly.repo)).await;
    dispatch(store, alone).await;
    assert_eq!(store.put_off(alone, "no way", at(31)).await.unwrap(), JobMove::Moved(JobState::Queued));
    assert_eq!(store.put_off(mint(JobId::mint), "no way", at(31)).await.unwrap(), JobMove::NotFound);
    let (run, unwanted) = sent(&mut nightly, store, 300).await;
    let answer = store.request_cancel(unwanted, at(31), audit("job.cancelled")).await.unwrap();
    assert!(matches!(answer, CancelOutcome::Requested(_)), "{answer:?}");
    store.put_off(unwanted, "no way", at(32)).await.unwrap();
    assert_eq!(state_of(store, unwanted).await, JobState::Cancelled);
    assert_eq!(store.pending_run(run.id).await.unwrap(), None);
}

/// An attempt joins its run under the next number, and the run owes nothing from there on.
pub async fn an_attempt_settles_what_is_owed(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let row = owing(&mut nightly, store, 100, 30).await;
    let attempt = nightly.backup(70);
    let id = attempt.id;
    assert_eq!(settle(store, &row, Becomes::Attempted(Box::new(attempt))).await, Settled::Done);
    let job = store.job(id).await.unwrap().unwrap().job;
    assert_eq!((job.run_id, job.attempt, job.state), (Some(row.run.id), 2, JobState::Queued));
    let run = store.run(row.run.id).await.unwrap().unwrap();
    assert_eq!((run.attempt, run.pending, run.state), (2, None, RunState::Open));
    assert_eq!(store.count_pending().await.unwrap(), 0);
    dispatch(store, id).await;
    nightly.agent.finishes(id, FinalState::Succeeded).await;
    assert_eq!(store.run(row.run.id).await.unwrap().unwrap().state, RunState::Succeeded);
}

/// A planned attempt is due at its time; a run that is given up says why and writes its audit row.
pub async fn an_attempt_is_planned_or_given_up(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let row = owing(&mut nightly, store, 100, 30).await;
    assert_eq!(settle(store, &row, Becomes::Planned(at(90))).await, Settled::Done);
    let planned = store.pending_run(row.run.id).await.unwrap().unwrap();
    assert_eq!(planned.owed, Pending { next_attempt_at: at(90), ..row.owed });
    assert_eq!(settle(store, &planned, given_up()).await, Settled::Done);
    let run = store.run(row.run.id).await.unwrap().unwrap();
    assert_eq!((run.state, run.why.as_deref(), run.pending), (RunState::Abandoned, Some("enough"), None));
    assert_eq!(store.pending_run(row.run.id).await.unwrap(), None);
    let written = store.audit(&crate::AuditFilter::default(), PageRequest::first(1)).await.unwrap();
    assert_eq!(written.items[0].action, "pending_run.abandoned");
}

/// What was decided on another state than the present one changes nothing.
pub async fn a_settlement_on_an_old_state_is_stale(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let row = owing(&mut nightly, store, 100, 30).await;
    assert_eq!(settle(store, &row, Becomes::Planned(at(90))).await, Settled::Done);
    assert_eq!(settle(store, &row, given_up()).await, Settled::Stale);
    let planned = store.pending_run(row.run.id).await.unwrap().unwrap();
    let attempt = || Becomes::Attempted(Box::new(nightly.backup(70)));
    let twice =
        [attempt(), attempt()].map(|becomes| Settlement { run_id: row.run.id, owed: planned.owed, becomes });
    assert_eq!(store.settle(twice.to_vec(), at(80)).await.unwrap(), [Settled::Done, Settled::Stale]);
    assert_eq!(settle(store, &planned, given_up()).await, Settled::Stale);
    let nobody = Settlement { run_id: mint(RunId::mint), owed: planned.owed, becomes: given_up() };
    assert_eq!(store.settle(vec![nobody], at(80)).await.unwrap(), [Settled::Stale]);
    let mut late = Nightly::of(store, "db").await;
    let (run, job) = sent(&mut late, store, 100).await;
    store.put_off(job, "no way", at(30)).await.unwrap();
    let row = store.pending_run(run.id).await.unwrap().unwrap();
    late.agent.finishes(job, FinalState::Succeeded).await;
    assert_eq!(settle(store, &row, given_up()).await, Settled::Stale, "its end became known");
    assert_eq!(store.run(run.id).await.unwrap().unwrap().state, RunState::Succeeded);
}

/// Of many that settle one run at once one wins, and one attempt is made.
pub async fn one_settlement_wins_however_many_try(store: &Arc<dyn Store>) {
    let mut nightly = Nightly::of(store, "web").await;
    let row = owing(&mut nightly, store, 100, 30).await;
    let try_one = |store: Arc<dyn Store>, _| {
        let (row, attempt) = (row.clone(), nightly.backup(70));
        async move { settle(&store, &row, Becomes::Attempted(Box::new(attempt))).await }
    };
    let settled = at_once(10, try_one, store).await;
    assert_eq!(settled.iter().filter(|settled| **settled == Settled::Done).count(), 1);
    assert_eq!(store.admission_view().await.unwrap().queued.len(), 1);
}

/// What is due comes with the longest due first, of the hosts named; of others only what its schedule or group stands in the way of.
pub async fn what_is_due_is_found_by_time_and_host(store: &Arc<dyn Store>) {
    let mut web = Nightly::of(store, "web").await;
    let mut db = Nightly::of(store, "db").await;
    let late = owing(&mut web, store, 100, 40).await;
    let early = owing(&mut db, store, 100, 30).await;
    let future = owing(&mut web, store, 300, 50).await;
    settle(store, &future, Becomes::Planned(at(1_000))).await;
    let due = |online: Vec<HostId>, now: i64, most: u32| async move {
        ids(&store.pending_due(&online, at(now), most).await.unwrap())
    };
    let both = vec![web.host.id, db.host.id];
    // A newer slot took the place of the older one of web.
    assert_eq!(store.run(late.run.id).await.unwrap().unwrap().state, RunState::Missed);
    assert_eq!(due(both.clone(), 100, 10).await, [early.run.id]);
    assert_eq!(due(both.clone(), 29, 10).await, []);
    assert_eq!(due(both.clone(), 1_000, 10).await, [early.run.id, future.run.id]);
    assert_eq!(due(both.clone(), 1_000, 1).await, [early.run.id]);
    assert_eq!(due(vec![web.host.id], 1_000, 10).await, [future.run.id]);
    assert_eq!(due(Vec::new(), 1_000, 10).await, []);
    let off = Schedule { enabled: false, ..web.schedule.clone() };
    store.replace_schedule(off, audit("schedule.changed")).await.unwrap();
    store.delete_schedule(db.host.id, db.schedule.id, audit("schedule.deleted")).await.unwrap();
    assert_eq!(due(Vec::new(), 1_000, 10).await, [early.run.id, future.run.id]);
    let rows = store.pending_due(&[], at(1_000), 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.schedule).collect::<Vec<_>>(), [Plan::Gone, Plan::Disabled]);
}

/// Pending runs are listed newest first, of the fleet, a host or a repository, and counted.
pub async fn pending_runs_are_listed_and_counted(store: &Arc<dyn Store>) {
    let mut web = Nightly::of(store, "web").await;
    let mut db = Nightly::of(store, "db").await;
    let first = owing(&mut web, store, 100, 40).await;
    let second = owing(&mut db, store, 100, 30).await;
    assert_eq!(store.count_pending().await.unwrap(), 2);
    let all = store.pending_runs(PendingOf::Fleet, PageRequest::first(10)).await.unwrap();
    assert_eq!(ids(&all.items), [second.run.id, first.run.id]);
    let page = store.pending_runs(PendingOf::Fleet, PageRequest::first(1)).await.unwrap();
    assert_eq!(ids(&page.items), [second.run.id]);
    let rest = PageRequest { after: page.next, limit: 1 };
    assert_eq!(ids(&store.pending_runs(PendingOf::Fleet, rest).await.unwrap().items), [first.run.id]);
    for (of, expected) in
        [(PendingOf::Host(web.host.id), first.run.id), (PendingOf::Repo(db.repo.id), second.run.id)]
    {
        assert_eq!(ids(&store.pending_runs(of, PageRequest::first(10)).await.unwrap().items), [expected]);
    }
    let stranger = enrolled(store, "stranger").await;
    let of = |hosts: Vec<HostId>| async move { ids(&store.pending_of_hosts(&hosts).await.unwrap()) };
    assert_eq!(of(vec![web.host.id]).await, [first.run.id]);
    assert_eq!(
        of(vec![web.host.id, stranger.id, db.host.id]).await,
        [second.run.id, first.run.id],
        "by time"
    );
    assert!(of(vec![stranger.id]).await.is_empty());
    assert!(of(Vec::new()).await.is_empty());
}

/// Three hosts that cannot reach a repository open its breaker; whoever gets an answer from it closes it, and a host that leaves no
/// longer counts.
pub async fn hosts_out_of_reach_open_the_breaker(store: &Arc<dyn Store>) {
    let first = Nightly::of(store, "h0").await;
    let repo = first.repo.clone();
    let mut hosts = vec![first.host];
    for n in 1..4 {
        let host = enrolled(store, &format!("h{n}")).await;
        attached(store, &host, &repo, Role::Primary).await;
        hosts.push(host);
    }
    let end = |host: &Host, class: OutcomeClass| {
        let (host, repo) = (host.clone(), repo.clone());
        async move {
            let id = asked(store, job(JobKind::Stats, &host, &repo)).await;
            dispatch(store, id).await;
            let state = if class == OutcomeClass::Ok { FinalState::Succeeded } else { FinalState::Failed };
            let mut said = finished(id, state);
            if let Effect::Finished { class: told, .. } = &mut said {
                *told = class;
            }
            Agent::of(store, &host).says(said).await;
            store.admission_view().await.unwrap().breakers.contains(&repo.id)
        }
    };
    for (host, open) in [(0, false), (0, false), (1, false), (2, true), (3, true)] {
        assert_eq!(end(&hosts[host], OutcomeClass::Unreachable).await, open, "host {host}");
    }
    assert!(end(&hosts[0], OutcomeClass::Killed).await, "that says nothing of the repository");
    assert!(!end(&hosts[1], OutcomeClass::Locked).await, "it answered");
    for host in &hosts[1..] {
        end(host, OutcomeClass::Unreachable).await;
    }
    store.delete_attachment(hosts[3].id, repo.id, audit("host.detached")).await.unwrap();
    assert!(store.admission_view().await.unwrap().breakers.is_empty());
}
