//! Asking for jobs, and what admission sees of them.

use std::sync::Arc;

use restic_manager_core::id::{GroupId, HostId, JobId, RepoId};
use restic_manager_core::model::{Actor, Job, JobIntent, JobKind, JobState, SourceGroup};

use super::fixture::{
    Agent, asked, at, at_once, audit, backup, dispatch, dispatched, enrolled, fired, job, job_in_state,
    job_now, made_group, made_repo, made_schedule, mint, queued, revisions, run, state_of, tied,
};
use crate::{Applied, Effect, Enqueued, JobFilter, PageRequest, Store};

/// A new job waits as it was given, with the names around it.
pub async fn a_job_that_was_asked_for_waits(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = made_group(store, &host, "home").await;
    let wanted = backup(&host, &repo, &group);
    let enqueued = store.enqueue(wanted.clone(), audit("job.asked")).await.unwrap();
    assert_eq!(enqueued, Enqueued::Created(wanted.clone()));
    let row = store.job(wanted.id).await.unwrap().unwrap();
    assert_eq!(row.job, wanted);
    assert_eq!((row.host_name.as_str(), row.repo_name.as_str()), ("web", repo.name.as_str()));
    assert_eq!(row.group_name.as_deref(), Some("home"));
    assert_eq!(store.job(mint(JobId::mint)).await.unwrap(), None);
}

/// Pressing twice gives the job that is there, as it stands, until it is final.
pub async fn pressing_twice_gives_the_job_that_is_there(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let first = queued(store, JobKind::Check, &host, &repo).await;
    let mut agent = Agent::of(store, &host);
    for state in [JobState::Queued, JobState::Dispatched, JobState::Running] {
        if state == JobState::Dispatched {
            dispatch(store, first).await;
        } else if state == JobState::Running {
            agent.starts(first).await;
        }
        let again = job(JobKind::Check, &host, &repo);
        let enqueued = store.enqueue(again.clone(), audit("job.pressed_twice")).await.unwrap();
        assert_eq!(enqueued, Enqueued::Existing(job_now(store, first).await));
        assert_eq!(state_of(store, first).await, state);
        assert_eq!(store.job(again.id).await.unwrap(), None);
    }
    agent.finishes(first, restic_manager_core::model::FinalState::Failed).await;
    let after = queued(store, JobKind::Check, &host, &repo).await;
    assert_ne!(after, first);
}

/// A job that somebody asked to stop is not what is asked for: another one is made beside it.
pub async fn a_job_that_is_to_stop_is_not_given_again(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let first = queued(store, JobKind::Check, &host, &repo).await;
    dispatch(store, first).await;
    store.request_cancel(first, at(30), audit("job.cancel_asked")).await.unwrap();
    let wanted = job(JobKind::Check, &host, &repo);
    let made = store.enqueue(wanted.clone(), audit("job.asked")).await.unwrap();
    assert_eq!(made, Enqueued::Created(wanted.clone()));
    let again = store.enqueue(job(JobKind::Check, &host, &repo), audit("job.asked")).await.unwrap();
    assert_eq!(again, Enqueued::Existing(wanted));
    assert_eq!(state_of(store, first).await, JobState::Dispatched);
}

/// Jobs are alike in kind, host, repository, group and preview; one that differs in any of them is its own.
pub async fn jobs_that_differ_in_one_thing_are_their_own(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (other_host, other_repo) = tied(store, "db").await;
    let (home, mail) = (made_group(store, &host, "home").await, made_group(store, &host, "mail").await);
    asked(store, backup(&host, &repo, &home)).await;
    asked(store, backup(&host, &repo, &mail)).await;
    asked(store, backup(&host, &other_repo, &home)).await;
    asked(store, job(JobKind::Backup, &host, &repo)).await;
    asked(store, job(JobKind::Backup, &other_host, &repo)).await;
    asked(store, job(JobKind::Check, &host, &repo)).await;
    let forget = |intent| Job { intent, ..job(JobKind::Forget, &host, &repo) };
    let of = |group: &SourceGroup| JobIntent { preview_group: Some(group.id), ..JobIntent::default() };
    asked(store, forget(JobIntent::default())).await;
    let preview = asked(store, forget(of(&home))).await;
    asked(store, forget(of(&mail))).await;
    assert_eq!(store.admission_view().await.unwrap().queued.len(), 9);
    let subset = JobIntent { subset_pct: Some(7), ..of(&home) };
    let pressed = store.enqueue(forget(subset), audit("job.asked")).await.unwrap();
    assert!(matches!(&pressed, Enqueued::Existing(job) if job.id == preview), "{pressed:?}");
}

/// The job of a run that a schedule fired is the one that pressing finds.
pub async fn a_scheduled_job_is_found_by_pressing(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = made_group(store, &host, "home").await;
    let schedule = made_schedule(store, &host, "nightly", &[&group]).await;
    let fired = fired(&run(&host, &repo, &group, &schedule, at(100)));
    let id = fired.job.as_ref().unwrap().id;
    assert_eq!(
        Agent::of(store, &host).says(Effect::Fire { runs: vec![fired], missed: None }).await,
        Applied::Done
    );
    let enqueued = store.enqueue(backup(&host, &repo, &group), audit("job.asked")).await.unwrap();
    assert!(matches!(&enqueued, Enqueued::Existing(existing) if existing.id == id), "{enqueued:?}");
}

/// However many press at once, one job is made and the others are told of it.
pub async fn one_job_is_made_however_many_press(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let before = super::fixture::actions(store).await.len();
    let try_one = |store: Arc<dyn Store>, _| {
        let wanted = job(JobKind::Prune, &host, &repo);
        async move { store.enqueue(wanted, audit("job.asked")).await.unwrap() }
    };
    let mut made = Vec::new();
    let mut told = Vec::new();
    for answer in at_once(8, try_one, store).await {
        match answer {
            Enqueued::Created(job) => made.push(job.id),
            Enqueued::Existing(job) => told.push(job.id),
            Enqueued::NotFound => panic!("host and repository are there"),
        }
    }
    assert_eq!((made.len(), told.len()), (1, 7));
    assert!(told.iter().all(|id| *id == made[0]));
    assert_eq!(super::fixture::actions(store).await.len(), before + 1);
}

/// A job needs its host, its repository, and its group on that host.
pub async fn a_job_needs_what_it_speaks_of(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (other, _) = tied(store, "db").await;
    let foreign = made_group(store, &other, "home").await;
    let whole = job(JobKind::Backup, &host, &repo);
    let wanting = [
        Job { host_id: mint(HostId::mint), ..whole.clone() },
        Job { repo_id: mint(RepoId::mint), ..whole.clone() },
        Job { group_id: Some(mint(GroupId::mint)), ..whole.clone() },
        Job { group_id: Some(foreign.id), ..whole.clone() },
    ];
    for wanted in wanting {
        assert_eq!(store.enqueue(wanted, audit("job.refused")).await.unwrap(), Enqueued::NotFound);
    }
    assert_eq!(store.job(whole.id).await.unwrap(), None);
}

/// Admission sees jobs that wait, oldest first, with the revisions of this moment, and those that hold their place.
pub async fn admission_sees_the_oldest_first(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let mut expected = Vec::new();
    for (text, seconds) in [("a", 300), ("b", 100), ("c", 200), ("d", 100)] {
        let repo = made_repo(store, text).await;
        let wanted = Job { created_at: at(seconds), ..job(JobKind::Check, &host, &repo) };
        expected.push((at(seconds), asked(store, wanted).await));
    }
    expected.sort();
    let view = store.admission_view().await.unwrap();
    let found: Vec<_> = view.queued.iter().map(|queued| (queued.job.created_at, queued.job.id)).collect();
    assert_eq!(found, expected);
    assert!(view.occupying.is_empty());
}

/// Every job stands in the view exactly as its state says, and carries the revisions of this moment.
pub async fn admission_sees_what_waits_and_what_runs(store: &Arc<dyn Store>) {
    let mut waiting = Vec::new();
    let mut occupying = Vec::new();
    for state in JobState::ALL {
        let (host, repo) = tied(store, state.as_str()).await;
        let id = job_in_state(store, &host, &repo, state).await;
        if state == JobState::Queued {
            waiting.push((id, revisions(store, &host, &repo).await));
        }
        if state.occupies() {
            occupying.push(job_now(store, id).await);
        }
    }
    let view = store.admission_view().await.unwrap();
    let queued: Vec<_> = view
        .queued
        .iter()
        .map(|queued| (queued.job.id, (queued.host_revision, queued.repo_revision)))
        .collect();
    assert_eq!(queued, waiting);
    assert_eq!(view.occupying, occupying);
}

/// A person's job that waited too long is withdrawn; nobody else's is, and none that went out.
pub async fn a_wish_that_waited_too_long_is_withdrawn(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let repo = |text: &'static str| made_repo(store, text);
    let asked_at = |seconds, job: Job| asked(store, Job { created_at: at(seconds), ..job });
    let old = asked_at(10, job(JobKind::Check, &host, &repo("a").await)).await;
    let young = asked_at(100, job(JobKind::Check, &host, &repo("b").await)).await;
    let systems = Job { actor: Actor::system(), ..job(JobKind::Check, &host, &repo("c").await) };
    let systems = asked_at(10, systems).await;
    let (other, own_repo) = tied(store, "db").await;
    let out = dispatched(store, JobKind::Check, &other, &own_repo).await;
    assert_eq!(store.withdraw_stale(at(100), at(200)).await.unwrap(), [old]);
    let withdrawn = job_now(store, old).await;
    assert_eq!((withdrawn.state, withdrawn.finished_at), (JobState::Withdrawn, Some(at(200))));
    assert!(withdrawn.message.is_some(), "it says why");
    for (id, state) in [(young, JobState::Queued), (systems, JobState::Queued), (out, JobState::Dispatched)] {
        assert_eq!(state_of(store, id).await, state);
    }
    assert!(store.withdraw_stale(at(100), at(201)).await.unwrap().is_empty());
}

/// The fleet in numbers.
pub async fn the_fleet_is_counted(store: &Arc<dyn Store>) {
    assert_eq!(store.counts(at(0)).await.unwrap(), crate::FleetCounts::default());
    for state in JobState::ALL {
        let (host, repo) = tied(store, state.as_str()).await;
        job_in_state(store, &host, &repo, state).await;
    }
    let counts = store.counts(at(25)).await.unwrap();
    assert_eq!((counts.hosts, counts.repos), (10, 10));
    assert_eq!((counts.jobs_running, counts.jobs_queued), (2, 1));
    assert_eq!(counts.jobs_failed, 2, "one failed at 40 s, one was lost at 25 s");
    assert_eq!(store.counts(at(25) + 1).await.unwrap().jobs_failed, 1);
    assert_eq!(store.counts(at(41)).await.unwrap().jobs_failed, 0);
}

/// Each part of a filter narrows the list of jobs.
pub async fn jobs_are_found_by_what_they_are(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (other, other_repo) = tied(store, "db").await;
    let group = made_group(store, &host, "home").await;
    let with_group = asked(store, backup(&host, &repo, &group)).await;
    let check = asked(store, Job { created_at: at(500), ..job(JobKind::Check, &host, &repo) }).await;
    let foreign = job_in_state(store, &other, &other_repo, JobState::Running).await;
    let all = JobFilter::default();
    let cases = [
        (all.clone(), vec![foreign, check, with_group]),
        (JobFilter { host_id: Some(host.id), ..all.clone() }, vec![check, with_group]),
        (JobFilter { repo_id: Some(other_repo.id), ..all.clone() }, vec![foreign]),
        (JobFilter { group_id: Some(group.id), ..all.clone() }, vec![with_group]),
        (JobFilter { kind: Some(JobKind::Check), ..all.clone() }, vec![foreign, check]),
        (JobFilter { states: vec![JobState::Running, JobState::Lost], ..all.clone() }, vec![foreign]),
        (
            JobFilter { states: vec![JobState::Queued, JobState::Running], ..all.clone() },
            vec![foreign, check, with_group],
        ),
        (JobFilter { since: Some(at(500)), ..all.clone() }, vec![check]),
        (JobFilter { since: Some(at(500) + 1), ..all.clone() }, vec![]),
        (JobFilter { since: Some(at(500)), before: Some(at(500)), ..all.clone() }, vec![]),
        (JobFilter { since: Some(at(500)), before: Some(at(500) + 1), ..all.clone() }, vec![check]),
        (JobFilter { kind: Some(JobKind::Check), before: Some(at(500)), ..all.clone() }, vec![foreign]),
        (JobFilter { kind: Some(JobKind::Check), host_id: Some(host.id), ..all }, vec![check]),
    ];
    for (filter, expected) in cases {
        let listed = store.jobs(&filter, PageRequest::first(10)).await.unwrap();
        assert_eq!(listed.items.iter().map(|row| row.job.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
}
