//! The agent's runner alone: backs a folder up with restic, prints what it says as typed messages, and stops gently on Ctrl-C.
//!
//! ```text
//! RESTIC_PASSWORD=... cargo run -p restic-manager-examples --example run_restic -- /srv/repository /home /var/tmp/jobs
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use restic_manager_agent::job::{JobOrder, Supervisor, run_job, supervise_if_asked};
use restic_manager_agent::restic::ResticFinder;
use restic_manager_core::humane;
use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::model::{BackupOptions, CredentialSecret, FinalState};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{ResticHost, SourcePath, Tag};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, BackupSpec, CommandRun, JobFinished, JobSpec};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    // This program is also the supervisor of its restic, which therefore outlives it.
    if let Some(code) = supervise_if_asked() {
        return Ok(code);
    }
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [_, repository, source, jobs] => {
            let order = order(repository, source, &PathBuf::from(jobs)).await?;
            let finished = run(order).await?;
            Ok(match finished.state {
                FinalState::Succeeded => ExitCode::SUCCESS,
                FinalState::Warning => ExitCode::from(3),
                FinalState::Failed => ExitCode::FAILURE,
                FinalState::Cancelled => ExitCode::from(130),
            })
        }
        _ => Err("give a repository, a folder to back up, and a folder for the files of jobs".into()),
    }
}

async fn order(repository: &str, source: &str, jobs: &Path) -> Result<JobOrder, Box<dyn Error>> {
    let now = SystemTime::now();
    let at = Timestamp::from(now);
    let mut random = [0; 10];
    random[..4].copy_from_slice(&now.duration_since(UNIX_EPOCH)?.subsec_nanos().to_be_bytes()); // enough for one machine; a fleet asks its system
    let job_id = JobId::mint(at, random);
    let backup = BackupSpec {
        tag: Tag::new("example")?,
        includes: vec![SourcePath::new(source)?],
        excludes: Vec::new(),
        options: BackupOptions::default(),
    };
    let host = ResticHost::new("example-host")?;
    let mut command = CommandRun::standalone(job_id, RepoId::mint(at, random), host, JobSpec::Backup(backup));
    command.limit_upload_kib = std::env::var("LIMIT_UPLOAD_KIB").ok().and_then(|limit| limit.parse().ok());
    Ok(JobOrder {
        command,
        credential: CredentialSecret::new(repository, Secret::new(std::env::var("RESTIC_PASSWORD")?)),
        restic_id: None,
        dir: jobs.join(job_id.to_string()),
        cache_dir: jobs.join("cache"),
        state_dir: jobs.to_owned(),
        restic: ResticFinder::new(std::env::var_os("RESTIC").map(PathBuf::from)).find().await,
        supervisor: Supervisor::Program(std::env::current_exe()?),
    })
}

async fn run(order: JobOrder) -> Result<JobFinished, Box<dyn Error>> {
    let dir = order.dir.clone();
    let (out, mut messages) = mpsc::channel(64);
    let cancel = CancellationToken::new();
    let job = tokio::spawn(run_job(order, out, cancel.clone()));
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => tell(&message),
                None => break,
            },
            signal = tokio::signal::ctrl_c() => {
                signal?;
                println!("asked to stop");
                cancel.cancel();
            }
        }
    }
    let end = job.await?;
    // Until here everything could have been taken up again by `resume_job`.
    std::fs::remove_dir_all(dir)?;
    Ok(end.finished)
}

fn tell(message: &AgentMessage) {
    match message {
        AgentMessage::JobStarted(started) => println!("started at {}", started.at),
        AgentMessage::JobProgress(report) => {
            let progress = &report.progress;
            println!("progress {:.0} %, {} files", progress.percent, progress.files_done);
        }
        AgentMessage::LogStream(batch) => batch.lines.iter().for_each(|line| println!("log {}", line.text)),
        AgentMessage::LogGap(gap) => println!("log: lines {} to {} are missing", gap.from, gap.to),
        AgentMessage::RepoStats(report) => {
            println!("repository {}", report.restic_id.as_ref().map_or("?", |id| id.as_str()));
        }
        AgentMessage::SnapshotsReport(report) => println!("{}", humane::count(report.total, "snapshot")),
        AgentMessage::JobFinished(finished) => {
            println!("{:?}, {:?}: {}", finished.state, finished.class, finished.message);
            println!("snapshot: {}", finished.summary.snapshot_id.as_deref().unwrap_or("none"));
        }
        // What a whole agent says besides.
        AgentMessage::Hello(_)
        | AgentMessage::Heartbeat(_)
        | AgentMessage::ScheduleFire(_)
        | AgentMessage::ScheduleAck(_)
        | AgentMessage::JobRefused(_) => {}
    }
}
