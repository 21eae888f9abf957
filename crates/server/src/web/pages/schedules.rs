//! When a host backs up.

use askama::Template;
use http::StatusCode;
use restic_manager_core::api::{Presence, ScheduleView, ScheduleWrite};
use restic_manager_core::id::{GroupId, HostId, RepoId, ScheduleId};
use restic_manager_core::model::{Role, Schedule, SourceGroup};
use restic_manager_core::schedule::{Cadence, CronExpr, Zone};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::form::Form;
use super::frame::{Frame, Tab, Visitor};
use super::host_head::{HostHead, HostTab};
use super::parts::{Moment, Prose};
use super::table::{Route, act, look};
use super::{cadence, page, see_other};
use crate::app::{AppError, HostOverview, HostSeen};

/// How many firing times are shown.
const UPCOMING: usize = 5;

pub(super) fn routes() -> Vec<Route> {
    vec![
        look("/hosts/{id}/schedules", list),
        look("/hosts/{id}/schedules/new", new),
        act("/hosts/{id}/schedules/new", create),
        look("/hosts/{id}/schedules/{schedule_id}", edit),
        act("/hosts/{id}/schedules/{schedule_id}", replace),
        act("/hosts/{id}/schedules/{schedule_id}/run", run),
        act("/hosts/{id}/schedules/{schedule_id}/delete", delete),
    ]
}

#[derive(Template)]
#[template(path = "schedules.html")]
struct Schedules {
    frame: Frame,
    head: HostHead,
    id: String,
    online: bool,
    has_groups: bool,
    schedules: Vec<Line>,
}

struct Line {
    href: String,
    name: String,
    cadence: String,
    cron: String,
    zone: String,
    enabled: bool,
    groups: Vec<String>,
    repos: Option<Vec<String>>,
    next: Option<Moment>,
    slots: Vec<Moment>,
}

/// A host's plan with the names in it.
struct Plan {
    seen: HostSeen,
    groups: Vec<SourceGroup>,
    schedules: Vec<ScheduleView>,
    /// The repositories it backs up to.
    repos: Vec<(RepoId, String)>,
}

impl Plan {
    async fn of(ask: &Ask) -> Result<Self, AppError> {
        let app = &ask.state.app;
        let host_id = ask.param("id").parse::<HostId>();
        let host_id = host_id.map_err(|_| AppError::not_found("host", ask.param("id")))?;
        let HostOverview { seen, groups, schedules, attachments } = app.host_overview(host_id).await?;
        let backs_up = |role: Role| match role {
            Role::Primary | Role::Copy => true,
            Role::Maintenance => false,
        };
        Ok(Self {
            seen,
            groups,
            schedules,
            repos: attachments
                .into_iter()
                .filter(|view| backs_up(view.attachment.role))
                .map(|view| (view.attachment.repo_id, view.repo_name.to_string()))
                .collect(),
        })
    }

    fn line(&self, view: &ScheduleView, now: Timestamp) -> Line {
        let schedule = &view.schedule;
        let group = |id: &GroupId| {
            self.groups.iter().find(|group| group.id == *id).map(|group| group.name.to_string())
        };
        let repo =
            |id: &RepoId| self.repos.iter().find(|(known, _)| known == id).map(|(_, name)| name.clone());
        Line {
            href: format!("/hosts/{}/schedules/{}", schedule.host_id, schedule.id),
            name: schedule.name.to_string(),
            cadence: cadence::in_words(&schedule.cron),
            cron: schedule.cron.to_string(),
            zone: schedule.timezone.to_string(),
            enabled: schedule.enabled,
            groups: schedule.group_ids.iter().filter_map(group).collect(),
            repos: schedule.repo_ids.as_ref().map(|ids| ids.iter().filter_map(repo).collect()),
            next: view.upcoming.first().map(|at| Moment::new(*at, now)),
            slots: view.upcoming.iter().map(|at| Moment::slot(*at, &schedule.timezone)).collect(),
        }
    }
}

async fn list(visitor: Visitor, ask: Ask) -> Answer {
    let plan = Plan::of(&ask).await?;
    let now = visitor.frame.now;
    page(
        StatusCode::OK,
        &Schedules {
            head: HostHead::new(&plan.seen, HostTab::Schedules),
            id: plan.seen.host.id.to_string(),
            online: plan.seen.presence == Presence::Online,
            has_groups: !plan.groups.is_empty(),
            schedules: plan.schedules.iter().map(|view| plan.line(view, now)).collect(),
            frame: visitor.frame.of(Tab::Fleet, format!("Schedules of {}", plan.seen.host.name)),
        },
    )
}

#[derive(Template)]
#[template(path = "schedule.html")]
struct Edit {
    frame: Frame,
    head: HostHead,
    host: String,
    action: String,
    name: Option<String>,
    form: Form,
    presets: [(&'static str, &'static str); 6],
    groups: Vec<(String, String)>,
    repos: Vec<(String, String)>,
    /// What the cadence is in words, and its next firing times.
    cadence: Option<String>,
    slots: Vec<Moment>,
    warnings: Vec<Prose>,
}

async fn new(visitor: Visitor, ask: Ask) -> Answer {
    let plan = Plan::of(&ask).await?;
    let groups = plan.groups.iter().map(|group| group.id.to_string()).collect::<Vec<_>>().join("\n");
    // The zone the other schedules of the host are in is the likeliest.
    let zone =
        plan.schedules.first().map_or_else(|| "UTC".to_owned(), |view| view.schedule.timezone.to_string());
    let form = Form::with([
        ("cron", "0 3 * * *".to_owned()),
        ("timezone", zone),
        ("enabled", "yes".to_owned()),
        ("group", groups),
    ]);
    show(visitor, &plan, None, form)
}

async fn edit(visitor: Visitor, ask: Ask) -> Answer {
    let plan = Plan::of(&ask).await?;
    let schedule = stored(&ask, &plan).await?;
    let form = of_schedule(&schedule);
    show(visitor, &plan, Some(&schedule), form)
}

async fn stored(ask: &Ask, plan: &Plan) -> Result<Schedule, super::super::answer::Refusal> {
    let id: ScheduleId = ask.id("schedule_id", "schedule")?;
    Ok(ask.state.app.schedule(plan.seen.host.id, id).await?.schedule)
}

async fn create(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let plan = Plan::of(&ask).await?;
    let (form, write) = read(&fields);
    let Some(write) = write.filter(|_| fields.text("do") != "look") else {
        return show(visitor, &plan, None, form);
    };
    let host_id = plan.seen.host.id;
    match ask.state.app.create_schedule(&visitor.caller, host_id, write).await {
        Ok(_) => Ok(see_other(&format!("/hosts/{host_id}/schedules"))),
        Err(error) => show(visitor, &plan, None, form.refuse(error, &PLACES)?),
    }
}

async fn replace(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let plan = Plan::of(&ask).await?;
    let schedule = stored(&ask, &plan).await?;
    let (form, write) = read(&fields);
    let Some(write) = write.filter(|_| fields.text("do") != "look") else {
        return show(visitor, &plan, Some(&schedule), form);
    };
    let host_id = plan.seen.host.id;
    match ask.state.app.replace_schedule(&visitor.caller, host_id, schedule.id, write).await {
        Ok(_) => Ok(see_other(&format!("/hosts/{host_id}/schedules"))),
        Err(error) => show(visitor, &plan, Some(&schedule), form.refuse(error, &PLACES)?),
    }
}

/// Where a refusal of the application stands in the form.
const PLACES: [(&str, &str); 3] = [("name_taken", "name"), ("group_ids", "group"), ("repo_ids", "repo")];

/// Starts what the schedule would start at its next slot.
async fn run(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let plan = Plan::of(&ask).await?;
    let schedule = stored(&ask, &plan).await?;
    let (app, host_id) = (&ask.state.app, plan.seen.host.id);
    let mut jobs = Vec::new();
    for group_id in &schedule.group_ids {
        match &schedule.repo_ids {
            None => jobs.extend(app.run_group(&visitor.caller, host_id, *group_id, None).await?),
            Some(repos) => {
                for repo_id in repos {
                    jobs.extend(app.run_group(&visitor.caller, host_id, *group_id, Some(*repo_id)).await?);
                }
            }
        }
    }
    match jobs.as_slice() {
        [only] => Ok(see_other(&format!("/jobs/{}", only.job_id))),
        _ => Ok(see_other(&format!("/jobs?host_id={host_id}"))),
    }
}

/// Deletes a schedule, once its name was typed.
async fn delete(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let plan = Plan::of(&ask).await?;
    let schedule = stored(&ask, &plan).await?;
    let host_id = plan.seen.host.id;
    if fields.text("typed") == schedule.name.as_str() {
        ask.state.app.delete_schedule(&visitor.caller, host_id, schedule.id).await?;
        return Ok(see_other(&format!("/hosts/{host_id}/schedules")));
    }
    let mut form = of_schedule(&schedule);
    form.deny_name("typed", fields.text("typed"), schedule.name.as_str());
    show(visitor, &plan, Some(&schedule), form)
}

fn show(visitor: Visitor, plan: &Plan, schedule: Option<&Schedule>, form: Form) -> Answer {
    let now = visitor.frame.now;
    let host = plan.seen.host.id.to_string();
    let read = Cadence::of(&form);
    let slots = read.as_ref().map(|cadence| {
        let at = cadence.upcoming(UPCOMING, now);
        at.into_iter().map(|at| Moment::slot(at, &cadence.zone)).collect()
    });
    let name = schedule.map(|schedule| schedule.name.to_string());
    let title = name.clone().unwrap_or_else(|| "New schedule".to_owned());
    page(
        form.status(),
        &Edit {
            head: HostHead::new(&plan.seen, HostTab::Schedules),
            action: match schedule {
                Some(schedule) => format!("/hosts/{host}/schedules/{}", schedule.id),
                None => format!("/hosts/{host}/schedules/new"),
            },
            host,
            presets: cadence::PRESETS,
            cadence: read.as_ref().map(|read| cadence::in_words(&read.cron)),
            warnings: read.as_ref().map_or_else(Vec::new, |read| warnings(plan, schedule, &form, read, now)),
            slots: slots.unwrap_or_default(),
            groups: plan.groups.iter().map(|group| (group.id.to_string(), group.name.to_string())).collect(),
            repos: plan.repos.iter().map(|(id, name)| (id.to_string(), name.clone())).collect(),
            name,
            frame: visitor.frame.of(Tab::Fleet, title),
            form,
        },
    )
}

/// What is to be said of the policies that this schedule is to fill, together with the host's other schedules.
fn warnings(
    plan: &Plan,
    schedule: Option<&Schedule>,
    form: &Form,
    read: &Cadence,
    now: Timestamp,
) -> Vec<Prose> {
    let mut told = Vec::new();
    if read.upcoming(1, now).is_empty() {
        told.push(Prose::new(&format!("`{}` never fires: choose a day that exists.", read.cron)));
    }
    let others = plan.schedules.iter().map(|view| &view.schedule);
    let others: Vec<&Schedule> =
        others.filter(|other| other.enabled && schedule.is_none_or(|own| own.id != other.id)).collect();
    for group in plan.groups.iter().filter(|group| form.ticked("group", group.id.to_string())) {
        let mut cadences = vec![read.clone()];
        cadences.extend(
            others
                .iter()
                .filter(|other| other.group_ids.contains(&group.id))
                .map(|other| Cadence { cron: other.cron.clone(), zone: other.timezone.clone() }),
        );
        let Some(pace) = cadence::pace(&cadences, now) else { continue };
        let never = cadence::never_filled(&group.keep, pace);
        told.extend(never.iter().map(|text| Prose::new(&format!("{}: {text}.", group.name))));
    }
    told
}

/// What can be read of a cadence before the rest of its form is right.
trait OfForm: Sized {
    fn of(form: &Form) -> Option<Self>;
}

impl OfForm for Cadence {
    fn of(form: &Form) -> Option<Self> {
        let (cron, zone) = (form.value("cron").parse().ok()?, form.value("timezone").parse().ok()?);
        Some(Self { cron, zone })
    }
}

fn of_schedule(schedule: &Schedule) -> Form {
    let ids = |ids: Vec<String>| ids.join("\n");
    Form::with([
        ("name", schedule.name.to_string()),
        ("cron", schedule.cron.to_string()),
        ("timezone", schedule.timezone.to_string()),
        ("enabled", if schedule.enabled { "yes".to_owned() } else { String::new() }),
        ("group", ids(schedule.group_ids.iter().map(ToString::to_string).collect())),
        ("repo", ids(schedule.repo_ids.iter().flatten().map(ToString::to_string).collect())),
    ])
}

/// The form as it was typed, and the schedule it holds unless something is wrong.
fn read(fields: &Fields) -> (Form, Option<ScheduleWrite>) {
    let mut form = Form::typed(fields);
    // What was chosen is what is written from here on.
    if let Some(chosen) = fields.given("preset") {
        form.set("cron", chosen);
    }
    let cron = form.value("cron").parse::<CronExpr>();
    let name = form.take("name", DisplayName::new(fields.text("name")));
    let cron = form.take("cron", cron);
    let timezone = form.take("timezone", fields.text("timezone").parse::<Zone>());
    let groups = form.take("group", ids::<GroupId>(fields, "group"));
    let repos = form.take("repo", ids::<RepoId>(fields, "repo"));
    if groups.as_ref().is_some_and(Vec::is_empty) {
        form.set_wrong("group", "choose at least one source group");
    }
    let (Some(name), Some(cron), Some(timezone), Some(group_ids), Some(repos), false) =
        (name, cron, timezone, groups, repos, form.is_wrong())
    else {
        return (form, None);
    };
    let repo_ids = (!repos.is_empty()).then_some(repos);
    let enabled = fields.text("enabled") == "yes";
    (form, Some(ScheduleWrite { name, cron, timezone, enabled, group_ids, repo_ids }))
}

fn ids<T: std::str::FromStr<Err: std::fmt::Display>>(fields: &Fields, name: &str) -> Result<Vec<T>, String> {
    fields.all(name).into_iter().map(|id| id.parse().map_err(|why: T::Err| why.to_string())).collect()
}
