//! The snapshots of a host: what lies in its repositories, newest first.

use askama::Template;
use http::StatusCode;
use restic_manager_core::api::SnapshotView;
use restic_manager_core::id::{GroupId, HostId, RepoId};
use restic_manager_core::time::Timestamp;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::fleet::pager;
use super::frame::{Frame, Tab, Visitor};
use super::host::Names;
use super::host_head::{HostHead, HostTab};
use super::jobs::id;
use super::parts::{Moment, Pager};
use super::table::{Route, look};
use super::{ROWS, page, words};
use crate::app::{HostOverview, ListQuery};

pub(super) fn routes() -> Vec<Route> {
    vec![look("/hosts/{id}/snapshots", snapshots)]
}

#[derive(Template)]
#[template(path = "snapshots.html")]
struct Snapshots {
    frame: Frame,
    head: HostHead,
    /// The address without filters.
    here: String,
    is_filtered: bool,
    groups: Vec<(String, String, bool)>,
    repos: Vec<(String, String, bool)>,
    snapshots: Vec<SnapshotLine>,
    /// How many there are in which repository, and since when that is known.
    lists: Vec<(String, String, Moment)>,
    next: NextStep,
    pager: Pager,
}

/// What brings the first snapshot nearer.
struct NextStep {
    what: &'static str,
    button: &'static str,
    href: String,
}

/// A snapshot in a list.
pub(super) struct SnapshotLine {
    pub(super) id: String,
    pub(super) short: String,
    pub(super) time: Moment,
    pub(super) exact: String,
    /// The source group it belongs to, with its page.
    pub(super) group: Option<(String, String)>,
    /// Its tags, where it belongs to no group.
    pub(super) tags: Vec<String>,
    pub(super) paths: Vec<String>,
    pub(super) size: Option<String>,
    pub(super) files: Option<String>,
    pub(super) added: Option<String>,
    pub(super) repo: String,
    pub(super) repo_href: String,
}

impl SnapshotLine {
    /// The line of a snapshot of this host.
    pub(super) fn new(view: SnapshotView, host_id: HostId, names: &Names, now: Timestamp) -> Self {
        let snapshot = view.snapshot;
        let named = view.group_id.and_then(|id| Some((id, names.groups.get(&id)?)));
        let group = named.map(|(id, name)| (name.clone(), format!("/hosts/{host_id}/sources/{id}")));
        let id = snapshot.id.to_string();
        Self {
            short: words::short(&id),
            id,
            time: Moment::new(snapshot.time, now),
            exact: words::exact(snapshot.time),
            tags: if group.is_some() { Vec::new() } else { snapshot.tags },
            group,
            paths: snapshot.paths,
            size: snapshot.size_bytes.map(words::size),
            files: snapshot.files.map(words::number),
            added: snapshot.added_bytes.map(words::size),
            repo: names.repo(view.repo_id),
            repo_href: format!("/repos/{}", view.repo_id),
        }
    }
}

async fn snapshots(visitor: Visitor, ask: Ask) -> Answer {
    let host_id: HostId = ask.id("id", "host")?;
    let (app, now) = (&ask.state.app, visitor.frame.now);
    let fields = Fields::parse(ask.query_text().as_bytes());
    let repo_id: Option<RepoId> = id(&fields, "repo_id", "repository")?;
    let group_id: Option<GroupId> = id(&fields, "group_id", "source group")?;
    let HostOverview { seen, groups, schedules, attachments } = app.host_overview(host_id).await?;
    let list = ListQuery { limit: Some(ROWS), cursor: fields.given("cursor").map(str::to_owned) };
    let listed = app.snapshots(host_id, repo_id, group_id, &list).await?;
    let names = Names::of(&groups, &attachments);
    let lists = app.snapshot_lists(host_id).await?.into_iter();
    let lists = lists.filter(|list| repo_id.is_none_or(|wanted| wanted == list.repo_id));
    let here = format!("/hosts/{host_id}/snapshots");
    let is_scheduled = schedules.iter().any(|view| !view.upcoming.is_empty());
    let parameters = ["group_id", "repo_id"].map(|name| (name, fields.text(name)));
    let line = |view| SnapshotLine::new(view, host_id, &names, now);
    page(
        StatusCode::OK,
        &Snapshots {
            head: HostHead::new(&seen, HostTab::Snapshots),
            pager: pager(&here, &parameters, list.cursor.is_some(), listed.next_cursor.as_deref()),
            is_filtered: repo_id.is_some() || group_id.is_some(),
            groups: options(&names.groups, group_id),
            repos: options(&names.repos, repo_id),
            lists: lists
                .map(|list| {
                    let count = words::count(list.total, "snapshot");
                    (count, names.repo(list.repo_id), Moment::new(list.listed_at, now))
                })
                .collect(),
            snapshots: listed.items.into_iter().map(line).collect(),
            next: next_step(host_id, &names, is_scheduled),
            frame: visitor.frame.of(Tab::Fleet, format!("Snapshots of {}", seen.host.name)),
            here,
        },
    )
}

/// What there is to choose: value, word, whether it is chosen. What was chosen and is gone can still be seen.
fn options<K: Copy + Ord + ToString>(
    names: &std::collections::BTreeMap<K, String>,
    chosen: Option<K>,
) -> Vec<(String, String, bool)> {
    let mut options: Vec<_> =
        names.iter().map(|(id, name)| (id.to_string(), name.clone(), chosen == Some(*id))).collect();
    options.sort_by(|(_, one, _), (_, other, _)| one.cmp(other));
    let gone = chosen.filter(|id| !names.contains_key(id)).map(|id| id.to_string());
    options.extend(gone.map(|id| (id.clone(), words::short(&id), true)));
    options
}

fn next_step(host_id: HostId, names: &Names, is_scheduled: bool) -> NextStep {
    let step = |what, button, rest| NextStep { what, button, href: format!("/hosts/{host_id}{rest}") };
    if names.repos.is_empty() {
        return step(
            "The host has nowhere to back up to: it needs the address and the password of a repository.",
            "Connect a repository",
            "/repo",
        );
    }
    if names.groups.is_empty() {
        return step("First say what is backed up.", "Make a source group", "/sources/new");
    }
    if is_scheduled {
        return step(
            "They are listed after each backup. The first comes with the schedule, or at once.",
            "Back up now",
            "/sources",
        );
    }
    step(
        "They are listed after each backup. Nothing runs by itself yet: say when, or start one at a source group.",
        "Make a schedule",
        "/schedules/new",
    )
}
