//! Locks on a repository.

use restic_manager_core::model::{LockOwner, SeenLock};
use restic_manager_core::time::{MINUTE, Timestamp};

use crate::ui::{Cell, Grid, Look, Tone, View, ago};

/// A lock that was not refreshed for so long is stale to restic (`staleLockTimeout` in `internal/repository/lock.go`, 0.14 to
/// 0.19); a live restic refreshes its own every five minutes.
const STALE_FOR: i64 = 30 * MINUTE;

/// The locks that lay on a repository when it was last seen: who holds them, where, since when, and whether they are stale.
pub(crate) fn present(locks: &[SeenLock], seen_at: Timestamp, look: &Look) -> View {
    table(&["LOCKED BY", "PROCESS", "LOCK", "REFRESHED", "STALE"], locks, seen_at, look)
}

/// The locks that a job found, which may be gone since.
pub(crate) fn found(locks: &[SeenLock], seen_at: Timestamp, look: &Look) -> View {
    table(&["WAS LOCKED BY", "PROCESS", "LOCK", "REFRESHED", "STALE"], locks, seen_at, look)
}

fn table(header: &'static [&'static str], locks: &[SeenLock], seen_at: Timestamp, look: &Look) -> View {
    let row = |lock: &SeenLock| {
        let (stale, tone) = staleness(lock, seen_at);
        vec![
            Cell::from(holder(lock)),
            Cell::from(lock.pid.to_string()),
            Cell::from(if lock.exclusive { "exclusive" } else { "shared" }),
            Cell::from(ago(lock.time, look.now)),
            Cell::new(stale, tone),
        ]
    };
    Grid::new(header, "No locks").rows(locks.iter().map(row))
}

/// One lock in one line.
pub(crate) fn described(lock: &SeenLock, seen_at: Timestamp, now: Timestamp) -> String {
    let kind = if lock.exclusive { "exclusive" } else { "shared" };
    format!(
        "{kind}, by {}, process {}, refreshed {}; stale: {}",
        holder(lock),
        lock.pid,
        ago(lock.time, now),
        staleness(lock, seen_at).0
    )
}

fn holder(lock: &SeenLock) -> String {
    format!("{}@{}", lock.username, lock.hostname)
}

/// What is known of the process behind a lock, by the clocks at the time of the sighting.
fn staleness(lock: &SeenLock, seen_at: Timestamp) -> (&'static str, Tone) {
    match lock.owner {
        LockOwner::EndedRun => ("yes, its job is over", Tone::Warning),
        LockOwner::LiveRun => ("no, its job goes on", Tone::Good),
        LockOwner::Unknown if seen_at.millis_since(lock.time) > STALE_FOR => {
            ("yes, not refreshed for 30 min", Tone::Warning)
        }
        LockOwner::Unknown => ("not known, not a job of ours", Tone::Bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: LockOwner) -> SeenLock {
        SeenLock {
            id: "ab".repeat(32),
            hostname: "db1".into(),
            username: "root".into(),
            pid: 4711,
            exclusive: true,
            time: Timestamp::from_millis(0),
            owner,
        }
    }

    #[test]
    fn a_foreign_lock_is_stale_only_after_the_time_that_restic_gives_it() {
        let stale = |owner, after| staleness(&lock(owner), Timestamp::from_millis(after)).0;
        assert_eq!(stale(LockOwner::Unknown, 30 * MINUTE), "not known, not a job of ours");
        assert_eq!(stale(LockOwner::Unknown, 30 * MINUTE + 1), "yes, not refreshed for 30 min");
        assert_eq!(stale(LockOwner::EndedRun, 0), "yes, its job is over");
        assert_eq!(stale(LockOwner::LiveRun, 31 * MINUTE), "no, its job goes on");
    }

    #[test]
    fn one_line_says_who_where_since_when_and_whether_it_is_stale() {
        let seen_at = Timestamp::from_millis(40 * MINUTE);
        assert_eq!(
            described(&lock(LockOwner::Unknown), seen_at, seen_at),
            "exclusive, by root@db1, process 4711, refreshed 40 min ago; stale: yes, not refreshed for 30 min"
        );
    }
}
