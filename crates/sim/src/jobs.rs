//! Jobs on a host: taken, begun, ended, taken over from an earlier agent, as the real agent does it.

use restic_manager_core::duty::OwnRun;
use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::model::{
    CheckStatus, CredentialKind, FinalState, JobKind, JobSummary, LogLine, LogStream, RepoStats,
    ResticRepoId, RunKey,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::slots::{Claimant, Record, Standing, Verdict};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{
    AgentMessage, CommandRun, JobFinished, JobRefused, JobStarted, LogBatch, RefusedReason, RepoStatsReport,
    ScheduleAck, ServerMessage,
};

use crate::agent::Host;
use crate::fabric::Fabric;

/// The folder of a job.
#[derive(Debug, Clone)]
pub struct Task {
    /// Which job.
    pub job: JobId,
    /// What it does.
    pub kind: JobKind,
    /// On what.
    pub repo: RepoId,
    /// For which slot.
    pub run: Option<RunKey>,
    /// Whether the server sent it.
    pub sent: bool,
    /// Since when.
    pub since: Timestamp,
    /// Its restic.
    pub process: Option<usize>,
    /// How that ended, left by its supervisor.
    pub exit: Option<OutcomeClass>,
    /// It was asked to stop.
    pub cancelled: bool,
    log: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Data,
    Maintenance,
    Beside,
}

const fn lane(kind: JobKind) -> Lane {
    match kind {
        JobKind::Backup | JobKind::Init | JobKind::Restore => Lane::Data,
        JobKind::Forget | JobKind::Prune | JobKind::Check | JobKind::Stats | JobKind::Diff => {
            Lane::Maintenance
        }
        JobKind::Unlock => Lane::Beside,
    }
}

impl Host {
    /// What the server said.
    pub fn server_said(&mut self, message: ServerMessage, fabric: &mut Fabric) {
        match message {
            ServerMessage::Welcome(_) => {
                fabric.note(|| format!("{}: the session stands", self.name));
                self.welcomed(fabric);
            }
            ServerMessage::Ack(_) => {}
            ServerMessage::ConfigUpdate(update) => {
                let there = update.credential.is_some();
                let change = |set: &mut std::collections::BTreeSet<RepoId>, there: bool| {
                    if there { set.insert(update.repo_id) } else { set.remove(&update.repo_id) }
                };
                match (update.kind, update.keep) {
                    (CredentialKind::Repo, _) => change(&mut self.disk.credentials, there),
                    (CredentialKind::Admin, true) => change(&mut self.disk.admin, there),
                    (CredentialKind::Admin, false) => {
                        change(&mut self.disk.admin, false);
                        self.mind.as_mut().is_some_and(|mind| change(&mut mind.passing, there))
                    }
                };
            }
            ServerMessage::ScheduleSet(plan) => {
                let schedule_version = plan.schedule_version;
                if self.write() {
                    self.disk.plan = Some(*plan);
                    self.slots_changed();
                    let at = fabric.wall().as_millis();
                    fabric.history.taken.entry(self.at).or_default().push(at);
                    self.say(AgentMessage::ScheduleAck(ScheduleAck { schedule_version }));
                }
            }
            ServerMessage::CommandRun(command) => self.asked_to_run(&command, fabric),
            ServerMessage::CommandCancel(cancel) => self.asked_to_cancel(cancel.job_id, fabric),
            ServerMessage::Error(error) => {
                fabric.note(|| format!("{}: turned away: {}", self.name, error.code));
            }
        }
    }

    fn asked_to_run(&mut self, command: &CommandRun, fabric: &mut Fabric) {
        let Some(mind) = &self.mind else { return };
        let job = command.job_id;
        match mind.book.judge(job, command.run.as_ref(), command.attempt) {
            Verdict::Accept | Verdict::Repeat(Standing::Lost) => self.accept(command, fabric),
            Verdict::Repeat(standing) => self.repeat(job, standing),
            Verdict::SupersededBy(other) => {
                self.refuse(job, RefusedReason::SupersededBy { job_id: other }, fabric);
            }
        }
    }

    fn accept(&mut self, command: &CommandRun, fabric: &mut Fabric) {
        let (job, kind, repo) = (command.job_id, command.spec.kind(), command.repo_id);
        if let Some(other) = self.in_the_way(kind, repo) {
            return self.refuse(job, RefusedReason::Busy { job_id: other }, fabric);
        }
        let passing = self.mind.as_ref().is_some_and(|mind| mind.passing.contains(&repo));
        match command.requires_admin_creds {
            true if !passing && !self.disk.admin.contains(&repo) => {
                return self.refuse(job, RefusedReason::NoAdminCredential, fabric);
            }
            false if !self.disk.credentials.contains(&repo) => {
                return self.refuse(job, RefusedReason::NoCredential, fabric);
            }
            true | false => {}
        }
        let at = fabric.wall();
        let (run, attempt, by) = (command.run, command.attempt, Claimant::Server);
        self.record(Record::Claimed { job_id: job, run, attempt, at, by });
        self.begin(Task { run, ..task(job, kind, repo, at) }, fabric);
    }

    fn in_the_way(&self, kind: JobKind, repo: RepoId) -> Option<JobId> {
        let mind = self.mind.as_ref()?;
        let tasks = mind.lanes.iter().filter_map(|job| self.disk.jobs.get(job));
        let same: Vec<&Task> = tasks.filter(|task| lane(task.kind) == lane(kind)).collect();
        match lane(kind) {
            Lane::Data => same.first().map(|task| task.job),
            Lane::Maintenance => {
                let on_it = same.iter().find(|task| task.repo == repo);
                on_it.or(same.first().filter(|_| same.len() >= 2)).map(|task| task.job)
            }
            Lane::Beside => None,
        }
    }

    /// A run that nobody else does.
    pub fn begin_own(&mut self, own: OwnRun, fabric: &mut Fabric) {
        let there = self.disk.credentials.contains(&own.run.repo_id);
        if !there || self.in_the_way(JobKind::Backup, own.run.repo_id).is_some() {
            return;
        }
        let at = fabric.wall();
        let job = JobId::mint(at, fabric.dice.id_bytes());
        fabric.history.counts.own += 1;
        let (run, attempt, by) = (Some(own.run), own.attempt, Claimant::Agent);
        self.record(Record::Claimed { job_id: job, run, attempt, at, by });
        self.begin(Task { run, sent: false, ..task(job, JobKind::Backup, own.run.repo_id, at) }, fabric);
    }

    fn begin(&mut self, task: Task, fabric: &mut Fabric) {
        let job_id = task.job;
        fabric.note(|| {
            let slot = task.run.map_or_else(String::new, |run| format!(" for {}", run.slot));
            let whose = if task.sent { "takes" } else { "begins by itself" };
            format!("{}: {whose} {} {job_id}{slot}", self.name, task.kind.as_str())
        });
        if self.write() {
            self.disk.jobs.insert(job_id, task);
        }
        if let Some(mind) = &mut self.mind {
            mind.lanes.insert(job_id);
        }
        self.record(Record::Started { job_id });
        let run = self.mind.as_ref().and_then(|mind| mind.book.own_claim(job_id));
        self.say(AgentMessage::JobStarted(JobStarted { job_id, at: fabric.wall(), run }));
        if !self.dying {
            self.spawn(job_id, fabric);
        }
    }

    fn refuse(&mut self, job_id: JobId, reason: RefusedReason, fabric: &mut Fabric) {
        fabric.note(|| format!("{}: refuses {job_id}: {reason:?}", self.name));
        self.say(AgentMessage::JobRefused(JobRefused { job_id, reason }));
    }

    fn repeat(&mut self, job_id: JobId, standing: Standing) {
        match standing {
            Standing::Claimed | Standing::Lost => {}
            Standing::Running => {
                if let Some(task) = self.disk.jobs.get(&job_id) {
                    let at = task.since;
                    self.say(AgentMessage::JobStarted(JobStarted { job_id, at, run: None }));
                }
            }
            Standing::Ended(_) => self.say_end_again(job_id),
        }
    }

    fn say_end_again(&mut self, job_id: JobId) {
        let finished = self.disk.records.iter().rev().find_map(|record| match record {
            Record::Finished { finished } if finished.job_id == job_id => Some(finished.clone()),
            _other => None,
        });
        if let Some(finished) = finished {
            self.say(AgentMessage::JobFinished(finished));
        }
    }

    fn asked_to_cancel(&mut self, job_id: JobId, fabric: &mut Fabric) {
        let runs = self.mind.as_ref().is_some_and(|mind| mind.lanes.contains(&job_id));
        if runs {
            return self.stop_process(job_id, fabric);
        }
        if let Some(standing) = self.mind.as_ref().and_then(|mind| Some(mind.book.job(job_id)?.standing)) {
            self.repeat(job_id, standing);
        }
    }

    /// A restic of this agent's is over.
    pub fn job_over(&mut self, job_id: JobId, class: OutcomeClass, fabric: &mut Fabric) {
        let Some(task) = self.disk.jobs.get(&job_id).cloned() else { return };
        let at = fabric.wall();
        let lines: Vec<LogLine> = (0..task.log).map(|n| line(n, at)).collect();
        if !lines.is_empty() {
            fabric.history.lines.insert(job_id, task.log);
            self.say(AgentMessage::LogStream(LogBatch { job_id, lines }));
        }
        let touched = !matches!(class, OutcomeClass::Unreachable | OutcomeClass::Killed);
        if touched {
            let restic_id = ResticRepoId::new(format!("{:0>64}", hex(task.repo))).ok();
            let stats = RepoStats::default();
            let report = RepoStatsReport { job_id: Some(job_id), repo_id: task.repo, restic_id, stats };
            self.say(AgentMessage::RepoStats(report));
        }
        let run = self.mind.as_ref().and_then(|mind| mind.book.own_claim(job_id));
        let finished = Box::new(JobFinished {
            job_id,
            at,
            state: state_of(class),
            class,
            exit_code: None,
            message: format!("restic ended: {}", class.as_str()),
            hint: None,
            summary: summary_of(&task, class),
            run,
        });
        fabric.note(|| format!("{}: {} {job_id} ended: {}", self.name, task.kind.as_str(), class.as_str()));
        self.record(Record::Finished { finished: finished.clone() });
        self.say(AgentMessage::JobFinished(finished));
        self.leave(&task);
    }

    fn leave(&mut self, task: &Task) {
        if self.write() {
            self.disk.jobs.remove(&task.job);
        }
        if let Some(mind) = &mut self.mind {
            mind.lanes.remove(&task.job);
            mind.passing.remove(&task.repo);
        }
    }

    /// Finds what an earlier agent left.
    pub fn take_over(&mut self, fabric: &mut Fabric) {
        let tasks: Vec<Task> = self.disk.jobs.values().cloned().collect();
        for task in tasks {
            let standing = self.mind.as_ref().and_then(|mind| Some(mind.book.job(task.job)?.standing));
            if let Some(Standing::Ended(_)) = standing {
                self.say_end_again(task.job);
                self.leave(&task);
                continue;
            }
            let lives = task.process.is_some_and(|process| self.processes.contains_key(&process));
            if let Some(mind) = self.mind.as_mut().filter(|_| task.process.is_some()) {
                mind.lanes.insert(task.job);
            }
            match (task.exit, lives, task.process) {
                (Some(class), _, _) => self.job_over(task.job, class, fabric),
                (None, true, _) => {}
                (None, false, Some(_)) => self.job_over(task.job, OutcomeClass::Killed, fabric),
                (None, false, None) => self.leave(&task),
            }
        }
        let open = self.mind.as_ref().map_or_else(Vec::new, |mind| mind.book.open_jobs());
        for job_id in open {
            if self.mind.as_ref().is_some_and(|mind| !mind.lanes.contains(&job_id)) {
                fabric.note(|| format!("{}: {job_id} left no trace and is lost", self.name));
                self.record(Record::Lost { job_id, at: Some(fabric.wall()) });
            }
        }
    }
}

fn task(job: JobId, kind: JobKind, repo: RepoId, since: Timestamp) -> Task {
    let log = u64::from(job.as_bytes()[15] % 4);
    Task { job, kind, repo, run: None, sent: true, since, process: None, exit: None, cancelled: false, log }
}

fn line(n: u64, at: Timestamp) -> LogLine {
    LogLine { n, at, stream: LogStream::Stdout, text: format!("line {n}") }
}

fn hex(repo: RepoId) -> String {
    repo.to_string().replace('-', "")
}

const fn state_of(class: OutcomeClass) -> FinalState {
    match class {
        OutcomeClass::Ok => FinalState::Succeeded,
        OutcomeClass::Partial => FinalState::Warning,
        OutcomeClass::Cancelled => FinalState::Cancelled,
        OutcomeClass::Locked
        | OutcomeClass::Unreachable
        | OutcomeClass::NoRepository
        | OutcomeClass::WrongPassword
        | OutcomeClass::AppendOnly
        | OutcomeClass::NoSpace
        | OutcomeClass::SourceMissing
        | OutcomeClass::ResticMissing
        | OutcomeClass::Killed
        | OutcomeClass::Unknown => FinalState::Failed,
    }
}

fn summary_of(task: &Task, class: OutcomeClass) -> JobSummary {
    let well = matches!(class, OutcomeClass::Ok | OutcomeClass::Partial);
    let backup = task.kind == JobKind::Backup && well;
    let check = match (task.kind, class) {
        (JobKind::Check, OutcomeClass::Ok) => Some(CheckStatus::Ok),
        (JobKind::Check, OutcomeClass::Locked) => Some(CheckStatus::Locked),
        (JobKind::Check, _) => Some(CheckStatus::Failed),
        _other => None,
    };
    JobSummary { snapshot_id: backup.then(|| "a".repeat(64)), check, ..JobSummary::default() }
}
