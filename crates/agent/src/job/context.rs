//! What all steps of a job share.

use std::fs::DirBuilder;
use std::io;
use std::num::NonZeroU32;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use restic_manager_core::restic::{Command, Environment, GlobalOptions, OutcomeClass, RetryLock};
use restic_manager_core::text::ResticRepoId;
use restic_manager_core::wire::{AgentMessage, CommandRun, JobSpec};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ending::Ending;
use super::locks::Locks;
use super::log::JobLog;
use super::reports::Reports;
use super::runs::Runs;
use super::stored::{self, StoredJob};
use super::{JobOrder, JobTimes, Supervisor, backup};
use crate::process::now;
use crate::restic::ResticBinary;
use crate::state::write_atomically;

/// Where it is kept which part of its job a main command is.
const STEP: &str = "step";

/// What all steps of a job share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) command: CommandRun,
    pub(crate) restic: ResticBinary,
    pub(crate) environment: Environment,
    /// The repository this must be.
    pub(crate) expected: Option<ResticRepoId>,
    /// The repository this is, once seen.
    pub(crate) learned: Option<ResticRepoId>,
    /// Included paths that did not exist before the start.
    pub(crate) missing_includes: Vec<String>,
    pub(crate) dir: PathBuf,
    pub(crate) cache_dir: PathBuf,
    pub(crate) state_dir: PathBuf,
    pub(crate) supervisor: Supervisor,
    pub(crate) times: JobTimes,
    pub(crate) out: mpsc::Sender<AgentMessage>,
    pub(crate) cancel: CancellationToken,
    /// Which restic of this agent ran when.
    pub(crate) runs: Runs,
    /// What was seen of locks.
    pub(crate) locks: Locks,
    /// What is told behind the last log line.
    pub(crate) reports: Reports,
    /// How many main commands were started so far.
    pub(crate) started: u32,
    /// Which part of the job the next main command is, where a job has several.
    pub(crate) step: Option<usize>,
}

impl Context {
    /// Checks the order, makes the job's folder and writes the job down.
    pub(crate) async fn prepare(
        order: JobOrder,
        times: JobTimes,
        out: mpsc::Sender<AgentMessage>,
        cancel: CancellationToken,
        log: &mut JobLog,
    ) -> Result<Self, Ending> {
        let mut context = Self::resume(order, times, out, cancel)?;
        let unwritable = |error: io::Error| Ending::unwritable_folder(&error);
        stored::refuse_other_job(&context.dir, context.command.job_id)?;
        make_folder(&context.dir).map_err(unwritable)?;
        make_folder(&context.cache_dir).map_err(unwritable)?;
        log.keep_checkpoints(&context.dir);
        if let JobSpec::Backup(spec) = &context.command.spec {
            context.missing_includes = backup::missing_includes(&spec.includes, times.query).await;
        }
        let stored = StoredJob {
            command: context.command.clone(),
            accepted_at: now(),
            restic: context.restic.clone(),
            missing_includes: context.missing_includes.clone(),
        };
        let dir = context.dir.clone();
        let written = tokio::task::spawn_blocking(move || stored.write(&dir)).await;
        written.map_err(io::Error::other).flatten().map_err(unwritable)?;
        Ok(context)
    }

    /// The same for a job whose folder is there already.
    pub(crate) fn resume(
        order: JobOrder,
        times: JobTimes,
        out: mpsc::Sender<AgentMessage>,
        cancel: CancellationToken,
    ) -> Result<Self, Ending> {
        let environment = environment(&order)?;
        let restic = order.restic.map_err(|problem| Ending::no_restic(&problem))?;
        let state_dir = absolute(order.state_dir);
        Ok(Self {
            command: order.command,
            restic,
            environment,
            expected: order.restic_id,
            learned: None,
            missing_includes: Vec::new(),
            dir: absolute(order.dir),
            cache_dir: absolute(order.cache_dir),
            runs: Runs::of(&state_dir),
            state_dir,
            supervisor: order.supervisor,
            times,
            out,
            cancel,
            locks: Locks::default(),
            reports: Reports::default(),
            started: 0,
            step: None,
        })
    }

    /// The folder of the next main command: the job's own for the first, one below it for each further one.
    pub(crate) fn next_run(&mut self) -> io::Result<PathBuf> {
        self.started += 1;
        let dir = run_folder(&self.dir, self.started);
        make_folder(&dir)?;
        if let Some(step) = self.step {
            write_atomically(&dir.join(STEP), step.to_string().as_bytes())?;
        }
        Ok(dir)
    }

    /// The arguments of a command with the limits of this job.
    pub(crate) fn args(&self, command: &Command) -> Vec<String> {
        let global = GlobalOptions {
            retry_lock: u32::try_from(self.times.retry_lock.as_secs())
                .ok()
                .filter(|seconds| *seconds > 0)
                .map(RetryLock::seconds),
            limit_upload: self.command.limit_upload_kib.and_then(NonZeroU32::new),
            limit_download: self.command.limit_download_kib.and_then(NonZeroU32::new),
            ca_certificates: None,
        };
        command.args(self.restic.capabilities, &global)
    }

    pub(crate) async fn send(&self, message: AgentMessage) {
        super::send(&self.out, message).await;
    }
}

fn environment(order: &JobOrder) -> Result<Environment, Ending> {
    let refused = |why: String| {
        Ending::failed(OutcomeClass::Unknown, format!("the credential cannot be used: {why}"), "correct it")
    };
    let cache_dir = order.cache_dir.to_str().ok_or_else(|| refused("the cache folder is no text".into()))?;
    order.credential.environment(cache_dir).map_err(|error| refused(error.to_string()))
}

/// The folder of the nth main command of a job, counted from 1.
pub(crate) fn run_folder(job: &Path, n: u32) -> PathBuf {
    if n <= 1 { job.to_owned() } else { job.join(n.to_string()) }
}

/// Which part of its job a main command was.
pub(crate) fn read_step(run: &Path) -> Option<usize> {
    std::fs::read_to_string(run.join(STEP)).ok()?.parse().ok()
}

/// Restic runs in `/`.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// An argument list as a person would type it.
pub(crate) fn shown(program: &Path, args: &[String]) -> String {
    let quoted = args.iter().map(|arg| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%+@".contains(c);
        match !arg.is_empty() && arg.chars().all(plain) {
            true => arg.clone(),
            false => format!("'{}'", arg.replace('\'', r"'\''")),
        }
    });
    let mut words = vec![program.display().to_string()];
    words.extend(quoted);
    words.join(" ")
}
