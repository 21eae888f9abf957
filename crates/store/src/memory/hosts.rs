//! Hosts.

use std::collections::HashSet;

use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::{AuditEntry, Host};
use restic_manager_core::text::DisplayName;

use super::{State, pages};
use crate::names::{folded, name_key};
use crate::{Deleted, HostChange, HostFilter, Listed, PageRequest, Renamed, Result, Seen};

impl State {
    pub(super) fn hosts_page(&self, filter: &HostFilter, page: &PageRequest) -> Result<Listed<Host>> {
        let part = filter.text.as_deref().map(folded);
        let among: Option<HashSet<&HostId>> = filter.among.as_ref().map(|ids| ids.iter().collect());
        let mut rows: Vec<((String, HostId), &Host)> = self
            .hosts
            .values()
            .map(|host| ((name_key(&host.name), host.id), host))
            .filter(|((name, id), host)| {
                part.as_ref().is_none_or(|part| name.contains(part.as_str()))
                    && filter.tag.as_ref().is_none_or(|tag| host.tags.contains(tag))
                    && among.as_ref().is_none_or(|among| among.contains(id))
                    && filter.seen.is_none_or(|seen| (seen == Seen::Once) == host.last_seen_at.is_some())
            })
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        let listed = pages::page(rows, page)?;
        Ok(Listed { items: listed.items.into_iter().cloned().collect(), next: listed.next })
    }

    /// Whether a host other than `but` has that name.
    pub(super) fn host_named(&self, name: &DisplayName, but: Option<HostId>) -> bool {
        let key = name_key(name);
        self.hosts.values().any(|host| Some(host.id) != but && name_key(&host.name) == key)
    }

    pub(super) fn change_host(&mut self, id: HostId, change: HostChange, audit: AuditEntry) -> Renamed {
        let taken = change.name.as_ref().is_some_and(|name| self.host_named(name, Some(id)));
        let Some(host) = self.hosts.get_mut(&id) else { return Renamed::NotFound };
        if taken {
            return Renamed::NameTaken;
        }
        if let Some(name) = change.name {
            host.name = name;
        }
        if let Some(tags) = change.tags {
            host.tags = tags;
        }
        let before = (host.limit_upload_kib, host.limit_download_kib);
        host.limit_upload_kib = change.limit_upload_kib.unwrap_or(host.limit_upload_kib);
        host.limit_download_kib = change.limit_download_kib.unwrap_or(host.limit_download_kib);
        if (host.limit_upload_kib, host.limit_download_kib) != before {
            host.schedule_version += 1;
        }
        self.write_audit(audit);
        Renamed::Done
    }

    pub(super) fn delete_host(&mut self, id: HostId, audit: AuditEntry) -> Deleted {
        if !self.hosts.contains_key(&id) {
            return Deleted::NotFound;
        }
        let open =
            self.jobs.unfinished().filter(|job| job.host_id == id).map(|job| job.id).collect::<Vec<_>>();
        if !open.is_empty() {
            return Deleted::HasJobs(open);
        }
        let runs_for = self.repos_run_by(id);
        if !runs_for.is_empty() {
            return Deleted::IsRunner(runs_for);
        }
        self.wake_repos_of(id, audit.at);
        self.forget_host(id);
        self.write_audit(audit);
        Deleted::Done
    }

    fn repos_run_by(&self, id: HostId) -> Vec<RepoId> {
        let of_host =
            |runner| self.attachments.get(&runner).is_some_and(|attachment| attachment.host_id == id);
        self.repos.values().filter(|repo| repo.runner.is_some_and(of_host)).map(|repo| repo.id).collect()
    }

    fn forget_host(&mut self, id: HostId) {
        let gone: Vec<_> =
            self.groups.values().filter(|group| group.host_id == id).map(|group| group.id).collect();
        for group_id in gone {
            self.forget_group(group_id);
        }
        self.schedules.retain(|_, schedule| schedule.host_id != id);
        self.attachments.retain(|_, attachment| attachment.host_id != id);
        self.unreachable.values_mut().for_each(|hosts| {
            hosts.remove(&id);
        });
        let attachments = &self.attachments;
        self.credentials.retain(|(attachment, _), _| attachments.contains_key(attachment));
        self.agent_tokens.retain(|_, host_id| *host_id != id);
        self.spools.retain(|(host_id, _), _| *host_id != id);
        self.snapshots.retain(|(host_id, _), _| *host_id != id);
        self.epochs.remove(&id);
        self.pending_hosts.retain(|_, row| row.host_id != Some(id));
        if let Some(host) = self.hosts.remove(&id) {
            self.former.hosts.insert(id, host.name);
        }
    }
}
