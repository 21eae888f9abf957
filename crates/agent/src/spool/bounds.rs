//! What happens when there is too much, or no room.

use std::path::PathBuf;

use restic_manager_core::wire::LogGap;
use tracing::{error, warn};

use super::{Spool, SpoolError, failed};
use crate::state::write_atomically;

/// Room that is given back to the file system when it is full, so that the end of a job can still be written down.
const RESERVE_BYTES: usize = 256 << 10;

impl Spool {
    /// Lets log lines give way, oldest first, when there is too much.
    pub(super) fn keep_bounded(&mut self) -> Result<(), SpoolError> {
        if self.bytes() <= self.limit {
            return Ok(());
        }
        // Down to three quarters, so that not every further line rewrites a file.
        let enough = self.limit / 4 * 3;
        if self.segments.back().is_some_and(|segment| segment.log_bytes > 0) {
            self.begin_segment()?;
        }
        self.reading = None;
        for at in 0..self.segments.len() {
            if self.bytes() <= enough {
                break;
            }
            let segment = &mut self.segments[at];
            if segment.log_bytes > 0 {
                segment.give_way().map_err(failed("rewrite", &segment.path))?;
                warn!(file = %segment.path.display(), "the spool is full; log lines of unacknowledged jobs were given up");
            }
        }
        Ok(())
    }

    /// Whether it is full of what must not be given up.
    pub(super) fn is_full_of_duties(&self) -> bool {
        let logs: u64 = self.segments.iter().map(|segment| segment.log_bytes).sum();
        self.bytes() - logs >= self.limit / 4 * 3
    }

    pub(super) fn lose(&mut self, gap: &LogGap, error: &SpoolError) {
        if !self.lost.contains_key(&gap.job_id) {
            error!(%error, job = %gap.job_id, "log lines cannot be written to the spool; they are lost");
        }
        let open = self.lost.entry(gap.job_id).or_insert_with(|| gap.clone());
        open.to = open.to.max(gap.to);
    }

    pub(super) fn reserve(&self) -> PathBuf {
        self.folder.join("reserve")
    }

    /// Best effort: a disk that has no room for it has other worries.
    pub(super) fn keep_reserve(&mut self) {
        let path = self.reserve();
        if !path.exists() && write_atomically(&path, &vec![0xff; RESERVE_BYTES]).is_err() {
            let _ = std::fs::remove_file(&path);
        }
    }
}
