//! Questions to restic: short commands whose answer is read whole.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::Stdio;
use std::time::Duration;

use restic_manager_core::model::LogStream;
use restic_manager_core::restic::{
    Command, Ended, Exit, Facts, Outcome, OutcomeClass, Sent, StopReason, Stream, classify,
};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use super::context::{Context, shown};
use super::log::JobLog;
use crate::process::{ProcessIdentity, Tail, exit_of, now, set_environment};

/// The largest answer that is read: a list of some 100,000 snapshots.
const LARGEST: u64 = 64 << 20;

/// Where an answer goes.
struct Outputs {
    stdout: File,
    stderr: File,
}

/// What ends a question early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The deadline, or somebody who cancels the job.
    Cancelled,
    /// The deadline alone: cleaning up after a cancelled job.
    Deadline,
}

/// What restic answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Its standard output.
    pub(crate) stdout: String,
}

impl Answer {
    /// Its standard output, if it is complete.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub(crate) fn complete(&self) -> Result<&str, &Outcome> {
        match self.outcome.class {
            // A list without a damaged snapshot is still the list.
            OutcomeClass::Ok | OutcomeClass::Partial => Ok(&self.stdout),
            OutcomeClass::Locked
            | OutcomeClass::Unreachable
            | OutcomeClass::NoRepository
            | OutcomeClass::WrongPassword
            | OutcomeClass::AppendOnly
            | OutcomeClass::NoSpace
            | OutcomeClass::SourceMissing
            | OutcomeClass::ResticMissing
            | OutcomeClass::Cancelled
            | OutcomeClass::Killed
            | OutcomeClass::Unknown => Err(&self.outcome),
        }
    }
}

/// Asks restic, within `deadline`. What it says on standard error goes to the job's log.
///
/// Its outputs are files, as those of the main command: if the agent dies meanwhile, restic ends by itself and takes its
/// lock away, which a pipe would not let it do. They lie in memory, where a full disk cannot take the answer.
pub(crate) async fn ask(
    context: &Context,
    log: &mut JobLog,
    command: &Command,
    deadline: Duration,
    until: Until,
) -> Answer {
    let args = context.args(command);
    log.agent(format!("asking {}", shown(&context.restic.path, &args))).await;
    let started = Outputs::new().and_then(|outputs| Ok((start(context, &args, &outputs)?, outputs)));
    let (exit, sent, outputs) = match started {
        Ok((mut child, outputs)) => {
            let (identity, started_at) = (identity_of(&child), now());
            let noted = identity.as_ref().filter(|_| command.takes_lock());
            if let Some(identity) = noted {
                context.runs.started(identity, started_at);
            }
            let ended = end(context, &mut child, identity.as_ref(), deadline, until).await;
            if let Some(identity) = noted {
                context.runs.ended(identity, started_at, now());
            }
            (ended.0, ended.1, Some(outputs))
        }
        Err(error) => {
            log.agent(format!("the question could not be asked: {error}")).await;
            (Exit::NotStarted, Sent::Nothing, None)
        }
    };
    let (stdout, stderr) = outputs.map(|outputs| (outputs.stdout, outputs.stderr)).unzip();
    let facts = read_stderr(stderr, log).await;
    let ended =
        Ended { kind: command.kind(), capabilities: context.restic.capabilities, exit, sent, facts: &facts };
    let outcome = classify(&ended);
    let stdout = stdout.and_then(|stdout| read_stdout(stdout).ok()).unwrap_or_default();
    Answer { outcome, stdout }
}

impl Outputs {
    fn new() -> io::Result<Self> {
        Ok(Self { stdout: file_in_memory()?, stderr: file_in_memory()? })
    }
}

#[cfg(target_os = "linux")]
fn file_in_memory() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("answer", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// Where there are none, one without a name.
#[cfg(not(target_os = "linux"))]
fn file_in_memory() -> io::Result<File> {
    tempfile::tempfile()
}

fn start(context: &Context, args: &[String], outputs: &Outputs) -> io::Result<Child> {
    let mut command = tokio::process::Command::new(&context.restic.path);
    command.args(args).current_dir("/").process_group(0).stdin(Stdio::null());
    command.stdout(outputs.stdout.try_clone()?).stderr(outputs.stderr.try_clone()?);
    set_environment(&mut command, &context.environment);
    command.spawn()
}

fn identity_of(child: &Child) -> Option<ProcessIdentity> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).map(ProcessIdentity::of)
}

async fn end(
    context: &Context,
    child: &mut Child,
    identity: Option<&ProcessIdentity>,
    deadline: Duration,
    until: Until,
) -> (Exit, Sent) {
    let cancelled = match until {
        Until::Cancelled => context.cancel.clone(),
        Until::Deadline => CancellationToken::new(),
    };
    let reason = tokio::select! {
        exit = wait(child) => return (exit, Sent::Nothing),
        () = cancelled.cancelled() => StopReason::Cancel,
        () = tokio::time::sleep(deadline) => StopReason::Unreachable,
    };
    let signal = |sent| {
        if let Some(Err(error)) = identity.map(|identity| identity.signal(sent)) {
            tracing::warn!(%error, "cannot stop a question to restic");
        }
    };
    signal(Sent::SigInt(reason));
    if let Ok(exit) = tokio::time::timeout(context.times.query_grace, wait(child)).await {
        return (exit, Sent::SigInt(reason));
    }
    signal(Sent::SigKill(reason));
    (wait(child).await, Sent::SigKill(reason))
}

async fn wait(child: &mut Child) -> Exit {
    child.wait().await.map_or(Exit::Code(-1), exit_of)
}

async fn read_stderr(stderr: Option<File>, log: &mut JobLog) -> Facts {
    let mut facts = Facts::default();
    let Some(Ok(mut tail)) = stderr.map(Tail::of) else { return facts };
    loop {
        let line = match tail.next_line() {
            Ok(Some(line)) => Some(line),
            Ok(None) | Err(_) => tail.last_line(),
        };
        let Some(line) = line else { return facts };
        facts.observe(Stream::Stderr, &line.bytes);
        log.restic_aside(LogStream::Stderr, &line).await;
    }
}

/// An answer that is too large is cut, which no parser takes for whole.
fn read_stdout(mut stdout: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    stdout.rewind()?;
    stdout.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
