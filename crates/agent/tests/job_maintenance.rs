//! Maintenance with the real restic: forget, prune, check, unlock, and the locks that are in the way of it.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod job_lab;

use std::collections::BTreeSet;

use job_lab::rest::{RestServer, Rights};
use job_lab::{Job, Lab, Told, Which, eventually, supervise_if_asked};
use restic_manager_agent::job::{JobOrder, JobTimes};
use restic_manager_agent::process::supervise_main;
use restic_manager_core::id::GroupId;
use restic_manager_core::model::{
    CheckStatus, CredentialSecret, FinalState, ForgetResult, LockOwner, LogStream, StatsKind, UnlockScope,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::text::{ResticHost, Tag};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{
    AgentMessage, AutoUnlock, CheckSpec, ForgetGroupSpec, ForgetMode, ForgetSpec, JobSpec, UnlockSpec,
};
use rustix::process::{Pid, Signal, kill_process};

with_both_restics!(
    a_preview_says_what_goes_and_why_the_rest_stays_and_forget_does_just_that,
    a_snapshot_from_the_future_holds_its_group_and_the_other_one_goes_on,
    a_prune_shrinks_the_repository_and_says_how_large_it_is_then,
    an_append_only_server_takes_backups_and_its_admin_twin_the_rest,
    a_check_tells_damage_from_not_having_looked,
    a_lock_of_a_killed_run_of_ours_goes_by_itself_where_that_is_allowed,
    a_foreign_lock_is_named_and_left_alone_until_an_operator_says_so,
);

#[test]
fn supervise_runs_nothing_without_a_spec() {
    supervise_if_asked();
    assert_eq!(supervise_main(std::path::Path::new("/nonexistent")), std::process::ExitCode::FAILURE);
}

fn keep(json: &str) -> KeepPolicy {
    serde_json::from_str(json).unwrap()
}

fn group(tag: &str, keep: KeepPolicy) -> ForgetGroupSpec {
    ForgetGroupSpec {
        group_id: GroupId::mint(Timestamp::from_millis(1), [1; 10]),
        restic_host: ResticHost::new(job_lab::HOST).unwrap(),
        tag: Tag::new(tag).unwrap(),
        keep,
    }
}

fn forget(groups: Vec<ForgetGroupSpec>, mode: ForgetMode) -> JobSpec {
    JobSpec::Forget(ForgetSpec { groups, mode })
}

fn check(subset_pct: u8) -> JobSpec {
    JobSpec::Check(CheckSpec { subset_pct })
}

fn unlock(scope: UnlockScope) -> JobSpec {
    JobSpec::Unlock(UnlockSpec { scope })
}

fn forgotten(told: &Told) -> &[ForgetResult] {
    &told.finished().summary.forget
}

fn verdict(told: &Told) -> (FinalState, OutcomeClass) {
    (told.finished().state, told.finished().class)
}

const DONE: (FinalState, OutcomeClass) = (FinalState::Succeeded, OutcomeClass::Ok);

/// Without restic being asked at all.
#[tokio::test]
async fn a_forget_of_nothing_or_without_a_policy_is_refused() {
    let mut lab = Lab::fake("exit 0");
    let fine = group("a", keep(r#"{"last":1}"#));
    let empty = group("b", KeepPolicy::default());
    for (groups, said) in [(vec![], "no group was named"), (vec![fine, empty], "`b` is empty")] {
        for mode in [ForgetMode::Apply, ForgetMode::Preview] {
            let told = lab.run(forget(groups.clone(), mode)).await;
            assert_eq!(told.finished().state, FinalState::Failed);
            assert!(told.finished().message.contains(said), "{}", told.finished().message);
            assert!(told.finished().hint.is_some() && told.stats().is_some());
        }
    }
    assert!(lab.calls().is_empty(), "{:?}", lab.calls());
}

async fn a_preview_says_what_goes_and_why_the_rest_stays_and_forget_does_just_that(which: Which) {
    let mut lab = Lab::real(which).await;
    std::fs::create_dir(lab.path("moved")).unwrap();
    std::fs::write(lab.path("moved/file"), "moved").unwrap();
    // The paths of the group changed between the second and the third.
    for (day, name) in [(1, "source"), (2, "source"), (3, "moved"), (4, "moved")] {
        lab.bare_backup(job_lab::HOST, "ours", day, name);
    }
    let id = |snapshot: &serde_json::Value| snapshot["id"].as_str().unwrap().to_owned();
    let ours: Vec<String> = lab.snapshots().iter().map(id).collect();
    for (host, tag, day) in
        [("other-host", "ours", 1), ("other-host", "ours", 2), (job_lab::HOST, "theirs", 1)]
    {
        lab.bare_backup(host, tag, day, "source");
    }
    let policy = keep(r#"{"last":1,"daily":2}"#);

    let preview = lab.run(forget(vec![group("ours", policy)], ForgetMode::Preview)).await;
    assert_eq!(verdict(&preview), DONE, "{:?}", preview.finished());
    let told = &forgotten(&preview)[0];
    assert_eq!((told.planned, told.removed, told.kept), (2, 0, 2));
    let order: Vec<&str> = told.decisions.iter().map(|decision| decision.snapshot_id.as_str()).collect();
    assert_eq!(order, ours.iter().rev().map(String::as_str).collect::<Vec<_>>(), "newest first");
    assert_eq!(told.decisions[0].keeps, ["last snapshot", "daily snapshot"]);
    assert_eq!(told.decisions[1].keeps, ["daily snapshot"]);
    assert!(told.decisions[0].time > told.decisions[1].time);
    let going: BTreeSet<&String> = told
        .decisions
        .iter()
        .filter(|decision| decision.keeps.is_empty())
        .map(|decision| &decision.snapshot_id)
        .collect();
    assert_eq!(lab.snapshot_count(), 7, "nothing went yet");

    let nobody = group("nobody", policy);
    let applied = lab.run(forget(vec![group("ours", policy), nobody], ForgetMode::Apply)).await;
    assert_eq!(verdict(&applied), DONE, "{:?}", applied.finished());
    let [told, nobody] = forgotten(&applied) else { panic!("{:?}", applied.finished()) };
    assert_eq!((told.planned, told.removed, told.kept, told.class), (2, 2, 2, OutcomeClass::Ok));
    assert_eq!((nobody.planned, nobody.removed, nobody.kept, nobody.class), (0, 0, 0, OutcomeClass::Ok));
    let left: BTreeSet<String> = lab.snapshots().iter().map(id).collect();
    let gone: BTreeSet<&String> = ours.iter().filter(|id| !left.contains(*id)).collect();
    assert_eq!(gone, going);
    assert_eq!(left.len(), 5, "those of another host and of another tag are untouched");
    assert!(applied.stats().is_some());
    assert_eq!(applied.snapshots().unwrap().total, 3, "this host's");
    let asked = applied.text_of(LogStream::Agent);
    assert!(
        asked.contains("--host lab-host --tag ours --group-by host --keep-last 1 --keep-daily 2"),
        "{asked}"
    );
    assert!(!asked.contains("--prune"));
}

async fn a_snapshot_from_the_future_holds_its_group_and_the_other_one_goes_on(which: Which) {
    let mut lab = Lab::real(which).await;
    for (tag, day) in [("fine", 1), ("fine", 2), ("late", 1), ("late", 2)] {
        lab.bare_backup(job_lab::HOST, tag, day, "source");
    }
    let source = lab.path("source");
    let future = ["backup", "--host", job_lab::HOST, "--tag", "late", "--time", "2099-01-01 00:00:00"];
    lab.bare_stdout(&[&future[..], &[source.to_str().unwrap()]].concat());
    let policy = keep(r#"{"last":1}"#);
    let told = lab.run(forget(vec![group("late", policy), group("fine", policy)], ForgetMode::Apply)).await;
    assert_eq!(verdict(&told), (FinalState::Failed, OutcomeClass::Unknown));
    let [late, fine] = forgotten(&told) else { panic!("{:?}", told.finished()) };
    assert_eq!((late.removed, late.class), (0, OutcomeClass::Unknown));
    assert!(late.message.contains("has not come yet"), "{}", late.message);
    assert_eq!((fine.removed, fine.kept, fine.class), (1, 1, OutcomeClass::Ok));
    assert!(told.finished().message.starts_with("tag late: "), "{}", told.finished().message);
    assert_eq!(lab.snapshot_count(), 4);
}

async fn a_prune_shrinks_the_repository_and_says_how_large_it_is_then(which: Which) {
    let mut lab = Lab::real(which).await;
    lab.incompressible("source/big", 6);
    lab.bare_backup(job_lab::HOST, "t", 1, "source");
    std::fs::remove_file(lab.path("source/big")).unwrap();
    lab.bare_backup(job_lab::HOST, "t", 2, "source");
    lab.bare_stdout(&["forget", "--tag", "t", "--keep-last", "1"]);
    let before = lab.data_size();
    assert!(before > 6 << 20);

    let told = lab.run(JobSpec::Prune).await;
    told.check_secrets();
    assert_eq!(verdict(&told), DONE, "{:?}", told.finished());
    let pruned = told.finished().summary.prune.unwrap();
    assert!(pruned.removed_bytes.unwrap() > 6 << 20, "{pruned:?}");
    let after = lab.data_size();
    assert!(after < 1 << 20, "{after}");
    let stats = &told.stats().unwrap().stats;
    assert_eq!(
        (stats.size_kind, stats.total_size_bytes),
        (Some(StatsKind::AfterPrune), pruned.remaining_bytes)
    );
    assert!(stats.total_size_bytes.unwrap() <= after);
    assert_eq!(
        (stats.last_prune_at, stats.measured_at),
        (Some(told.finished().at), Some(told.finished().at))
    );
    assert!(told.stats().unwrap().restic_id.is_some());
    lab.bare_stdout(&["check", "--read-data"]);

    let again = lab.run(JobSpec::Prune).await;
    assert_eq!((verdict(&again), again.finished().message.as_str()), (DONE, "there was nothing to remove"));
}

fn with_credential(lab: &mut Lab, spec: JobSpec, credential: CredentialSecret) -> JobOrder {
    let order = lab.order(spec);
    JobOrder { credential, ..order }
}

async fn an_append_only_server_takes_backups_and_its_admin_twin_the_rest(which: Which) {
    let mut lab = Lab::real(which).await;
    // The servers serve the folder in which the repository lies; bare restic looks at it directly.
    let (folder, data) = (lab.path(""), lab.path("repo"));
    let everyday = RestServer::start(&folder, data.parent().unwrap(), Rights::AppendOnly).await;
    let admin = RestServer::start(&folder, data.parent().unwrap(), Rights::Full).await;
    let policy = keep(r#"{"last":1}"#);
    for _ in 0..2 {
        lab.incompressible("source/file", 2);
        let spec = lab.backup_of(&["source"]);
        let order = with_credential(&mut lab, spec, everyday.credential("repo"));
        let told = lab.run_order(order).await;
        assert_eq!(verdict(&told), DONE, "{:?}", told.finished());
        std::fs::remove_file(lab.path("source/file")).unwrap();
    }

    let by_policy = || forget(vec![group(job_lab::TAG, policy), group("further", policy)], ForgetMode::Apply);
    let order = with_credential(&mut lab, by_policy(), everyday.credential("repo"));
    let refused = lab.run_order(order).await;
    refused.check_secrets();
    let finished = refused.finished();
    assert_eq!(verdict(&refused), (FinalState::Failed, OutcomeClass::AppendOnly), "{finished:?}");
    assert!(finished.message.contains("append-only"), "{}", finished.message);
    assert!(finished.hint.as_ref().unwrap().contains("admin credential"), "{:?}", finished.hint);
    let [told, further] = forgotten(&refused) else { panic!("{finished:?}") };
    assert_eq!((told.removed, told.kept, told.class), (0, 2, OutcomeClass::AppendOnly));
    assert_eq!(further.message, "not reached: an earlier group ended the job");
    assert!(finished.summary.seconds.unwrap() < 20.0, "{:?}", finished.summary.seconds);
    assert!(refused.text_of(LogStream::Stderr).lines().count() < 20, "no pile of retries");
    assert_eq!((lab.snapshot_count(), lab.locks().len()), (2, 0));

    let mut order = with_credential(&mut lab, by_policy(), admin.credential("repo"));
    order.command.requires_admin_creds = true;
    let told = lab.run_order(order).await;
    assert_eq!(verdict(&told), DONE, "{:?}", told.finished());
    assert_eq!((forgotten(&told)[0].removed, lab.snapshot_count()), (1, 1));

    let order = with_credential(&mut lab, JobSpec::Prune, everyday.credential("repo"));
    let refused = lab.run_order(order).await;
    assert_eq!(verdict(&refused), (FinalState::Failed, OutcomeClass::AppendOnly), "{:?}", refused.finished());
    assert!(refused.stats().unwrap().stats.last_prune_at.is_none());
    let before = lab.data_size();
    let mut order = with_credential(&mut lab, JobSpec::Prune, admin.credential("repo"));
    order.command.requires_admin_creds = true;
    let told = lab.run_order(order).await;
    assert_eq!(verdict(&told), DONE, "{:?}", told.finished());
    assert!(lab.data_size() < before);
    lab.bare_stdout(&["check"]);
}

async fn a_check_tells_damage_from_not_having_looked(which: Which) {
    let mut lab = Lab::real(which).await;
    lab.incompressible("source/big", 3);
    lab.bare_backup(job_lab::HOST, "t", 1, "source");
    let status = |told: &Told| {
        let stats = &told.stats().unwrap().stats;
        assert_eq!(stats.last_check, told.finished().summary.check);
        assert_eq!(stats.last_check_at, Some(told.finished().at));
        assert_eq!(stats.last_check_subset_pct, told.finished().summary.check_subset_pct);
        told.finished().summary.check.unwrap()
    };
    let fine = lab.run(check(100)).await;
    assert_eq!((verdict(&fine), status(&fine)), (DONE, CheckStatus::Ok), "{:?}", fine.finished());
    assert_eq!(fine.finished().summary.check_subset_pct, Some(100));
    assert!(fine.text_of(LogStream::Agent).contains("--read-data-subset 100%"));

    let foreign = lab.leave_lock(Some("another-machine")).await;
    let locked = lab.run(check(0)).await;
    assert_eq!(status(&locked), CheckStatus::Locked, "{:?}", locked.finished());
    assert_eq!(verdict(&locked), (FinalState::Failed, OutcomeClass::Locked));
    assert_eq!(locked.stats().unwrap().stats.locks.as_ref().unwrap()[0].id, foreign);
    std::fs::remove_file(lab.path("repo/locks").join(foreign)).unwrap();

    lab.password = "not-the-password".into();
    let failed = lab.run(check(0)).await;
    assert_eq!(status(&failed), CheckStatus::Failed);
    assert_eq!(verdict(&failed), (FinalState::Failed, OutcomeClass::WrongPassword));
    lab.password = job_lab::PASSWORD.into();

    let pack = lab.packs().remove(0);
    let good = std::fs::read(&pack).unwrap();
    let mut flipped = good.clone();
    flipped[1000] ^= 0xff;
    let truncated = good[..good.len() / 2].to_vec();
    std::fs::set_permissions(&pack, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for (damaged, subset) in [(Some(flipped), 100), (Some(truncated), 0), (None, 0)] {
        match damaged {
            Some(bytes) => std::fs::write(&pack, bytes).unwrap(),
            None => std::fs::remove_file(&pack).unwrap(),
        }
        let told = lab.run(check(subset)).await;
        assert_eq!(status(&told), CheckStatus::ErrorsFound, "{:?}", told.finished());
        assert_eq!(verdict(&told), (FinalState::Failed, OutcomeClass::Unknown));
        let message = &told.finished().message;
        assert!(message.starts_with("check found damage in the repository"), "{message}");
        assert!(told.finished().summary.locks.is_empty());
    }
}

/// Leaves the lock of a backup of ours whose restic somebody killed.
async fn killed_backup(lab: &mut Lab) {
    lab.incompressible("source/big", 16);
    let spec = lab.backup_of(&["source"]);
    let mut order = lab.order(spec);
    order.command.limit_upload_kib = Some(300);
    let mut job = Job::start(order, lab.times);
    job.until(
        |message| matches!(message, AgentMessage::JobProgress(progress) if progress.progress.bytes_done > 0),
    )
    .await;
    eventually("it has its lock", || lab.locks().len() == 1).await;
    let child: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lab.job_dir().join("child.json")).unwrap()).unwrap();
    let pid = Pid::from_raw(i32::try_from(child["pid"].as_i64().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let told = job.told_to_the_end().await;
    told.check();
    assert_eq!(verdict(&told), (FinalState::Failed, OutcomeClass::Killed));
    assert_eq!(lab.locks().len(), 1);
}

async fn a_lock_of_a_killed_run_of_ours_goes_by_itself_where_that_is_allowed(which: Which) {
    let mut lab = Lab::real(which).await;
    killed_backup(&mut lab).await;
    let off = lab.run(check(0)).await;
    let in_container = std::fs::read_link("/proc/self/ns/pid").unwrap().as_os_str() != "pid:[4026531836]";
    let owner = if in_container { LockOwner::Unknown } else { LockOwner::EndedRun };
    assert_eq!(verdict(&off), (FinalState::Failed, OutcomeClass::Locked), "{:?}", off.finished());
    let [lock] = &off.finished().summary.locks[..] else { panic!("{:?}", off.finished()) };
    assert_eq!((lock.owner, lock.exclusive), (owner, false));
    assert!(off.finished().message.contains(&format!("process {}", lock.pid)), "{}", off.finished().message);
    assert_eq!((off.finished().summary.locks_removed, lab.locks().len()), (None, 1));
    if in_container {
        return;
    }

    let mut order = lab.order(check(0));
    order.command.auto_unlock = AutoUnlock::Allowed;
    let on = lab.run_order(order).await;
    assert_eq!(verdict(&on), DONE, "{:?}", on.finished());
    assert_eq!(on.finished().summary.check, Some(CheckStatus::Ok));
    assert_eq!((on.finished().summary.locks_removed, lab.locks().len()), (Some(1), 0));
    assert_eq!(on.finished().summary.locks.len(), 1, "the one that was in the way");
    assert_eq!(on.stats().unwrap().stats.locks, Some(vec![]));
    let agent = on.text_of(LogStream::Agent);
    assert!(agent.contains("1 lock was removed") && agent.contains("once more"), "{agent}");

    killed_backup(&mut lab).await;
    let told = lab.run(unlock(UnlockScope::Attested)).await;
    assert_eq!(
        (verdict(&told), told.finished().summary.locks_removed),
        (DONE, Some(1)),
        "{:?}",
        told.finished()
    );
    assert!(told.stats().unwrap().stats.locks_seen_at.is_some());
    assert!(lab.locks().is_empty());
}

async fn a_foreign_lock_is_named_and_left_alone_until_an_operator_says_so(which: Which) {
    let mut lab = Lab::real(which).await;
    lab.times = JobTimes { retry_lock: std::time::Duration::ZERO, ..lab.times };
    let none = lab.run(unlock(UnlockScope::Stale)).await;
    assert_eq!((verdict(&none), none.finished().message.as_str()), (DONE, "no lock is on the repository"));

    let id = lab.leave_lock(Some("another-machine")).await;
    let policy = keep(r#"{"last":1}"#);
    for spec in [JobSpec::Prune, forget(vec![group("a", policy), group("b", policy)], ForgetMode::Apply)] {
        let mut order = lab.order(spec);
        order.command.auto_unlock = AutoUnlock::Allowed;
        let told = lab.run_order(order).await;
        let finished = told.finished();
        assert_eq!(verdict(&told), (FinalState::Failed, OutcomeClass::Locked), "{finished:?}");
        let [lock] = &finished.summary.locks[..] else { panic!("{finished:?}") };
        assert_eq!((lock.id.as_str(), lock.owner), (id.as_str(), LockOwner::Unknown));
        let process = format!("process {}", lock.pid);
        for word in ["shared lock", &process, "another-machine", &lock.username, "since 20"] {
            assert!(finished.message.contains(word), "{word}: {}", finished.message);
        }
        assert!(finished.hint.as_ref().unwrap().contains("unlock"));
        assert!(!told.text_of(LogStream::Agent).contains(" unlock --json"), "restic was not even asked to");
        if let [a, b] = &finished.summary.forget[..] {
            assert_eq!((a.class, b.class), (OutcomeClass::Locked, OutcomeClass::Locked));
            assert!(b.message.starts_with("not reached"), "{}", b.message);
        }
    }
    let attested = lab.run(unlock(UnlockScope::Attested)).await;
    assert_eq!(verdict(&attested), (FinalState::Failed, OutcomeClass::Locked), "{:?}", attested.finished());
    let stale = lab.run(unlock(UnlockScope::Stale)).await;
    assert_eq!((verdict(&stale), stale.finished().summary.locks_removed), (DONE, None));
    let message = &stale.finished().message;
    assert!(
        message.starts_with("no lock was removed; left are: ") && message.contains("another-machine"),
        "{message}"
    );
    assert_eq!(stale.stats().unwrap().stats.locks.as_ref().map(Vec::len), Some(1));
    assert_eq!(lab.locks(), [id]);

    // Restic itself knows that a process of this machine is dead, whoever started it.
    lab.leave_lock(None).await;
    let stale = lab.run(unlock(UnlockScope::Stale)).await;
    assert_eq!(stale.finished().summary.locks_removed, Some(1), "{:?}", stale.finished());
    assert_eq!((stale.finished().summary.locks.len(), lab.locks().len()), (2, 1));

    let all = lab.run(unlock(UnlockScope::All)).await;
    assert_eq!(
        (verdict(&all), all.finished().summary.locks_removed),
        (DONE, Some(1)),
        "{:?}",
        all.finished()
    );
    assert_eq!(all.stats().unwrap().stats.locks, Some(vec![]));
    assert!(lab.locks().is_empty());
}
