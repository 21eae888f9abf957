//! The jobs of a host or of a repository: a year or a month at a glance, and each day's jobs behind it.

use std::collections::BTreeSet;

use askama::Template;
use http::StatusCode;
use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::{JobKind, Schedule};
use restic_manager_core::schedule::Cadence;
use restic_manager_core::time::Timestamp;
use restic_manager_store::DaysOf;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::calendar::Calendar;
use super::dates::{self, Month, date, parse_date};
use super::fields::Fields;
use super::fleet::pager;
use super::frame::{Frame, Tab, Visitor};
use super::host_head::{HostHead, HostTab};
use super::month::{self, MonthView, month_path};
use super::parts::{JobLine, Pager};
use super::table::{Route, look};
use super::{ROWS, page};
use crate::app::{App, AppError, JobQuery, ListQuery};

/// Hosts of a repository whose schedules are looked at.
const MOST_HOSTS: usize = 200;

pub(super) fn routes() -> Vec<Route> {
    vec![look("/hosts/{id}/jobs", of_host), look("/repos/{id}/jobs", of_repo)]
}

#[derive(Template)]
#[template(path = "history.html")]
struct History {
    frame: Frame,
    /// What stands above every page of a host; a repository has none.
    head: Option<HostHead>,
    name: String,
    /// The page of the host or the repository.
    owner: String,
    here: String,
    shown: Shown,
    /// The month or the day that is looked at.
    within: Option<String>,
    /// This month's days.
    this_month: String,
    jobs: Vec<JobLine>,
    pager: Pager,
}

/// How much is seen at once.
enum Shown {
    Year(Calendar),
    Month(MonthView),
}

async fn of_host(visitor: Visitor, ask: Ask) -> Answer {
    let id: HostId = ask.id("id", "host")?;
    let app = &ask.state.app;
    let view = app.host_seen(id).await?;
    let schedules = app.store().enabled_schedules(&[id]).await.map_err(AppError::from)?;
    let query = JobQuery { host_id: Some(id), ..JobQuery::default() };
    let subject = Subject {
        head: Some(HostHead::new(&view, HostTab::Jobs)),
        tab: Tab::Fleet,
        owner: format!("/hosts/{id}"),
        name: view.host.name.to_string(),
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
        head: None,
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
    head: Option<HostHead>,
    tab: Tab,
    owner: String,
    name: String,
    days: DaysOf,
    query: JobQuery,
    schedules: Vec<Schedule>,
}

async fn history(visitor: Visitor, ask: &Ask, subject: Subject) -> Answer {
    let (app, now) = (&ask.state.app, visitor.frame.now);
    let fields = Fields::parse(ask.query_text().as_bytes());
    let here = format!("{}/jobs", subject.owner);
    let month = fields.given("month").and_then(Month::parse);
    let day = fields.given("day").and_then(parse_date);
    let shown = seen(app, &subject, month, day, now).await?;
    let within = match (day, month) {
        (Some(day), _) => Some((date(day), day, day + 1)),
        (None, Some(month)) => Some((month.title(), month.first(), month.first() + month.days())),
        (None, None) => None,
    };
    let Subject { head, tab, owner, name, query, .. } = subject;
    let query = JobQuery {
        since: within.as_ref().map(|(_, first, _)| dates::begin(*first)),
        before: within.as_ref().map(|(_, _, end)| dates::begin(*end)),
        ..query
    };
    let list = ListQuery { limit: Some(ROWS), cursor: fields.given("cursor").map(str::to_owned) };
    let listed = app.jobs(&query, &list).await?;
    let (month, day) = (month.map(|month| month.to_string()), day.map(date));
    let parameters =
        [("month", month.as_deref().unwrap_or_default()), ("day", day.as_deref().unwrap_or_default())];
    let pager = pager(&here, &parameters, list.cursor.is_some(), listed.next_cursor.as_deref());
    page(
        StatusCode::OK,
        &History {
            frame: visitor.frame.of(tab, format!("Jobs of {name}")),
            head,
            owner,
            this_month: month_path(&here, Month::of(dates::day_of(now))),
            here,
            shown,
            within: within.map(|(words, ..)| words),
            jobs: listed.items.iter().map(|view| JobLine::new(view, now)).collect(),
            name,
            pager,
        },
    )
}

/// The month that is looked at, or the year up to now.
async fn seen(
    app: &App,
    subject: &Subject,
    month: Option<Month>,
    chosen: Option<i64>,
    now: Timestamp,
) -> Result<Shown, AppError> {
    let path = format!("{}/jobs", subject.owner);
    let what = format!("Backups of {}", subject.name);
    let within = match month {
        Some(month) => dates::begin(month.first())..dates::begin(month.first() + month.days()),
        None => Calendar::since(now)..dates::begin(dates::day_of(now) + 1),
    };
    let counted = app.job_days(subject.days, JobKind::Backup, within.clone()).await?;
    let due = due_days(&subject.schedules, within.start, within.end.min(now));
    Ok(match month {
        Some(month) => {
            let of = month::Of { what: &what, path: &path, counted: &counted, due: &due, chosen };
            Shown::Month(MonthView::new(month, &of, now))
        }
        None => Shown::Year(Calendar::new(&what, &counted, &due, &path, now)),
    })
}

/// The days on which schedules were due, as they stand since they were last written: nobody knows what they were before.
fn due_days(schedules: &[Schedule], since: Timestamp, until: Timestamp) -> BTreeSet<i64> {
    let mut due = BTreeSet::new();
    for schedule in schedules {
        let cadence = Cadence { cron: schedule.cron.clone(), zone: schedule.timezone.clone() };
        let mut at = since.max(schedule.updated_at);
        while let Some(slot) = cadence.next_after(at).filter(|slot| *slot <= until) {
            let day = dates::day_of(slot);
            due.insert(day);
            // The first slot of a day says all; there may be a thousand more.
            at = dates::begin(day + 1) - 1;
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use restic_manager_core::time::DAY;

    use super::*;

    #[test]
    fn each_day_with_a_slot_is_due_however_many_it_has() {
        use restic_manager_core::id::{HostId, ScheduleId};
        let now = Timestamp::from_millis(20_000 * DAY + 12 * 3_600_000);
        let days = |cron: &str, from: Timestamp| {
            let schedule = Schedule {
                id: ScheduleId::mint(from, [1; 10]),
                host_id: HostId::mint(from, [1; 10]),
                name: "nightly".parse().unwrap(),
                cron: cron.parse().unwrap(),
                timezone: "UTC".parse().unwrap(),
                enabled: true,
                group_ids: Vec::new(),
                repo_ids: None,
                created_at: from,
                updated_at: from,
                missed: restic_manager_core::model::MissedSoFar::default(),
            };
            Vec::from_iter(due_days(&[schedule], Timestamp::from_millis(0), now))
        };
        let from = Timestamp::from_millis(19_996 * DAY + 6 * 3_600_000);
        assert_eq!(days("* * * * *", from), [19_996, 19_997, 19_998, 19_999, 20_000]);
        assert_eq!(days("0 3 * * *", from), [19_997, 19_998, 19_999, 20_000]);
        assert_eq!(days("0 13 * * *", from), [19_996, 19_997, 19_998, 19_999]);
        assert_eq!(days("0 0 * * *", from), [19_997, 19_998, 19_999, 20_000], "midnight begins a day");
    }
}
