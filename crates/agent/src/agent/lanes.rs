//! The jobs that run at present, and whether a further one has a place.

use std::collections::VecDeque;
use std::task::Poll;

use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::model::JobKind;
use restic_manager_core::wire::AgentMessage;

use super::jobs::ActiveJob;

/// How many jobs of maintenance run beside each other, each on a repository of its own.
const MAINTENANCE_JOBS: usize = 2;

/// Where a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// One at a time: it reads or writes the disks of the host.
    Data,
    /// A few at a time: it works on a repository.
    Maintenance,
    /// Beside all others: it is short, and others may wait for it.
    Beside,
}

const fn lane(kind: JobKind) -> Lane {
    match kind {
        JobKind::Backup | JobKind::Init | JobKind::Restore => Lane::Data,
        JobKind::Forget | JobKind::Prune | JobKind::Check | JobKind::Stats | JobKind::Diff => {
            Lane::Maintenance
        }
        JobKind::Unlock => Lane::Beside,
    }
}

/// The jobs that run at present.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    jobs: Vec<ActiveJob>,
    /// Who is heard first, so that a talkative job does not drown the others.
    turn: usize,
}

impl Lanes {
    pub(super) fn add(&mut self, job: ActiveJob) {
        self.jobs.push(job);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ActiveJob> {
        self.jobs.iter()
    }

    pub(super) fn get(&self, job: JobId) -> Option<&ActiveJob> {
        self.jobs.iter().find(|active| active.id() == job)
    }

    pub(super) fn get_mut(&mut self, job: JobId) -> Option<&mut ActiveJob> {
        self.jobs.iter_mut().find(|active| active.id() == job)
    }

    pub(super) fn take(&mut self, job: JobId) -> Option<ActiveJob> {
        let at = self.jobs.iter().position(|active| active.id() == job)?;
        Some(self.jobs.remove(at))
    }

    pub(super) fn take_all(&mut self) -> Vec<ActiveJob> {
        std::mem::take(&mut self.jobs)
    }

    /// The job that is in the way of another one of this kind on this repository.
    pub(super) fn in_the_way(&self, kind: JobKind, repo: RepoId) -> Option<JobId> {
        let running: Vec<_> = self.jobs.iter().map(|job| (job.id(), job.kind(), job.repo())).collect();
        in_the_way(&running, kind, repo)
    }

    /// The next message of any job; none for one whose task ended. While the disk refuses messages the jobs have to wait.
    pub(super) async fn next_message(
        &mut self,
        unsaid: &VecDeque<AgentMessage>,
    ) -> (JobId, Option<AgentMessage>) {
        if !unsaid.is_empty() {
            return std::future::pending().await;
        }
        let (jobs, turn) = (&mut self.jobs, &mut self.turn);
        std::future::poll_fn(|cx| {
            let count = jobs.len();
            for at in (0..count).map(|step| (*turn + step) % count) {
                let Some(job) = jobs.get_mut(at) else { continue };
                if let Poll::Ready(message) = job.messages.poll_recv(cx) {
                    *turn = at + 1;
                    return Poll::Ready((job.id(), message));
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn in_the_way(running: &[(JobId, JobKind, RepoId)], kind: JobKind, repo: RepoId) -> Option<JobId> {
    let wanted = lane(kind);
    let same: Vec<_> = running.iter().filter(|(_, kind, _)| lane(*kind) == wanted).collect();
    match wanted {
        Lane::Data => same.first().map(|(job, _, _)| *job),
        Lane::Maintenance => {
            let on_it = same.iter().find(|(_, _, other)| *other == repo);
            let full = same.first().filter(|_| same.len() >= MAINTENANCE_JOBS);
            on_it.or(full).map(|(job, _, _)| *job)
        }
        Lane::Beside => None,
    }
}

#[cfg(test)]
mod tests {
    use restic_manager_core::time::Timestamp;

    use super::*;

    fn job(n: u8) -> JobId {
        JobId::mint(Timestamp::from_millis(1), [n; 10])
    }

    fn repo(n: u8) -> RepoId {
        RepoId::mint(Timestamp::from_millis(1), [n; 10])
    }

    #[test]
    fn one_job_of_data_two_of_maintenance_on_distinct_repositories_and_unlocks_beside_them() {
        let backup = (job(1), JobKind::Backup, repo(1));
        let prune = (job(2), JobKind::Prune, repo(2));
        let check = (job(3), JobKind::Check, repo(3));
        let unlock = (job(4), JobKind::Unlock, repo(1));
        let wanted = |running: &[_], kind, n| in_the_way(running, kind, repo(n));

        for kind in [JobKind::Backup, JobKind::Init, JobKind::Restore] {
            assert_eq!(wanted(&[backup, prune], kind, 9), Some(job(1)));
            assert_eq!(wanted(&[prune, check, unlock], kind, 2), None, "maintenance is no obstacle");
        }
        for kind in [JobKind::Forget, JobKind::Prune, JobKind::Check, JobKind::Stats] {
            assert_eq!(wanted(&[backup, unlock], kind, 1), None);
            assert_eq!(wanted(&[backup, prune], kind, 3), None, "the second of two");
            assert_eq!(wanted(&[backup, prune], kind, 2), Some(job(2)), "the same repository");
            assert_eq!(wanted(&[prune, check], kind, 9), Some(job(2)), "both places are taken");
            assert_eq!(wanted(&[prune, check], kind, 3), Some(job(3)), "the one in the way is named");
        }
        assert_eq!(wanted(&[backup, prune, check, unlock], JobKind::Unlock, 1), None);
    }
}
