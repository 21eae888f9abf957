//! A line of sizes, small enough for a row of a table.

use askama::Template;
use askama::filters::HtmlSafe;
use restic_manager_core::api::StatsDay;
use restic_manager_core::time::{DAY, Timestamp};

use super::words;

/// How wide and how high a line is, in its own units: three a day.
const STEP: i64 = 3;
const HEIGHT: u64 = 20;

/// A line of the last days, oldest left. Days that nothing is known of are bridged.
#[derive(Debug, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = r#"<svg class="spark" viewBox="0 0 {{ width }} 22" role="img" aria-label="{{ label }}"><title>{{ label }}</title><path d="{{ path }}"/></svg>"#
)]
pub(super) struct Spark {
    width: i64,
    label: String,
    path: String,
}

impl HtmlSafe for Spark {}

impl Spark {
    /// The line of a repository's sizes over so many days up to `now`; none where fewer than two are known.
    pub(super) fn of(sizes: &[StatsDay], days: i64, now: Timestamp) -> Option<Self> {
        let first = now.as_millis().div_euclid(DAY) - days;
        let known: Vec<(i64, u64)> = sizes
            .iter()
            .filter_map(|day| Some((day.day.as_millis().div_euclid(DAY) - first, day.total_size_bytes?)))
            .collect();
        let ((from_day, from), (to_day, to)) = (*known.first()?, *known.last()?);
        if from_day == to_day {
            return None;
        }
        let low = known.iter().map(|(_, size)| *size).min()?;
        let high = known.iter().map(|(_, size)| *size).max()?;
        // What hardly changes is drawn as what hardly changes: a tenth of the size spans the height.
        let span = (high - low).max(high / 10).max(1);
        let base = low.saturating_sub((span - (high - low)) / 2);
        let mut path = String::new();
        for (at, size) in &known {
            let rise = u128::from(size - base) * u128::from(HEIGHT) / u128::from(span);
            let y = 21 - rise.min(u128::from(HEIGHT));
            path.push_str(if path.is_empty() { "M" } else { "L" });
            path.push_str(&format!("{} {y}", at * STEP));
        }
        let grown = match to.checked_sub(from) {
            Some(0) => "no change".to_owned(),
            Some(more) => format!("{} more", words::size(more)),
            None => format!("{} less", words::size(from - to)),
        };
        let span = words::count((to_day - from_day).unsigned_abs(), "day");
        let label = format!("{} to {}, {grown} in {span}", words::size(from), words::size(to));
        Some(Self { width: days * STEP, label, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(known: &[(i64, Option<u64>)]) -> Vec<StatsDay> {
        let day = |(day, size): &(i64, Option<u64>)| StatsDay {
            day: Timestamp::from_millis(day * DAY),
            total_size_bytes: *size,
            snapshot_count: None,
        };
        known.iter().map(day).collect()
    }

    const NOW: Timestamp = Timestamp::from_millis(100 * DAY + 5);

    #[test]
    fn a_line_rises_from_left_to_right_and_bridges_what_is_not_known() {
        let line = Spark::of(&sizes(&[(90, Some(1024)), (94, None), (100, Some(2048))]), 10, NOW).unwrap();
        assert_eq!(line.path, "M0 21L30 1");
        assert_eq!(line.label, "1.0 KiB to 2.0 KiB, 1.0 KiB more in 10 days");
    }

    #[test]
    fn what_hardly_changes_is_nearly_flat() {
        let line =
            Spark::of(&sizes(&[(98, Some(1000)), (99, Some(1001)), (100, Some(1000))]), 2, NOW).unwrap();
        assert_eq!(line.path, "M0 12L3 11L6 12");
        assert!(line.label.contains("no change"), "{}", line.label);
    }

    #[test]
    fn one_day_is_no_line() {
        assert_eq!(Spark::of(&sizes(&[(100, Some(5)), (99, None)]), 30, NOW), None);
        assert_eq!(Spark::of(&[], 30, NOW), None);
        let huge = Spark::of(&sizes(&[(99, Some(0)), (100, Some(u64::MAX))]), 1, NOW).unwrap();
        assert_eq!(huge.path, "M0 21L3 1");
    }
}
