//! Removing locks: the stale ones, only those that are ours, or all of them.

use restic_manager_core::model::{SeenLock, UnlockScope};
use restic_manager_core::restic::{Command, Exit, Kind, OutcomeClass, parse_unlocked};
use restic_manager_core::wire::UnlockSpec;

use super::ask::Until;
use super::context::Context;
use super::ending::Ending;
use super::follow::{self, Ran};
use super::identity;
use super::locks;
use super::log::JobLog;

pub(crate) async fn run(context: &mut Context, log: &mut JobLog, spec: UnlockSpec) -> Ending {
    if let Err(refused) = identity::verify(context, log).await {
        return refused;
    }
    let before = match locks::look(context, log, Until::Cancelled).await {
        Ok(before) => before,
        Err(why) => return not_counted(&why),
    };
    context.locks.met.clone_from(&before);
    if before.is_empty() {
        return Ending::succeeded("no lock is on the repository");
    }
    let command = match spec.scope {
        UnlockScope::Stale => Command::Unlock,
        UnlockScope::All => Command::UnlockAll,
        UnlockScope::Attested => match locks::attested(&before) {
            Ok(()) => Command::Unlock,
            Err(why) => {
                log.agent(format!("nothing is unlocked: {why}")).await;
                let hint = "see who holds it; an operator may unlock it";
                return Ending::failed(OutcomeClass::Locked, why, hint);
            }
        },
    };
    match follow::run(context, log, &command).await {
        Ok(ran) => finish(context, log, &before, &ran).await,
        Err(ending) => ending,
    }
}

/// The end of `unlock` that an earlier agent began: what was there before is no longer known.
pub(crate) async fn conclude(context: &mut Context, log: &mut JobLog, ran: &Ran) -> Ending {
    finish(context, log, &[], ran).await
}

async fn finish(context: &mut Context, log: &mut JobLog, before: &[SeenLock], ran: &Ran) -> Ending {
    // Unseen, it is judged by what is left.
    let mut ending = Ending::after(ran, ran.outcome(context, Kind::Unlock, Exit::Code(0)));
    identity::doubt(context, ending.outcome.class);
    if ending.outcome.class != OutcomeClass::Ok {
        return ending;
    }
    let said = parse_unlocked(&ran.stdout);
    match locks::count(context, log, before, said, Until::Cancelled).await {
        Ok(left) => (ending.outcome.message, ending.outcome.hint) = words(context.locks.removed, &left),
        Err(why) => ending.outcome = not_counted(&why).outcome,
    }
    ending
}

fn not_counted(why: &str) -> Ending {
    let message = format!("the locks of the repository could not be counted: {why}");
    Ending::failed(OutcomeClass::Unknown, message, "the log holds restic's own words")
}

fn words(removed: u64, left: &[SeenLock]) -> (String, Option<String>) {
    let removed = match removed {
        0 => "no lock was removed".to_owned(),
        1 => "1 lock was removed".to_owned(),
        more => format!("{more} locks were removed"),
    };
    if left.is_empty() {
        return (removed, None);
    }
    let hint = "restic calls a lock stale when its process on this host is gone, or when it is older than 30 minutes";
    (format!("{removed}; left are: {}", locks::sentence(left)), Some(hint.to_owned()))
}
