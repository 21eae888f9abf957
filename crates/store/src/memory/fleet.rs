//! The doors to hosts, repositories, attachments and credentials.

use async_trait::async_trait;
use restic_manager_core::id::{AttachmentId, HostId, RepoId};
use restic_manager_core::model::{
    AuditEntry, CredentialKind, Host, HostFacts, Repo, RepoStats, ResticRepoId,
};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;

use super::MemoryStore;
use crate::names::name_key;
use crate::{
    AttachmentChange, AttachmentRow, Deleted, Fleet, HostChange, HostFilter, Listed, PageRequest,
    PutAttachment, PutCredential, Renamed, RepoChange, RepoFilter, ResticIdLearned, Result, SealedCredential,
    TokenHash,
};

#[async_trait]
impl Fleet for MemoryStore {
    async fn host(&self, id: HostId) -> Result<Option<Host>> {
        Ok(self.state().hosts.get(&id).cloned())
    }

    async fn hosts(&self, filter: &HostFilter, page: PageRequest) -> Result<Listed<Host>> {
        self.state().hosts_page(filter, &page)
    }

    async fn host_by_name(&self, name: &DisplayName) -> Result<Option<Host>> {
        let state = self.state();
        let key = name_key(name);
        Ok(state.hosts.values().find(|host| name_key(&host.name) == key).cloned())
    }

    async fn host_by_agent_token(&self, hash: &TokenHash) -> Result<Option<Host>> {
        let state = self.state();
        Ok(state.agent_tokens.get(hash).and_then(|id| state.hosts.get(id)).cloned())
    }

    async fn change_host(&self, id: HostId, change: HostChange, audit: AuditEntry) -> Result<Renamed> {
        Ok(self.state().change_host(id, change, audit))
    }

    async fn delete_host(&self, id: HostId, audit: AuditEntry) -> Result<Deleted> {
        Ok(self.state().delete_host(id, audit))
    }

    async fn touch_hosts(&self, seen: &[(HostId, Timestamp)]) -> Result<()> {
        let mut state = self.state();
        for (id, at) in seen {
            if let Some(host) = state.hosts.get_mut(id) {
                host.last_seen_at = host.last_seen_at.max(Some(*at));
            }
        }
        Ok(())
    }

    async fn record_facts(&self, id: HostId, facts: &HostFacts) -> Result<()> {
        if let Some(host) = self.state().hosts.get_mut(&id) {
            host.facts = facts.clone();
        }
        Ok(())
    }

    async fn create_repo(&self, repo: Repo, audit: AuditEntry) -> Result<Renamed> {
        Ok(self.state().create_repo(repo, audit))
    }

    async fn repo(&self, id: RepoId) -> Result<Option<Repo>> {
        Ok(self.state().repos.get(&id).cloned())
    }

    async fn repos(&self, filter: &RepoFilter, page: PageRequest) -> Result<Listed<Repo>> {
        self.state().repos_page(filter, &page)
    }

    async fn change_repo(&self, id: RepoId, change: RepoChange, audit: AuditEntry) -> Result<Renamed> {
        Ok(self.state().change_repo(id, change, audit))
    }

    async fn delete_repo(&self, id: RepoId, audit: AuditEntry) -> Result<Deleted> {
        Ok(self.state().delete_repo(id, audit))
    }

    async fn learn_restic_id(&self, id: RepoId, restic_id: &ResticRepoId) -> Result<ResticIdLearned> {
        Ok(self.state().learn_restic_id(id, restic_id))
    }

    async fn repo_stats(&self, ids: &[RepoId]) -> Result<Vec<RepoStats>> {
        let state = self.state();
        Ok(ids.iter().map(|id| state.repo_stats.get(id).cloned().unwrap_or_default()).collect())
    }

    async fn attachments_of_host(&self, id: HostId) -> Result<Vec<AttachmentRow>> {
        let state = self.state();
        Ok(state.attachments_of_host(id).into_iter().filter_map(|a| state.attachment_row(a)).collect())
    }

    async fn attachments_of_repos(&self, ids: &[RepoId]) -> Result<Vec<AttachmentRow>> {
        Ok(self.state().attachments_of_repos(ids))
    }

    async fn attachment(&self, host_id: HostId, repo_id: RepoId) -> Result<Option<AttachmentRow>> {
        let state = self.state();
        Ok(state.attachment_between(host_id, repo_id).and_then(|attachment| state.attachment_row(attachment)))
    }

    async fn put_attachment(&self, change: AttachmentChange, audit: AuditEntry) -> Result<PutAttachment> {
        Ok(self.state().put_attachment(change, audit))
    }

    async fn delete_attachment(
        &self,
        host_id: HostId,
        repo_id: RepoId,
        audit: AuditEntry,
    ) -> Result<Deleted> {
        Ok(self.state().delete_attachment(host_id, repo_id, audit))
    }

    async fn credential(&self, id: AttachmentId, kind: CredentialKind) -> Result<Option<SealedCredential>> {
        Ok(self.state().credentials.get(&(id, kind)).cloned())
    }

    async fn put_credential(
        &self,
        id: AttachmentId,
        credential: SealedCredential,
        audit: AuditEntry,
    ) -> Result<PutCredential> {
        Ok(self.state().put_credential(id, credential, audit))
    }

    async fn delete_credential(
        &self,
        id: AttachmentId,
        kind: CredentialKind,
        audit: AuditEntry,
    ) -> Result<bool> {
        let mut state = self.state();
        let known = state.credentials.remove(&(id, kind)).is_some();
        if known {
            if let Some(repo_id) = state.attachments.get(&id).map(|attachment| attachment.repo_id) {
                state.wake(repo_id, audit.at);
            }
            state.write_audit(audit);
        }
        Ok(known)
    }
}
