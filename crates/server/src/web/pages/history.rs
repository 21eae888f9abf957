//! The jobs of a host or of a repository: a year at a glance, and each day's jobs behind it.

use std::collections::BTreeSet;

use askama::Template;
use http::StatusCode;
use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::{JobKind, Schedule};
use restic_manager_core::schedule::Cadence;
use restic_manager_core::time::{DAY, Timestamp};
use restic_manager_store::DaysOf;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::calendar::Calendar;
use super::fields::{Fields, address};
use super::fleet::pager;
use super::frame::{Frame, Tab, Visitor};
use super::parts::{JobLine, Pager};
use super::table::{Route, look};
use super::{ROWS, page, words};
use crate::app::{AppError, JobQuery, ListQuery};

/// Slots of one schedule that are looked at: more than four an hour for a year say nothing a day does not.
const MOST_SLOTS: usize = 40_000;
/// Hosts of a repository whose schedules are looked at.
const MOST_HOSTS: usize = 200;

pub(super) fn routes() -> Vec<Route> {
    vec![look("/hosts/{id}/jobs", of_host), look("/repos/{id}/jobs", of_repo)]
}

#[derive(Template)]
#[template(path = "history.html")]
struct History {
    frame: Frame,
    crumb: (&'static str, &'static str),
    name: String,
    /// The page of the host or the repository.
    owner: String,
    here: String,
    calendar: Calendar,
    /// The day that is looked at.
    day: Option<String>,
    jobs: Vec<JobLine>,
    of_host: bool,
    pager: Pager,
}

async fn of_host(visitor: Visitor, ask: Ask) -> Answer {
    let id: HostId = ask.id("id", "host")?;
    let app = &ask.state.app;
    let name = app.host_seen(id).await?.host.name.to_string();
    let schedules = app.store().enabled_schedules(&[id]).await.map_err(AppError::from)?;
    let query = JobQuery { host_id: Some(id), ..JobQuery::default() };
    let subject = Subject {
        crumb: ("/", "Fleet"),
        tab: Tab::Fleet,
        owner: format!("/hosts/{id}"),
        name,
        days: DaysOf::Host(id),
        query,
        schedules,
    };
    history(visitor, &ask, subject).await
}

async fn of_repo(visitor: Visitor, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let app = &ask.state.app;
    let name = app.repo(id).await?.repo.name.to_string();
    let attachments = app.store().attachments_of_repos(&[id]).await.map_err(AppError::from)?;
    let hosts: Vec<HostId> = attachments.iter().map(|row| row.attachment.host_id).take(MOST_HOSTS).collect();
    let mut schedules = app.store().enabled_schedules(&hosts).await.map_err(AppError::from)?;
    schedules.retain(|schedule| schedule.repo_ids.as_ref().is_none_or(|repos| repos.contains(&id)));
    let query = JobQuery { repo_id: Some(id), ..JobQuery::default() };
    let subject = Subject {
        crumb: ("/repos", "Repositories"),
        tab: Tab::Repos,
        owner: format!("/repos/{id}"),
        name,
        days: DaysOf::Repo(id),
        query,
        schedules,
    };
    history(visitor, &ask, subject).await
}

/// Whose history is shown.
struct Subject {
    crumb: (&'static str, &'static str),
    tab: Tab,
    owner: String,
    name: String,
    days: DaysOf,
    query: JobQuery,
    schedules: Vec<Schedule>,
}

async fn history(visitor: Visitor, ask: &Ask, subject: Subject) -> Answer {
    let Subject { crumb, tab, owner, name, days, query, schedules } = subject;
    let (app, now) = (&ask.state.app, visitor.frame.now);
    let fields = Fields::parse(ask.query_text().as_bytes());
    let here = format!("{owner}/jobs");
    let of_day = |day: i64| address(&here, &[("day", &date(day))]);
    let since = Calendar::since(now);
    let counted = app.job_days(days, JobKind::Backup, since).await?;
    let due = due_days(&schedules, since, now);
    let calendar = Calendar::new(&format!("Backups of {name}"), &counted, &due, of_day, now);
    let day = fields.given("day").and_then(parse_date);
    let first = |day: i64| Timestamp::from_millis(day * DAY);
    let query = JobQuery { since: day.map(first), before: day.map(|day| first(day + 1)), ..query };
    let list = ListQuery { limit: Some(ROWS), cursor: fields.given("cursor").map(str::to_owned) };
    let listed = app.jobs(&query, &list).await?;
    let shown = day.map(date);
    let parameters = [("day", shown.as_deref().unwrap_or(""))];
    let pager = pager(&here, &parameters, fields.given("cursor").is_some(), listed.next_cursor.as_deref());
    page(
        StatusCode::OK,
        &History {
            frame: visitor.frame.of(tab, format!("Jobs of {name}")),
            crumb,
            owner,
            here,
            calendar,
            day: shown,
            jobs: listed.items.iter().map(|view| JobLine::new(view, now)).collect(),
            of_host: matches!(days, DaysOf::Host(_)),
            name,
            pager,
        },
    )
}

/// The days on which schedules were due, as they stand since they were last written: nobody knows what they were before.
fn due_days(schedules: &[Schedule], since: Timestamp, now: Timestamp) -> BTreeSet<i64> {
    let mut due = BTreeSet::new();
    for schedule in schedules {
        let cadence = Cadence { cron: schedule.cron.clone(), zone: schedule.timezone.clone() };
        let mut at = since.max(schedule.updated_at);
        for _ in 0..MOST_SLOTS {
            let Some(slot) = cadence.next_after(at).filter(|slot| *slot <= now) else { break };
            due.insert(slot.as_millis().div_euclid(DAY));
            at = slot;
        }
    }
    due
}

/// A day as it stands in an address.
fn date(day: i64) -> String {
    words::exact(Timestamp::from_millis(day * DAY)).chars().take(10).collect()
}

fn parse_date(text: &str) -> Option<i64> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let (year, month, day): (i64, i64, i64) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    // Years that begin with March have their odd day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    // What is no day of that month would be written otherwise.
    (date(days) == text).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_in_an_address_is_read_as_it_is_written() {
        assert_eq!(parse_date("2026-11-18").map(date).as_deref(), Some("2026-11-18"));
        for text in ["1970-01-01", "2000-02-29", "2024-02-29", "2026-03-01", "2099-12-31"] {
            assert_eq!(parse_date(text).map(date).as_deref(), Some(text));
        }
        for nonsense in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-29",
            "2026-11-31",
            "2026-11-18T00:00:00Z",
            "9999999-01-01",
        ] {
            assert_eq!(parse_date(nonsense), None, "{nonsense}");
        }
    }
}
