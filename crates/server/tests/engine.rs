//! The engine and the façade over the memory store, with agents that are a list of messages: no HTTP, no process, no real time.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

mod house;

use std::sync::{Arc, OnceLock, Weak};

use house::*;
use restic_manager_core::api::{Presence, RepoPatch, ScheduleWrite};
use restic_manager_core::id::{GroupId, RepoId, SpoolId};
use restic_manager_core::model::*;
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::{HOUR, MINUTE, SECOND, Timestamp};
use restic_manager_core::wire::*;
use restic_manager_server::app::{App, FleetQuery, HostQuery, ListQuery};
use restic_manager_server::clock::Clock;
use restic_manager_server::engine::{HelloRefused, Rounds};
use restic_manager_server::random::Random;
use restic_manager_store::{AuditFilter, MemoryStore, PageRequest, Store, delegate_store};

fn nightly(group: GroupId, repo_ids: Option<Vec<RepoId>>) -> ScheduleWrite {
    ScheduleWrite {
        name: DisplayName::new("nightly").unwrap(),
        cron: "0 3 * * *".parse().unwrap(),
        timezone: "UTC".parse().unwrap(),
        enabled: true,
        group_ids: vec![group],
        repo_ids,
    }
}

#[tokio::test]
async fn hello_brings_welcome_first_then_credentials_and_the_plan() {
    let house = House::new();
    let (host, repo, group, spool) = house.ready().await;
    let messages = house.connect(&host, &house.hello(&host, spool)).await;
    let kinds: Vec<&str> = messages
        .iter()
        .map(|message| match message {
            ServerMessage::Welcome(_) => "welcome",
            ServerMessage::ConfigUpdate(_) => "config.update",
            ServerMessage::ScheduleSet(_) => "schedule.set",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["welcome", "config.update", "config.update", "schedule.set"]);
    let ServerMessage::Welcome(welcome) = &messages[0] else { unreachable!() };
    assert_eq!(welcome.acked_seq, 2, "the two reports of the init job are committed");
    let ServerMessage::ConfigUpdate(update) = &messages[1] else { unreachable!() };
    let credential = update.credential.as_ref().unwrap();
    assert_eq!((update.repo_id, credential.url.as_str()), (repo, "rest:http://127.0.0.1:8000/r/"));
    assert_eq!(credential.rest_user.as_deref(), Some("web1"));
    assert_eq!(credential.rest_password.as_ref().unwrap().expose(), "planted-rest");
    let ServerMessage::ConfigUpdate(admin) = &messages[2] else { unreachable!() };
    assert_eq!((admin.kind, &admin.credential), (CredentialKind::Admin, &None), "whatever it had is over");
    let ServerMessage::ScheduleSet(plan) = &messages[3] else { unreachable!() };
    assert_eq!(plan.groups[0].group_id, group);
    assert_eq!(plan.schedule_version, house.store.host(host.id).await.unwrap().unwrap().schedule_version);
}

#[tokio::test]
async fn a_backup_goes_from_the_button_to_its_final_state() {
    let house = House::new();
    let (host, repo, group, spool) = house.ready().await;
    let accepted = house.app.run_group(&house.caller, host.id, group, None).await.unwrap();
    assert_eq!(accepted.len(), 1);
    let job_id = accepted[0].job_id;
    assert_eq!(house.state(job_id).await, JobState::Queued);
    house.engine.tick().await.unwrap();
    let command = house.take_commands().pop().unwrap();
    assert_eq!((command.job_id, command.repo_id, command.restic_host.as_str()), (job_id, repo, "web1"));
    assert!(matches!(&command.spec, JobSpec::Backup(spec) if spec.tag.as_str() == "home"));
    assert_eq!(house.state(job_id).await, JobState::Dispatched);
    let line = LogLine { n: 0, at: house.clock.now(), stream: LogStream::Stdout, text: "hello".into() };
    let log = AgentMessage::LogStream(LogBatch { job_id, lines: vec![line.clone()] });
    let done = vec![started(job_id), log, finished(job_id, FinalState::Succeeded)];
    assert!(house.report(&host, spool, 3, done).await.is_empty());
    let view = house.app.job(job_id).await.unwrap();
    assert_eq!(view.job.state, JobState::Succeeded);
    assert_eq!(view.job.summary.unwrap().snapshot_id, Some("a".repeat(64)));
    assert_eq!(house.app.job_log(job_id, 0, 100).await.unwrap().lines, [line]);
}

#[tokio::test]
async fn pressing_run_twice_gives_the_same_job() {
    let house = House::new();
    let (host, _, group, _) = house.ready().await;
    let first = house.app.run_group(&house.caller, host.id, group, None).await.unwrap();
    let second = house.app.run_group(&house.caller, host.id, group, None).await.unwrap();
    assert_eq!(first[0].job_id, second[0].job_id);
    assert!(!first[0].existing && second[0].existing);
    assert_eq!(house.audited("job.asked").await, 2, "one for init, one for the backup");
}

#[tokio::test]
async fn a_job_that_is_over_is_run_again_by_what_is_set_now() {
    let house = House::new();
    let (host, repo, group, spool) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    let error = house.app.rerun_job(&house.caller, job_id).await.unwrap_err();
    assert_eq!(error.code(), "job_not_over");
    house.engine.tick().await.unwrap();
    house.take_commands();
    let done = vec![started(job_id), finished(job_id, FinalState::Failed)];
    house.report(&host, spool, 3, done).await;
    let again = house.app.rerun_job(&house.caller, job_id).await.unwrap();
    assert!(again.job_id != job_id && !again.existing);
    let twice = house.app.rerun_job(&house.caller, job_id).await.unwrap();
    assert!(twice.job_id == again.job_id && twice.existing);
    house.engine.tick().await.unwrap();
    let command = house.take_commands().pop().unwrap();
    assert_eq!((command.job_id, command.repo_id), (again.job_id, repo));
    assert!(matches!(&command.spec, JobSpec::Backup(spec) if spec.tag.as_str() == "home"));
    let done = vec![started(again.job_id), finished(again.job_id, FinalState::Failed)];
    house.report(&host, spool, 5, done).await;
    house.app.delete_group(&house.caller, host.id, group).await.unwrap();
    let error = house.app.rerun_job(&house.caller, job_id).await.unwrap_err();
    assert_eq!(error.code(), "not_found");
}

#[tokio::test]
async fn an_init_that_failed_is_run_again_once_the_storage_is_there() {
    let house = House::new();
    let host = house.host("web1").await;
    let spool = SpoolId::mint(house.clock.now(), house.random.id_bytes());
    house.connect(&host, &house.hello(&host, spool)).await;
    let repo = house.repo("vault").await;
    house.attach(&host, repo, Role::Primary).await;
    house.engine.tick().await.unwrap();
    let init = house.take_commands().pop().unwrap().job_id;
    house.report(&host, spool, 1, vec![started(init), finished(init, FinalState::Failed)]).await;
    let again = house.app.rerun_job(&house.caller, init).await.unwrap();
    house.engine.tick().await.unwrap();
    let command = house.take_commands().pop().unwrap();
    assert_eq!((command.job_id, command.repo_id, &command.spec), (again.job_id, repo, &JobSpec::Init));
}

#[tokio::test]
async fn a_schedule_without_a_repository_is_told_and_can_still_be_changed() {
    let house = House::new();
    let (host, repo, group, _) = house.ready().await;
    let write = nightly(group, Some(vec![repo]));
    let made = house.app.create_schedule(&house.caller, host.id, write.clone()).await.unwrap().schedule;
    let told = async || {
        let attention = house.app.status().await.unwrap().attention;
        attention.into_iter().filter(|thing| thing.code == "schedule_without_target").collect::<Vec<_>>()
    };
    assert_eq!(told().await, []);
    house.app.delete_attachment(&house.caller, host.id, repo).await.unwrap();
    let [thing] = told().await.try_into().unwrap();
    assert!(thing.message.contains("`nightly` of host `web1` backs up nowhere"), "{}", thing.message);
    assert_eq!(thing.subject_id, host.id.to_string());
    let replace =
        async |write: ScheduleWrite| house.app.replace_schedule(&house.caller, host.id, made.id, write).await;
    let other = house.repo("elsewhere").await;
    let moved = ScheduleWrite { repo_ids: Some(vec![other]), ..write.clone() };
    let body = replace(moved).await.unwrap_err().body();
    assert!(body.message.contains("`elsewhere`"), "{}", body.message);
    replace(ScheduleWrite { cron: "0 4 * * *".parse().unwrap(), ..write.clone() }).await.unwrap();
    replace(ScheduleWrite { enabled: false, ..write }).await.unwrap();
    assert_eq!(told().await, []);
}

#[tokio::test]
async fn schedules_without_a_repository_are_looked_for_when_somebody_changed_something_or_a_minute_passed() {
    let house = House::new();
    let (host, repo, group, _) = house.ready().await;
    let app = App::new(house.store.clone(), house.engine.clone(), house.clock.clone(), house.random.clone())
        .with_glance_good_for(2_000);
    let told = async || {
        let attention = app.status().await.unwrap().attention;
        attention.iter().filter(|thing| thing.code == "schedule_without_target").count()
    };
    let write = nightly(group, None);
    app.create_schedule(&house.caller, host.id, write).await.unwrap();
    assert_eq!(told().await, 0);
    app.delete_attachment(&house.caller, host.id, repo).await.unwrap();
    assert_eq!(told().await, 0, "nobody said that anything changed");
    app.look_anew();
    assert_eq!(told().await, 1);
    house.attach(&host, repo, Role::Primary).await;
    house.clock.advance(MINUTE - 1);
    assert_eq!(told().await, 1);
    house.clock.advance(1);
    assert_eq!(told().await, 0);
}

#[tokio::test]
async fn when_an_agent_left_is_known_with_the_next_round() {
    let house = House::new();
    let (host, ..) = house.ready().await;
    let mut rounds = Rounds::default();
    house.engine.round(&mut rounds, true).await;
    house.clock.advance(SECOND);
    house.leave(&host);
    house.engine.departed(host.id);
    let left = house.clock.now();
    house.engine.round(&mut rounds, true).await;
    assert_eq!(house.store.host(host.id).await.unwrap().unwrap().last_seen_at, Some(left));
}

#[tokio::test]
async fn a_run_to_a_repository_of_others_and_a_job_that_is_over_are_refused_by_what_is_wrong() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let elsewhere = house.repo("elsewhere").await;
    let refused = house.app.run_group(&house.caller, host.id, group, Some(elsewhere)).await.unwrap_err();
    assert_eq!(refused.body().message, "host `web1` does not back up to repository `elsewhere`");
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    house.report(&host, spool, 3, vec![started(job_id), finished(job_id, FinalState::Failed)]).await;
    for refused in [
        house.app.give_up_job(&house.caller, job_id).await.unwrap_err(),
        house.app.cancel_job(&house.caller, job_id).await.unwrap_err(),
    ] {
        let body = refused.body();
        assert_eq!((refused.code(), body.message), ("job_over", format!("job {job_id} is over: it failed")));
        assert!(body.hint.unwrap().contains("rmctl job rerun"));
    }
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_deletion_is_named() {
    let house = House::new();
    let (host, repo, ..) = house.ready().await;
    let body = house.app.delete_repo(&house.caller, repo).await.unwrap_err().body();
    assert_eq!(body.message, "repository `vault` is used by hosts: `web1`");
    let tie = house.app.attachment(host.id, repo).await.unwrap().attachment.id;
    let patch = RepoPatch { runner: Some(Some(tie)), ..RepoPatch::default() };
    house.app.change_repo(&house.caller, repo, patch).await.unwrap();
    let body = house.app.delete_host(&house.caller, host.id).await.unwrap_err().body();
    assert_eq!(body.message, "host `web1` is the runner of repositories: `vault`");
}

#[tokio::test]
async fn running_a_group_of_a_host_that_is_away_leaves_no_job_behind() {
    let house = House::new();
    let (host, _, group, _) = house.ready().await;
    house.leave(&host);
    let error = house.app.run_group(&house.caller, host.id, group, None).await.unwrap_err();
    assert_eq!(error.code(), "host_offline");
    assert!(error.body().message.contains("web1") && error.body().hint.is_some());
    assert!(house.store.admission_view().await.unwrap().queued.is_empty());
}

#[tokio::test]
async fn a_send_that_fails_leaves_the_job_waiting_and_only_once() {
    let house = House::new();
    let (host, _, group, _) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    *house.wires.broken.lock().unwrap() = true;
    let report = house.engine.tick().await.unwrap();
    assert_eq!(report.sent, 0);
    assert_eq!(house.state(job_id).await, JobState::Queued);
    *house.wires.broken.lock().unwrap() = false;
    house.engine.tick().await.unwrap();
    let commands = house.take_commands();
    assert_eq!(commands.iter().map(|command| command.job_id).collect::<Vec<_>>(), [job_id]);
}

#[tokio::test]
async fn an_agent_that_does_not_answer_is_sent_the_command_again_and_then_cut_off() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    assert_eq!(house.take_commands().len(), 1);
    house.clock.advance(6 * SECOND);
    house.engine.sweep().await.unwrap();
    assert_eq!(house.take_commands().len(), 1, "the same command again");
    house.clock.advance(10 * SECOND);
    house.engine.sweep().await.unwrap();
    assert_eq!(*house.wires.closed.lock().unwrap(), [host.id]);
    assert_eq!(house.state(job_id).await, JobState::Dispatched, "the agent may have it all the same");
    // An hour later nobody has given it up either: its next hello says what became of it.
    house.clock.advance(2 * HOUR);
    house.engine.sweep().await.unwrap();
    assert_eq!(house.state(job_id).await, JobState::Dispatched);
    house.connect(&host, &house.hello(&host, spool)).await;
    assert_eq!(house.state(job_id).await, JobState::Queued, "it never arrived");
}

#[tokio::test]
async fn what_an_agent_says_late_beats_what_was_presumed() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    house.report(&host, spool, 3, vec![started(job_id)]).await;
    house.leave(&host);
    house.connect(&host, &house.hello(&host, spool)).await;
    assert_eq!(house.state(job_id).await, JobState::Lost);
    assert!(house.report(&host, spool, 4, vec![finished(job_id, FinalState::Succeeded)]).await.is_empty());
    let job = house.store.job(job_id).await.unwrap().unwrap().job;
    assert_eq!((job.state, job.summary.unwrap().snapshot_id), (JobState::Succeeded, Some("a".repeat(64))));
}

#[tokio::test]
async fn a_busy_agent_is_not_asked_again_at_once() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    assert_eq!(house.take_commands().len(), 1);
    let busy = RefusedReason::Busy { job_id };
    let refused = AgentMessage::JobRefused(JobRefused { job_id, reason: busy });
    house.report(&host, spool, 3, vec![refused]).await;
    house.engine.tick().await.unwrap();
    assert!(house.take_commands().is_empty());
    assert!(matches!(house.engine.hold(job_id), Some(Hold::WaitingRetry { .. })));
    house.clock.advance(61 * SECOND);
    house.engine.tick().await.unwrap();
    assert_eq!(house.take_commands().len(), 1);
}

#[tokio::test]
async fn a_host_speaks_of_its_own_jobs_only_and_only_within_the_bounds_of_time() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    let other = house.host("web2").await;
    let other_spool = SpoolId::mint(house.clock.now(), house.random.id_bytes());
    house.connect(&other, &house.hello(&other, other_spool)).await;
    let mut follower = house.engine.feed().follow(job_id);
    let line = LogLine { n: 5000, at: house.clock.now(), stream: LogStream::Stdout, text: "forged".into() };
    let forged = AgentMessage::LogStream(LogBatch { job_id, lines: vec![line] });
    assert_eq!(house.report(&other, other_spool, 1, vec![forged]).await.len(), 1);
    let progress = restic_manager_core::restic::Progress::default();
    house.engine.show(other.id, AgentMessage::JobProgress(JobProgress { job_id, progress }));
    assert!(follower.try_recv().is_err(), "nothing of it reaches a follower");
    assert_eq!(house.engine.feed().progress(job_id), None);
    let early = AgentMessage::JobStarted(JobStarted { job_id, at: Timestamp::from_millis(0), run: None });
    house.report(&host, spool, 3, vec![early]).await;
    let started_at = house.store.job(job_id).await.unwrap().unwrap().job.started_at.unwrap();
    assert_eq!(started_at, job_id.minted_at());
}

#[tokio::test]
async fn a_repository_that_is_known_under_another_name_is_refused_and_loses_its_credential() {
    let house = House::new();
    let (host, repo, group, spool) = house.ready().await;
    let restic_id = ResticRepoId::new("c".repeat(64)).unwrap();
    let learned = |repo_id, job_id| {
        AgentMessage::RepoStats(RepoStatsReport {
            job_id: Some(job_id),
            repo_id,
            restic_id: Some(restic_id.clone()),
            stats: RepoStats::default(),
        })
    };
    let first = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    let told = vec![started(first), learned(repo, first), finished(first, FinalState::Succeeded)];
    house.report(&host, spool, 3, told).await;
    let twin = house.repo("twin").await;
    house.attach(&host, twin, Role::Copy).await;
    house.take_commands();
    house.engine.tick().await.unwrap();
    let init = house.take_commands().pop().expect("the second row is initialised too").job_id;
    let told = vec![started(init), learned(twin, init), finished(init, FinalState::Succeeded)];
    house.report(&host, spool, 6, told).await;
    let job = house.store.job(init).await.unwrap().unwrap().job;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.message.unwrap().contains("known as `vault`") && job.hint.unwrap().contains("host attach"));
    assert_eq!(house.audited("repo.already_known").await, 1);
    let row = house.store.attachment(host.id, twin).await.unwrap().unwrap();
    assert!(row.credentials.is_empty(), "nothing can run past the other's exclusion");
}

#[tokio::test]
async fn a_schedule_without_a_repository_says_so_instead_of_firing_into_nothing() {
    let house = House::new();
    let host = house.host("web1").await;
    let spool = SpoolId::mint(house.clock.now(), house.random.id_bytes());
    house.connect(&host, &house.hello(&host, spool)).await;
    let group = house.group(&host, "Home").await;
    let write = nightly(group, None);
    let schedule = house.app.create_schedule(&house.caller, host.id, write).await.unwrap();
    let slot = schedule.upcoming[0];
    let fire = ScheduleFire { schedule_id: schedule.schedule.id, slot, missed: 0 };
    house.report(&host, spool, 1, vec![AgentMessage::ScheduleFire(fire)]).await;
    assert_eq!(house.audited("message.set_aside").await, 1);
}

#[tokio::test]
async fn an_operators_job_that_never_starts_is_withdrawn_after_an_hour() {
    let house = House::new();
    let (host, _, group, _) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.leave(&host);
    house.clock.advance(59 * MINUTE);
    house.engine.sweep().await.unwrap();
    assert_eq!(house.state(job_id).await, JobState::Queued);
    house.clock.advance(2 * MINUTE);
    house.engine.sweep().await.unwrap();
    assert_eq!(house.state(job_id).await, JobState::Withdrawn);
}

#[tokio::test]
async fn a_schedule_that_fires_twice_makes_one_run_and_a_later_finish_changes_nothing() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let write = nightly(group, None);
    let schedule = house.app.create_schedule(&house.caller, host.id, write).await.unwrap();
    let fire = || {
        AgentMessage::ScheduleFire(ScheduleFire {
            schedule_id: schedule.schedule.id,
            slot: schedule.upcoming[0],
            missed: 0,
        })
    };
    house.report(&host, spool, 3, vec![fire(), fire()]).await;
    house.engine.tick().await.unwrap();
    let commands = house.take_commands();
    assert_eq!(commands.len(), 1);
    let run = commands[0].run.expect("a scheduled run carries its key");
    assert_eq!(
        (run.schedule_id, run.group_id, run.slot),
        (schedule.schedule.id, group, schedule.upcoming[0])
    );
    let job_id = commands[0].job_id;
    house.report(&host, spool, 5, vec![started(job_id), finished(job_id, FinalState::Succeeded)]).await;
    let rejected = house.report(&host, spool, 7, vec![finished(job_id, FinalState::Failed)]).await;
    assert_eq!(rejected.len(), 1, "a late report changes nothing and says so");
    let job = house.store.job(job_id).await.unwrap().unwrap().job;
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(house.store.run(job.run_id.unwrap()).await.unwrap().unwrap().state, RunState::Succeeded);
}

#[tokio::test]
async fn a_schedule_that_is_gone_is_set_aside_by_name() {
    let house = House::new();
    let (host, _, _, spool) = house.ready().await;
    let schedule_id = restic_manager_core::id::ScheduleId::mint(house.clock.now(), [9; 10]);
    let fire = AgentMessage::ScheduleFire(ScheduleFire { schedule_id, slot: house.clock.now(), missed: 0 });
    house.report(&host, spool, 3, vec![fire]).await;
    assert_eq!(house.audited("message.set_aside").await, 1);
    assert!(house.store.admission_view().await.unwrap().queued.is_empty());
}

#[tokio::test]
async fn a_running_job_the_agent_does_not_know_is_lost_and_one_it_never_got_waits_again() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    house.leave(&host);
    house.connect(&host, &house.hello(&host, spool)).await;
    assert_eq!(house.state(job_id).await, JobState::Queued, "dispatched, but it never arrived");
    house.engine.tick().await.unwrap();
    house.report(&host, spool, 3, vec![started(job_id)]).await;
    house.leave(&host);
    let mut knows = house.hello(&host, spool);
    knows.running_jobs = vec![RunningJob { job_id, started_at: house.clock.now() }];
    house.connect(&host, &knows).await;
    assert_eq!(house.state(job_id).await, JobState::Running, "the agent still has it");
    house.leave(&host);
    house.connect(&host, &house.hello(&host, spool)).await;
    assert_eq!(house.state(job_id).await, JobState::Lost);
}

#[tokio::test]
async fn a_cancel_reaches_the_agent_at_once_and_again_at_hello() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    house.report(&host, spool, 3, vec![started(job_id)]).await;
    house.app.cancel_job(&house.caller, job_id).await.unwrap();
    let cancel = ServerMessage::CommandCancel(CommandCancel { job_id });
    assert!(house.wires.sent.lock().unwrap().contains(&(host.id, cancel.clone())));
    let mut knows = house.hello(&host, spool);
    knows.running_jobs = vec![RunningJob { job_id, started_at: house.clock.now() }];
    assert!(house.connect(&host, &knows).await.contains(&cancel));
    house.report(&host, spool, 4, vec![finished(job_id, FinalState::Cancelled)]).await;
    assert_eq!(house.state(job_id).await, JobState::Cancelled);
    let error = house.app.cancel_job(&house.caller, job_id).await.unwrap_err();
    assert_eq!(error.code(), "job_over");
}

#[tokio::test]
async fn a_cloned_machine_is_refused_by_name_and_changes_nothing() {
    let house = House::new();
    let (host, _, _, spool) = house.ready().await;
    let host = house.store.host(host.id).await.unwrap().unwrap();
    let mut clone = house.hello(&host, spool);
    clone.machine_id = "another".into();
    let refused = house.engine.hello(&host, &clone, |_| panic!("it must not be taken")).await.unwrap_err();
    let HelloRefused::Told(error) = refused else { panic!("{refused:?}") };
    assert_eq!(error.code, "identity_in_use");
    assert_eq!(house.audited("host.identity_refused").await, 1);
    assert_eq!(house.store.host(host.id).await.unwrap().unwrap().facts.machine_id, host.facts.machine_id);
}

#[tokio::test]
async fn two_hosts_share_a_repository_and_the_names_of_their_snapshots_differ() {
    let house = House::new();
    let (_, repo, _, _) = house.ready().await;
    let other = house.host("web2").await;
    let spool = SpoolId::mint(house.clock.now(), house.random.id_bytes());
    house.connect(&other, &house.hello(&other, spool)).await;
    house.attach(&other, repo, Role::Primary).await;
    let rows = house.store.attachments_of_repos(&[repo]).await.unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.attachment.restic_host.as_str()).collect();
    assert_eq!(names, ["web1", "web2"]);
}

#[tokio::test]
async fn what_is_refused_names_the_thing_and_the_remedy() {
    let house = House::new();
    let (host, repo, group, _) = house.ready().await;
    let write = nightly(group, None);
    house.app.create_schedule(&house.caller, host.id, write).await.unwrap();
    let in_use = house.app.delete_group(&house.caller, host.id, group).await.unwrap_err();
    assert_eq!(in_use.code(), "group_in_use");
    assert!(in_use.body().message.contains("`nightly`"));
    let attached = house.app.delete_repo(&house.caller, repo).await.unwrap_err();
    assert_eq!(attached.code(), "has_attachments");
    house.app.run_group(&house.caller, host.id, group, None).await.unwrap();
    let busy = house.app.delete_host(&house.caller, host.id).await.unwrap_err();
    assert_eq!(busy.code(), "has_jobs");
}

#[tokio::test]
async fn no_secret_reaches_the_audit_log_or_an_answer() {
    let house = House::new();
    let (host, repo, ..) = house.ready().await;
    let rows = house.store.audit(&AuditFilter::default(), PageRequest::first(500)).await.unwrap();
    let shown = house.app.attachment(host.id, repo).await.unwrap();
    let text =
        format!("{}{}", serde_json::to_string(&rows.items).unwrap(), serde_json::to_string(&shown).unwrap());
    assert!(!text.contains("planted"), "{text}");
    assert!(text.contains("rest:http://127.0.0.1:8000/r/"));
}

/// A façade whose looks over the fleet are good for so many milliseconds.
fn looking(house: &House, millis: i64) -> App {
    let app = App::new(
        Arc::clone(&house.store),
        Arc::clone(&house.engine),
        Arc::clone(&house.clock) as Arc<dyn Clock>,
        Arc::clone(&house.random) as Arc<dyn Random>,
    );
    app.with_glance_good_for(millis)
}

#[tokio::test]
async fn a_look_over_the_fleet_is_good_for_a_while_but_not_for_whoever_knows_that_something_happened() {
    let house = House::new();
    let app = looking(&house, 1_000);
    let hosts = async || app.glance().await.unwrap().status.hosts;
    assert_eq!(hosts().await, 0);
    house.host("web1").await;
    let happened_at = house.clock.now();
    assert_eq!(hosts().await, 0, "it is good for a second");
    house.clock.advance(1);
    assert_eq!(app.glance_since(happened_at).await.unwrap().status.hosts, 1);
    assert_eq!(hosts().await, 1, "and so it is for everybody");
    house.host("web2").await;
    assert_eq!(app.glance_since(happened_at).await.unwrap().status.hosts, 1, "that look was late enough");
    house.clock.advance(1_000);
    assert_eq!(hosts().await, 2);
    let names = async || {
        let page = app.fleet(&FleetQuery::default(), &ListQuery::default()).await.unwrap();
        page.items.iter().map(|row| row.view.host.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["web1", "web2"]);
    house.host("web3").await;
    assert_eq!(names().await, ["web1", "web2"], "a page is as good as the look it was read after");
    app.look_anew();
    assert_eq!(names().await, ["web1", "web2", "web3"]);
    house.host("web4").await;
    assert_eq!((hosts().await, names().await.len()), (3, 3));
    house.clock.advance(1_000);
    assert_eq!(names().await.len(), 4, "no longer than the look");
    house.clock.advance(1_000);
    assert_eq!(hosts().await, 4);
    house.host("web5").await;
    assert_eq!(names().await.len(), 4, "what was asked for is read with the look, so that nobody waits");
    for _ in 0..2 {
        house.clock.advance(1_000);
        assert_eq!(hosts().await, 5);
    }
    house.host("web6").await;
    assert_eq!(names().await.len(), 6, "and no longer once nobody asks");
}

#[tokio::test]
async fn who_comes_and_who_goes_is_told_apart_at_once_though_a_look_is_good_for_long() {
    let house = House::new();
    let app = looking(&house, HOUR);
    let named = async |state| {
        let query = HostQuery { state: Some(state), ..HostQuery::default() };
        let page = app.hosts(&query, &ListQuery::default()).await.unwrap();
        page.items.iter().map(|view| view.host.name.to_string()).collect::<Vec<_>>()
    };
    let (web, db) = (house.host("web").await, house.host("db").await);
    assert_eq!(named(Presence::NeverSeen).await, ["db", "web"]);
    for (host, life) in [(&web, 1), (&db, 2)] {
        let spool = SpoolId::mint(house.clock.now(), [life; 10]);
        house.connect(host, &house.hello(host, spool)).await;
    }
    assert_eq!(named(Presence::Online).await, ["db", "web"]);
    assert!(named(Presence::Offline).await.is_empty());
    house.leave(&web);
    assert_eq!(
        (named(Presence::Offline).await, named(Presence::Online).await),
        (vec!["web".into()], vec!["db".into()])
    );
    house.leave(&db);
    assert_eq!(named(Presence::Offline).await, ["db", "web"]);
}

/// A store in the middle of whose look over the fleet somebody says that what was seen counts no more.
struct Interrupting {
    inner: Arc<dyn Store>,
    app: OnceLock<Weak<App>>,
}

impl Interrupting {
    fn interrupt(&self, verb: &'static str) {
        if verb == "Glance::unmended"
            && let Some(app) = self.app.get().and_then(Weak::upgrade)
        {
            app.look_anew();
        }
    }
}

delegate_store!(Interrupting => inner before interrupt: Accounts, Audit, Fleet, Glance, Maintenance, Meta, PendingHosts, PendingRuns, Plans, Reports, Work);

#[tokio::test]
async fn what_a_look_saw_while_somebody_changed_something_is_not_kept() {
    let store = Arc::new(Interrupting { inner: Arc::new(MemoryStore::new()), app: OnceLock::new() });
    let house = House::over(Arc::clone(&store) as Arc<dyn Store>);
    let app = Arc::new(looking(&house, HOUR));
    let hosts = async || app.glance().await.unwrap().status.hosts;
    store.app.set(Arc::downgrade(&app)).unwrap();
    assert_eq!(hosts().await, 0);
    house.host("web").await;
    assert_eq!(hosts().await, 1, "the look that was interrupted is not held for an hour");
}
