//! The lock that a restic we killed leaves behind.

use restic_manager_core::restic::{Command, Lock, LockId, parse_cat_lock, parse_list_locks};
use restic_manager_core::time::{SECOND, Timestamp};

use super::ask::{Until, ask};
use super::context::Context;
use super::follow::Ran;
use super::log::JobLog;
use crate::process::ProcessIdentity;

/// A run of ours that is over: its process was seen to end.
#[derive(Debug)]
struct EndedRun<'a> {
    hostname: &'a str,
    pid: i32,
    started_at: Timestamp,
    ended_at: Timestamp,
}

/// Runs `unlock` after our own SIGKILL, but only when every lock present is that of the killed run; else says whose locks there are.
///
/// Plain `unlock` judges locks by host name and process number, which other containers may share: hence the rule.
pub(crate) async fn release(context: &Context, log: &mut JobLog, killed: &ProcessIdentity, ran: &Ran) {
    if let Err(why) = try_release(context, log, killed, ran).await {
        log.agent(format!("the repository is not unlocked by itself: {why}")).await;
    }
}

async fn try_release(
    context: &Context,
    log: &mut JobLog,
    killed: &ProcessIdentity,
    ran: &Ran,
) -> Result<(), String> {
    if killed.is_alive() {
        return Err("the process is still there".to_owned());
    }
    let ids = list(context, log).await?;
    if ids.is_empty() {
        log.agent("no lock is left in the repository").await;
        return Ok(());
    }
    if !sees_all_processes() {
        return Err("in a container process numbers do not tell whose lock it is".to_owned());
    }
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let run =
        EndedRun { hostname: &hostname, pid: killed.pid, started_at: ran.started_at, ended_at: ran.end.at };
    for id in &ids {
        let lock = show(context, log, id).await?;
        if !is_of(&lock, &run) {
            let Lock { hostname, pid, time, .. } = lock;
            return Err(format!(
                "lock {} of process {pid} on {hostname} from {time} is not of this run",
                id.short()
            ));
        }
    }
    let answer = ask(context, log, &Command::Unlock, context.times.query, Until::Deadline).await;
    answer.complete().map_err(|outcome| outcome.message.clone())?;
    match list(context, log).await? {
        left if left.is_empty() => log.agent("the lock of the killed process was removed").await,
        left => return Err(format!("{} locks are left after unlocking", left.len())),
    }
    Ok(())
}

async fn list(context: &Context, log: &mut JobLog) -> Result<Vec<LockId>, String> {
    let answer = ask(context, log, &Command::ListLocks, context.times.query, Until::Deadline).await;
    let stdout = answer.complete().map_err(|outcome| outcome.message.clone())?;
    parse_list_locks(stdout).map_err(|error| error.to_string())
}

async fn show(context: &Context, log: &mut JobLog, id: &LockId) -> Result<Lock, String> {
    let command = Command::CatLock(id.clone());
    let answer = ask(context, log, &command, context.times.query, Until::Deadline).await;
    let stdout = answer.complete().map_err(|outcome| outcome.message.clone())?;
    parse_cat_lock(stdout).map_err(|error| error.to_string())
}

/// Host, process and time must all agree; clocks are those of this host, read within a second of each other.
fn is_of(lock: &Lock, run: &EndedRun<'_>) -> bool {
    lock.hostname == run.hostname
        && lock.pid == i64::from(run.pid)
        && lock.time >= run.started_at - SECOND
        && lock.time <= run.ended_at + SECOND
}

/// Whether process numbers here are those of the machine. The first pid namespace of Linux has a fixed number
/// (`PROC_PID_INIT_INO` in the kernel's `include/linux/proc_ns.h`); systems without namespaces have no such file.
fn sees_all_processes() -> bool {
    match std::fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) => namespace.as_os_str() == "pid:[4026531836]",
        Err(_) => !cfg!(target_os = "linux"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_ours_only_when_host_process_and_time_agree() {
        let at = Timestamp::from_millis;
        let run = EndedRun { hostname: "vm", pid: 7, started_at: at(100_000), ended_at: at(200_000) };
        let lock = |hostname: &str, pid, time| Lock {
            time: at(time),
            exclusive: false,
            hostname: hostname.to_owned(),
            username: "root".into(),
            pid,
        };
        assert!(is_of(&lock("vm", 7, 100_000), &run));
        assert!(is_of(&lock("vm", 7, 200_500), &run));
        for other in
            [lock("vm2", 7, 150_000), lock("vm", 8, 150_000), lock("vm", 7, 98_000), lock("vm", 7, 202_000)]
        {
            assert!(!is_of(&other, &run), "{other:?}");
        }
    }
}
