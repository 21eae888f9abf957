//! What clauses begin with: hosts, repositories, jobs, and the voice of an agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use restic_manager_core::id::{
    AttachmentId, AuditId, EnrollmentId, GroupId, HostId, JobId, RepoId, RunId, ScheduleId, SpoolId, TokenId,
    UserId,
};
use restic_manager_core::model::{
    Actor, ActorKind, AppendOnly, Attachment, AuditEntry, BackupOptions, CredentialInfo, CredentialKind,
    FinalState, Host, HostFacts, Job, JobEvent, JobKind, JobState, JobSummary, LockOwner, LogLine, LogStream,
    MissedSoFar, Repo, ResticRepoId, Role, Run, RunKey, RunState, Schedule, SeenLock, SourceGroup,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::text::{DisplayName, LoginName, ResticHost, SourcePath, Tag};
use restic_manager_core::time::{HOUR, SECOND, Timestamp};

use crate::{
    Applied, AttachmentChange, Bootstrapped, DispatchIntent, DispatchOutcome, Effect, Enqueued,
    EnrollOutcome, EnrollmentRow, FiredRun, JobMove, Listed, MaintenanceView, NumberedEffect, PageRequest,
    PlanWritten, PutAttachment, PutCredential, Renamed, Result, SealedCredential, Store, TakeSession,
    TakenSession, TokenHash, TokenRow, UserRow,
};

/// The store a clause is held against.
pub(super) type Subject = Arc<dyn Store>;

static MINTED: AtomicU64 = AtomicU64::new(0);

fn number() -> u64 {
    MINTED.fetch_add(1, Ordering::Relaxed)
}

/// An instant: seconds after a fixed one.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * SECOND)
}

/// A new id, later than all before it.
pub(super) fn mint<I>(of: fn(Timestamp, [u8; 10]) -> I) -> I {
    let number = number();
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    of(at(0) + i64::try_from(number).unwrap(), random)
}

/// A hash that no other has.
pub(super) fn hash() -> TokenHash {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number().to_be_bytes());
    TokenHash(bytes)
}

/// An audit entry that no other equals.
pub(super) fn audit(action: &str) -> AuditEntry {
    let mut detail = serde_json::Map::new();
    detail.insert("name".to_owned(), "Zoë's \"web\" 🦀".into());
    detail.insert("nested".to_owned(), serde_json::json!({ "list": [1, null, true] }));
    AuditEntry {
        id: mint(AuditId::mint),
        at: at(0),
        actor: Actor { kind: ActorKind::User, name: "ada".to_owned() },
        action: action.to_owned(),
        subject_kind: "thing".to_owned(),
        subject_id: number().to_string(),
        detail,
    }
}

/// The actions in the audit log, oldest first.
pub(super) async fn actions(store: &Subject) -> Vec<String> {
    let listed = store.audit(&crate::AuditFilter::default(), PageRequest::first(10_000)).await.unwrap();
    listed.items.into_iter().rev().map(|row| row.action).collect()
}

pub(super) fn name(text: &str) -> DisplayName {
    DisplayName::new(text).unwrap()
}

pub(super) fn user(login: &str) -> UserRow {
    UserRow {
        id: mint(UserId::mint),
        name: LoginName::new(login).unwrap(),
        password_hash: "$argon2id$".to_owned(),
        created_at: at(0),
    }
}

/// The first user.
pub(super) async fn first_user(store: &Subject) -> UserRow {
    let user = user("ada");
    let made = store.create_first_user(user.clone(), audit("user.created")).await.unwrap();
    assert_eq!(made, Bootstrapped::Created);
    user
}

pub(super) fn token(user: &UserRow, text: &str) -> TokenRow {
    TokenRow {
        id: mint(TokenId::mint),
        hash: hash(),
        user_id: user.id,
        name: name(text),
        created_at: at(0),
        expires_at: at(1_000),
        last_used_at: None,
        revoked_at: None,
    }
}

pub(super) fn enrollment() -> EnrollmentRow {
    EnrollmentRow {
        id: mint(EnrollmentId::mint),
        hash: hash(),
        host_name: Some(name("wanted")),
        created_at: at(0),
        expires_at: at(0) + HOUR,
        used_at: None,
        host_id: None,
    }
}

pub(super) fn host(text: &str) -> Host {
    Host {
        id: mint(HostId::mint),
        name: name(text),
        tags: Vec::new(),
        facts: HostFacts::default(),
        limit_upload_kib: None,
        limit_download_kib: None,
        created_at: at(0),
        last_seen_at: None,
        schedule_version: 1,
        schedule_version_acked: 0,
        revision: 0,
    }
}

/// Enrols this host.
pub(super) async fn enrolled_as(store: &Subject, host: &Host) -> TokenHash {
    let row = enrollment();
    let (key, agent_token) = (row.hash, hash());
    store.create_enrollment(row, audit("enrollment.created")).await.unwrap();
    let outcome = store.enroll(&key, host.clone(), agent_token, at(1), audit("host.enrolled")).await.unwrap();
    assert_eq!(outcome, EnrollOutcome::Enrolled);
    agent_token
}

/// A new host of that name.
pub(super) async fn enrolled(store: &Subject, text: &str) -> Host {
    let host = host(text);
    enrolled_as(store, &host).await;
    host
}

pub(super) fn repo(text: &str) -> Repo {
    Repo {
        id: mint(RepoId::mint),
        name: name(text),
        restic_id: None,
        runner: None,
        created_at: at(0),
        revision: 0,
    }
}

/// A new repository of that name.
pub(super) async fn made_repo(store: &Subject, text: &str) -> Repo {
    let repo = repo(text);
    assert_eq!(store.create_repo(repo.clone(), audit("repo.created")).await.unwrap(), Renamed::Done);
    repo
}

pub(super) fn restic_id(digit: char) -> ResticRepoId {
    ResticRepoId::new(digit.to_string().repeat(64)).unwrap()
}

pub(super) fn attachment(host: &Host, repo: &Repo, role: Role) -> Attachment {
    let id: AttachmentId = mint(AttachmentId::mint);
    Attachment {
        id,
        host_id: host.id,
        repo_id: repo.id,
        role,
        restic_host: ResticHost::new(format!("h-{}", host.id)).unwrap(),
        append_only: AppendOnly::Unknown,
        created_at: at(0),
    }
}

pub(super) fn change(attachment: Attachment) -> AttachmentChange {
    AttachmentChange { attachment, append_only: None, credential: None }
}

/// Attaches a host to a repository.
pub(super) async fn attached(store: &Subject, host: &Host, repo: &Repo, role: Role) -> Attachment {
    let attachment = attachment(host, repo, role);
    let put = store.put_attachment(change(attachment.clone()), audit("attachment.put")).await.unwrap();
    assert_eq!(put, PutAttachment::Done);
    attachment
}

pub(super) fn credential(kind: CredentialKind, revision: i64) -> SealedCredential {
    SealedCredential {
        info: CredentialInfo {
            kind,
            url: "rest:https://backup.example/r".to_owned(),
            rest_user: Some("u".to_owned()),
            has_rest_password: true,
            env_names: vec!["AWS_ACCESS_KEY_ID".to_owned()],
            revision,
            updated_at: at(revision),
        },
        blob: vec![0, 255, u8::try_from(revision).unwrap()],
    }
}

pub(super) fn group(host: &Host, text: &str) -> SourceGroup {
    SourceGroup {
        id: mint(GroupId::mint),
        host_id: host.id,
        name: name(text),
        tag: Tag::new(format!("tag-{}", number())).unwrap(),
        includes: vec![SourcePath::new("/srv").unwrap()],
        excludes: Vec::new(),
        options: BackupOptions::default(),
        keep: KeepPolicy::default(),
        retry_max: 3,
        retry_backoff_seconds: 60,
        created_at: at(0),
        updated_at: at(0),
    }
}

/// A new source group of a host that keeps a snapshot of each of seven days.
pub(super) async fn kept_group(store: &Subject, host: &Host, text: &str) -> SourceGroup {
    let keep = KeepPolicy { daily: std::num::NonZeroU32::new(7), ..KeepPolicy::default() };
    let group = SourceGroup { keep, ..group(host, text) };
    let written = store.create_group(group.clone(), audit("group.created")).await.unwrap();
    assert!(matches!(written, PlanWritten::Done(_)), "{written:?}");
    group
}

/// Stores the first admin credential of an attachment.
pub(super) async fn admin_of(store: &Subject, attachment: &Attachment) {
    let admin = credential(CredentialKind::Admin, 1);
    let put = store.put_credential(attachment.id, admin, audit("credential.put")).await.unwrap();
    assert_eq!(put, PutCredential::Done);
}

/// What is looked at when the maintenance of a repository is decided.
pub(super) async fn view(store: &Subject, repo: &Repo) -> MaintenanceView {
    let mut views = store.maintenance_views(&[repo.id]).await.unwrap();
    assert_eq!(views.len(), 1, "one view for one repository");
    views.remove(0)
}

/// A new source group of a host.
pub(super) async fn made_group(store: &Subject, host: &Host, text: &str) -> SourceGroup {
    let group = group(host, text);
    let written = store.create_group(group.clone(), audit("group.created")).await.unwrap();
    assert!(matches!(written, PlanWritten::Done(_)), "{written:?}");
    group
}

pub(super) fn schedule(host: &Host, text: &str, groups: &[&SourceGroup]) -> Schedule {
    Schedule {
        id: mint(ScheduleId::mint),
        host_id: host.id,
        name: name(text),
        cron: "30 2 * * *".parse().unwrap(),
        timezone: "Europe/Berlin".parse().unwrap(),
        enabled: true,
        group_ids: groups.iter().map(|group| group.id).collect(),
        repo_ids: None,
        created_at: at(0),
        updated_at: at(0),
        missed: MissedSoFar::default(),
    }
}

/// A new schedule of a host.
pub(super) async fn made_schedule(
    store: &Subject,
    host: &Host,
    text: &str,
    groups: &[&SourceGroup],
) -> Schedule {
    let schedule = schedule(host, text, groups);
    let written = store.create_schedule(schedule.clone(), audit("schedule.created")).await.unwrap();
    assert!(matches!(written, PlanWritten::Done(_)), "{written:?}");
    schedule
}

/// A host that is attached to a repository of its own.
pub(super) async fn tied(store: &Subject, text: &str) -> (Host, Repo) {
    let host = enrolled(store, text).await;
    let repo = made_repo(store, &format!("repo of {text}")).await;
    attached(store, &host, &repo, Role::Primary).await;
    (host, repo)
}

pub(super) fn job(kind: JobKind, host: &Host, repo: &Repo) -> Job {
    let ada = Actor { kind: ActorKind::User, name: "ada".to_owned() };
    Job::queued(mint(JobId::mint), kind, host.id, repo.id, ada, at(10))
}

/// A backup job of a group.
pub(super) fn backup(host: &Host, repo: &Repo, group: &SourceGroup) -> Job {
    Job { group_id: Some(group.id), ..job(JobKind::Backup, host, repo) }
}

/// Asks for this job.
pub(super) async fn asked(store: &Subject, job: Job) -> JobId {
    let id = job.id;
    let enqueued = store.enqueue(job, audit("job.asked")).await.unwrap();
    assert!(matches!(&enqueued, Enqueued::Created(made) if made.id == id), "{enqueued:?}");
    id
}

/// A job of that kind that waits.
pub(super) async fn queued(store: &Subject, kind: JobKind, host: &Host, repo: &Repo) -> JobId {
    asked(store, job(kind, host, repo)).await
}

/// What dispatches this job, at the revisions of this moment.
pub(super) async fn intent(store: &Subject, id: JobId) -> DispatchIntent {
    let view = store.admission_view().await.unwrap();
    let waiting = view.queued.into_iter().find(|queued| queued.job.id == id).expect("the job waits");
    DispatchIntent { job_id: id, host_revision: waiting.host_revision, repo_revision: waiting.repo_revision }
}

/// Dispatches a job that waits.
pub(super) async fn dispatch(store: &Subject, id: JobId) {
    let intents = [intent(store, id).await];
    let outcome = store.dispatch(&intents, at(20)).await.unwrap();
    assert!(matches!(outcome[..], [DispatchOutcome::Dispatched(_)]), "{outcome:?}");
}

/// A job of that kind that is dispatched.
pub(super) async fn dispatched(store: &Subject, kind: JobKind, host: &Host, repo: &Repo) -> JobId {
    let id = queued(store, kind, host, repo).await;
    dispatch(store, id).await;
    id
}

pub(super) async fn job_now(store: &Subject, id: JobId) -> Job {
    store.job(id).await.unwrap().expect("the job is there").job
}

pub(super) async fn state_of(store: &Subject, id: JobId) -> JobState {
    job_now(store, id).await.state
}

pub(super) async fn host_now(store: &Subject, host: &Host) -> Host {
    store.host(host.id).await.unwrap().expect("the host is there")
}

/// The revisions of a host and a repository.
pub(super) async fn revisions(store: &Subject, host: &Host, repo: &Repo) -> (i64, i64) {
    let repo = store.repo(repo.id).await.unwrap().expect("the repository is there");
    (host_now(store, host).await.revision, repo.revision)
}

pub(super) fn run(
    host: &Host,
    repo: &Repo,
    group: &SourceGroup,
    schedule: &Schedule,
    slot: Timestamp,
) -> Run {
    Run {
        id: mint(RunId::mint),
        key: RunKey { schedule_id: schedule.id, group_id: group.id, repo_id: repo.id, slot },
        host_id: host.id,
        state: RunState::Open,
        attempt: 1,
        pending: None,
        why: None,
        created_at: at(10),
    }
}

/// A run that fired, with its first job.
pub(super) fn fired(run: &Run) -> FiredRun {
    let nightly = Actor { kind: ActorKind::Schedule, name: "nightly".to_owned() };
    let (host_id, repo_id) = (run.host_id, run.key.repo_id);
    let job = Job {
        group_id: Some(run.key.group_id),
        run_id: Some(run.id),
        slot: Some(run.key.slot),
        attempt: run.attempt,
        ..Job::queued(mint(JobId::mint), JobKind::Backup, host_id, repo_id, nightly, at(10))
    };
    FiredRun { run: run.clone(), job: Some(job) }
}

/// What an agent says at hello.
pub(super) fn hello(host: &Host, spool_id: SpoolId, known_jobs: &[JobId]) -> TakeSession {
    TakeSession {
        host_id: host.id,
        facts: HostFacts { os: Some("linux".to_owned()), ..HostFacts::default() },
        spool_id,
        schedule_version: 1,
        known_jobs: known_jobs.to_vec(),
        claims: Vec::new(),
        now: at(50),
    }
}

/// Takes a session of a host that is there.
pub(super) async fn session(store: &Subject, take: TakeSession) -> TakenSession {
    store.take_session(take).await.unwrap().expect("the host is there")
}

/// The voice of a host's agent: its spool, and the number of what it said last.
pub(super) struct Agent {
    store: Subject,
    host_id: HostId,
    pub(super) spool_id: SpoolId,
    pub(super) seq: u64,
}

impl Agent {
    pub(super) fn of(store: &Subject, host: &Host) -> Self {
        Self { store: Arc::clone(store), host_id: host.id, spool_id: mint(SpoolId::mint), seq: 0 }
    }

    /// Says something new.
    pub(super) async fn says(&mut self, effect: Effect) -> Applied {
        self.seq += 1;
        let mut applied = self.sends(vec![NumberedEffect { seq: self.seq, effect }]).await.unwrap();
        assert_eq!(applied.len(), 1, "one answer for one effect");
        applied.remove(0)
    }

    /// Sends a batch as it is.
    pub(super) async fn sends(&self, effects: Vec<NumberedEffect>) -> Result<Vec<Applied>> {
        self.store.apply(self.host_id, self.spool_id, effects, at(60)).await
    }

    /// Says that a job started.
    pub(super) async fn starts(&mut self, job_id: JobId) {
        assert_eq!(self.says(Effect::Started { job_id, at: at(30), adopt: None }).await, Applied::Done);
    }

    /// Says that a job ended.
    pub(super) async fn finishes(&mut self, job_id: JobId, state: FinalState) {
        assert_eq!(self.says(finished(job_id, state)).await, Applied::Done);
    }
}

/// Runs a job of the host to this end, at this instant of its clock.
pub(super) async fn ran(
    store: &Subject,
    host: &Host,
    job: Job,
    class: OutcomeClass,
    at: Timestamp,
    summary: JobSummary,
) -> JobId {
    let job_id = asked(store, job).await;
    dispatch(store, job_id).await;
    let state = if class == OutcomeClass::Ok { FinalState::Succeeded } else { FinalState::Failed };
    let end = Effect::Finished {
        adopt: None,
        job_id,
        at,
        state,
        class,
        exit_code: None,
        message: "over".to_owned(),
        hint: None,
        summary: Box::new(summary),
    };
    assert_eq!(Agent::of(store, host).says(end).await, Applied::Done);
    job_id
}

pub(super) fn finished(job_id: JobId, state: FinalState) -> Effect {
    let class = match state {
        FinalState::Succeeded => OutcomeClass::Ok,
        FinalState::Warning => OutcomeClass::Partial,
        FinalState::Failed => OutcomeClass::SourceMissing,
        FinalState::Cancelled => OutcomeClass::Cancelled,
    };
    Effect::Finished {
        adopt: None,
        job_id,
        at: at(40),
        state,
        class,
        exit_code: Some(0),
        message: "the backup is done".to_owned(),
        hint: Some("nothing to do".to_owned()),
        summary: Box::new(summary()),
    }
}

pub(super) fn summary() -> JobSummary {
    JobSummary {
        snapshot_id: Some("ab".repeat(32)),
        files_new: Some(3),
        bytes_processed: Some(u64::MAX / 4),
        missing_paths: vec!["/gone".to_owned()],
        seconds: Some(1.5),
        ..JobSummary::default()
    }
}

pub(super) fn line(n: u64, text: &str) -> LogLine {
    LogLine { n, at: at(30), stream: LogStream::Stderr, text: text.to_owned() }
}

/// All pages of a list, each of at most `limit` items.
pub(super) async fn all_pages<T>(limit: u32, read: impl AsyncFn(PageRequest) -> Result<Listed<T>>) -> Vec<T> {
    let mut items = Vec::new();
    let mut page = PageRequest::first(limit);
    for _ in 0..1_000 {
        let listed = read(page.clone()).await.unwrap();
        assert!(listed.items.len() <= limit as usize, "a page holds at most what was asked for");
        items.extend(listed.items);
        match listed.next {
            Some(next) => page.after = Some(next),
            None => return items,
        }
    }
    panic!("the list has no end");
}

/// Does the same thing in several tasks at once and answers what each of them got.
pub(super) async fn at_once<T, F>(tasks: usize, act: impl Fn(Subject, usize) -> F, store: &Subject) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let running: Vec<_> = (0..tasks).map(|task| tokio::spawn(act(Arc::clone(store), task))).collect();
    let mut answers = Vec::with_capacity(tasks);
    for task in running {
        answers.push(task.await.expect("the task ended"));
    }
    answers
}

/// A check of the host's repository that got to this state the way jobs get there.
pub(super) async fn job_in_state(store: &Subject, host: &Host, repo: &Repo, state: JobState) -> JobId {
    let id = queued(store, JobKind::Check, host, repo).await;
    let mut agent = Agent::of(store, host);
    match state {
        JobState::Queued => return id,
        JobState::Cancelled => {
            store.request_cancel(id, at(15), audit("job.cancelled")).await.unwrap();
            return id;
        }
        JobState::Dispatched
        | JobState::Running
        | JobState::Succeeded
        | JobState::Warning
        | JobState::Failed
        | JobState::Lost
        | JobState::Superseded
        | JobState::Withdrawn => dispatch(store, id).await,
    }
    match state {
        JobState::Queued | JobState::Cancelled | JobState::Dispatched => {}
        JobState::Running => agent.starts(id).await,
        JobState::Succeeded => agent.finishes(id, FinalState::Succeeded).await,
        JobState::Warning => agent.finishes(id, FinalState::Warning).await,
        JobState::Failed => agent.finishes(id, FinalState::Failed).await,
        JobState::Lost => moved(store, id, JobEvent::Lose).await,
        JobState::Superseded => moved(store, id, JobEvent::Supersede).await,
        JobState::Withdrawn => moved(store, id, JobEvent::Withdraw).await,
    }
    assert_eq!(state_of(store, id).await, state);
    id
}

async fn moved(store: &Subject, id: JobId, event: JobEvent) {
    let moved = store.move_job(id, event, "the clause wants it so", at(25), None).await.unwrap();
    assert_eq!(moved, JobMove::Moved(event.leads_to()));
}

/// A lock that nobody knows.
pub(super) fn lock(id: &str) -> SeenLock {
    SeenLock {
        id: id.to_owned(),
        hostname: "elsewhere".to_owned(),
        username: "root".to_owned(),
        pid: 4_711,
        exclusive: true,
        time: at(5),
        owner: LockOwner::Unknown,
    }
}
