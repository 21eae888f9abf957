//! What agents report: the trait.

use async_trait::async_trait;
use restic_manager_core::id::{HostId, JobId, SpoolId};
use restic_manager_core::time::Timestamp;

use super::{SqliteStore, log, snapshots};
use crate::{
    Applied, Listed, LogSlice, NumberedEffect, PageRequest, Reports, Result, SnapshotFilter, SnapshotList,
    SnapshotRow,
};

#[async_trait]
impl Reports for SqliteStore {
    async fn apply(
        &self,
        host_id: HostId,
        spool_id: SpoolId,
        effects: Vec<NumberedEffect>,
        now: Timestamp,
    ) -> Result<Vec<Applied>> {
        self.apply.apply(host_id, spool_id, effects, now).await
    }

    async fn log(&self, job_id: JobId, from: u64, max_lines: u32) -> Result<LogSlice> {
        log::slice(self, job_id, from, max_lines).await
    }

    async fn forget_logs(&self, ended_before: Timestamp) -> Result<u64> {
        log::forget(self, ended_before).await
    }

    async fn snapshots(
        &self,
        host_id: HostId,
        filter: &SnapshotFilter,
        page: PageRequest,
    ) -> Result<Listed<SnapshotRow>> {
        snapshots::page(self, host_id, filter, &page).await
    }

    async fn snapshot_lists(&self, host_id: HostId) -> Result<Vec<SnapshotList>> {
        snapshots::lists(self, host_id).await
    }
}
