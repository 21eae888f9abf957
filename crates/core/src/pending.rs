//! Pending runs: an open run that owes an attempt gets one, waits, or is given up.
//!
//! The server decides here for the runs it keeps, the agent for those it does without a server: both by the same rules, so that an attempt
//! that one of them made counts for the other.

use crate::backoff;
use crate::model::{Pending, PendingCause};
use crate::time::Timestamp;

/// All that the decision looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingView {
    /// The number of the newest attempt there was, from 1.
    pub attempt: u32,
    /// What is owed.
    pub pending: Pending,
    /// The schedule it belongs to.
    pub schedule: Plan,
    /// How its group tries again; none when the group is gone.
    pub retry: Option<Retry>,
    /// Whether its host may still use its repository.
    pub target: Target,
    /// Whether its host can be reached.
    pub presence: Presence,
}

/// Where the schedule of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// It fires.
    Enabled,
    /// Somebody switched it off.
    Disabled,
    /// It was deleted.
    Gone,
}

/// How a source group tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts of a run, the first included.
    pub max: u32,
    /// Seconds between the first attempt and the second.
    pub backoff_seconds: u32,
}

/// Whether a host may still use a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// It is attached.
    Attached,
    /// It was detached, or the repository is gone.
    Detached,
}

/// Whether a host can be reached at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Its agent is connected.
    Online,
    /// It is not.
    Offline,
}

/// Why a run is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Its time has come, or it was never planned.
    Due,
    /// The host's agent came back and its session is steady.
    Hello,
    /// An operator wants the attempt at once.
    Asked,
}

/// What becomes of an owed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is made.
    Dispatch,
    /// It is due at this instant; where that is past, as soon as the host is back.
    WaitUntil(Timestamp),
    /// There will be none.
    Abandon(Abandoned),
}

/// Why a run is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// Its schedule was deleted.
    ScheduleGone,
    /// Its schedule is disabled.
    ScheduleDisabled,
    /// Its source group was deleted.
    GroupGone,
    /// Its host no longer uses the repository.
    Detached,
    /// Its attempts are used up.
    AttemptsUsedUp,
}

impl Abandoned {
    /// The reason in one sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::ScheduleGone => "its schedule was deleted",
            Self::ScheduleDisabled => "its schedule is disabled",
            Self::GroupGone => "its source group was deleted",
            Self::Detached => "its host no longer uses the repository",
            Self::AttemptsUsedUp => "its attempts are used up",
        }
    }
}

/// Decides about one owed attempt. Deterministic and total.
///
/// `jitter` is in thousandths, 0 to 1000, and only used for an attempt that is not planned yet. What gives a run up is looked at first, so
/// that an absent host does not keep a run alive whose schedule is gone. A host's return releases what nobody is to blame for,
/// attempts that could not be sent or were lost; what failed on its repository keeps its time.
pub fn decide(view: &PendingView, trigger: Trigger, jitter: u32, now: Timestamp) -> Decision {
    let retry = match (view.schedule, view.retry, view.target) {
        (Plan::Gone, _, _) => return Decision::Abandon(Abandoned::ScheduleGone),
        (Plan::Disabled, _, _) => return Decision::Abandon(Abandoned::ScheduleDisabled),
        (Plan::Enabled, None, _) => return Decision::Abandon(Abandoned::GroupGone),
        (Plan::Enabled, Some(_), Target::Detached) => return Decision::Abandon(Abandoned::Detached),
        (Plan::Enabled, Some(retry), Target::Attached) => retry,
    };
    if view.attempt >= retry.max {
        return Decision::Abandon(Abandoned::AttemptsUsedUp);
    }
    let planned = view.pending.planned_at().unwrap_or_else(|| due_at(view, retry, jitter));
    let due = match (trigger, view.pending.cause) {
        (Trigger::Asked, _) | (Trigger::Hello, PendingCause::DispatchFailed | PendingCause::Lost) => {
            planned.min(now)
        }
        (Trigger::Hello, PendingCause::Retryable) | (Trigger::Due, _) => planned,
    };
    match view.presence {
        Presence::Online if due <= now => Decision::Dispatch,
        Presence::Online | Presence::Offline => Decision::WaitUntil(due),
    }
}

fn due_at(view: &PendingView, retry: Retry, jitter: u32) -> Timestamp {
    let wait = backoff::delay(retry.backoff_seconds, view.attempt, jitter);
    view.pending.since + i64::try_from(wait).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn view(attempt: u32, cause: PendingCause) -> PendingView {
        PendingView {
            attempt,
            pending: Pending::unplanned(cause, NOW),
            schedule: Plan::Enabled,
            retry: Some(Retry { max: 3, backoff_seconds: 60 }),
            target: Target::Attached,
            presence: Presence::Online,
        }
    }

    fn planned(attempt: u32, cause: PendingCause, at: Timestamp) -> PendingView {
        let pending = Pending { cause, since: NOW - 1_000_000, next_attempt_at: at };
        PendingView { pending, ..view(attempt, cause) }
    }

    #[test]
    fn an_attempt_is_planned_by_the_groups_backoff_and_made_when_its_time_has_come() {
        let first = view(1, PendingCause::Retryable);
        assert_eq!(decide(&first, Trigger::Due, 0, NOW), Decision::WaitUntil(NOW + 60_000));
        let second = view(2, PendingCause::Retryable);
        assert_eq!(decide(&second, Trigger::Due, 1_000, NOW), Decision::WaitUntil(NOW + 150_000));
        let due = planned(2, PendingCause::Retryable, NOW);
        assert_eq!(decide(&due, Trigger::Due, 0, NOW), Decision::Dispatch);
        assert_eq!(decide(&due, Trigger::Due, 0, NOW - 1), Decision::WaitUntil(NOW));
    }

    #[test]
    fn a_return_releases_what_was_lost_or_never_sent_but_not_what_failed() {
        for (cause, expected) in [
            (PendingCause::DispatchFailed, Decision::Dispatch),
            (PendingCause::Lost, Decision::Dispatch),
            (PendingCause::Retryable, Decision::WaitUntil(NOW + 5)),
        ] {
            let view = planned(1, cause, NOW + 5);
            assert_eq!(decide(&view, Trigger::Hello, 0, NOW), expected, "{cause:?}");
            assert_eq!(decide(&view, Trigger::Asked, 0, NOW), Decision::Dispatch, "{cause:?}");
        }
    }

    #[test]
    fn what_gives_a_run_up_is_looked_at_before_all_else_in_this_order() {
        let mut view = PendingView {
            attempt: 3,
            schedule: Plan::Gone,
            retry: None,
            target: Target::Detached,
            presence: Presence::Offline,
            ..view(3, PendingCause::Lost)
        };
        let mut expect = |change: fn(&mut PendingView), why: Abandoned| {
            change(&mut view);
            for trigger in [Trigger::Due, Trigger::Hello, Trigger::Asked] {
                assert_eq!(decide(&view, trigger, 0, NOW), Decision::Abandon(why));
            }
        };
        expect(|_| {}, Abandoned::ScheduleGone);
        expect(|view| view.schedule = Plan::Disabled, Abandoned::ScheduleDisabled);
        expect(|view| view.schedule = Plan::Enabled, Abandoned::GroupGone);
        expect(|view| view.retry = Some(Retry { max: 3, backoff_seconds: 1 }), Abandoned::Detached);
        expect(|view| view.target = Target::Attached, Abandoned::AttemptsUsedUp);
    }

    #[test]
    fn a_run_that_is_given_up_says_why() {
        let all = [
            Abandoned::ScheduleGone,
            Abandoned::ScheduleDisabled,
            Abandoned::GroupGone,
            Abandoned::Detached,
            Abandoned::AttemptsUsedUp,
        ];
        let said = all.map(Abandoned::sentence);
        assert!(said.iter().all(|sentence| sentence.starts_with("its ")));
        let different: std::collections::BTreeSet<&str> = said.into_iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn an_absent_host_waits_however_late_it_is() {
        let late = PendingView { presence: Presence::Offline, ..planned(1, PendingCause::Lost, NOW - 500) };
        for trigger in [Trigger::Due, Trigger::Hello, Trigger::Asked] {
            assert_eq!(decide(&late, trigger, 0, NOW), Decision::WaitUntil(NOW - 500));
        }
    }

    fn any_view() -> impl Strategy<Value = PendingView> {
        let cause = (0..PendingCause::ALL.len()).prop_map(|n| PendingCause::ALL[n]);
        let plan = prop_oneof![8 => Just(Plan::Enabled), 1 => Just(Plan::Disabled), 1 => Just(Plan::Gone)];
        let retry = prop::option::weighted(0.9, (any::<u32>(), any::<u32>()))
            .prop_map(|found| found.map(|(max, backoff_seconds)| Retry { max, backoff_seconds }));
        (0..6_u32, cause, 0..1_i64 << 40, 0..1_i64 << 40, plan, retry, any::<bool>(), any::<bool>()).prop_map(
            |(attempt, cause, since, wait, schedule, retry, attached, online)| PendingView {
                attempt,
                pending: Pending {
                    cause,
                    since: Timestamp::from_millis(since),
                    next_attempt_at: Timestamp::from_millis(since + wait),
                },
                schedule,
                retry,
                target: if attached { Target::Attached } else { Target::Detached },
                presence: if online { Presence::Online } else { Presence::Offline },
            },
        )
    }

    proptest! {
        #[test]
        fn an_attempt_is_made_only_where_it_can_be_and_was_allowed(
            view in any_view(), jitter in any::<u32>(), now in 0..1_i64 << 41, hello in any::<bool>(),
        ) {
            let now = Timestamp::from_millis(now);
            let trigger = if hello { Trigger::Hello } else { Trigger::Due };
            match decide(&view, trigger, jitter, now) {
                Decision::Dispatch => {
                    prop_assert_eq!(view.presence, Presence::Online);
                    prop_assert!(view.retry.is_some_and(|retry| view.attempt < retry.max));
                    prop_assert!(hello || view.pending.next_attempt_at <= now);
                }
                Decision::WaitUntil(at) => {
                    prop_assert!(at > now || view.presence == Presence::Offline, "it waits for nothing");
                    let unplanned = view.pending.next_attempt_at == view.pending.since;
                    // At least a second, at most half an hour and a quarter of it, counted from when it was owed.
                    let wait = at.millis_since(view.pending.since);
                    prop_assert!(!unplanned || at <= now || (1_000..=2_250_000).contains(&wait), "{wait}");
                }
                Decision::Abandon(_) => {
                    let sound = view.schedule == Plan::Enabled && view.target == Target::Attached;
                    prop_assert!(!sound || view.retry.is_none_or(|retry| view.attempt >= retry.max));
                }
            }
        }

        #[test]
        fn whoever_waits_gets_the_attempt_at_the_instant_that_was_named(
            view in any_view(), jitter in any::<u32>(), now in 0..1_i64 << 41,
        ) {
            let view = PendingView { presence: Presence::Online, ..view };
            let now = Timestamp::from_millis(now);
            if let Decision::WaitUntil(at) = decide(&view, Trigger::Due, jitter, now) {
                let pending = Pending { next_attempt_at: at, ..view.pending };
                let planned = PendingView { pending, ..view };
                prop_assert_eq!(decide(&planned, Trigger::Due, 0, at), Decision::Dispatch);
                prop_assert_eq!(decide(&planned, Trigger::Due, 0, at - 1), Decision::WaitUntil(at));
            }
        }
    }
}
