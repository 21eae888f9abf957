//! A small fleet to write about: hosts attached to repositories, jobs, lines.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test and benchmark uses part of it, and stops at the first fault"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use restic_manager_core::id::{
    AttachmentId, AuditId, EnrollmentId, GroupId, HostId, JobId, RepoId, RunId, ScheduleId,
};
use restic_manager_core::model::{
    Actor, AppendOnly, Attachment, AuditEntry, Host, HostFacts, Job, JobKind, LogLine, LogStream, Repo, Role,
    Run, RunKey, RunState,
};
use restic_manager_core::text::{DisplayName, ResticHost};
use restic_manager_core::time::{HOUR, Timestamp};
use restic_manager_store::{
    AttachmentChange, Effect, EnrollOutcome, EnrollmentRow, FiredRun, NumberedEffect, PutAttachment, Renamed,
    Store, TokenHash,
};

/// The moment at which everything happens.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

static MINTED: AtomicU64 = AtomicU64::new(0);

/// A new id, later than all before it.
pub(crate) fn mint<I>(of: fn(Timestamp, [u8; 10]) -> I) -> I {
    let number = MINTED.fetch_add(1, Ordering::Relaxed);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    of(NOW + i64::try_from(number).unwrap(), random)
}

/// A hash that no other has.
pub(crate) fn hash() -> TokenHash {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&MINTED.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    TokenHash(bytes)
}

/// An entry of the audit log.
pub(crate) fn audit(action: &str) -> AuditEntry {
    AuditEntry {
        id: mint(AuditId::mint),
        at: NOW,
        actor: Actor::system(),
        action: action.to_owned(),
        subject_kind: "sample".to_owned(),
        subject_id: String::new(),
        detail: serde_json::Map::new(),
    }
}

/// A new repository.
pub(crate) async fn repo(store: &dyn Store, name: &str) -> RepoId {
    let id = mint(RepoId::mint);
    let name = DisplayName::new(name).unwrap();
    let repo = Repo { id, name, restic_id: None, runner: None, created_at: NOW, revision: 0 };
    assert_eq!(store.create_repo(repo, audit("repo.created")).await.unwrap(), Renamed::Done);
    id
}

/// A new host, attached to the repository.
pub(crate) async fn host(store: &dyn Store, name: &str, repo_id: RepoId) -> HostId {
    let (enrollment, host_id) = (hash(), mint(HostId::mint));
    let row = EnrollmentRow {
        id: mint(EnrollmentId::mint),
        hash: enrollment,
        host_name: None,
        created_at: NOW,
        expires_at: NOW + HOUR,
        used_at: None,
        host_id: None,
    };
    store.create_enrollment(row, audit("enrollment.created")).await.unwrap();
    let host = Host {
        id: host_id,
        name: DisplayName::new(name).unwrap(),
        tags: Vec::new(),
        facts: HostFacts::default(),
        limit_upload_kib: None,
        limit_download_kib: None,
        created_at: NOW,
        last_seen_at: None,
        schedule_version: 1,
        schedule_version_acked: 0,
        revision: 0,
    };
    let enrolled = store.enroll(&enrollment, host, hash(), NOW, audit("host.enrolled")).await.unwrap();
    assert_eq!(enrolled, EnrollOutcome::Enrolled);
    let attachment = Attachment {
        id: mint(AttachmentId::mint),
        host_id,
        repo_id,
        role: Role::Primary,
        restic_host: ResticHost::new(host_id.to_string()).unwrap(),
        append_only: AppendOnly::Unknown,
        created_at: NOW,
    };
    let change = AttachmentChange { attachment, append_only: None, credential: None };
    assert_eq!(store.put_attachment(change, audit("attachment.put")).await.unwrap(), PutAttachment::Done);
    host_id
}

/// A job that waits.
pub(crate) fn job(host_id: HostId, repo_id: RepoId, kind: JobKind) -> Job {
    Job::queued(mint(JobId::mint), kind, host_id, repo_id, Actor::system(), NOW)
}

/// Runs of one schedule for as many groups, each at a slot of its own, with a job each that waits.
pub(crate) fn fires(host_id: HostId, repo_id: RepoId, count: usize) -> Effect {
    let schedule_id = mint(ScheduleId::mint);
    let fired = |n: usize| {
        let slot = NOW + i64::try_from(n).unwrap() * HOUR;
        let key = RunKey { schedule_id, group_id: mint(GroupId::mint), repo_id, slot };
        let run = Run {
            id: mint(RunId::mint),
            key,
            host_id,
            state: RunState::Open,
            attempt: 1,
            pending: None,
            why: None,
            created_at: NOW,
        };
        let job = Job { run_id: Some(run.id), slot: Some(slot), ..job(host_id, repo_id, JobKind::Backup) };
        FiredRun { run, job: Some(job) }
    };
    Effect::Fire { runs: (0..count).map(fired).collect(), missed: None }
}

/// Effects with the numbers from `first` on.
pub(crate) fn numbered(first: u64, effects: impl IntoIterator<Item = Effect>) -> Vec<NumberedEffect> {
    (first..).zip(effects).map(|(seq, effect)| NumberedEffect { seq, effect }).collect()
}

/// Lines as restic writes them about files.
pub(crate) fn lines(first: u64, count: usize) -> Vec<LogLine> {
    (first..)
        .take(count)
        .map(|n| LogLine {
            n,
            at: NOW + i64::try_from(n / 20).unwrap(),
            stream: LogStream::Stdout,
            text: format!(
                "unchanged /srv/data/projects/{:03}/src/module_{:05}.rs, saved in 0.00{} s",
                n % 97,
                n,
                n % 10
            ),
        })
        .collect()
}
