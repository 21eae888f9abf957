//! The attempts that a run is owed, from its first failure to its end.

use restic_manager_core::model::{Pending, PendingCause};
use restic_manager_core::pending::{
    Abandoned, Decision, PendingView, Plan, Presence, Retry, Target, Trigger, decide,
};
use restic_manager_core::time::{DAY, Timestamp};

use crate::bytes::Bytes;

/// Looks at the run again and again while its host comes and goes, plans what is to wait, and fails what is attempted.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let mut now = Timestamp::from_millis(1_767_571_200_000);
    let retry =
        Retry { max: bytes.below(9) as u32, backoff_seconds: bytes.pick(&[0, 1, 60, 900, 86_400, u32::MAX]) };
    let mut view = PendingView {
        attempt: 1,
        pending: Pending::unplanned(bytes.pick(&PendingCause::ALL), now),
        schedule: Plan::Enabled,
        retry: Some(retry),
        target: Target::Attached,
        presence: Presence::Online,
    };
    // Somebody's word while the host was away brought the attempt forward.
    let mut hurried = false;
    let mut looks = 0;
    while !bytes.is_empty() && looks < 200 {
        looks += 1;
        turn(&mut bytes, &mut view, retry);
        let trigger = bytes.pick(&[Trigger::Due, Trigger::Due, Trigger::Hello, Trigger::Asked]);
        let jitter = bytes.within(0, 1_200) as u32;
        let decision = decide(&view, trigger, jitter, now);
        assert_eq!(decide(&view, trigger, jitter, now), decision, "the same view and time, another decision");
        match decision {
            Decision::Abandon(why) => {
                assert_eq!(Some(why), lost_cause(&view), "{view:?}");
                return looks > 1;
            }
            Decision::Dispatch => {
                allowed(&view, trigger, hurried, now);
                hurried = false;
                view.attempt += 1;
                now = now + bytes.within(0, DAY);
                view.pending = Pending::unplanned(bytes.pick(&PendingCause::ALL), now);
            }
            Decision::WaitUntil(at) => {
                waits(&view, trigger, at, now);
                hurried |= released(&view, trigger);
                view.pending.next_attempt_at = at;
                // Now and then the run is looked at before its time.
                now = now.max(if bytes.flag() { at } else { now + bytes.within(0, DAY) });
            }
        }
        assert!(view.attempt <= retry.max.max(1), "attempt {} of {}", view.attempt, retry.max);
    }
    looks > 2
}

fn turn(bytes: &mut Bytes<'_>, view: &mut PendingView, retry: Retry) {
    match bytes.below(24) {
        0 => view.schedule = bytes.pick(&[Plan::Disabled, Plan::Gone, Plan::Enabled]),
        1 => view.retry = bytes.maybe(|_| retry),
        2 => view.target = bytes.pick(&[Target::Detached, Target::Attached]),
        3..=7 => view.presence = bytes.pick(&[Presence::Offline, Presence::Online]),
        _ => {}
    }
}

/// Why there can be no further attempt, in the order in which people are told.
fn lost_cause(view: &PendingView) -> Option<Abandoned> {
    let reasons = [
        (view.schedule == Plan::Gone, Abandoned::ScheduleGone),
        (view.schedule == Plan::Disabled, Abandoned::ScheduleDisabled),
        (view.retry.is_none(), Abandoned::GroupGone),
        (view.target == Target::Detached, Abandoned::Detached),
        (view.retry.is_some_and(|retry| view.attempt >= retry.max), Abandoned::AttemptsUsedUp),
    ];
    reasons.into_iter().find(|(holds, _)| *holds).map(|(_, why)| why)
}

/// Whether somebody's word lifts the wait: a person's always, the host's return for what nobody is to blame for.
fn released(view: &PendingView, trigger: Trigger) -> bool {
    match trigger {
        Trigger::Asked => true,
        Trigger::Hello => view.pending.cause != PendingCause::Retryable,
        Trigger::Due => false,
    }
}

fn allowed(view: &PendingView, trigger: Trigger, hurried: bool, now: Timestamp) {
    assert_eq!(lost_cause(view), None, "{view:?} gets an attempt");
    assert_eq!(view.presence, Presence::Online, "{view:?} gets an attempt");
    if released(view, trigger) {
        return;
    }
    let pending = view.pending;
    assert!(pending.next_attempt_at <= now, "{view:?} at {now}: before its time");
    let waited = now.millis_since(pending.since);
    assert!(hurried || waited >= shortest(view), "{view:?} at {now}: only {waited} ms after it failed");
}

fn waits(view: &PendingView, trigger: Trigger, at: Timestamp, now: Timestamp) {
    assert_eq!(lost_cause(view), None, "{view:?} waits");
    assert!(at > now || view.presence == Presence::Offline, "{view:?} at {now}: it waits for nothing");
    assert!(!released(view, trigger) || at <= now, "{view:?} waits though it was released");
    if view.pending.next_attempt_at == view.pending.since && !released(view, trigger) {
        let wait = at.millis_since(view.pending.since);
        let shortest = shortest(view);
        assert!((shortest..=shortest + shortest / 4).contains(&wait), "{view:?} waits {wait} ms");
    } else if !released(view, trigger) {
        assert_eq!(at, view.pending.next_attempt_at, "{view:?}: what was planned moved");
    }
}

/// The group's seconds, at least one, once more doubled for each attempt after the first; half an hour at most.
fn shortest(view: &PendingView) -> i64 {
    let mut seconds = i64::from(view.retry.map_or(1, |retry| retry.backoff_seconds)).max(1);
    for _ in 1..view.attempt {
        seconds = (seconds * 2).min(1_800);
    }
    seconds.min(1_800) * 1_000
}
