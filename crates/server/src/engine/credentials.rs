//! Credentials on their way from the vault to an agent.

use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::{CredentialKind, CredentialSecret};
use restic_manager_core::wire::{ConfigUpdate, ServerMessage};
use restic_manager_store::{AttachmentRow, SealedCredential};

use super::{Engine, EngineError};
use crate::vault::{VaultError, credential_context};

impl Engine {
    /// Sends an agent the everyday credential of a repository as it is at present, when it is connected.
    ///
    /// # Errors
    ///
    /// When the store fails, or the credential cannot be opened.
    pub async fn push_credential(&self, host_id: HostId, repo_id: RepoId) -> Result<(), EngineError> {
        let Some(epoch) = self.dispatch.epoch(host_id) else { return Ok(()) };
        let update = match self.store.attachment(host_id, repo_id).await? {
            Some(row) => self.config_update(&row, CredentialKind::Repo).await?,
            // Detached: whatever revision the agent has, it is revoked.
            None => Some(ConfigUpdate {
                repo_id,
                kind: CredentialKind::Repo,
                revision: i64::MAX,
                credential: None,
                restic_id: None,
                keep: false,
            }),
        };
        let Some(update) = update else { return Ok(()) };
        let message = ServerMessage::ConfigUpdate(Box::new(update));
        if let Err(error) = self.dispatch.send(host_id, epoch, message).await {
            tracing::info!(host = %host_id, %error, "a credential was not sent; the next hello brings it");
            self.dispatch.close(host_id, epoch, None);
        }
        Ok(())
    }

    /// The message that carries a credential, when there is one.
    pub(crate) async fn config_update(
        &self,
        row: &AttachmentRow,
        kind: CredentialKind,
    ) -> Result<Option<ConfigUpdate>, EngineError> {
        let attachment = &row.attachment;
        let Some(sealed) = self.store.credential(attachment.id, kind).await? else { return Ok(None) };
        let secret = self.open_credential(attachment.host_id, attachment.repo_id, &sealed)?;
        Ok(Some(ConfigUpdate {
            repo_id: attachment.repo_id,
            kind,
            revision: sealed.info.revision,
            credential: Some(secret),
            restic_id: row.restic_id.clone(),
            keep: true,
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
