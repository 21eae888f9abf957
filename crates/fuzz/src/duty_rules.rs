//! What an agent must do by its plan, worked out from what was done so far: no more, and no less.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use restic_manager_core::duty::{Clocks, Fires, OwnRun, Situation, fires, next_slots, own_runs};
use restic_manager_core::id::{JobId, ScheduleId};
use restic_manager_core::model::{FinalState, RunKey};
use restic_manager_core::slots::{Standing, Verdict};
use restic_manager_core::time::{MINUTE, Timestamp};
use restic_manager_core::wire::{PlanGroup, ScheduleFire};

use crate::duty::{Agent, CRONS, Claim, MONDAY, Stands};

const GRACE: i64 = MINUTE;
const SETTLE: i64 = MINUTE;
/// The longest wait for a further attempt before jitter is added, in seconds.
const LONGEST: i64 = 1_800;

/// What becomes of a run: whether it may be begun, as which attempt, and in how many milliseconds it may be looked at again otherwise.
struct Owed {
    begin: Option<u32>,
    look: Option<RangeInclusive<i64>>,
}

impl Owed {
    const NOTHING: Self = Self { begin: None, look: None };

    /// Once it was waited for the grace.
    fn after_grace(waited: i64, attempt: u32) -> Self {
        if waited >= GRACE {
            Self { begin: Some(attempt), look: None }
        } else {
            Self { begin: None, look: Some(GRACE - waited..=GRACE - waited) }
        }
    }
}

impl Agent {
    /// What fires, which is the newest slot of each schedule after all that is settled.
    pub(crate) fn judged_fires(&self, clocks: &Clocks) -> Vec<ScheduleFire> {
        let mut expected = Fires::default();
        for (n, schedule) in self.plan.schedules.iter().enumerate() {
            let fired = self.fired.get(&schedule.schedule_id).copied();
            let settled = if fired.is_some_and(|fired| fired > self.now) {
                let Some(confirmed) = clocks.confirmed else { continue };
                confirmed
            } else {
                fired.max(clocks.not_before).unwrap_or(MONDAY)
            };
            let (settled, slot) = (settled.max(MONDAY), self.newest_slot(n, self.now));
            if slot <= settled {
                continue;
            }
            if slot < self.now - clocks.awake_for && clocks.awake_for < SETTLE {
                expected.settles_in = Some(SETTLE - clocks.awake_for);
                continue;
            }
            let came = slot.millis_since(self.newest_slot(n, settled)) / (CRONS[self.crons[n]].2 * MINUTE);
            let missed = came as u64 - 1;
            expected.due.push(ScheduleFire { schedule_id: schedule.schedule_id, slot, missed });
        }
        expected.due.sort_by_key(|fire| (fire.slot, fire.schedule_id));
        let fires = fires(&self.plan, &self.book, clocks);
        assert_eq!(fires, expected, "after {:?}, {clocks:?}", self.fired);
        fires.due
    }

    /// The next slot of each schedule, in their order.
    pub(crate) fn judge_next_slots(&self) {
        let next = |n: usize| (self.next_slot(n), self.plan.schedules[n].schedule_id);
        let mut expected: Vec<_> = (0..self.crons.len()).map(next).collect();
        expected.sort_unstable();
        let next = next_slots(&self.plan, self.now);
        let next: Vec<_> = next.into_iter().map(|(slot, schedule)| (slot, schedule.schedule_id)).collect();
        assert_eq!(next, expected);
    }

    pub(crate) fn next_slot(&self, schedule: usize) -> Timestamp {
        self.newest_slot(schedule, self.now.max(MONDAY)) + CRONS[self.crons[schedule]].2 * MINUTE
    }

    /// The newest slot at or before an instant, by counting from that Monday.
    fn newest_slot(&self, schedule: usize, at: Timestamp) -> Timestamp {
        let (_, first, every) = CRONS[self.crons[schedule]];
        let first = MONDAY + first * MINUTE;
        first + at.millis_since(first).div_euclid(every * MINUTE) * every * MINUTE
    }

    /// What it begins by itself: all that it owes, in the order of the slots.
    pub(crate) fn judged_own(&self) -> Vec<OwnRun> {
        let waits = |since: &i64| self.ticks - since;
        let unanswered: BTreeMap<ScheduleId, i64> =
            self.unanswered_since.iter().map(|(id, since)| (*id, waits(since))).collect();
        let own = own_runs(&Situation {
            plan: &self.plan,
            book: &self.book,
            away_for: self.away_since.as_ref().map(waits),
            unanswered: &unanswered,
            grace: GRACE,
            now: self.now,
        });
        let (mut start, mut looks) = (own.start.iter().peekable(), Vec::new());
        for (run, group) in self.newest_runs() {
            let owed = self.owed(&run, group);
            match start.next_if(|own| own.run == run) {
                Some(own) => {
                    assert_eq!(Some(own.attempt), owed.begin, "{own:?} after {:?}", self.claims_of(&run));
                }
                None if owed.begin.is_some() && owed.look.is_none() => {
                    panic!("{run:?} is not begun after {:?}", self.claims_of(&run))
                }
                None => looks.extend(owed.look),
            }
        }
        assert_eq!(start.next(), None, "it is no run of a newest slot, or not its turn");
        let soonest = looks.iter().map(|look| *look.start()).min();
        let latest = looks.iter().map(|look| *look.end()).min();
        assert!(
            own.look_in >= soonest && own.look_in <= latest,
            "it looks again in {:?} and not in {soonest:?} to {latest:?}",
            own.look_in
        );
        own.start
    }

    /// Every run of the slots that fired last, and its group; a slot of the future is none as long as it is one.
    fn newest_runs(&self) -> Vec<(RunKey, &PlanGroup)> {
        let mut fired: Vec<(Timestamp, ScheduleId)> =
            self.fired.iter().map(|(id, slot)| (*slot, *id)).collect();
        fired.retain(|(slot, _)| *slot <= self.now);
        fired.sort_unstable();
        let mut runs = Vec::new();
        for (slot, schedule_id) in fired {
            for group in &self.plan.groups {
                let run = |repo_id| RunKey { schedule_id, group_id: group.group_id, repo_id, slot };
                runs.extend(self.plan.repos.iter().map(|repo| (run(repo.repo_id), group)));
            }
        }
        runs
    }

    fn owed(&self, run: &RunKey, group: &PlanGroup) -> Owed {
        let away = self.away_since.map(|since| self.ticks - since);
        let claims = self.claims_of(run);
        let Some(newest) = claims.last() else {
            let deaf = self.unanswered_since.get(&run.schedule_id).map(|since| self.ticks - since);
            return away.max(deaf).map_or(Owed::NOTHING, |waited| Owed::after_grace(waited, 1));
        };
        assert!(claims.iter().filter(|claim| has_it(claim)).count() <= 1, "{run:?} ran twice: {claims:?}");
        // A further attempt is the server's while a session stands.
        let (Stands::Failed(at), Some(away), false) = (newest.stands, away, claims.iter().any(has_it)) else {
            return Owed::NOTHING;
        };
        if newest.attempt >= group.retry_max {
            return Owed::NOTHING;
        }
        let (passed, shortest) = (self.now.millis_since(at), shortest(group, newest.attempt));
        let longest = shortest + shortest / 4;
        let due = Owed::after_grace(away, newest.attempt + 1);
        if passed >= longest {
            due
        } else if passed < shortest {
            Owed { begin: None, look: Some(shortest - passed..=longest - passed) }
        } else {
            let latest = due.look.map_or(0, |look| *look.end()).max(longest - passed);
            Owed { begin: due.begin, look: Some(1..=latest) }
        }
    }

    /// Whether the book takes a job of the server, whose attempt is the newest.
    pub(crate) fn judged_order(&self, run: &RunKey, attempt: u32) -> bool {
        let claims = self.claims_of(run);
        let asked = JobId::mint(MONDAY, [0xff; 10]);
        let has_it = claims.iter().rfind(|claim| has_it(claim));
        let expected = has_it.map_or(Verdict::Accept, |claim| Verdict::SupersededBy(claim.job_id));
        assert_eq!(self.book.judge(asked, Some(run), attempt), expected, "{run:?} after {claims:?}");
        if let Some(newest) = claims.last() {
            let late = self.book.judge(asked, Some(run), newest.attempt);
            assert_eq!(late, Verdict::SupersededBy(newest.job_id), "an attempt that was made");
        }
        for claim in claims {
            let Verdict::Repeat(standing) = self.book.judge(claim.job_id, Some(run), attempt) else {
                panic!("{claim:?} is not known")
            };
            let repeated = match claim.stands {
                Stands::Open => standing == Standing::Running,
                Stands::Done => {
                    matches!(standing, Standing::Ended(FinalState::Succeeded | FinalState::Warning))
                }
                Stands::Failed(_) => {
                    matches!(standing, Standing::Lost | Standing::Ended(FinalState::Failed))
                }
                Stands::Hopeless => {
                    matches!(standing, Standing::Ended(FinalState::Failed | FinalState::Cancelled))
                }
            };
            assert!(repeated, "{claim:?} is repeated as {standing:?}");
        }
        expected == Verdict::Accept
    }
}

/// Whether a job does its slot, or did it.
fn has_it(claim: &Claim) -> bool {
    match claim.stands {
        Stands::Open | Stands::Done => true,
        Stands::Failed(_) | Stands::Hopeless => false,
    }
}

/// The group's seconds, once more doubled for each attempt after the first; half an hour at most. In milliseconds.
fn shortest(group: &PlanGroup, attempt: u32) -> i64 {
    let mut seconds = i64::from(group.retry_backoff_seconds);
    for _ in 1..attempt {
        seconds = (seconds * 2).min(LONGEST);
    }
    seconds.min(LONGEST) * 1_000
}
