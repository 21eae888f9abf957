//! Size and number of snapshots over time: lines, values to point at, and a table behind them.

use std::fmt::Write as _;

use askama::Template;
use askama::filters::HtmlSafe;
use restic_manager_core::api::StatsDay;
use restic_manager_core::time::{DAY, Timestamp};

use super::{dates, words};

/// The canvas, in units of its own; the page stretches it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;
/// More points than a narrow screen has room for say nothing more.
const POINTS: usize = 130;
/// The stretches of time one may look at: days, and what they are called.
const SPANS: [(u32, &str); 3] = [(30, "30 d"), (90, "90 d"), (365, "1 y")];

/// The chart of a repository.
#[derive(Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    /// Path, words, and whether it is the one shown.
    spans: Vec<(String, &'static str, bool)>,
    /// What is said of the whole, for those who do not see it.
    summary: String,
    size: Line,
    count: Line,
    /// One a day, to point at: left edge, width, and what is known of the day.
    hits: Vec<(String, String, String)>,
    /// The days at both ends, whether or not anything was measured then.
    first: String,
    last: String,
    /// Newest first.
    rows: Vec<(String, String, String)>,
}

impl HtmlSafe for Chart {}

/// One of the two lines.
#[derive(Default)]
struct Line {
    /// An SVG path; empty when nothing is known.
    path: String,
    /// The same closed along the ground.
    area: String,
    /// The highest value.
    top: String,
    /// The newest value.
    now: String,
}

/// The number of days that was asked for, when it is one that is offered.
pub(super) fn days(asked: &str) -> u32 {
    SPANS.iter().map(|(days, _)| *days).find(|days| asked == days.to_string()).unwrap_or(90)
}

impl Chart {
    /// The chart of these days, oldest first; `path` is that of the page it stands on.
    pub(super) fn new(history: &[StatsDay], days: u32, path: &str, now: Timestamp) -> Self {
        let since = now - i64::from(days) * DAY;
        let x = |at: Timestamp| {
            let passed = at.millis_since(since).max(0);
            passed as f64 / (i64::from(days) * DAY) as f64 * WIDTH
        };
        let step = history.len().div_ceil(POINTS).max(1);
        // Counted from the end, so that the newest day is always there.
        let mut shown: Vec<&StatsDay> = history.iter().rev().step_by(step).collect();
        shown.reverse();
        let line = |value: fn(&StatsDay) -> Option<u64>, say: fn(u64) -> String| {
            let points: Vec<(f64, u64)> =
                shown.iter().filter_map(|day| Some((x(day.day), value(day)?))).collect();
            line(&points, say)
        };
        let (size, count) =
            (line(|day| day.total_size_bytes, words::size), line(|day| day.snapshot_count, words::number));
        let width = WIDTH * step as f64 / f64::from(days);
        let hit = |day: &&StatsDay| {
            let left = x(day.day) - width / 2.0;
            let (date, size, count) = row(day);
            (format!("{left:.1}"), format!("{width:.1}"), format!("{date}: {size}, {count} snapshots"))
        };
        let date = |at| dates::date(dates::day_of(at));
        Self {
            spans: SPANS
                .iter()
                .map(|(span, word)| (format!("{path}?days={span}#history"), *word, *span == days))
                .collect(),
            summary: match (history.first(), history.last()) {
                (Some(first), Some(last)) => {
                    let ((_, then, _), (_, now, count)) = (row(first), row(last));
                    format!("Size from {then} to {now}; {count} snapshots at the end")
                }
                _ => "Nothing was measured yet".to_owned(),
            },
            hits: shown.iter().map(hit).collect(),
            first: date(since),
            last: date(now),
            rows: history.iter().rev().map(row).collect(),
            size,
            count,
        }
    }
}

/// A day in words: date, size, number of snapshots.
fn row(day: &StatsDay) -> (String, String, String) {
    let unknown = || "unknown".to_owned();
    (
        dates::date(dates::day_of(day.day)),
        day.total_size_bytes.map_or_else(unknown, words::size),
        day.snapshot_count.map_or_else(unknown, words::number),
    )
}

/// The line through these points; zero is the ground, a little room is left above.
fn line(points: &[(f64, u64)], say: fn(u64) -> String) -> Line {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Line::default() };
    let top = points.iter().map(|(_, value)| *value).max().unwrap_or(0);
    let y = |value: u64| HEIGHT - value as f64 / top.max(1) as f64 * (HEIGHT - 12.0) - 2.0;
    let mut path = String::new();
    for (at, (x, value)) in points.iter().enumerate() {
        let letter = if at == 0 { 'M' } else { 'L' };
        // Writing to a string does not fail.
        let _ = write!(path, "{letter}{x:.1} {:.1}", y(*value));
    }
    if let [_] = points {
        // A line of no length, which its round ends make a dot.
        path.push_str("h0");
    }
    let area = format!("{path}L{:.1} {HEIGHT}L{:.1} {HEIGHT}Z", last.0, first.0);
    Line { path, area, top: say(top), now: say(last.1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(days: i64) -> (Vec<StatsDay>, Timestamp) {
        let now = Timestamp::from_millis(1_795_000_000_000);
        let day = |ago: i64| StatsDay {
            day: now - ago * DAY,
            total_size_bytes: Some(1 << 30 << (ago % 2)),
            snapshot_count: (ago != 3).then_some(100 - ago.unsigned_abs().min(90)),
        };
        ((0..days).rev().map(day).collect(), now)
    }

    #[test]
    fn a_chart_has_a_table_with_every_day_and_at_most_so_many_points() {
        let (history, now) = history(365);
        let chart = Chart::new(&history, 365, "/repos/x", now);
        assert_eq!(chart.rows.len(), 365);
        assert!(chart.hits.len() <= POINTS && chart.hits.len() > POINTS / 2, "{}", chart.hits.len());
        assert_eq!(chart.rows[0].0, chart.last);
        assert_eq!(chart.first, "2025-11-18");
        assert!(chart.hits.last().unwrap().2.starts_with(&chart.last), "the newest day is always there");
        assert_eq!(chart.size.top, "2.0 GiB");
    }

    #[test]
    fn what_is_not_known_is_left_out_of_the_line_and_named_in_the_table() {
        let (history, now) = history(5);
        let chart = Chart::new(&history, 30, "/repos/x", now);
        assert_eq!(chart.size.path.matches('L').count(), 4);
        assert_eq!(chart.count.path.matches('L').count(), 3);
        assert_eq!(chart.rows[3].2, "unknown");
        let empty = Chart::new(&[], 30, "/repos/x", now);
        assert!(empty.size.path.is_empty() && empty.hits.is_empty());
        assert!(empty.render().unwrap().contains("Nothing was measured yet"));
    }

    #[test]
    fn the_ends_are_those_of_the_stretch_however_little_was_measured() {
        let (history, now) = history(1);
        let chart = Chart::new(&history, 90, "/repos/x", now);
        assert_eq!((chart.first.as_str(), chart.last.as_str()), ("2026-08-20", "2026-11-18"));
        assert!(
            chart.size.path.starts_with("M720.0 ") && chart.size.path.ends_with("h0"),
            "{}",
            chart.size.path
        );
        assert!(chart.render().unwrap().contains("Measured on 2026-11-18 only: size "));
        insta::assert_snapshot!(
            "chart",
            Chart::new(&self::history(3).0, 30, "/repos/x", now).render().unwrap()
        );
    }

    #[test]
    fn a_line_stays_on_its_canvas() {
        let (history, now) = history(40);
        let chart = Chart::new(&history, 30, "/repos/x", now);
        for pair in chart.size.path.split(['M', 'L']).filter(|pair| !pair.is_empty()) {
            let (x, y) = pair.split_once(' ').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((0.0..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y), "{pair}");
        }
    }

    #[test]
    fn only_what_is_offered_is_shown() {
        assert_eq!((days("30"), days("365"), days("7"), days("")), (30, 365, 90, 90));
    }
}
