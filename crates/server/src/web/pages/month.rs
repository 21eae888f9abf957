//! The runs of a month, day by day: how many went how, and the way to each day's jobs.

use std::collections::BTreeSet;

use askama::Template;
use askama::filters::HtmlSafe;
use restic_manager_core::time::Timestamp;
use restic_manager_store::JobDay;

use super::calendar::{DAYS_BEFORE_MONDAY, tallies};
use super::dates::{self, Month};

/// A month of days, weeks from top to bottom, Monday on the left.
#[derive(Debug, Template)]
#[template(path = "month.html")]
pub(super) struct MonthView {
    what: String,
    title: String,
    previous: Option<(String, String)>,
    next: Option<(String, String)>,
    weeks: Vec<[Option<Day>; 7]>,
}

impl HtmlSafe for MonthView {}

/// A day of the month.
#[derive(Debug)]
struct Day {
    number: i64,
    class: &'static str,
    /// What there is to read at once: how many, and how they went.
    counts: Vec<(String, &'static str, &'static str)>,
    /// The whole for those who do not see it.
    told: String,
    /// The way to its jobs; none on a day that is still to come.
    href: Option<String>,
    /// Whether its jobs are the ones that are shown.
    chosen: bool,
    today: bool,
}

/// What a month is made of.
pub(super) struct Of<'a> {
    /// What ran.
    pub(super) what: &'a str,
    /// The path of the page it stands on.
    pub(super) path: &'a str,
    /// The jobs of its days by state.
    pub(super) counted: &'a [JobDay],
    /// The days on which a schedule wanted a run.
    pub(super) due: &'a BTreeSet<i64>,
    /// The day whose jobs are shown.
    pub(super) chosen: Option<i64>,
}

/// The address of a month, and of a day in it.
pub(super) fn month_path(path: &str, month: Month) -> String {
    format!("{path}?month={month}")
}

impl MonthView {
    /// The name of the month with its year.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// The days of a month.
    pub(super) fn new(month: Month, of: &Of<'_>, now: Timestamp) -> Self {
        let tallies = tallies(of.counted);
        let (first, today) = (month.first(), dates::day_of(now));
        let here = month_path(of.path, month);
        let day = |day: i64| {
            let tally = tallies.get(&day).copied().unwrap_or_default();
            // The day that goes on may still bring what is due.
            let missed = day < today && of.due.contains(&day);
            let date = dates::date(day);
            Day {
                number: day - first + 1,
                class: tally.class(missed),
                counts: tally.counts(missed),
                told: format!("{date}: {}", tally.words(missed)),
                href: (day <= today).then(|| format!("{here}&day={date}#jobs")),
                chosen: of.chosen == Some(day),
                today: day == today,
            }
        };
        let monday = first - (first + DAYS_BEFORE_MONDAY).rem_euclid(7);
        let end = first + month.days();
        let within = |at: i64| (first..end).contains(&at).then(|| day(at));
        let weeks = (monday..end).step_by(7);
        let way = |month: Month| (month_path(of.path, month), month.title());
        Self {
            what: of.what.to_owned(),
            title: month.title(),
            previous: month.previous().map(way),
            next: month.next().filter(|next| next.first() <= today).map(way),
            weeks: weeks.map(|monday| std::array::from_fn(|at| within(monday + at as i64))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use restic_manager_core::model::JobState;

    use super::*;

    /// 2026-11-18, a Wednesday.
    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn month(text: &str, counted: &[(i64, JobState, u64)], due: &[i64]) -> MonthView {
        let month = Month::parse(text).unwrap();
        let day = |number: i64| month.first() + number - 1;
        let row = |(number, state, jobs): &(i64, JobState, u64)| JobDay {
            day: dates::begin(day(*number)),
            state: *state,
            jobs: *jobs,
        };
        let counted: Vec<JobDay> = counted.iter().map(row).collect();
        let due = due.iter().map(|number| day(*number)).collect();
        let of = Of {
            what: "Backups of web1",
            path: "/x/jobs",
            counted: &counted,
            due: &due,
            chosen: Some(day(3)),
        };
        MonthView::new(month, &of, NOW)
    }

    fn days(view: &MonthView) -> Vec<&Day> {
        view.weeks.iter().flatten().flatten().collect()
    }

    #[test]
    fn each_day_says_how_many_went_how_and_leads_to_its_jobs() {
        let counted = [(2, JobState::Failed, 1), (2, JobState::Succeeded, 3), (3, JobState::Warning, 2)];
        let view = month("2026-11", &counted, &[2, 4, 18, 19]);
        let days = days(&view);
        assert_eq!(days.len(), 30);
        let counts: Vec<(&str, &str)> =
            days[1].counts.iter().map(|(count, word, _)| (count.as_str(), *word)).collect();
        assert_eq!(counts, [("1", "failed"), ("3", "succeeded")]);
        assert_eq!((days[1].class, days[2].class, days[3].class), ("d-bad", "d-warn", "d-missed"));
        assert_eq!(days[3].told, "2026-11-04: missed: a schedule was due and nothing succeeded");
        assert_eq!(days[1].href.as_deref(), Some("/x/jobs?month=2026-11&day=2026-11-02#jobs"));
        assert!(days[2].chosen && !days[1].chosen);
        assert!(days[17].today && days[17].class == "d-none", "today may still bring what is due");
        assert!(days[18].href.is_none(), "tomorrow has no jobs yet");
    }

    #[test]
    fn weeks_begin_with_a_monday_and_no_month_after_this_one_is_offered() {
        // The 1st was a Sunday.
        let view = month("2026-11", &[], &[]);
        assert_eq!(view.weeks.len(), 6);
        assert!(view.weeks[0][..6].iter().all(Option::is_none) && view.weeks[0][6].is_some());
        assert_eq!(view.previous.as_ref().unwrap().0, "/x/jobs?month=2026-10");
        assert!(view.next.is_none());
        let before = month("2026-10", &[], &[]);
        assert_eq!(before.next.unwrap(), ("/x/jobs?month=2026-11".to_owned(), "November 2026".to_owned()));
        assert!(month("1970-01", &[], &[]).previous.is_none());
    }
}
