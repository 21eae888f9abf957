//! Schedules: when source groups are backed up.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use restic_manager_core::api::{Page, ScheduleView, ScheduleWrite};
use restic_manager_core::id::{GroupId, RepoId};
use restic_manager_core::model::Schedule;
use restic_manager_core::schedule::{CronExpr, Zone};
use restic_manager_core::text::DisplayName;

use super::{Listing, Session};
use crate::error::CliError;
use crate::input::Confirmation;
use crate::resolve::Named;
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, Tone, View, ago, instant};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the schedules of a host
    Ls {
        /// The host
        host: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one schedule
    Show(Which),
    /// Make a schedule
    Create {
        /// The host
        host: String,
        /// Its name
        name: DisplayName,
        /// Five fields (minute hour day-of-month month day-of-week), such as "30 2 * * *"
        #[arg(long, value_name = "CRON")]
        cron: CronExpr,
        /// A source group to back up
        #[arg(long = "source", value_name = "SOURCE", required = true)]
        sources: Vec<String>,
        /// The time zone of the fields; that of this machine when not given
        #[arg(long, value_name = "ZONE")]
        timezone: Option<Zone>,
        /// A repository to back up to; all primary ones and copies of the host when not given
        #[arg(long = "repo", value_name = "REPO")]
        repos: Vec<String>,
        /// Let it wait for `rmctl schedule enable`
        #[arg(long)]
        disabled: bool,
    },
    /// Change a schedule; what is not given stays
    Edit {
        #[command(flatten)]
        which: Which,
        /// A new name
        #[arg(long, value_name = "NAME")]
        name: Option<DisplayName>,
        /// Five fields: minute hour day-of-month month day-of-week
        #[arg(long, value_name = "CRON")]
        cron: Option<CronExpr>,
        /// A source group to back up; replaces those that are there
        #[arg(long = "source", value_name = "SOURCE")]
        sources: Vec<String>,
        /// The time zone of the fields
        #[arg(long, value_name = "ZONE")]
        timezone: Option<Zone>,
        /// A repository to back up to; replaces those that are there
        #[arg(long = "repo", value_name = "REPO", conflicts_with = "all_repos")]
        repos: Vec<String>,
        /// Back up to all primary repositories and copies of the host
        #[arg(long)]
        all_repos: bool,
    },
    /// Let a schedule fire
    Enable(Which),
    /// Keep a schedule from firing
    Disable(Which),
    /// Delete a schedule
    Delete {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// A schedule of a host.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The host
    host: String,
    /// The schedule
    schedule: String,
}

impl Which {
    /// The schedule's route, and the id of its host.
    fn route(&self, session: &Session) -> Result<(Route, String), CliError> {
        let host_id = session.client.host_id(&self.host)?;
        let schedule_id = session.client.schedule_id(&host_id, &self.schedule)?;
        Ok((Route::new(["hosts", &host_id, "schedules", &schedule_id]), host_id))
    }
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Session { client, ui } = session;
        match self {
            Self::Ls { host, listing } => {
                let host_id = client.host_id(host)?;
                let body = listing.fetch(client, Route::new(["hosts", &host_id, "schedules"]))?;
                let names = Names::of(session, &host_id)?;
                ui.show_page(&body, |page, look| table(page, &names, look))
            }
            Self::Show(which) => {
                let (route, host_id) = which.route(session)?;
                show(session, &host_id, &client.get(&route)?)
            }
            Self::Create { .. } => self.create(session),
            Self::Edit { .. } => self.edit(session),
            Self::Enable(which) => change(session, which, |schedule| schedule.enabled = true),
            Self::Disable(which) => change(session, which, |schedule| schedule.enabled = false),
            Self::Delete { which, confirmation } => {
                let (route, _) = which.route(session)?;
                let view: ScheduleView = client.get(&route)?.read()?;
                confirmation.confirm("schedule", view.schedule.name.as_str())?;
                let body = client.delete(&route)?;
                ui.done(&body, &format!("the schedule `{}` is deleted", view.schedule.name))
            }
        }
    }

    fn create(&self, session: &Session) -> Result<(), CliError> {
        let Self::Create { host, name, cron, sources, timezone, repos, disabled } = self else {
            return Ok(());
        };
        let host_id = session.client.host_id(host)?;
        let request = ScheduleWrite {
            name: name.clone(),
            cron: cron.clone(),
            timezone: timezone.clone().unwrap_or_else(zone_of_this_machine),
            enabled: !disabled,
            group_ids: groups(session, &host_id, sources)?,
            repo_ids: if repos.is_empty() { None } else { Some(repositories(session, repos)?) },
        };
        let body = session.client.post(&Route::new(["hosts", &host_id, "schedules"]), &request)?;
        show(session, &host_id, &body)
    }

    fn edit(&self, session: &Session) -> Result<(), CliError> {
        let Self::Edit { which, name, cron, sources, timezone, repos, all_repos } = self else {
            return Ok(());
        };
        let host_id = session.client.host_id(&which.host)?;
        let group_ids = groups(session, &host_id, sources)?;
        let repo_ids = repositories(session, repos)?;
        change(session, which, |schedule| {
            schedule.name = name.clone().unwrap_or_else(|| schedule.name.clone());
            schedule.cron = cron.clone().unwrap_or_else(|| schedule.cron.clone());
            schedule.timezone = timezone.clone().unwrap_or_else(|| schedule.timezone.clone());
            if !group_ids.is_empty() {
                schedule.group_ids = group_ids;
            }
            if *all_repos {
                schedule.repo_ids = None;
            } else if !repo_ids.is_empty() {
                schedule.repo_ids = Some(repo_ids);
            }
        })
    }
}

fn change(session: &Session, which: &Which, edit: impl FnOnce(&mut ScheduleWrite)) -> Result<(), CliError> {
    let (route, host_id) = which.route(session)?;
    let mut schedule = written(session.client.get(&route)?.read::<ScheduleView>()?.schedule);
    edit(&mut schedule);
    show(session, &host_id, &session.client.put(&route, &schedule)?)
}

fn show(session: &Session, host_id: &str, body: &crate::client::Body) -> Result<(), CliError> {
    let names = Names::of(session, host_id)?;
    session.ui.show(body, |view, look| card(view, &names, look))
}

/// A schedule as it would be written again.
fn written(schedule: Schedule) -> ScheduleWrite {
    ScheduleWrite {
        name: schedule.name,
        cron: schedule.cron,
        timezone: schedule.timezone,
        enabled: schedule.enabled,
        group_ids: schedule.group_ids,
        repo_ids: schedule.repo_ids,
    }
}

fn groups(session: &Session, host_id: &str, wanted: &[String]) -> Result<Vec<GroupId>, CliError> {
    wanted.iter().map(|name| id(&session.client.group_id(host_id, name)?)).collect()
}

fn repositories(session: &Session, wanted: &[String]) -> Result<Vec<RepoId>, CliError> {
    wanted.iter().map(|name| id(&session.client.repo_id(name)?)).collect()
}

fn id<T: std::str::FromStr<Err = E>, E: std::fmt::Display>(text: &str) -> Result<T, CliError> {
    text.parse().map_err(|e: E| crate::client::ClientError::NotUnderstood { detail: e.to_string() }.into())
}

/// The zone of this machine, where it has one with a name.
fn zone_of_this_machine() -> Zone {
    let system = jiff::tz::TimeZone::system();
    system.iana_name().and_then(|name| name.parse().ok()).unwrap_or_default()
}

/// Names for the ids that a schedule holds.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    /// Asks only when a person will read them.
    fn of(session: &Session, host_id: &str) -> Result<Self, CliError> {
        if !session.ui.is_for_people() {
            return Ok(Self::default());
        }
        let mut known = session.client.groups(host_id)?;
        known.extend(session.client.repos()?);
        Ok(Self::from_iter(known))
    }

    fn list<T: ToString>(&self, ids: &[T]) -> String {
        let name = |id: &T| self.0.get(&id.to_string()).cloned().unwrap_or_else(|| id.to_string());
        ids.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    fn repositories(&self, schedule: &Schedule) -> String {
        schedule.repo_ids.as_deref().map_or_else(|| "all of the host".to_owned(), |ids| self.list(ids))
    }
}

impl FromIterator<Named> for Names {
    fn from_iter<I: IntoIterator<Item = Named>>(named: I) -> Self {
        Self(named.into_iter().map(|named| (named.id, named.name)).collect())
    }
}

fn state(schedule: &Schedule) -> Cell {
    if schedule.enabled { Cell::new("enabled", Tone::Good) } else { Cell::new("disabled", Tone::Warning) }
}

fn table(page: &Page<ScheduleView>, names: &Names, look: &Look) -> View {
    let row = |view: &ScheduleView| {
        let schedule = &view.schedule;
        vec![
            Cell::from(schedule.name.as_str()),
            state(schedule),
            Cell::from(schedule.cron.as_str()),
            Cell::from(schedule.timezone.name()),
            Cell::or_none(view.upcoming.first().map(|at| ago(*at, look.now))),
            Cell::from(names.list(&schedule.group_ids)),
            Cell::from(names.repositories(schedule)),
        ]
    };
    Grid::new(
        &["NAME", "STATE", "CRON", "TIME ZONE", "NEXT", "SOURCES", "REPOSITORIES"],
        "No schedules: rmctl schedule create HOST NAME --cron '30 2 * * *' --source SOURCE",
    )
    .rows(page.items.iter().map(row))
}

fn card(view: &ScheduleView, names: &Names, look: &Look) -> View {
    let schedule = &view.schedule;
    let mut lines = vec![
        ("Name", schedule.name.as_str().into()),
        ("Id", schedule.id.to_string().into()),
        ("State", state(schedule)),
        ("Cron", schedule.cron.as_str().into()),
        ("Time zone", schedule.timezone.name().into()),
        ("Sources", names.list(&schedule.group_ids).into()),
        ("Repositories", names.repositories(schedule).into()),
    ];
    for (number, at) in view.upcoming.iter().enumerate() {
        let label = if number == 0 { "Next" } else { "" };
        lines.push((
            label,
            format!("{} ({})", instant(*at, schedule.timezone.as_jiff()), ago(*at, look.now)).into(),
        ));
    }
    View::Card(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn schedules_as_a_table_and_one_alone() {
        let page: Page<ScheduleView> =
            serde_json::from_str(include_str!("../../tests/answers/schedules.json")).unwrap();
        let groups: Page<Named> =
            serde_json::from_str(include_str!("../../tests/answers/source-groups.json")).unwrap();
        let names = Names::from_iter(groups.items);
        let look = fixed_look();
        let both = View::Stack(vec![table(&page, &names, &look), card(&page.items[0], &names, &look)]);
        insta::assert_snapshot!(both.render(&look));
    }
}
