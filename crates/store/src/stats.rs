//! What is known of a repository, and how news of it are joined to that.

use restic_manager_core::model::RepoStats;
use restic_manager_core::time::{DAY, Timestamp};

/// Joins news to what is known: absent fields change nothing, and a check or a sighting of locks that is older than the known one is
/// left out.
pub(crate) fn merge(known: &mut RepoStats, news: &RepoStats) {
    let RepoStats {
        total_size_bytes,
        size_kind,
        uncompressed_bytes,
        snapshot_count,
        measured_at,
        last_check,
        last_check_at,
        last_check_subset_pct,
        last_prune_at,
        locks,
        locks_seen_at,
    } = news;
    known.total_size_bytes = total_size_bytes.or(known.total_size_bytes);
    known.size_kind = size_kind.or(known.size_kind);
    // What is compared with the size is of the same measurement.
    let same = known.uncompressed_bytes.filter(|_| total_size_bytes.is_none());
    known.uncompressed_bytes = uncompressed_bytes.or(same);
    known.snapshot_count = snapshot_count.or(known.snapshot_count);
    known.measured_at = measured_at.or(known.measured_at);
    if is_news(*last_check_at, known.last_check_at) {
        known.last_check = last_check.or(known.last_check);
        known.last_check_at = last_check_at.or(known.last_check_at);
        known.last_check_subset_pct = last_check_subset_pct.or(known.last_check_subset_pct);
    }
    known.last_prune_at = (*last_prune_at).max(known.last_prune_at);
    if is_news(*locks_seen_at, known.locks_seen_at) {
        known.locks = locks.clone().or(known.locks.take());
        known.locks_seen_at = locks_seen_at.or(known.locks_seen_at);
    }
}

/// Whether they belong into the history of sizes.
pub(crate) const fn has_size(news: &RepoStats) -> bool {
    news.total_size_bytes.is_some() || news.snapshot_count.is_some()
}

/// The day of an instant, as its first instant in UTC.
pub(crate) const fn day_of(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() - at.as_millis().rem_euclid(DAY))
}

fn is_news(at: Option<Timestamp>, known_at: Option<Timestamp>) -> bool {
    match (at, known_at) {
        (Some(at), Some(known_at)) => at >= known_at,
        (None, Some(_)) => false,
        (_, None) => true,
    }
}
