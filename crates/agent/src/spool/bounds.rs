//! What happens when there is too much, or no room.

use std::path::{Path, PathBuf};

use restic_manager_core::wire::LogGap;
use tracing::{error, warn};

use super::segment::{GiveWay, Segment};
use super::{Spool, SpoolError, failed};
use crate::state::write_atomically;

/// Room that is given back to the file system when it is full, so that the end of a job can still be written down.
const RESERVE_BYTES: usize = 256 << 10;

impl Spool {
    /// Lets log lines give way when there is too much, the oldest first; each job's first and last ones, and lists of snapshots that a newer
    /// one replaces, only when that is not enough.
    pub(super) fn keep_bounded(&mut self) -> Result<(), SpoolError> {
        if self.bytes() <= self.limit {
            return Ok(());
        }
        // Down to three quarters, so that not every further line rewrites a file.
        let enough = self.limit / 4 * 3;
        if self.segments.back().is_some_and(|segment| segment.log_bytes + segment.edge_bytes > 0) {
            self.begin_segment()?;
        }
        self.reading = None;
        for what in [GiveWay::Middles(&self.ended_lines), GiveWay::Everything(&self.reports)] {
            for at in 0..self.segments.len() {
                if self.segments.iter().map(|segment| segment.bytes).sum::<u64>() <= enough {
                    return Ok(());
                }
                let segment = &mut self.segments[at];
                let gives = match what {
                    GiveWay::Middles(_) => segment.log_bytes > 0,
                    GiveWay::Everything(_) => segment.log_bytes + segment.edge_bytes > 0,
                };
                if gives {
                    segment.give_way(what).map_err(failed("rewrite", &segment.path))?;
                    warn!(file = %segment.path.display(), "the spool is full; log lines of unacknowledged jobs and old lists of snapshots were given up");
                }
            }
        }
        Ok(())
    }

    /// Whether it is full of what must not be given up.
    pub(super) fn is_full_of_duties(&self) -> bool {
        let logs: u64 = self.segments.iter().map(|segment| segment.log_bytes + segment.edge_bytes).sum();
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
        reserve(&self.folder)
    }

    /// Best effort: a disk that has no room for it has other worries.
    pub(super) fn keep_reserve(&mut self) {
        let path = self.reserve();
        if !path.exists() && write_atomically(&path, &vec![0xff; RESERVE_BYTES]).is_err() {
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn reserve(folder: &Path) -> PathBuf {
    folder.join("reserve")
}

/// Sets aside what a crash tore; where the disk has no room for that, it is cut off. A spool is opened on a full disk too.
pub(super) fn repair(folder: &Path, segment: &mut Segment, damaged: &[u8]) -> Result<(), SpoolError> {
    let aside = segment.set_aside(damaged).or_else(|_| {
        let _ = std::fs::remove_file(reserve(folder));
        segment.set_aside(damaged)
    });
    match aside {
        Ok(aside) => {
            warn!(file = %aside.display(), "the spool had damaged lines; they are set aside");
            Ok(())
        }
        Err(error) => {
            warn!(file = %segment.path.display(), bytes = damaged.len(), %error, "damaged lines of the spool cannot be set aside");
            segment.cut_torn_end().map_err(failed("shorten", &segment.path))
        }
    }
}
