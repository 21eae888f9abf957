//! What a host backs up, and how long it is kept.

use askama::Template;
use http::StatusCode;
use restic_manager_core::api::{Presence, ScheduleView, SourceGroupWrite};
use restic_manager_core::id::{GroupId, HostId};
use restic_manager_core::model::{BackupOptions, SourceGroup};
use restic_manager_core::retention::{KeepPolicy, KeepWithin};
use restic_manager_core::schedule::Cadence;
use restic_manager_core::text::{DisplayName, Tag};
use restic_manager_core::time::Timestamp;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::form::Form;
use super::frame::{Frame, Tab, Visitor};
use super::host::GroupLine;
use super::host_head::{HostHead, HostTab};
use super::table::{Route, act, look};
use super::{cadence, page, see_other, words};
use crate::app::{App, HostOverview};

/// The dimensions of a policy: field, word.
const KEEPS: [(&str, &str); 6] = [
    ("last", "newest"),
    ("hourly", "hours"),
    ("daily", "days"),
    ("weekly", "weeks"),
    ("monthly", "months"),
    ("yearly", "years"),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        look("/hosts/{id}/sources", list),
        look("/hosts/{id}/sources/new", new),
        act("/hosts/{id}/sources/new", create),
        look("/hosts/{id}/sources/{group_id}", edit),
        act("/hosts/{id}/sources/{group_id}", replace),
        act("/hosts/{id}/sources/{group_id}/delete", delete),
    ]
}

#[derive(Template)]
#[template(path = "sources.html")]
struct Sources {
    frame: Frame,
    head: HostHead,
    id: String,
    online: bool,
    groups: Vec<Line>,
}

/// A source group in the list.
struct Line {
    href: String,
    group: GroupLine,
    schedules: Vec<String>,
    warnings: Vec<String>,
    has_policy: bool,
}

async fn list(visitor: Visitor, ask: Ask) -> Answer {
    let id: HostId = ask.id("id", "host")?;
    let (app, now) = (&ask.state.app, visitor.frame.now);
    let HostOverview { seen, groups, schedules, .. } = app.host_overview(id).await?;
    let shown = GroupLine::all(app, &groups, now).await?;
    let lines = groups.iter().zip(shown).map(|(group, shown)| line(group, &schedules, shown, now)).collect();
    page(
        StatusCode::OK,
        &Sources {
            head: HostHead::new(&seen, HostTab::Sources),
            id: id.to_string(),
            online: seen.presence == Presence::Online,
            groups: lines,
            frame: visitor.frame.of(Tab::Fleet, format!("Sources of {}", seen.host.name)),
        },
    )
}

fn line(group: &SourceGroup, schedules: &[ScheduleView], shown: GroupLine, now: Timestamp) -> Line {
    let by = schedules.iter().filter(|view| view.schedule.group_ids.contains(&group.id));
    Line {
        href: format!("/hosts/{}/sources/{}", group.host_id, group.id),
        schedules: by.map(|view| view.schedule.name.to_string()).collect(),
        warnings: warnings(&group.keep, group.id, schedules, now),
        has_policy: !group.keep.is_empty(),
        group: shown,
    }
}

/// What is to be said of a policy beside the schedules that fill it.
fn warnings(keep: &KeepPolicy, id: GroupId, schedules: &[ScheduleView], now: Timestamp) -> Vec<String> {
    let cadences: Vec<Cadence> = schedules
        .iter()
        .map(|view| &view.schedule)
        .filter(|schedule| schedule.enabled && schedule.group_ids.contains(&id))
        .map(|schedule| Cadence { cron: schedule.cron.clone(), zone: schedule.timezone.clone() })
        .collect();
    cadence::pace(&cadences, now).map_or_else(Vec::new, |pace| cadence::never_filled(keep, pace))
}

#[derive(Template)]
#[template(path = "source.html")]
struct Edit {
    frame: Frame,
    head: HostHead,
    host: String,
    /// The path the form is sent to.
    action: String,
    /// The name it has, when it is there.
    name: Option<String>,
    tag: Option<String>,
    form: Form,
    keeps: [(&'static str, &'static str); 6],
    /// The policy in plain words.
    summary: Option<String>,
    warnings: Vec<String>,
    preview: Option<String>,
}

async fn new(visitor: Visitor, ask: Ask) -> Answer {
    let form = Form::with([
        ("daily", "7".to_owned()),
        ("weekly", "4".to_owned()),
        ("monthly", "12".to_owned()),
        ("retry_max", "3".to_owned()),
        ("retry_backoff_seconds", "60".to_owned()),
        ("exclude_caches", "yes".to_owned()),
    ]);
    show(visitor, &ask, None, form).await
}

async fn edit(visitor: Visitor, ask: Ask) -> Answer {
    let (host_id, id) = (ask.id("id", "host")?, ask.id("group_id", "source group")?);
    let group = ask.state.app.group(host_id, id).await?;
    let form = of_group(&group);
    show(visitor, &ask, Some(group), form).await
}

async fn create(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let host_id: HostId = ask.id("id", "host")?;
    let mut form = Form::typed(&fields);
    let write = written(&fields, &mut form);
    let Some(write) = write.filter(|_| fields.text("do") != "look") else {
        return show(visitor, &ask, None, form).await;
    };
    match ask.state.app.create_group(&visitor.caller, host_id, write).await {
        Ok(_) => Ok(see_other(&format!("/hosts/{host_id}/sources"))),
        Err(error) => {
            let form = form.refuse(error, &[("name_taken", "name"), ("tag_taken", "tag")])?;
            show(visitor, &ask, None, form).await
        }
    }
}

async fn replace(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let (host_id, id): (HostId, GroupId) = (ask.id("id", "host")?, ask.id("group_id", "source group")?);
    let group = ask.state.app.group(host_id, id).await?;
    let mut form = Form::typed(&fields);
    let write = written(&fields, &mut form);
    let Some(write) = write.filter(|_| fields.text("do") != "look") else {
        return show(visitor, &ask, Some(group), form).await;
    };
    match ask.state.app.replace_group(&visitor.caller, host_id, id, write).await {
        Ok(_) => Ok(see_other(&format!("/hosts/{host_id}/sources"))),
        Err(error) => {
            let form = form.refuse(error, &[("name_taken", "name")])?;
            show(visitor, &ask, Some(group), form).await
        }
    }
}

/// Deletes a source group, once its name was typed.
async fn delete(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let (host_id, id): (HostId, GroupId) = (ask.id("id", "host")?, ask.id("group_id", "source group")?);
    let group = ask.state.app.group(host_id, id).await?;
    let typed = fields.text("typed");
    if typed != group.name.as_str() {
        let mut form = of_group(&group);
        form.deny_name("typed", typed, group.name.as_str());
        return show(visitor, &ask, Some(group), form).await;
    }
    match ask.state.app.delete_group(&visitor.caller, host_id, id).await {
        Ok(()) => Ok(see_other(&format!("/hosts/{host_id}/sources"))),
        Err(error) => {
            let form = of_group(&group).refuse(error, &[])?;
            show(visitor, &ask, Some(group), form).await
        }
    }
}

async fn show(visitor: Visitor, ask: &Ask, group: Option<SourceGroup>, form: Form) -> Answer {
    let host_id: HostId = ask.id("id", "host")?;
    let app: &App = &ask.state.app;
    let HostOverview { seen, schedules, .. } = app.host_overview(host_id).await?;
    let mut spare = Form::default();
    let keep = keep(|name| form.value(name).to_owned(), &mut spare);
    let named = group.as_ref().map(|group| group.name.to_string());
    let title = named.clone().unwrap_or_else(|| "New source group".to_owned());
    page(
        form.status(),
        &Edit {
            head: HostHead::new(&seen, HostTab::Sources),
            host: host_id.to_string(),
            action: match &group {
                Some(group) => format!("/hosts/{host_id}/sources/{}", group.id),
                None => format!("/hosts/{host_id}/sources/new"),
            },
            tag: group.as_ref().map(|group| group.tag.to_string()),
            keeps: KEEPS,
            summary: keep.as_ref().map(|keep| words::capitalised(&keep.summary())),
            warnings: match (&group, &keep) {
                (Some(group), Some(keep)) => warnings(keep, group.id, &schedules, visitor.frame.now),
                _ => Vec::new(),
            },
            preview: group
                .as_ref()
                .filter(|group| !group.keep.is_empty())
                .map(|group| format!("/hosts/{host_id}/sources/{}/preview", group.id)),
            name: named,
            frame: visitor.frame.of(Tab::Fleet, title),
            form,
        },
    )
}

fn of_group(group: &SourceGroup) -> Form {
    let yes = |on: bool| if on { "yes".to_owned() } else { String::new() };
    let number =
        |number: Option<std::num::NonZeroU32>| number.map_or_else(String::new, |number| number.to_string());
    let lines = |texts: Vec<String>| texts.join("\n");
    let keep = &group.keep;
    Form::with([
        ("name", group.name.to_string()),
        ("includes", lines(group.includes.iter().map(ToString::to_string).collect())),
        ("excludes", lines(group.excludes.iter().map(ToString::to_string).collect())),
        ("exclude_caches", yes(group.options.exclude_caches)),
        ("one_file_system", yes(group.options.one_file_system)),
        ("last", number(keep.last)),
        ("hourly", number(keep.hourly)),
        ("daily", number(keep.daily)),
        ("weekly", number(keep.weekly)),
        ("monthly", number(keep.monthly)),
        ("yearly", number(keep.yearly)),
        ("within", keep.within.map_or_else(String::new, |within| within.to_string())),
        ("retry_max", group.retry_max.to_string()),
        ("retry_backoff_seconds", group.retry_backoff_seconds.to_string()),
    ])
}

/// The group that a form holds; what is wrong with it is noted.
fn written(fields: &Fields, form: &mut Form) -> Option<SourceGroupWrite> {
    let name = form.take("name", DisplayName::new(fields.text("name")));
    let tag = form.take("tag", fields.given("tag").map(Tag::new).transpose());
    let includes = form.take("includes", lines(fields.text("includes")));
    if includes.as_ref().is_some_and(Vec::is_empty) {
        form.set_wrong("includes", "name at least one folder or file, such as /home");
    }
    let excludes = form.take("excludes", lines(fields.text("excludes")));
    let keep = keep(|name| fields.text(name).to_owned(), form);
    let number = |name: &str, least: u32, most: u32| {
        let number = fields.text(name).parse::<u32>().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("give a whole number from {least} to {most}"))
    };
    let retry_max = form.take("retry_max", number("retry_max", 1, 20));
    let backoff = form.take("retry_backoff_seconds", number("retry_backoff_seconds", 10, 1800));
    if form.is_wrong() {
        return None;
    }
    Some(SourceGroupWrite {
        name: name?,
        tag: tag?,
        includes: includes?,
        excludes: excludes?,
        options: BackupOptions {
            exclude_caches: fields.text("exclude_caches") == "yes",
            one_file_system: fields.text("one_file_system") == "yes",
        },
        keep: keep?,
        retry_max: retry_max?,
        retry_backoff_seconds: backoff?,
    })
}

/// The policy that a grid holds.
fn keep(value: impl Fn(&str) -> String, form: &mut Form) -> Option<KeepPolicy> {
    let mut number = |name: &str| {
        let text = value(name);
        let number = if text.is_empty() { Ok(None) } else { text.parse().map(Some) };
        form.take(name, number.map_err(|_| "give a whole number above 0, or nothing"))
    };
    let (last, hourly, daily) = (number("last"), number("hourly"), number("daily"));
    let (weekly, monthly, yearly) = (number("weekly"), number("monthly"), number("yearly"));
    let text = value("within");
    let within = if text.is_empty() { Ok(None) } else { text.parse::<KeepWithin>().map(Some) };
    let within = form.take("within", within);
    Some(KeepPolicy {
        last: last?,
        hourly: hourly?,
        daily: daily?,
        weekly: weekly?,
        monthly: monthly?,
        yearly: yearly?,
        within: within?,
    })
}

/// One value a line; the first that is none is named.
fn lines<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Vec<T>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.parse().map_err(|why: T::Err| why.to_string())).collect()
}
