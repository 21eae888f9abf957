//! How a repository grew.

use jiff::tz::TimeZone;
use restic_manager_core::api::{Page, StatsDay};
use restic_manager_core::time::Timestamp;

use crate::ui::{Cell, Grid, View, size};

/// One row a day, the oldest first, each with what it added to the one before.
pub(crate) fn table(page: &Page<StatsDay>) -> View {
    let mut days: Vec<&StatsDay> = page.items.iter().collect();
    days.sort_by_key(|day| day.day);
    let mut before: Option<u64> = None;
    let mut rows = Vec::new();
    for day in days {
        rows.push(vec![
            Cell::from(date(day.day)),
            Cell::or_none(day.total_size_bytes.map(size)),
            Cell::or_none(change(before, day.total_size_bytes)),
            Cell::or_none(day.snapshot_count.map(|n| n.to_string())),
        ]);
        // A day on which nothing was measured hides no change.
        before = day.total_size_bytes.or(before);
    }
    Grid::new(&["DAY", "SIZE", "CHANGE", "SNAPSHOTS"], "Nothing was measured yet: rmctl repo stats REPO does")
        .rows(rows)
}

/// Days are those of UTC, wherever the terminal stands.
fn date(day: Timestamp) -> String {
    day.to_jiff().to_zoned_datetime(TimeZone::UTC).date().to_string()
}

fn change(before: Option<u64>, after: Option<u64>) -> Option<String> {
    let (before, after) = (before?, after?);
    Some(match after.cmp(&before) {
        std::cmp::Ordering::Equal => "0 B".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", size(after - before)),
        std::cmp::Ordering::Less => format!("-{}", size(before - after)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn days_in_their_order_with_what_they_changed() {
        let page: Page<StatsDay> =
            serde_json::from_str(include_str!("../../../tests/answers/stats-history.json")).unwrap();
        insta::assert_snapshot!(table(&page).render(&fixed_look()));
    }
}
