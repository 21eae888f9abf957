//! What an agent owes by its plan, while its server comes and goes, and the agent itself goes down.

use std::collections::{BTreeMap, BTreeSet};

use restic_manager_core::duty::{Clocks, Fires, OwnRun, OwnRuns, Situation, fires, own_runs};
use restic_manager_core::id::{GroupId, JobId, RepoId, ScheduleId};
use restic_manager_core::model::{FinalState, JobSummary, Role, RunKey};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::slots::{Claimant, Record, SlotBook, Verdict};
use restic_manager_core::time::{DAY, HOUR, MINUTE, Timestamp};
use restic_manager_core::wire::{
    BackupSpec, JobFinished, PlanGroup, PlanRepo, PlanSchedule, ScheduleFire, ScheduleSet,
};

use crate::bytes::Bytes;

/// 2026-01-05, a Monday.
const MONDAY: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const GRACE: i64 = MINUTE;
/// Crons in UTC, and how long after midnight each fires first, and then how often, in minutes.
const CRONS: [(&str, i64, i64); 4] =
    [("0 3 * * *", 180, 1_440), ("*/15 * * * *", 0, 15), ("30 * * * *", 30, 60), ("5 */6 * * *", 5, 360)];

/// An agent, the world as it sees it, and what was done, noted apart from its book.
struct Agent {
    plan: ScheduleSet,
    /// Which of the crons each schedule has.
    crons: Vec<usize>,
    book: SlotBook,
    now: Timestamp,
    /// Since when there is no session.
    away_since: Option<Timestamp>,
    /// Since when the newest fire of a schedule has no answer.
    unanswered_since: BTreeMap<ScheduleId, Timestamp>,
    fired: BTreeSet<(ScheduleId, Timestamp)>,
    claims: BTreeMap<RunKey, Vec<(JobId, Stands)>>,
    made: u16,
}

/// Where a job stands, as far as a further attempt is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Open,
    Done,
    /// It may mend itself; since this instant.
    Failed(Timestamp),
    /// It will not.
    Hopeless,
}

pub(crate) fn run(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let mut agent = Agent::new(&mut bytes);
    let mut steps = 0;
    while !bytes.is_empty() && steps < 120 {
        steps += 1;
        match bytes.below(8) {
            0 => agent.away_since = if bytes.flag() { agent.away_since.or(Some(agent.now)) } else { None },
            1 => agent.server_orders(&mut bytes),
            2 | 3 => agent.jobs_end(&mut bytes),
            4 => agent.unanswered_since.clear(),
            _ => agent.now = agent.now + bytes.pick(&[1_000, MINUTE, 5 * MINUTE, HOUR, 7 * HOUR, DAY]),
        }
        agent.fire(&mut bytes);
        agent.act();
    }
    agent.fired.len() > 1 && !agent.claims.is_empty()
}

impl Agent {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let crons: Vec<usize> = (0..=bytes.below(2)).map(|_| bytes.below(CRONS.len())).collect();
        let (groups, repos) = (1 + bytes.below(2) as u8, 1 + bytes.below(2) as u8);
        let schedule = |n: usize| PlanSchedule {
            schedule_id: ScheduleId::mint(MONDAY, [n as u8; 10]),
            cron: CRONS[crons[n]].0.parse().unwrap(),
            timezone: "UTC".parse().unwrap(),
            since: MONDAY,
            // A group and a repository that the plan does not know are passed over.
            group_ids: (0..=groups).map(|n| GroupId::mint(MONDAY, [n; 10])).collect(),
            repo_ids: (0..=repos).map(|n| RepoId::mint(MONDAY, [n; 10])).collect(),
        };
        let backup = BackupSpec {
            tag: "t".parse().unwrap(),
            includes: vec!["/data".parse().unwrap()],
            excludes: vec![],
            options: Default::default(),
        };
        let group = |n: u8, bytes: &mut Bytes<'_>| PlanGroup {
            group_id: GroupId::mint(MONDAY, [n; 10]),
            backup: backup.clone(),
            retry_max: 1 + bytes.below(4) as u32,
            retry_backoff_seconds: bytes.pick(&[1, 60, 3_600]),
        };
        let repo = |n: u8| PlanRepo {
            repo_id: RepoId::mint(MONDAY, [n; 10]),
            role: Role::Primary,
            restic_host: "h".parse().unwrap(),
        };
        let plan = ScheduleSet {
            schedule_version: 1,
            schedules: (0..crons.len()).map(schedule).collect(),
            groups: (0..groups).map(|n| group(n, bytes)).collect(),
            repos: (0..repos).map(repo).collect(),
            limit_upload_kib: None,
            limit_download_kib: None,
        };
        Self {
            plan,
            crons,
            book: SlotBook::default(),
            now: MONDAY + bytes.within(0, DAY),
            away_since: None,
            unanswered_since: BTreeMap::new(),
            fired: BTreeSet::new(),
            claims: BTreeMap::new(),
            made: 0,
        }
    }

    /// Whatever is due fires; each slot once, and the newest of its schedule.
    fn fire(&mut self, bytes: &mut Bytes<'_>) {
        let awake_for = if bytes.below(8) == 0 { bytes.within(0, 2 * MINUTE) } else { 400 * DAY };
        let clocks = Clocks { now: self.now, awake_for, not_before: None, confirmed: None };
        let Fires { due, settles_in } = fires(&self.plan, &self.book, &clocks);
        assert!(settles_in.is_none_or(|wait| (1..=MINUTE).contains(&wait)), "it settles in {settles_in:?}");
        assert!(due.is_sorted_by_key(|fire| fire.slot), "{due:?}");
        for fire in due {
            self.judge_fire(&fire);
            self.book.take(&Record::Fired { schedule_id: fire.schedule_id, slot: fire.slot });
            self.unanswered_since.insert(fire.schedule_id, self.now);
        }
        let again = fires(&self.plan, &self.book, &clocks);
        assert_eq!(again.due, [], "it fires again at once");
    }

    fn judge_fire(&mut self, fire: &ScheduleFire) {
        let n = self.plan.schedules.iter().position(|known| known.schedule_id == fire.schedule_id).unwrap();
        let (_, first, every) = CRONS[self.crons[n]];
        let minutes = fire.slot.millis_since(MONDAY) / MINUTE;
        assert!(fire.slot.millis_since(MONDAY) % MINUTE == 0 && (minutes - first) % every == 0, "{fire:?}");
        assert!(fire.slot > MONDAY && fire.slot <= self.now, "{fire:?} at {}", self.now);
        assert!(fire.slot + every * MINUTE > self.now, "{fire:?} is not the newest at {}", self.now);
        let newest = self.fired.iter().filter(|(id, _)| *id == fire.schedule_id).map(|(_, slot)| *slot).max();
        assert!(newest.is_none_or(|newest| fire.slot > newest), "{fire:?} after {newest:?}");
        let between = fire.slot.millis_since(newest.unwrap_or(MONDAY)) / MINUTE;
        let passed = if newest.is_some() {
            between / every - 1
        } else {
            (minutes - first) / every - i64::from(first == 0)
        };
        assert_eq!(i64::try_from(fire.missed).unwrap(), passed, "{fire:?} after {newest:?}");
        self.fired.insert((fire.schedule_id, fire.slot));
    }

    /// What the agent does by itself is begun, and then nobody begins it again.
    fn act(&mut self) {
        let own = self.own();
        assert!(own.look_in.is_none_or(|wait| wait > 0), "it looks again in {:?}", own.look_in);
        for start in &own.start {
            self.judge_own(start);
            self.claim(start.run, start.attempt, Claimant::Agent);
        }
        assert_eq!(self.own().start, [], "it begins again at once");
    }

    fn own(&self) -> OwnRuns {
        let unanswered: BTreeMap<ScheduleId, i64> =
            self.unanswered_since.iter().map(|(id, since)| (*id, self.now.millis_since(*since))).collect();
        own_runs(&Situation {
            plan: &self.plan,
            book: &self.book,
            away_for: self.away_since.map(|since| self.now.millis_since(since)),
            unanswered: &unanswered,
            grace: GRACE,
            now: self.now,
        })
    }

    fn judge_own(&self, own: &OwnRun) {
        let OwnRun { run, attempt } = *own;
        let newest = self.fired.iter().filter(|(id, _)| *id == run.schedule_id).map(|(_, slot)| *slot).max();
        assert_eq!(newest, Some(run.slot), "{own:?} is of an older slot, or of none");
        assert!(self.plan.repos.iter().any(|repo| repo.repo_id == run.repo_id), "{own:?}");
        let group = self.plan.groups.iter().find(|group| group.group_id == run.group_id).unwrap();
        let alone = self.away_since.is_some_and(|since| self.now.millis_since(since) >= GRACE);
        let claims = self.claims.get(&run).map_or(&[][..], Vec::as_slice);
        assert_eq!(attempt as usize, claims.len() + 1, "{own:?} after {claims:?}");
        let Some((_, newest)) = claims.last() else {
            let deaf = self.unanswered_since.get(&run.schedule_id);
            assert!(
                alone || deaf.is_some_and(|since| self.now.millis_since(*since) >= GRACE),
                "{own:?}: the server's"
            );
            return;
        };
        assert!(alone, "{own:?}: a further attempt is the server's while a session stands");
        assert!(attempt <= group.retry_max, "{own:?} of {}", group.retry_max);
        let Stands::Failed(at) = newest else { panic!("{own:?} after {newest:?}") };
        let shortest = i64::from(group.retry_backoff_seconds).min(1_800) * 1_000;
        assert!(self.now.millis_since(*at) >= shortest, "{own:?}: too soon");
        assert!(claims.iter().all(|(_, stands)| *stands != Stands::Done), "{own:?} was done");
    }

    /// The server sends jobs for slots that fired; the book takes those that nobody has.
    fn server_orders(&mut self, bytes: &mut Bytes<'_>) {
        let Some((schedule_id, slot)) = self.fired.iter().next_back().copied() else { return };
        let schedule = self.plan.schedules.iter().find(|known| known.schedule_id == schedule_id).unwrap();
        let run = RunKey {
            schedule_id,
            group_id: bytes.pick(&schedule.group_ids),
            repo_id: bytes.pick(&schedule.repo_ids),
            slot,
        };
        let claims = self.claims.get(&run).map_or(&[][..], Vec::as_slice);
        let attempt = 1 + claims.len() as u32;
        let taken = claims.iter().any(|(_, stands)| matches!(stands, Stands::Open | Stands::Done));
        let asked = JobId::mint(MONDAY, [0xff; 10]);
        let verdict = self.book.judge(asked, Some(&run), attempt);
        assert_eq!(verdict == Verdict::Accept, !taken, "{run:?} after {claims:?}");
        if let Some((job_id, _)) = claims.last() {
            let late = self.book.judge(asked, Some(&run), attempt - 1);
            assert_eq!(late, Verdict::SupersededBy(*job_id), "an attempt that was made");
            assert!(matches!(self.book.judge(*job_id, Some(&run), attempt), Verdict::Repeat(_)));
        }
        if !taken {
            self.claim(run, attempt, Claimant::Server);
        }
    }

    fn claim(&mut self, run: RunKey, attempt: u32, by: Claimant) {
        self.made += 1;
        let [high, low] = self.made.to_be_bytes();
        let job_id = JobId::mint(self.now, [0, 0, 0, 0, 0, 0, high, low, high, low]);
        self.book.take(&Record::Claimed { job_id, run: Some(run), attempt, at: self.now, by });
        self.book.take(&Record::Started { job_id });
        self.claims.entry(run).or_default().push((job_id, Stands::Open));
    }

    /// Some of what runs comes to an end, or is lost.
    fn jobs_end(&mut self, bytes: &mut Bytes<'_>) {
        for (job_id, stands) in
            self.claims.values_mut().flatten().filter(|(_, stands)| *stands == Stands::Open)
        {
            let (state, class) = match bytes.below(7) {
                0 => (FinalState::Succeeded, OutcomeClass::Ok),
                1 => (FinalState::Warning, OutcomeClass::Partial),
                2 => (FinalState::Failed, OutcomeClass::WrongPassword),
                3 => (FinalState::Cancelled, OutcomeClass::Cancelled),
                4 => (FinalState::Failed, OutcomeClass::Unreachable),
                5 => {
                    self.book.take(&Record::Lost { job_id: *job_id, at: Some(self.now) });
                    *stands = Stands::Failed(self.now);
                    continue;
                }
                _ => continue,
            };
            *stands = match class {
                OutcomeClass::Unreachable => Stands::Failed(self.now),
                OutcomeClass::Ok | OutcomeClass::Partial => Stands::Done,
                _ => Stands::Hopeless,
            };
            let finished = ended(*job_id, state, class, self.now);
            self.book.take(&Record::Finished { finished: Box::new(finished) });
        }
    }
}

fn ended(job_id: JobId, state: FinalState, class: OutcomeClass, at: Timestamp) -> JobFinished {
    JobFinished {
        job_id,
        at,
        state,
        class,
        exit_code: None,
        message: String::new(),
        hint: None,
        summary: JobSummary::default(),
        run: None,
    }
}
