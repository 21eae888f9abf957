//! The decision.

use crate::maintenance::{ForgetNeeds, LastJob, MaintenanceKind, RepoView, RunnerState};
use crate::model::{AppendOnly, Hold, JobState};
use crate::restic::OutcomeClass;
use crate::schedule::stable_jitter;
use crate::time::{DAY, HOUR, MINUTE, Timestamp};

/// The pauses before a slot is owed again.
const RETRY_AFTER: [i64; 3] = [15 * MINUTE, HOUR, 4 * HOUR];
/// How often a hold is looked at again, when nothing announces its end.
const HOLD_LOOK: i64 = 15 * MINUTE;
/// An anchor further in the future than this comes from a clock that was wrong.
const FUTURE_ANCHOR: i64 = 25 * HOUR;

/// What [`decide`] says of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is to be started now, in this order. Each needs the repository for itself: who has no queue of its own starts the first, and asks
    /// again at its end.
    pub due: Vec<DueJob>,
    /// When to look again without being told; none means that somebody will tell.
    pub wake_at: Option<Timestamp>,
    /// Forget, prune and check, each with its reasons.
    pub reports: [KindReport; 3],
}

/// A job that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueJob {
    /// What.
    pub kind: MaintenanceKind,
    /// For which slot; with the repository, the kind and the attempt it is the key of the job.
    pub slot: Timestamp,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// What is to be said of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindReport {
    /// Which kind.
    pub kind: MaintenanceKind,
    /// When its newest job was asked for.
    pub last_at: Option<Timestamp>,
    /// When it starts next, jitter included; none when it is disabled, has nothing to do, or runs now.
    pub next_at: Option<Timestamp>,
    /// What holds it now, when it is due.
    pub hold: Option<Hold>,
    /// All of it in one sentence.
    pub sentence: String,
}

/// What is due on a repository at `now`, what holds the rest, and when to look again.
pub fn decide(view: &RepoView, now: Timestamp) -> Decision {
    let mut due = Vec::new();
    let mut wakes: Vec<Timestamp> = Vec::new();
    let reports = MaintenanceKind::ALL.map(|kind| {
        let (report, job, wake) = decide_kind(view, kind, now);
        due.extend(job);
        wakes.extend(wake);
        // What is passed over for its date counts from the moment at which that date can be.
        let ignored = view.last(kind).filter(|_| trusted_last(view, kind, now).is_none());
        wakes.extend(ignored.map(|last| last.created_at - FUTURE_ANCHOR));
        report
    });
    Decision { due, wake_at: wakes.into_iter().min(), reports }
}

/// When a kind wants to start, before anything holds it.
enum Timing {
    Disabled,
    NothingToDo,
    InFlight,
    Never,
    Waits { start_at: Timestamp },
    Due { slot: Timestamp, attempt: u32, next_start: Option<Timestamp> },
}

fn decide_kind(
    view: &RepoView,
    kind: MaintenanceKind,
    now: Timestamp,
) -> (KindReport, Option<DueJob>, Option<Timestamp>) {
    let last = trusted_last(view, kind, now);
    let report = |next_at, hold, sentence: String| KindReport {
        kind,
        last_at: view.last(kind).map(|last| last.created_at),
        next_at,
        hold,
        sentence,
    };
    let name = kind.as_str();
    let ignored = view.last(kind).filter(|_| last.is_none()).map_or(String::new(), |last| {
        format!(" (its last job is dated {}, which cannot be; it is ignored)", last.created_at)
    });
    match timing(view, kind, last, now) {
        Timing::Disabled => (report(None, None, format!("{name} is disabled")), None, None),
        Timing::NothingToDo => {
            let sentence = "forget has nothing to do: no source group has a retention policy".to_owned();
            (report(None, None, sentence), None, None)
        }
        Timing::InFlight => (report(None, None, format!("{name} is under way")), None, None),
        Timing::Never => {
            (report(None, None, format!("{name} has no further slot in its cadence{ignored}")), None, None)
        }
        Timing::Waits { start_at } => {
            let held = hold(view, kind).filter(needs_a_person).map_or(String::new(), |hold| {
                format!("; as things stand it will be held: {}; {}", hold.sentence(), hold.remedy())
            });
            let sentence = format!("{name} starts at {start_at}{held}{ignored}");
            (report(Some(start_at), None, sentence), None, Some(start_at))
        }
        Timing::Due { slot, attempt, next_start } => match hold(view, kind) {
            None => {
                let sentence = match attempt {
                    1 => format!("{name} is due since {slot}{ignored}"),
                    _ => format!("{name} is due again for {slot}, attempt {attempt}{ignored}"),
                };
                // Looked at again even if the start is lost: what is committed is in flight by then.
                let wake = next_start.map_or(now + HOLD_LOOK, |at| at.min(now + HOLD_LOOK));
                (report(Some(now), None, sentence), Some(DueJob { kind, slot, attempt }), Some(wake))
            }
            Some(hold) => {
                // Whoever comes, by hello or as the new runner, sets the wake-up: nothing is looked at for an absent one.
                let absent = matches!(hold, Hold::HostOffline | Hold::NoRunner);
                let wake =
                    (!absent).then(|| next_start.map_or(now + HOLD_LOOK, |at| at.min(now + HOLD_LOOK)));
                let sentence = format!(
                    "{name} is due since {slot}, but {}; {}{ignored}",
                    hold.sentence(),
                    hold.remedy()
                );
                (report(Some(now), Some(hold), sentence), None, wake)
            }
        },
    }
}

/// Whether a hold stays until somebody does something; a host that is away most often comes back by itself.
fn needs_a_person(hold: &Hold) -> bool {
    match hold {
        Hold::AdminCredsRequired
        | Hold::CheckErrors
        | Hold::ForeignLock
        | Hold::NoRunner
        | Hold::ResticMissing
        | Hold::ClockSuspect => true,
        Hold::HostOffline
        | Hold::HostBusy { .. }
        | Hold::RepoBusy { .. }
        | Hold::Draining { .. }
        | Hold::OutOfContact { .. }
        | Hold::BreakerOpen
        | Hold::WaitingRetry { .. } => false,
    }
}

/// The newest job, unless its date cannot be.
fn trusted_last(view: &RepoView, kind: MaintenanceKind, now: Timestamp) -> Option<&LastJob> {
    view.last(kind).filter(|last| last.created_at <= now + FUTURE_ANCHOR)
}

fn timing(view: &RepoView, kind: MaintenanceKind, last: Option<&LastJob>, now: Timestamp) -> Timing {
    if last.is_some_and(|last| !last.state.is_final()) {
        return Timing::InFlight;
    }
    if !view.policy.setting(kind).enabled {
        return Timing::Disabled;
    }
    if kind == MaintenanceKind::Forget && view.forget == ForgetNeeds::NoPolicies {
        return Timing::NothingToDo;
    }
    let cadence = view.policy.cadence(kind);
    let jitter = stable_jitter(&view.repo_id.to_string(), view.policy.spread_for());
    let jitter = i64::try_from(jitter).unwrap_or(i64::MAX);
    let anchor = anchor(view, kind, last, now);
    let next_slot = cadence.next_after(anchor.max(now - jitter));
    let next_start = next_slot.map(|slot| slot + jitter);
    // The newest slot whose start has come; older ones are given up.
    if let Some(slot) = cadence.prev_at_or_before(now - jitter).filter(|slot| *slot > anchor) {
        return Timing::Due { slot, attempt: 1, next_start };
    }
    if let Some((slot, attempt, at)) = retry(last).filter(|(.., at)| next_start.is_none_or(|next| *at < next))
    {
        return if at <= now {
            Timing::Due { slot, attempt, next_start }
        } else {
            Timing::Waits { start_at: at }
        };
    }
    next_start.map_or(Timing::Never, |start_at| Timing::Waits { start_at })
}

/// No slot at or before this instant is due.
fn anchor(view: &RepoView, kind: MaintenanceKind, last: Option<&LastJob>, now: Timestamp) -> Timestamp {
    let since = view.since(kind);
    let base = match last {
        Some(last) => last.slot.map_or(last.created_at, |slot| slot.max(last.created_at)),
        None => since.unwrap_or(now - DAY),
    };
    // An edited cadence fires nothing of the past, whatever ran before.
    since.map_or(base, |since| since.max(base))
}

/// The slot that is owed again, its attempt, and when.
fn retry(last: Option<&LastJob>) -> Option<(Timestamp, u32, Timestamp)> {
    let last = last?;
    let slot = last.slot?;
    let passing = match last.state {
        JobState::Lost => true,
        JobState::Failed => last.class.is_some_and(OutcomeClass::is_retryable),
        JobState::Queued
        | JobState::Dispatched
        | JobState::Running
        | JobState::Succeeded
        | JobState::Warning
        | JobState::Cancelled
        | JobState::Superseded
        | JobState::Withdrawn => false,
    };
    let pause = RETRY_AFTER.get(last.attempt.checked_sub(1)? as usize)?;
    passing.then(|| (slot, last.attempt + 1, last.finished_at.unwrap_or(last.created_at) + *pause))
}

/// What would refuse the job now.
fn hold(view: &RepoView, kind: MaintenanceKind) -> Option<Hold> {
    match view.runner {
        RunnerState::None => return Some(Hold::NoRunner),
        RunnerState::Away => return Some(Hold::HostOffline),
        RunnerState::WithoutRestic => return Some(Hold::ResticMissing),
        RunnerState::Ready => {}
    }
    let deletes = match kind {
        MaintenanceKind::Forget | MaintenanceKind::Prune => true,
        MaintenanceKind::Check => false,
    };
    if deletes && view.clock_suspect {
        return Some(Hold::ClockSuspect);
    }
    let needs_admin = match kind {
        MaintenanceKind::Prune => true,
        MaintenanceKind::Forget => view.append_only == AppendOnly::Yes,
        MaintenanceKind::Check => false,
    };
    if needs_admin && !view.has_admin_creds {
        return Some(Hold::AdminCredsRequired);
    }
    if kind == MaintenanceKind::Prune && view.check_errors {
        return Some(Hold::CheckErrors);
    }
    if kind == MaintenanceKind::Forget && view.forget == ForgetNeeds::FutureSnapshots {
        return Some(Hold::ClockSuspect);
    }
    view.foreign_lock.then_some(Hold::ForeignLock)
}
