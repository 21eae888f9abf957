//! No two jobs that the server sent were in each other's way on a repository.

use std::collections::BTreeMap;

use restic_manager_core::id::RepoId;

use super::facts::Facts;
use crate::history::Process;
use crate::repos::{Hold, hold_of};

pub(super) fn judge(facts: &Facts<'_>, wrong: &mut Vec<String>) {
    let mut on: BTreeMap<RepoId, Vec<&Process>> = BTreeMap::new();
    let sent =
        facts.history.processes.iter().filter(|process| process.sent && hold_of(process.kind) != Hold::Free);
    for process in sent {
        on.entry(process.repo).or_default().push(process);
    }
    for (repo, mut processes) in on {
        processes.sort_by_key(|process| process.from);
        let mut alive: Vec<&Process> = Vec::new();
        for process in processes {
            alive.retain(|other| other.until.is_none_or(|until| until > process.from));
            for other in &alive {
                if hold_of(process.kind) == Hold::Alone || hold_of(other.kind) == Hold::Alone {
                    wrong.push(format!(
                        "repository {repo}: {} {} and {} {} were sent to run at the same time",
                        other.kind.as_str(),
                        other.job,
                        process.kind.as_str(),
                        process.job
                    ));
                }
            }
            alive.push(process);
        }
    }
}
