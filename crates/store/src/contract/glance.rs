//! Bulk reads for pages.

use std::sync::Arc;

use restic_manager_core::id::{GroupId, HostId, JobId, RepoId, RunId};
use restic_manager_core::model::{
    FinalState, HostFacts, JobKind, JobState, RepoStats, Role, Schedule, StatsKind,
};
use restic_manager_core::time::DAY;

use super::fixture::{
    Agent, asked, at, attached, audit, backup, dispatch, enrolled, fired, job, job_in_state, made_group,
    made_repo, made_schedule, mint, queued, run, schedule, tied,
};
use crate::{DaysOf, Effect, JobDay, PlanWritten, Store};

/// The primary repository of each host that has one, in the order asked for; copies do not count.
pub async fn the_primary_repository_of_each_host(store: &Arc<dyn Store>) {
    let (web, web_repo) = tied(store, "web").await;
    let (db, db_repo) = tied(store, "db").await;
    attached(store, &web, &db_repo, Role::Copy).await;
    let bare = enrolled(store, "bare").await;
    let found = store.primary_repos(&[web.id, bare.id, mint(HostId::mint), db.id]).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|row| (row.host_id, row.repo_id, row.name)).collect();
    assert_eq!(found, [(web.id, web_repo.id, web_repo.name), (db.id, db_repo.id, db_repo.name)]);
    assert!(store.primary_repos(&[]).await.unwrap().is_empty());
}

/// The days of many repositories are those of each.
pub async fn the_days_of_many_repositories(store: &Arc<dyn Store>) {
    let (web, first) = tied(store, "web").await;
    let second = made_repo(store, "second").await;
    attached(store, &web, &second, Role::Copy).await;
    let silent = made_repo(store, "silent").await;
    let mut agent = Agent::of(store, &web);
    for (repo, bytes) in [(&first, 10), (&second, 20)] {
        let stats = RepoStats {
            total_size_bytes: Some(bytes),
            size_kind: Some(StatsKind::ReferencedData),
            measured_at: Some(at(40)),
            ..RepoStats::default()
        };
        agent.says(Effect::Stats { repo_id: repo.id, restic_id: None, stats }).await;
    }
    let ids = [second.id, silent.id, first.id];
    let found = store.sizes(&ids, at(0)).await.unwrap();
    let mut expected = Vec::new();
    for id in [first.id, second.id] {
        let days = store.stats_history(id, at(0)).await.unwrap();
        assert_eq!(days.len(), 1);
        expected.extend(days.into_iter().map(|day| (id, day)));
    }
    assert_eq!(found, expected);
    assert!(store.sizes(&ids, at(0) + 2 * DAY).await.unwrap().is_empty());
}

/// The newest backup of each source group that has one, in the order asked for; what else was done for a group does not count.
pub async fn the_newest_backup_of_each_group(store: &Arc<dyn Store>) {
    let (web, repo) = tied(store, "web").await;
    let home = made_group(store, &web, "home").await;
    let etc = made_group(store, &web, "etc").await;
    let bare = made_group(store, &web, "bare").await;
    let of_etc = asked(store, backup(&web, &repo, &etc)).await;
    let first = asked(store, backup(&web, &repo, &home)).await;
    dispatch(store, first).await;
    Agent::of(store, &web).finishes(first, FinalState::Failed).await;
    let newest = asked(store, backup(&web, &repo, &home)).await;
    let mut preview = job(JobKind::Forget, &web, &repo);
    preview.group_id = Some(home.id);
    asked(store, preview).await;
    let found = store.last_backups_of_groups(&[home.id, bare.id, mint(GroupId::mint), etc.id]).await.unwrap();
    let rows = [store.job(newest).await.unwrap().unwrap(), store.job(of_etc).await.unwrap().unwrap()];
    assert_eq!(found, rows);
    assert!(store.last_backups_of_groups(&[]).await.unwrap().is_empty());
}

/// Jobs are read together by their ids, whoever's they are.
pub async fn jobs_are_read_together(store: &Arc<dyn Store>) {
    let (web, web_repo) = tied(store, "web").await;
    let (db, db_repo) = tied(store, "db").await;
    let mut ids = [queued(store, JobKind::Stats, &web, &web_repo).await, mint(JobId::mint)];
    let over = job_in_state(store, &db, &db_repo, JobState::Failed).await;
    queued(store, JobKind::Check, &web, &web_repo).await;
    let found = store.jobs_by_id(&[ids[1], over, ids[0]]).await.unwrap();
    ids[1] = over;
    ids.sort();
    let rows: Vec<_> = found.iter().map(|row| (row.job.id, row.host_name.as_str())).collect();
    assert_eq!(rows, ids.map(|id| (id, if id == over { "db" } else { "web" })));
}

/// What hosts are doing: jobs that are not over; and which hosts have one that is dispatched or running.
pub async fn what_hosts_are_doing(store: &Arc<dyn Store>) {
    let (web, web_repo) = tied(store, "web").await;
    let (db, db_repo) = tied(store, "db").await;
    let (idle, idle_repo) = tied(store, "idle").await;
    let running = job_in_state(store, &web, &web_repo, JobState::Running).await;
    let dispatched = job_in_state(store, &db, &db_repo, JobState::Dispatched).await;
    job_in_state(store, &idle, &idle_repo, JobState::Succeeded).await;
    let waits = queued(store, JobKind::Stats, &idle, &idle_repo).await;
    let found = store.open_jobs_of(&[web.id, idle.id]).await.unwrap();
    assert_eq!(found, [store.job(running).await.unwrap().unwrap(), store.job(waits).await.unwrap().unwrap()]);
    let found = store.open_jobs_of(&[db.id, web.id]).await.unwrap();
    assert_eq!(found.iter().map(|row| row.job.id).collect::<Vec<_>>(), [running, dispatched]);
    let mut busy = [web.id, db.id];
    busy.sort();
    assert_eq!(store.busy_hosts().await.unwrap(), busy);
}

/// Hosts whose agent found no usable restic, by name.
pub async fn hosts_without_restic_are_found(store: &Arc<dyn Store>) {
    for name in ["b", "A", "c"] {
        let host = enrolled(store, name).await;
        let facts = HostFacts { restic_problem: Some("none is there".to_owned()), ..HostFacts::default() };
        store.record_facts(host.id, &facts).await.unwrap();
    }
    enrolled(store, "aa").await;
    let names = |hosts: Vec<restic_manager_core::model::Host>| {
        hosts.into_iter().map(|host| host.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(store.hosts_without_restic(5).await.unwrap()), ["A", "b", "c"]);
    assert_eq!(names(store.hosts_without_restic(2).await.unwrap()), ["A", "b"]);
}

/// A schedule backs up nowhere when its host is attached to none of its repositories, maintenance apart.
pub async fn schedules_that_back_up_nowhere_are_found(store: &Arc<dyn Store>) {
    let (web, main) = tied(store, "web").await;
    let (bare, far) = (enrolled(store, "Bare").await, made_repo(store, "far").await);
    attached(store, &bare, &main, Role::Maintenance).await;
    let (home, root) = (made_group(store, &web, "home").await, made_group(store, &bare, "root").await);
    let pinned = |name: &str, repo_ids: &[RepoId]| Schedule {
        repo_ids: Some(repo_ids.to_vec()),
        ..schedule(&web, name, &[&home])
    };
    for made in [
        schedule(&web, "everywhere", &[&home]),
        pinned("one of two", &[far.id, main.id]),
        Schedule { enabled: false, ..pinned("off", &[far.id]) },
        pinned("far", &[far.id]),
        schedule(&bare, "z", &[&root]),
    ] {
        let written = store.create_schedule(made, audit("schedule.created")).await.unwrap();
        assert!(matches!(written, PlanWritten::Done(_)), "{written:?}");
    }
    let found = async |limit| {
        let found = store.schedules_without_target(limit).await.unwrap();
        found.into_iter().map(|(schedule, host)| format!("{host} {}", schedule.name)).collect::<Vec<_>>()
    };
    assert_eq!(found(5).await, ["Bare z", "web far"]);
    assert_eq!(found(1).await, ["Bare z"]);
    attached(store, &web, &far, Role::Copy).await;
    assert_eq!(found(5).await, ["Bare z"]);
}

/// The hosts besides some are all the others.
pub async fn hosts_besides_some_are_all_the_others(store: &Arc<dyn Store>) {
    let mut ids = Vec::new();
    for name in ["b", "a", "c"] {
        ids.push(enrolled(store, name).await.id);
    }
    ids.sort_unstable();
    let besides = |some: Vec<HostId>| async move { store.hosts_besides(&some).await.unwrap() };
    assert_eq!(besides(Vec::new()).await, ids);
    assert_eq!(besides(vec![ids[1], mint(HostId::mint)]).await, [ids[0], ids[2]]);
    assert!(besides(ids.clone()).await.is_empty());
}

/// A job that ended badly counts until a later one of the same kind, host, repository and group is over, however that one ended.
pub async fn what_ended_badly_counts_until_it_is_mended(store: &Arc<dyn Store>) {
    let (web, repo) = tied(store, "web").await;
    let (db, db_repo) = tied(store, "db").await;
    let home = made_group(store, &web, "home").await;
    let etc = made_group(store, &web, "etc").await;
    let mut agent = Agent::of(store, &web);
    let mut ends = async |job, state| {
        let id = asked(store, job).await;
        dispatch(store, id).await;
        agent.finishes(id, state).await;
        id
    };
    ends(backup(&web, &repo, &home), FinalState::Failed).await;
    let of_etc = ends(backup(&web, &repo, &etc), FinalState::Failed).await;
    let again = ends(backup(&web, &repo, &home), FinalState::Warning).await;
    let lost = job_in_state(store, &db, &db_repo, JobState::Lost).await;
    queued(store, JobKind::Check, &db, &db_repo).await;
    job_in_state(store, &web, &repo, JobState::Failed).await;
    job_in_state(store, &web, &repo, JobState::Succeeded).await;
    let found = async |since, limit| {
        let rows = store.unmended(since, limit).await.unwrap();
        rows.iter().map(|row| row.job.id).collect::<Vec<_>>()
    };
    assert_eq!(found(at(0), 10).await, [lost, again, of_etc]);
    assert_eq!(found(at(0), 2).await, [lost, again]);
    assert_eq!(found(at(11), 10).await, []);
    ends(backup(&web, &repo, &etc), FinalState::Succeeded).await;
    assert_eq!(found(at(0), 10).await, [lost, again]);
}

/// The jobs of a run, by attempt.
pub async fn the_attempts_of_a_run(store: &Arc<dyn Store>) {
    let (web, repo) = tied(store, "web").await;
    let group = made_group(store, &web, "home").await;
    let schedule = made_schedule(store, &web, "nightly", &[&group]).await;
    let run = run(&web, &repo, &group, &schedule, at(100));
    let fired = fired(&run);
    let id = fired.job.as_ref().unwrap().id;
    Agent::of(store, &web).says(Effect::Fire { runs: vec![fired], missed: None }).await;
    queued(store, JobKind::Check, &web, &repo).await;
    let found = store.attempts(run.id).await.unwrap();
    assert_eq!(found, [store.job(id).await.unwrap().unwrap()]);
    assert!(store.attempts(mint(RunId::mint)).await.unwrap().is_empty());
}

/// The days of a host and of a repository count the jobs of the kind asked for, by how they stand.
pub async fn the_jobs_of_days(store: &Arc<dyn Store>) {
    let (web, repo) = tied(store, "web").await;
    let (db, _) = tied(store, "db").await;
    attached(store, &db, &repo, Role::Copy).await;
    let day = at(0) - at(0).as_millis().rem_euclid(DAY);
    for state in [JobState::Failed, JobState::Succeeded, JobState::Succeeded, JobState::Running] {
        job_in_state(store, &web, &repo, state).await;
    }
    job_in_state(store, &db, &repo, JobState::Cancelled).await;
    queued(store, JobKind::Stats, &web, &repo).await;
    let row = |state, jobs| JobDay { day, state, jobs };
    let of_web = [row(JobState::Failed, 1), row(JobState::Running, 1), row(JobState::Succeeded, 2)];
    let days = |from: i64, to: i64| day + from * DAY..day + to * DAY;
    let found = store.job_days(DaysOf::Host(web.id), JobKind::Check, at(0)..day + DAY).await.unwrap();
    assert_eq!(found, of_web);
    let mut of_repo = of_web.to_vec();
    of_repo.insert(0, row(JobState::Cancelled, 1));
    let found = store.job_days(DaysOf::Repo(repo.id), JobKind::Check, days(0, 1)).await.unwrap();
    assert_eq!(found, of_repo);
    for others in [days(1, 2), days(-1, 0)] {
        assert!(store.job_days(DaysOf::Host(web.id), JobKind::Check, others).await.unwrap().is_empty());
    }
}
