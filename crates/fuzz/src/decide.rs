//! What `maintenance::decide` says of a repository at one moment, and over its life.

use std::collections::BTreeSet;

use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::maintenance::{
    Decision, DueJob, ForgetNeeds, LastJob, MaintenanceKind, MaintenancePolicy, RepoView, RunnerState, decide,
};
use restic_manager_core::model::{AppendOnly, JobState};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::{DAY, HOUR, MINUTE, Timestamp};

use crate::bytes::Bytes;

/// 2026-01-05, a Monday.
const MONDAY: i64 = 1_767_571_200_000;
const CRONS: [&str; 8] = [
    "0 3 * * *",
    "0 4 * * sun",
    "*/15 * * * *",
    "30 2 29 2 *",
    "0 5 1 * *",
    "59 23 31 12 *",
    "0 0 1 jan mon",
    "* * * * *",
];
const ZONES: [&str; 5] = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"];
const CLASSES: [Option<OutcomeClass>; 5] = [
    None,
    Some(OutcomeClass::Ok),
    Some(OutcomeClass::Locked),
    Some(OutcomeClass::Unreachable),
    Some(OutcomeClass::NoSpace),
];

/// One view, one moment.
pub(crate) fn once(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let now = moment(&mut bytes);
    let view = view(&mut bytes, now);
    let decision = decide(&view, now);
    judge(&view, now, &decision);
    let Some(wake_at) = decision.wake_at.filter(|_| decision.due.is_empty()) else {
        return !decision.due.is_empty();
    };
    // Nothing becomes due before the wake-up that was promised.
    let ahead = wake_at.millis_since(now);
    for permille in [1, 500, 999] {
        let between = now + ahead / 1_000 * permille;
        assert_eq!(decide(&view, between).due, [], "due at {between}, to be looked at at {wake_at}");
    }
    assert_eq!(decide(&view, wake_at - 1).due, []);
    true
}

/// Wake-ups and ends, one after the other: no slot is done twice, and nothing is started twice at once.
pub(crate) fn life(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let mut now = moment(&mut bytes);
    let mut view = view(&mut bytes, now);
    view.last = [None; 3];
    view.policy_since = [Some(now); 3];
    let mut done: BTreeSet<(MaintenanceKind, Timestamp)> = BTreeSet::new();
    let mut tried: BTreeSet<(MaintenanceKind, Timestamp, u32)> = BTreeSet::new();
    for _ in 0..60 {
        let decision = decide(&view, now);
        judge(&view, now, &decision);
        for job in &decision.due {
            assert!(!done.contains(&(job.kind, job.slot)), "{job:?} was done before");
            assert!(tried.insert((job.kind, job.slot, job.attempt)), "{job:?} was tried before");
            let last = run(&mut bytes, *job, now);
            if matches!(last.state, JobState::Succeeded | JobState::Cancelled) {
                done.insert((job.kind, job.slot));
            }
            view.last[place(job.kind)] = Some(last);
        }
        let in_flight = view.last.iter().flatten().filter(|last| !last.state.is_final()).count();
        if in_flight > 0 {
            finish(&mut bytes, &mut view, now);
        }
        world_turns(&mut bytes, &mut view);
        let pause = if bytes.flag() { bytes.within(1, 3 * DAY) } else { 1 };
        now = decision.wake_at.filter(|wake_at| *wake_at > now).unwrap_or(now + HOUR).max(now + pause);
    }
    !tried.is_empty()
}

fn moment(bytes: &mut Bytes<'_>) -> Timestamp {
    // Within a few years, to the minute, as ticks come.
    Timestamp::from_millis(MONDAY + bytes.within(-400, 2_000) * DAY + bytes.within(0, 1_439) * MINUTE)
}

fn run(bytes: &mut Bytes<'_>, job: DueJob, now: Timestamp) -> LastJob {
    let state = bytes.pick(&[
        JobState::Queued,
        JobState::Running,
        JobState::Succeeded,
        JobState::Failed,
        JobState::Lost,
        JobState::Cancelled,
    ]);
    LastJob {
        job_id: JobId::mint(now, [job.attempt as u8; 10]),
        created_at: now,
        finished_at: state.is_final().then(|| now + bytes.within(0, 2 * HOUR)),
        state,
        class: if state == JobState::Failed { bytes.pick(&CLASSES) } else { None },
        slot: Some(job.slot),
        attempt: job.attempt,
    }
}

fn finish(bytes: &mut Bytes<'_>, view: &mut RepoView, now: Timestamp) {
    for last in view.last.iter_mut().flatten().filter(|last| !last.state.is_final()) {
        if bytes.flag() {
            last.state = bytes.pick(&[JobState::Succeeded, JobState::Failed, JobState::Lost]);
            last.class = if last.state == JobState::Failed { bytes.pick(&CLASSES) } else { None };
            last.finished_at = Some(now);
        }
    }
}

fn world_turns(bytes: &mut Bytes<'_>, view: &mut RepoView) {
    match bytes.below(8) {
        0 => view.runner = runner(bytes),
        1 => view.has_admin_creds = !view.has_admin_creds,
        2 => view.check_errors = !view.check_errors,
        3 => view.foreign_lock = !view.foreign_lock,
        _ => {}
    }
}

fn runner(bytes: &mut Bytes<'_>) -> RunnerState {
    let ready = RunnerState::Ready;
    bytes.pick(&[ready, ready, ready, RunnerState::None, RunnerState::Away, RunnerState::WithoutRestic])
}

fn view(bytes: &mut Bytes<'_>, now: Timestamp) -> RepoView {
    let mut policy = MaintenancePolicy::standard(bytes.pick(&ZONES).parse().unwrap());
    for setting in [&mut policy.forget, &mut policy.prune, &mut policy.check] {
        setting.enabled = bytes.below(4) > 0;
        setting.cron = bytes.pick(&CRONS).parse().unwrap();
    }
    policy.spread_minutes = bytes.pick(&[0, 1, 60, 720]);
    RepoView {
        repo_id: RepoId::mint(now, [bytes.below(256) as u8; 10]),
        policy,
        policy_since: [0; 3].map(|_| bytes.maybe(|bytes| now - bytes.within(-2 * DAY, 400 * DAY))),
        last: [0; 3].map(|_| bytes.maybe(|bytes| last(bytes, now))),
        runner: runner(bytes),
        forget: bytes.pick(&[ForgetNeeds::Policies, ForgetNeeds::NoPolicies, ForgetNeeds::FutureSnapshots]),
        has_admin_creds: bytes.flag(),
        append_only: bytes.pick(&[AppendOnly::Unknown, AppendOnly::No, AppendOnly::Yes]),
        check_errors: bytes.below(4) == 0,
        foreign_lock: bytes.below(4) == 0,
        clock_suspect: bytes.below(4) == 0,
    }
}

fn last(bytes: &mut Bytes<'_>, now: Timestamp) -> LastJob {
    let created_at = now - bytes.within(-2 * DAY, 60 * DAY);
    let state = bytes.pick(&JobState::ALL);
    LastJob {
        job_id: JobId::mint(created_at, [1; 10]),
        created_at,
        finished_at: state.is_final().then(|| created_at + bytes.within(0, DAY)),
        state,
        class: bytes.pick(&CLASSES),
        slot: bytes.maybe(|bytes| created_at - bytes.within(-HOUR, DAY)),
        attempt: bytes.within(0, 6) as u32,
    }
}

const fn place(kind: MaintenanceKind) -> usize {
    match kind {
        MaintenanceKind::Forget => 0,
        MaintenanceKind::Prune => 1,
        MaintenanceKind::Check => 2,
    }
}

/// What no decision may say, whatever the view.
fn judge(view: &RepoView, now: Timestamp, decision: &Decision) {
    assert_eq!(&decide(view, now), decision, "the same view and time, another decision");
    assert!(decision.wake_at.is_none_or(|wake_at| wake_at > now), "a wake-up that has passed");
    assert!(decision.due.is_sorted_by(|a, b| a.kind < b.kind), "forget, then prune, then check, each once");
    for job in &decision.due {
        judge_due(view, now, job);
    }
    for report in &decision.reports {
        let due = decision.due.iter().any(|job| job.kind == report.kind);
        assert!(!(due && report.hold.is_some()), "{:?} is due and held", report.kind);
        assert!(report.sentence.starts_with(report.kind.as_str()), "{:?}", report.sentence);
        let wakes = decision.wake_at.is_some();
        let awaited = report.next_at.is_some_and(|at| at > now);
        assert!(!awaited || (wakes && decision.wake_at <= report.next_at), "it starts and nobody looks");
    }
}

fn judge_due(view: &RepoView, now: Timestamp, job: &DueJob) {
    let (setting, last) = match job.kind {
        MaintenanceKind::Forget => (&view.policy.forget, view.last[0]),
        MaintenanceKind::Prune => (&view.policy.prune, view.last[1]),
        MaintenanceKind::Check => (&view.policy.check, view.last[2]),
    };
    assert!(setting.enabled, "{job:?} of a cadence that is disabled");
    assert!(job.slot <= now, "{job:?} is of the future");
    assert!((1..=4).contains(&job.attempt), "{job:?}");
    assert_eq!(view.runner, RunnerState::Ready, "{job:?} and nobody to do it");
    assert!(!view.foreign_lock, "{job:?} against a foreign lock");
    let trusted = last.filter(|last| last.created_at <= now + 25 * HOUR);
    assert!(trusted.is_none_or(|last| last.state.is_final()), "{job:?} while one is in flight");
    match job.kind {
        MaintenanceKind::Forget => {
            assert_eq!(view.forget, ForgetNeeds::Policies, "{job:?} without a policy to trust");
            assert!(
                view.has_admin_creds || view.append_only != AppendOnly::Yes,
                "{job:?} that would be refused"
            );
            assert!(!view.clock_suspect);
        }
        MaintenanceKind::Prune => {
            assert!(view.has_admin_creds && !view.check_errors && !view.clock_suspect, "{job:?}");
        }
        MaintenanceKind::Check => {}
    }
    if job.attempt > 1 {
        let last = trusted.expect("a further attempt follows one");
        assert_eq!((Some(job.slot), job.attempt), (last.slot, last.attempt + 1));
        let passing = [Some(OutcomeClass::Locked), Some(OutcomeClass::Unreachable)].contains(&last.class);
        assert!(last.state == JobState::Lost || (last.state == JobState::Failed && passing), "{last:?}");
        assert!(last.finished_at.is_none_or(|at| now.millis_since(at) >= 15 * MINUTE), "too soon");
    } else {
        let since = view.policy_since[place(job.kind)];
        assert!(since.is_none_or(|since| job.slot > since), "{job:?} is older than its cadence");
        assert!(trusted.is_none_or(|last| job.slot > last.created_at), "{job:?} was made up for");
        assert!(trusted.and_then(|last| last.slot).is_none_or(|slot| job.slot > slot), "{job:?} again");
    }
}
