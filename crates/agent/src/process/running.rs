//! A process that runs, started by this agent or by an earlier one.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use restic_manager_core::restic::{Environment, Exit, Sent, is_inherited_removed};
use restic_manager_core::time::Timestamp;
use rustix::fs::{FlockOperation, flock};
use tokio::process::{Child, Command};

use super::record::{
    ChildRecord, ExitRecord, LOCK, Record, STDERR, STDOUT, SUPERVISOR_LOG, Spec, StopRecord, VOID,
};
use super::supervise::exit_of;
use super::{ProcessIdentity, Tail, now};
use crate::state::write_atomically;

/// Who waits for the process to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supervisor {
    /// This program, called as `<program> supervise <dir>`; the process outlives the agent. A program that names itself here begins its
    /// `main` with [`supervise_if_asked`](super::supervise_if_asked): one that does not know that call starts itself anew for each job.
    Program(PathBuf),
    /// The calling process itself; it kills the process when it drops the run.
    None,
}

/// What to start, and where its files go.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// The job's folder.
    pub dir: &'a Path,
    /// The program, absolute.
    pub program: &'a Path,
    /// Its arguments; no secret among them.
    pub args: &'a [String],
    /// Its environment, on top of what is inherited.
    pub environment: &'a Environment,
}

/// Why a process did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system could not run the program.
    #[error("{} could not be started: {why}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What the operating system said.
        why: String,
    },
    /// Something was started in the folder before: what that said would count as said by this one.
    #[error("the folder {} belongs to an earlier process", dir.display())]
    Used {
        /// The folder.
        dir: PathBuf,
    },
    /// The job's folder cannot be written.
    #[error("the job's folder cannot be written")]
    Folder(#[source] io::Error),
    /// The supervisor could not be run.
    #[error("the supervisor {} could not be started", program.display())]
    Supervisor {
        /// The supervisor.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The supervisor gave up before it started the program.
    #[error("the supervisor gave up: {0}")]
    GaveUp(String),
}

/// A process that runs, or ran.
#[derive(Debug)]
pub struct Running {
    dir: PathBuf,
    identity: ProcessIdentity,
    started_at: Timestamp,
    sent: Sent,
    waiter: Waiter,
}

/// What a folder of an earlier agent holds.
#[derive(Debug)]
pub enum Adopted {
    /// A process that runs, or ended meanwhile.
    Running(Running),
    /// Its program could not be started.
    NotStarted(ExitRecord),
    /// Nothing was ever started in it, and nothing will be.
    Nothing,
}

#[derive(Debug)]
enum Waiter {
    /// A supervisor that this process started and reaps; none once it is reaped.
    Supervisor(Option<Box<Child>>),
    /// The process is a child of this one.
    Own(Box<Child>, Instant),
    /// A supervisor that an earlier agent started.
    Foreign,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct End {
    /// Code or signal; none when nobody was there to see it.
    pub exit: Option<Exit>,
    /// When; when it was noticed, if nobody saw it.
    pub at: Timestamp,
    /// Seconds from its start to its end.
    pub seconds: f64,
}

/// How often the files of a start are looked at.
const START_POLL: Duration = Duration::from_millis(5);
/// How long an orphaned supervisor may take to start its process.
const ORPHAN_START: Duration = Duration::from_secs(30);

impl Running {
    /// Starts a process in its own group, with standard input closed and its outputs going to files in the job's folder, in which nothing
    /// was started before.
    ///
    /// Returns when the process runs and is written down.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then nothing runs.
    pub async fn start(launch: Launch<'_>, supervisor: &Supervisor) -> Result<Self, StartError> {
        if [STDOUT, STDERR, ChildRecord::NAME, ExitRecord::NAME]
            .iter()
            .any(|name| launch.dir.join(name).exists())
        {
            return Err(StartError::Used { dir: launch.dir.to_owned() });
        }
        match supervisor {
            Supervisor::Program(program) => start_supervised(launch, program).await,
            Supervisor::None => start_own(launch),
        }
    }

    /// Takes over what an earlier agent started in `dir`. It never starts anything, and sees to it that nothing starts later.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or a record in it is damaged.
    pub async fn adopt(dir: &Path) -> io::Result<Adopted> {
        let deadline = Instant::now() + ORPHAN_START;
        loop {
            // Without a child and with its supervisor gone, a supervisor that comes even later must find the folder void.
            let alone = declare_void_if_alone(dir)?;
            if let Some(child) = ChildRecord::read(dir)? {
                return Ok(Adopted::Running(Self::adopted(dir, child)?));
            }
            if let Some(record) = ExitRecord::read(dir)? {
                return Ok(Adopted::NotStarted(record));
            }
            if alone {
                return Ok(Adopted::Nothing);
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("its supervisor neither starts nor ends"));
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    fn adopted(dir: &Path, child: ChildRecord) -> io::Result<Self> {
        let sent = StopRecord::read(dir)?.map_or(Sent::Nothing, |stop| stop.sent);
        let ChildRecord { identity, started_at, .. } = child;
        Ok(Self { dir: dir.to_owned(), identity, started_at, sent, waiter: Waiter::Foreign })
    }

    /// Which process it is.
    pub const fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    /// The folder its files lie in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// When it was started.
    pub const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The strongest signal that was sent to it, by an earlier agent too.
    pub const fn sent(&self) -> Sent {
        self.sent
    }

    /// Its standard output from a byte on.
    pub fn stdout(&self, offset: u64) -> Tail {
        Tail::new(&self.dir.join(STDOUT), offset)
    }

    /// Its standard error from a byte on.
    pub fn stderr(&self, offset: u64) -> Tail {
        Tail::new(&self.dir.join(STDERR), offset)
    }

    /// How it ended; none while it runs. All it wrote stands in its files by then.
    pub fn try_end(&mut self) -> Option<End> {
        if let Waiter::Own(child, started) = &mut self.waiter {
            let seconds = started.elapsed().as_secs_f64();
            let exit = match child.try_wait() {
                Ok(None) => return None,
                Ok(Some(status)) => Some(exit_of(status)),
                Err(_) => None,
            };
            return Some(End { exit, at: now(), seconds });
        }
        if let Some(end) = self.recorded_end() {
            return Some(end);
        }
        // A lock that cannot be looked at is held by nobody we could wait for.
        if self.identity.is_alive() || is_supervised(&self.dir).unwrap_or(false) {
            return None;
        }
        // Both are gone; the record may have come between the two looks.
        Some(self.recorded_end().unwrap_or_else(|| {
            let (at, started_at) = (now(), self.started_at);
            let millis = u64::try_from(at.millis_since(started_at)).unwrap_or(0);
            End { exit: None, at, seconds: Duration::from_millis(millis).as_secs_f64() }
        }))
    }

    /// A record that cannot be read is as good as none: what restic said, or the repository, must then tell.
    fn recorded_end(&self) -> Option<End> {
        let record = ExitRecord::read(&self.dir).unwrap_or_default()?;
        Some(End { exit: Some(record.exit), at: record.at, seconds: record.seconds })
    }

    /// Returns early when the process probably ended; never, where nothing would tell. Cancel-safe.
    pub async fn woken(&mut self) {
        match &mut self.waiter {
            Waiter::Supervisor(supervisor) => {
                if let Some(child) = supervisor {
                    // Whatever it says: how the process ended stands in its record.
                    let _ = child.wait().await;
                    *supervisor = None;
                    return;
                }
            }
            Waiter::Own(child, _) => {
                let _ = child.wait().await;
                return;
            }
            Waiter::Foreign => {}
        }
        std::future::pending::<()>().await;
    }

    /// Writes down what is sent, and sends it to the process group. Nothing happens to a process that ended.
    ///
    /// # Errors
    ///
    /// The operating system refuses the signal.
    pub fn signal(&mut self, sent: Sent) -> io::Result<()> {
        self.sent = sent;
        // On a full disk the signal goes out all the same; only a later agent would not know of it.
        if let Err(error) = (StopRecord { sent, at: now() }).write(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot write down that a job is being stopped");
        }
        self.identity.signal(sent)
    }
}

async fn start_supervised(launch: Launch<'_>, program: &Path) -> Result<Running, StartError> {
    let Launch { dir, .. } = launch;
    let spec = Spec { program: launch.program.to_owned(), args: launch.args.to_vec() };
    spec.write(dir).map_err(StartError::Folder)?;
    let log = output(dir, SUPERVISOR_LOG).map_err(StartError::Folder)?;
    let mut command = Command::new(program);
    command.arg("supervise").arg(dir).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    set_environment(&mut command, launch.environment);
    let supervisor = command.spawn();
    let mut supervisor =
        supervisor.map_err(|source| StartError::Supervisor { program: program.to_owned(), source })?;
    loop {
        let gave_up = supervisor.try_wait().map_err(StartError::Folder)?;
        if let Some(child) = ChildRecord::read(dir).map_err(StartError::Folder)? {
            let ChildRecord { identity, started_at, .. } = child;
            let waiter = Waiter::Supervisor(Some(Box::new(supervisor)));
            return Ok(Running { dir: dir.to_owned(), identity, started_at, sent: Sent::Nothing, waiter });
        }
        if let Some(record) = ExitRecord::read(dir).map_err(StartError::Folder)? {
            return Err(not_started(launch.program, record.error.unwrap_or_default()));
        }
        if let Some(status) = gave_up {
            let said = std::fs::read_to_string(dir.join(SUPERVISOR_LOG)).unwrap_or_default();
            let said = said.trim().lines().last().map(str::to_owned);
            return Err(StartError::GaveUp(said.unwrap_or_else(|| match status.success() {
                true => format!(
                    "{} ended without supervising anything: it must know `supervise FOLDER`",
                    program.display()
                ),
                false => status.to_string(),
            })));
        }
        tokio::time::sleep(START_POLL).await;
    }
}

fn start_own(launch: Launch<'_>) -> Result<Running, StartError> {
    let Launch { dir, .. } = launch;
    let mut command = Command::new(launch.program);
    command.args(launch.args).current_dir("/").process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null());
    command.stdout(output(dir, STDOUT).map_err(StartError::Folder)?);
    command.stderr(output(dir, STDERR).map_err(StartError::Folder)?);
    set_environment(&mut command, launch.environment);
    let (started, started_at) = (Instant::now(), now());
    let child = command.spawn().map_err(|error| not_started(launch.program, error.to_string()))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let Some(pid) = pid else {
        return Err(not_started(launch.program, "it has no process id".to_owned()));
    };
    let identity = ProcessIdentity::of(pid);
    let record = ChildRecord { identity, supervisor_pid: std::process::id(), started_at };
    // Dropping the child on an error kills it.
    record.write(dir).map_err(StartError::Folder)?;
    let ChildRecord { identity, .. } = record;
    let waiter = Waiter::Own(Box::new(child), started);
    Ok(Running { dir: dir.to_owned(), identity, started_at, sent: Sent::Nothing, waiter })
}

fn not_started(program: &Path, why: String) -> StartError {
    StartError::Program { program: program.to_owned(), why }
}

fn output(dir: &Path, name: &str) -> io::Result<std::fs::File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join(name))
}

/// Takes away what is inherited of restic's own, and sets the rest.
pub(crate) fn set_environment(command: &mut Command, environment: &Environment) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_inherited_removed) {
            command.env_remove(name);
        }
    }
    for (name, value) in environment.variables() {
        command.env(name, value.expose());
    }
}

/// Whether a supervisor lives in the folder: it holds the lock as long as it does.
fn is_supervised(dir: &Path) -> io::Result<bool> {
    Ok(probe_lock(dir)?.is_none())
}

/// The lock, when nobody holds it.
fn probe_lock(dir: &Path) -> io::Result<Option<std::fs::File>> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn declare_void_if_alone(dir: &Path) -> io::Result<bool> {
    let Some(_lock) = probe_lock(dir)? else { return Ok(false) };
    if ChildRecord::read(dir)?.is_none() {
        write_atomically(&dir.join(VOID), b"")?;
    }
    Ok(true)
}
