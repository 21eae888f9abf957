//! Stopping, killing and losing the real restic in the middle of its work.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod job_lab;

use std::time::Duration;

use job_lab::{Job, Lab, Which, eventually, lines, supervise_if_asked};
use restic_manager_agent::job::{JobOrder, JobTimes};
use restic_manager_agent::process::supervise_main;
use restic_manager_core::model::{FinalState, LogStream};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::wire::{AgentMessage, AutoUnlock};
use rustix::process::{Pid, Signal, kill_process};

with_both_restics!(
    a_cancelled_backup_ends_as_cancelled_and_leaves_no_lock,
    a_killed_backup_is_unlocked_when_every_lock_is_its_own,
    a_backup_whose_agent_and_supervisor_died_is_found_finished,
);

#[test]
fn supervise_needs_a_spec() {
    supervise_if_asked();
    assert_eq!(supervise_main(std::path::Path::new("/nonexistent")), std::process::ExitCode::FAILURE);
}

/// A process that the job wrote down.
fn recorded(lab: &Lab, field: &str) -> Pid {
    let child = std::fs::read(lab.job_dir().join("child.json")).unwrap();
    let child: serde_json::Value = serde_json::from_slice(&child).unwrap();
    Pid::from_raw(i32::try_from(child[field].as_i64().unwrap()).unwrap()).unwrap()
}

/// A backup that goes on for a while.
fn throttled(lab: &mut Lab, mebibytes: usize, kib_per_second: u32) -> JobOrder {
    lab.incompressible("source/big", mebibytes);
    let spec = lab.backup_of(&["source"]);
    let mut order = lab.order(spec);
    order.command.limit_upload_kib = Some(kib_per_second);
    order
}

async fn until_it_reads(job: &mut Job) {
    job.until(
        |message| matches!(message, AgentMessage::JobProgress(progress) if progress.progress.bytes_done > 0),
    )
    .await;
}

async fn a_cancelled_backup_ends_as_cancelled_and_leaves_no_lock(which: Which) {
    let mut lab = Lab::real(which).await;
    let order = throttled(&mut lab, 160, 10_000);
    let mut job = Job::start(order, lab.times);
    until_it_reads(&mut job).await;
    job.cancel.cancel();
    let told = job.told_to_the_end().await;
    told.check();
    let finished = told.finished();
    assert_eq!(
        (finished.state, finished.class),
        (FinalState::Cancelled, OutcomeClass::Cancelled),
        "{finished:?}"
    );
    assert!(told.text_of(LogStream::Agent).contains("sent SIGINT"));
    assert!(told.stats().is_none() && told.snapshots().is_none());
    assert_eq!((lab.locks().len(), lab.snapshot_count()), (0, 0));
}

async fn a_killed_backup_is_unlocked_when_every_lock_is_its_own(which: Which) {
    let mut lab = Lab::real(which).await;
    lab.times = JobTimes { grace: Duration::from_millis(300), ..lab.times };
    let mut order = throttled(&mut lab, 64, 300);
    order.command.auto_unlock = AutoUnlock::Allowed;
    let mut job = Job::start(order, lab.times);
    until_it_reads(&mut job).await;
    // It hears nothing but SIGKILL, so its lock stays.
    kill_process(recorded(&lab, "pid"), Signal::STOP).unwrap();
    job.cancel.cancel();
    let told = job.told_to_the_end().await;
    told.check();
    assert_eq!(told.finished().state, FinalState::Cancelled, "{:?}", told.finished());
    let agent = told.text_of(LogStream::Agent);
    assert!(agent.contains("sent SIGKILL"), "{agent}");
    let in_container = std::fs::read_link("/proc/self/ns/pid").unwrap().as_os_str() != "pid:[4026531836]";
    match in_container {
        true => assert!(agent.contains("not unlocked by itself: in a container"), "{agent}"),
        false => {
            assert!(agent.contains("1 lock was removed"), "{agent}");
            assert!(lab.locks().is_empty());
        }
    }
}

#[tokio::test]
async fn a_lock_of_somebody_else_keeps_the_killed_ones_lock_in_place() {
    let mut lab = Lab::real(Which::Newest).await;
    lab.times = JobTimes { grace: Duration::from_millis(300), ..lab.times };
    let mut order = throttled(&mut lab, 64, 300);
    order.command.auto_unlock = AutoUnlock::Allowed;
    // Another restic on this host holds a shared lock of its own.
    lab.incompressible("other", 8);
    let mut other = std::process::Command::new(&lab.restic.path)
        .args(["backup", "--limit-upload", "50", lab.path("other").to_str().unwrap()])
        .env("RESTIC_REPOSITORY", &lab.url)
        .env("RESTIC_PASSWORD", job_lab::PASSWORD)
        .env("RESTIC_CACHE_DIR", lab.path("other-cache"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the other one has its lock", || !lab.locks().is_empty()).await;
    let mut job = Job::start(order, lab.times);
    until_it_reads(&mut job).await;
    kill_process(recorded(&lab, "pid"), Signal::STOP).unwrap();
    job.cancel.cancel();
    let told = job.told_to_the_end().await;
    told.check();
    let left = lab.locks().len();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(told.finished().state, FinalState::Cancelled);
    let agent = told.text_of(LogStream::Agent);
    assert!(agent.contains("the repository is not unlocked by itself"), "{agent}");
    assert_eq!(left, 2);
}

async fn a_backup_whose_agent_and_supervisor_died_is_found_finished(which: Which) {
    let mut lab = Lab::real(which).await;
    let order = throttled(&mut lab, 40, 20_000);
    let mut job = Job::start(order.clone(), lab.times);
    job.until(|message| {
        lines(std::slice::from_ref(message)).iter().any(|line| line.text.contains(" runs as process "))
    })
    .await;
    job.die().await;
    kill_process(recorded(&lab, "supervisor_pid"), Signal::KILL).unwrap();

    let told = Job::resume(order, None, lab.times).told_to_the_end().await;
    told.check();
    let finished = told.finished();
    assert_eq!((finished.state, finished.exit_code), (FinalState::Succeeded, None), "{finished:?}");
    assert!(finished.summary.snapshot_id.as_ref().is_some_and(|id| id.len() == 64), "{finished:?}");
    assert_eq!((lab.snapshot_count(), lab.locks().len()), (1, 0));
}
