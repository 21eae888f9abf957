use super::*;
use crate::id::{GroupId, RepoId};
use crate::model::{JobSummary, Role};
use crate::restic::OutcomeClass;
use crate::schedule::Zone;
use crate::slots::{Claimant, Record};
use crate::time::{DAY, HOUR, SECOND};
use crate::wire::{BackupSpec, JobFinished, PlanRepo};

// 2023-11-14T00:00:00Z
const MIDNIGHT: Timestamp = Timestamp::from_millis(1_699_920_000_000);

fn schedule_id() -> ScheduleId {
    ScheduleId::mint(MIDNIGHT, [1; 10])
}

fn group_id() -> GroupId {
    GroupId::mint(MIDNIGHT, [2; 10])
}

fn repo_id(n: u8) -> RepoId {
    RepoId::mint(MIDNIGHT, [n; 10])
}

fn job(n: u8) -> JobId {
    // The last two bytes make the jitter: none.
    let mut random = [n; 10];
    random[8..].fill(0);
    JobId::mint(MIDNIGHT, random)
}

fn plan(cron: &str, since: Timestamp) -> ScheduleSet {
    let schedule = PlanSchedule {
        schedule_id: schedule_id(),
        cron: cron.parse().unwrap(),
        timezone: Zone::UTC,
        since,
        group_ids: vec![group_id()],
        repo_ids: vec![repo_id(1), repo_id(2)],
    };
    let backup = BackupSpec {
        tag: "t".parse().unwrap(),
        includes: vec!["/data".parse().unwrap()],
        excludes: vec![],
        options: Default::default(),
    };
    let group = PlanGroup { group_id: group_id(), backup, retry_max: 3, retry_backoff_seconds: 60 };
    let repo = |n| PlanRepo { repo_id: repo_id(n), role: Role::Primary, restic_host: "h".parse().unwrap() };
    ScheduleSet {
        schedule_version: 1,
        schedules: vec![schedule],
        groups: vec![group],
        repos: vec![repo(1), repo(2)],
        limit_upload_kib: None,
        limit_download_kib: None,
    }
}

fn steady(now: Timestamp) -> Clocks {
    Clocks { now, awake_for: DAY * 365, not_before: None, confirmed: None }
}

fn fired(book: &mut SlotBook, slot: Timestamp) {
    book.take(&Record::Fired { schedule_id: schedule_id(), slot });
}

fn due_at(plan: &ScheduleSet, book: &SlotBook, now: Timestamp) -> Vec<(Timestamp, u64)> {
    fires(plan, book, &steady(now)).due.into_iter().map(|fire| (fire.slot, fire.missed)).collect()
}

#[test]
fn a_slot_fires_once_and_older_ones_are_counted() {
    let plan = plan("0 * * * *", MIDNIGHT + MINUTE);
    let mut book = SlotBook::default();
    assert_eq!(due_at(&plan, &book, MIDNIGHT + HOUR - 1), []);
    assert_eq!(due_at(&plan, &book, MIDNIGHT + HOUR), [(MIDNIGHT + HOUR, 0)]);
    fired(&mut book, MIDNIGHT + HOUR);
    assert_eq!(due_at(&plan, &book, MIDNIGHT + 2 * HOUR - 1), []);
    assert_eq!(due_at(&plan, &book, MIDNIGHT + 5 * HOUR), [(MIDNIGHT + 5 * HOUR, 3)]);
}

#[test]
fn slots_before_the_schedule_stood_like_this_are_none() {
    let plan = plan("0 3 * * *", MIDNIGHT + 5 * HOUR);
    let mut book = SlotBook::default();
    assert_eq!(due_at(&plan, &book, MIDNIGHT + 6 * HOUR), []);
    // It fired before it was edited: what lies between is not made up for.
    fired(&mut book, MIDNIGHT - 2 * DAY);
    assert_eq!(due_at(&plan, &book, MIDNIGHT + 6 * HOUR), []);
    assert_eq!(due_at(&plan, &book, MIDNIGHT + DAY + 3 * HOUR), [(MIDNIGHT + DAY + 3 * HOUR, 0)]);
}

#[test]
fn a_doubtful_clock_catches_nothing_up_but_goes_on_from_there() {
    let plan = plan("0 * * * *", MIDNIGHT);
    let book = SlotBook::default();
    let jumped = MIDNIGHT + 10 * HOUR + MINUTE;
    let doubtful = |now| Clocks { not_before: Some(jumped), ..steady(now) };
    assert_eq!(fires(&plan, &book, &doubtful(jumped + 1)).due, []);
    let next = fires(&plan, &book, &doubtful(MIDNIGHT + 11 * HOUR)).due;
    assert_eq!((next[0].slot, next[0].missed), (MIDNIGHT + 11 * HOUR, 0));
    assert_eq!(due_at(&plan, &book, jumped), [(MIDNIGHT + 10 * HOUR, 9)]);
}

#[test]
fn a_slot_that_fired_in_the_future_holds_until_the_time_is_confirmed() {
    let plan = plan("0 * * * *", MIDNIGHT);
    let mut book = SlotBook::default();
    fired(&mut book, MIDNIGHT + 300 * DAY);
    assert_eq!(due_at(&plan, &book, MIDNIGHT + 5 * HOUR), []);
    let confirmed = |now| Clocks { confirmed: Some(MIDNIGHT + 5 * HOUR), ..steady(now) };
    assert_eq!(fires(&plan, &book, &confirmed(MIDNIGHT + 5 * HOUR + MINUTE)).due, []);
    let next = fires(&plan, &book, &confirmed(MIDNIGHT + 6 * HOUR)).due;
    assert_eq!((next[0].slot, next[0].missed), (MIDNIGHT + 6 * HOUR, 0));
    // One that fired this very moment is none of the future.
    let mut book = SlotBook::default();
    fired(&mut book, MIDNIGHT + 5 * HOUR);
    let clocks = Clocks { confirmed: Some(MIDNIGHT + 4 * HOUR), ..steady(MIDNIGHT + 5 * HOUR) };
    assert_eq!(fires(&plan, &book, &clocks).due, []);
}

#[test]
fn a_machine_that_slept_makes_up_for_the_newest_slot_a_minute_after_it_woke() {
    let plan = plan("0 * * * *", MIDNIGHT);
    let book = SlotBook::default();
    let woke = MIDNIGHT + 5 * HOUR + 10 * MINUTE;
    let awake = |for_ms: i64| Clocks { awake_for: for_ms, ..steady(woke + for_ms) };
    let early = fires(&plan, &book, &awake(20 * SECOND));
    assert_eq!(early, Fires { due: vec![], settles_in: Some(40 * SECOND) });
    let late = fires(&plan, &book, &awake(MINUTE));
    assert_eq!(late.due, [ScheduleFire { schedule_id: schedule_id(), slot: MIDNIGHT + 5 * HOUR, missed: 4 }]);
    assert_eq!(late.settles_in, None);
    // One that comes while the machine is awake waits for nothing.
    let just_woke = Clocks { awake_for: 30 * SECOND, ..steady(MIDNIGHT + HOUR) };
    assert_eq!(fires(&plan, &book, &just_woke).due.len(), 1);
    let with_the_slot = Clocks { awake_for: 30 * SECOND, ..steady(MIDNIGHT + HOUR + 30 * SECOND) };
    assert_eq!(fires(&plan, &book, &with_the_slot).due.len(), 1, "it woke with the slot");
}

#[test]
fn the_next_slots_are_told_in_order() {
    let plan = plan("0 3 * * *", MIDNIGHT);
    let next: Vec<Timestamp> = next_slots(&plan, MIDNIGHT + 3 * HOUR).iter().map(|(slot, _)| *slot).collect();
    assert_eq!(next, [MIDNIGHT + DAY + 3 * HOUR]);
}

/// An agent an hour after midnight, whose schedule fired then.
struct Agent {
    plan: ScheduleSet,
    book: SlotBook,
    away_for: Option<i64>,
    unanswered: BTreeMap<ScheduleId, i64>,
    now: Timestamp,
}

impl Agent {
    fn after_a_fire() -> Self {
        let mut book = SlotBook::default();
        fired(&mut book, MIDNIGHT + HOUR);
        Self {
            plan: plan("0 * * * *", MIDNIGHT),
            book,
            away_for: None,
            unanswered: BTreeMap::new(),
            now: MIDNIGHT + HOUR,
        }
    }

    fn own(&self) -> OwnRuns {
        own_runs(&Situation {
            plan: &self.plan,
            book: &self.book,
            away_for: self.away_for,
            unanswered: &self.unanswered,
            grace: OFFLINE_GRACE,
            now: self.now,
        })
    }

    /// The repositories and attempts that it begins.
    fn begun(&self) -> Vec<(RepoId, u32)> {
        self.own().start.iter().map(|own| (own.run.repo_id, own.attempt)).collect()
    }

    fn run(n: u8) -> RunKey {
        RunKey {
            schedule_id: schedule_id(),
            group_id: group_id(),
            repo_id: repo_id(n),
            slot: MIDNIGHT + HOUR,
        }
    }

    fn claimed(&mut self, n: u8, attempt: u32) {
        self.book.take(&Record::Claimed {
            job_id: job(10 * n + attempt as u8),
            run: Some(Self::run(n)),
            attempt,
            at: self.now,
            by: Claimant::Agent,
        });
    }

    fn ended(&mut self, n: u8, attempt: u32, state: FinalState, class: OutcomeClass) {
        self.claimed(n, attempt);
        let finished = JobFinished {
            job_id: job(10 * n + attempt as u8),
            at: self.now,
            state,
            class,
            exit_code: None,
            message: String::new(),
            hint: None,
            summary: JobSummary::default(),
            run: None,
        };
        self.book.take(&Record::Finished { finished: Box::new(finished) });
    }
}

#[test]
fn a_slot_is_the_agents_own_after_the_grace_without_a_session() {
    let mut agent = Agent::after_a_fire();
    assert_eq!(agent.own(), OwnRuns::default(), "a session stands and the fire is acknowledged");
    agent.away_for = Some(20 * SECOND);
    assert_eq!(agent.own(), OwnRuns { start: vec![], look_in: Some(40 * SECOND) });
    agent.away_for = Some(MINUTE);
    assert_eq!(agent.begun(), [(repo_id(1), 1), (repo_id(2), 1)]);
}

#[test]
fn a_fire_that_nobody_acknowledges_is_the_agents_own_though_a_session_stands() {
    let mut agent = Agent::after_a_fire();
    agent.unanswered.insert(schedule_id(), 59 * SECOND);
    assert_eq!(agent.own().look_in, Some(SECOND));
    agent.unanswered.insert(schedule_id(), MINUTE);
    assert_eq!(agent.begun().len(), 2);
}

#[test]
fn what_somebody_took_or_did_is_left_alone() {
    for (state, class, left) in [
        (FinalState::Succeeded, OutcomeClass::Ok, true),
        (FinalState::Warning, OutcomeClass::Partial, true),
        (FinalState::Failed, OutcomeClass::WrongPassword, true),
        (FinalState::Failed, OutcomeClass::SourceMissing, true),
        (FinalState::Cancelled, OutcomeClass::Cancelled, true),
        (FinalState::Failed, OutcomeClass::Locked, false),
        (FinalState::Failed, OutcomeClass::Unreachable, false),
        (FinalState::Failed, OutcomeClass::Killed, false),
    ] {
        let mut agent = Agent::after_a_fire();
        agent.away_for = Some(DAY);
        agent.claimed(2, 1);
        agent.ended(1, 1, state, class);
        agent.now = agent.now + 59 * SECOND;
        assert_eq!(agent.begun(), [], "{class:?}");
        agent.now = agent.now + SECOND;
        let expected = if left { vec![] } else { vec![(repo_id(1), 2)] };
        assert_eq!(agent.begun(), expected, "{class:?}");
    }
}

#[test]
fn retries_double_end_with_the_groups_number_and_are_the_servers_while_a_session_stands() {
    let mut agent = Agent::after_a_fire();
    agent.claimed(2, 1);
    agent.ended(1, 1, FinalState::Failed, OutcomeClass::Unreachable);
    agent.ended(1, 2, FinalState::Failed, OutcomeClass::Unreachable);
    agent.now = agent.now + 2 * MINUTE;
    assert_eq!(agent.own(), OwnRuns::default(), "the server's");
    agent.away_for = Some(DAY);
    assert_eq!(agent.begun(), [(repo_id(1), 3)]);
    agent.now = agent.now - 1;
    assert_eq!(agent.own(), OwnRuns { start: vec![], look_in: Some(1) });
    agent.away_for = None;
    assert_eq!(agent.own(), OwnRuns::default(), "the server's, and nothing to look for");
    agent.away_for = Some(DAY);
    agent.ended(1, 3, FinalState::Failed, OutcomeClass::Unreachable);
    agent.now = agent.now + DAY;
    assert_eq!(agent.own(), OwnRuns::default(), "three attempts were allowed");
}

#[test]
fn a_lost_attempt_is_owed_like_one_that_failed() {
    let mut agent = Agent::after_a_fire();
    agent.away_for = Some(DAY);
    agent.claimed(2, 1);
    agent.claimed(1, 1);
    agent.book.take(&Record::Lost { job_id: job(11), at: Some(agent.now) });
    assert_eq!(agent.own().look_in, Some(MINUTE));
    agent.now = agent.now + MINUTE;
    assert_eq!(agent.begun(), [(repo_id(1), 2)]);
}

#[test]
fn only_the_newest_slot_counts_and_only_as_the_schedule_stands() {
    let mut agent = Agent::after_a_fire();
    agent.away_for = Some(DAY);
    fired(&mut agent.book, MIDNIGHT + 2 * HOUR);
    agent.now = MIDNIGHT + 2 * HOUR;
    assert!(agent.own().start.iter().all(|own| own.run.slot == MIDNIGHT + 2 * HOUR));
    agent.plan.schedules[0].since = MIDNIGHT + 2 * HOUR + MINUTE;
    assert_eq!(agent.begun(), [], "it was edited since");
    agent.plan.schedules[0].since = MIDNIGHT + 2 * HOUR;
    assert_eq!(agent.begun(), [], "it was edited with the slot");
    let mut agent = Agent::after_a_fire();
    agent.away_for = Some(DAY);
    agent.plan.repos.remove(0);
    assert_eq!(agent.begun(), [(repo_id(2), 1)], "the host left a repository");
    agent.plan.groups.clear();
    assert_eq!(agent.begun(), []);
}

#[test]
fn each_job_brings_its_own_jitter_the_same_at_every_look() {
    let mut agent = Agent::after_a_fire();
    agent.away_for = Some(DAY);
    agent.claimed(2, 1);
    let job_id = JobId::mint(MIDNIGHT, [9, 9, 9, 9, 9, 9, 9, 9, 1, 244]);
    let (run, at) = (Some(Agent::run(1)), agent.now);
    agent.book.take(&Record::Claimed { job_id, run, attempt: 1, at, by: Claimant::Agent });
    agent.book.take(&Record::Lost { job_id, at: Some(at) });
    // Its last two bytes are 500 thousandths: a minute and half of a quarter of it.
    assert_eq!(agent.own().look_in, Some(67_500));
    agent.now = agent.now + 67_500;
    assert_eq!(agent.begun(), [(repo_id(1), 2)]);
}
