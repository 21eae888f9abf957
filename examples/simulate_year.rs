//! A year of a fleet's maintenance in a moment: a calendar of what starts on which day, as text, and as SVG into the file that is named.
//!
//! ```text
//! cargo run -p restic-manager-examples --example simulate_year -- year.svg
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::fmt::Write as _;

use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::maintenance::{
    LastJob, MaintenanceKind, MaintenancePolicy, RepoView, RunnerState, decide,
};
use restic_manager_core::model::JobState;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::{DAY, HOUR, MINUTE, Timestamp};

const START: Timestamp = Timestamp::from_millis(1_767_225_600_000); // 2026-01-01 00:00 UTC
const DAYS: usize = 365;
const MONTHS: &str = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
const LENGTHS: [usize; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// How many jobs of each kind start on each day.
type Year = [[u32; DAYS]; 3];

fn main() -> Result<(), Box<dyn Error>> {
    let mut year: Year = [[0; DAYS]; 3];
    for n in 0..24 {
        simulate(&fleet_member(n)?, n, &mut year);
    }
    for (kind, days) in MaintenanceKind::ALL.iter().zip(&year) {
        println!("{}: {} starts in the year", kind.as_str(), days.iter().sum::<u32>());
        print_calendar(days);
    }
    if let Some(path) = std::env::args_os().nth(1) {
        std::fs::write(path, svg(&year))?;
    }
    Ok(())
}

/// The nth repository: a third of them check every week, and all keep the wall clock of Berlin.
fn fleet_member(n: u8) -> Result<RepoView, Box<dyn Error>> {
    let zone: Zone = "Europe/Berlin".parse()?;
    let mut policy = MaintenancePolicy::standard(zone);
    if n.is_multiple_of(3) {
        policy.check.cron = "0 6 * * 3".parse()?;
    }
    Ok(RepoView::new(RepoId::mint(START, [n; 10]), policy, START))
}

/// Goes from decision to decision. The runner of every fourth repository is away in the first half of July.
fn simulate(start: &RepoView, n: u8, year: &mut Year) {
    let (mut view, mut now) = (start.clone(), START);
    let end = START + DAY * DAYS as i64;
    let holidays = (START + 181 * DAY, START + 196 * DAY);
    while now < end {
        let away = n.is_multiple_of(4) && now >= holidays.0 && now < holidays.1;
        view.runner = if away { RunnerState::Away } else { RunnerState::Ready };
        let decision = decide(&view, now);
        let mut free_at = now;
        for job in decision.due {
            let day = usize::try_from(now.millis_since(START) / DAY).unwrap_or(0);
            year[MaintenanceKind::ALL.iter().position(|kind| *kind == job.kind).unwrap_or(0)][day] += 1;
            free_at = free_at + lasts_for(job.kind);
            view.set_last(
                job.kind,
                LastJob {
                    job_id: JobId::mint(now, [n; 10]),
                    created_at: now,
                    finished_at: Some(free_at),
                    state: JobState::Succeeded,
                    class: Some(OutcomeClass::Ok),
                    slot: Some(job.slot),
                    attempt: job.attempt,
                },
            );
        }
        // Nobody wakes the scheduler for an absent runner; its return does.
        let wake = decision.wake_at.unwrap_or(if away { holidays.1 } else { end });
        now = wake.max(free_at).max(now + MINUTE);
    }
}

const fn lasts_for(kind: MaintenanceKind) -> i64 {
    match kind {
        MaintenanceKind::Forget => MINUTE,
        MaintenanceKind::Prune => 2 * HOUR,
        MaintenanceKind::Check => 30 * MINUTE,
    }
}

/// A row a month: a point for a quiet day, else how many start, `+` for more than 35.
fn print_calendar(days: &[u32; DAYS]) {
    let mut day = 0;
    for (name, length) in MONTHS.split(' ').zip(LENGTHS) {
        let sign = |count: &u32| match count {
            0 => '.',
            count => char::from_digit(*count, 36).unwrap_or('+'),
        };
        println!("  {name} {}", days[day..day + length].iter().map(sign).collect::<String>());
        day += length;
    }
    println!();
}

/// A square a day, a column a week from Monday to Sunday, darker with the hours of work that start.
fn svg(year: &Year) -> String {
    const FIRST_WEEKDAY: usize = 3; // 2026 begins on a Thursday
    let mut text = String::from("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 88\">\n");
    for day in 0..DAYS {
        let (week, weekday) = ((day + FIRST_WEEKDAY) / 7, (day + FIRST_WEEKDAY) % 7);
        let work =
            MaintenanceKind::ALL.iter().zip(year).map(|(kind, days)| i64::from(days[day]) * lasts_for(*kind));
        let hours = work.sum::<i64>() / HOUR;
        let shade = 96 - hours.min(48);
        let _ = writeln!(
            text,
            "<rect x=\"{}\" y=\"{}\" width=\"11\" height=\"11\" fill=\"hsl(210 60% {shade}%)\"><title>day {}: {hours} h</title></rect>",
            week * 12,
            weekday * 12,
            day + 1,
        );
    }
    text + "</svg>\n"
}
