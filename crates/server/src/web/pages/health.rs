//! How large and how sound a repository is, and who holds it locked.

use restic_manager_core::model::{CheckStatus, LockOwner, RepoStats, SeenLock, StatsKind};
use restic_manager_core::time::{DAY, Timestamp};

use super::parts::{Mark, Moment, Tone};
use super::words;

/// How long a check that found nothing says something: a little more than the month of the usual cadence.
const CHECK_GOOD_FOR: i64 = 45 * DAY;

/// What is known of a repository.
pub(super) struct Health {
    pub(super) size: Option<String>,
    pub(super) size_note: &'static str,
    pub(super) uncompressed: Option<String>,
    pub(super) snapshots: Option<String>,
    /// Whether a prune measured the size since the snapshots were counted.
    pub(super) counted_before: bool,
    pub(super) measured: Option<Moment>,
    pub(super) check: Option<Mark>,
    pub(super) checked: Option<Moment>,
    pub(super) check_read: Option<String>,
    pub(super) pruned: Moment,
    pub(super) locks: Vec<LockLine>,
    pub(super) locks_seen: Option<Moment>,
}

/// A lock that was seen.
pub(super) struct LockLine {
    pub(super) holder: String,
    pub(super) exclusive: bool,
    pub(super) since: Moment,
    pub(super) owner: &'static str,
}

impl Health {
    pub(super) fn of(stats: &RepoStats, now: Timestamp) -> Self {
        Self {
            size: stats.total_size_bytes.map(words::size),
            size_note: match stats.size_kind {
                Some(StatsKind::ReferencedData) => "referenced data",
                Some(StatsKind::AfterPrune) => "all that is stored",
                None => "",
            },
            // It was measured together with what snapshots refer to, and says nothing of a size that was learned otherwise.
            uncompressed: stats
                .uncompressed_bytes
                .filter(|_| stats.size_kind == Some(StatsKind::ReferencedData))
                .map(words::size),
            snapshots: stats.snapshot_count.map(words::number),
            counted_before: stats.size_kind == Some(StatsKind::AfterPrune),
            measured: stats.measured_at.map(|at| Moment::new(at, now)),
            check: stats.last_check.map(|status| check(status, stats.last_check_at, now)),
            checked: stats.last_check_at.map(|at| Moment::new(at, now)),
            check_read: stats.last_check_subset_pct.map(|percent| match percent {
                0 => "structure only".to_owned(),
                percent => format!("read {percent} % of the data"),
            }),
            pruned: Moment::or(stats.last_prune_at, now, "never"),
            locks: stats.locks.iter().flatten().map(|lock| lock_line(lock, now)).collect(),
            locks_seen: stats.locks_seen_at.map(|at| Moment::new(at, now)),
        }
    }
}

/// What a check found; that it found nothing long ago says little.
fn check(status: CheckStatus, at: Option<Timestamp>, now: Timestamp) -> Mark {
    let old = at.is_none_or(|at| now.millis_since(at) > CHECK_GOOD_FOR);
    if status == CheckStatus::Ok && old {
        return Mark::new(Tone::Warn, "no errors then");
    }
    Mark::check(status)
}

fn lock_line(lock: &SeenLock, now: Timestamp) -> LockLine {
    LockLine {
        holder: format!("{}@{}, process {}", lock.username, lock.hostname, lock.pid),
        exclusive: lock.exclusive,
        since: Moment::new(lock.time, now),
        owner: match lock.owner {
            LockOwner::EndedRun => "of a run of ours that is over: stale",
            LockOwner::LiveRun => "of a run of ours that goes on",
            LockOwner::Unknown => "not of a run known here",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_found_nothing_is_good_for_some_weeks() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        let shown = |status, days: i64| check(status, Some(now - days * DAY), now).to_string();
        assert!(shown(CheckStatus::Ok, 45).contains("mark ok"));
        assert!(shown(CheckStatus::Ok, 46).contains("mark warn"));
        assert!(shown(CheckStatus::ErrorsFound, 400).contains("mark bad"));
        assert!(check(CheckStatus::Ok, None, now).to_string().contains("mark warn"));
    }
}
