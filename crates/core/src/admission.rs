//! Admission: which of the jobs that wait may start at present, and why the others may not.
//!
//! One backup or restore a host at a time. On a repository shared jobs overlap and an exclusive one runs alone; an exclusive
//! job that waits closes the door behind it, so that backups cannot starve it, unless its own host is away.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{HostId, JobId, RepoId};
use crate::model::{Hold, JobKind, LockMode};

/// A job that waits, in the order in which the jobs were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub job_id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it would run.
    pub host_id: HostId,
    /// On what.
    pub repo_id: RepoId,
    /// Whether that host is connected at present.
    pub connected: bool,
}

/// A job that holds its place: dispatched or running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupying {
    /// Which.
    pub job_id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it runs.
    pub host_id: HostId,
    /// On what.
    pub repo_id: RepoId,
    /// Whether that host is connected at present.
    pub connected: bool,
}

/// What shall happen to a job that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be dispatched.
    Start(JobId),
    /// It waits on, for this reason.
    Hold(JobId, Hold),
}

#[derive(Default)]
struct RepoUse {
    shared: Vec<(JobId, bool)>,
    exclusive: Option<(JobId, bool)>,
    closed_by: Option<JobId>,
}

/// Decides for every waiting job, in the order given (oldest first). Deterministic and total.
///
/// Each job that may start takes its place at once, so the verdicts hold together.
pub fn admit(waiting: &[Waiting], occupying: &[Occupying]) -> Vec<Verdict> {
    let mut lanes: BTreeMap<HostId, JobId> = BTreeMap::new();
    let mut repos: BTreeMap<RepoId, RepoUse> = BTreeMap::new();
    for job in occupying {
        if takes_lane(job.kind) {
            lanes.insert(job.host_id, job.job_id);
        }
        occupy(repos.entry(job.repo_id).or_default(), job.job_id, job.kind, job.connected);
    }
    let mut seen = BTreeSet::new();
    waiting
        .iter()
        .filter(|job| seen.insert(job.job_id))
        .map(|job| {
            let place = repos.entry(job.repo_id).or_default();
            match hold(job, &lanes, place) {
                None => {
                    if takes_lane(job.kind) {
                        lanes.insert(job.host_id, job.job_id);
                    }
                    occupy(place, job.job_id, job.kind, true);
                    Verdict::Start(job.job_id)
                }
                Some(hold) => {
                    close_door(job, &hold, &lanes, place);
                    Verdict::Hold(job.job_id, hold)
                }
            }
        })
        .collect()
}

/// Whether jobs of this kind run one at a time on a host; looking at locks and removing stale ones goes beside them.
const fn takes_lane(kind: JobKind) -> bool {
    match kind {
        JobKind::Unlock => false,
        JobKind::Backup
        | JobKind::Init
        | JobKind::Forget
        | JobKind::Prune
        | JobKind::Check
        | JobKind::Stats
        | JobKind::Restore
        | JobKind::Diff => true,
    }
}

fn occupy(place: &mut RepoUse, job_id: JobId, kind: JobKind, connected: bool) {
    match kind.lock_mode() {
        LockMode::Shared => place.shared.push((job_id, connected)),
        LockMode::Exclusive => place.exclusive = Some((job_id, connected)),
        LockMode::None => {}
    }
}

fn hold(job: &Waiting, lanes: &BTreeMap<HostId, JobId>, place: &RepoUse) -> Option<Hold> {
    if !job.connected {
        return Some(Hold::HostOffline);
    }
    if takes_lane(job.kind)
        && let Some(other) = lanes.get(&job.host_id)
    {
        return Some(Hold::HostBusy { job_id: *other });
    }
    let in_the_way = match job.kind.lock_mode() {
        LockMode::None => return None,
        LockMode::Shared => place.exclusive,
        // One that is out of contact is the one to name: nobody knows when it ends.
        LockMode::Exclusive => place
            .exclusive
            .or_else(|| place.shared.iter().find(|(_, connected)| !connected).copied())
            .or_else(|| place.shared.first().copied()),
    };
    match in_the_way {
        Some((job_id, false)) => Some(Hold::OutOfContact { job_id }),
        Some((job_id, true)) => Some(Hold::RepoBusy { job_id }),
        None => place.closed_by.map(|job_id| Hold::Draining { job_id }),
    }
}

/// An exclusive job closes the door only when it could start as soon as those inside have left.
fn close_door(job: &Waiting, hold: &Hold, lanes: &BTreeMap<HostId, JobId>, place: &mut RepoUse) {
    let exclusive = job.kind.lock_mode() == LockMode::Exclusive;
    let lane_free = !lanes.contains_key(&job.host_id);
    let all_in_contact = place.shared.iter().all(|(_, connected)| *connected);
    let drains = matches!(hold, Hold::RepoBusy { .. } | Hold::Draining { .. });
    if exclusive && lane_free && all_in_contact && drains && place.closed_by.is_none() {
        place.closed_by = Some(job.job_id);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Timestamp;

    fn id<T>(mint: fn(Timestamp, [u8; 10]) -> T, n: u8) -> T {
        mint(Timestamp::from_millis(i64::from(n)), [n; 10])
    }

    fn waiting(n: u8, kind: JobKind, host: u8, repo: u8) -> Waiting {
        Waiting {
            job_id: id(JobId::mint, n),
            kind,
            host_id: id(HostId::mint, host),
            repo_id: id(RepoId::mint, repo),
            connected: true,
        }
    }

    fn inside(job: &Waiting) -> Occupying {
        Occupying {
            job_id: job.job_id,
            kind: job.kind,
            host_id: job.host_id,
            repo_id: job.repo_id,
            connected: job.connected,
        }
    }

    #[test]
    fn two_hosts_back_up_to_one_repository_at_once_but_one_host_does_one_thing() {
        let jobs = [
            waiting(1, JobKind::Backup, 1, 1),
            waiting(2, JobKind::Backup, 2, 1),
            waiting(3, JobKind::Backup, 1, 2),
        ];
        let verdicts = admit(&jobs, &[]);
        assert_eq!(verdicts[0], Verdict::Start(jobs[0].job_id));
        assert_eq!(verdicts[1], Verdict::Start(jobs[1].job_id));
        assert_eq!(verdicts[2], Verdict::Hold(jobs[2].job_id, Hold::HostBusy { job_id: jobs[0].job_id }));
    }

    #[test]
    fn a_waiting_prune_closes_the_door_behind_it() {
        let running = waiting(1, JobKind::Backup, 1, 1);
        let prune = waiting(2, JobKind::Prune, 2, 1);
        let late = waiting(3, JobKind::Backup, 3, 1);
        let verdicts = admit(&[prune.clone(), late.clone()], &[inside(&running)]);
        assert_eq!(verdicts[0], Verdict::Hold(prune.job_id, Hold::RepoBusy { job_id: running.job_id }));
        assert_eq!(verdicts[1], Verdict::Hold(late.job_id, Hold::Draining { job_id: prune.job_id }));
    }

    #[test]
    fn a_prune_whose_host_is_away_or_that_waits_for_the_unreachable_closes_no_door() {
        let mut running = waiting(1, JobKind::Backup, 1, 1);
        let mut prune = waiting(2, JobKind::Prune, 2, 1);
        let late = waiting(3, JobKind::Backup, 3, 1);
        prune.connected = false;
        let verdicts = admit(&[prune.clone(), late.clone()], &[inside(&running)]);
        assert_eq!(verdicts, [Verdict::Hold(prune.job_id, Hold::HostOffline), Verdict::Start(late.job_id)]);
        prune.connected = true;
        running.connected = false;
        let verdicts = admit(&[prune.clone(), late.clone()], &[inside(&running)]);
        assert_eq!(verdicts[0], Verdict::Hold(prune.job_id, Hold::OutOfContact { job_id: running.job_id }));
        assert_eq!(verdicts[1], Verdict::Start(late.job_id));
    }

    /// What excludes what, written down from restic's own lock table and apart from `lock_mode`.
    fn alone(kind: JobKind) -> bool {
        ["forget", "prune", "check"].contains(&kind.as_str())
    }

    fn shares(kind: JobKind) -> bool {
        ["backup", "stats", "restore", "diff"].contains(&kind.as_str())
    }

    fn job() -> impl Strategy<Value = (JobKind, u8, u8, bool)> {
        (0..JobKind::ALL.len(), 0u8..4, 0u8..3, prop::bool::weighted(0.8))
            .prop_map(|(kind, host, repo, connected)| (JobKind::ALL[kind], host, repo, connected))
    }

    proptest! {
        #[test]
        fn what_was_started_never_excludes_each_other(
            jobs in prop::collection::vec(job(), 0..24),
            ends in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut queue: Vec<Waiting> = jobs
                .iter()
                .enumerate()
                .map(|(n, (kind, host, repo, connected))| Waiting {
                    connected: *connected,
                    ..waiting(n as u8, *kind, *host, *repo)
                })
                .collect();
            let mut running: Vec<Waiting> = Vec::new();
            let mut ends = ends.into_iter();
            loop {
                let occupying: Vec<Occupying> = running.iter().map(inside).collect();
                let verdicts = admit(&queue, &occupying);
                prop_assert_eq!(verdicts.len(), queue.len());
                for verdict in &verdicts {
                    if let Verdict::Start(job_id) = verdict {
                        let at = queue.iter().position(|job| job.job_id == *job_id).unwrap();
                        running.push(queue.remove(at));
                    }
                }
                for (n, a) in running.iter().enumerate() {
                    for b in &running[n + 1..] {
                        let clash = a.repo_id == b.repo_id
                            && ((alone(a.kind) && (alone(b.kind) || shares(b.kind)))
                                || (alone(b.kind) && shares(a.kind)));
                        prop_assert!(!clash, "{:?} beside {:?}", a, b);
                        let both = a.host_id == b.host_id
                            && a.kind != JobKind::Unlock
                            && b.kind != JobKind::Unlock;
                        prop_assert!(!both, "{:?} and {:?} on one host", a, b);
                    }
                }
                match ends.next() {
                    Some(end) if !running.is_empty() => { running.remove(end.index(running.len())); }
                    Some(_) | None => break,
                }
            }
        }

        #[test]
        fn once_all_running_jobs_end_every_connected_job_gets_its_turn(
            jobs in prop::collection::vec(job(), 1..24),
        ) {
            let mut queue: Vec<Waiting> = jobs
                .iter()
                .enumerate()
                .map(|(n, (kind, host, repo, connected))| Waiting {
                    connected: *connected,
                    ..waiting(n as u8, *kind, *host, *repo)
                })
                .collect();
            let rounds = queue.len();
            for _ in 0..rounds {
                let started: Vec<JobId> = admit(&queue, &[])
                    .into_iter()
                    .filter_map(|verdict| match verdict {
                        Verdict::Start(job_id) => Some(job_id),
                        Verdict::Hold(..) => None,
                    })
                    .collect();
                queue.retain(|job| !started.contains(&job.job_id));
            }
            prop_assert!(queue.iter().all(|job| !job.connected), "left: {queue:?}");
        }
    }
}
