//! Maintenance of repositories: settings, what the decision looks at, and the commit of what was decided.

use async_trait::async_trait;
use restic_manager_core::api::StatsDay;
use restic_manager_core::id::{AttachmentId, JobId, RepoId};
use restic_manager_core::maintenance::{LastJob, MaintenanceKind, MaintenanceSettings};
use restic_manager_core::model::{
    AppendOnly, Attachment, AuditEntry, Host, Job, Repo, RepoStats, SourceGroup,
};
use restic_manager_core::time::Timestamp;

use crate::Result;

/// The settings of a repository's maintenance, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceRow {
    /// Which repository.
    pub repo_id: RepoId,
    /// What is set; none as long as nobody set anything.
    pub settings: Option<MaintenanceSettings>,
    /// Since when the cadences of forget, prune and check stand as they are: when the repository was made, or the setting was changed.
    pub policy_since: [Timestamp; 3],
    /// When the engine wants to look again without being told.
    pub wake_at: Option<Timestamp>,
}

/// The host that does a repository's maintenance: the named runner, else the oldest primary attachment, else the oldest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerRow {
    /// How it is attached.
    pub attachment: Attachment,
    /// The host.
    pub host: Host,
    /// Whether an admin credential is stored for that attachment.
    pub has_admin_creds: bool,
    /// Whether no other host of the repository has the same operating system name.
    pub os_hostname_unique: bool,
    /// Whether it is the only host attached.
    pub only_host: bool,
}

/// A source group with a retention policy, and the name its host's snapshots carry in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetGroupRow {
    /// The group.
    pub group: SourceGroup,
    /// How its host is attached, with the role primary or copy.
    pub attachment: Attachment,
    /// The time of its newest snapshot in the repository, as the agent last listed it.
    pub newest_snapshot_at: Option<Timestamp>,
}

/// All that is looked at when a repository's maintenance is decided, read at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceView {
    /// The repository, with the revision that the commit is bound to.
    pub repo: Repo,
    /// What is set.
    pub row: MaintenanceRow,
    /// The newest job of forget, prune and check in any state but superseded and withdrawn.
    pub last: [Option<LastJob>; 3],
    /// Who does it.
    pub runner: Option<RunnerRow>,
    /// The groups of all attached hosts that have a policy, by id.
    pub forget: Vec<ForgetGroupRow>,
    /// Since when a check's errors hold the prune; lifted by a passing check that covered at least as much, or by an operator.
    pub check_errors_since: Option<Timestamp>,
    /// What is known of the repository.
    pub stats: RepoStats,
}

/// What was decided for a repository.
#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceCommit {
    /// Which.
    pub repo_id: RepoId,
    /// Its revision in the view.
    pub repo_revision: i64,
    /// When to look again.
    pub wake_at: Option<Timestamp>,
    /// Jobs to put in the queue. One with the same kind, slot and attempt, or one of that kind that is not final, is there once; what was
    /// withdrawn or superseded gave its slot back for good, and previews stand apart.
    pub jobs: Vec<Job>,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaintenanceOutcome {
    /// Committed, with the ids of the jobs that were new.
    Done(Vec<JobId>),
    /// The repository changed since it was read: look again.
    Stale,
    /// There is no such repository.
    NotFound,
}

/// Maintenance of repositories.
///
/// Whatever may lift a hold or bring something forward sets the repository's `wake_at` to the present in its own commit, unless it is
/// earlier, and raises the repository's revision, so that no decision on an older view is committed over it: a hello of its
/// runner (`take_session`), a credential or an attachment of it that is written or removed, another runner, settings, a source group of
/// an attached host, and the end of any of its jobs. A poke may be lost, that may not.
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// The settings of a repository.
    async fn maintenance(&self, repo_id: RepoId) -> Result<Option<MaintenanceRow>>;
    /// Writes settings. A kind whose cadence, zone or enabled flag changed is anchored at `now`; with nothing set before, all are. False
    /// when there is no such repository.
    async fn put_maintenance(
        &self,
        repo_id: RepoId,
        settings: MaintenanceSettings,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<bool>;
    /// The repositories whose `wake_at` has come, longest waiting first, at most `limit`. Costs grow with what is due, not with the fleet,
    /// and no query is made per repository.
    async fn due_maintenance(&self, now: Timestamp, limit: u32) -> Result<Vec<MaintenanceView>>;
    /// The views of these repositories, in the order of `ids`; those that are gone are left out.
    async fn maintenance_views(&self, ids: &[RepoId]) -> Result<Vec<MaintenanceView>>;
    /// Commits decisions at the revisions that were read, each with its outcome in the order given. Each new job gets the audit row
    /// `job.asked` that `audit` makes of it.
    async fn commit_maintenance(
        &self,
        commits: &[MaintenanceCommit],
        audit: &(dyn for<'j> Fn(&'j Job) -> AuditEntry + Send + Sync),
    ) -> Result<Vec<MaintenanceOutcome>>;
    /// Lifts the hold that a check's errors put on prune; false when there is none.
    async fn lift_check_hold(&self, repo_id: RepoId, now: Timestamp, audit: AuditEntry) -> Result<bool>;
    /// Notes whether an attachment's everyday credential may delete.
    async fn note_append_only(&self, id: AttachmentId, append_only: AppendOnly, now: Timestamp)
    -> Result<()>;
    /// What was known at the end of each day since an instant, oldest first: one row a day at most, written when a size or a count is
    /// reported.
    async fn stats_history(&self, repo_id: RepoId, since: Timestamp) -> Result<Vec<StatsDay>>;
}

/// Since when the cadences stand as they are, after settings were written: a kind whose cadence, zone or enabled flag changed begins
/// anew. With nothing stored before, all do: nobody can say what they were.
pub(crate) fn anchored_since(
    since: [Timestamp; 3],
    before: Option<&MaintenanceSettings>,
    after: &MaintenanceSettings,
    now: Timestamp,
) -> [Timestamp; 3] {
    let mut anchored = since;
    for (kind, since) in MaintenanceKind::ALL.into_iter().zip(&mut anchored) {
        let same = before.is_some_and(|before| {
            before.policy.setting(kind) == after.policy.setting(kind)
                && before.policy.timezone == after.policy.timezone
        });
        if !same {
            *since = now;
        }
    }
    anchored
}
