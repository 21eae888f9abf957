//! What a job is sent with, made of the rows as they are in the dispatching commit.
//!
//! A job stores what its asker wanted, not its payload: what changed while it waited counts, and may mean that it is not
//! sent at all.

use restic_manager_core::maintenance::MaintenanceKind;
use restic_manager_core::model::{AppendOnly, Hold, JobKind, RunKey, UnlockScope};
use restic_manager_core::time::{HOUR, Timestamp};
use restic_manager_core::wire::{
    AutoUnlock, BackupSpec, CheckSpec, CommandRun, ForgetGroupSpec, ForgetMode, ForgetSpec, JobSpec,
    UnlockSpec,
};
use restic_manager_store::{DispatchRow, ForgetGroupRow, MaintenanceView, RunnerRow};

use super::maintenance::settings_of;

/// Why a job is not sent but withdrawn: the world changed while it waited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsendable {
    /// A newer server wrote it.
    #[error("this server cannot send jobs of that kind")]
    UnknownKind,
    /// Another host does the maintenance, or none.
    #[error("the host is no longer the runner of the repository's maintenance")]
    NotTheRunner,
    /// Its policies were taken away.
    #[error("no source group that it was meant for has a retention policy")]
    NoPolicies,
    /// Its cadence was disabled.
    #[error("{} was disabled while it waited", .0.as_str())]
    Disabled(MaintenanceKind),
    /// Something that would have held it, had it been there before.
    #[error("{}", .0.sentence())]
    Held(Hold),
    /// The admin credential is there, and nobody can read it.
    #[error("credential_unreadable: the admin credential of the repository cannot be read: {0}")]
    CredentialUnreadable(String),
}

impl Unsendable {
    /// What a person can do about it.
    pub(super) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::UnknownKind | Self::Disabled(_) => None,
            Self::NotTheRunner => Some("ask for it again"),
            Self::NoPolicies => Some("give the source group a retention policy"),
            Self::Held(hold) => Some(hold.remedy()),
            Self::CredentialUnreadable(_) => Some("set the admin credential anew"),
        }
    }
}

/// What the engine knows beyond the rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// The session it is sent in.
    pub(super) epoch: i64,
    /// Whether the agent may end its own stale locks.
    pub(super) auto_unlock: AutoUnlock,
    /// Whether the server's clock is not trusted.
    pub(super) clock_suspect: bool,
    /// The server's time.
    pub(super) now: Timestamp,
}

/// The command for a job.
pub(super) fn command(row: &DispatchRow, around: &Circumstances) -> Result<CommandRun, Unsendable> {
    let spec = spec(row, around)?;
    let run: Option<RunKey> = row.run.as_ref().map(|run| run.key);
    Ok(CommandRun {
        job_id: row.job.id,
        epoch: around.epoch,
        repo_id: row.repo.id,
        restic_host: row.attachment.restic_host.clone(),
        run,
        attempt: row.job.attempt,
        requires_admin_creds: needs_admin(row, &spec),
        auto_unlock: around.auto_unlock,
        limit_upload_kib: row.host.limit_upload_kib,
        limit_download_kib: row.host.limit_download_kib,
        spec,
    })
}

fn spec(row: &DispatchRow, around: &Circumstances) -> Result<JobSpec, Unsendable> {
    match row.job.kind {
        JobKind::Init => Ok(JobSpec::Init),
        JobKind::Stats => Ok(JobSpec::Stats),
        JobKind::Backup => {
            let group = row.group.as_ref().ok_or(Unsendable::UnknownKind)?;
            Ok(JobSpec::Backup(BackupSpec {
                tag: group.tag.clone(),
                includes: group.includes.clone(),
                excludes: group.excludes.clone(),
                options: group.options,
            }))
        }
        JobKind::Unlock => {
            Ok(JobSpec::Unlock(UnlockSpec { scope: row.job.intent.unlock.unwrap_or(UnlockScope::Stale) }))
        }
        JobKind::Forget => {
            let view = runners(row, MaintenanceKind::Forget, around)?;
            forget(row, view, around.now).map(JobSpec::Forget)
        }
        JobKind::Prune => {
            let view = runners(row, MaintenanceKind::Prune, around)?;
            if view.check_errors_since.is_some() {
                return Err(Unsendable::Held(Hold::CheckErrors));
            }
            Ok(JobSpec::Prune)
        }
        JobKind::Check => {
            let view = runners(row, MaintenanceKind::Check, around)?;
            let stored = settings_of(&view.row).policy.check_subset_pct;
            Ok(JobSpec::Check(CheckSpec { subset_pct: row.job.intent.subset_pct.unwrap_or(stored) }))
        }
        JobKind::Restore | JobKind::Diff => Err(Unsendable::UnknownKind),
    }
}

/// The view of a repository whose runner the job's host still is, with nothing new that forbids what was planned.
fn runners<'a>(
    row: &'a DispatchRow,
    kind: MaintenanceKind,
    around: &Circumstances,
) -> Result<&'a MaintenanceView, Unsendable> {
    let view = row.maintenance.as_deref().ok_or(Unsendable::UnknownKind)?;
    if view.runner.as_ref().is_none_or(|runner| runner.host.id != row.host.id) {
        return Err(Unsendable::NotTheRunner);
    }
    let planned = row.job.slot.is_some();
    if planned && !settings_of(&view.row).policy.setting(kind).enabled {
        return Err(Unsendable::Disabled(kind));
    }
    let deletes = match kind {
        MaintenanceKind::Forget | MaintenanceKind::Prune => true,
        MaintenanceKind::Check => false,
    };
    // Who asks for it by hand has looked at the clock.
    if planned && deletes && around.clock_suspect {
        return Err(Unsendable::Held(Hold::ClockSuspect));
    }
    Ok(view)
}

fn forget(row: &DispatchRow, view: &MaintenanceView, now: Timestamp) -> Result<ForgetSpec, Unsendable> {
    let preview = row.job.intent.preview_group;
    let mode = if preview.is_some() { ForgetMode::Preview } else { ForgetMode::Apply };
    let wanted: Vec<&ForgetGroupRow> = view
        .forget
        .iter()
        .filter(|group| preview.is_none_or(|id| group.group.id == id))
        .filter(|group| !group.group.keep.is_empty())
        .collect();
    if wanted.is_empty() {
        return Err(Unsendable::NoPolicies);
    }
    if mode == ForgetMode::Apply && wanted.iter().any(|group| from_the_future(group, now)) {
        return Err(Unsendable::Held(Hold::ClockSuspect));
    }
    let groups = wanted
        .into_iter()
        .map(|group| ForgetGroupSpec {
            group_id: group.group.id,
            restic_host: group.attachment.restic_host.clone(),
            tag: group.group.tag.clone(),
            keep: group.group.keep,
        })
        .collect();
    Ok(ForgetSpec { groups, mode })
}

/// Whether a snapshot of the group is dated so late that its policy would keep the wrong ones.
pub(super) fn from_the_future(group: &ForgetGroupRow, now: Timestamp) -> bool {
    group.newest_snapshot_at.is_some_and(|at| at > now + HOUR)
}

fn needs_admin(row: &DispatchRow, spec: &JobSpec) -> bool {
    let runner = row.maintenance.as_ref().and_then(|view| view.runner.as_ref());
    match spec {
        JobSpec::Prune => true,
        JobSpec::Forget(forget) => forget.mode == ForgetMode::Apply && runner.is_some_and(forget_needs_admin),
        JobSpec::Init | JobSpec::Backup(_) | JobSpec::Stats | JobSpec::Check(_) | JobSpec::Unlock(_) => false,
    }
}

/// Whether forget runs with the admin credential: where the everyday one may not delete, and wherever there is one.
pub(crate) fn forget_needs_admin(runner: &RunnerRow) -> bool {
    runner.attachment.append_only == AppendOnly::Yes || runner.has_admin_creds
}
