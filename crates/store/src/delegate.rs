//! A store in front of another one. A method that a capability gains is added here; the compiler names it.

/// Implements capabilities of a [`Store`](crate::Store) by handing every call on to the store that a field holds.
///
/// For layers: measuring, tracing, or a capability of one's own beside those of another store. The named traits are implemented; the
/// others are yours. The field points to the store: an `Arc` or a `Box` of it. After the field, `before METHOD` names a method `fn METHOD(&self, verb: &'static str)` that is called first,
/// with words such as `Fleet::host`; it must not wait.
///
/// The type may have any name, `Store` and `Host` too. It cannot be generic: `Layer<S>` for every `S` cannot be written here. Hold an
/// `Arc<dyn Store>`, as below, or name one instance, such as `Layer<Arc<MemoryStore>>`.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use restic_manager_store::{MemoryStore, Store, delegate_store};
///
/// struct Counted {
///     inner: Arc<dyn Store>,
///     calls: AtomicU64,
/// }
///
/// impl Counted {
///     fn count(&self, _verb: &'static str) {
///         self.calls.fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// delegate_store!(Counted => inner before count: Accounts, Audit, Fleet, Glance, Maintenance, Meta, PendingHosts, PendingRuns, Plans, Reports, Work);
///
/// let counted = Counted { inner: Arc::new(MemoryStore::new()), calls: AtomicU64::new(0) };
/// let store: Arc<dyn Store> = Arc::new(counted);
/// ```
#[macro_export]
macro_rules! delegate_store {
    (@ $layer:ty, $inner:ident, $before:tt, $($capability:ident)+) => {
        const _: () = {
            // Named out here, where the caller's names mean what the caller means: the glob further in would hide a layer named as one of
            // the nouns.
            type DelegatingLayerOfTheCaller = $layer;
            const _: () = {
                #[allow(unused_imports, reason = "each capability needs its part")]
                use $crate::delegate::names::*;
                $($crate::delegate_one!($capability, DelegatingLayerOfTheCaller, $inner, $before);)+
            };
        };
    };
    ($layer:ty => $inner:ident: $($capability:ident),+ $(,)?) => {
        $crate::delegate_store!(@ $layer, $inner, (), $($capability)+);
    };
    ($layer:ty => $inner:ident before $before:ident: $($capability:ident),+ $(,)?) => {
        $crate::delegate_store!(@ $layer, $inner, ($before), $($capability)+);
    };
}

/// One capability.
#[doc(hidden)]
#[macro_export]
macro_rules! delegate_one {
    (Accounts, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { Accounts, $layer, $inner, $before;
            fn has_users() -> bool;
            fn create_first_user(user: UserRow, audit: AuditEntry) -> Bootstrapped;
            fn user_by_name(name: &LoginName) -> Option<UserRow>;
            fn set_password(user_id: UserId, password_hash: &str, audit: AuditEntry) -> bool;
            fn create_session(session: SessionRow, now: Timestamp, audit: AuditEntry) -> ();
            fn session(hash: &TokenHash, now: Timestamp) -> Option<(SessionRow, UserRow)>;
            fn delete_session(hash: &TokenHash, audit: AuditEntry) -> ();
            fn create_token(token: TokenRow, audit: AuditEntry) -> TokenCreated;
            fn tokens(user_id: UserId, page: PageRequest) -> Listed<TokenInfo>;
            fn token(hash: &TokenHash) -> Option<(TokenRow, UserRow)>;
            fn revoke_token(user_id: UserId, id: TokenId, now: Timestamp, audit: AuditEntry) -> bool;
            fn touch_token(id: TokenId, now: Timestamp) -> ();
            fn create_enrollment(row: EnrollmentRow, audit: AuditEntry) -> ();
            fn enrollment(hash: &TokenHash) -> Option<EnrollmentRow>;
            fn enrollment_by_id(id: EnrollmentId) -> Option<EnrollmentRow>;
            fn enroll(enrollment: &TokenHash, host: Host, agent_token: TokenHash, now: Timestamp, audit: AuditEntry) -> EnrollOutcome;
        }
    };
    (Audit, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { Audit, $layer, $inner, $before;
            fn record(entry: AuditEntry) -> ();
            fn audit(filter: &AuditFilter, page: PageRequest) -> Listed<AuditRow>;
        }
    };
    (Fleet, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { Fleet, $layer, $inner, $before;
            fn host(id: HostId) -> Option<Host>;
            fn hosts(filter: &HostFilter, page: PageRequest) -> Listed<Host>;
            fn host_by_name(name: &DisplayName) -> Option<Host>;
            fn host_by_agent_token(hash: &TokenHash) -> Option<Host>;
            fn change_host(id: HostId, change: HostChange, audit: AuditEntry) -> Renamed;
            fn delete_host(id: HostId, audit: AuditEntry) -> Deleted;
            fn touch_hosts(seen: &[(HostId, Timestamp)]) -> ();
            fn record_facts(id: HostId, facts: &HostFacts) -> ();
            fn create_repo(repo: Repo, audit: AuditEntry) -> Renamed;
            fn repo(id: RepoId) -> Option<Repo>;
            fn repos(filter: &RepoFilter, page: PageRequest) -> Listed<Repo>;
            fn change_repo(id: RepoId, change: RepoChange, audit: AuditEntry) -> Renamed;
            fn delete_repo(id: RepoId, audit: AuditEntry) -> Deleted;
            fn learn_restic_id(id: RepoId, restic_id: &ResticRepoId) -> ResticIdLearned;
            fn repo_stats(ids: &[RepoId]) -> Vec<RepoStats>;
            fn attachments_of_host(id: HostId) -> Vec<AttachmentRow>;
            fn attachments_of_repos(ids: &[RepoId]) -> Vec<AttachmentRow>;
            fn attachment(host_id: HostId, repo_id: RepoId) -> Option<AttachmentRow>;
            fn put_attachment(change: AttachmentChange, audit: AuditEntry) -> PutAttachment;
            fn delete_attachment(host_id: HostId, repo_id: RepoId, audit: AuditEntry) -> Deleted;
            fn credential(id: AttachmentId, kind: CredentialKind) -> Option<SealedCredential>;
            fn put_credential(id: AttachmentId, credential: SealedCredential, audit: AuditEntry) -> PutCredential;
            fn delete_credential(id: AttachmentId, kind: CredentialKind, audit: AuditEntry) -> bool;
        }
    };
    (Glance, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { Glance, $layer, $inner, $before;
            fn primary_repos(host_ids: &[HostId]) -> Vec<PrimaryRepo>;
            fn sizes(repo_ids: &[RepoId], since: Timestamp) -> Vec<(RepoId, StatsDay)>;
            fn last_backups_of_groups(group_ids: &[GroupId]) -> Vec<JobRow>;
            fn jobs_by_id(ids: &[JobId]) -> Vec<JobRow>;
            fn open_jobs_of(host_ids: &[HostId]) -> Vec<JobRow>;
            fn busy_hosts() -> Vec<HostId>;
            fn hosts_besides(ids: &[HostId]) -> Vec<HostId>;
            fn hosts_without_restic(limit: u32) -> Vec<Host>;
            fn schedules_without_target(limit: u32) -> Vec<(Schedule, DisplayName)>;
            fn unmended(since: Timestamp, limit: u32) -> Vec<JobRow>;
            fn attempts(run_id: RunId) -> Vec<JobRow>;
            fn job_days(of: DaysOf, kind: JobKind, within: Range<Timestamp>) -> Vec<JobDay>;
        }
    };
    (Maintenance, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { Maintenance, $layer, $inner, $before;
            fn maintenance(repo_id: RepoId) -> Option<MaintenanceRow>;
            fn put_maintenance(repo_id: RepoId, settings: MaintenanceSettings, now: Timestamp, audit: AuditEntry) -> bool;
            fn due_maintenance(now: Timestamp, limit: u32) -> Vec<MaintenanceView>;
            fn maintenance_views(ids: &[RepoId]) -> Vec<MaintenanceView>;
            fn commit_maintenance(commits: &[MaintenanceCommit],
                audit: &(dyn for<'j> Fn(&'j Job) -> AuditEntry + Send + Sync)) -> Vec<MaintenanceOutcome>;
            fn lift_check_hold(repo_id: RepoId, now: Timestamp, audit: AuditEntry) -> bool;
            fn note_append_only(id: AttachmentId, append_only: AppendOnly, now: Timestamp) -> ();
            fn stats_history(repo_id: RepoId, since: Timestamp) -> Vec<StatsDay>;
        }
    };
    (Meta, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { Meta, $layer, $inner, $before;
            fn fact(key: &str) -> Option<String>;
            fn fact_or_insert(key: &str, value: &str) -> String;
            fn ping() -> ();
        }
    };
    (PendingHosts, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { PendingHosts, $layer, $inner, $before;
            fn announce(row: PendingHostRow, at_most: u32, audit: AuditEntry) -> AnnounceOutcome;
            fn pending_host(id: PendingHostId, now: Timestamp) -> Option<PendingHostRow>;
            fn pending_host_by_key(key: &AgentKey, now: Timestamp) -> Option<PendingHostRow>;
            fn pending_hosts(now: Timestamp) -> Vec<PendingHostRow>;
            fn approve_pending(id: PendingHostId, host: Host, nobody: TokenHash, now: Timestamp, expires_at: Timestamp, audit: AuditEntry) -> ApproveOutcome;
            fn reject_pending(id: PendingHostId, now: Timestamp, audit: AuditEntry) -> RejectOutcome;
            fn claim_pending(key: &AgentKey, challenge: &Challenge, next: Challenge, token: TokenHash, now: Timestamp, audit: AuditEntry) -> ClaimOutcome;
        }
    };
    (PendingRuns, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { PendingRuns, $layer, $inner, $before;
            fn pending_due(online: &[HostId], now: Timestamp, most: u32) -> Vec<PendingRow>;
            fn pending_of_hosts(host_ids: &[HostId]) -> Vec<PendingRow>;
            fn pending_run(id: RunId) -> Option<PendingRow>;
            fn pending_runs(of: PendingOf, page: PageRequest) -> Listed<PendingRow>;
            fn count_pending() -> u64;
            fn settle(settlements: Vec<Settlement>, now: Timestamp) -> Vec<Settled>;
        }
    };
    (Plans, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { Plans, $layer, $inner, $before;
            fn plan(host_id: HostId) -> Option<HostPlan>;
            fn enabled_schedules(host_ids: &[HostId]) -> Vec<Schedule>;
            fn group(id: GroupId) -> Option<SourceGroup>;
            fn create_group(group: SourceGroup, audit: AuditEntry) -> PlanWritten;
            fn replace_group(group: SourceGroup, audit: AuditEntry) -> PlanWritten;
            fn delete_group(host_id: HostId, id: GroupId, audit: AuditEntry) -> GroupDeleted;
            fn schedule(id: ScheduleId) -> Option<Schedule>;
            fn create_schedule(schedule: Schedule, audit: AuditEntry) -> PlanWritten;
            fn replace_schedule(schedule: Schedule, audit: AuditEntry) -> PlanWritten;
            fn delete_schedule(host_id: HostId, id: ScheduleId, audit: AuditEntry) -> bool;
        }
    };
    (Reports, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { Reports, $layer, $inner, $before;
            fn apply(host_id: HostId, spool_id: SpoolId, effects: Vec<NumberedEffect>, now: Timestamp) -> Vec<Applied>;
            fn log(job_id: JobId, from: u64, max_lines: u32) -> LogSlice;
            fn forget_logs(ended_before: Timestamp) -> u64;
            fn snapshots(host_id: HostId, filter: &SnapshotFilter, page: PageRequest) -> Listed<SnapshotRow>;
            fn snapshot_lists(host_id: HostId) -> Vec<SnapshotList>;
        }
    };
    (Work, $layer:ty, $inner:ident, $before:tt) => {
        $crate::delegate_methods! { Work, $layer, $inner, $before;
            fn enqueue(job: Job, audit: AuditEntry) -> Enqueued;
            fn admission_view() -> AdmissionView;
            fn dispatch(intents: &[DispatchIntent], now: Timestamp) -> Vec<DispatchOutcome>;
            fn move_job(id: JobId, event: JobEvent, message: &str, now: Timestamp, audit: Option<AuditEntry>) -> JobMove;
            fn put_off(id: JobId, message: &str, now: Timestamp) -> JobMove;
            fn request_cancel(id: JobId, now: Timestamp, audit: AuditEntry) -> CancelOutcome;
            fn unanswered(dispatched_before: Timestamp) -> Vec<DispatchRow>;
            fn withdraw_stale(created_before: Timestamp, now: Timestamp) -> Vec<JobId>;
            fn take_session(take: TakeSession) -> Option<TakenSession>;
            fn job(id: JobId) -> Option<JobRow>;
            fn jobs(filter: &JobFilter, page: PageRequest) -> Listed<JobRow>;
            fn last_backups(host_ids: &[HostId]) -> Vec<JobRow>;
            fn run(id: RunId) -> Option<Run>;
            fn counts(failed_since: Timestamp) -> FleetCounts;
        }
    };
}

/// The methods of one capability.
#[doc(hidden)]
#[macro_export]
macro_rules! delegate_methods {
    ($capability:ident, $layer:ty, $inner:ident, $before:tt;
        $(fn $method:ident($($argument:ident: $of:ty),* $(,)?) -> $answer:ty;)*) => {
        #[async_trait]
        impl $capability for $layer {
            $(async fn $method(&self, $($argument: $of),*) -> Result<$answer> {
                $crate::delegate_before!(self, $before, concat!(stringify!($capability), "::", stringify!($method)));
                $capability::$method(&*self.$inner, $($argument),*).await
            })*
        }
    };
}

/// The call before the call.
#[doc(hidden)]
#[macro_export]
macro_rules! delegate_before {
    ($this:expr, (), $verb:expr) => {};
    ($this:expr, ($before:ident), $verb:expr) => {
        $this.$before($verb)
    };
}

/// All that the signatures name.
#[doc(hidden)]
pub mod names {
    pub use std::ops::Range;

    pub use async_trait::async_trait;
    pub use restic_manager_core::announce::{AgentKey, Challenge};
    pub use restic_manager_core::api::{StatsDay, TokenInfo};
    pub use restic_manager_core::id::*;
    pub use restic_manager_core::maintenance::MaintenanceSettings;
    pub use restic_manager_core::model::*;
    pub use restic_manager_core::text::*;
    pub use restic_manager_core::time::Timestamp;

    pub use crate::*;
}
