//! What is looked at after a job: how large the repository is, and which snapshots this host has in it.

use std::time::Duration;

use restic_manager_core::model::{RepoStats, Snapshot, StatsKind};
use restic_manager_core::restic::{
    self, Command, Outcome, OutcomeClass, RawDataStats, SnapshotFilter, parse_snapshots, parse_stats,
};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::SnapshotsReport;

use super::ask::{Until, ask};
use super::context::Context;
use super::ending::Ending;
use super::log::JobLog;
use crate::process::now;
use crate::state::write_atomically;

/// How much is measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Depth {
    /// Everything, but not again before a day has passed: measuring reads the whole index and every tree.
    FullOnceADay,
    /// It was measured already.
    Measured(RawDataStats),
}

/// The most snapshots of a report.
const MOST: usize = 2_000;
/// The most text of a report, so that it fits a frame.
const MOST_TEXT: usize = 1 << 20;
/// Where it is kept when a repository was last measured, below the agent's state directory.
const MEASURED: &str = "measured";

/// Lists and measures for the job's reports. Returns this host's snapshots, oldest first, if they could be listed.
///
/// What fails here is said in the log; it does not change how the job ended.
pub(crate) async fn take(
    context: &mut Context,
    log: &mut JobLog,
    depth: Depth,
) -> Option<Vec<restic::Snapshot>> {
    let filter =
        SnapshotFilter { host: Some(context.command.restic_host.clone()), ..SnapshotFilter::default() };
    let listed = list(context, log, filter).await;
    let listed_at = now();
    let stats = match depth {
        Depth::Measured(measured) => {
            stamp(context);
            known(&measured)
        }
        Depth::FullOnceADay if is_due(context) => measure(context, log).await,
        Depth::FullOnceADay => RepoStats::default(),
    };
    let known = context.reports.stats();
    *known = RepoStats { locks: known.locks.take(), locks_seen_at: known.locks_seen_at, ..stats };
    if let Some(snapshots) = &listed {
        keep_snapshots(context, log, snapshots, listed_at);
    }
    listed
}

/// Lists this host's snapshots for the job's reports.
pub(crate) async fn list_own(context: &mut Context, log: &mut JobLog) {
    let filter =
        SnapshotFilter { host: Some(context.command.restic_host.clone()), ..SnapshotFilter::default() };
    let listed_at = now();
    match peek(context, log, filter).await {
        Ok(snapshots) => keep_snapshots(context, log, &snapshots, listed_at),
        Err(outcome) => log.agent(format!("the snapshots could not be listed: {}", outcome.message)).await,
    }
}

/// A repository that has just been made.
pub(crate) fn is_empty(context: &mut Context, log: &JobLog) {
    let stats = context.reports.stats();
    (stats.snapshot_count, stats.measured_at) = (Some(0), Some(now()));
    keep_snapshots(context, log, &[], now());
}

/// Snapshots of a repository, oldest first.
pub(crate) async fn list(
    context: &Context,
    log: &mut JobLog,
    filter: SnapshotFilter,
) -> Option<Vec<restic::Snapshot>> {
    let command = Command::Snapshots(filter);
    let answer = ask(context, log, &command, context.times.query, Until::Cancelled).await;
    let problem = match answer.complete() {
        Ok(stdout) => match parse_snapshots(stdout) {
            Ok(snapshots) => return Some(snapshots),
            Err(error) => error.to_string(),
        },
        Err(outcome) => outcome.message.clone(),
    };
    log.agent(format!("the snapshots could not be listed: {problem}")).await;
    None
}

/// The same whoever holds the repository, with the reason when it fails.
pub(crate) async fn peek(
    context: &Context,
    log: &mut JobLog,
    filter: SnapshotFilter,
) -> Result<Vec<restic::Snapshot>, Outcome> {
    let command = Command::PeekSnapshots(filter);
    let answer = ask(context, log, &command, context.times.query, Until::Cancelled).await;
    let stdout = answer.complete().map_err(Clone::clone)?;
    parse_snapshots(stdout).map_err(|error| {
        let hint = "the log holds restic's own words";
        Ending::failed(OutcomeClass::Unknown, error.to_string(), hint).outcome
    })
}

async fn measure(context: &Context, log: &mut JobLog) -> RepoStats {
    // Also when it fails: what takes too long shall not be tried after every backup.
    stamp(context);
    let answer = ask(context, log, &Command::Stats, context.times.query, Until::Cancelled).await;
    let problem = match answer.complete() {
        Ok(stdout) => match parse_stats(stdout) {
            Ok(measured) => return known(&measured),
            Err(error) => error.to_string(),
        },
        Err(outcome) => outcome.message.clone(),
    };
    log.agent(format!("the repository could not be measured: {problem}")).await;
    RepoStats::default()
}

fn known(measured: &RawDataStats) -> RepoStats {
    RepoStats {
        total_size_bytes: Some(measured.total_size),
        size_kind: Some(StatsKind::ReferencedData),
        uncompressed_bytes: measured.total_uncompressed_size,
        snapshot_count: Some(measured.snapshots_count),
        measured_at: Some(now()),
        ..RepoStats::default()
    }
}

fn keep_snapshots(context: &mut Context, log: &JobLog, snapshots: &[restic::Snapshot], listed_at: Timestamp) {
    let report = SnapshotsReport {
        job_id: Some(context.command.job_id),
        repo_id: context.command.repo_id,
        listed_at,
        total: snapshots.len() as u64,
        snapshots: newest(snapshots, |text| log.redact(text)),
    };
    context.reports.snapshots(report);
}

fn newest(snapshots: &[restic::Snapshot], redact: impl Fn(&str) -> String) -> Vec<Snapshot> {
    let mut ordered: Vec<&restic::Snapshot> = snapshots.iter().collect();
    ordered.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.id.cmp(&b.id)));
    let mut text = 0;
    let fits = |snapshot: &&restic::Snapshot| {
        text += 256 + snapshot.paths.iter().chain(&snapshot.tags).map(|word| word.len() + 4).sum::<usize>();
        text <= MOST_TEXT
    };
    let reported = ordered.into_iter().take(MOST).take_while(fits);
    reported
        .map(|snapshot| Snapshot {
            id: snapshot.id.clone(),
            time: snapshot.time.at(),
            hostname: snapshot.hostname.clone(),
            username: Some(snapshot.username.clone()).filter(|name| !name.is_empty()),
            tags: snapshot.tags.clone(),
            paths: snapshot.paths.iter().map(|path| redact(path)).collect(),
            size_bytes: snapshot.summary.as_ref().map(|summary| summary.total_bytes_processed),
            files: snapshot.summary.as_ref().map(|summary| summary.total_files_processed),
            added_bytes: snapshot.summary.as_ref().map(|summary| summary.data_added_packed),
        })
        .collect()
}

fn stamp_path(context: &Context) -> std::path::PathBuf {
    context.state_dir.join(MEASURED).join(context.command.repo_id.to_string())
}

/// A stamp that cannot be read, or lies in the future, is none.
fn is_due(context: &Context) -> bool {
    let Ok(text) = std::fs::read_to_string(stamp_path(context)) else { return true };
    let Ok(millis) = text.trim().parse() else { return true };
    let age = now().millis_since(Timestamp::from_millis(millis));
    u64::try_from(age).map_or(true, |age| Duration::from_millis(age) >= context.times.full_stats_every)
}

fn stamp(context: &Context) {
    let path = stamp_path(context);
    let folder = context.state_dir.join(MEASURED);
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| write_atomically(&path, now().as_millis().to_string().as_bytes()));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "cannot note when a repository was measured");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(n: u64, paths: Vec<String>) -> restic::Snapshot {
        let id = restic::SnapshotId::new(format!("{n:064x}")).unwrap();
        let short_id = restic::SnapshotId::new(id.short()).unwrap();
        restic::Snapshot {
            id,
            short_id,
            time: Timestamp::from_millis(i64::try_from(n).unwrap()).into(),
            parent: None,
            hostname: "h".into(),
            username: String::new(),
            tags: vec!["t".into()],
            paths,
            program_version: None,
            summary: None,
        }
    }

    #[test]
    fn a_report_holds_the_newest_2000_newest_first() {
        let snapshots: Vec<_> = (0..2_500).map(|n| snapshot(n, vec!["/home".into()])).collect();
        let reported = newest(&snapshots, str::to_owned);
        let times: Vec<i64> = reported.iter().map(|snapshot| snapshot.time.as_millis()).collect();
        assert_eq!((times.len(), times[0], times[1_999]), (2_000, 2_499, 500));
        assert_eq!(reported[0].username, None);
    }

    #[test]
    fn a_report_of_long_paths_still_fits_a_frame() {
        let snapshots: Vec<_> = (0..2_000).map(|n| snapshot(n, vec!["/a\u{1}".repeat(100); 50])).collect();
        let reported = newest(&snapshots, str::to_owned);
        assert!(!reported.is_empty() && reported.len() < 2_000);
        let frame = serde_json::to_string(&reported).unwrap();
        assert!(frame.len() < restic_manager_core::wire::MAX_FRAME_BYTES, "{}", frame.len());
    }
}
