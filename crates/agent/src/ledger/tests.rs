use restic_manager_core::id::{GroupId, RepoId};
use restic_manager_core::model::{FinalState, JobSummary};
use restic_manager_core::restic::OutcomeClass;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn job(n: u8) -> JobId {
    JobId::mint(NOW, [n; 10])
}

fn run(slot: i64) -> RunKey {
    RunKey {
        schedule_id: ScheduleId::mint(NOW, [1; 10]),
        group_id: GroupId::mint(NOW, [2; 10]),
        repo_id: RepoId::mint(NOW, [3; 10]),
        slot: Timestamp::from_millis(slot),
    }
}

fn finished(n: u8, state: FinalState) -> JobFinished {
    JobFinished {
        job_id: job(n),
        at: NOW,
        state,
        class: OutcomeClass::Ok,
        exit_code: Some(0),
        message: "done".into(),
        hint: None,
        summary: JobSummary::default(),
        run: None,
    }
}

fn plan(version: i64) -> ScheduleSet {
    ScheduleSet {
        schedule_version: version,
        schedules: vec![],
        groups: vec![],
        repos: vec![],
        limit_upload_kib: None,
        limit_download_kib: None,
    }
}

fn open(folder: &Path) -> Ledger {
    Ledger::open(folder, NOW).unwrap()
}

#[test]
fn a_slot_is_taken_once_and_a_known_job_is_repeated() {
    let temp = tempfile::tempdir().unwrap();
    let mut ledger = open(temp.path());
    assert_eq!(ledger.judge(job(1), Some(&run(1)), 1), Verdict::Accept);
    ledger.claim(job(1), Some(run(1)), 1, Claimant::Server, NOW).unwrap();
    for ledger in [&ledger, &open(temp.path())] {
        assert_eq!(ledger.judge(job(1), Some(&run(1)), 1), Verdict::Repeat(Standing::Claimed));
        assert_eq!(ledger.judge(job(2), Some(&run(1)), 1), Verdict::SupersededBy(job(1)));
        assert_eq!(ledger.judge(job(2), Some(&run(1)), 2), Verdict::SupersededBy(job(1)), "it is alive");
        assert_eq!(ledger.judge(job(2), Some(&run(2)), 1), Verdict::Accept, "another slot");
        assert_eq!(ledger.judge(job(2), None, 1), Verdict::Accept, "no slot at all");
    }
    ledger.started(job(1)).unwrap();
    assert_eq!(ledger.judge(job(1), Some(&run(1)), 1), Verdict::Repeat(Standing::Running));
    assert_eq!(ledger.open_jobs(), [job(1)]);
}

#[test]
fn a_done_slot_stays_done_and_a_failed_one_takes_a_higher_attempt() {
    for (state, next) in [
        (FinalState::Succeeded, Verdict::SupersededBy(job(1))),
        (FinalState::Warning, Verdict::SupersededBy(job(1))),
        (FinalState::Failed, Verdict::Accept),
        (FinalState::Cancelled, Verdict::Accept),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let mut ledger = open(temp.path());
        ledger.claim(job(1), Some(run(1)), 1, Claimant::Server, NOW).unwrap();
        ledger.finished(&finished(1, state)).unwrap();
        let again = open(temp.path());
        assert_eq!(again.judge(job(2), Some(&run(1)), 2), next, "{state:?}");
        assert_eq!(
            again.judge(job(2), Some(&run(1)), 1),
            Verdict::SupersededBy(job(1)),
            "{state:?}: not higher"
        );
        assert_eq!(again.judge(job(1), Some(&run(1)), 1), Verdict::Repeat(Standing::Ended(state)));
        assert_eq!(again.ending(job(1)).unwrap(), Some(finished(1, state)));
        assert_eq!(again.ending(job(2)).unwrap(), None);
        assert!(again.open_jobs().is_empty());
    }
}

#[test]
fn a_success_of_any_attempt_ends_the_slot() {
    let temp = tempfile::tempdir().unwrap();
    let mut ledger = open(temp.path());
    ledger.claim(job(1), Some(run(1)), 1, Claimant::Server, NOW).unwrap();
    ledger.finished(&finished(1, FinalState::Succeeded)).unwrap();
    ledger.claim(job(2), Some(run(1)), 2, Claimant::Server, NOW).unwrap();
    ledger.finished(&finished(2, FinalState::Failed)).unwrap();
    assert_eq!(ledger.judge(job(3), Some(&run(1)), 3), Verdict::SupersededBy(job(1)));
}

#[test]
fn claims_are_those_of_open_jobs_and_of_ends_that_nobody_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let mut ledger = open(temp.path());
    for n in 1..=3 {
        ledger.claim(job(n), Some(run(i64::from(n))), 1, Claimant::Server, NOW).unwrap();
    }
    ledger.claim(job(4), None, 1, Claimant::Server, NOW).unwrap();
    ledger.finished(&finished(2, FinalState::Failed)).unwrap();
    ledger.finished(&finished(3, FinalState::Failed)).unwrap();
    let claims: Vec<JobId> = ledger.claims(&[job(3)]).iter().map(|claim| claim.job_id).collect();
    assert_eq!(claims, [job(1), job(3)]);
}

#[test]
fn plan_and_fired_slots_survive_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let mut ledger = open(temp.path());
    assert_eq!(ledger.plan(), None);
    ledger.set_plan(plan(7)).unwrap();
    let schedule = run(0).schedule_id;
    ledger.fired(schedule, Timestamp::from_millis(5)).unwrap();
    ledger.fired(schedule, Timestamp::from_millis(6)).unwrap();
    let again = open(temp.path());
    assert_eq!(again.plan(), Some(&plan(7)));
    assert_eq!(again.last_fired(schedule), Some(Timestamp::from_millis(6)));
}

#[test]
fn losing_the_plan_or_the_ledger_loses_both() {
    for damage in ["remove plan.json", "remove ledger.log", "garble plan.json", "garble ledger.log"] {
        let temp = tempfile::tempdir().unwrap();
        let mut ledger = open(temp.path());
        ledger.set_plan(plan(7)).unwrap();
        ledger.claim(job(1), Some(run(1)), 1, Claimant::Server, NOW).unwrap();
        drop(ledger);
        let (act, name) = damage.split_once(' ').unwrap();
        let path = temp.path().join(name);
        match act {
            "remove" => std::fs::remove_file(&path).unwrap(),
            _ => std::fs::write(&path, "{").unwrap(),
        }
        let again = open(temp.path());
        assert_eq!(again.plan(), None, "{damage}");
        assert_eq!(again.judge(job(2), Some(&run(1)), 1), Verdict::Accept, "{damage}");
        let aside = std::fs::read_dir(temp.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".lost-"));
        assert!(aside.count() >= 1, "{damage}: what is left is set aside");
        drop(again);
        assert_eq!(open(temp.path()).plan(), None, "{damage}");
    }
}

#[test]
fn a_torn_last_line_costs_that_line_alone() {
    let temp = tempfile::tempdir().unwrap();
    let mut ledger = open(temp.path());
    ledger.claim(job(1), Some(run(1)), 1, Claimant::Server, NOW).unwrap();
    let whole = std::fs::metadata(temp.path().join("ledger.log")).unwrap().len();
    ledger.claim(job(2), Some(run(2)), 1, Claimant::Server, NOW).unwrap();
    drop(ledger);
    let path = temp.path().join("ledger.log");
    let full = std::fs::read(&path).unwrap();
    for cut in whole as usize..full.len() {
        std::fs::write(&path, &full[..cut]).unwrap();
        let mut again = open(temp.path());
        assert_eq!(again.open_jobs(), [job(1)], "cut at {cut}");
        // What is written behind the torn line counts.
        again.claim(job(3), Some(run(3)), 1, Claimant::Server, NOW).unwrap();
        assert_eq!(open(temp.path()).open_jobs(), [job(1), job(3)], "cut at {cut}");
    }
}

#[test]
fn what_is_over_for_long_is_forgotten_and_the_rest_stays() {
    let temp = tempfile::tempdir().unwrap();
    let mut ledger = open(temp.path());
    ledger.set_plan(plan(7)).unwrap();
    let later = NOW + KEPT_FOR + 1;
    ledger.claim(job(1), Some(run(1)), 1, Claimant::Server, NOW).unwrap();
    ledger.finished(&finished(1, FinalState::Succeeded)).unwrap();
    ledger.claim(job(2), Some(run(2)), 1, Claimant::Server, NOW).unwrap();
    ledger.claim(job(3), Some(run(3)), 1, Claimant::Server, later).unwrap();
    ledger.finished(&JobFinished { at: later, ..finished(3, FinalState::Succeeded) }).unwrap();
    ledger.claim(job(4), Some(run(9)), 1, Claimant::Server, NOW).unwrap();
    ledger.finished(&finished(4, FinalState::Succeeded)).unwrap();
    ledger.fired(run(0).schedule_id, Timestamp::from_millis(9)).unwrap();
    let before = std::fs::metadata(temp.path().join("ledger.log")).unwrap().len();
    drop(ledger);
    let again = Ledger::open(temp.path(), later).unwrap();
    assert!(std::fs::metadata(temp.path().join("ledger.log")).unwrap().len() < before);
    for ledger in [again, Ledger::open(temp.path(), later).unwrap()] {
        assert_eq!(ledger.judge(job(9), Some(&run(1)), 1), Verdict::Accept);
        assert_eq!(ledger.judge(job(9), Some(&run(2)), 1), Verdict::SupersededBy(job(2)), "it never ended");
        assert_eq!(ledger.judge(job(9), Some(&run(3)), 1), Verdict::SupersededBy(job(3)));
        assert_eq!(ledger.judge(job(9), Some(&run(9)), 1), Verdict::SupersededBy(job(4)), "the newest slot");
        assert_eq!(ledger.last_fired(run(0).schedule_id), Some(Timestamp::from_millis(9)));
        assert_eq!(ledger.plan(), Some(&plan(7)));
    }
}

#[test]
fn what_the_disk_has_no_room_for_counts_and_is_written_as_soon_as_it_has() {
    let temp = tempfile::tempdir().unwrap();
    let mut ledger = open(temp.path());
    ledger.claim(job(1), Some(run(1)), 1, Claimant::Agent, NOW).unwrap();
    let works = std::mem::replace(&mut ledger.file, File::open(temp.path().join("ledger.log")).unwrap());
    ledger.started(job(1)).unwrap_err();
    ledger.finished(&finished(1, FinalState::Failed)).unwrap_err();
    ledger.claim(job(2), Some(run(1)), 2, Claimant::Agent, NOW).unwrap_err();
    assert!(ledger.waits());
    assert_eq!(ledger.standing(job(1)), Some(Standing::Ended(FinalState::Failed)));
    assert_eq!(ledger.standing(job(2)), None, "what is not on disk must not start");
    assert_eq!(ledger.ending(job(1)).unwrap(), Some(finished(1, FinalState::Failed)));
    assert_eq!(open(temp.path()).open_jobs(), [job(1)]);
    ledger.file = works;
    ledger.write_what_waits().unwrap();
    assert!(!ledger.waits());
    let again = open(temp.path());
    assert_eq!(again.ending(job(1)).unwrap(), Some(finished(1, FinalState::Failed)));
    assert_eq!(again.own_claim(job(1)).map(|claim| claim.attempt), Some(1));
}

#[test]
fn damaged_lines_are_set_aside() {
    let temp = tempfile::tempdir().unwrap();
    let mut ledger = open(temp.path());
    ledger.claim(job(1), Some(run(1)), 1, Claimant::Server, NOW).unwrap();
    ledger.claim(job(2), Some(run(2)), 1, Claimant::Server, NOW).unwrap();
    drop(ledger);
    let path = temp.path().join("ledger.log");
    let bytes = std::fs::read(&path).unwrap();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    std::fs::write(&path, [lines[0], &lines[1][5..], lines[2]].concat()).unwrap();
    assert_eq!(open(temp.path()).open_jobs(), [job(2)]);
    let aside = temp.path().join(format!("ledger.log.damaged-{}", NOW.as_millis()));
    assert_eq!(std::fs::read(aside).unwrap(), lines[1][5..]);
}
