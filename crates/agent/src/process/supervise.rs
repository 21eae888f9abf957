//! The supervisor: starts one process, writes down who it is, waits, writes down how it ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use restic_manager_core::restic::{Exit, Sent, StopReason};
use rustix::fs::{FlockOperation, flock};

use super::record::{ChildRecord, ExitRecord, LOCK, Record, Reserved, STDERR, STDOUT, Spec, VOID};
use super::{ProcessIdentity, now};

/// Supervises when this program was called as [`Supervisor::Program`](super::Supervisor::Program) is, `<program> supervise <dir>`, and tells with
/// which code it ends; none when it was called for anything else. For the first line of `main`.
pub fn supervise_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(word), Some(dir), None) if word == "supervise" => Some(supervise_main(Path::new(&dir))),
        _ => None,
    }
}

/// The whole life of the hidden subcommand `supervise <dir>`.
///
/// Runs what `spec.json` in `dir` says, with the environment it inherited, standard input closed and both outputs appended to
/// files in `dir`, as the leader of a process group of its own. Writes `child.json` before it waits and `exit.json` when
/// the process ended; both are synced. Signals that reach the agent's session or service do not end it. It starts nothing when `dir` already holds a
/// child, or was declared void by an agent that gave up on it.
///
/// Succeeds when the end was written down; says on standard error why not.
pub fn supervise_main(dir: &Path) -> ExitCode {
    match supervise(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is a file in `dir`; when that is full too, the exit code must do.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn supervise(dir: &Path) -> io::Result<()> {
    let Some(spec) = Spec::read(dir)? else {
        return Err(io::Error::other("there is nothing to supervise in this folder"));
    };
    leave_the_agents_session()?;
    let _alive = take_lock(dir)?;
    if ChildRecord::read(dir)?.is_some() || dir.join(VOID).exists() {
        return Err(io::Error::other("this process was started or given up before"));
    }
    let child_record = Reserved::new::<ChildRecord>(dir)?;
    let exit_record = Reserved::new::<ExitRecord>(dir)?;
    let mut command = command(&spec, dir)?;

    let (started, started_at) = (Instant::now(), now());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let error = Some(error.to_string());
            return exit_record.commit(&ExitRecord {
                exit: Exit::NotStarted,
                at: now(),
                seconds: 0.0,
                error,
            });
        }
    };
    drop(command);
    let identity = ProcessIdentity::of(i32::try_from(child.id()).map_err(io::Error::other)?);
    let record = ChildRecord { identity, supervisor_pid: std::process::id(), started_at };
    if let Err(error) = child_record.commit(&record) {
        // A process nobody knows of must not go on: it is asked to leave no lock behind.
        record.identity.signal(Sent::SigInt(StopReason::Cancel))?;
        child.wait()?;
        return Err(error);
    }
    let status = wait(&mut child)?;
    let seconds = started.elapsed().as_secs_f64();
    exit_record.commit(&ExitRecord { exit: exit_of(status), at: now(), seconds, error: None })
}

/// A session of its own keeps a terminal's signals away. Handlers, not SIG_IGN, catch the others: restic would inherit that
/// and no longer hear the SIGINT that cancels it.
fn leave_the_agents_session() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    // Refused only to a leader of a process group, who has its own already.
    let _ = rustix::process::setsid();
    for signal in [SIGHUP, SIGINT, SIGTERM, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

fn take_lock(dir: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

fn command(spec: &Spec, dir: &Path) -> io::Result<Command> {
    let output = |name: &str| OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join(name));
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(output(STDOUT)?).stderr(output(STDERR)?);
    Ok(command)
}

fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        match child.wait() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

pub(crate) fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}
