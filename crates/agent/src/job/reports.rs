//! What a job tells behind its last log line: `repo.stats`, then `snapshots.report`.

use restic_manager_core::model::{JobKind, RepoStats, ResticRepoId};
use restic_manager_core::wire::{AgentMessage, CommandRun, RepoStatsReport, SnapshotsReport};
use tokio::sync::mpsc;

use super::locks::Locks;

/// What a job tells behind its last log line.
///
/// It is gathered while the job works, so that no line of its log can come after it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reports {
    stats: Option<RepoStats>,
    snapshots: Option<SnapshotsReport>,
}

impl Reports {
    /// What is known of the repository so far, to be filled in.
    pub(crate) fn stats(&mut self) -> &mut RepoStats {
        self.stats.get_or_insert_default()
    }

    /// The host's snapshots were listed.
    pub(crate) fn snapshots(&mut self, report: SnapshotsReport) {
        self.snapshots = Some(report);
    }

    /// Locks that were seen are part of the picture.
    pub(crate) fn add_locks(&mut self, locks: &Locks) {
        if let Some((left, seen_at)) = &locks.left {
            let stats = self.stats();
            stats.locks = Some(left.clone());
            stats.locks_seen_at = Some(*seen_at);
        }
    }

    /// Tells it all. Maintenance always tells of its repository, if only that it was there.
    pub(crate) async fn tell(
        self,
        command: &CommandRun,
        restic_id: Option<ResticRepoId>,
        out: &mpsc::Sender<AgentMessage>,
    ) {
        let stats = self.stats.or_else(|| is_maintenance(command.spec.kind()).then(RepoStats::default));
        if let Some(stats) = stats {
            let (job_id, repo_id) = (Some(command.job_id), command.repo_id);
            let report = RepoStatsReport { job_id, repo_id, restic_id, stats };
            super::send(out, AgentMessage::RepoStats(report)).await;
        }
        if let Some(snapshots) = self.snapshots {
            super::send(out, AgentMessage::SnapshotsReport(snapshots)).await;
        }
    }
}

const fn is_maintenance(kind: JobKind) -> bool {
    match kind {
        JobKind::Forget | JobKind::Prune | JobKind::Check | JobKind::Unlock => true,
        JobKind::Backup | JobKind::Init | JobKind::Stats | JobKind::Restore | JobKind::Diff => false,
    }
}
