//! Which restic processes of this agent ran when: what tells a stale lock of ours from anybody else's.
//!
//! A run is written down before it can leave a lock behind, and again when it ended. One without an end is over when no process with
//! its boot, number and start time is left: that is how a lock is attested that a crash of the machine left behind.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use restic_manager_core::model::LockOwner;
use restic_manager_core::restic::Lock;
use restic_manager_core::time::{DAY, SECOND, Timestamp};
use serde::{Deserialize, Serialize};

use crate::journal;
use crate::process::{ProcessIdentity, now};
use crate::state::{os_hostname, write_atomically};

const FILE: &str = "restic-runs.log";
/// How long a run is remembered, in milliseconds: a lock that is older than 30 minutes goes by restic's own rule.
const KEPT_FOR: i64 = 45 * DAY;
/// The most runs that are remembered.
const MOST: usize = 4_000;
/// The size at which the file is rewritten.
const LARGEST: u64 = 2 << 20;

/// A restic process of this agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// The name the operating system went by, which the lock carries.
    hostname: String,
    #[serde(flatten)]
    identity: ProcessIdentity,
    started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
}

/// The record of runs, in the agent's state directory.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    path: PathBuf,
}

impl Runs {
    pub(crate) fn of(state_dir: &Path) -> Self {
        Self { path: state_dir.join(FILE) }
    }

    /// A process was started. On a full disk it goes unrecorded, and its lock then counts as somebody else's.
    pub(crate) fn started(&self, identity: &ProcessIdentity, started_at: Timestamp) {
        self.note(identity, started_at, None);
    }

    /// That process was seen to end, or to be gone.
    pub(crate) fn ended(&self, identity: &ProcessIdentity, started_at: Timestamp, ended_at: Timestamp) {
        self.note(identity, started_at, Some(ended_at));
    }

    fn note(&self, identity: &ProcessIdentity, started_at: Timestamp, ended_at: Option<Timestamp>) {
        let run = Run { hostname: os_hostname(), identity: identity.clone(), started_at, ended_at };
        if let Err(error) = self.append(&run) {
            tracing::warn!(path = %self.path.display(), %error, "cannot write down which restic ran");
        }
    }

    fn append(&self, run: &Run) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        // On a line of its own, also behind one that a crash tore.
        file.write_all(&[b"\n", &line(run)[..]].concat())?;
        file.sync_data()?;
        if file.metadata()?.len() > LARGEST {
            self.shorten(now())?;
        }
        Ok(())
    }

    /// Rewrites the file with what is still of use.
    fn shorten(&self, now: Timestamp) -> io::Result<()> {
        let mut runs = self.read()?;
        runs.retain(|run| now.millis_since(run.ended_at.unwrap_or(run.started_at)) <= KEPT_FOR);
        let surplus = runs.len().saturating_sub(MOST);
        let content: Vec<u8> = runs.iter().skip(surplus).flat_map(line).collect();
        write_atomically(&self.path, &content)
    }

    /// All runs, in the order in which they were started.
    fn read(&self) -> io::Result<Vec<Run>> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut runs: Vec<Run> = Vec::new();
        for json in journal::lines(&bytes).filter_map(|line| line.json) {
            let Ok(run) = serde_json::from_str::<Run>(json) else { continue };
            let same = |known: &&mut Run| {
                known.identity == run.identity
                    && known.started_at == run.started_at
                    && known.hostname == run.hostname
            };
            match runs.iter_mut().rev().find(same) {
                Some(known) => known.ended_at = known.ended_at.or(run.ended_at),
                None => runs.push(run),
            }
        }
        Ok(runs)
    }

    /// Whose lock each of these is.
    pub(crate) fn owners(&self, locks: &[&Lock]) -> Vec<LockOwner> {
        if !sees_all_processes() {
            return vec![LockOwner::Unknown; locks.len()];
        }
        let runs = self.read().unwrap_or_else(|error| {
            tracing::warn!(path = %self.path.display(), %error, "cannot read which restic ran");
            Vec::new()
        });
        locks.iter().map(|lock| owner(lock, &runs, now())).collect()
    }
}

fn line(run: &Run) -> Vec<u8> {
    // No map with other keys than strings, no failing Serialize.
    journal::line(&serde_json::to_string(run).unwrap_or_default())
}

fn owner(lock: &Lock, runs: &[Run], now: Timestamp) -> LockOwner {
    let of_it: Vec<&Run> = runs.iter().filter(|run| is_of(lock, run, now)).collect();
    if of_it.is_empty() {
        return LockOwner::Unknown;
    }
    let lives = |run: &&Run| run.ended_at.is_none() && run.identity.is_alive();
    if of_it.iter().any(lives) { LockOwner::LiveRun } else { LockOwner::EndedRun }
}

/// Host, process and time must all agree; clocks are those of this host, read within a second of each other.
fn is_of(lock: &Lock, run: &Run, now: Timestamp) -> bool {
    lock.hostname == run.hostname
        && lock.pid == i64::from(run.identity.pid)
        && lock.time >= run.started_at - SECOND
        && lock.time <= run.ended_at.unwrap_or(now) + SECOND
}

/// Whether process numbers here are those of the machine. The first pid namespace of Linux has a fixed number
/// (`PROC_PID_INIT_INO` in the kernel's `include/linux/proc_ns.h`); systems without namespaces have no such file.
pub(crate) fn sees_all_processes() -> bool {
    match std::fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) => namespace.as_os_str() == "pid:[4026531836]",
        Err(_) => !cfg!(target_os = "linux"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn lock(hostname: &str, pid: i64, time: i64) -> Lock {
        Lock { time: at(time), exclusive: false, hostname: hostname.into(), username: "root".into(), pid }
    }

    fn process(pid: i32) -> ProcessIdentity {
        ProcessIdentity { pid, start_time: Some(1), boot_id: Some("another boot".into()) }
    }

    fn run(ended_at: Option<Timestamp>) -> Run {
        Run { hostname: "vm".into(), identity: process(7), started_at: at(100_000), ended_at }
    }

    #[test]
    fn a_lock_is_of_a_run_only_when_host_process_and_time_agree() {
        let runs = [run(Some(at(200_000)))];
        let whose = |lock: Lock| owner(&lock, &runs, at(900_000));
        assert_eq!(whose(lock("vm", 7, 100_000)), LockOwner::EndedRun);
        assert_eq!(whose(lock("vm", 7, 200_500)), LockOwner::EndedRun);
        for other in
            [lock("vm2", 7, 150_000), lock("vm", 8, 150_000), lock("vm", 7, 98_000), lock("vm", 7, 202_000)]
        {
            assert_eq!(whose(other.clone()), LockOwner::Unknown, "{other:?}");
        }
    }

    #[test]
    fn a_run_without_an_end_lives_as_long_as_its_process_does() {
        let gone = [run(None)];
        assert_eq!(owner(&lock("vm", 7, 500_000), &gone, at(900_000)), LockOwner::EndedRun);
        assert_eq!(owner(&lock("vm", 7, 950_000), &gone, at(900_000)), LockOwner::Unknown);
        let me = i32::try_from(std::process::id()).unwrap();
        let mut mine = run(None);
        mine.identity = ProcessIdentity::of(me);
        assert_eq!(owner(&lock("vm", me.into(), 500_000), &[mine], at(900_000)), LockOwner::LiveRun);
    }

    #[test]
    fn what_was_written_is_there_for_the_next_agent_and_a_torn_line_costs_itself_alone() {
        let temp = tempfile::tempdir().unwrap();
        let runs = Runs::of(temp.path());
        runs.started(&process(7), at(1));
        runs.started(&process(8), at(2));
        runs.ended(&process(7), at(1), at(5));
        let mut bytes = std::fs::read(&runs.path).unwrap();
        bytes.extend_from_slice(b"0123 {\"hostna");
        std::fs::write(&runs.path, bytes).unwrap();
        runs.ended(&process(8), at(2), at(9));
        let read: Vec<_> =
            runs.read().unwrap().into_iter().map(|run| (run.identity.pid, run.ended_at)).collect();
        assert_eq!(read, [(7, Some(at(5))), (8, Some(at(9)))]);
    }

    #[test]
    fn the_record_stays_small() {
        let temp = tempfile::tempdir().unwrap();
        let runs = Runs::of(temp.path());
        let mut content = Vec::new();
        for n in 0..6_000 {
            let pid = i32::try_from(n).unwrap();
            let run = Run { identity: process(pid), started_at: at(n), ended_at: Some(at(n)), ..run(None) };
            content.extend(line(&run));
        }
        std::fs::write(&runs.path, content).unwrap();
        runs.shorten(at(KEPT_FOR + 5_000)).unwrap();
        let left = runs.read().unwrap();
        assert_eq!((left.len(), left[0].started_at), (1_000, at(5_000)), "those of the last 45 days");
        runs.shorten(at(5_000)).unwrap();
        assert_eq!(runs.read().unwrap().len(), 1_000);
    }
}
