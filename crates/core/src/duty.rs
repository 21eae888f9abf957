//! What an agent owes by its plan: which schedules fire, and which runs it does by itself because no server takes care of them.
//!
//! Pure: the plan, the [slot book](crate::slots) and the clocks go in, what is to be done comes out. The agent calls it whenever something
//! changed or a time it named has come; so does a simulation.

use std::collections::BTreeMap;

use crate::backoff;
use crate::id::{JobId, RepoId, ScheduleId};
use crate::model::{FinalState, Pending, PendingCause, RunKey};
use crate::pending::{self, Decision, PendingView, Plan, Presence, Retry, Target, Trigger};
use crate::restic::OutcomeClass;
use crate::schedule::{Cadence, due};
use crate::slots::{Entry, SlotBook, Standing};
use crate::time::{MINUTE, Timestamp};
use crate::wire::{PlanGroup, PlanSchedule, ScheduleFire, ScheduleSet};

/// How long a machine that woke up or was switched on is left alone before it makes up for a slot, in milliseconds: the network comes up first.
pub const SETTLE: i64 = MINUTE;
/// How long an agent waits for its server before it does a slot by itself, in milliseconds, unless it is told otherwise.
pub const OFFLINE_GRACE: i64 = MINUTE;

/// What the clocks of a machine say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// The wall clock.
    pub now: Timestamp,
    /// How long the machine has been awake with this agent on it, in milliseconds.
    pub awake_for: i64,
    /// The wall clock was set: slots up to this instant are not caught up.
    pub not_before: Option<Timestamp>,
    /// Since when the server agrees with the wall clock; none while it never did, or the clock was set meanwhile.
    pub confirmed: Option<Timestamp>,
}

/// The schedules that fire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fires {
    /// Those that are due, the oldest slot first.
    pub due: Vec<ScheduleFire>,
    /// How long it takes until a slot that came while the machine slept may fire, in milliseconds; none where no such slot waits.
    pub settles_in: Option<i64>,
}

/// The newest slot of each schedule that came and did not fire yet; older ones are counted as missed.
///
/// Slots up to `since` of a schedule are none of it, and those that a clock jumped over are left alone for the time being. A slot that fired
/// in the future shows that the clock is wrong, or was: nothing fires until the server confirmed the time, and from then on the
/// future is forgotten. A slot that came while the machine was asleep or switched off fires once it has been awake for [`SETTLE`].
pub fn fires(plan: &ScheduleSet, book: &SlotBook, clocks: &Clocks) -> Fires {
    fires_settled(plan, book, clocks, SETTLE)
}

/// [`fires`] with another time than [`SETTLE`] for which a machine is left alone, in milliseconds.
pub fn fires_settled(plan: &ScheduleSet, book: &SlotBook, clocks: &Clocks, settle: i64) -> Fires {
    let mut fires = Fires::default();
    for schedule in &plan.schedules {
        let Some(fire) = newest_slot(schedule, book, clocks) else { continue };
        let slept_through = fire.slot < clocks.now - clocks.awake_for;
        if slept_through && clocks.awake_for < settle {
            fires.settles_in = Some(settle - clocks.awake_for);
        } else {
            fires.due.push(fire);
        }
    }
    fires.due.sort_by_key(|fire| (fire.slot, fire.schedule_id));
    fires
}

fn newest_slot(schedule: &PlanSchedule, book: &SlotBook, clocks: &Clocks) -> Option<ScheduleFire> {
    let last = match book.last_fired(schedule.schedule_id) {
        Some(last) if last > clocks.now => Some(clocks.confirmed?),
        last => last.max(clocks.not_before),
    };
    let last = last.filter(|last| *last > schedule.since);
    let due = due(&cadence(schedule), last, schedule.since, clocks.now);
    Some(ScheduleFire { schedule_id: schedule.schedule_id, slot: due.newest?, missed: due.missed })
}

/// The next slot of each schedule, the earliest first.
pub fn next_slots(plan: &ScheduleSet, now: Timestamp) -> Vec<(Timestamp, &PlanSchedule)> {
    let next = |schedule| Some((cadence(schedule).next_after(now.max(schedule.since))?, schedule));
    let mut next: Vec<_> = plan.schedules.iter().filter_map(next).collect();
    next.sort_by_key(|(slot, schedule)| (*slot, schedule.schedule_id));
    next
}

fn cadence(schedule: &PlanSchedule) -> Cadence {
    Cadence { cron: schedule.cron.clone(), zone: schedule.timezone.clone() }
}

/// All that decides what an agent does by itself.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The plan in hand; only enabled schedules are in it.
    pub plan: &'a ScheduleSet,
    /// What was taken so far.
    pub book: &'a SlotBook,
    /// For how long no session has stood, in milliseconds; none while one stands.
    pub away_for: Option<i64>,
    /// For how long the newest fire of a schedule has not been acknowledged, in milliseconds; those that were are not in it.
    pub unanswered: &'a BTreeMap<ScheduleId, i64>,
    /// How long the agent waits for its server, in milliseconds.
    pub grace: i64,
    /// The wall clock.
    pub now: Timestamp,
}

/// A run that the agent does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnRun {
    /// Which.
    pub run: RunKey,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// What the agent does by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnRuns {
    /// Runs to begin, in this order, as far as there is room for them.
    pub start: Vec<OwnRun>,
    /// In how many milliseconds there may be another one; none when only an event can bring it.
    pub look_in: Option<i64>,
}

/// The backups that nobody else does.
///
/// Of each schedule only the newest slot that fired counts; a newer one takes the place of what was not begun. A slot that nobody took is the
/// agent's once it was without a session for the grace, or its fire was not acknowledged for as long. What failed here in a way that may
/// mend itself, or was lost, is tried again by the same rules as on the server, but only without a session: with one, that is
/// the server's.
pub fn own_runs(situation: &Situation<'_>) -> OwnRuns {
    let mut own = OwnRuns::default();
    let mut fired: Vec<(Timestamp, &PlanSchedule)> = situation
        .plan
        .schedules
        .iter()
        .filter_map(|schedule| Some((situation.book.last_fired(schedule.schedule_id)?, schedule)))
        .filter(|(slot, schedule)| *slot > schedule.since && *slot <= situation.now)
        .collect();
    fired.sort_by_key(|(slot, schedule)| (*slot, schedule.schedule_id));
    for (slot, schedule) in fired {
        for (group, repo_id) in targets(situation.plan, schedule) {
            let run = RunKey { schedule_id: schedule.schedule_id, group_id: group.group_id, repo_id, slot };
            match own_attempt(situation, group, &run) {
                Own::Begin(attempt) => own.start.push(OwnRun { run, attempt }),
                Own::In(wait) => own.look_in = Some(own.look_in.map_or(wait, |look| look.min(wait))),
                Own::Nothing => {}
            }
        }
    }
    own
}

fn targets<'a>(
    plan: &'a ScheduleSet,
    schedule: &'a PlanSchedule,
) -> impl Iterator<Item = (&'a PlanGroup, RepoId)> {
    let groups = schedule.group_ids.iter();
    let groups = groups.filter_map(|id| plan.groups.iter().find(|group| group.group_id == *id));
    groups.flat_map(move |group| {
        let there = |repo_id: &&RepoId| plan.repos.iter().any(|repo| repo.repo_id == **repo_id);
        schedule.repo_ids.iter().filter(there).map(move |repo_id| (group, *repo_id))
    })
}

enum Own {
    Begin(u32),
    /// Perhaps in so many milliseconds.
    In(i64),
    Nothing,
}

fn own_attempt(situation: &Situation<'_>, group: &PlanGroup, run: &RunKey) -> Own {
    let done = |entry: &Entry| match entry.standing {
        Standing::Claimed
        | Standing::Running
        | Standing::Ended(FinalState::Succeeded | FinalState::Warning) => true,
        Standing::Ended(FinalState::Failed | FinalState::Cancelled) | Standing::Lost => false,
    };
    if situation.book.attempts(run).any(done) {
        return Own::Nothing;
    }
    let Some(newest) = situation.book.attempts(run).next_back() else {
        let waited = situation.away_for.max(situation.unanswered.get(&run.schedule_id).copied());
        return begin_after(waited, situation.grace, 1);
    };
    let cause = match newest.standing {
        Standing::Lost => PendingCause::Lost,
        Standing::Ended(FinalState::Failed) if newest.class.is_some_and(OutcomeClass::is_retryable) => {
            PendingCause::Retryable
        }
        Standing::Ended(_) | Standing::Claimed | Standing::Running => return Own::Nothing,
    };
    match next_attempt(newest, cause, group, situation.now) {
        Decision::Dispatch => begin_after(situation.away_for, situation.grace, newest.attempt + 1),
        Decision::WaitUntil(at) if situation.away_for.is_some() => Own::In(at.millis_since(situation.now)),
        Decision::WaitUntil(_) | Decision::Abandon(_) => Own::Nothing,
    }
}

fn begin_after(waited: Option<i64>, grace: i64, attempt: u32) -> Own {
    match waited {
        Some(waited) if waited >= grace => Own::Begin(attempt),
        Some(waited) => Own::In(grace - waited),
        None => Own::Nothing,
    }
}

fn next_attempt(newest: &Entry, cause: PendingCause, group: &PlanGroup, now: Timestamp) -> Decision {
    let retry = Retry { max: group.retry_max, backoff_seconds: group.retry_backoff_seconds };
    let wait = backoff::delay(retry.backoff_seconds, newest.attempt, jitter_of(newest.job_id));
    let next_attempt_at = newest.at + i64::try_from(wait).unwrap_or(i64::MAX);
    let view = PendingView {
        attempt: newest.attempt,
        pending: Pending { cause, since: newest.at, next_attempt_at },
        schedule: Plan::Enabled,
        retry: Some(retry),
        target: Target::Attached,
        presence: Presence::Online,
    };
    pending::decide(&view, Trigger::Due, 0, now)
}

/// The same attempt waits equally long whenever it is looked at, also after a restart; another host's waits otherwise.
fn jitter_of(job: JobId) -> u32 {
    let bytes = job.as_bytes();
    u32::from(u16::from_be_bytes([bytes[14], bytes[15]])) % 1_001
}

#[cfg(test)]
mod tests;
