//! Hosts, repositories, attachments, credentials: the trait, each kind in a file of its own.

use async_trait::async_trait;
use restic_manager_core::id::{AttachmentId, HostId, RepoId};
use restic_manager_core::model::{
    AuditEntry, CredentialKind, Host, HostFacts, Repo, RepoStats, ResticRepoId,
};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;

use super::{SqliteStore, attachments, hosts, repos};
use crate::{
    AttachmentChange, AttachmentRow, Deleted, Fleet, HostChange, HostFilter, Listed, PageRequest,
    PutAttachment, PutCredential, Renamed, RepoChange, RepoFilter, ResticIdLearned, Result, SealedCredential,
    TokenHash,
};

#[async_trait]
impl Fleet for SqliteStore {
    async fn host(&self, id: HostId) -> Result<Option<Host>> {
        hosts::by_id(&mut *self.reader("read a host").await?, id).await
    }

    async fn hosts(&self, filter: &HostFilter, page: PageRequest) -> Result<Listed<Host>> {
        hosts::page(self, filter, &page).await
    }

    async fn host_by_name(&self, name: &DisplayName) -> Result<Option<Host>> {
        hosts::by_name(self, name).await
    }

    async fn host_by_agent_token(&self, hash: &TokenHash) -> Result<Option<Host>> {
        hosts::by_agent_token(self, hash).await
    }

    async fn change_host(&self, id: HostId, change: HostChange, audit: AuditEntry) -> Result<Renamed> {
        hosts::change(self, id, change, audit).await
    }

    async fn delete_host(&self, id: HostId, audit: AuditEntry) -> Result<Deleted> {
        hosts::delete(self, id, audit).await
    }

    async fn touch_hosts(&self, seen: &[(HostId, Timestamp)]) -> Result<()> {
        hosts::touch(self, seen).await
    }

    async fn record_facts(&self, id: HostId, facts: &HostFacts) -> Result<()> {
        hosts::record_facts(self, id, facts).await
    }

    async fn create_repo(&self, repo: Repo, audit: AuditEntry) -> Result<Renamed> {
        repos::create(self, repo, audit).await
    }

    async fn repo(&self, id: RepoId) -> Result<Option<Repo>> {
        repos::by_id(&mut *self.reader("read a repository").await?, id).await
    }

    async fn repos(&self, filter: &RepoFilter, page: PageRequest) -> Result<Listed<Repo>> {
        repos::page(self, filter, &page).await
    }

    async fn change_repo(&self, id: RepoId, change: RepoChange, audit: AuditEntry) -> Result<Renamed> {
        repos::change(self, id, change, audit).await
    }

    async fn delete_repo(&self, id: RepoId, audit: AuditEntry) -> Result<Deleted> {
        repos::delete(self, id, audit).await
    }

    async fn learn_restic_id(&self, id: RepoId, restic_id: &ResticRepoId) -> Result<ResticIdLearned> {
        repos::learn_restic_id(self, id, restic_id).await
    }

    async fn repo_stats(&self, ids: &[RepoId]) -> Result<Vec<RepoStats>> {
        repos::stats(self, ids).await
    }

    async fn attachments_of_host(&self, id: HostId) -> Result<Vec<AttachmentRow>> {
        attachments::of_host(&mut *self.read("list the attachments of a host").await?, id).await
    }

    async fn attachments_of_repos(&self, ids: &[RepoId]) -> Result<Vec<AttachmentRow>> {
        attachments::of_repos(&mut *self.read("list the attachments of repositories").await?, ids).await
    }

    async fn attachment(&self, host_id: HostId, repo_id: RepoId) -> Result<Option<AttachmentRow>> {
        attachments::of_pair(&mut *self.read("read an attachment").await?, host_id, repo_id).await
    }

    async fn put_attachment(&self, change: AttachmentChange, audit: AuditEntry) -> Result<PutAttachment> {
        attachments::put(self, change, audit).await
    }

    async fn delete_attachment(
        &self,
        host_id: HostId,
        repo_id: RepoId,
        audit: AuditEntry,
    ) -> Result<Deleted> {
        attachments::delete(self, host_id, repo_id, audit).await
    }

    async fn credential(&self, id: AttachmentId, kind: CredentialKind) -> Result<Option<SealedCredential>> {
        attachments::credential(self, id, kind).await
    }

    async fn put_credential(
        &self,
        id: AttachmentId,
        credential: SealedCredential,
        audit: AuditEntry,
    ) -> Result<PutCredential> {
        attachments::put_credential(self, id, credential, audit).await
    }

    async fn delete_credential(
        &self,
        id: AttachmentId,
        kind: CredentialKind,
        audit: AuditEntry,
    ) -> Result<bool> {
        attachments::delete_credential(self, id, kind, audit).await
    }
}
