//! Attachments of hosts to repositories, and their everyday credentials.

use restic_manager_core::api::{AttachmentView, AttachmentWrite, Page, PrimaryCredentialWrite};
use restic_manager_core::id::{AttachmentId, HostId, RepoId};
use restic_manager_core::model::{AppendOnly, Attachment, CredentialKind, CredentialSecret, Host, Role};
use restic_manager_core::text::{DisplayName, ResticHost};
use restic_manager_store::{AttachmentChange, AttachmentRow, PutAttachment, Renamed};

use super::credentials::checked;
use super::page::slice;
use super::{App, AppError, Caller, ErrorKind, ListQuery};

impl App {
    /// The attachments of a host: primary first.
    ///
    /// # Errors
    ///
    /// When there is no such host, or the store fails.
    pub async fn attachments(
        &self,
        host_id: HostId,
        list: &ListQuery,
    ) -> Result<Page<AttachmentView>, AppError> {
        self.known_host(host_id).await?;
        let rows = self.store.attachments_of_host(host_id).await?;
        let place = |row: &AttachmentRow| {
            let rank = u8::from(row.attachment.role != Role::Primary);
            format!("{rank} {} {}", row.repo_name.as_str().to_lowercase(), row.attachment.id)
        };
        slice(rows, list, place, view)
    }

    /// The attachment of a host to a repository.
    ///
    /// # Errors
    ///
    /// When there is none, or the store fails.
    pub async fn attachment(&self, host_id: HostId, repo_id: RepoId) -> Result<AttachmentView, AppError> {
        let row = self.store.attachment(host_id, repo_id).await?;
        row.map(view).ok_or_else(|| AppError::not_found("attachment to repository", repo_id))
    }

    /// Attaches a host to a repository, or changes how it is attached; a new credential reaches the agent at once, and
    /// a repository that was never opened is made or adopted.
    ///
    /// # Errors
    ///
    /// When host or repository are missing, the credential makes no sense, or a name or the primary place is taken.
    pub async fn put_attachment(
        &self,
        caller: &Caller,
        host_id: HostId,
        repo_id: RepoId,
        write: AttachmentWrite,
    ) -> Result<AttachmentView, AppError> {
        let host = self.known_host(host_id).await?;
        let repo = self.known_repo(repo_id).await?;
        let existing = self.store.attachment(host_id, repo_id).await?;
        if existing.is_none() && write.credential.is_none() {
            return Err(AppError::invalid("credential", "a new attachment needs one")
                .hint("give the address and the password of the repository"));
        }
        let credential = write.credential.map(|write| checked(write, "credential.")).transpose()?;
        let restic_host = restic_host(&host, existing.as_ref(), write.restic_host)?;
        let attachment = match &existing {
            Some(row) => Attachment { role: write.role, ..row.attachment.clone() },
            None => self.new_attachment(host_id, repo_id, write.role, restic_host, write.append_only),
        };
        self.write_attachment(caller, &host, &repo.name, existing, attachment, write.append_only, credential)
            .await
    }

    /// Sets the everyday credential of a host's primary repository; without one, the repository is made.
    ///
    /// # Errors
    ///
    /// As [`App::put_attachment`], and when the name for the new repository is taken.
    pub async fn put_primary_credential(
        &self,
        caller: &Caller,
        host_id: HostId,
        write: PrimaryCredentialWrite,
    ) -> Result<AttachmentView, AppError> {
        let host = self.known_host(host_id).await?;
        let credential = checked(write.credential, "credential.")?;
        let rows = self.store.attachments_of_host(host_id).await?;
        if let Some(row) = rows.into_iter().find(|row| row.attachment.role == Role::Primary) {
            let attachment = row.attachment.clone();
            let name = row.repo_name.clone();
            return self
                .write_attachment(caller, &host, &name, Some(row), attachment, None, Some(credential))
                .await;
        }
        let restic_host = restic_host(&host, None, None)?;
        let repo = self.new_repo(write.repo_name.unwrap_or_else(|| host.name.clone()));
        let audit = self.audit_of(
            caller,
            "repo.created",
            ("repo", repo.id.to_string()),
            [("name", repo.name.to_string().into())],
        );
        match self.store.create_repo(repo.clone(), audit).await? {
            Renamed::Done => {}
            Renamed::NameTaken => {
                return Err(AppError::name_taken("repository", &repo.name)
                    .hint("give another `repo_name`, or attach the host to the one that exists"));
            }
            Renamed::NotFound => return Err(AppError::not_found("host", host_id)),
        }
        let attachment = self.new_attachment(host_id, repo.id, Role::Primary, restic_host, None);
        self.write_attachment(caller, &host, &repo.name, None, attachment, None, Some(credential)).await
    }

    /// Detaches a host from a repository; its snapshots stay there, its agent forgets the credential.
    ///
    /// # Errors
    ///
    /// When there is no such attachment, it has jobs that are not over, or it is the repository's runner.
    pub async fn delete_attachment(
        &self,
        caller: &Caller,
        host_id: HostId,
        repo_id: RepoId,
    ) -> Result<(), AppError> {
        let row = self.attachment(host_id, repo_id).await?;
        let audit = self.audit_of(
            caller,
            "attachment.deleted",
            ("attachment", row.attachment.id.to_string()),
            [("host_id", host_id.to_string().into()), ("repo", row.repo_name.to_string().into())],
        );
        let before = self.admin_place(repo_id).await?;
        let outcome = self.store.delete_attachment(host_id, repo_id, audit).await?;
        self.refuse_deletion("attachment to repository", &row.repo_name, outcome).await?;
        self.engine.push_credential(host_id, repo_id).await?;
        self.settle_admin(repo_id, before).await?;
        self.engine.poke();
        self.engine.push_plan(host_id).await?;
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // the two ways in differ in exactly these
    async fn write_attachment(
        &self,
        caller: &Caller,
        host: &Host,
        repo_name: &DisplayName,
        existing: Option<AttachmentRow>,
        attachment: Attachment,
        append_only: Option<AppendOnly>,
        credential: Option<CredentialSecret>,
    ) -> Result<AttachmentView, AppError> {
        let (host_id, repo_id) = (attachment.host_id, attachment.repo_id);
        let revision = existing
            .iter()
            .flat_map(|row| &row.credentials)
            .find(|info| info.kind == CredentialKind::Repo)
            .map_or(1, |info| info.revision + 1);
        let has_credential = credential.is_some();
        let sealed = credential
            .map(|secret| self.seal(host_id, repo_id, CredentialKind::Repo, revision, &secret))
            .transpose()?;
        let audit = self.audit_of(
            caller,
            if existing.is_some() { "attachment.changed" } else { "attachment.created" },
            ("attachment", attachment.id.to_string()),
            [
                ("host", host.name.to_string().into()),
                ("repo", repo_name.to_string().into()),
                ("role", serde_json::to_value(attachment.role).unwrap_or_default()),
                ("credential_changed", has_credential.into()),
                ("url", sealed.as_ref().map(|sealed| sealed.info.url.clone()).into()),
            ],
        );
        let before = self.admin_place(repo_id).await?;
        let change = AttachmentChange { attachment, append_only, credential: sealed };
        match self.store.put_attachment(change, audit).await? {
            PutAttachment::Done => {}
            refused => return Err(refuse_attachment(host, repo_name, &refused)),
        }
        self.settle_admin(repo_id, before).await?;
        if has_credential {
            self.engine.push_credential(host_id, repo_id).await?;
        }
        self.engine.push_plan(host_id).await?;
        if has_credential
            && self.engine.dispatch().epoch(host_id).is_some()
            && let Some(row) = self.store.attachment(host_id, repo_id).await?
        {
            self.engine.ask_init(&row, caller.actor()).await?;
        }
        self.engine.poke();
        self.attachment(host_id, repo_id).await
    }

    fn new_attachment(
        &self,
        host_id: HostId,
        repo_id: RepoId,
        role: Role,
        restic_host: ResticHost,
        append_only: Option<AppendOnly>,
    ) -> Attachment {
        let created_at = self.clock.now();
        Attachment {
            id: AttachmentId::mint(created_at, self.engine.id_bytes()),
            host_id,
            repo_id,
            role,
            restic_host,
            append_only: append_only.unwrap_or_default(),
            created_at,
        }
    }
}

pub(super) fn view(row: AttachmentRow) -> AttachmentView {
    AttachmentView { attachment: row.attachment, repo_name: row.repo_name, credentials: row.credentials }
}

/// The name the host's snapshots carry: fixed once the attachment is made.
fn restic_host(
    host: &Host,
    existing: Option<&AttachmentRow>,
    asked: Option<ResticHost>,
) -> Result<ResticHost, AppError> {
    if let Some(row) = existing {
        let fixed = &row.attachment.restic_host;
        return match asked {
            Some(asked) if asked != *fixed => Err(AppError::invalid(
                "restic_host",
                format!("it is `{fixed}` and cannot be changed: the snapshots in the repository carry it"),
            )),
            Some(_) | None => Ok(fixed.clone()),
        };
    }
    if let Some(asked) = asked {
        return Ok(asked);
    }
    let derived: String = host
        .name
        .as_str()
        .chars()
        .map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .collect();
    ResticHost::new(derived.trim_start_matches('-')).map_err(|error| {
        AppError::invalid("restic_host", error).hint("give a `restic_host`: letters, digits, `-`, `_`, `.`")
    })
}

fn refuse_attachment(host: &Host, repo_name: &DisplayName, outcome: &PutAttachment) -> AppError {
    let conflict = |code, message| AppError::new(ErrorKind::Conflict, code, message);
    match outcome {
        PutAttachment::Done | PutAttachment::Stale => conflict(
            "changed_meanwhile",
            format!("somebody else changed the attachment of `{}` to `{repo_name}`", host.name),
        )
        .hint("look at it again, then repeat your change"),
        PutAttachment::NotFound => AppError::not_found("host or repository", repo_name),
        PutAttachment::PrimaryTaken(other) => {
            conflict("primary_taken", format!("host `{}` has another primary repository: {other}", host.name))
                .hint("attach this one with the role `copy`")
        }
        PutAttachment::ResticHostTaken(other) => conflict(
            "restic_host_taken",
            format!("in repository `{repo_name}` that restic host name belongs to host {other}"),
        )
        .hint("give another `restic_host`"),
    }
}
