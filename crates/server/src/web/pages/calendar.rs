//! The runs of a year, day by day: what failed or was missed is seen from across the room.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use askama::filters::HtmlSafe;
use restic_manager_core::model::JobState;
use restic_manager_core::time::{DAY, Timestamp};
use restic_manager_store::JobDay;

use super::words;

/// Weeks that are shown: a year.
const WEEKS: i64 = 53;
/// The edge of a day and the space around it.
const STEP: i64 = 13;
/// 1970-01-01 was a Thursday; weeks begin with a Monday.
const DAYS_BEFORE_MONDAY: i64 = 3;

/// A year of days, weeks from left to right, Monday on top.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = r#"<div class="calendar" tabindex="0" role="region" aria-label="{{ label }}"><svg viewBox="0 0 {{ width }} 110" role="group" aria-label="{{ label }}">{% for (x, name) in months %}<text x="{{ x }}" y="9">{{ name }}</text>{% endfor %}{% for day in days %}{% if let Some(href) = day.href %}<a href="{{ href }}" aria-label="{{ day.title }}"><rect class="{{ day.class }}" x="{{ day.x }}" y="{{ day.y }}" width="11" height="11" rx="2"><title>{{ day.title }}</title></rect></a>{% else %}<rect class="{{ day.class }}" x="{{ day.x }}" y="{{ day.y }}" width="11" height="11" rx="2"><title>{{ day.title }}</title></rect>{% endif %}{% endfor %}</svg></div><p class="legend" aria-hidden="true"><span class="key d-ok">succeeded</span><span class="key d-warn">warning</span><span class="key d-bad">failed</span><span class="key d-missed">missed</span><span class="key d-none">nothing ran</span></p>"#
)]
pub(super) struct Calendar {
    label: String,
    width: i64,
    months: Vec<(i64, &'static str)>,
    days: Vec<Day>,
}

impl HtmlSafe for Calendar {}

#[derive(Debug, PartialEq, Eq)]
struct Day {
    x: i64,
    y: i64,
    class: &'static str,
    title: String,
    href: Option<String>,
}

/// How a day went, the worst last.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    open: u64,
    good: u64,
    warned: u64,
    stopped: u64,
    failed: u64,
}

impl Tally {
    fn add(&mut self, state: JobState, jobs: u64) {
        let count = match state {
            JobState::Queued | JobState::Dispatched | JobState::Running => &mut self.open,
            JobState::Succeeded => &mut self.good,
            JobState::Warning => &mut self.warned,
            JobState::Failed | JobState::Lost => &mut self.failed,
            JobState::Cancelled | JobState::Superseded | JobState::Withdrawn => &mut self.stopped,
        };
        *count += jobs;
    }

    fn class(self, missed: bool) -> &'static str {
        match self {
            Self { failed: 1.., .. } => "d-bad",
            Self { good: 0, warned: 0, .. } if missed => "d-missed",
            Self { warned: 1.., .. } => "d-warn",
            Self { good: 1.., .. } => "d-ok",
            Self { open: 1.., .. } => "d-live",
            Self { stopped: 1.., .. } => "d-off",
            Self { .. } => "d-none",
        }
    }

    fn words(self, missed: bool) -> String {
        let counts = [
            (self.failed, "failed"),
            (self.warned, "with a warning"),
            (self.good, "succeeded"),
            (self.stopped, "stopped"),
            (self.open, "not over"),
        ];
        let mut parts: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{} {word}", words::number(count)))
            .collect();
        if missed && self.good + self.warned == 0 {
            parts.insert(0, "missed: a schedule was due and nothing succeeded".to_owned());
        }
        if parts.is_empty() { "nothing ran".to_owned() } else { parts.join(", ") }
    }
}

impl Calendar {
    /// The first day that is shown of the year up to `now`.
    pub(super) fn since(now: Timestamp) -> Timestamp {
        Timestamp::from_millis(first_day(now) * DAY)
    }

    /// The year up to `now`. On the days in `due` a schedule wanted a run; `href` leads to the jobs of a day.
    pub(super) fn new(
        what: &str,
        counted: &[JobDay],
        due: &BTreeSet<i64>,
        href: impl Fn(i64) -> String,
        now: Timestamp,
    ) -> Self {
        let mut tallies: BTreeMap<i64, Tally> = BTreeMap::new();
        for row in counted {
            let day = row.day.as_millis().div_euclid(DAY);
            tallies.entry(day).or_default().add(row.state, row.jobs);
        }
        let (first, today) = (first_day(now), now.as_millis().div_euclid(DAY));
        let mut months = Vec::new();
        let mut days = Vec::new();
        for day in first..=today {
            let (week, weekday) = ((day - first) / 7, (day - first) % 7);
            let date = words::exact(Timestamp::from_millis(day * DAY));
            let date = date.get(..10).unwrap_or(&date).to_owned();
            if weekday == 0 && date.get(8..).is_some_and(|day| day <= "07") {
                months.push((week * STEP, month(&date)));
            }
            let tally = tallies.get(&day).copied();
            // The day that goes on may still bring what is due.
            let missed = day < today && due.contains(&day);
            let told = tally.unwrap_or_default();
            days.push(Day {
                x: week * STEP,
                y: 16 + weekday * STEP,
                class: told.class(missed),
                title: format!("{date}: {}", told.words(missed)),
                href: (tally.is_some() || missed).then(|| href(day)),
            });
        }
        Self { label: format!("{what}, the days of a year"), width: WEEKS * STEP, months, days }
    }
}

/// The Monday with which the year up to `now` begins, in days since 1970.
fn first_day(now: Timestamp) -> i64 {
    let today = now.as_millis().div_euclid(DAY);
    let monday = today - (today + DAYS_BEFORE_MONDAY).rem_euclid(7);
    monday - (WEEKS - 1) * 7
}

fn month(date: &str) -> &'static str {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number: Option<usize> = date.get(5..7).and_then(|month| month.parse().ok());
    number.and_then(|number| MONTHS.get(number.wrapping_sub(1))).copied().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-18, a Wednesday.
    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn year(counted: &[(i64, JobState, u64)], due: &[i64]) -> Calendar {
        let today = NOW.as_millis().div_euclid(DAY);
        let row = |(ago, state, jobs): &(i64, JobState, u64)| JobDay {
            day: Timestamp::from_millis((today - ago) * DAY),
            state: *state,
            jobs: *jobs,
        };
        let counted: Vec<JobDay> = counted.iter().map(row).collect();
        let due: BTreeSet<i64> = due.iter().map(|ago| today - ago).collect();
        Calendar::new("Backups of web1", &counted, &due, |day| format!("/jobs?day={day}"), NOW)
    }

    fn ago(calendar: &Calendar, days: usize) -> &Day {
        &calendar.days[calendar.days.len() - 1 - days]
    }

    #[test]
    fn weeks_begin_with_a_monday_and_end_with_today() {
        let calendar = year(&[], &[]);
        assert_eq!(calendar.days.len(), 52 * 7 + 3, "today is a Wednesday");
        let (first, last) = (&calendar.days[0], ago(&calendar, 0));
        assert_eq!((first.x, first.y, first.title.as_str()), (0, 16, "2025-11-17: nothing ran"));
        assert_eq!((last.x, last.y), (52 * STEP, 16 + 2 * STEP));
        assert!(last.title.starts_with("2026-11-18"), "{}", last.title);
        assert_eq!(calendar.months.len(), 12);
    }

    #[test]
    fn the_worst_of_a_day_is_its_colour_and_a_day_without_what_was_due_is_missed() {
        let counted = [
            (1, JobState::Succeeded, 3),
            (1, JobState::Failed, 1),
            (2, JobState::Succeeded, 1),
            (3, JobState::Warning, 1),
            (4, JobState::Cancelled, 1),
        ];
        let calendar = year(&counted, &[0, 1, 2, 4, 5]);
        let classes: Vec<&str> = (0..7).map(|days| ago(&calendar, days).class).collect();
        assert_eq!(classes, ["d-none", "d-bad", "d-ok", "d-warn", "d-missed", "d-missed", "d-none"]);
        assert_eq!(ago(&calendar, 1).title, "2026-11-17: 1 failed, 3 succeeded");
        assert!(ago(&calendar, 5).title.ends_with("missed: a schedule was due and nothing succeeded"));
        assert!(
            ago(&calendar, 1).href.is_some()
                && ago(&calendar, 5).href.is_some()
                && ago(&calendar, 6).href.is_none()
        );
    }
}
