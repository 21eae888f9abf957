//! Forgetting snapshots by policy: one restic call a group, and what is really gone known by listing again.

mod group;
mod verdict;

use restic_manager_core::restic::{Exit, OutcomeClass};
use restic_manager_core::wire::{ForgetMode, ForgetSpec};

use super::Replayed;
use super::context::Context;
use super::ending::Ending;
use super::identity;
use super::log::JobLog;
use super::survey;
use group::Done;

pub(crate) async fn run(context: &mut Context, log: &mut JobLog, spec: &ForgetSpec) -> Ending {
    if let Some(refused) = refuse(spec) {
        return refused;
    }
    if let Err(refused) = identity::verify(context, log).await {
        return refused;
    }
    let mut done: Vec<Done> = Vec::new();
    for (step, group) in spec.groups.iter().enumerate() {
        context.step = Some(step);
        let one = group::forget(context, log, group, spec.mode).await;
        let stops = one.ends_the_job();
        done.push(one);
        if stops {
            break;
        }
    }
    end(context, log, spec, done).await
}

/// The end of a `forget` that an earlier agent began. Groups it had not come to are not begun: nobody knows whether they are still
/// wanted.
pub(crate) async fn conclude(
    context: &mut Context,
    log: &mut JobLog,
    spec: &ForgetSpec,
    replayed: Vec<Replayed>,
) -> Ending {
    let mut done = Vec::new();
    for (step, group) in spec.groups.iter().enumerate() {
        // The last of several is the one that counts: those before it met a lock.
        let Some(last) = replayed.iter().rev().find(|one| one.step == Some(step)) else { continue };
        done.push(group::judge(context, log, group, spec.mode, None, &last.ran, Exit::Signal(9)).await);
    }
    if done.len() < spec.groups.len() && done.iter().all(|one| !one.ends_the_job()) {
        let group = &spec.groups[done.len()];
        let message = "the agent was restarted before it came to this group";
        let ending = Ending::failed(OutcomeClass::Killed, message, "it is tried again by itself");
        done.push(Done::without_restic(group, ending));
    }
    end(context, log, spec, done).await
}

/// A policy that keeps nothing would delete everything, or nothing, by restic's version.
fn refuse(spec: &ForgetSpec) -> Option<Ending> {
    let hint = "give the source group a retention policy";
    if spec.groups.is_empty() {
        let message = "no group was named to forget snapshots of; nothing was removed";
        return Some(Ending::failed(OutcomeClass::Unknown, message, hint));
    }
    let empty = spec.groups.iter().find(|group| group.keep.is_empty())?;
    let message =
        format!("the retention policy of the group tagged `{}` is empty; nothing was removed", empty.tag);
    Some(Ending::failed(OutcomeClass::Unknown, message, hint))
}

async fn end(context: &mut Context, log: &mut JobLog, spec: &ForgetSpec, done: Vec<Done>) -> Ending {
    for one in &done {
        identity::doubt(context, one.outcome.class);
        let result = &one.result;
        log.agent(format!(
            "{}, tag {}: {} to go, {} gone, {} left: {}",
            result.restic_host, result.tag, result.planned, result.removed, result.kept, result.message
        ))
        .await;
    }
    if spec.mode == ForgetMode::Apply && done.iter().any(|one| one.result.removed > 0) {
        survey::list_own(context, log).await;
    }
    verdict::of(spec, done)
}
