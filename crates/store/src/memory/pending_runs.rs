//! Pending runs.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use async_trait::async_trait;
use restic_manager_core::id::{HostId, RunId};
use restic_manager_core::model::{Job, JobState, Run, RunState};
use restic_manager_core::pending::{Plan, Retry, Target};
use restic_manager_core::time::Timestamp;

use super::{MemoryStore, State, pages};
use crate::{
    Becomes, Listed, PageRequest, PendingOf, PendingRow, PendingRuns, Result, RunNames, Settled, Settlement,
};

#[async_trait]
impl PendingRuns for MemoryStore {
    async fn pending_due(&self, online: &[HostId], now: Timestamp, most: u32) -> Result<Vec<PendingRow>> {
        let state = self.state();
        let mut due = state.pending(|row| {
            row.owed.next_attempt_at <= now
                && (online.contains(&row.run.host_id) || row.schedule != Plan::Enabled || row.retry.is_none())
        });
        due.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(due)
    }

    async fn pending_of_hosts(&self, host_ids: &[HostId]) -> Result<Vec<PendingRow>> {
        let hosts: BTreeSet<&HostId> = host_ids.iter().collect();
        Ok(self.state().pending(|row| hosts.contains(&row.run.host_id)))
    }

    async fn pending_run(&self, id: RunId) -> Result<Option<PendingRow>> {
        let state = self.state();
        Ok(state.runs.get(&id).and_then(|run| state.pending_row(run)))
    }

    async fn pending_runs(&self, of: PendingOf, page: PageRequest) -> Result<Listed<PendingRow>> {
        let rows = self.state().pending(|row| match of {
            PendingOf::Fleet => true,
            PendingOf::Host(host_id) => row.run.host_id == host_id,
            PendingOf::Repo(repo_id) => row.run.key.repo_id == repo_id,
        });
        let mut rows: Vec<_> = rows.into_iter().map(|row| (Reverse(row.run.id), row)).collect();
        rows.sort_by_key(|(id, _)| *id);
        pages::page(rows, &page)
    }

    async fn count_pending(&self) -> Result<u64> {
        Ok(self.state().runs.values().filter(|run| run.pending.is_some()).count() as u64)
    }

    async fn settle(&self, settlements: Vec<Settlement>, _now: Timestamp) -> Result<Vec<Settled>> {
        let mut state = self.state();
        Ok(settlements.into_iter().map(|settlement| state.settle(settlement)).collect())
    }
}

impl State {
    /// The pending runs that are wanted, the longest due first.
    fn pending(&self, wanted: impl Fn(&PendingRow) -> bool) -> Vec<PendingRow> {
        let mut rows: Vec<PendingRow> =
            self.runs.values().filter_map(|run| self.pending_row(run)).filter(wanted).collect();
        rows.sort_by_key(|row| (row.owed.next_attempt_at, row.run.id));
        rows
    }

    fn pending_row(&self, run: &Run) -> Option<PendingRow> {
        let owed = run.pending?;
        let schedule = match self.schedules.get(&run.key.schedule_id) {
            None => Plan::Gone,
            Some(schedule) if schedule.enabled => Plan::Enabled,
            Some(_) => Plan::Disabled,
        };
        let group = self.groups.get(&run.key.group_id);
        let retry =
            group.map(|group| Retry { max: group.retry_max, backoff_seconds: group.retry_backoff_seconds });
        let target = match self.attachment_between(run.host_id, run.key.repo_id) {
            Some(_) => Target::Attached,
            None => Target::Detached,
        };
        let last = self.jobs.of_run(run.id).last();
        Some(PendingRow {
            run: run.clone(),
            owed,
            schedule,
            retry,
            target,
            names: self.run_names(run),
            last_job: last.map(|job| job.id),
            last_message: last.and_then(|job| job.message.clone()),
        })
    }

    fn run_names(&self, run: &Run) -> RunNames {
        let host = self.hosts.get(&run.host_id).map(|host| &host.name);
        let repo = self.repos.get(&run.key.repo_id).map(|repo| &repo.name);
        let group = self.groups.get(&run.key.group_id).map(|group| &group.name);
        let schedule = self.schedules.get(&run.key.schedule_id).map(|schedule| &schedule.name);
        let host = host.or_else(|| self.former.hosts.get(&run.host_id));
        let repo = repo.or_else(|| self.former.repos.get(&run.key.repo_id));
        let group = group.or_else(|| self.former.groups.get(&run.key.group_id));
        let text = |name: Option<&restic_manager_core::text::DisplayName>| {
            name.map(ToString::to_string).unwrap_or_default()
        };
        RunNames { host: text(host), repo: text(repo), group: text(group), schedule: text(schedule) }
    }

    fn settle(&mut self, settlement: Settlement) -> Settled {
        let Settlement { run_id, owed, becomes } = settlement;
        let run = self.runs.get_mut(&run_id);
        let Some(run) = run.filter(|run| run.state == RunState::Open && run.pending == Some(owed)) else {
            return Settled::Stale;
        };
        match becomes {
            Becomes::Attempted(job) => {
                run.attempt += 1;
                run.pending = None;
                let attempt = run.attempt;
                self.jobs.put(Job { run_id: Some(run_id), attempt, state: JobState::Queued, ..*job });
            }
            Becomes::Planned(at) => {
                run.pending = Some(restic_manager_core::model::Pending { next_attempt_at: at, ..owed });
            }
            Becomes::Abandoned { why, audit } => {
                run.end(RunState::Abandoned, Some(why));
                self.write_audit(audit);
            }
        }
        Settled::Done
    }
}
