//! What came of a job.

use restic_manager_core::api::JobView;
use restic_manager_core::model::{CheckStatus, ForgetResult, JobSummary};
use restic_manager_core::restic::{OutcomeClass, SnapshotId};

use crate::commands::lock;
use crate::ui::{Cell, Grid, Look, Tone, View, count, size};

/// All of it in one line.
pub(crate) fn in_a_line(view: &JobView) -> String {
    let Some(summary) = &view.job.summary else { return String::new() };
    let mut parts = backed_up(summary);
    if let Some(status) = summary.check {
        parts.push(checked(status, summary.check_subset_pct));
    }
    if !summary.forget.is_empty() {
        parts.push(forgotten(view, &summary.forget));
    }
    if let Some(prune) = &summary.prune {
        parts.extend(prune.removed_bytes.map(|bytes| format!("{} removed", size(bytes))));
        parts.extend(prune.remaining_bytes.map(|bytes| format!("{} left", size(bytes))));
    }
    if let Some(removed) = summary.locks_removed {
        parts.push(format!("{} removed", count(removed, "lock")));
    }
    if summary.adopted == Some(true) {
        parts.push("the repository was there already".to_owned());
    }
    parts.join(", ")
}

/// What a check says, and how much it looked at.
pub(crate) fn checked(status: CheckStatus, subset_pct: Option<u8>) -> String {
    let said = match status {
        CheckStatus::Ok => "no errors",
        CheckStatus::ErrorsFound => "errors found",
        CheckStatus::Locked => "could not look: the repository was locked",
        CheckStatus::Failed => "could not look",
    };
    match (status, subset_pct) {
        (CheckStatus::Locked | CheckStatus::Failed, _) | (_, None) => said.to_owned(),
        (CheckStatus::Ok | CheckStatus::ErrorsFound, Some(0)) => format!("{said}, structure only"),
        (CheckStatus::Ok | CheckStatus::ErrorsFound, Some(percent)) => {
            format!("{said}, {percent} % of the data read")
        }
    }
}

/// How good that is.
pub(crate) const fn check_tone(status: CheckStatus) -> Tone {
    match status {
        CheckStatus::Ok => Tone::Good,
        CheckStatus::ErrorsFound => Tone::Bad,
        CheckStatus::Locked | CheckStatus::Failed => Tone::Warning,
    }
}

/// What takes a table of its own: forget group by group, and the locks.
pub(crate) fn tables(view: &JobView, look: &Look) -> Vec<View> {
    let Some(summary) = &view.job.summary else { return Vec::new() };
    let mut views = Vec::new();
    if !summary.forget.is_empty() {
        views.push(groups(&summary.forget));
    }
    if !summary.locks.is_empty() {
        let seen_at = view.job.finished_at.unwrap_or(look.now);
        views.push(lock::found(&summary.locks, seen_at, look));
    }
    views
}

fn backed_up(summary: &JobSummary) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(id) = summary.snapshot_id.as_ref().and_then(|id| SnapshotId::new(id).ok()) {
        parts.push(format!("snapshot {}", id.short()));
    }
    parts.extend(summary.files_new.map(|new| format!("{new} new")));
    parts.extend(summary.files_changed.map(|changed| format!("{changed} changed")));
    parts.extend(summary.bytes_stored.or(summary.bytes_added).map(|bytes| format!("{} added", size(bytes))));
    let unreadable = summary.unreadable_items.filter(|items| *items > 0);
    parts.extend(unreadable.map(|items| format!("{} unreadable", count(items, "item"))));
    parts
}

fn forgotten(view: &JobView, groups: &[ForgetResult]) -> String {
    if view.job.intent.preview_group.is_some() {
        let planned = groups.iter().map(|group| group.planned).sum();
        return format!("{} would go", count(planned, "snapshot"));
    }
    let removed = groups.iter().map(|group| group.removed).sum();
    let kept: u64 = groups.iter().map(|group| group.kept).sum();
    format!("{} forgotten, {kept} kept", count(removed, "snapshot"))
}

fn groups(groups: &[ForgetResult]) -> View {
    let row = |group: &ForgetResult| {
        let tone = if group.class == OutcomeClass::Ok { Tone::Good } else { Tone::Bad };
        vec![
            Cell::from(group.restic_host.as_str()),
            Cell::from(group.tag.as_str()),
            Cell::from(group.planned.to_string()),
            Cell::from(group.removed.to_string()),
            Cell::from(group.kept.to_string()),
            Cell::new(&group.message, tone),
        ]
    };
    Grid::new(&["SNAPSHOTS OF", "TAG", "PLANNED", "GONE", "LEFT", "RESULT"], "").rows(groups.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_could_not_look_never_sounds_like_one_that_looked() {
        assert_eq!(checked(CheckStatus::Ok, Some(0)), "no errors, structure only");
        assert_eq!(checked(CheckStatus::ErrorsFound, Some(5)), "errors found, 5 % of the data read");
        assert_eq!(checked(CheckStatus::Locked, Some(5)), "could not look: the repository was locked");
        assert_eq!(checked(CheckStatus::Failed, None), "could not look");
        assert_eq!(check_tone(CheckStatus::Failed), Tone::Warning);
        assert_eq!(check_tone(CheckStatus::ErrorsFound), Tone::Bad);
    }
}
