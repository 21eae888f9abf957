//! A host: what it is, what it backs up, when, where to, and how that went.

use std::collections::BTreeMap;

use askama::Template;
use http::StatusCode;
use restic_manager_core::api::{AttachmentView, Presence, ScheduleView};
use restic_manager_core::id::{GroupId, HostId, RepoId};
use restic_manager_core::model::{AppendOnly, CredentialInfo, CredentialKind, Role, SourceGroup};
use restic_manager_core::time::Timestamp;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::{Fields, address};
use super::frame::{Frame, Tab, Visitor};
use super::host_head::{HostTab, HostTabs};
use super::parts::{JobLine, Mark, Moment, Prose};
use super::snapshots::SnapshotLine;
use super::table::{Route, act, look};
use super::{page, see_other, words};
use crate::app::{App, AppError, HostOverview, HostSeen, JobQuery, ListQuery};

/// How it becomes known whether a credential may only append.
const LEARNED: &str = "learned at the first delete that the storage refuses, or said by you";
/// Rows of the lists that are only begun here.
const BEGUN: u32 = 10;

pub(super) fn routes() -> Vec<Route> {
    vec![look("/hosts/{id}", host), act("/hosts/{id}/groups/{group_id}/run", run)]
}

#[derive(Template)]
#[template(path = "host.html")]
struct HostPage {
    frame: Frame,
    id: String,
    name: String,
    presence: Mark,
    tabs: HostTabs,
    online: bool,
    seen: Moment,
    tags: Vec<(String, String)>,
    facts: Vec<(&'static str, String)>,
    enrolled: Moment,
    problem: Option<Prose>,
    plan: Option<String>,
    attachments: Vec<AttachmentLine>,
    groups: Vec<GroupLine>,
    schedules: Vec<ScheduleLine>,
    snapshots: Vec<SnapshotLine>,
    jobs: Vec<JobLine>,
}

struct AttachmentLine {
    repo: String,
    repo_href: String,
    /// The page of how the host uses it.
    uses: String,
    role: &'static str,
    restic_host: String,
    urls: Vec<(&'static str, String)>,
    append_only: (&'static str, Option<&'static str>),
}

/// A source group as it is shown.
pub(super) struct GroupLine {
    pub(super) name: String,
    pub(super) tag: String,
    pub(super) includes: Vec<String>,
    pub(super) excludes: Vec<String>,
    pub(super) options: Vec<&'static str>,
    pub(super) keeps: String,
    pub(super) retries: String,
    pub(super) backup: Option<JobLine>,
    pub(super) run_path: String,
}

struct ScheduleLine {
    name: String,
    cron: String,
    zone: String,
    enabled: bool,
    groups: Vec<String>,
    repos: Option<Vec<String>>,
    slots: Vec<Moment>,
    next: Option<Moment>,
}

async fn host(visitor: Visitor, ask: Ask) -> Answer {
    let id: HostId = ask.id("id", "host")?;
    let now = visitor.frame.now;
    let app = &ask.state.app;
    let HostOverview { seen, groups, schedules, attachments } = app.host_overview(id).await?;
    let begun = ListQuery { limit: Some(BEGUN), cursor: None };
    let snapshots = app.snapshots(id, None, None, &begun).await?.items;
    let jobs = app.jobs(&JobQuery { host_id: Some(id), ..JobQuery::default() }, &begun).await?.items;

    let names = Names::of(&groups, &attachments);
    let group_lines = GroupLine::all(app, &groups, now).await?;
    let tabs = HostTabs::new(&seen, HostTab::Overview);
    let HostSeen { host, presence } = seen;
    let plan =
        (host.schedule_version > host.schedule_version_acked && presence != Presence::NeverSeen).then(|| {
            format!("plan {}, the agent works by {}", host.schedule_version, host.schedule_version_acked)
        });
    page(
        StatusCode::OK,
        &HostPage {
            id: id.to_string(),
            name: host.name.to_string(),
            presence: Mark::presence(presence).boxed(),
            tabs,
            online: presence == Presence::Online,
            seen: Moment::or(host.last_seen_at, now, "never"),
            tags: host
                .tags
                .iter()
                .map(|tag| (tag.to_string(), address("/", &[("tag", tag.as_str())])))
                .collect(),
            facts: facts(&host),
            enrolled: Moment::new(host.created_at, now),
            problem: host.facts.restic_problem.as_deref().map(Prose::sentence),
            plan,
            attachments: attachments.into_iter().map(attachment_line).collect(),
            groups: group_lines,
            schedules: schedules.into_iter().map(|view| schedule_line(&view, &names, now)).collect(),
            snapshots: snapshots.into_iter().map(|view| SnapshotLine::new(view, id, &names, now)).collect(),
            jobs: jobs.iter().map(|view| JobLine::new(view, now)).collect(),
            frame: visitor.frame.of(Tab::Fleet, host.name.to_string()),
        },
    )
}

/// Starts a backup: to its job, or to the jobs of the host when there are several.
async fn run(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let (host_id, group_id): (HostId, GroupId) = (ask.id("id", "host")?, ask.id("group_id", "source group")?);
    let accepted = ask.state.app.run_group(&visitor.caller, host_id, group_id, None).await?;
    match accepted.as_slice() {
        [only] => Ok(see_other(&format!("/jobs/{}", only.job_id))),
        _ => Ok(see_other(&format!("/hosts/{host_id}/jobs"))),
    }
}

/// The names behind the ids of a host's plan.
pub(super) struct Names {
    pub(super) groups: BTreeMap<GroupId, String>,
    pub(super) repos: BTreeMap<RepoId, String>,
}

impl Names {
    pub(super) fn of(groups: &[SourceGroup], attachments: &[AttachmentView]) -> Self {
        Self {
            groups: groups.iter().map(|group| (group.id, group.name.to_string())).collect(),
            repos: attachments
                .iter()
                .map(|view| (view.attachment.repo_id, view.repo_name.to_string()))
                .collect(),
        }
    }

    pub(super) fn repo(&self, id: RepoId) -> String {
        self.repos.get(&id).cloned().unwrap_or_else(|| words::short(&id.to_string()))
    }
}

fn facts(host: &restic_manager_core::model::Host) -> Vec<(&'static str, String)> {
    let facts = &host.facts;
    let system = match (&facts.os, &facts.arch) {
        (Some(os), Some(arch)) => Some(format!("{os} {arch}")),
        (os, arch) => os.clone().or_else(|| arch.clone()),
    };
    let limit = |kib: Option<u32>| {
        kib.map_or_else(|| "unlimited".to_owned(), |kib| format!("{}/s", words::size(u64::from(kib) * 1024)))
    };
    let unknown = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "unknown".to_owned());
    vec![
        ("System name", unknown(&facts.os_hostname)),
        ("System", unknown(&system)),
        ("restic", unknown(&facts.restic_version)),
        ("Agent", unknown(&facts.agent_version)),
        ("Upload limit", limit(host.limit_upload_kib)),
        ("Download limit", limit(host.limit_download_kib)),
    ]
}

fn attachment_line(view: AttachmentView) -> AttachmentLine {
    let attachment = view.attachment;
    AttachmentLine {
        repo: view.repo_name.to_string(),
        repo_href: format!("/repos/{}", attachment.repo_id),
        uses: format!("/hosts/{}/attachments/{}", attachment.host_id, attachment.repo_id),
        role: role(attachment.role),
        restic_host: attachment.restic_host.to_string(),
        urls: urls(view.credentials),
        append_only: append_only(attachment.append_only),
    }
}

/// The addresses of credentials, without any secret, and what each is for.
pub(super) fn urls(credentials: Vec<CredentialInfo>) -> Vec<(&'static str, String)> {
    let url = |info: CredentialInfo| match info.kind {
        CredentialKind::Repo => ("everyday", info.url),
        CredentialKind::Admin => ("admin", info.url),
    };
    credentials.into_iter().map(url).collect()
}

/// A role in one word.
pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Copy => "copy",
        Role::Maintenance => "maintenance",
    }
}

/// Whether a host may only append, in one word; and how that becomes known, where it is not.
pub(super) const fn append_only(append_only: AppendOnly) -> (&'static str, Option<&'static str>) {
    match append_only {
        AppendOnly::Yes => ("yes", None),
        AppendOnly::No => ("no", None),
        AppendOnly::Unknown => ("not known", Some(LEARNED)),
    }
}

impl GroupLine {
    /// The lines of groups with their newest backups, in their order.
    pub(super) async fn all(
        app: &App,
        groups: &[SourceGroup],
        now: Timestamp,
    ) -> Result<Vec<Self>, AppError> {
        let backups = app.last_backups(groups).await?;
        let newest = |group: &SourceGroup| backups.get(&group.id).map(|view| JobLine::new(view, now));
        Ok(groups.iter().map(|group| group_line(group, newest(group))).collect())
    }
}

fn group_line(group: &SourceGroup, backup: Option<JobLine>) -> GroupLine {
    let mut options = Vec::new();
    if group.options.exclude_caches {
        options.push("leaves out caches");
    }
    if group.options.one_file_system {
        options.push("stays on one file system");
    }
    let first = words::took(i64::from(group.retry_backoff_seconds) * 1000);
    let attempts = words::count(u64::from(group.retry_max), "attempt");
    let retries =
        if group.retry_max > 1 { format!("{attempts}, the second after {first}") } else { attempts };
    GroupLine {
        run_path: format!("/hosts/{}/groups/{}/run", group.host_id, group.id),
        name: group.name.to_string(),
        tag: group.tag.to_string(),
        includes: group.includes.iter().map(ToString::to_string).collect(),
        excludes: group.excludes.iter().map(ToString::to_string).collect(),
        options,
        keeps: words::capitalised(&group.keep.summary()),
        retries,
        backup,
    }
}

fn schedule_line(view: &ScheduleView, names: &Names, now: Timestamp) -> ScheduleLine {
    let schedule = &view.schedule;
    let group = |id: &GroupId| names.groups.get(id).cloned();
    ScheduleLine {
        name: schedule.name.to_string(),
        cron: schedule.cron.to_string(),
        zone: schedule.timezone.to_string(),
        enabled: schedule.enabled,
        groups: schedule.group_ids.iter().filter_map(group).collect(),
        repos: schedule.repo_ids.as_ref().map(|ids| ids.iter().map(|id| names.repo(*id)).collect()),
        slots: view.upcoming.iter().map(|at| Moment::slot(*at, &schedule.timezone)).collect(),
        next: view.upcoming.first().map(|at| Moment::new(*at, now)),
    }
}
