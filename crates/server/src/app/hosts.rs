//! Hosts.

use std::collections::BTreeMap;

use restic_manager_core::api::{HostPatch, HostView, Page, Presence};
use restic_manager_core::id::{EnrollmentId, HostId};
use restic_manager_core::model::{Host, HostFacts, Schedule};
use restic_manager_core::schedule::Cadence;
use restic_manager_core::text::{DisplayName, Tag};
use restic_manager_core::time::{MINUTE, Timestamp};
use restic_manager_core::wire::WireError;
use restic_manager_store::{
    Deleted, EnrollOutcome, EnrollmentRow, HostChange, HostFilter, PageRequest, Renamed,
};

use super::newcomer::new_host;
use super::page::page;
use super::{App, AppError, Caller, ErrorKind, ListQuery};
use crate::random::token_hash;

/// How many things that stand in the way of a deletion are named.
const NAMED: usize = 10;
/// How many of them are read.
const MOST_NAMED: u32 = 1_000;

/// Which hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostQuery {
    /// Part of the name, in any case.
    pub q: Option<String>,
    /// Carries this label.
    pub tag: Option<Tag>,
    /// In contact or not.
    pub state: Option<Presence>,
}

impl App {
    /// Hosts by name.
    ///
    /// # Errors
    ///
    /// A limit out of bounds, or a fault of the store.
    pub async fn hosts(&self, query: &HostQuery, list: &ListQuery) -> Result<Page<HostView>, AppError> {
        let filter = HostFilter { text: query.q.clone(), tag: query.tag.clone(), ..HostFilter::default() };
        let filter = match query.state {
            None => filter,
            Some(presence) => self.in_contact(presence, filter).await?,
        };
        let listed = self.store.hosts(&filter, list.request()?).await?;
        let mut views = self.host_views(&listed.items).await?;
        Ok(page(listed, |host| views.remove(&host.id).unwrap_or_else(|| self.bare_view(host))))
    }

    /// A host.
    ///
    /// # Errors
    ///
    /// When there is none, or the store fails.
    pub async fn host(&self, id: HostId) -> Result<HostView, AppError> {
        let host = self.known_host(id).await?;
        let mut views = self.host_views(std::slice::from_ref(&host)).await?;
        Ok(views.remove(&id).unwrap_or_else(|| self.bare_view(host)))
    }

    /// Makes a host whose agent the embedder authenticates in a way of its own: no agent token opens a session for it.
    ///
    /// # Errors
    ///
    /// When the name is taken, or the store fails.
    pub async fn add_host(&self, caller: &Caller, name: DisplayName) -> Result<Host, AppError> {
        let now = self.clock.now();
        let [once, never] = [self.random.mint_token("once_"), self.random.mint_token("never_")];
        let id = EnrollmentId::mint(now, self.random.id_bytes());
        let row = EnrollmentRow {
            id,
            hash: token_hash(&once),
            host_name: Some(name.clone()),
            created_at: now,
            expires_at: now + MINUTE,
            used_at: None,
            host_id: None,
        };
        let subject = ("enrollment_token", id.to_string());
        let audit = self.audit_of(caller, "enrollment_token.created", subject, []);
        self.store.create_enrollment(row, audit).await?;
        let host_id = HostId::mint(now, self.random.id_bytes());
        let host = new_host(host_id, name.clone(), HostFacts::default(), now);
        let subject = ("host", host.id.to_string());
        let audit = self.audit_of(caller, "host.enrolled", subject, [("name", name.to_string().into())]);
        let hash = token_hash(&once);
        match self.store.enroll(&hash, host.clone(), token_hash(&never), now, audit).await? {
            EnrollOutcome::Enrolled => Ok(host),
            EnrollOutcome::NameTaken => Err(AppError::name_taken("host", name)),
            // The token is of this very call, and good for a minute.
            EnrollOutcome::Unknown | EnrollOutcome::Expired | EnrollOutcome::Used => Err(AppError::new(
                ErrorKind::Unavailable,
                "host_not_added",
                "the host could not be added in time",
            )
            .hint("add it again")),
        }
    }

    /// Changes a host.
    ///
    /// # Errors
    ///
    /// When there is none, the name is taken, or the store fails.
    pub async fn change_host(
        &self,
        caller: &Caller,
        id: HostId,
        patch: HostPatch,
    ) -> Result<HostView, AppError> {
        let limit = |kib: Option<u32>| kib.map(|kib| (kib > 0).then_some(kib));
        let changes_plan = patch.limit_upload_kib.is_some() || patch.limit_download_kib.is_some();
        let audit = self.audit_of(
            caller,
            "host.changed",
            ("host", id.to_string()),
            [("change", serde_json::to_value(&patch).unwrap_or_default())],
        );
        let name = patch.name.clone();
        let change = HostChange {
            name: patch.name,
            tags: patch.tags,
            limit_upload_kib: limit(patch.limit_upload_kib),
            limit_download_kib: limit(patch.limit_download_kib),
        };
        match self.store.change_host(id, change, audit).await? {
            Renamed::Done => {}
            Renamed::NotFound => return Err(AppError::not_found("host", id)),
            Renamed::NameTaken => {
                return Err(AppError::name_taken("host", name.map(String::from).unwrap_or_default()));
            }
        }
        if changes_plan {
            self.engine.push_plan(id).await?;
        }
        self.host(id).await
    }

    /// Deletes a host; its jobs stay readable and nothing in any repository is touched.
    ///
    /// # Errors
    ///
    /// When there is none, it has jobs that are not over, or it is the runner of a repository.
    pub async fn delete_host(&self, caller: &Caller, id: HostId) -> Result<(), AppError> {
        let host = self.known_host(id).await?;
        let audit = self.audit_of(
            caller,
            "host.deleted",
            ("host", id.to_string()),
            [("name", host.name.to_string().into())],
        );
        self.refuse_deletion("host", &host.name, self.store.delete_host(id, audit).await?).await?;
        if let Some(epoch) = self.engine.dispatch().epoch(id) {
            let why = WireError {
                code: "host_deleted".into(),
                message: format!("host `{}` was deleted on the server", host.name),
                hint: Some("enrol it again with a new token if that was a mistake".into()),
            };
            self.engine.dispatch().close(id, epoch, Some(why));
        }
        Ok(())
    }

    /// Turns a refused deletion into the answer that names what stands in the way.
    pub(super) async fn refuse_deletion(
        &self,
        what: &str,
        name: &DisplayName,
        outcome: Deleted,
    ) -> Result<(), AppError> {
        let conflict = |code, message: String| AppError::new(ErrorKind::Conflict, code, message);
        match outcome {
            Deleted::Done => Ok(()),
            Deleted::NotFound => Err(AppError::not_found(what, name)),
            Deleted::HasJobs(jobs) => {
                let ids = jobs.iter().map(ToString::to_string).collect();
                Err(conflict(
                    "has_jobs",
                    format!("{what} `{name}` has jobs that are not over: {}", some(ids)),
                )
                .hint("wait for them or cancel them with `rmctl job cancel`"))
            }
            Deleted::IsRunner(repos) => {
                let (named, rest) = repos.split_at(repos.len().min(NAMED));
                let views = self.store.maintenance_views(named).await?;
                let mut names: Vec<String> =
                    views.iter().map(|view| format!("`{}`", view.repo.name)).collect();
                names.extend(rest.iter().map(ToString::to_string));
                Err(conflict(
                    "is_runner",
                    format!("{what} `{name}` is the runner of repositories: {}", some(names)),
                )
                .hint("name another one first, or none: `rmctl repo runner REPO HOST`, or `--auto`"))
            }
            Deleted::HasAttachments(ids) => {
                let among = HostFilter { among: Some(ids), ..HostFilter::default() };
                let hosts = self.store.hosts(&among, PageRequest::first(MOST_NAMED)).await?.items;
                let names = hosts.iter().map(|host| format!("`{}`", host.name)).collect();
                Err(conflict("has_attachments", format!("{what} `{name}` is used by hosts: {}", some(names)))
                    .hint("detach them first"))
            }
        }
    }

    pub(super) async fn known_host(&self, id: HostId) -> Result<Host, AppError> {
        self.store.host(id).await?.ok_or_else(|| AppError::not_found("host", id))
    }

    /// The host that is to run something now must be connected.
    pub(super) fn require_online(&self, host: &Host) -> Result<(), AppError> {
        if self.engine.dispatch().epoch(host.id).is_some() {
            return Ok(());
        }
        Err(AppError::new(
            ErrorKind::Unavailable,
            "host_offline",
            format!("the agent of host `{}` is not connected", host.name),
        )
        .hint("start the agent on the host, or see `restic-manager-agent doctor` there"))
    }

    pub(super) fn presence(&self, host: &Host) -> Presence {
        if self.engine.dispatch().epoch(host.id).is_some() {
            Presence::Online
        } else if host.last_seen_at.is_none() {
            Presence::NeverSeen
        } else {
            Presence::Offline
        }
    }

    pub(super) fn bare_view(&self, host: Host) -> HostView {
        let presence = self.presence(&host);
        HostView { host, presence, last_backup: None, next_run_at: None }
    }

    /// Two queries for a whole page.
    pub(super) async fn host_views(&self, hosts: &[Host]) -> Result<BTreeMap<HostId, HostView>, AppError> {
        let ids: Vec<HostId> = hosts.iter().map(|host| host.id).collect();
        let mut backups: BTreeMap<HostId, _> =
            self.store.last_backups(&ids).await?.into_iter().map(|row| (row.job.host_id, row)).collect();
        let mut next_runs: BTreeMap<HostId, Timestamp> = BTreeMap::new();
        let now = self.clock.now();
        for schedule in self.store.enabled_schedules(&ids).await? {
            if let Some(at) = next_slot(&schedule, now) {
                next_runs.entry(schedule.host_id).and_modify(|next| *next = at.min(*next)).or_insert(at);
            }
        }
        Ok(hosts
            .iter()
            .map(|host| {
                let view = HostView {
                    host: host.clone(),
                    presence: self.presence(host),
                    last_backup: backups.remove(&host.id).map(|row| self.job_view(row)),
                    next_run_at: next_runs.get(&host.id).copied(),
                };
                (host.id, view)
            })
            .collect())
    }
}

fn next_slot(schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    Cadence { cron: schedule.cron.clone(), zone: schedule.timezone.clone() }.next_after(now)
}

/// The first ones of a list, and how many there are besides.
fn some(all: Vec<String>) -> String {
    let besides = all.len().saturating_sub(NAMED);
    let shown = all.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    if besides == 0 { shown } else { format!("{shown} and {besides} more") }
}
