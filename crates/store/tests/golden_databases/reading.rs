//! Reads all of the golden fleet through the store's own methods.

use std::collections::BTreeSet;

use restic_manager_core::id::{HostId, RepoId, SpoolId};
use restic_manager_core::model::{AppendOnly, CredentialKind, Host, JobState, PendingCause, Role, RunState};
use restic_manager_core::pending::{Plan, Retry, Target};
use restic_manager_core::text::{DisplayName, LoginName};
use restic_manager_core::time::{DAY, HOUR, MINUTE};
use restic_manager_store::{
    AuditFilter, HostFilter, JobFilter, JobRow, PageRequest, RepoFilter, SnapshotFilter, Store, TakeSession,
};

use crate::fleet::{
    AGENT_TOKEN, API_TOKEN, COOKIE, OPEN_ENROLLMENT, PASSWORD_HASH, REVOKED_TOKEN, SPOOL, WAITING_KEY, sealed,
};
use crate::sample::{NOW, lines};
use crate::work::{LINES, MESSAGES, MESSAGES_OF_THE_FIRST, MISSED};

fn page() -> PageRequest {
    PageRequest::first(1_000)
}

/// Reads it all, and takes a session at the end: the spool goes on where it stood. What a schema did not know yet is not in its file.
pub(crate) async fn all(store: &dyn Store, schema: i64) {
    accounts(store).await;
    if schema >= 3 {
        announced(store).await;
    }
    let host = the_host(store).await;
    let archive = repos(store).await;
    attachments(store, host.id, archive).await;
    plan(store, host.id).await;
    if schema >= 3 {
        owed(store, host.id).await;
    }
    let jobs = jobs(store).await;
    log(store, &jobs).await;
    snapshots(store, host.id, archive).await;
    maintenance(store, archive).await;
    audit(store).await;
    assert_eq!(store.fact("installation").await.unwrap().as_deref(), Some("golden"));
    session(store, &host, &jobs, if schema >= 3 { MESSAGES } else { MESSAGES_OF_THE_FIRST }).await;
}

async fn accounts(store: &dyn Store) {
    assert!(store.has_users().await.unwrap());
    let ada = store.user_by_name(&LoginName::new("ada").unwrap()).await.unwrap().expect("the user");
    assert_eq!((ada.password_hash.as_str(), ada.created_at), (PASSWORD_HASH, NOW));
    let (session, user) = store.session(&COOKIE, NOW).await.unwrap().expect("the session");
    assert_eq!((session.user_id, session.expires_at, user.id), (ada.id, NOW + HOUR, ada.id));
    let (token, user) = store.token(&API_TOKEN).await.unwrap().expect("the token");
    assert_eq!((token.name.as_str(), token.last_used_at, user.id), ("scripts", Some(NOW + MINUTE), ada.id));
    let (revoked, _) = store.token(&REVOKED_TOKEN).await.unwrap().expect("the revoked token");
    assert_eq!(revoked.revoked_at, Some(NOW));
    assert_eq!(store.tokens(ada.id, page()).await.unwrap().items.len(), 2);
    let open = store.enrollment(&OPEN_ENROLLMENT).await.unwrap().expect("the enrolment token");
    assert_eq!((open.host_name.as_ref().map(DisplayName::as_str), open.used_at), (Some("wanted"), None));
}

async fn announced(store: &dyn Store) {
    let waiting = store.pending_host_by_key(&WAITING_KEY, NOW).await.unwrap().expect("the announcement");
    assert_eq!((waiting.facts.os_hostname.as_deref(), waiting.host_id), (Some("kiosk"), None));
}

async fn the_host(store: &dyn Store) -> Host {
    let hosts = store.hosts(&HostFilter::default(), page()).await.unwrap().items;
    let [host] = &hosts[..] else { panic!("{} hosts", hosts.len()) };
    assert_eq!((host.name.as_str(), host.tags[0].as_str()), ("Laptop", "office"));
    assert_eq!((host.limit_upload_kib, host.limit_download_kib), (Some(2_048), Some(4_096)));
    assert_eq!(host.facts.os_hostname.as_deref(), Some("laptop.example"));
    assert_eq!(host.facts.restic_version.as_deref(), Some("0.19.1"));
    assert_eq!(host.schedule_version_acked, 3);
    let by_token = store.host_by_agent_token(&AGENT_TOKEN).await.unwrap().expect("the agent's host");
    assert_eq!(&by_token, host);
    host.clone()
}

async fn repos(store: &dyn Store) -> RepoId {
    let repos = store.repos(&RepoFilter::default(), page()).await.unwrap().items;
    let names: Vec<&str> = repos.iter().map(|repo| repo.name.as_str()).collect();
    assert_eq!(names, ["Archive", "Copies"]);
    let archive = &repos[0];
    assert_eq!(archive.restic_id.as_ref().map(|id| id.as_str().to_owned()), Some("ab".repeat(32)));
    let stats = store.repo_stats(&[archive.id]).await.unwrap().remove(0);
    assert_eq!((stats.total_size_bytes, stats.snapshot_count), (Some(123_456_789_012), Some(2)));
    assert_eq!(stats.locks.map(|locks| locks[0].pid), Some(4_711));
    let days = store.stats_history(archive.id, NOW + -DAY).await.unwrap();
    assert_eq!(days.iter().map(|day| day.total_size_bytes).collect::<Vec<_>>(), [Some(123_456_789_012)]);
    archive.id
}

async fn attachments(store: &dyn Store, host: HostId, archive: RepoId) {
    let rows = store.attachments_of_host(host).await.unwrap();
    let roles: Vec<Role> = rows.iter().map(|row| row.attachment.role).collect();
    assert_eq!(roles, [Role::Primary, Role::Copy]);
    let primary = &rows[0];
    assert_eq!((primary.attachment.repo_id, primary.attachment.append_only), (archive, AppendOnly::No));
    for kind in [CredentialKind::Repo, CredentialKind::Admin] {
        let found = store.credential(primary.attachment.id, kind).await.unwrap();
        assert_eq!(found, Some(sealed(kind)));
    }
}

async fn plan(store: &dyn Store, host: HostId) {
    let plan = store.plan(host).await.unwrap().expect("the plan");
    let group = &plan.groups[0];
    assert_eq!((group.name.as_str(), group.tag.as_str()), ("Documents", "documents"));
    assert_eq!((group.includes[0].as_str(), group.excludes[0].as_str()), ("/home/zoë", "*.tmp"));
    assert_eq!(group.keep.daily.map(std::num::NonZeroU32::get), Some(7));
    assert!(group.options.exclude_caches);
    let schedule = &plan.schedules[0];
    assert_eq!((schedule.cron.as_str(), schedule.timezone.name()), ("30 2 * * *", "Europe/Berlin"));
    assert_eq!(schedule.group_ids, [group.id]);
    assert_eq!(store.enabled_schedules(&[host]).await.unwrap().len(), 1);
}

async fn owed(store: &dyn Store, host: HostId) {
    let rows = store.pending_of_hosts(&[host]).await.unwrap();
    let [row] = &rows[..] else { panic!("{} runs owe an attempt", rows.len()) };
    assert_eq!((row.owed.cause, row.owed.planned_at()), (PendingCause::Retryable, Some(NOW + MINUTE)));
    assert_eq!((row.schedule, row.target), (Plan::Enabled, Target::Attached));
    assert_eq!(row.retry, Some(Retry { max: 3, backoff_seconds: 60 }));
    assert_eq!((row.names.repo.as_str(), row.names.schedule.as_str()), ("Copies", "Nightly"));
    assert_eq!(row.last_message.as_deref(), Some("restic said so"));
    let plan = store.plan(host).await.unwrap().expect("the plan");
    assert_eq!(plan.schedules[0].missed.count, MISSED);
}

/// Jobs by id, newest first.
async fn jobs(store: &dyn Store) -> Vec<JobRow> {
    let jobs = store.jobs(&JobFilter::default(), page()).await.unwrap().items;
    let states: BTreeSet<&str> = jobs.iter().map(|row| row.job.state.as_str()).collect();
    let all: BTreeSet<&str> = JobState::ALL.iter().map(|state| state.as_str()).collect();
    assert_eq!(states, all);
    let gone = jobs.iter().filter(|row| row.host_name == "Scrapped").count();
    assert_eq!(gone, 1, "the history of a host that is gone keeps its name");
    let failed = jobs.iter().find(|row| row.job.state == JobState::Failed).unwrap();
    assert_eq!(failed.job.message.as_deref(), Some("restic said so"));
    assert_eq!(failed.job.summary.as_ref().and_then(|summary| summary.seconds), Some(1.5));
    assert_eq!(failed.job.intent.subset_pct, Some(10));
    let of_run = jobs.iter().find_map(|row| row.job.run_id).expect("a job of a run");
    let run = store.run(of_run).await.unwrap().expect("the run");
    assert_eq!((run.state, run.key.slot), (RunState::Open, NOW + 2 * HOUR));
    let view = store.admission_view().await.unwrap();
    assert_eq!((view.queued.len(), view.occupying.len()), (2, 2));
    jobs
}

async fn log(store: &dyn Store, jobs: &[JobRow]) {
    let check = jobs.iter().find(|row| row.job.state == JobState::Succeeded).unwrap();
    let log = store.log(check.job.id, 0, u32::MAX).await.unwrap();
    assert_eq!((log.lines, log.more), (lines(0, LINES), false));
}

async fn snapshots(store: &dyn Store, host: HostId, archive: RepoId) {
    let rows = store.snapshots(host, &SnapshotFilter::default(), page()).await.unwrap().items;
    let ids: Vec<&str> = rows.iter().map(|row| &row.snapshot.id.as_str()[..2]).collect();
    assert_eq!(ids, ["ef", "0f"]);
    assert_eq!((rows[0].repo_id, rows[0].snapshot.files), (archive, Some(5)));
    assert!(rows[0].group_id.is_some() && rows[1].group_id.is_none());
}

async fn maintenance(store: &dyn Store, archive: RepoId) {
    let row = store.maintenance(archive).await.unwrap().expect("the settings");
    let settings = row.settings.expect("they were set");
    assert_eq!((settings.policy.check_subset_pct, settings.keep_admin_credential), (5, Some(false)));
    assert_eq!(row.policy_since, [NOW; 3]);
    let view = store.maintenance_views(&[archive]).await.unwrap().remove(0);
    assert_eq!(view.check_errors_since, Some(NOW));
    assert!(view.last[2].is_some(), "the newest check");
    assert_eq!(view.forget[0].newest_snapshot_at, Some(NOW));
    let runner = view.runner.expect("the runner");
    assert!(runner.has_admin_creds && runner.only_host && runner.os_hostname_unique);
}

async fn audit(store: &dyn Store) {
    let rows = store.audit(&AuditFilter::default(), page()).await.unwrap().items;
    let actions: BTreeSet<&str> = rows.iter().map(|row| row.action.as_str()).collect();
    for action in ["user.created", "host.enrolled", "credential.put", "message.set_aside", "host.deleted"] {
        assert!(actions.contains(action), "{action} is missing");
    }
}

async fn session(store: &dyn Store, host: &Host, jobs: &[JobRow], messages: u64) {
    let running = jobs.iter().find(|row| row.job.state == JobState::Running).unwrap().job.id;
    let take = TakeSession {
        host_id: host.id,
        facts: host.facts.clone(),
        spool_id: SpoolId::mint(NOW, SPOOL),
        schedule_version: 3,
        known_jobs: vec![running],
        now: NOW + MINUTE,
        claims: Vec::new(),
    };
    let taken = store.take_session(take).await.unwrap().expect("the host");
    assert_eq!((taken.epoch, taken.committed_seq), (2, messages));
    assert_eq!((taken.lost.len(), taken.requeued.len()), (0, 1));
}
