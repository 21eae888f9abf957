//! The doors to what agents report.

use async_trait::async_trait;
use restic_manager_core::id::{HostId, JobId, SpoolId};
use restic_manager_core::time::Timestamp;

use super::{MemoryStore, missing};
use crate::{
    Applied, Listed, LogSlice, NumberedEffect, PageRequest, Reports, Result, SnapshotFilter, SnapshotList,
    SnapshotRow,
};

#[async_trait]
impl Reports for MemoryStore {
    async fn apply(
        &self,
        host_id: HostId,
        spool_id: SpoolId,
        effects: Vec<NumberedEffect>,
        now: Timestamp,
    ) -> Result<Vec<Applied>> {
        let mut state = self.state();
        if !state.hosts.contains_key(&host_id) {
            return Err(missing("host", host_id));
        }
        let mut newest = state.spools.get(&(host_id, spool_id)).copied().unwrap_or(0);
        let mut applied = Vec::with_capacity(effects.len());
        for NumberedEffect { seq, effect } in effects {
            if seq <= newest {
                applied.push(Applied::Repeat);
                continue;
            }
            newest = seq;
            applied.push(match state.take_effect(host_id, effect, now) {
                Ok(()) => Applied::Done,
                Err(why) => Applied::Ignored(why.to_string()),
            });
        }
        state.spools.insert((host_id, spool_id), newest);
        Ok(applied)
    }

    async fn log(&self, job_id: JobId, from: u64, max_lines: u32) -> Result<LogSlice> {
        Ok(self.state().logs.get(&job_id).map(|log| log.slice(from, max_lines)).unwrap_or_default())
    }

    async fn forget_logs(&self, ended_before: Timestamp) -> Result<u64> {
        let state = &mut *self.state();
        if !state.jobs.any_ended_before(ended_before) {
            return Ok(0);
        }
        let before = state.logs.len();
        let jobs = &state.jobs;
        state.logs.retain(|id, _| jobs.ended_here_at(*id).is_none_or(|at| at >= ended_before));
        Ok((before - state.logs.len()) as u64)
    }

    async fn snapshots(
        &self,
        host_id: HostId,
        filter: &SnapshotFilter,
        page: PageRequest,
    ) -> Result<Listed<SnapshotRow>> {
        self.state().snapshots_page(host_id, filter, &page)
    }

    async fn snapshot_lists(&self, host_id: HostId) -> Result<Vec<SnapshotList>> {
        Ok(self.state().snapshot_lists(host_id))
    }
}
