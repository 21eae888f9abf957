//! Locks that are in the way: seen, judged, and removed where they are our own and stale.

use restic_manager_core::model::{LockOwner, SeenLock};
use restic_manager_core::restic::{
    Command, Lock, LockId, OutcomeClass, parse_cat_lock, parse_list_locks, parse_unlocked,
};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::AutoUnlock;

use super::ask::{Until, ask};
use super::context::Context;
use super::ending::Ending;
use super::log::JobLog;
use super::runs::sees_all_processes;
use crate::process::now;

/// What a job learned of the locks of its repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locks {
    /// Those that were in the way, or that an unlock found.
    pub(crate) met: Vec<SeenLock>,
    /// Those that were there at the last look.
    pub(crate) left: Option<(Vec<SeenLock>, Timestamp)>,
    /// How many the job removed.
    pub(crate) removed: u64,
    /// Restic removed more than were listed before.
    pub(crate) removed_more: bool,
}

/// What a lock file that restic itself cannot read is called.
const UNREADABLE: &str = "?";

/// A job met a lock. Whether its command may run once more: no lock is left.
///
/// Plain `unlock` runs by itself only when the server allows it and every lock present is that of a run of this agent which is over.
/// Nobody has to be kept out of the repository meanwhile: plain `unlock` cannot take a live lock that came after the list, since
/// restic removes only locks of this host whose process is gone, and locks that nobody refreshed for 30 minutes.
pub(crate) async fn clear(context: &mut Context, log: &mut JobLog, until: Until) -> bool {
    let found = match look(context, log, until).await {
        Ok(found) => found,
        Err(why) => {
            log.agent(format!("the locks could not be looked at: {why}")).await;
            return false;
        }
    };
    if found.is_empty() {
        log.agent("no lock is left in the repository").await;
        return true;
    }
    context.locks.met.clone_from(&found);
    if let Err(why) = may_remove(context, &found) {
        log.agent(format!("the repository is not unlocked by itself: {why}")).await;
        return false;
    }
    match remove(context, log, &Command::Unlock, until).await {
        Ok(left) if left.is_empty() => true,
        Ok(left) => {
            log.agent(format!("the repository is still locked: {}", sentence(&left))).await;
            context.locks.met = left;
            false
        }
        Err(why) => {
            log.agent(format!("the repository could not be unlocked: {why}")).await;
            false
        }
    }
}

fn may_remove(context: &Context, found: &[SeenLock]) -> Result<(), String> {
    match context.command.auto_unlock {
        AutoUnlock::Allowed => {}
        AutoUnlock::Off => return Err("it is set so, or another host has the name of this operating system, so that a lock does not tell whose it is".to_owned()),
    }
    attested(found)
}

/// Whether every lock is that of a run of this agent which is over; else why not.
pub(crate) fn attested(found: &[SeenLock]) -> Result<(), String> {
    if !sees_all_processes() {
        return Err("in a container process numbers do not tell whose lock it is".to_owned());
    }
    match found.iter().find(|lock| lock.owner != LockOwner::EndedRun) {
        None => Ok(()),
        Some(lock) => Err(format!("{} is not of an ended run of this agent", name(lock))),
    }
}

/// Lists the locks and reads each; the job remembers what it saw.
pub(crate) async fn look(
    context: &mut Context,
    log: &mut JobLog,
    until: Until,
) -> Result<Vec<SeenLock>, String> {
    let mut read = Vec::new();
    for id in list(context, log, until).await? {
        let lock = show(context, log, &id, until).await;
        read.push((id, lock));
    }
    if read.iter().any(|(_, lock)| lock.is_none()) {
        // Gone between the two questions, or no lock that restic can read.
        let still = list(context, log, until).await?;
        read.retain(|(id, lock)| lock.is_some() || still.contains(id));
    }
    let known: Vec<&Lock> = read.iter().filter_map(|(_, lock)| lock.as_ref()).collect();
    let mut owners = context.runs.owners(&known).into_iter();
    let seen: Vec<SeenLock> = read
        .iter()
        .map(|(id, lock)| match lock {
            Some(lock) => seen(id, lock, owners.next().unwrap_or(LockOwner::Unknown), log),
            None => unreadable(id),
        })
        .collect();
    for lock in &seen {
        log.agent(name(lock)).await;
    }
    context.locks.left = Some((seen.clone(), now()));
    Ok(seen)
}

fn seen(id: &LockId, lock: &Lock, owner: LockOwner, log: &JobLog) -> SeenLock {
    SeenLock {
        id: id.as_str().to_owned(),
        hostname: log.redact(&lock.hostname),
        username: log.redact(&lock.username),
        pid: u64::try_from(lock.pid).unwrap_or(0),
        exclusive: lock.exclusive,
        time: lock.time,
        owner,
    }
}

/// Restic refuses every command while such a file lies there.
fn unreadable(id: &LockId) -> SeenLock {
    SeenLock {
        id: id.as_str().to_owned(),
        hostname: UNREADABLE.to_owned(),
        username: UNREADABLE.to_owned(),
        pid: 0,
        exclusive: true,
        time: Timestamp::from_millis(0),
        owner: LockOwner::Unknown,
    }
}

/// Unlocks with `command`, counts by listing again, and returns what is left.
pub(crate) async fn remove(
    context: &mut Context,
    log: &mut JobLog,
    command: &Command,
    until: Until,
) -> Result<Vec<SeenLock>, String> {
    let before = context.locks.left.take().map(|(before, _)| before).unwrap_or_default();
    let answer = ask(context, log, command, context.times.query, until).await;
    let said = parse_unlocked(answer.complete().map_err(|outcome| outcome.message.clone())?);
    count(context, log, &before, said, until).await
}

/// Lists again after an unlock.
pub(crate) async fn count(
    context: &mut Context,
    log: &mut JobLog,
    before: &[SeenLock],
    said: Option<u64>,
    until: Until,
) -> Result<Vec<SeenLock>, String> {
    let left = look(context, log, until).await?;
    let gone = before.iter().filter(|lock| !left.iter().any(|other| other.id == lock.id)).count() as u64;
    let removed = said.unwrap_or(gone);
    log.agent(format!("{} removed", counted(removed))).await;
    context.locks.removed += removed;
    if removed > before.len() as u64 {
        context.locks.removed_more = true;
        let listed = counted(before.len() as u64);
        log.agent(format!("warning: {listed} listed before, restic removed {removed}")).await;
    }
    Ok(left)
}

fn counted(locks: u64) -> String {
    if locks == 1 { "1 lock was".to_owned() } else { format!("{locks} locks were") }
}

async fn list(context: &Context, log: &mut JobLog, until: Until) -> Result<Vec<LockId>, String> {
    let answer = ask(context, log, &Command::ListLocks, context.times.query, until).await;
    let stdout = answer.complete().map_err(|outcome| outcome.message.clone())?;
    parse_list_locks(stdout).map_err(|error| error.to_string())
}

async fn show(context: &Context, log: &mut JobLog, id: &LockId, until: Until) -> Option<Lock> {
    let command = Command::CatLock(id.clone());
    let answer = ask(context, log, &command, context.times.query, until).await;
    parse_cat_lock(answer.complete().ok()?).ok()
}

/// The end of a job that met a lock says who holds it and what to do.
pub(crate) async fn explain(context: &mut Context, log: &mut JobLog, ending: &mut Ending) {
    if ending.outcome.class == OutcomeClass::Locked && context.locks.left.is_none() {
        match look(context, log, Until::Cancelled).await {
            Ok(found) => context.locks.met = found,
            Err(why) => log.agent(format!("the locks could not be looked at: {why}")).await,
        }
    }
    ending.summary.locks.clone_from(&context.locks.met);
    ending.summary.locks_removed = (context.locks.removed > 0).then_some(context.locks.removed);
    if ending.outcome.class == OutcomeClass::Locked && !context.locks.met.is_empty() {
        ending.outcome.message = format!("the repository is locked: {}", sentence(&context.locks.met));
        ending.outcome.hint = Some(remedy(&context.locks.met).to_owned());
    }
    if context.locks.removed_more {
        ending.outcome.message.push_str("; an unlock removed more locks than were listed before it");
    }
}

/// All locks in words; the first ones by name.
pub(crate) fn sentence(locks: &[SeenLock]) -> String {
    const NAMED: usize = 3;
    let mut text = locks.iter().take(NAMED).map(name).collect::<Vec<_>>().join("; ");
    if locks.len() > NAMED {
        text.push_str(&format!("; and {} more", locks.len() - NAMED));
    }
    text
}

fn name(lock: &SeenLock) -> String {
    let short: String = lock.id.chars().take(8).collect();
    if lock.hostname == UNREADABLE && lock.pid == 0 {
        return format!("lock {short} is a file that restic cannot read");
    }
    let kind = if lock.exclusive { "exclusive" } else { "shared" };
    let owner = match lock.owner {
        LockOwner::EndedRun => ", a run of this agent that is over",
        LockOwner::LiveRun => ", a run of this agent that goes on",
        LockOwner::Unknown => "",
    };
    let SeenLock { hostname, username, pid, time, .. } = lock;
    format!("{kind} lock {short} of process {pid} on {hostname} by {username} since {time}{owner}")
}

fn remedy(locks: &[SeenLock]) -> &'static str {
    let all = |is: fn(&SeenLock) -> bool| locks.iter().all(is);
    if locks.iter().any(|lock| lock.hostname == UNREADABLE && lock.pid == 0) {
        "plain `unlock` does not remove such a file; when nobody uses the repository, remove all locks"
    } else if all(|lock| lock.owner == LockOwner::EndedRun) {
        "nobody holds it any more: unlock the repository"
    } else if all(|lock| lock.owner != LockOwner::Unknown) {
        "wait for the other run of this host to end"
    } else {
        "look whether that process still runs; if it does not, unlock the repository: restic removes locks of dead \
         processes of its own host, and any that is older than 30 minutes"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: LockOwner) -> SeenLock {
        SeenLock {
            id: "ab".repeat(32),
            hostname: "vm".into(),
            username: "root".into(),
            pid: 7,
            exclusive: true,
            time: Timestamp::from_millis(1_700_000_000_000),
            owner,
        }
    }

    #[test]
    fn a_lock_is_told_with_holder_place_time_and_kind() {
        let text = sentence(&[lock(LockOwner::Unknown)]);
        assert_eq!(text, "exclusive lock abababab of process 7 on vm by root since 2023-11-14T22:13:20Z");
        assert!(sentence(&vec![lock(LockOwner::EndedRun); 5]).ends_with("; and 2 more"));
    }

    #[test]
    fn the_remedy_depends_on_whose_locks_they_are() {
        assert!(remedy(&[lock(LockOwner::EndedRun)]).starts_with("nobody holds it any more"));
        assert!(remedy(&[lock(LockOwner::EndedRun), lock(LockOwner::LiveRun)]).starts_with("wait"));
        assert!(remedy(&[lock(LockOwner::EndedRun), lock(LockOwner::Unknown)]).starts_with("look whether"));
        let id = LockId::new("a".repeat(64)).unwrap();
        assert!(remedy(&[unreadable(&id)]).contains("remove all locks"));
    }

    #[test]
    fn one_foreign_lock_among_ours_forbids_all() {
        if !sees_all_processes() {
            return;
        }
        assert_eq!(attested(&[lock(LockOwner::EndedRun)]), Ok(()));
        for other in [LockOwner::LiveRun, LockOwner::Unknown] {
            assert!(attested(&[lock(LockOwner::EndedRun), lock(other)]).is_err());
        }
    }
}
