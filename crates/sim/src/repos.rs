//! The repositories as they really are: in reach or not, and who holds which lock.

use std::collections::BTreeMap;

use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::JobKind;
use restic_manager_core::time::MINUTE;

/// A lock of a dead process counts no more after so long, to restic itself.
const STALE_AFTER: i64 = 30 * MINUTE;

/// What restic does to a repository while it runs. Restic's own table, written apart from the one that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Others of its kind may be there.
    Shared,
    /// It is alone.
    Alone,
    /// It takes no lock.
    Free,
}

/// The lock that restic takes for a job.
pub const fn hold_of(kind: JobKind) -> Hold {
    match kind {
        JobKind::Backup | JobKind::Restore | JobKind::Stats | JobKind::Diff => Hold::Shared,
        JobKind::Forget | JobKind::Prune | JobKind::Check => Hold::Alone,
        JobKind::Init | JobKind::Unlock => Hold::Free,
    }
}

#[derive(Debug)]
struct Lock {
    process: usize,
    host: HostId,
    hold: Hold,
    died_at: Option<i64>,
}

#[derive(Debug, Default)]
struct Repo {
    down: u32,
    locks: Vec<Lock>,
}

/// All repositories.
#[derive(Debug, Default)]
pub struct Repos {
    repos: BTreeMap<RepoId, Repo>,
}

impl Repos {
    /// Whether it can be reached.
    pub fn is_up(&self, repo: RepoId) -> bool {
        self.repos.get(&repo).is_none_or(|repo| repo.down == 0)
    }

    /// Goes out of reach.
    pub fn go_down(&mut self, repo: RepoId) {
        self.repos.entry(repo).or_default().down += 1;
    }

    /// Comes back.
    pub fn come_back(&mut self, repo: RepoId) {
        let repo = self.repos.entry(repo).or_default();
        repo.down = repo.down.saturating_sub(1);
    }

    /// Is in reach from here on, whatever kept it away.
    pub fn is_back(&mut self, repo: RepoId) {
        self.repos.entry(repo).or_default().down = 0;
    }

    /// Takes a lock, or finds others in the way. A host's own dead locks are removed on the way, as its agent can attest that they are dead.
    pub fn lock(&mut self, repo: RepoId, process: usize, host: HostId, hold: Hold, now: i64) -> bool {
        let repo = self.repos.entry(repo).or_default();
        repo.locks
            .retain(|lock| lock.died_at.is_none_or(|died| now - died < STALE_AFTER && lock.host != host));
        let in_the_way = match hold {
            Hold::Free => false,
            Hold::Shared => repo.locks.iter().any(|lock| lock.hold == Hold::Alone),
            Hold::Alone => !repo.locks.is_empty(),
        };
        if in_the_way {
            return false;
        }
        if hold != Hold::Free {
            repo.locks.push(Lock { process, host, hold, died_at: None });
        }
        true
    }

    /// Gives a lock back.
    pub fn unlock(&mut self, repo: RepoId, process: usize) {
        if let Some(repo) = self.repos.get_mut(&repo) {
            repo.locks.retain(|lock| lock.process != process);
        }
    }

    /// Its process died: the lock stays.
    pub fn abandon(&mut self, repo: RepoId, process: usize, now: i64) {
        let locks = self.repos.get_mut(&repo).into_iter().flat_map(|repo| &mut repo.locks);
        locks.filter(|lock| lock.process == process).for_each(|lock| lock.died_at = Some(now));
    }
}
