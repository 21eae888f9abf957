//! Repositories as they are shown.

use restic_manager_core::api::{Page, RepoView};
use restic_manager_core::model::{CheckStatus, RepoStats, ResticRepoId, StatsKind};
use restic_manager_core::time::DAY;

use crate::commands::attachment::role;
use crate::commands::job::findings::{check_tone, checked};
use crate::commands::lock;
use crate::ui::{Cell, Grid, Look, Tone, View, ago, count, instant, size};

/// A check that is older than this says little: the standard policy checks once a month.
const CHECK_AGES_FOR: i64 = 35 * DAY;

pub(crate) fn table(page: &Page<RepoView>, look: &Look) -> View {
    let row = |view: &RepoView| {
        vec![
            Cell::from(view.repo.name.as_str()),
            Cell::or_none(view.stats.total_size_bytes.map(size)),
            Cell::or_none(view.stats.snapshot_count.map(|n| n.to_string())),
            Cell::from(view.attachments.len().to_string()),
            Cell::or_none(view.stats.measured_at.map(|at| ago(at, look.now))),
            last_check(&view.stats, look),
        ]
    };
    Grid::new(
        &["NAME", "SIZE", "SNAPSHOTS", "HOSTS", "MEASURED", "LAST CHECK"],
        "No repositories: rmctl creds set HOST makes one",
    )
    .rows(page.items.iter().map(row))
}

/// One repository, its locks and its hosts.
pub(crate) fn card(view: &RepoView, look: &Look) -> View {
    let when = |at| format!("{} ({})", instant(at, &look.zone), ago(at, look.now));
    let kind = match view.stats.size_kind {
        None => "",
        Some(StatsKind::ReferencedData) => " that snapshots refer to",
        Some(StatsKind::AfterPrune) => " after the last prune",
    };
    let mut views = vec![View::Card(vec![
        ("Name", view.repo.name.as_str().into()),
        ("Id", view.repo.id.to_string().into()),
        ("Restic's id", Cell::or_none(view.repo.restic_id.as_ref().map(ResticRepoId::as_str))),
        ("Size", Cell::or_none(view.stats.total_size_bytes.map(|bytes| format!("{}{kind}", size(bytes))))),
        ("Uncompressed", Cell::or_none(view.stats.uncompressed_bytes.map(size))),
        ("Snapshots", Cell::or_none(view.stats.snapshot_count.map(|n| n.to_string()))),
        ("Measured", Cell::or_none(view.stats.measured_at.map(when))),
        ("Last check", last_check(&view.stats, look)),
        ("Last prune", Cell::or_none(view.stats.last_prune_at.map(when))),
        ("Locks", locks(&view.stats, look)),
        ("Made", when(view.repo.created_at).into()),
    ])];
    let seen = view.stats.locks.as_deref().unwrap_or_default();
    if !seen.is_empty() {
        views.push(lock::present(seen, view.stats.locks_seen_at.unwrap_or(look.now), look));
    }
    views.push(hosts(view));
    View::Stack(views)
}

fn hosts(view: &RepoView) -> View {
    let rows = view.attachments.iter().map(|attachment| {
        let runner = if view.repo.runner == Some(attachment.id) { "runner" } else { "" };
        vec![
            Cell::from(attachment.restic_host.as_str()),
            Cell::from(role(attachment.role)),
            Cell::from(runner),
            Cell::from(attachment.id.to_string()),
        ]
    });
    let header = &["SNAPSHOTS AS", "ROLE", "", "ATTACHMENT"];
    Grid::new(header, "No host uses it: rmctl host attach HOST REPO").rows(rows)
}

/// What the last check found and when; a good answer that is old is not as good.
fn last_check(stats: &RepoStats, look: &Look) -> Cell {
    let Some(status) = stats.last_check else { return Cell::new("never", Tone::Faint) };
    let said = checked(status, stats.last_check_subset_pct);
    let Some(at) = stats.last_check_at else { return Cell::new(said, check_tone(status)) };
    let old = status == CheckStatus::Ok && look.now.millis_since(at) > CHECK_AGES_FOR;
    let tone = if old { Tone::Warning } else { check_tone(status) };
    Cell::new(format!("{said}, {}", ago(at, look.now)), tone)
}

fn locks(stats: &RepoStats, look: &Look) -> Cell {
    let Some(locks) = &stats.locks else { return Cell::none() };
    let seen = stats.locks_seen_at.map_or_else(String::new, |at| format!(", seen {}", ago(at, look.now)));
    if locks.is_empty() {
        return Cell::new(format!("none{seen}"), Tone::Good);
    }
    Cell::new(format!("{}{seen}", count(locks.len() as u64, "lock")), Tone::Warning)
}

#[cfg(test)]
mod tests {
    use restic_manager_core::model::LockOwner;

    use super::*;
    use crate::ui::fixed_look;

    fn page() -> Page<RepoView> {
        serde_json::from_str(include_str!("../../../tests/answers/repos.json")).unwrap()
    }

    #[test]
    fn repositories_as_a_table_and_each_alone() {
        let page = page();
        let look = fixed_look();
        let mut views = vec![table(&page, &look)];
        views.extend(page.items.iter().map(|view| card(view, &look)));
        insta::assert_snapshot!(View::Stack(views).render(&look));
    }

    #[test]
    fn a_good_check_fades_and_a_bad_one_does_not() {
        let look = fixed_look();
        let cell = |status, days: i64| {
            let stats = RepoStats {
                last_check: Some(status),
                last_check_at: Some(look.now - days * DAY),
                ..RepoStats::default()
            };
            last_check(&stats, &look)
        };
        assert_eq!(cell(CheckStatus::Ok, 3), Cell::new("no errors, 3 d ago", Tone::Good));
        assert_eq!(cell(CheckStatus::Ok, 36), Cell::new("no errors, 36 d ago", Tone::Warning));
        assert_eq!(cell(CheckStatus::ErrorsFound, 90), Cell::new("errors found, 90 d ago", Tone::Bad));
        assert_eq!(cell(CheckStatus::Failed, 3), Cell::new("could not look, 3 d ago", Tone::Warning));
    }

    #[test]
    fn no_lock_and_an_unknown_number_of_locks_are_told_apart() {
        let look = fixed_look();
        let mut stats = RepoStats::default();
        assert_eq!(locks(&stats, &look), Cell::none());
        stats.locks = Some(Vec::new());
        assert_eq!(locks(&stats, &look), Cell::new("none", Tone::Good));
        stats.locks = page().items[1].stats.locks.clone();
        assert_eq!(stats.locks.as_ref().unwrap()[0].owner, LockOwner::Unknown);
        assert_eq!(locks(&stats, &look), Cell::new("2 locks", Tone::Warning));
    }
}
