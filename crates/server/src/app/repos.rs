//! Repositories.

use std::collections::BTreeMap;

use restic_manager_core::api::{Accepted, Page, RepoPatch, RepoView, RepoWrite};
use restic_manager_core::id::RepoId;
use restic_manager_core::model::{Attachment, JobKind, Repo, RepoStats};
use restic_manager_store::{Renamed, RepoChange, RepoFilter};

use super::page::page;
use super::{App, AppError, Caller, ListQuery};

/// Which repositories are listed.
#[derive(Debug, Clone, Default)]
pub struct RepoQuery {
    /// Part of the name, in any case.
    pub q: Option<String>,
}

impl App {
    /// Repositories by name.
    ///
    /// # Errors
    ///
    /// A limit out of bounds, or a fault of the store.
    pub async fn repos(&self, query: &RepoQuery, list: &ListQuery) -> Result<Page<RepoView>, AppError> {
        let filter = RepoFilter { text: query.q.clone() };
        let listed = self.store.repos(&filter, list.request()?).await?;
        let mut views = self.repo_views(&listed.items).await?;
        Ok(page(listed, |repo| {
            views.remove(&repo.id).unwrap_or(RepoView {
                repo,
                stats: RepoStats::default(),
                attachments: Vec::new(),
            })
        }))
    }

    /// A repository.
    ///
    /// # Errors
    ///
    /// When there is none, or the store fails.
    pub async fn repo(&self, id: RepoId) -> Result<RepoView, AppError> {
        let repo = self.known_repo(id).await?;
        let mut views = self.repo_views(std::slice::from_ref(&repo)).await?;
        views.remove(&id).ok_or_else(|| AppError::not_found("repository", id))
    }

    /// Makes a repository known; restic makes it when the first host is attached.
    ///
    /// # Errors
    ///
    /// When the name is taken, or the store fails.
    pub async fn create_repo(&self, caller: &Caller, write: RepoWrite) -> Result<RepoView, AppError> {
        let repo = self.new_repo(write.name);
        let audit = self.audit_of(
            caller,
            "repo.created",
            ("repo", repo.id.to_string()),
            [("name", repo.name.to_string().into())],
        );
        match self.store.create_repo(repo.clone(), audit).await? {
            Renamed::Done => self.repo(repo.id).await,
            Renamed::NameTaken => Err(AppError::name_taken("repository", &repo.name)),
            Renamed::NotFound => Err(AppError::not_found("repository", repo.id)),
        }
    }

    /// Changes a repository.
    ///
    /// # Errors
    ///
    /// When there is none, the name is taken, or the runner is not attached to it.
    pub async fn change_repo(
        &self,
        caller: &Caller,
        id: RepoId,
        patch: RepoPatch,
    ) -> Result<RepoView, AppError> {
        let view = self.repo(id).await?;
        if let Some(Some(runner)) = patch.runner
            && !view.attachments.iter().any(|attachment| attachment.id == runner)
        {
            return Err(AppError::invalid(
                "runner",
                format!("attachment {runner} is none of this repository"),
            )
            .hint("attach the host first, with the role `maintenance` if it backs up nothing"));
        }
        let audit = self.audit_of(
            caller,
            "repo.changed",
            ("repo", id.to_string()),
            [("change", serde_json::to_value(&patch).unwrap_or_default())],
        );
        let name = patch.name.clone();
        let before = self.admin_place(id).await?;
        let change = RepoChange { name: patch.name, runner: patch.runner };
        match self.store.change_repo(id, change, audit).await? {
            Renamed::Done => {
                self.settle_admin(id, before).await?;
                self.engine.poke();
                self.repo(id).await
            }
            Renamed::NotFound => Err(AppError::not_found("repository", id)),
            Renamed::NameTaken => {
                Err(AppError::name_taken("repository", name.map(String::from).unwrap_or_default()))
            }
        }
    }

    /// Forgets a repository that no host is attached to; what lies in it is not touched.
    ///
    /// # Errors
    ///
    /// When there is none, hosts are attached, or it has jobs that are not over.
    pub async fn delete_repo(&self, caller: &Caller, id: RepoId) -> Result<(), AppError> {
        let repo = self.known_repo(id).await?;
        let audit = self.audit_of(
            caller,
            "repo.deleted",
            ("repo", id.to_string()),
            [("name", repo.name.to_string().into())],
        );
        self.refuse_deletion("repository", &repo.name, self.store.delete_repo(id, audit).await?).await
    }

    /// Asks for the snapshots to be listed and the repository to be measured, by its runner.
    ///
    /// # Errors
    ///
    /// When there is no such repository, nobody to run it, or that host is not connected.
    pub async fn ask_stats(&self, caller: &Caller, id: RepoId) -> Result<Accepted, AppError> {
        let view = self.maintained(id).await?;
        let runner = self.ready_runner(&view)?;
        let job = self.engine.new_job(JobKind::Stats, runner.host.id, id, caller.actor());
        self.enqueue(caller, job, &view.repo.name).await
    }

    pub(super) async fn known_repo(&self, id: RepoId) -> Result<Repo, AppError> {
        self.store.repo(id).await?.ok_or_else(|| AppError::not_found("repository", id))
    }

    pub(super) fn new_repo(&self, name: restic_manager_core::text::DisplayName) -> Repo {
        let created_at = self.clock.now();
        Repo {
            id: RepoId::mint(created_at, self.engine.id_bytes()),
            name,
            restic_id: None,
            runner: None,
            created_at,
            revision: 0,
        }
    }

    async fn repo_views(&self, repos: &[Repo]) -> Result<BTreeMap<RepoId, RepoView>, AppError> {
        let ids: Vec<RepoId> = repos.iter().map(|repo| repo.id).collect();
        let stats = self.store.repo_stats(&ids).await?;
        let mut attachments: BTreeMap<RepoId, Vec<Attachment>> = BTreeMap::new();
        for row in self.store.attachments_of_repos(&ids).await? {
            attachments.entry(row.attachment.repo_id).or_default().push(row.attachment);
        }
        Ok(repos
            .iter()
            .zip(stats)
            .map(|(repo, stats)| {
                let attachments = attachments.remove(&repo.id).unwrap_or_default();
                (repo.id, RepoView { repo: repo.clone(), stats, attachments })
            })
            .collect())
    }
}
