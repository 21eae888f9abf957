//! Backing up one source group.

use std::path::Path;
use std::time::Duration;

use restic_manager_core::restic::{
    Backup, BackupSummary, Command, Exit, Kind, Outcome, OutcomeClass, Sent, Snapshot, SnapshotId,
};
use restic_manager_core::text::{ExcludePattern, SourcePath};
use restic_manager_core::wire::BackupSpec;

use super::context::Context;
use super::ending::Ending;
use super::follow::{self, Ran};
use super::log::JobLog;
use super::survey::{self, Depth};
use super::{evidence, identity};

pub(crate) async fn run(context: &mut Context, log: &mut JobLog, spec: &BackupSpec) -> Ending {
    if let Some(ending) = nothing_to_back_up(context, spec) {
        return ending;
    }
    for path in &context.missing_includes {
        log.agent(format!("`{}` does not exist", path.escape_debug())).await;
    }
    if let Err(refused) = identity::verify(context, log).await {
        return refused;
    }
    let host = context.command.restic_host.clone();
    let mut backup = match Backup::new(host, spec.tag.clone(), spec.includes.clone()) {
        Ok(backup) => backup,
        Err(error) => {
            let hint = "give the source group at least one path";
            return Ending::failed(OutcomeClass::SourceMissing, error.to_string(), hint);
        }
    };
    backup.excludes.clone_from(&spec.excludes);
    backup.excludes.extend(own_folders(context));
    backup.exclude_caches = spec.options.exclude_caches;
    backup.one_file_system = spec.options.one_file_system;
    match follow::run(context, log, &Command::Backup(backup)).await {
        Ok(ran) => conclude(context, log, spec, ran).await,
        Err(ending) => ending,
    }
}

/// The end of `backup`.
pub(crate) async fn conclude(
    context: &mut Context,
    log: &mut JobLog,
    spec: &BackupSpec,
    mut ran: Ran,
) -> Ending {
    let mut outcome = judge(context, log, spec, &mut ran).await;
    identity::doubt(context, outcome.class);
    let has_snapshot = matches!(outcome.class, OutcomeClass::Ok | OutcomeClass::Partial);
    let mut full_id = None;
    if has_snapshot {
        let listed = survey::take(context, log, Depth::FullOnceADay).await.unwrap_or_default();
        full_id = snapshot_of(&ran).and_then(|id| resolve(id, &listed));
    }
    if outcome.class == OutcomeClass::Partial && outcome.hint.is_none() {
        outcome.hint = Some("look in the log for what was left out".to_owned());
    }
    let unreadable = outcome.unreadable_items;
    let mut ending = Ending::after(&ran, outcome);
    if let Some(summary) = ran.facts.summary.as_ref().filter(|_| has_snapshot) {
        fill(&mut ending, summary, full_id.as_ref());
    }
    ending.summary.unreadable_items = (has_snapshot || unreadable > 0).then_some(unreadable);
    ending.summary.missing_paths = ran.facts.missing_includes.into_iter().collect();
    ending
}

/// Restic's word, or the repository's where restic's is lost: nobody saw the end, or a full disk took its last line.
async fn judge(context: &Context, log: &mut JobLog, spec: &BackupSpec, ran: &mut Ran) -> Outcome {
    // Restic writes its summary after the snapshot: whoever said it had only its lock left to take away.
    let spoke = snapshot_of(ran).is_some();
    let ended_well = matches!(ran.end.exit, None | Some(Exit::Code(0 | 3)));
    if spoke || !ended_well {
        return ran.outcome(context, Kind::Backup, Exit::Code(0));
    }
    let found = evidence::find(context, log, spec, ran).await;
    if found.is_err() && evidence::is_full(&context.dir) {
        let message = "the agent's state directory on the host is full: restic's last word is lost, \
            and whether a snapshot was made is not known";
        let hint = "make room under the agent's state directory, then look at the repository's snapshots";
        return Ending::failed(OutcomeClass::NoSpace, message, hint).outcome;
    }
    if let Ok(Some(found)) = found {
        ran.facts.summary = Some(found);
        let outcome = ran.outcome(context, Kind::Backup, Exit::Code(3));
        let Some(id) = snapshot_of(ran) else { return outcome };
        let message = format!("snapshot {} was made, but restic's last word on it is lost", id.short());
        return Outcome { message, ..outcome };
    }
    if ran.end.exit.is_none() && ran.sent == Sent::Nothing {
        let message = "restic is gone, nobody saw how it ended, and no snapshot of this run was found";
        let hint = "a lock may be left in the repository; look for a lack of memory or a reboot";
        return Ending::failed(OutcomeClass::Killed, message, hint).outcome;
    }
    ran.outcome(context, Kind::Backup, Exit::Signal(9))
}

fn snapshot_of(ran: &Ran) -> Option<&SnapshotId> {
    ran.facts.summary.as_ref().and_then(BackupSummary::evidence)
}

/// The full id of a snapshot of which 0.14.0 said only the first digits: the newest with these.
fn resolve(id: &SnapshotId, listed: &[Snapshot]) -> Option<SnapshotId> {
    if id.is_full() {
        return Some(id.clone());
    }
    let agreeing = listed.iter().filter(|snapshot| snapshot.id.agrees_with(id));
    agreeing.max_by_key(|snapshot| snapshot.time).map(|snapshot| snapshot.id.clone())
}

fn fill(ending: &mut Ending, summary: &BackupSummary, full_id: Option<&SnapshotId>) {
    let id = full_id.or(summary.evidence());
    ending.summary.snapshot_id = id.map(|id| id.as_str().to_owned());
    ending.summary.files_new = Some(summary.files_new);
    ending.summary.files_changed = Some(summary.files_changed);
    ending.summary.files_unmodified = Some(summary.files_unmodified);
    ending.summary.bytes_added = Some(summary.bytes_added);
    ending.summary.bytes_stored = summary.bytes_added_packed;
    ending.summary.files_processed = Some(summary.files_processed);
    ending.summary.bytes_processed = Some(summary.bytes_processed);
}

fn nothing_to_back_up(context: &Context, spec: &BackupSpec) -> Option<Ending> {
    let missing = &context.missing_includes;
    if spec.includes.iter().any(|path| !missing.iter().any(|gone| gone == path.as_str())) {
        return None;
    }
    let message = match missing.as_slice() {
        [only] => format!("`{}` does not exist, so there is nothing to back up", only.escape_debug()),
        _ => format!("none of the {} paths to back up exists", missing.len()),
    };
    let hint = "correct the paths of the source group, or mount what is missing";
    let mut ending = Ending::failed(OutcomeClass::SourceMissing, message, hint);
    ending.summary.missing_paths.clone_from(missing);
    Some(ending)
}

/// Which of the paths do not exist. Restic up to 0.18 exits with 0 when only some of them do.
///
/// A path that cannot be looked at within `patience` (a dead network mount) is left to restic.
pub(crate) async fn missing_includes(includes: &[SourcePath], patience: Duration) -> Vec<String> {
    let mut missing = Vec::new();
    for path in includes {
        let look = tokio::time::timeout(patience, tokio::fs::symlink_metadata(path.as_str())).await;
        let Ok(Err(error)) = look else { continue };
        // A component that is a file says the same: there is nothing of that name.
        if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) {
            missing.push(path.as_str().to_owned());
        }
    }
    missing
}

/// Patterns for the agent's state and restic's cache, by each name they have: backing up what changes while it is read
/// helps nobody, and the state holds secrets.
fn own_folders(context: &Context) -> Vec<ExcludePattern> {
    let mut patterns: Vec<ExcludePattern> = Vec::new();
    for folder in [&context.state_dir, &context.cache_dir, &context.dir] {
        let real = std::fs::canonicalize(folder).ok();
        for name in [Some(folder.clone()), real].into_iter().flatten() {
            let Some(pattern) = literal(&name) else { continue };
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
    }
    patterns
}

/// A pattern that matches this path alone.
fn literal(path: &Path) -> Option<ExcludePattern> {
    let mut pattern = String::new();
    for c in path.to_str()?.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    ExcludePattern::new(pattern).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_stars_in_its_name_is_excluded_literally() {
        assert_eq!(literal(Path::new("/a*/[b]?")).unwrap().as_str(), r"/a\*/\[b]\?");
        assert!(literal(Path::new("/a\nb")).is_none());
    }

    #[tokio::test]
    async fn a_path_below_a_file_is_as_missing_as_one_that_was_never_there() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink("nowhere", temp.path().join("link")).unwrap();
        let path = |name: &str| SourcePath::new(temp.path().join(name).to_str().unwrap()).unwrap();
        let includes = [path("file"), path("file/below"), path("gone"), path("link")];
        let missing = missing_includes(&includes, Duration::from_secs(60)).await;
        assert_eq!(missing, [path("file/below").to_string(), path("gone").to_string()]);
    }
}
