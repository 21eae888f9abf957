//! What the fleet did: jobs in every state, runs, logs, snapshots, and a host that is gone.

use restic_manager_core::id::{AttachmentId, GroupId, HostId, JobId, RepoId, RunId, ScheduleId};
use restic_manager_core::model::{
    Actor, AppendOnly, Attachment, CheckStatus, FinalState, Job, JobEvent, JobIntent, JobKind, JobState,
    JobSummary, LockOwner, RepoStats, Role, Run, RunKey, RunState, SeenLock, Snapshot, StatsKind,
};
use restic_manager_core::restic::{OutcomeClass, SnapshotId};
use restic_manager_core::text::ResticHost;
use restic_manager_core::time::{HOUR, MINUTE};
use restic_manager_store::{
    Applied, AttachmentChange, Becomes, Deleted, DispatchIntent, DispatchOutcome, Effect, Enqueued, FiredRun,
    JobMove, MissedSlots, NumberedEffect, PutAttachment, Settled, Settlement, Store,
};

use crate::fleet::{Fleet, Plan};
use crate::sample::{NOW, audit, lines, mint};

/// How many lines the log of the check that succeeded has.
pub(crate) const LINES: usize = 700;
/// How many reliable messages the laptop's agent sent.
pub(crate) const MESSAGES: u64 = 18;
/// How many there were before runs owed attempts, in files of the first schema.
pub(crate) const MESSAGES_OF_THE_FIRST: u64 = 15;
/// How many slots of the schedule passed without a run.
pub(crate) const MISSED: u64 = 4;

/// The laptop's agent, and the number of what it said last.
struct Voice<'a> {
    store: &'a dyn Store,
    fleet: &'a Fleet,
    seq: u64,
}

impl Voice<'_> {
    async fn says(&mut self, effect: Effect) {
        self.seq += 1;
        let effects = vec![NumberedEffect { seq: self.seq, effect }];
        let applied = self.store.apply(self.fleet.laptop, self.fleet.spool, effects, NOW).await.unwrap();
        assert_eq!(applied, [Applied::Done], "message {}", self.seq);
    }
}

/// Writes it all.
pub(crate) async fn write(store: &dyn Store, fleet: &Fleet, plan: &Plan) {
    let mut agent = Voice { store, fleet, seq: 0 };
    pending_run(&mut agent, plan).await;
    runs(&mut agent, plan.group).await;
    for state in JobState::ALL {
        job(&mut agent, state).await;
    }
    reports(&mut agent).await;
    let aside = Effect::SetAside { audit: audit("message.set_aside") };
    agent.says(aside).await;
    assert_eq!(agent.seq, MESSAGES);
}

/// A job that got to this state the way jobs get there. What ends is a check of the archive; what stays open is each of another kind, or
/// the store would answer with the one there is.
async fn job(agent: &mut Voice<'_>, state: JobState) {
    let kind = match state {
        JobState::Queued => JobKind::Prune,
        JobState::Dispatched => JobKind::Unlock,
        JobState::Running => JobKind::Stats,
        JobState::Succeeded
        | JobState::Warning
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Lost
        | JobState::Superseded
        | JobState::Withdrawn => JobKind::Check,
    };
    let intent = JobIntent { subset_pct: (kind == JobKind::Check).then_some(10), ..JobIntent::default() };
    let job = Job { intent, ..queued(kind, agent.fleet.laptop, agent.fleet.archive) };
    let id = asked(agent.store, job).await;
    match state {
        JobState::Queued => {}
        JobState::Cancelled => {
            agent.store.request_cancel(id, NOW, audit("job.cancelled")).await.unwrap();
        }
        JobState::Withdrawn => moved(agent.store, id, JobEvent::Withdraw).await,
        JobState::Dispatched => dispatch(agent.store, id).await,
        JobState::Superseded => {
            dispatch(agent.store, id).await;
            moved(agent.store, id, JobEvent::Supersede).await;
        }
        JobState::Running | JobState::Lost => {
            started(agent, id).await;
            if state == JobState::Lost {
                moved(agent.store, id, JobEvent::Lose).await;
            }
        }
        JobState::Succeeded => {
            started(agent, id).await;
            agent.says(Effect::Log { job_id: id, lines: lines(0, LINES) }).await;
            agent.says(Effect::LogGap { job_id: id, from: LINES as u64, to: 900 }).await;
            agent.says(finished(id, FinalState::Succeeded)).await;
        }
        JobState::Warning => {
            started(agent, id).await;
            agent.says(finished(id, FinalState::Warning)).await;
        }
        JobState::Failed => {
            started(agent, id).await;
            agent.says(finished(id, FinalState::Failed)).await;
        }
    }
    let found = agent.store.job(id).await.unwrap().expect("the job is there").job;
    assert_eq!(found.state, state);
}

async fn started(agent: &mut Voice<'_>, job_id: JobId) {
    dispatch(agent.store, job_id).await;
    agent.says(Effect::Started { job_id, at: NOW, adopt: None }).await;
}

fn queued(kind: JobKind, host_id: HostId, repo_id: RepoId) -> Job {
    Job::queued(mint(JobId::mint), kind, host_id, repo_id, Actor::system(), NOW)
}

async fn asked(store: &dyn Store, job: Job) -> JobId {
    let id = job.id;
    let made = store.enqueue(job, audit("job.asked")).await.unwrap();
    assert!(matches!(&made, Enqueued::Created(made) if made.id == id), "{made:?}");
    id
}

async fn dispatch(store: &dyn Store, id: JobId) {
    let view = store.admission_view().await.unwrap();
    let waiting = view.queued.iter().find(|waiting| waiting.job.id == id).expect("it waits");
    let (host_revision, repo_revision) = (waiting.host_revision, waiting.repo_revision);
    let intent = DispatchIntent { job_id: id, host_revision, repo_revision };
    let outcome = store.dispatch(&[intent], NOW).await.unwrap();
    assert!(matches!(outcome[..], [DispatchOutcome::Dispatched(_)]), "{outcome:?}");
}

async fn moved(store: &dyn Store, id: JobId, event: JobEvent) {
    let moved = store.move_job(id, event, "as the golden fleet wants it", NOW, None).await.unwrap();
    assert_eq!(moved, JobMove::Moved(event.leads_to()));
}

fn lock() -> SeenLock {
    SeenLock {
        id: "cd".repeat(32),
        hostname: "elsewhere".to_owned(),
        username: "root".to_owned(),
        pid: 4_711,
        exclusive: true,
        time: NOW,
        owner: LockOwner::Unknown,
    }
}

fn finished(job_id: JobId, state: FinalState) -> Effect {
    let (class, check) = match state {
        FinalState::Succeeded => (OutcomeClass::Ok, CheckStatus::Ok),
        FinalState::Warning => (OutcomeClass::Partial, CheckStatus::Ok),
        FinalState::Failed | FinalState::Cancelled => (OutcomeClass::Unreachable, CheckStatus::ErrorsFound),
    };
    let summary = JobSummary {
        check: Some(check),
        check_subset_pct: Some(10),
        seconds: Some(1.5),
        ..JobSummary::default()
    };
    Effect::Finished {
        adopt: None,
        job_id,
        at: NOW,
        state,
        class,
        exit_code: Some(0),
        message: "restic said so".to_owned(),
        hint: Some("look at the log".to_owned()),
        summary: Box::new(summary),
    }
}

/// A run that waits for its second attempt's job, and one that was missed.
async fn runs(agent: &mut Voice<'_>, group_id: GroupId) {
    let (host_id, repo_id) = (agent.fleet.laptop, agent.fleet.copies);
    let schedule_id = mint(ScheduleId::mint);
    let run = |state, why: Option<&str>, hours: i64| Run {
        id: mint(RunId::mint),
        key: RunKey { schedule_id, group_id, repo_id, slot: NOW + hours * HOUR },
        host_id,
        state,
        attempt: 1,
        pending: None,
        why: why.map(str::to_owned),
        created_at: NOW,
    };
    let missed = run(RunState::Missed, Some("the machine was asleep"), 1);
    let open = run(RunState::Open, None, 2);
    let job = Job {
        group_id: Some(group_id),
        run_id: Some(open.id),
        slot: Some(open.key.slot),
        ..queued(JobKind::Backup, host_id, repo_id)
    };
    let runs = vec![FiredRun { run: missed, job: None }, FiredRun { run: open, job: Some(job) }];
    agent.says(Effect::Fire { runs, missed: None }).await;
}

/// A run whose only attempt could not reach the copies, and whose next one is planned; it stands for slots that passed before it.
async fn pending_run(agent: &mut Voice<'_>, plan: &Plan) {
    let (host_id, repo_id) = (agent.fleet.laptop, agent.fleet.copies);
    let slot = NOW - HOUR;
    let run = Run {
        id: mint(RunId::mint),
        key: RunKey { schedule_id: plan.schedule, group_id: plan.group, repo_id, slot },
        host_id,
        state: RunState::Open,
        attempt: 1,
        pending: None,
        why: None,
        created_at: NOW,
    };
    let job = Job {
        group_id: Some(plan.group),
        run_id: Some(run.id),
        slot: Some(slot),
        ..queued(JobKind::Backup, host_id, repo_id)
    };
    let (run_id, job_id) = (run.id, job.id);
    let missed = Box::new(MissedSlots {
        schedule_id: plan.schedule,
        count: MISSED,
        until: slot,
        audit: audit("schedule.missed_slots"),
    });
    agent.says(Effect::Fire { runs: vec![FiredRun { run, job: Some(job) }], missed: Some(missed) }).await;
    started(agent, job_id).await;
    agent.says(finished(job_id, FinalState::Failed)).await;
    let owed = agent.store.pending_run(run_id).await.unwrap().expect("it owes an attempt").owed;
    let settlement = Settlement { run_id, owed, becomes: Becomes::Planned(NOW + MINUTE) };
    assert_eq!(agent.store.settle(vec![settlement], NOW).await.unwrap(), [Settled::Done]);
}

async fn reports(agent: &mut Voice<'_>) {
    let repo_id = agent.fleet.archive;
    let stats = RepoStats {
        total_size_bytes: Some(123_456_789_012),
        size_kind: Some(StatsKind::ReferencedData),
        uncompressed_bytes: Some(234_567_890_123),
        snapshot_count: Some(2),
        measured_at: Some(NOW),
        locks: Some(vec![lock()]),
        locks_seen_at: Some(NOW),
        ..RepoStats::default()
    };
    agent.says(Effect::Stats { repo_id, restic_id: None, stats }).await;
    let snapshots = vec![
        Snapshot {
            id: SnapshotId::new("ef".repeat(32)).unwrap(),
            time: NOW,
            hostname: "laptop".to_owned(),
            username: Some("root".to_owned()),
            tags: vec!["documents".to_owned()],
            paths: vec!["/home/zoë".to_owned()],
            size_bytes: Some(1_234),
            files: Some(5),
            added_bytes: Some(17),
        },
        Snapshot {
            id: SnapshotId::new("0f".repeat(32)).unwrap(),
            time: NOW + -HOUR,
            hostname: "laptop".to_owned(),
            username: None,
            tags: Vec::new(),
            paths: vec!["/".to_owned()],
            size_bytes: None,
            files: None,
            added_bytes: None,
        },
    ];
    agent.says(Effect::Snapshots { repo_id, listed_at: NOW, total: 2, snapshots }).await;
    agent.says(Effect::PlanAcked { schedule_version: 3 }).await;
}

/// A host that did one thing and was deleted: its history keeps its name.
pub(crate) async fn departed(store: &dyn Store, host_id: HostId, repo_id: RepoId) {
    let attachment = Attachment {
        id: mint(AttachmentId::mint),
        host_id,
        repo_id,
        role: Role::Copy,
        restic_host: ResticHost::new("scrapped").unwrap(),
        append_only: AppendOnly::Unknown,
        created_at: NOW,
    };
    let change = AttachmentChange { attachment, append_only: None, credential: None };
    assert_eq!(store.put_attachment(change, audit("attachment.put")).await.unwrap(), PutAttachment::Done);
    let id = asked(store, queued(JobKind::Init, host_id, repo_id)).await;
    moved(store, id, JobEvent::Withdraw).await;
    assert_eq!(store.delete_host(host_id, audit("host.deleted")).await.unwrap(), Deleted::Done);
}
