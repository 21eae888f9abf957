//! The end of a job's log.
//!
//! A log is read forwards from a number. The number of its last line is found by looking at few places, so that the tail
//! of a long log costs about as much as that of a short one.

use restic_manager_core::id::JobId;
use restic_manager_core::model::LogLine;

use crate::app::{App, AppError};

/// The last lines of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LogTail {
    /// The lines, oldest first.
    pub(super) lines: Vec<LogLine>,
    /// Whether there are lines before these.
    pub(super) cut: bool,
}

/// The last `wanted` lines of a job's log.
pub(super) async fn log_tail(app: &App, id: JobId, wanted: usize) -> Result<LogTail, AppError> {
    let Some(mut from) = near_end(app, id).await? else { return Ok(LogTail::default()) };
    // Lines may be missing where the middle of a long log was given up, so numbers are no count.
    from = from.saturating_sub(wanted as u64);
    let mut lines: Vec<LogLine> = Vec::new();
    let mut next = Some(from);
    while let Some(from) = next {
        let slice = app.job_log(id, from, u32::try_from(wanted).unwrap_or(u32::MAX)).await?;
        next = slice.lines.last().filter(|_| slice.more).map(|line| line.n + 1);
        lines.extend(slice.lines);
    }
    let first = lines.len().saturating_sub(wanted);
    let cut = first > 0 || lines.first().is_some_and(|line| line.n > 0);
    Ok(LogTail { lines: lines.split_off(first), cut })
}

/// The number of a line from which on one slice holds the rest of the log; none when there is no line.
async fn near_end(app: &App, id: JobId) -> Result<Option<u64>, AppError> {
    let first = app.job_log(id, 0, 1).await?;
    let Some(line) = first.lines.first() else { return Ok(None) };
    if !first.more {
        return Ok(Some(line.n));
    }
    // Behind `low` there is more than a slice; from `high` on there is not.
    let (mut low, mut high) = (line.n, line.n + 1024);
    while app.job_log(id, high, 1).await?.more {
        low = high;
        high = high.saturating_mul(2);
    }
    loop {
        let middle = low + (high - low) / 2;
        let slice = app.job_log(id, middle, 1).await?;
        match slice.lines.first() {
            Some(line) if !slice.more => return Ok(Some(line.n)),
            Some(_) => low = middle,
            None => high = middle,
        }
        if high - low <= 1 {
            return Ok(Some(low));
        }
    }
}
