//! Admission: which of the jobs that wait may start at present, and why the others may not.
//!
//! A host runs one backup or restore at a time, and beside it up to [`MAINTENANCE_LANES`] maintenance jobs on different repositories. On
//! a repository shared jobs overlap and an exclusive one runs alone.
//!
//! An exclusive job that waits closes the door behind it, so that backups cannot starve it, unless its own host is away or busy, or a job in
//! its way is out of contact. Two hours after it was asked for the door opens for the shared jobs that wait by then, and closes
//! again for twice as long (at most a day), so that a backup that takes days cannot starve all others.
//!
//! A repository that several hosts found unreachable has its breaker open: one job at a time tries it, the others wait until one gets through.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{HostId, JobId, RepoId};
use crate::model::{Hold, JobKind, LockMode};
use crate::time::{DAY, HOUR, Timestamp};

/// How many maintenance jobs a host runs at once, each on another repository.
pub const MAINTENANCE_LANES: usize = 2;
/// So many hosts that cannot reach a repository open its breaker: with fewer it is rather those hosts than the repository.
pub const BREAKER_HOSTS: usize = 3;
/// How long a waiting exclusive job keeps the door closed at first.
const FIRST_DRAIN: i64 = 2 * HOUR;
/// The longest it keeps it closed at a stretch.
const LONGEST_DRAIN: i64 = DAY;

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
    /// When it was asked for.
    pub since: Timestamp,
    /// Who asked for it.
    pub asker: Asker,
}

/// Who asked for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A person, who may try what the breaker keeps others from.
    Operator,
    /// A schedule, a cadence, a retry.
    Plan,
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

/// Which repositories are out of reach for so many hosts that only one job at a time tries them.
pub type OpenBreakers = BTreeSet<RepoId>;

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
    /// How many jobs are on it that are in contact, whatever their lock.
    trying: usize,
    breaker_open: bool,
    door: Option<Door>,
}

/// The door that a waiting exclusive job closed behind it.
#[derive(Clone, Copy)]
struct Door {
    closed_by: JobId,
    /// When it was last opened: shared jobs that waited by then may pass.
    opened_at: Option<Timestamp>,
}

#[derive(Default)]
struct HostUse {
    backup: Option<JobId>,
    maintenance: Vec<(JobId, RepoId)>,
}

/// Decides for every waiting job, in the order given (oldest first). Deterministic and total.
///
/// Each job that may start takes its place at once, so the verdicts hold together.
pub fn admit(
    waiting: &[Waiting],
    occupying: &[Occupying],
    breakers: &OpenBreakers,
    now: Timestamp,
) -> Vec<Verdict> {
    let mut hosts: BTreeMap<HostId, HostUse> = BTreeMap::new();
    let mut repos: BTreeMap<RepoId, RepoUse> = BTreeMap::new();
    for repo_id in breakers {
        repos.entry(*repo_id).or_default().breaker_open = true;
    }
    for job in occupying {
        take_lane(hosts.entry(job.host_id).or_default(), job.job_id, job.kind, job.repo_id);
        occupy(repos.entry(job.repo_id).or_default(), job.job_id, job.kind, job.connected);
    }
    let mut seen = BTreeSet::new();
    waiting
        .iter()
        .filter(|job| seen.insert(job.job_id))
        .map(|job| {
            let host = hosts.entry(job.host_id).or_default();
            let place = repos.entry(job.repo_id).or_default();
            match hold(job, host, place) {
                None => {
                    take_lane(host, job.job_id, job.kind, job.repo_id);
                    occupy(place, job.job_id, job.kind, true);
                    Verdict::Start(job.job_id)
                }
                Some(hold) => {
                    close_door(job, &hold, host, place, now);
                    Verdict::Hold(job.job_id, hold)
                }
            }
        })
        .collect()
}

/// Which of a host's lanes a job runs in.
enum Lane {
    Backup,
    Maintenance,
    /// Removing stale locks goes beside everything.
    Beside,
}

const fn lane(kind: JobKind) -> Lane {
    match kind {
        JobKind::Backup | JobKind::Init | JobKind::Restore | JobKind::Diff => Lane::Backup,
        JobKind::Forget | JobKind::Prune | JobKind::Check | JobKind::Stats => Lane::Maintenance,
        JobKind::Unlock => Lane::Beside,
    }
}

fn take_lane(host: &mut HostUse, job_id: JobId, kind: JobKind, repo_id: RepoId) {
    match lane(kind) {
        Lane::Backup => host.backup = Some(job_id),
        Lane::Maintenance => host.maintenance.push((job_id, repo_id)),
        Lane::Beside => {}
    }
}

/// The job that keeps this one from a lane.
fn lane_taken_by(host: &HostUse, kind: JobKind, repo_id: RepoId) -> Option<JobId> {
    match lane(kind) {
        Lane::Backup => host.backup,
        Lane::Maintenance => host
            .maintenance
            .iter()
            .find(|(_, other)| *other == repo_id)
            .or_else(|| host.maintenance.first().filter(|_| host.maintenance.len() >= MAINTENANCE_LANES))
            .map(|(job_id, _)| *job_id),
        Lane::Beside => None,
    }
}

fn occupy(place: &mut RepoUse, job_id: JobId, kind: JobKind, connected: bool) {
    place.trying += usize::from(connected);
    match kind.lock_mode() {
        LockMode::Shared => place.shared.push((job_id, connected)),
        LockMode::Exclusive => place.exclusive = Some((job_id, connected)),
        LockMode::None => {}
    }
}

fn hold(job: &Waiting, host: &HostUse, place: &RepoUse) -> Option<Hold> {
    if !job.connected {
        return Some(Hold::HostOffline);
    }
    if let Some(job_id) = lane_taken_by(host, job.kind, job.repo_id) {
        return Some(Hold::HostBusy { job_id });
    }
    if place.breaker_open && place.trying > 0 && job.asker == Asker::Plan {
        return Some(Hold::BreakerOpen);
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
        None => place
            .door
            .filter(|door| !passes(job, *door))
            .map(|door| Hold::Draining { job_id: door.closed_by }),
    }
}

/// Shared jobs that waited when the door was last opened go through it.
fn passes(job: &Waiting, door: Door) -> bool {
    let shared = job.kind.lock_mode() == LockMode::Shared;
    shared && door.opened_at.is_some_and(|opened_at| job.since <= opened_at)
}

/// An exclusive job closes the door only when it could start as soon as those inside have left.
fn close_door(job: &Waiting, hold: &Hold, host: &HostUse, place: &mut RepoUse, now: Timestamp) {
    let exclusive = job.kind.lock_mode() == LockMode::Exclusive;
    let lane_free = lane_taken_by(host, job.kind, job.repo_id).is_none();
    let all_in_contact = place.shared.iter().all(|(_, connected)| *connected);
    let drains = matches!(hold, Hold::RepoBusy { .. } | Hold::Draining { .. });
    if exclusive && lane_free && all_in_contact && drains && place.door.is_none() {
        place.door = Some(Door { closed_by: job.job_id, opened_at: opened_at(job.since, now) });
    }
}

/// The last time a door that was closed at `since` was opened: after 2 hours, 4 more, 8, 16, then once a day.
fn opened_at(since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let (mut next, mut stretch) = (since + FIRST_DRAIN, FIRST_DRAIN);
    let mut opened_at = None;
    while next <= now {
        opened_at = Some(next);
        stretch *= 2;
        if stretch >= LONGEST_DRAIN {
            // From here on once a day; the days are not counted one by one, whatever a clock did.
            return Some(next + now.millis_since(next) / LONGEST_DRAIN * LONGEST_DRAIN);
        }
        next = next + stretch;
    }
    opened_at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            since: at(0),
            asker: Asker::Plan,
        }
    }

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_millis(hour * HOUR)
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
        let verdicts = admit(&jobs, &[], &OpenBreakers::new(), at(0));
        assert_eq!(verdicts[0], Verdict::Start(jobs[0].job_id));
        assert_eq!(verdicts[1], Verdict::Start(jobs[1].job_id));
        assert_eq!(verdicts[2], Verdict::Hold(jobs[2].job_id, Hold::HostBusy { job_id: jobs[0].job_id }));
    }

    #[test]
    fn a_waiting_prune_closes_the_door_behind_it() {
        let running = waiting(1, JobKind::Backup, 1, 1);
        let prune = waiting(2, JobKind::Prune, 2, 1);
        let late = waiting(3, JobKind::Backup, 3, 1);
        let verdicts =
            admit(&[prune.clone(), late.clone()], &[inside(&running)], &OpenBreakers::new(), at(0));
        assert_eq!(verdicts[0], Verdict::Hold(prune.job_id, Hold::RepoBusy { job_id: running.job_id }));
        assert_eq!(verdicts[1], Verdict::Hold(late.job_id, Hold::Draining { job_id: prune.job_id }));
    }

    #[test]
    fn a_prune_whose_host_is_away_or_that_waits_for_the_unreachable_closes_no_door() {
        let mut running = waiting(1, JobKind::Backup, 1, 1);
        let mut prune = waiting(2, JobKind::Prune, 2, 1);
        let late = waiting(3, JobKind::Backup, 3, 1);
        prune.connected = false;
        let verdicts =
            admit(&[prune.clone(), late.clone()], &[inside(&running)], &OpenBreakers::new(), at(0));
        assert_eq!(verdicts, [Verdict::Hold(prune.job_id, Hold::HostOffline), Verdict::Start(late.job_id)]);
        prune.connected = true;
        running.connected = false;
        let verdicts =
            admit(&[prune.clone(), late.clone()], &[inside(&running)], &OpenBreakers::new(), at(0));
        assert_eq!(verdicts[0], Verdict::Hold(prune.job_id, Hold::OutOfContact { job_id: running.job_id }));
        assert_eq!(verdicts[1], Verdict::Start(late.job_id));
    }

    #[test]
    fn behind_an_open_breaker_one_tries_and_the_others_wait_but_a_person_may() {
        let jobs = [1, 2, 3].map(|n| waiting(n, JobKind::Backup, n, 1));
        let elsewhere = waiting(4, JobKind::Backup, 4, 2);
        let asked = Waiting { asker: Asker::Operator, ..waiting(5, JobKind::Backup, 5, 1) };
        let away = Waiting { connected: false, ..waiting(6, JobKind::Backup, 6, 1) };
        let all = [jobs.as_slice(), &[elsewhere.clone(), asked.clone(), away.clone()]].concat();
        let open = OpenBreakers::from([id(RepoId::mint, 1)]);
        let held = |n: usize| Verdict::Hold(jobs[n].job_id, Hold::BreakerOpen);
        let start = |job: &Waiting| Verdict::Start(job.job_id);
        let others = [start(&elsewhere), start(&asked), Verdict::Hold(away.job_id, Hold::HostOffline)];
        let expected = [[start(&jobs[0]), held(1), held(2)], others.clone()].concat();
        assert_eq!(admit(&all, &[], &open, at(0)), expected);
        let trying = inside(&waiting(9, JobKind::Stats, 9, 1));
        let expected = [[held(0), held(1), held(2)], others].concat();
        assert_eq!(admit(&all, &[trying], &open, at(0)), expected, "one is trying already");
    }

    /// What excludes what, written down from restic's own lock table and apart from `lock_mode`.
    fn alone(kind: JobKind) -> bool {
        ["forget", "prune", "check"].contains(&kind.as_str())
    }

    fn shares(kind: JobKind) -> bool {
        ["backup", "stats", "restore", "diff"].contains(&kind.as_str())
    }

    fn backs_up(kind: JobKind) -> bool {
        ["backup", "init", "restore", "diff"].contains(&kind.as_str())
    }

    fn maintains(kind: JobKind) -> bool {
        ["forget", "prune", "check", "stats"].contains(&kind.as_str())
    }

    #[test]
    fn the_door_opens_after_two_hours_for_those_who_waited_and_closes_again() {
        let running = inside(&waiting(1, JobKind::Backup, 1, 1));
        let prune = waiting(2, JobKind::Prune, 2, 1);
        let early = Waiting { since: at(1), ..waiting(3, JobKind::Backup, 3, 1) };
        let late = Waiting { since: at(3), ..waiting(4, JobKind::Backup, 4, 1) };
        let verdict = |hour: i64, job: &Waiting| {
            admit(
                &[prune.clone(), job.clone()],
                std::slice::from_ref(&running),
                &OpenBreakers::new(),
                at(hour),
            )
            .remove(1)
        };
        let held = |job: &Waiting| Verdict::Hold(job.job_id, Hold::Draining { job_id: prune.job_id });
        assert_eq!(verdict(1, &early), held(&early));
        assert_eq!(verdict(2, &early), Verdict::Start(early.job_id));
        assert_eq!(verdict(5, &early), Verdict::Start(early.job_id));
        assert_eq!(verdict(5, &late), held(&late));
        assert_eq!(verdict(6, &late), Verdict::Start(late.job_id));
    }

    #[test]
    fn a_host_runs_two_maintenance_jobs_on_different_repositories_beside_its_backup() {
        let jobs = [
            waiting(1, JobKind::Check, 1, 1),
            waiting(2, JobKind::Prune, 1, 2),
            waiting(3, JobKind::Forget, 1, 3),
            waiting(4, JobKind::Backup, 1, 4),
            waiting(5, JobKind::Unlock, 1, 1),
        ];
        let verdicts = admit(&jobs, &[], &OpenBreakers::new(), at(0));
        let start = |n: usize| Verdict::Start(jobs[n].job_id);
        let busy = Verdict::Hold(jobs[2].job_id, Hold::HostBusy { job_id: jobs[0].job_id });
        assert_eq!(verdicts, [start(0), start(1), busy, start(3), start(4)]);
        let same_repo = [waiting(1, JobKind::Stats, 1, 1), waiting(2, JobKind::Stats, 1, 1)];
        assert!(matches!(
            admit(&same_repo, &[], &OpenBreakers::new(), at(0))[1],
            Verdict::Hold(_, Hold::HostBusy { .. })
        ));
    }

    #[test]
    fn the_door_opens_at_2_6_14_30_54_hours_and_daily_from_there() {
        let opened = |hour: i64| opened_at(at(0), at(hour)).map(|at| at.as_millis() / HOUR);
        let expected = [(1, None), (2, Some(2)), (5, Some(2)), (6, Some(6)), (13, Some(6)), (14, Some(14))];
        for (hour, at) in expected {
            assert_eq!(opened(hour), at, "after {hour} hours");
        }
        let later = [(30, 30), (53, 30), (54, 54), (77, 54), (78, 78), (54 + 24 * 400 + 5, 54 + 24 * 400)];
        for (hour, at) in later {
            assert_eq!(opened(hour), Some(at), "after {hour} hours");
        }
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
                let verdicts = admit(&queue, &occupying, &OpenBreakers::new(), at(0));
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
                        let both = a.host_id == b.host_id && backs_up(a.kind) && backs_up(b.kind);
                        prop_assert!(!both, "{:?} and {:?} on one host", a, b);
                        let same = a.host_id == b.host_id && a.repo_id == b.repo_id;
                        prop_assert!(!(same && maintains(a.kind) && maintains(b.kind)), "{:?} and {:?}", a, b);
                    }
                }
                for host in 0..4 {
                    let host_id = id(HostId::mint, host);
                    let busy = running.iter().filter(|job| job.host_id == host_id && maintains(job.kind)).count();
                    prop_assert!(busy <= 2, "{busy} maintenance jobs on one host");
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
                let started: Vec<JobId> = admit(&queue, &[], &OpenBreakers::new(), at(0))
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
