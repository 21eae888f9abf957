//! Questions to restic: short commands whose answer is read whole.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
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
const STDOUT: &str = "answer.stdout";
const STDERR: &str = "answer.stderr";

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
/// Its outputs are files, as those of the main command: if the agent dies meanwhile, restic ends by itself and takes its lock away.
pub(crate) async fn ask(
    context: &Context,
    log: &mut JobLog,
    command: &Command,
    deadline: Duration,
    until: Until,
) -> Answer {
    let args = context.args(command);
    log.agent(format!("asking {}", shown(&context.restic.path, &args))).await;
    let (exit, sent) = match start(context, &args) {
        Ok(mut child) => {
            let (identity, started_at) = (identity_of(&child), now());
            let noted = identity.as_ref().filter(|_| command.takes_lock());
            if let Some(identity) = noted {
                context.runs.started(identity, started_at);
            }
            let ended = end(context, &mut child, identity.as_ref(), deadline, until).await;
            if let Some(identity) = noted {
                context.runs.ended(identity, started_at, now());
            }
            ended
        }
        Err(error) => {
            log.agent(format!("the question could not be asked: {error}")).await;
            (Exit::NotStarted, Sent::Nothing)
        }
    };
    let facts = read_stderr(&context.dir.join(STDERR), log).await;
    let ended =
        Ended { kind: command.kind(), capabilities: context.restic.capabilities, exit, sent, facts: &facts };
    let outcome = classify(&ended);
    let stdout = read_stdout(&context.dir.join(STDOUT)).unwrap_or_default();
    for name in [STDOUT, STDERR] {
        // Whoever removes the folder removes what is left.
        let _ = std::fs::remove_file(context.dir.join(name));
    }
    Answer { outcome, stdout }
}

fn start(context: &Context, args: &[String]) -> io::Result<Child> {
    let output = |name: &str| {
        let path = context.dir.join(name);
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
    };
    let mut command = tokio::process::Command::new(&context.restic.path);
    command.args(args).current_dir("/").process_group(0).stdin(Stdio::null());
    command.stdout(output(STDOUT)?).stderr(output(STDERR)?);
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

async fn read_stderr(path: &Path, log: &mut JobLog) -> Facts {
    let mut facts = Facts::default();
    let mut tail = Tail::new(path, 0);
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
fn read_stdout(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
