//! The runs of a year, day by day: what failed or was missed is seen from across the room.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use askama::filters::HtmlSafe;
use restic_manager_core::model::JobState;
use restic_manager_core::time::Timestamp;
use restic_manager_store::JobDay;

use super::dates::{self, Month};
use super::month::month_path;
use super::words;

/// Weeks that are shown: a year.
const WEEKS: i64 = 53;
/// The edge of a day and the space around it.
const STEP: i64 = 13;
/// 1970-01-01 was a Thursday; weeks begin with a Monday.
pub(super) const DAYS_BEFORE_MONDAY: i64 = 3;

/// A year of days, weeks from left to right, Monday on top.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = r#"<div class="calendar" tabindex="0" role="region" aria-label="{{ label }}"><svg viewBox="-1 0 {{ width }} 110" role="group" aria-label="{{ label }}">{% for (x, name, href) in months %}<a href="{{ href }}" aria-label="{{ name[..3] }}: {{ name }}, day by day"><text x="{{ x }}" y="9">{{ name[..3] }}</text></a>{% endfor %}{% for day in days %}{% if let Some(href) = day.href %}<a href="{{ href }}" aria-label="{{ day.title }}"><rect class="{{ day.class }}" x="{{ day.x }}" y="{{ day.y }}" width="11" height="11" rx="2"><title>{{ day.title }}</title></rect></a>{% else %}<rect class="{{ day.class }}" x="{{ day.x }}" y="{{ day.y }}" width="11" height="11" rx="2"><title>{{ day.title }}</title></rect>{% endif %}{% endfor %}</svg></div><p class="legend" aria-hidden="true"><span class="key d-ok">succeeded</span><span class="key d-warn">warning</span><span class="key d-bad">failed</span><span class="key d-missed">missed</span><span class="key d-none">nothing ran</span></p>"#
)]
pub(super) struct Calendar {
    label: String,
    width: i64,
    /// Left edge, name, and the way to its days.
    months: Vec<(i64, String, String)>,
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
pub(super) struct Tally {
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

    /// The class in the style sheet.
    pub(super) fn class(self, missed: bool) -> &'static str {
        match self {
            Self { failed: 1.., .. } => "d-bad",
            Self { .. } if self.is_missed(missed) => "d-missed",
            Self { warned: 1.., .. } => "d-warn",
            Self { good: 1.., .. } => "d-ok",
            Self { open: 1.., .. } => "d-live",
            Self { stopped: 1.., .. } => "d-off",
            Self { .. } => "d-none",
        }
    }

    /// How many went how, the worst first; each with its class. What was missed has no number.
    pub(super) fn counts(self, missed: bool) -> Vec<(String, &'static str, &'static str)> {
        let counts = [
            (self.failed, "failed", "d-bad"),
            (self.warned, "with a warning", "d-warn"),
            (self.good, "succeeded", "d-ok"),
            (self.stopped, "stopped", "d-off"),
            (self.open, "not over", "d-live"),
        ];
        let missed = self.is_missed(missed).then(|| (String::new(), "missed", "d-missed"));
        let some = counts.into_iter().filter(|(count, ..)| *count > 0);
        missed
            .into_iter()
            .chain(some.map(|(count, word, class)| (words::number(count), word, class)))
            .collect()
    }

    /// The whole in a sentence.
    pub(super) fn words(self, missed: bool) -> String {
        let said = |(count, word, _): (String, &str, &str)| match count.as_str() {
            "" => "missed: a schedule was due and nothing succeeded".to_owned(),
            count => format!("{count} {word}"),
        };
        let parts: Vec<String> = self.counts(missed).into_iter().map(said).collect();
        if parts.is_empty() { "nothing ran".to_owned() } else { parts.join(", ") }
    }

    const fn is_missed(self, due: bool) -> bool {
        due && self.good + self.warned + self.failed == 0
    }
}

/// The days of which anything is counted.
pub(super) fn tallies(counted: &[JobDay]) -> BTreeMap<i64, Tally> {
    let mut tallies: BTreeMap<i64, Tally> = BTreeMap::new();
    for row in counted {
        tallies.entry(dates::day_of(row.day)).or_default().add(row.state, row.jobs);
    }
    tallies
}

impl Calendar {
    /// The first day that is shown of the year up to `now`.
    pub(super) fn since(now: Timestamp) -> Timestamp {
        dates::begin(first_day(now))
    }

    /// The year up to `now`, on the page at `path`. On the days in `due` a schedule wanted a run.
    pub(super) fn new(
        what: &str,
        counted: &[JobDay],
        due: &BTreeSet<i64>,
        path: &str,
        now: Timestamp,
    ) -> Self {
        let tallies = tallies(counted);
        let (first, today) = (first_day(now), dates::day_of(now));
        let mut months = Vec::new();
        let mut days = Vec::new();
        for day in first..=today {
            let (week, weekday) = ((day - first) / 7, (day - first) % 7);
            let (date, month) = (dates::date(day), Month::of(day));
            if weekday == 0 && day < month.first() + 7 {
                months.push((week * STEP, month.name(), month_path(path, month)));
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
                href: (tally.is_some() || missed).then(|| format!("{path}?day={date}#jobs")),
            });
        }
        Self { label: format!("{what}, the days of a year"), width: WEEKS * STEP, months, days }
    }
}

/// The Monday with which the year up to `now` begins, in days since 1970.
fn first_day(now: Timestamp) -> i64 {
    let today = dates::day_of(now);
    let monday = today - (today + DAYS_BEFORE_MONDAY).rem_euclid(7);
    monday - (WEEKS - 1) * 7
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-18, a Wednesday.
    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn year(counted: &[(i64, JobState, u64)], due: &[i64]) -> Calendar {
        let today = dates::day_of(NOW);
        let row = |(ago, state, jobs): &(i64, JobState, u64)| JobDay {
            day: dates::begin(today - ago),
            state: *state,
            jobs: *jobs,
        };
        let counted: Vec<JobDay> = counted.iter().map(row).collect();
        let due: BTreeSet<i64> = due.iter().map(|ago| today - ago).collect();
        Calendar::new("Backups of web1", &counted, &due, "/x/jobs", NOW)
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
        let (_, name, href) = &calendar.months[11];
        assert_eq!((name.as_str(), href.as_str()), ("November", "/x/jobs?month=2026-11"));
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
