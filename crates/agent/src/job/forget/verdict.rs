//! The one end of a forget of many groups: the worst of theirs.

use restic_manager_core::humane::count;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::wire::{ForgetMode, ForgetSpec};

use super::group::{self, Done};
use crate::job::ending::Ending;

/// Puts the ends of the groups together; groups that were not reached are named too.
pub(super) fn of(spec: &ForgetSpec, done: Vec<Done>) -> Ending {
    let seconds: f64 = done.iter().filter_map(|one| one.ending.summary.seconds).sum();
    let reached = done.len();
    let (planned, removed, kept) = done.iter().fold((0, 0, 0), |sum, one| {
        (sum.0 + one.result.planned, sum.1 + one.result.removed, sum.2 + one.result.kept)
    });
    let mut results = Vec::new();
    let mut worst: Option<Ending> = None;
    for one in done {
        let is_worse = worst.as_ref().is_none_or(|worst| rank(one.outcome.class) > rank(worst.outcome.class));
        if is_worse {
            let tag = (spec.groups.len() > 1).then(|| one.result.tag.clone());
            let mut ending = one.ending;
            if let Some(tag) = tag {
                ending.outcome.message = format!("tag {tag}: {}", ending.outcome.message);
            }
            worst = Some(ending);
        }
        results.push(one.result);
    }
    let mut ending = worst.unwrap_or_else(Ending::never_began);
    for group in &spec.groups[reached..] {
        let mut left_out = group::result(group, &ending.outcome);
        left_out.message = "not reached: an earlier group ended the job".to_owned();
        results.push(left_out);
    }
    if ending.outcome.class == OutcomeClass::Ok {
        let groups = count(reached as u64, "group");
        ending.outcome.message = match spec.mode {
            ForgetMode::Apply => format!("{} of {groups} removed, {kept} left", count(removed, "snapshot")),
            ForgetMode::Preview => {
                format!("{} of {groups} would go, {kept} would stay", count(planned, "snapshot"))
            }
        };
    }
    ending.summary.seconds = Some(seconds);
    ending.summary.forget = results;
    ending
}

/// What ended the job is worse than what was one group's own.
const fn rank(class: OutcomeClass) -> u8 {
    match class {
        OutcomeClass::Ok => 0,
        OutcomeClass::Partial => 1,
        OutcomeClass::Unknown | OutcomeClass::SourceMissing => 2,
        OutcomeClass::Locked
        | OutcomeClass::Unreachable
        | OutcomeClass::NoRepository
        | OutcomeClass::WrongPassword
        | OutcomeClass::AppendOnly
        | OutcomeClass::NoSpace
        | OutcomeClass::ResticMissing
        | OutcomeClass::Cancelled
        | OutcomeClass::Killed => 3,
    }
}
