//! A restic that only pretends: it takes its true lock, lasts, and ends as fate has it.

use restic_manager_core::id::JobId;
use restic_manager_core::model::JobKind;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::{HOUR, MINUTE, SECOND};

use crate::agent::{Host, Process};
use crate::fabric::{Event, Fabric};
use crate::history;
use crate::repos::hold_of;

impl Host {
    /// Starts the restic of a job.
    pub fn spawn(&mut self, job: JobId, fabric: &mut Fabric) {
        let Some(task) = self.disk.jobs.get_mut(&job) else { return };
        let number = fabric.history.processes.len();
        task.process = Some(number);
        let (kind, repo) = (task.kind, task.repo);
        let up = fabric.repos.is_up(repo);
        let locked = up && fabric.repos.lock(repo, number, self.id, hold_of(kind), fabric.now);
        let (lasts, end) = match (up, locked) {
            (false, _) => (2 * MINUTE, OutcomeClass::Unreachable),
            (true, false) => (fabric.dice.between(5 * SECOND, MINUTE), OutcomeClass::Locked),
            (true, true) => (duration(kind, fabric), outcome(kind, fabric)),
        };
        fabric.history.counts.processes += 1;
        fabric.history.processes.push(history::Process {
            host: self.id,
            repo,
            job,
            kind,
            run: task.run,
            sent: task.sent,
            from: fabric.wall().as_millis(),
            until: None,
            end: None,
            locked,
        });
        self.processes.insert(number, Process { job, ends_at: fabric.now + lasts, end, version: 0 });
        fabric.after(lasts, Event::ProcessEnds(self.at, number, 0));
    }

    /// Asks the restic of a job to stop.
    pub fn stop_process(&mut self, job: JobId, fabric: &mut Fabric) {
        if let Some(task) = self.disk.jobs.get_mut(&job) {
            task.cancelled = true;
        }
        let Some((number, process)) = self.processes.iter_mut().find(|(_, process)| process.job == job)
        else {
            return;
        };
        let wait = fabric.dice.between(SECOND, 20 * SECOND);
        if fabric.now + wait < process.ends_at {
            process.version += 1;
            (process.ends_at, process.end) = (fabric.now + wait, OutcomeClass::Cancelled);
            fabric.after(wait, Event::ProcessEnds(self.at, *number, process.version));
        }
    }

    /// A restic comes to its end, if it was not put off.
    pub fn process_ends(&mut self, number: usize, version: u64, fabric: &mut Fabric) {
        if !self.awake || self.processes.get(&number).is_none_or(|process| process.version != version) {
            return;
        }
        let Some(process) = self.processes.remove(&number) else { return };
        let record = &mut fabric.history.processes[number];
        // Whoever cannot reach the repository at its end has not made it.
        let class = match process.end {
            OutcomeClass::Ok | OutcomeClass::Partial if !fabric.repos.is_up(record.repo) => {
                OutcomeClass::Unreachable
            }
            class => class,
        };
        (record.until, record.end) = (Some(crate::when::BEGIN + fabric.now), Some(class));
        fabric.repos.unlock(record.repo, number);
        if let Some(task) = self.disk.jobs.get_mut(&process.job) {
            task.exit = Some(class);
        }
        if self.mind.is_some() {
            self.job_over(process.job, class, fabric);
            self.look(fabric);
        }
    }

    /// The machine went down: every restic dies, and its lock stays.
    pub fn kill_processes(&mut self, fabric: &mut Fabric) {
        for (number, _) in std::mem::take(&mut self.processes) {
            let record = &mut fabric.history.processes[number];
            record.until = Some(crate::when::BEGIN + fabric.now);
            fabric.repos.abandon(record.repo, number, fabric.now);
        }
    }

    /// The machine slept for so long: its restics end that much later.
    pub fn processes_slept(&mut self, slept: i64, fabric: &mut Fabric) {
        for (number, process) in &mut self.processes {
            process.ends_at += slept;
            process.version += 1;
            fabric.after(process.ends_at - fabric.now, Event::ProcessEnds(self.at, *number, process.version));
        }
    }
}

fn duration(kind: JobKind, fabric: &mut Fabric) -> i64 {
    let dice = &mut fabric.dice;
    match kind {
        JobKind::Backup if dice.chance(30) => dice.between(HOUR, 4 * HOUR),
        // Where little changed, a backup is over before a slow message comes in.
        JobKind::Backup if dice.chance(400) => dice.between(SECOND, 15 * SECOND),
        JobKind::Backup => dice.between(20 * SECOND, 12 * MINUTE),
        JobKind::Prune | JobKind::Check if dice.chance(200) => dice.between(HOUR, 5 * HOUR),
        JobKind::Prune | JobKind::Check => dice.between(2 * MINUTE, 40 * MINUTE),
        JobKind::Forget => dice.between(10 * SECOND, 3 * MINUTE),
        JobKind::Init | JobKind::Unlock | JobKind::Stats | JobKind::Restore | JobKind::Diff => {
            dice.between(SECOND, 30 * SECOND)
        }
    }
}

fn outcome(kind: JobKind, fabric: &mut Fabric) -> OutcomeClass {
    if kind == JobKind::Init || !fabric.troubled {
        return OutcomeClass::Ok;
    }
    match fabric.dice.between(0, 1_000) {
        0..15 => OutcomeClass::Killed,
        15..30 => OutcomeClass::SourceMissing,
        30..50 if kind == JobKind::Backup => OutcomeClass::Partial,
        _fine => OutcomeClass::Ok,
    }
}
