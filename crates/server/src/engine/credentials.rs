//! Credentials on their way from the vault to an agent.

use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::{Attachment, CredentialKind, CredentialSecret, ResticRepoId};
use restic_manager_core::wire::{ConfigUpdate, ServerMessage};
use restic_manager_store::{AttachmentRow, SealedCredential};

use super::maintenance::keeps_admin;
use super::{Engine, EngineError, chain};
use crate::vault::{VaultError, credential_context};

/// How long a host may keep a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Until it is revoked.
    OnDisk,
    /// For one job, in memory.
    ForOneJob,
}

impl Engine {
    /// Sends an agent the everyday credential of a repository as it is at present, when it is connected.
    ///
    /// # Errors
    ///
    /// When the store fails, or the credential cannot be opened.
    pub async fn push_credential(&self, host_id: HostId, repo_id: RepoId) -> Result<(), EngineError> {
        let _in_order = self.pushes.lock().await;
        if self.dispatch.epoch(host_id).is_none() {
            return Ok(());
        }
        let update = match self.store.attachment(host_id, repo_id).await? {
            Some(row) => self.config_update(&row).await?,
            // Detached: whatever revision the agent has, it is revoked.
            None => Some(revocation(repo_id, CredentialKind::Repo)),
        };
        if let Some(update) = update {
            self.tell(host_id, update).await;
        }
        Ok(())
    }

    /// Sends the runner of a repository its admin credential, when it keeps it and is connected.
    ///
    /// # Errors
    ///
    /// When the store fails, or the credential cannot be opened.
    pub async fn push_admin_credential(&self, repo_id: RepoId) -> Result<(), EngineError> {
        let _in_order = self.pushes.lock().await;
        let Some(view) = self.store.maintenance_views(&[repo_id]).await?.pop() else { return Ok(()) };
        let Some(runner) = view.runner.filter(|runner| keeps_admin(&view.row, runner)) else { return Ok(()) };
        let keep = Keep::OnDisk;
        let update = self.admin_update(&runner.attachment, view.repo.restic_id, keep).await?;
        if let Some(update) = update {
            self.tell(runner.host.id, update).await;
        }
        Ok(())
    }

    /// Takes the everyday or admin credential of a repository back from a connected agent, whatever revision it has.
    pub async fn revoke_credential(&self, host_id: HostId, repo_id: RepoId, kind: CredentialKind) {
        let _in_order = self.pushes.lock().await;
        self.tell(host_id, revocation(repo_id, kind)).await;
    }

    /// Sends a connected host a credential or its revocation; one that is away gets it with its next hello.
    async fn tell(&self, host_id: HostId, update: ConfigUpdate) {
        let Some(epoch) = self.dispatch.epoch(host_id) else { return };
        let message = ServerMessage::ConfigUpdate(Box::new(update));
        if let Err(error) = self.dispatch.send(host_id, epoch, message).await {
            tracing::info!(host = %host_id, %error, "a credential was not sent; the next hello brings it");
            self.dispatch.close(host_id, epoch, None);
        }
    }

    /// The message that carries the everyday credential, when there is one.
    pub(crate) async fn config_update(
        &self,
        row: &AttachmentRow,
    ) -> Result<Option<ConfigUpdate>, EngineError> {
        let kind = CredentialKind::Repo;
        self.credential_update(&row.attachment, row.restic_id.clone(), kind, Keep::OnDisk).await
    }

    /// The message that carries the admin credential, when there is one.
    pub(super) async fn admin_update(
        &self,
        attachment: &Attachment,
        restic_id: Option<ResticRepoId>,
        keep: Keep,
    ) -> Result<Option<ConfigUpdate>, EngineError> {
        self.credential_update(attachment, restic_id, CredentialKind::Admin, keep).await
    }

    /// What a host is told at hello of the admin credentials of its repositories: those it keeps, and the end of those it does not.
    pub(super) async fn admin_greeting(
        &self,
        host_id: HostId,
        rows: &[AttachmentRow],
    ) -> Result<Vec<ConfigUpdate>, EngineError> {
        let has_admin =
            |row: &&AttachmentRow| row.credentials.iter().any(|info| info.kind == CredentialKind::Admin);
        let with_admin: Vec<RepoId> =
            rows.iter().filter(has_admin).map(|row| row.attachment.repo_id).collect();
        let views = match with_admin.as_slice() {
            [] => Vec::new(),
            ids => self.store.maintenance_views(ids).await?,
        };
        let mut updates = Vec::new();
        for row in rows {
            let repo_id = row.attachment.repo_id;
            let keeps = views.iter().find(|view| view.repo.id == repo_id).is_some_and(|view| {
                view.runner
                    .as_ref()
                    .is_some_and(|runner| runner.host.id == host_id && keeps_admin(&view.row, runner))
            });
            if !keeps {
                // It may have one from before: what was deleted or went to another runner while it was away.
                updates.push(revocation(repo_id, CredentialKind::Admin));
                continue;
            }
            match self.admin_update(&row.attachment, row.restic_id.clone(), Keep::OnDisk).await {
                Ok(update) => updates.extend(update),
                // One credential that cannot be read must not keep the host from all others.
                Err(error) => tracing::error!(
                    host = %row.host_name, repo = %row.repo_name, error = %chain(&error),
                    "a stored admin credential cannot be read; set it anew"
                ),
            }
        }
        Ok(updates)
    }

    async fn credential_update(
        &self,
        attachment: &Attachment,
        restic_id: Option<ResticRepoId>,
        kind: CredentialKind,
        keep: Keep,
    ) -> Result<Option<ConfigUpdate>, EngineError> {
        let Some(sealed) = self.store.credential(attachment.id, kind).await? else { return Ok(None) };
        let secret = self.open_credential(attachment.host_id, attachment.repo_id, &sealed)?;
        Ok(Some(ConfigUpdate {
            repo_id: attachment.repo_id,
            kind,
            revision: sealed.info.revision,
            credential: Some(secret),
            restic_id,
            keep: match keep {
                Keep::OnDisk => true,
                Keep::ForOneJob => false,
            },
        }))
    }

    /// Seals a credential for its place and revision.
    ///
    /// # Errors
    ///
    /// When encryption fails.
    pub fn seal_credential(
        &self,
        host_id: HostId,
        repo_id: RepoId,
        kind: CredentialKind,
        revision: i64,
        secret: &CredentialSecret,
    ) -> Result<Vec<u8>, VaultError> {
        let plain = serde_json::to_vec(secret).map_err(|_| VaultError::Damaged)?;
        self.vault.seal(&credential_context(host_id, repo_id, kind.as_str()), revision, &plain)
    }

    /// Opens a credential, verifying its place and revision.
    ///
    /// # Errors
    ///
    /// When it is damaged, or was sealed for another place, revision or key.
    pub fn open_credential(
        &self,
        host_id: HostId,
        repo_id: RepoId,
        sealed: &SealedCredential,
    ) -> Result<CredentialSecret, VaultError> {
        let context = credential_context(host_id, repo_id, sealed.info.kind.as_str());
        let plain = self.vault.open(&context, sealed.info.revision, &sealed.blob)?;
        serde_json::from_slice(&plain).map_err(|_| VaultError::Damaged)
    }
}

fn revocation(repo_id: RepoId, kind: CredentialKind) -> ConfigUpdate {
    let revision = i64::MAX;
    ConfigUpdate { repo_id, kind, revision, credential: None, restic_id: None, keep: false }
}
