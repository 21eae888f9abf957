//! The admin credential of a repository: stored for its runner, and for nobody else.

use restic_manager_core::api::{AdminCredentialView, CredentialWrite};
use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::{CredentialInfo, CredentialKind};
use restic_manager_core::secret::Secret;
use restic_manager_store::{AttachmentRow, MaintenanceView, PutCredential, RunnerRow};

use super::credentials::checked;
use super::{App, AppError, Caller, ErrorKind};
use crate::engine::keeps_admin;

/// What became of an admin credential that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminCredentialWritten {
    /// Stored.
    Changed(AdminCredentialView),
    /// All of it was blank: nothing changed. The credential as it is, when there is one.
    Unchanged(Option<AdminCredentialView>),
}

/// Where the admin credential of a repository belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdminPlace {
    host_id: HostId,
    keeps: bool,
    stored: bool,
}

impl App {
    /// The admin credential of a repository: what may be shown of it, and who gets it.
    ///
    /// # Errors
    ///
    /// When there is no such repository, no runner, or no admin credential.
    pub async fn admin_credential(&self, repo_id: RepoId) -> Result<AdminCredentialView, AppError> {
        let view = self.maintained(repo_id).await?;
        let runner = self.named_runner(&view)?;
        self.stored_admin(&view, runner).await?.ok_or_else(|| {
            AppError::not_found("admin credential of repository", format!("`{}`", view.repo.name))
                .hint("set it with `rmctl creds set --kind admin`")
        })
    }

    /// Sets the admin credential of a repository's runner; one that the runner keeps reaches it at once.
    ///
    /// # Errors
    ///
    /// When there is no runner, the credential makes no sense, or somebody else wrote it meanwhile.
    pub async fn put_admin_credential(
        &self,
        caller: &Caller,
        repo_id: RepoId,
        write: CredentialWrite,
    ) -> Result<AdminCredentialWritten, AppError> {
        let view = self.maintained(repo_id).await?;
        let runner = self.named_runner(&view)?;
        let present = self.stored_admin(&view, runner).await?;
        if is_blank(&write) {
            return Ok(AdminCredentialWritten::Unchanged(present));
        }
        let secret = checked(write, "")?;
        let revision = present.map_or(1, |present| present.credential.revision + 1);
        let kind = CredentialKind::Admin;
        let sealed = self.seal(runner.host.id, repo_id, kind, revision, &secret)?;
        let audit = self.audit_of(
            caller,
            "admin_credential.changed",
            ("repo", repo_id.to_string()),
            [
                ("repo", view.repo.name.to_string().into()),
                ("host", runner.host.name.to_string().into()),
                ("url", sealed.info.url.clone().into()),
            ],
        );
        match self.store.put_credential(runner.attachment.id, sealed.clone(), audit).await? {
            PutCredential::Done => {}
            PutCredential::Stale | PutCredential::NotFound => {
                let message = format!("somebody else changed the admin credential of `{}`", view.repo.name);
                return Err(AppError::new(ErrorKind::Conflict, "changed_meanwhile", message)
                    .hint("look at it again, then repeat your change"));
            }
        }
        self.engine.forget_unreadable(repo_id);
        self.engine.push_admin_credential(repo_id).await?;
        self.engine.poke();
        Ok(AdminCredentialWritten::Changed(admin_view(&view, runner, sealed.info)))
    }

    /// Deletes the admin credential of a repository's runner, there and on that host. Deleting none is done already.
    ///
    /// # Errors
    ///
    /// When there is no such repository, or no runner.
    pub async fn delete_admin_credential(&self, caller: &Caller, repo_id: RepoId) -> Result<(), AppError> {
        let view = self.maintained(repo_id).await?;
        let runner = self.named_runner(&view)?;
        let audit = self.audit_of(
            caller,
            "admin_credential.deleted",
            ("repo", repo_id.to_string()),
            [("repo", view.repo.name.to_string().into()), ("host", runner.host.name.to_string().into())],
        );
        let kind = CredentialKind::Admin;
        let deleted = self.store.delete_credential(runner.attachment.id, kind, audit).await?;
        self.engine.forget_unreadable(repo_id);
        if deleted {
            self.engine.revoke_credential(runner.host.id, repo_id, kind).await;
            self.engine.poke();
        }
        Ok(())
    }

    /// Where the admin credential of a repository belongs at present; none without a runner.
    pub(super) async fn admin_place(&self, repo_id: RepoId) -> Result<Option<AdminPlace>, AppError> {
        let Some(view) = self.store.maintenance_views(&[repo_id]).await?.pop() else { return Ok(None) };
        let Some(runner) = &view.runner else { return Ok(None) };
        let stored = self.stored_admin(&view, runner).await?;
        Ok(Some(AdminPlace {
            host_id: runner.host.id,
            keeps: keeps_admin(&view.row, runner),
            stored: stored.is_some(),
        }))
    }

    /// Takes the admin credential from where it no longer belongs, and brings it to where it does.
    pub(super) async fn settle_admin(
        &self,
        repo_id: RepoId,
        before: Option<AdminPlace>,
    ) -> Result<(), AppError> {
        let after = self.admin_place(repo_id).await?;
        if before == after {
            return Ok(());
        }
        self.engine.forget_unreadable(repo_id);
        if let Some(AdminPlace { host_id, stored: true, .. }) = before {
            let stays = after.as_ref().is_some_and(|after| after.host_id == host_id && after.keeps);
            if !stays {
                self.engine.revoke_credential(host_id, repo_id, CredentialKind::Admin).await;
            }
        }
        Ok(self.engine.push_admin_credential(repo_id).await?)
    }

    pub(super) async fn stored_admin(
        &self,
        view: &MaintenanceView,
        runner: &RunnerRow,
    ) -> Result<Option<AdminCredentialView>, AppError> {
        let row: Option<AttachmentRow> = self.store.attachment(runner.host.id, view.repo.id).await?;
        let info =
            row.into_iter().flat_map(|row| row.credentials).find(|info| info.kind == CredentialKind::Admin);
        Ok(info.map(|info| admin_view(view, runner, info)))
    }
}

fn admin_view(view: &MaintenanceView, runner: &RunnerRow, credential: CredentialInfo) -> AdminCredentialView {
    AdminCredentialView {
        host_id: runner.host.id,
        host_name: runner.host.name.clone(),
        kept_on_host: keeps_admin(&view.row, runner),
        credential,
    }
}

/// A form that was saved without anything in it.
fn is_blank(write: &CredentialWrite) -> bool {
    write.url.trim().is_empty()
        && write.password.is_empty()
        && write.rest_user.as_deref().is_none_or(str::is_empty)
        && write.rest_password.as_ref().is_none_or(Secret::is_empty)
        && write.env.values().all(Secret::is_empty)
}
