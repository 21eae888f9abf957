//! What the server says.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, HostId, JobId, RepoId, ScheduleId, SpoolId};
use crate::model::{
    BackupOptions, CredentialKind, CredentialSecret, JobKind, ResticRepoId, Role, RunKey, UnlockScope,
};
use crate::retention::KeepPolicy;
use crate::schedule::{CronExpr, Zone};
use crate::text::{ExcludePattern, ResticHost, SourcePath, Tag};
use crate::time::Timestamp;

/// A message from the server to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload")]
pub enum ServerMessage {
    /// The answer to hello: the session stands.
    #[serde(rename = "welcome")]
    Welcome(Welcome),
    /// All reliable messages up to a number are committed.
    #[serde(rename = "ack")]
    Ack(Ack),
    /// A credential, or its revocation.
    #[serde(rename = "config.update")]
    ConfigUpdate(Box<ConfigUpdate>),
    /// The whole plan of the host.
    #[serde(rename = "schedule.set")]
    ScheduleSet(Box<ScheduleSet>),
    /// Run a job. Sent again until the agent answers; the job's id makes repeats harmless.
    #[serde(rename = "command.run")]
    CommandRun(Box<CommandRun>),
    /// Stop a job.
    #[serde(rename = "command.cancel")]
    CommandCancel(CommandCancel),
    /// The server will not talk to this agent, or could not use one of its frames.
    #[serde(rename = "error")]
    Error(WireError),
}

/// The session stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol both speak.
    pub protocol: u16,
    /// The session's number on this host, ever rising; commands of another one are dropped.
    pub epoch: i64,
    /// The server's version.
    pub server_version: String,
    /// The host this agent is.
    pub host_id: HostId,
    /// The server's wall clock.
    pub clock: Timestamp,
    /// The spool the server counts; another one than the agent's means it starts from nothing.
    pub spool_id: SpoolId,
    /// The newest reliable message of that spool that is committed; the agent goes on behind it.
    pub acked_seq: u64,
    /// Milliseconds between heartbeats.
    pub heartbeat_every: i64,
}

/// All reliable messages up to a number are committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The number.
    pub seq: u64,
    /// Messages among them that could not be applied, with the reason; they are set aside, not sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<(u64, String)>,
}

/// A credential, or its revocation.
///
/// `Serialize` writes the secrets in the clear, for the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigUpdate {
    /// Of which repository.
    pub repo_id: RepoId,
    /// Everyday or admin.
    pub kind: CredentialKind,
    /// Counts the changes of this credential. The server sends in order and the newest word counts: a repository that was detached and
    /// attached again begins anew.
    pub revision: i64,
    /// The credential; none revokes it.
    pub credential: Option<CredentialSecret>,
    /// Restic's own id of the repository, once known: a credential that opens another one is refused.
    pub restic_id: Option<ResticRepoId>,
    /// Whether the agent may keep it on disk.
    pub keep: bool,
}

/// The whole plan of a host, replacing what it had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSet {
    /// Its version, acknowledged by `schedule.ack`.
    pub schedule_version: i64,
    /// When it backs up what.
    pub schedules: Vec<PlanSchedule>,
    /// What it backs up.
    pub groups: Vec<PlanGroup>,
    /// Where to.
    pub repos: Vec<PlanRepo>,
    /// Upload limit of every restic process in KiB/s.
    pub limit_upload_kib: Option<u32>,
    /// Download limit in KiB/s.
    pub limit_download_kib: Option<u32>,
}

/// A schedule of a plan; only enabled ones are sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanSchedule {
    /// Which.
    pub schedule_id: ScheduleId,
    /// Five cron fields.
    pub cron: CronExpr,
    /// The zone in which they are read.
    pub timezone: Zone,
    /// Since when it stands like this: older slots are none of it.
    pub since: Timestamp,
    /// The groups it backs up, in this order.
    pub group_ids: Vec<GroupId>,
    /// The repositories it backs up to.
    pub repo_ids: Vec<RepoId>,
}

/// A source group of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanGroup {
    /// Which.
    pub group_id: GroupId,
    /// What and how.
    pub backup: BackupSpec,
    /// Attempts of a run including the first.
    pub retry_max: u32,
    /// Seconds before the second attempt.
    pub retry_backoff_seconds: u32,
}

/// A repository of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRepo {
    /// Which.
    pub repo_id: RepoId,
    /// What this host may do with it.
    pub role: Role,
    /// The name its snapshots carry there.
    pub restic_host: ResticHost,
}

/// What a backup reads and how it marks its snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSpec {
    /// The tag of the snapshot.
    pub tag: Tag,
    /// Files and folders.
    pub includes: Vec<SourcePath>,
    /// Patterns that are left out.
    pub excludes: Vec<ExcludePattern>,
    /// How restic walks the folders.
    pub options: BackupOptions,
}

/// Run a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandRun {
    /// Which.
    pub job_id: JobId,
    /// The session this belongs to.
    pub epoch: i64,
    /// The repository.
    pub repo_id: RepoId,
    /// The name this host's snapshots carry there.
    pub restic_host: ResticHost,
    /// The run it is an attempt of.
    pub run: Option<RunKey>,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Whether it needs the admin credential.
    pub requires_admin_creds: bool,
    /// Whether the agent may end stale locks of its own by itself.
    #[serde(default, skip_serializing_if = "AutoUnlock::is_off")]
    pub auto_unlock: AutoUnlock,
    /// Upload limit in KiB/s.
    pub limit_upload_kib: Option<u32>,
    /// Download limit in KiB/s.
    pub limit_download_kib: Option<u32>,
    /// What to do.
    pub spec: JobSpec,
}

impl CommandRun {
    /// A job by itself: the first attempt, of no run and of no session, without limits, and with stale locks left alone.
    pub const fn standalone(job_id: JobId, repo_id: RepoId, restic_host: ResticHost, spec: JobSpec) -> Self {
        Self {
            job_id,
            epoch: 0,
            repo_id,
            restic_host,
            run: None,
            attempt: 1,
            requires_admin_creds: false,
            auto_unlock: AutoUnlock::Off,
            limit_upload_kib: None,
            limit_download_kib: None,
            spec,
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSpec {
    /// Make the repository or adopt the one that is there, then list snapshots and measure it.
    Init,
    /// Back up.
    Backup(BackupSpec),
    /// List snapshots and measure the repository.
    Stats,
    /// Forget snapshots by policy, or say what would go.
    Forget(ForgetSpec),
    /// Remove data that no snapshot needs.
    Prune,
    /// Verify the repository.
    Check(CheckSpec),
    /// Remove stale locks, or all of them.
    Unlock(UnlockSpec),
}

/// What a forget does: one restic call a group, and one final state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetSpec {
    /// The groups, each with its own policy; an empty list is refused.
    pub groups: Vec<ForgetGroupSpec>,
    /// Whether anything is removed.
    pub mode: ForgetMode,
}

/// Whether a forget removes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgetMode {
    /// Snapshots go.
    Apply,
    /// Only says what would go, and why each other stays.
    Preview,
}

/// The snapshots of one group, and what is kept of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetGroupSpec {
    /// Which group.
    pub group_id: GroupId,
    /// The restic host its snapshots carry.
    pub restic_host: ResticHost,
    /// The tag they carry.
    pub tag: Tag,
    /// What is kept; an empty policy is refused.
    pub keep: KeepPolicy,
}

/// How a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// How much of the data it reads, in percent: 0 is the structure alone.
    pub subset_pct: u8,
}

/// Which locks an unlock removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockSpec {
    /// Which.
    pub scope: UnlockScope,
}

/// Whether an agent may end stale locks of its own by itself when a job meets them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoUnlock {
    /// It may, under the rules of [`UnlockScope::Attested`].
    Allowed,
    /// It may not: the repository's setting, or another host with the same operating system name.
    #[default]
    Off,
}

impl AutoUnlock {
    const fn is_off(&self) -> bool {
        match self {
            Self::Off => true,
            Self::Allowed => false,
        }
    }
}

impl JobSpec {
    /// The kind of job this is.
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Init => JobKind::Init,
            Self::Backup(_) => JobKind::Backup,
            Self::Stats => JobKind::Stats,
            Self::Forget(_) => JobKind::Forget,
            Self::Prune => JobKind::Prune,
            Self::Check(_) => JobKind::Check,
            Self::Unlock(_) => JobKind::Unlock,
        }
    }
}

/// Stop a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandCancel {
    /// Which.
    pub job_id: JobId,
}

/// The server will not talk to this agent, or could not use one of its frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// For programs: `protocol_too_old`, `identity_in_use`, `host_deleted`, `hello_expected`, `bad_frame`.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl WireError {
    /// Whether the agent shall not come back soon: nothing changes by trying again.
    ///
    /// Scheduled backups go on all the same; only `host_deleted` ends them.
    pub fn ends_session(&self) -> bool {
        matches!(self.code.as_str(), "protocol_too_old" | "identity_in_use" | "host_deleted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_command_says_that_stale_locks_may_be_ended_and_says_nothing_where_they_may_not() {
        let host = ResticHost::new("web1").unwrap();
        let job = JobId::mint(NOW, [1; 10]);
        let mut command = CommandRun::standalone(job, RepoId::mint(NOW, [2; 10]), host, JobSpec::Prune);
        let silent = serde_json::to_value(&command).unwrap();
        assert_eq!(silent.get("auto_unlock"), None);
        assert_eq!(serde_json::from_value::<CommandRun>(silent).unwrap(), command);
        command.auto_unlock = AutoUnlock::Allowed;
        let allowed = serde_json::to_value(&command).unwrap();
        assert_eq!(allowed["auto_unlock"], "allowed");
        assert_eq!(serde_json::from_value::<CommandRun>(allowed).unwrap(), command);
    }

    #[test]
    fn an_agent_stays_away_after_what_no_further_try_mends() {
        let ends = |code: &str| {
            WireError { code: code.to_owned(), message: String::new(), hint: None }.ends_session()
        };
        for code in ["protocol_too_old", "identity_in_use", "host_deleted"] {
            assert!(ends(code), "{code}");
        }
        for code in ["hello_expected", "bad_frame", "moon_phase", ""] {
            assert!(!ends(code), "{code}");
        }
    }
}
