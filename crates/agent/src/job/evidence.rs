//! What the repository itself says of a backup whose end nobody saw, or whose last word is lost.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use restic_manager_core::restic::{BackupSummary, Snapshot, SnapshotFilter};
use restic_manager_core::text::SourcePath;
use restic_manager_core::time::{SECOND, Timestamp};
use restic_manager_core::wire::BackupSpec;

use super::context::Context;
use super::follow::Ran;
use super::log::JobLog;
use super::survey;

/// The repository could not be asked; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unanswered;

/// The snapshot that this run made, as a summary; none when the repository holds no such snapshot.
///
/// # Errors
///
/// [`Unanswered`].
pub(crate) async fn find(
    context: &Context,
    log: &mut JobLog,
    spec: &BackupSpec,
    ran: &Ran,
) -> Result<Option<BackupSummary>, Unanswered> {
    log.agent("looking into the repository for the snapshot of this run").await;
    let host = Some(context.command.restic_host.clone());
    let filter = SnapshotFilter { host, tag: Some(spec.tag.clone()), id: None };
    let listed = survey::list(context, log, filter).await.ok_or(Unanswered)?;
    let includes: Vec<&str> = spec.includes.iter().map(SourcePath::as_str).collect();
    Ok(newest_of(&listed, &includes, ran.started_at, ran.end.at).map(summary_of))
}

fn summary_of(made: &Snapshot) -> BackupSummary {
    let stored = made.summary.as_ref();
    BackupSummary {
        snapshot_id: Some(made.id.clone()),
        files_new: stored.map_or(0, |summary| summary.files_new),
        files_changed: stored.map_or(0, |summary| summary.files_changed),
        bytes_added: stored.map_or(0, |summary| summary.data_added),
        bytes_added_packed: stored.map(|summary| summary.data_added_packed),
        files_processed: stored.map_or(0, |summary| summary.total_files_processed),
        bytes_processed: stored.map_or(0, |summary| summary.total_bytes_processed),
        ..BackupSummary::default()
    }
}

/// Whether a folder has no room for a page more.
pub(crate) fn is_full(folder: &Path) -> bool {
    let tried = tempfile::tempfile_in(folder).and_then(|file| fill_page(&file));
    tried.is_err_and(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

fn fill_page(mut file: &File) -> io::Result<()> {
    file.write_all(&[b'.'; 4096])?;
    file.sync_data()
}

/// A snapshot carries the time at which its backup began, by this host's clock.
fn newest_of<'a>(
    listed: &'a [Snapshot],
    includes: &[&str],
    started_at: Timestamp,
    ended_at: Timestamp,
) -> Option<&'a Snapshot> {
    let within = |time: Timestamp| time >= started_at - SECOND && time <= ended_at + SECOND;
    let same_paths = |paths: &[String]| !paths.is_empty() && paths.iter().all(|path| is_of(path, includes));
    let ours = listed.iter().filter(|snapshot| within(snapshot.time.at()) && same_paths(&snapshot.paths));
    ours.max_by_key(|snapshot| snapshot.time)
}

/// Restic writes a path without the slash at its end.
fn is_of(path: &str, includes: &[&str]) -> bool {
    let plain = |path: &str| path.trim_end_matches('/').to_owned();
    includes.iter().any(|include| plain(include) == plain(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use restic_manager_core::restic::SnapshotId;

    fn snapshot(n: u64, at: i64, paths: &[&str]) -> Snapshot {
        let id = SnapshotId::new(format!("{n:064x}")).unwrap();
        Snapshot {
            short_id: SnapshotId::new(id.short()).unwrap(),
            id,
            time: Timestamp::from_millis(at).into(),
            parent: None,
            hostname: "h".into(),
            username: "root".into(),
            tags: Vec::new(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            program_version: None,
            summary: None,
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_page_that_finds_no_room_is_a_full_disk_and_a_folder_that_is_gone_is_none() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(fill_page(&full).unwrap_err().kind(), ErrorKind::StorageFull);
        let temp = tempfile::tempdir().unwrap();
        assert!(!is_full(temp.path()) && !is_full(&temp.path().join("gone")));
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_a_snapshot_of_the_same_time_and_paths_proves_the_run() {
        let (start, end) = (Timestamp::from_millis(100_000), Timestamp::from_millis(200_000));
        let find = |listed: &[Snapshot]| {
            newest_of(listed, &["/a/", "/b"], start, end).map(|snapshot| snapshot.time.at().as_millis())
        };
        assert_eq!(find(&[snapshot(1, 98_000, &["/a"]), snapshot(2, 202_000, &["/a"])]), None);
        assert_eq!(find(&[snapshot(1, 150_000, &["/a", "/c"]), snapshot(2, 150_000, &[])]), None);
        assert_eq!(find(&[snapshot(1, 99_500, &["/b"]), snapshot(2, 150_000, &["/a", "/b"])]), Some(150_000));
    }
}
