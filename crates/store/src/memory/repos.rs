//! Repositories.

use restic_manager_core::id::RepoId;
use restic_manager_core::model::{AuditEntry, Repo, ResticRepoId};
use restic_manager_core::text::DisplayName;

use super::maintenance::Upkeep;
use super::{State, pages};
use crate::names::{folded, name_key};
use crate::{Deleted, Listed, PageRequest, Renamed, RepoChange, RepoFilter, ResticIdLearned, Result};

impl State {
    pub(super) fn repos_page(&self, filter: &RepoFilter, page: &PageRequest) -> Result<Listed<Repo>> {
        let part = filter.text.as_deref().map(folded);
        let mut rows: Vec<((String, RepoId), Repo)> = self
            .repos
            .values()
            .map(|repo| ((name_key(&repo.name), repo.id), repo.clone()))
            .filter(|((name, _), _)| part.as_ref().is_none_or(|part| name.contains(part.as_str())))
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        pages::page(rows, page)
    }

    fn repo_named(&self, name: &DisplayName, but: Option<RepoId>) -> bool {
        let key = name_key(name);
        self.repos.values().any(|repo| Some(repo.id) != but && name_key(&repo.name) == key)
    }

    pub(super) fn create_repo(&mut self, repo: Repo, audit: AuditEntry) -> Renamed {
        if self.repo_named(&repo.name, None) {
            return Renamed::NameTaken;
        }
        self.upkeep.insert(repo.id, Upkeep::since(repo.created_at));
        self.repos.insert(repo.id, repo);
        self.write_audit(audit);
        Renamed::Done
    }

    pub(super) fn change_repo(&mut self, id: RepoId, change: RepoChange, audit: AuditEntry) -> Renamed {
        let taken = change.name.as_ref().is_some_and(|name| self.repo_named(name, Some(id)));
        let attached =
            |runner| self.attachments.get(&runner).is_some_and(|attachment| attachment.repo_id == id);
        let runner_fits = change.runner.flatten().is_none_or(attached);
        let Some(repo) = self.repos.get_mut(&id).filter(|_| runner_fits) else { return Renamed::NotFound };
        if taken {
            return Renamed::NameTaken;
        }
        if let Some(name) = change.name {
            repo.name = name;
        }
        repo.runner = change.runner.unwrap_or(repo.runner);
        if change.runner.is_some() {
            self.wake(id, audit.at);
        }
        self.write_audit(audit);
        Renamed::Done
    }

    pub(super) fn delete_repo(&mut self, id: RepoId, audit: AuditEntry) -> Deleted {
        if !self.repos.contains_key(&id) {
            return Deleted::NotFound;
        }
        let open =
            self.jobs.unfinished().filter(|job| job.repo_id == id).map(|job| job.id).collect::<Vec<_>>();
        if !open.is_empty() {
            return Deleted::HasJobs(open);
        }
        let attached = self.attachments.values().filter(|attachment| attachment.repo_id == id);
        let hosts: Vec<_> = attached.map(|attachment| attachment.host_id).collect();
        if !hosts.is_empty() {
            return Deleted::HasAttachments(hosts);
        }
        if let Some(repo) = self.repos.remove(&id) {
            self.former.repos.insert(id, repo.name);
        }
        self.repo_stats.remove(&id);
        self.stats_days.retain(|(repo_id, _), _| *repo_id != id);
        self.upkeep.remove(&id);
        self.unreachable.remove(&id);
        self.write_audit(audit);
        Deleted::Done
    }

    pub(super) fn learn_restic_id(&mut self, id: RepoId, restic_id: &ResticRepoId) -> ResticIdLearned {
        let other =
            self.repos.values().find(|repo| repo.id != id && repo.restic_id.as_ref() == Some(restic_id));
        let known_as = other.map(|repo| repo.id);
        let Some(repo) = self.repos.get_mut(&id) else { return ResticIdLearned::NotFound };
        match (&repo.restic_id, known_as) {
            (Some(stored), _) if stored == restic_id => ResticIdLearned::Same,
            (Some(stored), _) => ResticIdLearned::Different(stored.clone()),
            (None, Some(other)) => ResticIdLearned::KnownAs(other),
            (None, None) => {
                repo.restic_id = Some(restic_id.clone());
                ResticIdLearned::Learned
            }
        }
    }
}
