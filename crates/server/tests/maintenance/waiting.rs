//! What changes while a job waits.

use crate::house::*;
use crate::lab::*;
use restic_manager_core::maintenance::MaintenanceKind;
use restic_manager_core::model::*;
use restic_manager_core::restic::SnapshotId;
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::time::{DAY, HOUR, Timestamp};
use restic_manager_core::wire::*;
use restic_manager_server::app::MaintenanceAsk;
use restic_manager_server::clock::Clock;

#[tokio::test]
async fn a_forget_that_waited_runs_the_policy_of_the_day_or_not_at_all() {
    let house = House::new();
    let (mut agent, repo, group) = ready(&house).await;
    let write = |keep: KeepPolicy| restic_manager_core::api::SourceGroupWrite {
        name: "Home".parse().unwrap(),
        tag: None,
        includes: vec!["/srv".parse().unwrap()],
        excludes: Vec::new(),
        options: BackupOptions::default(),
        keep,
        retry_max: 3,
        retry_backoff_seconds: 60,
    };
    let backup = house.app.run_group(&house.caller, agent.host.id, group, None).await.unwrap()[0].job_id;
    look(&house).await;
    let forget = press(&house, repo, MaintenanceAsk::Forget).await;
    assert_eq!(look(&house).await, []);
    let looser: KeepPolicy = serde_json::from_str(r#"{"daily": 30, "weekly": 8}"#).unwrap();
    house.app.replace_group(&house.caller, agent.host.id, group, write(looser)).await.unwrap();
    agent.run(&house, backup).await;
    let command = look(&house).await.pop().unwrap();
    let JobSpec::Forget(spec) = &command.spec else { panic!("{command:?}") };
    assert_eq!((command.job_id, spec.mode, spec.groups.len()), (forget, ForgetMode::Apply, 1));
    assert_eq!((spec.groups[0].keep, spec.groups[0].restic_host.as_str()), (looser, "web1"));
    agent.run(&house, forget).await;

    let backup = house.app.run_group(&house.caller, agent.host.id, group, None).await.unwrap()[0].job_id;
    look(&house).await;
    let forget = press(&house, repo, MaintenanceAsk::Forget).await;
    house.app.replace_group(&house.caller, agent.host.id, group, write(KeepPolicy::default())).await.unwrap();
    agent.run(&house, backup).await;
    assert_eq!(look(&house).await, []);
    assert_eq!(house.state(forget).await, JobState::Withdrawn);
    assert_eq!(refusal(&house, repo, MaintenanceAsk::Forget).await.0, "no_policies");
}

#[tokio::test]
async fn a_cadence_disabled_while_its_job_waited_withdraws_it() {
    let house = House::new();
    let (mut agent, repo, group) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Check).await;
    set(&house, repo, |settings| settings.policy.check.cron = "0 5 * * *".parse().unwrap()).await;
    let backup = house.app.run_group(&house.caller, agent.host.id, group, None).await.unwrap()[0].job_id;
    assert_eq!(kinds(&pass(&house, DAY).await), [JobKind::Backup]);
    let check = jobs(&house, repo, JobKind::Check).await[0].id;
    assert_eq!(house.state(check).await, JobState::Queued);
    set(&house, repo, |settings| settings.policy.check.enabled = false).await;
    agent.run(&house, backup).await;
    assert_eq!(look(&house).await, []);
    assert_eq!(house.state(check).await, JobState::Withdrawn);
}

#[tokio::test]
async fn a_snapshot_from_the_future_holds_forget() {
    let house = House::new();
    let (mut agent, repo, _) = ready(&house).await;
    only(&house, repo, MaintenanceKind::Forget).await;
    let listing = |at: Timestamp, time: Timestamp| {
        AgentMessage::SnapshotsReport(SnapshotsReport {
            job_id: None,
            repo_id: repo,
            listed_at: at,
            total: 1,
            snapshots: vec![Snapshot {
                id: "b".repeat(64).parse::<SnapshotId>().unwrap(),
                time,
                hostname: "web1".into(),
                username: None,
                tags: vec!["home".into()],
                paths: vec!["/srv".into()],
                size_bytes: None,
                files: None,
                added_bytes: None,
            }],
        })
    };
    let now = house.clock.now();
    agent.report(&house, vec![listing(now, now + 30 * DAY)]).await;
    assert_eq!(pass(&house, DAY).await, []);
    assert_eq!(hold(&house, repo, MaintenanceKind::Forget).await, Some(Hold::ClockSuspect));
    assert_eq!(refusal(&house, repo, MaintenanceAsk::Forget).await.0, "clock_suspect");
    let now = house.clock.now();
    agent.report(&house, vec![listing(now, now + HOUR)]).await;
    assert_eq!(kinds(&pass(&house, HOUR).await), [JobKind::Forget]);
}
