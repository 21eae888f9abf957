//! What really happened, written down as it happens: the checker judges by it.

use std::collections::BTreeMap;

use restic_manager_core::id::{HostId, JobId, RepoId, ScheduleId, SpoolId};
use restic_manager_core::model::{JobKind, RunKey};
use restic_manager_core::restic::OutcomeClass;

use crate::when::Cadence;

/// A restic that ran.
#[derive(Debug, Clone)]
pub struct Process {
    /// Where.
    pub host: HostId,
    /// On what.
    pub repo: RepoId,
    /// For which job.
    pub job: JobId,
    /// What it did.
    pub kind: JobKind,
    /// The slot it was for.
    pub run: Option<RunKey>,
    /// Whether the server had sent it, or the agent began it by itself.
    pub sent: bool,
    /// From when, in milliseconds since 1970.
    pub from: i64,
    /// Until when.
    pub until: Option<i64>,
    /// How it ended; none while it runs, or when it was killed with its host.
    pub end: Option<OutcomeClass>,
    /// Whether it held a lock; one that found others in the way did not.
    pub locked: bool,
}

impl Process {
    /// Whether a snapshot is there because of it.
    pub fn made_snapshot(&self) -> bool {
        self.kind == JobKind::Backup && matches!(self.end, Some(OutcomeClass::Ok | OutcomeClass::Partial))
    }
}

/// How a schedule stood for a while.
#[derive(Debug, Clone)]
pub struct Version {
    /// From when.
    pub since: i64,
    /// When it fired; none while it was disabled.
    pub cadence: Option<Cadence>,
}

/// A schedule through its life.
#[derive(Debug, Clone)]
pub struct Life {
    /// Its host.
    pub host: usize,
    /// How many groups times repositories a slot has.
    pub targets: usize,
    /// How it stood, one after the other.
    pub versions: Vec<Version>,
}

/// The maintenance of a repository as it was set.
#[derive(Debug, Clone)]
pub struct Upkeep {
    /// The cadence of each kind.
    pub cadences: Vec<(JobKind, Cadence)>,
}

/// What happened how often.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Restic processes.
    pub processes: u64,
    /// Runs that agents began by themselves.
    pub own: u64,
    /// Crashes of the server.
    pub server_crashes: u64,
    /// Crashes of agents and hosts.
    pub agent_crashes: u64,
    /// Slots that ran twice.
    pub twice: u64,
    /// Runs that were given up.
    pub abandoned: u64,
    /// Slots that were counted as missed.
    pub missed: u64,
}

/// The true record of one history.
#[derive(Debug, Default)]
pub struct History {
    /// Every restic that ran.
    pub processes: Vec<Process>,
    /// Every schedule.
    pub schedules: BTreeMap<ScheduleId, Life>,
    /// Every repository.
    pub upkeep: BTreeMap<RepoId, Upkeep>,
    /// When agents were up on a machine that was awake: from, until.
    pub awake: BTreeMap<usize, Vec<(i64, i64)>>,
    /// When agents stored a plan.
    pub taken: BTreeMap<usize, Vec<i64>>,
    /// How many log lines each job wrote.
    pub lines: BTreeMap<JobId, u64>,
    /// The newest message of each spool that the server committed.
    pub committed: BTreeMap<(HostId, SpoolId), u64>,
    /// What was wrong at once.
    pub wrong: Vec<String>,
    /// How much there was of everything.
    pub counts: Counts,
    trace: Option<Vec<(i64, String)>>,
}

impl History {
    /// An empty one; with a trace it remembers every event in words.
    pub fn new(trace: bool) -> Self {
        Self { trace: trace.then(Vec::new), ..Self::default() }
    }

    /// Writes an event down, if anybody wants to read it.
    pub fn note(&mut self, now: i64, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push((now, what()));
        }
    }

    /// What was written down.
    pub fn trace(&self) -> &[(i64, String)] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// The server committed a message.
    pub fn commit(&mut self, host: HostId, spool: SpoolId, seq: u64) {
        let newest = self.committed.entry((host, spool)).or_insert(0);
        if seq > *newest + 1 {
            self.wrong.push(format!(
                "host {host}: message {seq} is committed, but {} never was: it is lost",
                *newest + 1
            ));
        }
        *newest = seq.max(*newest);
    }
}

impl Counts {
    /// Adds another history's.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.processes += other.processes;
        self.own += other.own;
        self.server_crashes += other.server_crashes;
        self.agent_crashes += other.agent_crashes;
        self.twice += other.twice;
        self.abandoned += other.abandoned;
        self.missed += other.missed;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} events, {} restics ({} begun by agents alone), {} crashes of the server, {} of agents and hosts, \
             {} slots missed, {} runs given up, {} slots run twice",
            self.events,
            self.processes,
            self.own,
            self.server_crashes,
            self.agent_crashes,
            self.missed,
            self.abandoned,
            self.twice
        )
    }
}
