//! What stays readable.

use std::sync::Arc;

use restic_manager_core::id::HostId;
use restic_manager_core::model::{FinalState, JobKind, JobState, RunState};

use super::fixture::{
    Agent, asked, at, audit, backup, dispatch, fired, job_in_state, line, made_group, made_repo,
    made_schedule, mint, name, queued, run, tied,
};
use crate::{
    Applied, Deleted, Effect, GroupDeleted, HostChange, JobFilter, PageRequest, Renamed, RepoChange, Store,
};

/// A job shows the names of the day, and those of the last day when their owners are gone.
pub async fn jobs_keep_the_names_of_what_was_deleted(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = made_group(store, &host, "home").await;
    let id = asked(store, backup(&host, &repo, &group)).await;
    dispatch(store, id).await;
    Agent::of(store, &host).finishes(id, FinalState::Succeeded).await;
    let names = || async {
        let row = store.job(id).await.unwrap().unwrap();
        let filter = JobFilter { repo_id: Some(repo.id), ..JobFilter::default() };
        let listed = store.jobs(&filter, PageRequest::first(5)).await.unwrap();
        assert_eq!(listed.items.first(), Some(&row));
        assert_eq!(listed.items.len(), 1);
        (row.host_name, row.repo_name, row.group_name.unwrap())
    };
    let expected = |host: &str, repo: &str| (host.to_owned(), repo.to_owned(), "home".to_owned());
    let renamed = HostChange { name: Some(name("www")), ..HostChange::default() };
    assert_eq!(store.change_host(host.id, renamed, audit("host.changed")).await.unwrap(), Renamed::Done);
    let renamed = RepoChange { name: Some(name("main")), runner: None };
    assert_eq!(store.change_repo(repo.id, renamed, audit("repo.changed")).await.unwrap(), Renamed::Done);
    assert_eq!(names().await, expected("www", "main"));
    let gone = store.delete_group(host.id, group.id, audit("group.deleted")).await.unwrap();
    assert_eq!(gone, GroupDeleted::Done);
    assert_eq!(names().await, expected("www", "main"));
    assert_eq!(store.delete_host(host.id, audit("host.deleted")).await.unwrap(), Deleted::Done);
    assert_eq!(names().await, expected("www", "main"));
    assert_eq!(store.delete_repo(repo.id, audit("repo.deleted")).await.unwrap(), Deleted::Done);
    assert_eq!(names().await, expected("www", "main"));
}

/// A group that went with its host keeps its name as well.
pub async fn a_group_that_went_with_its_host_keeps_its_name(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = made_group(store, &host, "home").await;
    let id = asked(store, backup(&host, &repo, &group)).await;
    store.request_cancel(id, at(20), audit("job.cancelled")).await.unwrap();
    assert_eq!(store.delete_host(host.id, audit("host.deleted")).await.unwrap(), Deleted::Done);
    let row = store.job(id).await.unwrap().unwrap();
    assert_eq!((row.host_name.as_str(), row.group_name.as_deref()), ("web", Some("home")));
}

/// Jobs, runs and logs outlive their host and schedule.
pub async fn history_outlives_its_host(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let group = made_group(store, &host, "home").await;
    let schedule = made_schedule(store, &host, "nightly", &[&group]).await;
    let run = run(&host, &repo, &group, &schedule, at(100));
    let fired = fired(&run);
    let id = fired.job.as_ref().unwrap().id;
    let mut agent = Agent::of(store, &host);
    assert_eq!(agent.says(Effect::Fire { runs: vec![fired], missed: None }).await, Applied::Done);
    dispatch(store, id).await;
    agent.says(Effect::Log { job_id: id, lines: vec![line(0, "kept")] }).await;
    agent.finishes(id, FinalState::Succeeded).await;
    let job = store.job(id).await.unwrap();
    assert!(store.delete_schedule(host.id, schedule.id, audit("schedule.deleted")).await.unwrap());
    assert_eq!(store.delete_host(host.id, audit("host.deleted")).await.unwrap(), Deleted::Done);
    assert_eq!(store.job(id).await.unwrap(), job);
    assert_eq!(store.run(run.id).await.unwrap().unwrap().state, RunState::Succeeded);
    assert_eq!(store.log(id, 0, 10).await.unwrap().lines, [line(0, "kept")]);
}

/// The newest backup of each host, in whatever state that says something, in the order of the hosts asked for.
pub async fn the_last_backup_of_each_host(store: &Arc<dyn Store>) {
    let (web, web_repo) = tied(store, "web").await;
    let (db, db_repo) = tied(store, "db").await;
    let (idle, idle_repo) = tied(store, "idle").await;
    let group = made_group(store, &web, "home").await;
    let older = asked(store, backup(&web, &web_repo, &group)).await;
    store.request_cancel(older, at(20), audit("job.cancelled")).await.unwrap();
    let newest = asked(store, backup(&web, &web_repo, &group)).await;
    let withdrawn = queued(store, JobKind::Backup, &web, &made_repo(store, "other").await).await;
    let event = restic_manager_core::model::JobEvent::Withdraw;
    store.move_job(withdrawn, event, "it left", at(20), None).await.unwrap();
    let superseded = queued(store, JobKind::Backup, &web, &made_repo(store, "third").await).await;
    let event = restic_manager_core::model::JobEvent::Supersede;
    store.move_job(superseded, event, "another did it", at(20), None).await.unwrap();
    job_in_state(store, &web, &web_repo, JobState::Running).await;
    let of_db = queued(store, JobKind::Backup, &db, &db_repo).await;
    queued(store, JobKind::Check, &idle, &idle_repo).await;
    let asked = [db.id, idle.id, mint(HostId::mint), web.id];
    let rows = store.last_backups(&asked).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.job.id).collect::<Vec<_>>(), [of_db, newest]);
    assert_eq!((rows[1].host_name.as_str(), rows[1].group_name.as_deref()), ("web", Some("home")));
    store.request_cancel(of_db, at(30), audit("job.cancelled")).await.unwrap();
    let rows = store.last_backups(&[db.id]).await.unwrap();
    assert_eq!(rows[0].job.state, JobState::Cancelled, "a cancelled one says something too");
    assert!(store.last_backups(&[]).await.unwrap().is_empty());
}
