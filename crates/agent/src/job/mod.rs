//! One job from its order to its end: what is asked of restic, what it says, and what came of it.
//!
//! [`run_job`] sends, in this order: `job.started`, `log.stream`*, `repo.stats`?, `snapshots.report`?, `job.finished`; `job.progress` at any
//! place between, at most once a second. There is exactly one `job.finished`, and it is the last message.
//!
//! Each kind of job is one file that says which question comes first, which command is the main one and what its end means;
//! the pump that reads restic, cancels it and watches its deadlines is the same for all.

mod ask;
mod backup;
mod check;
mod contact;
mod context;
mod ending;
mod evidence;
mod follow;
mod forget;
mod identity;
mod init;
mod locks;
mod log;
mod progress;
mod prune;
mod redact;
mod reports;
mod runs;
mod stats;
mod stored;
mod survey;
mod times;
mod unlock;

use std::path::PathBuf;

use restic_manager_core::model::{CredentialSecret, ResticRepoId};
use restic_manager_core::wire::{AgentMessage, CommandRun, JobFinished, JobSpec, JobStarted};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::process::{Adopted, Running, now};
use crate::restic::{ResticBinary, ResticProblem};
use context::Context;
use ending::Ending;
use follow::Ran;
use log::{JobLog, Position};
use redact::Redactor;
use reports::Reports;

pub use crate::process::{Supervisor, supervise_if_asked, supervise_main};
pub use stored::{StoredJob, read_stored_job};
pub use times::JobTimes;

/// All that a job needs.
#[derive(Debug, Clone)]
pub struct JobOrder {
    /// What the server, or the agent itself, asks for.
    pub command: CommandRun,
    /// What opens the repository.
    pub credential: CredentialSecret,
    /// Restic's own id of the repository, once known: a credential that opens another one is refused.
    pub restic_id: Option<ResticRepoId>,
    /// The job's own folder, absolute, new for each job; made with mode 0700. It holds restic's output as it was, until the caller removes it
    /// after having stored `job.finished`. A job in the folder of another one fails and starts nothing.
    pub dir: PathBuf,
    /// Restic's cache, absolute.
    pub cache_dir: PathBuf,
    /// The agent's state directory, absolute: left out of every backup, as the cache is. Holds when a repository was last measured.
    pub state_dir: PathBuf,
    /// Restic, or why there is none.
    pub restic: Result<ResticBinary, ResticProblem>,
    /// Who waits for restic.
    pub supervisor: Supervisor,
}

/// How a job ended: what was sent last, and what the contact taught.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEnd {
    /// The last message, as it was sent.
    pub finished: JobFinished,
    /// Restic's own id of the repository, when this contact learned it.
    pub restic_id: Option<ResticRepoId>,
}

/// Runs a job to its end. Never panics; whatever goes wrong is told by the `job.finished` it sends.
///
/// Dropping the future leaves a supervised restic running for [`resume_job`]. `cancel` stops restic gently, then by force.
///
/// Receive from `out` while this runs: nothing said is dropped, so that a full channel holds the job back, its cancelling included (restic itself
/// writes to files and waits for nobody). When the receiver is gone, the job goes on in silence.
pub async fn run_job(order: JobOrder, out: mpsc::Sender<AgentMessage>, cancel: CancellationToken) -> JobEnd {
    run_job_with(order, JobTimes::default(), out, cancel).await
}

/// [`run_job`] with other waiting times.
pub async fn run_job_with(
    order: JobOrder,
    times: JobTimes,
    out: mpsc::Sender<AgentMessage>,
    cancel: CancellationToken,
) -> JobEnd {
    let command = order.command.clone();
    send(&out, AgentMessage::JobStarted(JobStarted { job_id: command.job_id, at: now(), run: None })).await;
    let mut log = JobLog::new(command.job_id, Redactor::new(&order.credential), out.clone());
    let prepared = Context::prepare(order, times, out.clone(), cancel, &mut log).await;
    let concluded = match prepared {
        Ok(mut context) => {
            let ending = carry_out(&mut context, &mut log).await;
            round_off(context, &mut log, ending).await
        }
        Err(ending) => Concluded::early(&command, ending),
    };
    finish(&command, concluded, log, &out).await
}

/// Brings a job to its end that an earlier agent began with the same order: its restic still runs, or ended meanwhile.
///
/// The main command is never started again. `stored_lines` is what the caller has safely stored of the job: none when not even `job.started`, else the
/// number of its log lines; the log goes on exactly there. What follows is as with [`run_job`]; measuring and listing afterwards may
/// happen a second time.
pub async fn resume_job(
    order: JobOrder,
    stored_lines: Option<u64>,
    out: mpsc::Sender<AgentMessage>,
    cancel: CancellationToken,
) -> JobEnd {
    resume_job_with(order, stored_lines, JobTimes::default(), out, cancel).await
}

/// [`resume_job`] with other waiting times.
pub async fn resume_job_with(
    mut order: JobOrder,
    stored_lines: Option<u64>,
    times: JobTimes,
    out: mpsc::Sender<AgentMessage>,
    cancel: CancellationToken,
) -> JobEnd {
    let command = order.command.clone();
    let stored = read_stored_job(&order.dir).ok();
    if stored_lines.is_none() {
        let at = stored.as_ref().map_or_else(now, |stored| stored.accepted_at);
        send(&out, AgentMessage::JobStarted(JobStarted { job_id: command.job_id, at, run: None })).await;
    }
    let mut log = JobLog::new(command.job_id, Redactor::new(&order.credential), out.clone());
    if let Err(ending) = stored::refuse_other_job(&order.dir, command.job_id) {
        return finish(&command, Concluded::early(&command, ending), log, &out).await;
    }
    let read_to = log.resume(&order.dir, stored_lines.unwrap_or(0));
    // What was started decides, not what would be found on the host by now.
    if let Some(stored) = &stored {
        order.restic = Ok(stored.restic.clone());
    }
    let missing = stored.map(|stored| stored.missing_includes).unwrap_or_default();
    let concluded = match Context::resume(order, times, out.clone(), cancel) {
        Ok(mut context) => {
            let ending = pick_up(&mut context, &mut log, missing, read_to).await;
            round_off(context, &mut log, ending).await
        }
        Err(ending) => Concluded::early(&command, ending),
    };
    finish(&command, concluded, log, &out).await
}

async fn carry_out(context: &mut Context, log: &mut JobLog) -> Ending {
    match context.command.spec.clone() {
        JobSpec::Init => init::run(context, log).await,
        JobSpec::Backup(spec) => backup::run(context, log, &spec).await,
        JobSpec::Stats => stats::run(context, log).await,
        JobSpec::Forget(spec) => forget::run(context, log, &spec).await,
        JobSpec::Prune => prune::run(context, log).await,
        JobSpec::Check(spec) => check::run(context, log, spec).await,
        JobSpec::Unlock(spec) => unlock::run(context, log, spec).await,
    }
}

/// A main command of an earlier agent, followed to its end.
#[derive(Debug)]
struct Replayed {
    /// Which part of the job it was, where a job has several.
    step: Option<usize>,
    ran: Ran,
}

async fn pick_up(context: &mut Context, log: &mut JobLog, missing: Vec<String>, read_to: Position) -> Ending {
    log.keep_checkpoints(&context.dir);
    let mut replayed = Vec::new();
    let mut n = 1;
    loop {
        let dir = context::run_folder(&context.dir, n);
        if n > 1 && !dir.is_dir() {
            break;
        }
        let running = match Running::adopt(&dir).await {
            Ok(Adopted::Running(running)) => running,
            Ok(Adopted::NotStarted(record)) => {
                return Ending::not_started(&record.error.unwrap_or_default());
            }
            Ok(Adopted::Nothing) => break,
            Err(error) => return Ending::unreadable_folder(&error),
        };
        context.started = n;
        if n >= read_to.run {
            log.agent(format!("took over restic, process {}, from an earlier agent", running.identity().pid))
                .await;
        }
        let told = match n.cmp(&read_to.run) {
            std::cmp::Ordering::Less => Position::everything(n),
            std::cmp::Ordering::Equal => read_to,
            std::cmp::Ordering::Greater => Position { run: n, ..Position::default() },
        };
        let step = context::read_step(&dir);
        let ran = follow::adopted(context, log, running, missing.clone(), told).await;
        replayed.push(Replayed { step, ran });
        n += 1;
    }
    match replayed.last() {
        None => return Ending::never_began(),
        Some(last) => follow::release(context, log, &last.ran).await,
    }
    conclude(context, log, replayed).await
}

async fn conclude(context: &mut Context, log: &mut JobLog, mut replayed: Vec<Replayed>) -> Ending {
    if let JobSpec::Forget(spec) = context.command.spec.clone() {
        return forget::conclude(context, log, &spec, replayed).await;
    }
    // Those before the last one met a lock.
    let Some(Replayed { ran, .. }) = replayed.pop() else { return Ending::never_began() };
    match context.command.spec.clone() {
        JobSpec::Init => init::conclude(context, log, ran).await,
        JobSpec::Backup(spec) => backup::conclude(context, log, &spec, ran).await,
        JobSpec::Stats => stats::conclude(context, log, ran).await,
        JobSpec::Forget(spec) => forget::conclude(context, log, &spec, Vec::new()).await,
        JobSpec::Prune => prune::conclude(context, &ran),
        JobSpec::Check(spec) => check::conclude(context, spec, &ran),
        JobSpec::Unlock(_) => unlock::conclude(context, log, &ran).await,
    }
}

/// What holds for the end of every kind of job.
async fn round_off(mut context: Context, log: &mut JobLog, mut ending: Ending) -> Concluded {
    locks::explain(&mut context, log, &mut ending).await;
    ending.explain_append_only(&context.command);
    context.reports.add_locks(&context.locks);
    if let JobSpec::Check(spec) = context.command.spec {
        check::report(spec, &mut ending, &mut context.reports);
    }
    Concluded { ending, restic_id: context.learned, reports: context.reports }
}

/// All that is left to be told.
struct Concluded {
    ending: Ending,
    restic_id: Option<ResticRepoId>,
    reports: Reports,
}

impl Concluded {
    /// The job did not come so far as to have a context.
    fn early(command: &CommandRun, mut ending: Ending) -> Self {
        let mut reports = Reports::default();
        if let JobSpec::Check(spec) = command.spec {
            check::report(spec, &mut ending, &mut reports);
        }
        Self { ending, restic_id: None, reports }
    }
}

async fn finish(
    command: &CommandRun,
    concluded: Concluded,
    mut log: JobLog,
    out: &mpsc::Sender<AgentMessage>,
) -> JobEnd {
    let Concluded { ending, restic_id, reports } = concluded;
    let finished = ending.into_finished(command.job_id, |text| log.redact(text));
    // Every line of the log comes before the reports, and those before the end.
    log.flush().await;
    reports.tell(command, restic_id.clone(), out).await;
    send(out, AgentMessage::JobFinished(Box::new(finished.clone()))).await;
    JobEnd { finished, restic_id }
}

/// When nobody receives any more the agent is leaving; the job goes on all the same.
async fn send(out: &mpsc::Sender<AgentMessage>, message: AgentMessage) {
    let _ = out.send(message).await;
}
