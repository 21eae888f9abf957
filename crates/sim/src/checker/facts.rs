//! What is judged, and what it is judged by.

use std::collections::{BTreeMap, BTreeSet};

use restic_manager_core::id::{JobId, RunId, ScheduleId};
use restic_manager_core::model::{Job, Run, RunKey};
use restic_manager_core::time::HOUR;
use restic_manager_store::{AuditFilter, JobFilter, PageRequest, Store};

use crate::history::{History, Process};
use crate::now_or_never;
use crate::when::BEGIN;
use crate::world::World;

/// Whatever began so long before the end must be over by then.
const OVER_BY: i64 = 10 * HOUR;

/// Everything at once.
pub(super) struct Facts<'w> {
    pub(super) world: &'w World,
    pub(super) history: &'w History,
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) keys: BTreeMap<RunKey, RunId>,
    pub(super) processes_of_job: BTreeMap<JobId, Vec<&'w Process>>,
    pub(super) snapshots_of_run: BTreeMap<RunKey, usize>,
    /// Subjects by action.
    pub(super) audit: BTreeMap<String, BTreeSet<String>>,
    /// The count of missed slots of each schedule.
    pub(super) missed: BTreeMap<ScheduleId, u64>,
    /// The end of the history, in milliseconds since 1970.
    pub(super) end: i64,
    /// What began before is over.
    pub(super) over: i64,
}

impl<'w> Facts<'w> {
    pub(super) fn read(world: &'w World) -> Self {
        let (history, store) = (&world.fabric.history, &*world.server.store);
        let end = BEGIN + world.fabric.now;
        let runs: BTreeMap<RunId, Run> = store.all_runs().into_iter().map(|run| (run.id, run)).collect();
        let mut processes_of_job: BTreeMap<JobId, Vec<&Process>> = BTreeMap::new();
        let mut snapshots_of_run = BTreeMap::new();
        for process in &history.processes {
            processes_of_job.entry(process.job).or_default().push(process);
            if let Some(key) = process.run.filter(|_| process.made_snapshot()) {
                *snapshots_of_run.entry(key).or_insert(0) += 1;
            }
        }
        let missed = history.schedules.keys().map(|id| {
            let schedule = now_or_never(world.server.store().schedule(*id)).ok().flatten();
            (*id, schedule.map_or(0, |schedule| schedule.missed.count))
        });
        Self {
            world,
            history,
            jobs: all_jobs(world.server.store()),
            keys: runs.values().map(|run| (run.key, run.id)).collect(),
            runs,
            processes_of_job,
            snapshots_of_run,
            audit: all_audit(world.server.store()),
            missed: missed.collect(),
            end,
            over: end - OVER_BY,
        }
    }

    pub(super) fn audited(&self, action: &str, subject: &str) -> bool {
        self.audit.get(action).is_some_and(|subjects| subjects.contains(subject))
    }

    pub(super) fn snapshots(&self, key: &RunKey) -> usize {
        self.snapshots_of_run.get(key).copied().unwrap_or(0)
    }
}

fn all_jobs(store: &dyn Store) -> BTreeMap<JobId, Job> {
    let mut jobs = BTreeMap::new();
    let mut page = PageRequest::first(u32::MAX);
    while let Ok(listed) = now_or_never(store.jobs(&JobFilter::default(), page)) {
        jobs.extend(listed.items.into_iter().map(|row| (row.job.id, row.job)));
        let Some(next) = listed.next else { break };
        page = PageRequest { after: Some(next), limit: u32::MAX };
    }
    jobs
}

fn all_audit(store: &dyn Store) -> BTreeMap<String, BTreeSet<String>> {
    let mut audit: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for action in [
        "pending_run.abandoned",
        "pending_run.dropped",
        "job.withdrawn",
        "slot.ran_twice",
        "message.set_aside",
    ] {
        let filter = AuditFilter { action: Some(action.into()), ..AuditFilter::default() };
        let mut page = PageRequest::first(u32::MAX);
        let subjects = audit.entry(action.to_owned()).or_default();
        while let Ok(listed) = now_or_never(store.audit(&filter, page)) {
            subjects.extend(listed.items.into_iter().map(|row| row.subject_id));
            let Some(next) = listed.next else { break };
            page = PageRequest { after: Some(next), limit: u32::MAX };
        }
    }
    audit
}
