//! Attachments and their credentials.

use restic_manager_core::id::{AttachmentId, HostId, RepoId};
use restic_manager_core::model::{Attachment, AuditEntry, CredentialKind, Role};

use super::State;
use crate::names::name_key;
use crate::{AttachmentChange, AttachmentRow, Deleted, PutAttachment, PutCredential, SealedCredential};

impl State {
    pub(super) fn attachment_between(&self, host_id: HostId, repo_id: RepoId) -> Option<&Attachment> {
        self.attachments
            .values()
            .find(|attachment| attachment.host_id == host_id && attachment.repo_id == repo_id)
    }

    /// The attachments of a host: primary first, then by repository name.
    pub(super) fn attachments_of_host(&self, id: HostId) -> Vec<&Attachment> {
        let mut found: Vec<&Attachment> = self.attachments.values().filter(|a| a.host_id == id).collect();
        found.sort_by_cached_key(|attachment| {
            let name = self.repos.get(&attachment.repo_id).map(|repo| name_key(&repo.name));
            (attachment.role != Role::Primary, name, attachment.id)
        });
        found
    }

    pub(super) fn attachments_of_repos(&self, ids: &[RepoId]) -> Vec<AttachmentRow> {
        let of_repos = self.attachments.values().filter(|attachment| ids.contains(&attachment.repo_id));
        let mut rows: Vec<_> = of_repos.filter_map(|attachment| self.attachment_row(attachment)).collect();
        rows.sort_by_cached_key(|row| {
            (row.attachment.repo_id, name_key(&row.host_name), row.attachment.host_id)
        });
        rows
    }

    pub(super) fn attachment_row(&self, attachment: &Attachment) -> Option<AttachmentRow> {
        let host = self.hosts.get(&attachment.host_id)?;
        let repo = self.repos.get(&attachment.repo_id)?;
        let kinds = [CredentialKind::Repo, CredentialKind::Admin];
        let stored = kinds.into_iter().filter_map(|kind| self.credentials.get(&(attachment.id, kind)));
        Some(AttachmentRow {
            attachment: attachment.clone(),
            host_name: host.name.clone(),
            repo_name: repo.name.clone(),
            restic_id: repo.restic_id.clone(),
            credentials: stored.map(|credential| credential.info.clone()).collect(),
        })
    }

    pub(super) fn put_attachment(&mut self, change: AttachmentChange, audit: AuditEntry) -> PutAttachment {
        let AttachmentChange { attachment: asked, append_only, credential } = change;
        if !self.hosts.contains_key(&asked.host_id) || !self.repos.contains_key(&asked.repo_id) {
            return PutAttachment::NotFound;
        }
        let stored = self.attachment_between(asked.host_id, asked.repo_id).cloned();
        if let Some(refusal) = self.refusal(&asked, stored.is_none()) {
            return refusal;
        }
        let attachment = match stored {
            Some(stored) => Attachment {
                role: asked.role,
                append_only: append_only.unwrap_or(stored.append_only),
                ..stored
            },
            None => asked,
        };
        if credential.as_ref().is_some_and(|credential| !self.is_next_revision(attachment.id, credential)) {
            return PutAttachment::Stale;
        }
        if let Some(credential) = credential {
            self.credentials.insert((attachment.id, credential.info.kind), credential);
        }
        self.raise_plan(attachment.host_id);
        let repo_id = attachment.repo_id;
        self.attachments.insert(attachment.id, attachment);
        self.wake(repo_id, audit.at);
        self.write_audit(audit);
        PutAttachment::Done
    }

    fn refusal(&self, asked: &Attachment, is_new: bool) -> Option<PutAttachment> {
        let primary = self.attachments.values().find(|other| {
            asked.role == Role::Primary
                && other.role == Role::Primary
                && other.host_id == asked.host_id
                && other.repo_id != asked.repo_id
        });
        if let Some(other) = primary {
            return Some(PutAttachment::PrimaryTaken(other.repo_id));
        }
        let namesake = self
            .attachments
            .values()
            .find(|other| is_new && other.repo_id == asked.repo_id && other.restic_host == asked.restic_host);
        namesake.map(|other| PutAttachment::ResticHostTaken(other.host_id))
    }

    fn is_next_revision(&self, id: AttachmentId, credential: &SealedCredential) -> bool {
        let stored =
            self.credentials.get(&(id, credential.info.kind)).map_or(0, |stored| stored.info.revision);
        credential.info.revision == stored + 1
    }

    pub(super) fn delete_attachment(
        &mut self,
        host_id: HostId,
        repo_id: RepoId,
        audit: AuditEntry,
    ) -> Deleted {
        let Some(id) = self.attachment_between(host_id, repo_id).map(|attachment| attachment.id) else {
            return Deleted::NotFound;
        };
        let open = self.jobs.unfinished().filter(|job| job.host_id == host_id && job.repo_id == repo_id);
        let open: Vec<_> = open.map(|job| job.id).collect();
        if !open.is_empty() {
            return Deleted::HasJobs(open);
        }
        if self.repos.get(&repo_id).is_some_and(|repo| repo.runner == Some(id)) {
            return Deleted::IsRunner(vec![repo_id]);
        }
        self.attachments.remove(&id);
        self.credentials.retain(|(attachment, _), _| *attachment != id);
        self.snapshots.remove(&(host_id, repo_id));
        if let Some(hosts) = self.unreachable.get_mut(&repo_id) {
            hosts.remove(&host_id);
        }
        self.raise_plan(host_id);
        self.wake(repo_id, audit.at);
        self.write_audit(audit);
        Deleted::Done
    }

    pub(super) fn put_credential(
        &mut self,
        id: AttachmentId,
        credential: SealedCredential,
        audit: AuditEntry,
    ) -> PutCredential {
        let Some(repo_id) = self.attachments.get(&id).map(|attachment| attachment.repo_id) else {
            return PutCredential::NotFound;
        };
        if !self.is_next_revision(id, &credential) {
            return PutCredential::Stale;
        }
        self.credentials.insert((id, credential.info.kind), credential);
        self.wake(repo_id, audit.at);
        self.write_audit(audit);
        PutCredential::Done
    }
}
