//! What an agent owes by its plan, while its server comes and goes, its clock is set, and the agent itself goes down.

use std::collections::BTreeMap;

use restic_manager_core::duty::Clocks;
use restic_manager_core::id::{GroupId, JobId, RepoId, ScheduleId};
use restic_manager_core::model::{FinalState, JobSummary, Role, RunKey};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::slots::{Claimant, Record, SlotBook};
use restic_manager_core::time::{DAY, HOUR, MINUTE, Timestamp};
use restic_manager_core::wire::{
    BackupSpec, JobFinished, PlanGroup, PlanRepo, PlanSchedule, ScheduleSet, SlotClaim,
};

use crate::bytes::Bytes;

/// 2026-01-05, a Monday.
pub(crate) const MONDAY: Timestamp = Timestamp::from_millis(1_767_571_200_000);
/// Crons in UTC, and how long after midnight each fires first, and then how often, in minutes.
pub(crate) const CRONS: [(&str, i64, i64); 4] =
    [("0 3 * * *", 180, 1_440), ("*/15 * * * *", 0, 15), ("30 * * * *", 30, 60), ("5 */6 * * *", 5, 360)];

/// An agent, the world as it sees it, and what was done, noted apart from its book.
pub(crate) struct Agent {
    pub(crate) plan: ScheduleSet,
    /// Which of the crons each schedule has.
    pub(crate) crons: Vec<usize>,
    pub(crate) book: SlotBook,
    /// All that the book was told, as it lies on the disk.
    disk: Vec<String>,
    /// The wall clock.
    pub(crate) now: Timestamp,
    /// The clock that nobody sets, in milliseconds.
    pub(crate) ticks: i64,
    /// Since when there is no session, in ticks.
    pub(crate) away_since: Option<i64>,
    /// Since when the newest fire of a schedule has no answer, in ticks.
    pub(crate) unanswered_since: BTreeMap<ScheduleId, i64>,
    /// The slot of each schedule that fired last.
    pub(crate) fired: BTreeMap<ScheduleId, Timestamp>,
    pub(crate) claims: BTreeMap<RunKey, Vec<Claim>>,
    made: u16,
}

/// A job of a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) job_id: JobId,
    pub(crate) attempt: u32,
    pub(crate) by: Claimant,
    pub(crate) at: Timestamp,
    pub(crate) stands: Stands,
}

/// Where a job stands, as far as a further attempt is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
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
    let (mut steps, mut fires) = (0, 0);
    while !bytes.is_empty() && steps < 120 {
        steps += 1;
        match bytes.below(12) {
            0 | 1 => {
                agent.away_since = if bytes.flag() { agent.away_since.or(Some(agent.ticks)) } else { None }
            }
            2 => agent.server_orders(&mut bytes),
            3 | 4 => agent.jobs_end(&mut bytes),
            5 => agent.unanswered_since.clear(),
            6 => agent.goes_down(&mut bytes),
            7 if bytes.flag() => agent.now = agent.now + bytes.within(-2 * DAY, 2 * DAY),
            7 => {
                let slot = agent.next_slot(bytes.below(agent.crons.len()));
                agent.time_passes(slot.millis_since(agent.now) + bytes.within(0, MINUTE));
            }
            _ => agent.time_passes(bytes.pick(&[1_000, MINUTE, 5 * MINUTE, HOUR, 7 * HOUR, DAY])),
        }
        fires += agent.fire(&mut bytes);
        agent.act();
        agent.agrees_with_its_book();
        agent.judge_next_slots();
    }
    fires > 1 && !agent.claims.is_empty()
}

impl Agent {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let crons: Vec<usize> = (0..=bytes.below(3)).map(|_| bytes.below(CRONS.len())).collect();
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
            disk: Vec::new(),
            now: MONDAY + bytes.within(0, DAY),
            ticks: 0,
            away_since: None,
            unanswered_since: BTreeMap::new(),
            fired: BTreeMap::new(),
            claims: BTreeMap::new(),
            made: 0,
        }
    }

    fn time_passes(&mut self, passed: i64) {
        self.now = self.now + passed;
        self.ticks += passed;
    }

    fn note(&mut self, record: &Record) {
        self.disk.push(serde_json::to_string(record).unwrap());
        self.book.take(record);
    }

    /// Whatever is due fires, and then not again. Says how many did.
    fn fire(&mut self, bytes: &mut Bytes<'_>) -> usize {
        let awake_for = if bytes.below(8) == 0 { bytes.within(0, 2 * MINUTE) } else { 400 * DAY };
        let now = self.now;
        let not_before = if bytes.below(8) == 0 { Some(now - bytes.within(-HOUR, DAY)) } else { None };
        let confirmed = bytes.maybe(|bytes| now - bytes.within(0, 2 * DAY));
        // Whoever sets the clock takes back that it was confirmed.
        let confirmed = confirmed.filter(|at| not_before.is_none_or(|set| set <= *at));
        let clocks = Clocks { now, awake_for, not_before, confirmed };
        let due = self.judged_fires(&clocks);
        for fire in &due {
            self.note(&Record::Fired { schedule_id: fire.schedule_id, slot: fire.slot });
            self.fired.insert(fire.schedule_id, fire.slot);
            self.unanswered_since.insert(fire.schedule_id, self.ticks);
        }
        assert_eq!(self.judged_fires(&clocks), [], "it fires again at once");
        due.len()
    }

    /// What the agent does by itself is begun, and then nobody begins it again.
    fn act(&mut self) {
        for start in self.judged_own() {
            self.claim(start.run, start.attempt, Claimant::Agent);
        }
        assert_eq!(self.judged_own(), [], "it begins again at once");
    }

    /// The server sends jobs for slots that fired; the book takes those that nobody has.
    fn server_orders(&mut self, bytes: &mut Bytes<'_>) {
        if self.fired.is_empty() {
            return;
        }
        let (schedule_id, slot) = self.fired.iter().nth(bytes.below(self.fired.len())).unwrap();
        let schedule = self.plan.schedules.iter().find(|known| known.schedule_id == *schedule_id).unwrap();
        let run = RunKey {
            schedule_id: *schedule_id,
            group_id: bytes.pick(&schedule.group_ids),
            repo_id: bytes.pick(&schedule.repo_ids),
            slot: *slot,
        };
        // An attempt of which the agent never heard may lie between.
        let attempt =
            1 + self.claims_of(&run).last().map_or(0, |claim| claim.attempt) + bytes.below(2) as u32;
        if self.judged_order(&run, attempt) {
            self.claim(run, attempt, Claimant::Server);
        }
    }

    fn claim(&mut self, run: RunKey, attempt: u32, by: Claimant) {
        self.made += 1;
        let [high, low] = self.made.to_be_bytes();
        let (job_id, at) = (JobId::mint(self.now, [0, 0, 0, 0, 0, 0, high, low, high, low]), self.now);
        self.note(&Record::Claimed { job_id, run: Some(run), attempt, at, by });
        self.note(&Record::Started { job_id });
        self.claims.entry(run).or_default().push(Claim { job_id, attempt, by, at, stands: Stands::Open });
    }

    pub(crate) fn claims_of(&self, run: &RunKey) -> &[Claim] {
        self.claims.get(run).map_or(&[], Vec::as_slice)
    }

    /// Some of what runs comes to an end, or is lost.
    fn jobs_end(&mut self, bytes: &mut Bytes<'_>) {
        let mut ends = Vec::new();
        for claim in self.claims.values_mut().flatten().filter(|claim| claim.stands == Stands::Open) {
            let (state, class) = match bytes.below(7) {
                0 => (FinalState::Succeeded, OutcomeClass::Ok),
                1 => (FinalState::Warning, OutcomeClass::Partial),
                2 => (FinalState::Failed, OutcomeClass::WrongPassword),
                3 => (FinalState::Cancelled, OutcomeClass::Cancelled),
                4 => (FinalState::Failed, OutcomeClass::Unreachable),
                5 => {
                    claim.stands = Stands::Failed(self.now);
                    ends.push(Record::Lost { job_id: claim.job_id, at: Some(self.now) });
                    continue;
                }
                _ => continue,
            };
            claim.stands = match class {
                OutcomeClass::Unreachable => Stands::Failed(self.now),
                OutcomeClass::Ok | OutcomeClass::Partial => Stands::Done,
                _ => Stands::Hopeless,
            };
            let finished = Box::new(ended(claim.job_id, state, class, self.now));
            ends.push(Record::Finished { finished });
        }
        ends.iter().for_each(|end| self.note(end));
    }

    /// The agent goes down and comes back with what is on its disk; what ran meanwhile is lost.
    fn goes_down(&mut self, bytes: &mut Bytes<'_>) {
        self.book = SlotBook::default();
        for record in &self.disk {
            self.book.take(&serde_json::from_str(record).unwrap());
        }
        let mut lost = Vec::new();
        for claim in self.claims.values_mut().flatten().filter(|claim| claim.stands == Stands::Open) {
            // Older agents did not write down when they found out.
            let at = bytes.flag().then_some(self.now);
            claim.stands = Stands::Failed(at.unwrap_or(claim.at));
            lost.push(Record::Lost { job_id: claim.job_id, at });
        }
        lost.iter().for_each(|record| self.note(record));
    }

    /// What a hello says of open slots, and of each job whose it is.
    fn agrees_with_its_book(&self) {
        let mut open = Vec::new();
        for (run, claims) in &self.claims {
            for claim in claims {
                let said = SlotClaim { run: *run, attempt: claim.attempt, job_id: claim.job_id };
                let own = (claim.by == Claimant::Agent).then(|| said.clone());
                assert_eq!(self.book.own_claim(claim.job_id), own, "{claim:?}");
                open.extend((claim.stands == Stands::Open).then_some(said));
            }
        }
        open.sort_by_key(|claim| claim.job_id);
        assert_eq!(self.book.claims(&[]), open);
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
