//! What the reported end of a job says of its repository.

use restic_manager_core::model::{CheckStatus, JobKind, JobSummary, LockMode, RepoStats, StatsKind};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::Timestamp;

/// A job that its agent reported as over.
pub(crate) struct Ended<'a> {
    pub(crate) kind: JobKind,
    /// Whether it only said what it would have done.
    pub(crate) is_preview: bool,
    pub(crate) class: OutcomeClass,
    pub(crate) at: Timestamp,
    pub(crate) summary: &'a JobSummary,
}

/// What a check says of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing wrong in this percentage of it, and in the structure.
    Sound(u8),
    /// Damage, with this percentage read.
    Damaged(u8),
}

/// Errors of a check that hold the prune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckHold {
    /// Since when.
    pub(crate) since: Timestamp,
    /// How much of the data the check had read, in percent; 0 means its structure alone.
    pub(crate) subset_pct: u8,
}

impl CheckHold {
    /// The hold after a check that ended at `at`.
    ///
    /// Errors keep the time of the first, and the most that was read to see one of them. Errors that a check of the structure found are
    /// lifted by any check that passes; those that were found in data, by one that read all of it: two samples of 5 % are not
    /// the same 5 %.
    pub(crate) fn after(known: Option<Self>, finding: Finding, at: Timestamp) -> Option<Self> {
        match (known, finding) {
            (None, Finding::Sound(_)) => None,
            (None, Finding::Damaged(subset_pct)) => Some(Self { since: at, subset_pct }),
            (Some(hold), Finding::Sound(read)) => {
                let needed = if hold.subset_pct == 0 { 0 } else { 100 };
                (read < needed).then_some(hold)
            }
            (Some(hold), Finding::Damaged(read)) => {
                Some(Self { subset_pct: hold.subset_pct.max(read), ..hold })
            }
        }
    }
}

impl Ended<'_> {
    /// What is known of the repository from it.
    pub(crate) fn stats(&self) -> RepoStats {
        let mut stats = RepoStats::default();
        if self.kind == JobKind::Check && self.summary.check.is_some() {
            stats.last_check = self.summary.check;
            stats.last_check_at = Some(self.at);
            stats.last_check_subset_pct = self.summary.check_subset_pct;
        }
        if self.kind == JobKind::Prune && self.class == OutcomeClass::Ok {
            stats.last_prune_at = Some(self.at);
            if let Some(remaining) = self.summary.prune.and_then(|prune| prune.remaining_bytes) {
                stats.total_size_bytes = Some(remaining);
                stats.size_kind = Some(StatsKind::AfterPrune);
                stats.measured_at = Some(self.at);
            }
        }
        self.see_locks(&mut stats);
        stats
    }

    fn see_locks(&self, stats: &mut RepoStats) {
        let locks = &self.summary.locks;
        let removed = self.summary.locks_removed.unwrap_or(0);
        let ran_alone = self.kind.lock_mode() == LockMode::Exclusive && !self.is_preview;
        if ran_alone && self.class == OutcomeClass::Ok || !locks.is_empty() && removed >= locks.len() as u64 {
            stats.locks = Some(Vec::new());
        } else if !locks.is_empty() && removed == 0 {
            stats.locks = Some(locks.clone());
        } else {
            // Some of those listed are gone, and nobody said which.
            return;
        }
        stats.locks_seen_at = Some(self.at);
    }

    /// What a check found; none when it could not look.
    pub(crate) fn finding(&self) -> Option<Finding> {
        if self.kind != JobKind::Check {
            return None;
        }
        let read = self.summary.check_subset_pct.unwrap_or(0);
        match self.summary.check? {
            CheckStatus::Ok => Some(Finding::Sound(read)),
            CheckStatus::ErrorsFound => Some(Finding::Damaged(read)),
            CheckStatus::Locked | CheckStatus::Failed => None,
        }
    }

    /// Whether the repository refused the everyday credential to delete; a prune is done with the admin one.
    pub(crate) fn was_refused_to_delete(&self) -> bool {
        self.class == OutcomeClass::AppendOnly && self.kind != JobKind::Prune
    }
}
