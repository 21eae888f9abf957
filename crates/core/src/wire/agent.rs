//! What an agent says.

use serde::{Deserialize, Serialize};

use crate::id::{JobId, RepoId, ScheduleId, SpoolId};
use crate::model::{FinalState, JobSummary, LogLine, RepoStats, ResticRepoId, RunKey, Snapshot};
use crate::restic::{Outcome, OutcomeClass, Progress};
use crate::time::Timestamp;

/// A message from an agent to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload")]
pub enum AgentMessage {
    /// The first frame of every connection.
    #[serde(rename = "hello")]
    Hello(Box<Hello>),
    /// A sign of life. Lossy.
    #[serde(rename = "heartbeat")]
    Heartbeat(Heartbeat),
    /// A schedule came due. Reliable.
    #[serde(rename = "schedule.fire")]
    ScheduleFire(ScheduleFire),
    /// The agent stored a plan. Reliable.
    #[serde(rename = "schedule.ack")]
    ScheduleAck(ScheduleAck),
    /// The agent will not run a job. Reliable.
    #[serde(rename = "job.refused")]
    JobRefused(JobRefused),
    /// Restic is about to run. Reliable.
    #[serde(rename = "job.started")]
    JobStarted(JobStarted),
    /// How far it is. Lossy, at most once a second, the first one always.
    #[serde(rename = "job.progress")]
    JobProgress(JobProgress),
    /// Lines of the job's log, in order. Reliable.
    #[serde(rename = "log.stream")]
    LogStream(LogBatch),
    /// Lines that were given up for space. Reliable.
    #[serde(rename = "log.gap")]
    LogGap(LogGap),
    /// A partial picture of the repository. Reliable.
    #[serde(rename = "repo.stats")]
    RepoStats(RepoStatsReport),
    /// The host's snapshots in the repository. Reliable.
    #[serde(rename = "snapshots.report")]
    SnapshotsReport(SnapshotsReport),
    /// How the job ended; always its last message. Reliable.
    #[serde(rename = "job.finished")]
    JobFinished(Box<JobFinished>),
}

impl AgentMessage {
    /// Whether it must survive until the server acknowledged it.
    pub const fn is_reliable(&self) -> bool {
        match self {
            Self::Hello(_) | Self::Heartbeat(_) | Self::JobProgress(_) => false,
            Self::ScheduleFire(_)
            | Self::ScheduleAck(_)
            | Self::JobRefused(_)
            | Self::JobStarted(_)
            | Self::LogStream(_)
            | Self::LogGap(_)
            | Self::RepoStats(_)
            | Self::SnapshotsReport(_)
            | Self::JobFinished(_) => true,
        }
    }

    /// The job it speaks of.
    pub const fn job_id(&self) -> Option<JobId> {
        match self {
            Self::Hello(_) | Self::Heartbeat(_) | Self::ScheduleFire(_) | Self::ScheduleAck(_) => None,
            Self::JobRefused(m) => Some(m.job_id),
            Self::JobStarted(m) => Some(m.job_id),
            Self::JobProgress(m) => Some(m.job_id),
            Self::LogStream(m) => Some(m.job_id),
            Self::LogGap(m) => Some(m.job_id),
            Self::RepoStats(m) => m.job_id,
            Self::SnapshotsReport(m) => m.job_id,
            Self::JobFinished(m) => Some(m.job_id),
        }
    }
}

/// Versions of the agent and of what it found on its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentVersions {
    /// The agent's own.
    pub agent: String,
    /// Restic's, when a usable one was found.
    pub restic: Option<String>,
    /// Why there is none, with the remedy.
    pub restic_problem: Option<String>,
    /// Operating system, such as `linux`.
    pub os: String,
    /// Processor architecture, such as `x86_64`.
    pub arch: String,
}

/// The first frame of every connection: who speaks, what it still holds, what it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest protocol the agent speaks.
    pub protocol: u16,
    /// Versions.
    pub versions: AgentVersions,
    /// The operating system installation, hashed: tells a cloned machine from the enrolled one.
    pub machine_id: String,
    /// Changes with every boot.
    pub boot_id: String,
    /// The name the operating system goes by.
    pub os_hostname: String,
    /// The agent's wall clock when it said hello.
    pub clock: Timestamp,
    /// The life of its spool.
    pub spool_id: SpoolId,
    /// The oldest reliable message it still holds; `last_seq + 1` when it holds none.
    pub first_seq: u64,
    /// The newest reliable message it ever wrote; 0 when none.
    pub last_seq: u64,
    /// Jobs it runs at present.
    pub running_jobs: Vec<RunningJob>,
    /// Jobs that are over, but whose story is not acknowledged yet.
    pub spooled_jobs: Vec<JobId>,
    /// Slots it claimed and whose outcome is not acknowledged yet.
    pub claims: Vec<SlotClaim>,
    /// The version of the plan it works by; 0 when it has none.
    pub schedule_version: i64,
}

impl Hello {
    /// The hello of an agent that has just begun: nothing runs, nothing is spooled or claimed, no plan is known.
    pub fn fresh(
        machine_id: impl Into<String>,
        os_hostname: impl Into<String>,
        versions: AgentVersions,
        spool_id: SpoolId,
        clock: Timestamp,
    ) -> Self {
        Self {
            protocol: super::PROTOCOL,
            versions,
            machine_id: machine_id.into(),
            boot_id: String::new(),
            os_hostname: os_hostname.into(),
            clock,
            spool_id,
            first_seq: 1,
            last_seq: 0,
            running_jobs: Vec::new(),
            spooled_jobs: Vec::new(),
            claims: Vec::new(),
            schedule_version: 0,
        }
    }
}

/// A job that runs at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningJob {
    /// Which.
    pub job_id: JobId,
    /// When restic started.
    pub started_at: Timestamp,
}

/// A slot the agent took for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotClaim {
    /// The run.
    pub run: RunKey,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The job that does it.
    pub job_id: JobId,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The agent's wall clock.
    pub clock: Timestamp,
}

/// A schedule came due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleFire {
    /// Which.
    pub schedule_id: ScheduleId,
    /// The firing time.
    pub slot: Timestamp,
    /// How many older slots passed without a run and are given up.
    pub missed: u64,
}

/// The agent stored a plan and works by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleAck {
    /// Its version.
    pub schedule_version: i64,
}

/// The agent will not run a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRefused {
    /// Which.
    pub job_id: JobId,
    /// Why.
    pub reason: RefusedReason,
}

/// Why an agent will not run a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum RefusedReason {
    /// Another job has that slot or did it already.
    SupersededBy {
        /// That job.
        job_id: JobId,
    },
    /// Another job runs; this one waits again at the server.
    Busy {
        /// That job.
        job_id: JobId,
    },
    /// The everyday credential of the repository is not there.
    NoCredential,
    /// The admin credential of the repository is not there.
    NoAdminCredential,
    /// This agent cannot do jobs of that kind.
    UnknownKind,
    /// The agent cannot keep the job's files.
    NoSpace {
        /// What the operating system said.
        message: String,
    },
}

/// Restic is about to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStarted {
    /// Which.
    pub job_id: JobId,
    /// When, by the agent's clock.
    pub at: Timestamp,
    /// The run that the agent does on its own, without a command of the server; the server adopts the job by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<SlotClaim>,
}

impl JobStarted {
    /// The start of a job that the server asked for.
    pub const fn new(job_id: JobId, at: Timestamp) -> Self {
        Self { job_id, at, run: None }
    }
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Which.
    pub job_id: JobId,
    /// What restic said.
    pub progress: Progress,
}

/// Lines of a job's log, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBatch {
    /// Which job.
    pub job_id: JobId,
    /// The lines; `n` counts within the job.
    pub lines: Vec<LogLine>,
}

/// Lines that were given up for space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogGap {
    /// Which job.
    pub job_id: JobId,
    /// The number of the first missing line.
    pub from: u64,
    /// The number of the first line after the gap.
    pub to: u64,
}

/// A partial picture of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoStatsReport {
    /// The job after which it was taken.
    pub job_id: Option<JobId>,
    /// Which repository.
    pub repo_id: RepoId,
    /// Restic's own id of it, when this contact learned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restic_id: Option<ResticRepoId>,
    /// What is known.
    pub stats: RepoStats,
}

/// The host's snapshots in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotsReport {
    /// The job after which they were listed.
    pub job_id: Option<JobId>,
    /// Which repository.
    pub repo_id: RepoId,
    /// When they were listed, by the agent's clock.
    pub listed_at: Timestamp,
    /// How many there are of this host.
    pub total: u64,
    /// The newest of them, newest first; fewer than `total` when there are more than a report carries.
    pub snapshots: Vec<Snapshot>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFinished {
    /// Which.
    pub job_id: JobId,
    /// When restic ended, by the agent's clock.
    pub at: Timestamp,
    /// How.
    pub state: FinalState,
    /// In which class.
    pub class: OutcomeClass,
    /// The exit code of the command that did the work; none when it died of a signal or never started, be it that a question before it
    /// (whether the repository opens, say) was answered badly.
    pub exit_code: Option<i32>,
    /// In one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What it produced.
    pub summary: JobSummary,
    /// The run it did on its own, without a command of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<SlotClaim>,
}

impl JobFinished {
    /// The end of a job as [`classify`](crate::restic::classify) judged its restic: without a summary, an exit code or a run.
    pub fn of(job_id: JobId, outcome: &Outcome, at: Timestamp) -> Self {
        Self {
            job_id,
            at,
            state: outcome.class.into(),
            class: outcome.class,
            exit_code: None,
            message: outcome.message.clone(),
            hint: outcome.hint.clone(),
            summary: JobSummary::default(),
            run: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_fresh_agent_holds_nothing_and_says_who_it_is() {
        let versions = AgentVersions {
            agent: "0.1.0".into(),
            restic: None,
            restic_problem: Some("it is not there".into()),
            os: "linux".into(),
            arch: "x86_64".into(),
        };
        let spool = SpoolId::mint(NOW, [1; 10]);
        let hello = Hello::fresh("a machine", "web1", versions.clone(), spool, NOW);
        assert_eq!((hello.machine_id.as_str(), hello.os_hostname.as_str()), ("a machine", "web1"));
        assert_eq!((&hello.versions, hello.spool_id, hello.clock), (&versions, spool, NOW));
        assert_eq!(hello.first_seq, hello.last_seq + 1, "it holds no message");
        assert!(hello.running_jobs.is_empty() && hello.spooled_jobs.is_empty() && hello.claims.is_empty());
        assert_eq!((hello.protocol, hello.schedule_version), (crate::wire::PROTOCOL, 0));
    }

    #[test]
    fn the_end_of_a_job_says_what_its_outcome_says() {
        let job_id = JobId::mint(NOW, [1; 10]);
        for (class, state) in [
            (OutcomeClass::Ok, FinalState::Succeeded),
            (OutcomeClass::Partial, FinalState::Warning),
            (OutcomeClass::Locked, FinalState::Failed),
            (OutcomeClass::Cancelled, FinalState::Cancelled),
        ] {
            let outcome = Outcome {
                class,
                message: "what happened".into(),
                hint: Some("what to do".into()),
                unreadable_items: 0,
            };
            let finished = JobFinished::of(job_id, &outcome, NOW);
            assert_eq!((finished.job_id, finished.at), (job_id, NOW));
            assert_eq!((finished.class, finished.state), (class, state));
            assert_eq!((finished.message, finished.hint), (outcome.message, outcome.hint));
            assert_eq!((finished.exit_code, finished.run), (None, None));
        }
        let started = JobStarted::new(job_id, NOW);
        assert_eq!(started, JobStarted { job_id, at: NOW, run: None });
    }
}
