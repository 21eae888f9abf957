//! The pump: reads what restic's main command says until it ends, tells it, and stops it when it must be stopped.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use restic_manager_core::model::{JobKind, LogStream};
use restic_manager_core::restic::{
    Command, Counter, Ended, Exit, Facts, Kind, Line, Outcome, Progress, Sent, StopReason, Stream, classify,
    is_locked, parse_counter, retries_refused_delete,
};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, JobProgress, JobSpec};

use super::ask::Until;
use super::contact::Contact;
use super::context::{Context, shown};
use super::ending::Ending;
use super::locks;
use super::log::{JobLog, Position};
use super::progress::{Due, Throttle};
use crate::process::{End, Launch, RawLine, Running, Tail, now};

/// A main command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How and when.
    pub(crate) end: End,
    /// When it was started.
    pub(crate) started_at: Timestamp,
    /// What we sent to it.
    pub(crate) sent: Sent,
    /// What it said.
    pub(crate) facts: Facts,
    /// What it wrote to standard output besides progress: its begin.
    pub(crate) stdout: String,
    /// Where its outputs lie as they were.
    pub(crate) dir: PathBuf,
}

impl Ran {
    /// How it ended in words; `exit` where nobody saw the end.
    pub(crate) fn outcome(&self, context: &Context, kind: Kind, unseen: Exit) -> Outcome {
        classify(&self.ended(context, kind, unseen))
    }

    /// How it ended, for whoever judges.
    pub(crate) fn ended(&self, context: &Context, kind: Kind, unseen: Exit) -> Ended<'_> {
        Ended {
            kind,
            capabilities: context.restic.capabilities,
            exit: self.end.exit.unwrap_or(unseen),
            sent: self.sent,
            facts: &self.facts,
        }
    }

    fn met_a_lock(&self, context: &Context) -> bool {
        let Some(exit) = self.end.exit else { return false };
        self.sent == Sent::Nothing && is_locked(exit, context.restic.capabilities, &self.facts.stderr_tail)
    }
}

/// More than any main command answers, but a backup, and a forget, whose answer is read from its file.
const CAPTURED: usize = 256 * 1024;

/// Starts a main command and follows it to its end. One that a stale lock of ours kept out is started once more.
pub(crate) async fn run(context: &mut Context, log: &mut JobLog, command: &Command) -> Result<Ran, Ending> {
    let ran = once(context, log, command).await?;
    if !ran.met_a_lock(context) || !locks::clear(context, log, Until::Cancelled).await {
        return Ok(ran);
    }
    log.agent("the way is free: once more").await;
    let again = once(context, log, command).await?;
    if again.met_a_lock(context) {
        // What was seen before is gone; the end of the job looks again.
        context.locks.left = None;
    }
    Ok(again)
}

async fn once(context: &mut Context, log: &mut JobLog, command: &Command) -> Result<Ran, Ending> {
    if context.cancel.is_cancelled() {
        return Err(Ending::cancelled());
    }
    let args = context.args(command);
    let dir = context.next_run().map_err(|error| Ending::unwritable_folder(&error))?;
    let told = Position { run: context.started, ..Position::default() };
    // What an earlier command said is told by now.
    log.reached(told);
    log.agent(format!("running {}", shown(&context.restic.path, &args))).await;
    log.flush().await;
    let launch =
        Launch { dir: &dir, program: &context.restic.path, args: &args, environment: &context.environment };
    let running = Running::start(launch, &context.supervisor).await.map_err(Ending::start_failed)?;
    log.agent(format!("restic {} runs as process {}", context.restic.version, running.identity().pid)).await;
    let facts = Facts::with_missing_includes(context.missing_includes.iter().cloned());
    let ran = follow(context, log, running, facts, told).await;
    release(context, log, &ran).await;
    Ok(ran)
}

/// Follows what an earlier agent started in `dir`; what was told up to `told` is not told again.
pub(crate) async fn adopted(
    context: &mut Context,
    log: &mut JobLog,
    running: Running,
    missing_includes: Vec<String>,
    told: Position,
) -> Ran {
    follow(context, log, running, Facts::with_missing_includes(missing_includes), told).await
}

/// After our own SIGKILL the lock is still there; only if it is attested as ours it goes.
pub(crate) async fn release(context: &mut Context, log: &mut JobLog, ran: &Ran) {
    if let Sent::SigKill(_) = ran.sent {
        locks::clear(context, log, Until::Deadline).await;
    }
}

/// A question that is the main command of its job has a deadline; work has none.
fn deadline(context: &Context) -> Option<Duration> {
    match context.command.spec {
        JobSpec::Init
        | JobSpec::Backup(_)
        | JobSpec::Forget(_)
        | JobSpec::Prune
        | JobSpec::Check(_)
        | JobSpec::Unlock(_) => None,
        JobSpec::Stats => Some(context.times.query),
    }
}

async fn follow(
    context: &Context,
    log: &mut JobLog,
    mut running: Running,
    facts: Facts,
    told: Position,
) -> Ran {
    let started_at = running.started_at();
    context.runs.started(running.identity(), started_at);
    let mut pump = Pump::new(context, &running, facts, told);
    let end = loop {
        // Looked at before reading: all that restic wrote before its end is then read.
        let end = running.try_end();
        pump.read(context, log).await;
        if let Some(end) = end {
            break end;
        }
        pump.stop_if_needed(context, log, &mut running).await;
        pump.tell_progress(context).await;
        log.flush().await;
        pump.wait(context, &mut running).await;
    };
    pump.read_rest(log).await;
    context.runs.ended(running.identity(), started_at, end.at);
    if told != Position::everything(told.run) {
        log.agent(how_it_ended(&end)).await;
    }
    if is_full(&context.dir) {
        log.agent("the disk of the job's folder is full: what restic said last may be lost").await;
    }
    let (sent, dir) = (running.sent(), running.dir().to_owned());
    Ran { end, started_at, sent, facts: pump.facts, stdout: pump.captured, dir }
}

struct Pump {
    stdout: Tail,
    stderr: Tail,
    /// What an earlier agent told already: it is judged again, but not told again.
    told: Position,
    facts: Facts,
    captured: String,
    contact: Contact,
    throttle: Throttle,
    stop: Stop,
    deadline: Option<Instant>,
    delete_refused: bool,
    answers_in_json: bool,
}

enum Stop {
    NotNeeded,
    Asked { reason: StopReason, kill_at: Instant },
    Forced,
}

impl Pump {
    fn new(context: &Context, running: &Running, facts: Facts, told: Position) -> Self {
        let now = Instant::now();
        let stop = match running.sent() {
            Sent::Nothing => Stop::NotNeeded,
            Sent::SigInt(reason) => Stop::Asked { reason, kill_at: now + context.times.grace },
            Sent::SigKill(_) => Stop::Forced,
        };
        Self {
            // From the begin also after a crash: how restic ended is judged from all it said.
            stdout: running.stdout(0),
            stderr: running.stderr(0),
            told,
            facts,
            captured: String::new(),
            contact: Contact::new(&context.times),
            throttle: Throttle::new(context.times.progress_every),
            stop,
            deadline: deadline(context).map(|after| now + after),
            delete_refused: false,
            answers_in_json: context.command.spec.kind() == JobKind::Forget,
        }
    }

    /// Reads what is there by now.
    async fn read(&mut self, context: &Context, log: &mut JobLog) {
        while let Some(line) = next(&mut self.stdout) {
            self.stdout_line(log, &line).await;
        }
        self.tell_progress(context).await;
        while let Some(line) = next(&mut self.stderr) {
            self.stderr_line(log, &line).await;
        }
    }

    /// What restic wrote last without ending the line.
    async fn read_rest(&mut self, log: &mut JobLog) {
        if let Some(line) = self.stdout.last_line() {
            self.stdout_line(log, &line).await;
        }
        if let Some(line) = self.stderr.last_line() {
            self.stderr_line(log, &line).await;
        }
    }

    async fn stdout_line(&mut self, log: &mut JobLog, line: &RawLine) {
        let said = self.facts.observe(Stream::Stdout, &line.bytes);
        self.contact.heard(&for_contact(&said));
        if let Line::Progress(progress) = said {
            self.throttle.offer(redacted(progress, log));
            return;
        }
        if let Line::Text(text) = &said
            && let Some(counter) = parse_counter(text)
        {
            return self.count(counter);
        }
        // The answer of a forget may have megabytes; it is told in words.
        if self.answers_in_json && line.bytes.starts_with(b"[{") {
            return;
        }
        if self.captured.len() < CAPTURED {
            self.captured.push_str(&String::from_utf8_lossy(&line.bytes));
            self.captured.push('\n');
        }
        if self.stdout.consumed() > self.told.stdout {
            log.restic(LogStream::Stdout, line, self.position()).await;
        }
    }

    async fn stderr_line(&mut self, log: &mut JobLog, line: &RawLine) {
        let said = self.facts.observe(Stream::Stderr, &line.bytes);
        self.contact.complained(&said, Instant::now());
        if let Line::Text(text) = &said {
            self.delete_refused |= retries_refused_delete(text);
        }
        if self.stderr.consumed() > self.told.stderr {
            log.restic(LogStream::Stderr, line, self.position()).await;
        }
    }

    /// A text line of a second's pulse is progress, not a line of the log.
    fn count(&mut self, counter: Counter) {
        if let Some(percent) = counter.percent {
            self.throttle.offer(Progress { percent: percent.clamp(0.0, 100.0), ..Progress::default() });
        }
    }

    /// Never before what was told already.
    fn position(&self) -> Position {
        Position {
            run: self.told.run,
            stdout: self.stdout.consumed().max(self.told.stdout),
            stderr: self.stderr.consumed().max(self.told.stderr),
        }
    }

    async fn tell_progress(&mut self, context: &Context) {
        let message =
            |progress| AgentMessage::JobProgress(JobProgress { job_id: context.command.job_id, progress });
        match self.throttle.due(Instant::now()) {
            Some(Due::First(progress)) => context.send(message(progress)).await,
            // Lossy: a receiver that is busy misses it.
            Some(Due::Next(progress)) => drop(context.out.try_send(message(progress))),
            None => {}
        }
    }

    async fn stop_if_needed(&mut self, context: &Context, log: &mut JobLog, running: &mut Running) {
        let now = Instant::now();
        match self.stop {
            Stop::NotNeeded => {
                let Some((reason, why)) = self.reason_to_stop(context, now) else { return };
                let grace = context.times.grace;
                self.stop = Stop::Asked { reason, kill_at: now + grace };
                let seconds = grace.as_secs();
                log.agent(format!(
                    "{why}: sent SIGINT; restic has {seconds} s to end and take its lock away"
                ))
                .await;
                signal(log, running, Sent::SigInt(reason)).await;
            }
            Stop::Asked { reason, kill_at } if now >= kill_at => {
                self.stop = Stop::Forced;
                log.agent("restic did not end in time: sent SIGKILL").await;
                signal(log, running, Sent::SigKill(reason)).await;
            }
            Stop::Asked { .. } | Stop::Forced => {}
        }
    }

    fn reason_to_stop(&self, context: &Context, now: Instant) -> Option<(StopReason, &'static str)> {
        if context.cancel.is_cancelled() {
            return Some((StopReason::Cancel, "asked to stop"));
        }
        if self.delete_refused {
            return Some((
                StopReason::DeleteRefused,
                "the server refuses to delete, and asking again is no use",
            ));
        }
        if self.contact.is_lost(now) {
            return Some((StopReason::Unreachable, "the repository does not answer"));
        }
        let late = self.deadline.is_some_and(|deadline| now >= deadline);
        late.then_some((StopReason::Unreachable, "the answer takes too long"))
    }

    /// Until there may be something to read or to do.
    async fn wait(&self, context: &Context, running: &mut Running) {
        let may_be_cancelled = matches!(self.stop, Stop::NotNeeded);
        tokio::select! {
            () = tokio::time::sleep(context.times.poll) => {}
            () = running.woken() => {}
            () = context.cancel.cancelled(), if may_be_cancelled => {}
        }
    }
}

/// Restic counts on while nothing moves: only what was done tells that it reaches its repository.
fn for_contact(said: &Line) -> Cow<'_, Line> {
    match said {
        Line::Text(text) => match parse_counter(text) {
            Some(Counter { done, .. }) => {
                Cow::Owned(Line::Progress(Progress { bytes_done: done, ..Progress::default() }))
            }
            None => Cow::Borrowed(said),
        },
        Line::Progress(_)
        | Line::Summary(_)
        | Line::ItemError(_)
        | Line::Message(_)
        | Line::ExitError { .. }
        | Line::Other => Cow::Borrowed(said),
    }
}

/// A file that cannot be read at present is read at the next look.
fn next(tail: &mut Tail) -> Option<RawLine> {
    tail.next_line().unwrap_or_default()
}

fn redacted(mut progress: Progress, log: &JobLog) -> Progress {
    progress.current_files.iter_mut().for_each(|file| *file = log.redact(file));
    progress
}

async fn signal(log: &mut JobLog, running: &mut Running, sent: Sent) {
    if let Err(error) = running.signal(sent) {
        log.agent(format!("the signal could not be sent: {error}")).await;
    }
}

/// Whether there is no room left for what restic says at its end.
fn is_full(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < 64 * 1024)
}

fn how_it_ended(end: &End) -> String {
    let seconds = end.seconds;
    match end.exit {
        Some(Exit::Code(code)) => format!("restic ended with exit code {code} after {seconds:.1} s"),
        Some(Exit::Signal(number)) => format!("signal {number} ended restic after {seconds:.1} s"),
        Some(Exit::NotStarted) => "restic could not be started".to_owned(),
        None => format!("restic is gone and nobody saw how it ended; noticed at {}", now()),
    }
}
