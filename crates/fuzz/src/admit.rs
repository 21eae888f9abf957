//! Admission of a fleet's jobs, round after round.

use std::collections::BTreeSet;

use restic_manager_core::admission::{Asker, Occupying, OpenBreakers, Verdict, Waiting, admit};
use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::model::{Hold, JobKind};
use restic_manager_core::time::{HOUR, MINUTE, Timestamp};

use crate::bytes::Bytes;

pub(crate) fn run(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let (mut queue, mut running): (Vec<Waiting>, Vec<Waiting>) = (Vec::new(), Vec::new());
    let (mut now, mut made, mut started) = (Timestamp::default(), 0, false);
    for _ in 0..40 {
        for _ in 0..bytes.below(5) {
            made += 1;
            queue.push(asked(&mut bytes, made, now));
        }
        let inside: Vec<Occupying> = running.iter().map(occupying).collect();
        // From the third hour on one repository is out of reach.
        let down = RepoId::mint(Timestamp::default(), [0; 10]);
        let breakers: OpenBreakers =
            (now >= Timestamp::default() + 3 * HOUR).then_some(down).into_iter().collect();
        let verdicts = admit(&queue, &inside, &breakers, now);
        assert_eq!(
            verdicts,
            admit(&queue, &inside, &breakers, now),
            "the same view and time, other verdicts"
        );
        let ids: Vec<JobId> = verdicts.iter().map(of).collect();
        let asked: Vec<JobId> = queue.iter().map(|job| job.job_id).collect();
        assert_eq!(ids, asked, "a verdict for each, in the order asked");
        for verdict in &verdicts {
            match verdict {
                Verdict::Start(id) => {
                    started = true;
                    let at = queue.iter().position(|job| job.job_id == *id).unwrap();
                    let job = queue.remove(at);
                    assert!(job.connected, "{job:?} starts on a host that is away");
                    running.push(job);
                }
                Verdict::Hold(id, hold) => named(*id, hold, &asked, &inside),
            }
        }
        apart(&running);
        for _ in 0..bytes.below(4) {
            if !running.is_empty() {
                running.remove(bytes.below(running.len()));
            }
        }
        if let Some(host) = bytes.maybe(host) {
            let back = bytes.flag();
            for job in queue.iter_mut().chain(&mut running).filter(|job| job.host_id == host) {
                job.connected = back;
            }
        }
        now = now + bytes.within(0, 600) * MINUTE;
        if bytes.is_empty() {
            break;
        }
    }
    drained(queue, now);
    started
}

fn host(bytes: &mut Bytes<'_>) -> HostId {
    HostId::mint(Timestamp::default(), [bytes.below(4) as u8; 10])
}

fn asked(bytes: &mut Bytes<'_>, number: u16, now: Timestamp) -> Waiting {
    let [high, low] = number.to_be_bytes();
    Waiting {
        job_id: JobId::mint(now, [0, 0, 0, 0, 0, 0, 0, 0, high, low]),
        kind: bytes.pick(&JobKind::ALL),
        host_id: host(bytes),
        repo_id: RepoId::mint(Timestamp::default(), [bytes.below(3) as u8; 10]),
        connected: bytes.below(5) > 0,
        since: now,
        asker: if number.is_multiple_of(5) { Asker::Operator } else { Asker::Plan },
    }
}

fn occupying(job: &Waiting) -> Occupying {
    Occupying {
        job_id: job.job_id,
        kind: job.kind,
        host_id: job.host_id,
        repo_id: job.repo_id,
        connected: job.connected,
    }
}

fn of(verdict: &Verdict) -> JobId {
    match verdict {
        Verdict::Start(id) | Verdict::Hold(id, _) => *id,
    }
}

/// A hold that names a job names another one that waits or runs.
fn named(id: JobId, hold: &Hold, asked: &[JobId], inside: &[Occupying]) {
    match hold {
        Hold::HostBusy { job_id }
        | Hold::RepoBusy { job_id }
        | Hold::Draining { job_id }
        | Hold::OutOfContact { job_id } => {
            let known = asked.contains(job_id) || inside.iter().any(|job| job.job_id == *job_id);
            assert!(*job_id != id && known, "{id} is held by {job_id}");
        }
        Hold::HostOffline => {}
        Hold::BreakerOpen => {
            let down = RepoId::mint(Timestamp::default(), [0; 10]);
            let trying = |job: &Occupying| job.repo_id == down && job.connected;
            assert!(asked.len() > 1 || inside.iter().any(trying), "{id} waits for nobody");
        }
        hold => panic!("admission knows nothing of {hold:?}"),
    }
}

/// Restic's own table of locks, and one thing at a time on a host, written down from the outside.
fn apart(running: &[Waiting]) {
    let alone = |job: &Waiting| ["forget", "prune", "check"].contains(&job.kind.as_str());
    let shares = |job: &Waiting| ["backup", "stats", "restore", "diff"].contains(&job.kind.as_str());
    let backs_up = |job: &Waiting| ["backup", "init", "restore", "diff"].contains(&job.kind.as_str());
    let maintains = |job: &Waiting| ["forget", "prune", "check", "stats"].contains(&job.kind.as_str());
    for (n, a) in running.iter().enumerate() {
        for b in &running[n + 1..] {
            let (one_repo, one_host) = (a.repo_id == b.repo_id, a.host_id == b.host_id);
            let excludes = (alone(a) && (alone(b) || shares(b))) || (alone(b) && shares(a));
            assert!(!(one_repo && excludes), "{a:?} beside {b:?}");
            assert!(!(one_host && backs_up(a) && backs_up(b)), "{a:?} and {b:?} on one host");
            assert!(!(one_host && one_repo && maintains(a) && maintains(b)), "{a:?} and {b:?}");
        }
        let beside = running.iter().filter(|b| a.host_id == b.host_id && maintains(b)).count();
        assert!(beside <= 2, "{beside} jobs of maintenance on one host");
    }
}

/// With nothing in the way, everything that can be reached gets its turn.
fn drained(mut queue: Vec<Waiting>, now: Timestamp) {
    queue.retain(|job| job.connected);
    for _ in 0..=queue.len() {
        let started: BTreeSet<JobId> = admit(&queue, &[], &OpenBreakers::new(), now)
            .iter()
            .filter_map(|verdict| match verdict {
                Verdict::Start(id) => Some(*id),
                Verdict::Hold(..) => None,
            })
            .collect();
        queue.retain(|job| !started.contains(&job.job_id));
    }
    assert!(queue.is_empty(), "never admitted: {queue:?}");
}
