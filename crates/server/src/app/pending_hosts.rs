//! Announced agents that wait for a person: who they say they are, letting them in, sending them away.

use std::collections::BTreeMap;

use restic_manager_core::announce::{AgentKey, Fingerprint, PendingState};
use restic_manager_core::api::{
    ApproveRepo, ApproveRequest, ApprovedView, AttachmentView, AttachmentWrite, Page, PendingHostView,
    PrimaryCredentialWrite,
};
use restic_manager_core::id::{HostId, PendingHostId};
use restic_manager_core::model::Role;
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::DAY;
use restic_manager_store::{ApproveOutcome, PendingHostRow, RejectOutcome};
use sha2::{Digest as _, Sha256};

use super::credentials::checked;
use super::newcomer::{name_of_machine, new_host};
use super::page::slice;
use super::{App, AppError, Caller, ErrorKind, ListQuery};
use crate::random::token_hash;

/// How long an approved agent may take to fetch its token: a machine that sleeps meanwhile gets it in the morning.
const APPROVAL_LIFETIME: i64 = DAY;

impl App {
    /// Announced hosts that wait, oldest first.
    ///
    /// # Errors
    ///
    /// A limit out of bounds, or a fault of the store.
    pub async fn pending_hosts(&self, list: &ListQuery) -> Result<Page<PendingHostView>, AppError> {
        let rows = self.store.pending_hosts(self.clock.now()).await?;
        let mut views = BTreeMap::new();
        for row in &rows {
            views.insert(row.id, self.pending_view(row, &rows).await?);
        }
        let views = views.into_values().collect();
        slice(views, list, |view: &PendingHostView| view.id.to_string(), |view| view)
    }

    /// An announced host, in whatever state.
    ///
    /// # Errors
    ///
    /// When there is none or its time is over, or the store fails.
    pub async fn pending_host(&self, id: PendingHostId) -> Result<PendingHostView, AppError> {
        let row = self.known_pending(id).await?;
        let waiting = self.store.pending_hosts(self.clock.now()).await?;
        self.pending_view(&row, &waiting).await
    }

    /// Makes a host of an announced agent, which then fetches its token by itself, and attaches it to a repository when one is given.
    ///
    /// What can be known beforehand is refused beforehand. When the repository cannot be attached all the same, the host is approved
    /// and the answer says why.
    ///
    /// # Errors
    ///
    /// When there is no such announcement, its fingerprint is another one, it was decided before, the name is taken, the credential
    /// makes no sense, or the store fails.
    pub async fn approve_host(
        &self,
        caller: &Caller,
        id: PendingHostId,
        request: ApproveRequest,
    ) -> Result<ApprovedView, AppError> {
        let row = self.known_pending(id).await?;
        let fingerprint = fingerprint(&row.key);
        if fingerprint != request.fingerprint {
            return Err(AppError::new(
                ErrorKind::Conflict,
                "fingerprint_differs",
                format!("the announced key has the fingerprint {fingerprint}, not {}", request.fingerprint),
            )
            .hint("reject it unless you find its fingerprint on a machine of yours: somebody else may have announced that name"));
        }
        if let Some(repo) = &request.repo {
            checked(repo.credential.clone(), "repo.credential.")?;
            if let Some(repo_id) = repo.repo_id {
                self.known_repo(repo_id).await?;
            }
        }
        let name = request.name.unwrap_or_else(|| name_of_machine(&row.facts));
        let host_id = self.make_approved(caller, &row, fingerprint, name).await?;
        let attached = match request.repo {
            None => None,
            Some(repo) => Some(self.attach_approved(caller, host_id, repo).await),
        };
        let host = self.host(host_id).await?;
        let (attachment, attachment_error) = match attached {
            None => (None, None),
            Some(Ok(view)) => (Some(view), None),
            Some(Err(error)) => {
                tracing::warn!(host = %host.host.name, error = %crate::engine::chain(&error), "an approved host could not be attached to its repository");
                (None, Some(error.body()))
            }
        };
        Ok(ApprovedView { host, attachment, attachment_error })
    }

    async fn make_approved(
        &self,
        caller: &Caller,
        row: &PendingHostRow,
        fingerprint: Fingerprint,
        name: DisplayName,
    ) -> Result<HostId, AppError> {
        let now = self.clock.now();
        let host = new_host(HostId::mint(now, self.random.id_bytes()), name.clone(), row.facts.clone(), now);
        let host_id = host.id;
        let audit = self.audit_of(
            caller,
            "host.approved",
            ("host", host_id.to_string()),
            [
                ("name", name.to_string().into()),
                ("fingerprint", fingerprint.to_string().into()),
                ("pending_host_id", row.id.to_string().into()),
                ("address", row.address.clone().into()),
            ],
        );
        // The host has a token from its first moment; nobody ever saw this one.
        let nobody = token_hash(&self.random.mint_token(""));
        let expires_at = now + APPROVAL_LIFETIME;
        match self.store.approve_pending(row.id, host, nobody, now, expires_at, audit).await? {
            ApproveOutcome::Approved => Ok(host_id),
            ApproveOutcome::NotFound => Err(AppError::not_found("pending host", row.id)),
            ApproveOutcome::NameTaken => {
                Err(AppError::name_taken("host", &name)
                    .hint("give this one another name; if it is the same machine, delete the old host or enrol it with a token"))
            }
            ApproveOutcome::Decided(state) => Err(decided(&name, state)),
        }
    }

    async fn attach_approved(
        &self,
        caller: &Caller,
        host_id: HostId,
        repo: ApproveRepo,
    ) -> Result<AttachmentView, AppError> {
        let ApproveRepo { repo_id, repo_name, credential } = repo;
        let Some(repo_id) = repo_id else {
            let write = PrimaryCredentialWrite { repo_name, credential };
            return self.put_primary_credential(caller, host_id, write).await;
        };
        let write = AttachmentWrite {
            role: Role::Primary,
            restic_host: None,
            append_only: None,
            credential: Some(credential),
        };
        self.put_attachment(caller, host_id, repo_id, write).await
    }

    /// Sends an announced agent away; it is told so, and its key is refused until the announcement is forgotten.
    ///
    /// # Errors
    ///
    /// When there is none, it was approved before, or the store fails.
    pub async fn reject_host(&self, caller: &Caller, id: PendingHostId) -> Result<(), AppError> {
        let row = self.known_pending(id).await?;
        let name = name_of_machine(&row.facts);
        let audit = self.audit_of(
            caller,
            "host.rejected",
            ("pending_host", id.to_string()),
            [
                ("name", name.to_string().into()),
                ("fingerprint", fingerprint(&row.key).to_string().into()),
                ("address", row.address.into()),
            ],
        );
        match self.store.reject_pending(id, self.clock.now(), audit).await? {
            RejectOutcome::Rejected => Ok(()),
            RejectOutcome::NotFound => Err(AppError::not_found("pending host", id)),
            RejectOutcome::Approved => Err(decided(&name, PendingState::Approved)),
        }
    }

    async fn known_pending(&self, id: PendingHostId) -> Result<PendingHostRow, AppError> {
        let found = self.store.pending_host(id, self.clock.now()).await?;
        found.ok_or_else(|| {
            AppError::not_found("pending host", id)
                .hint("an announcement is forgotten after an hour; start the agent's `announce` again")
        })
    }

    async fn pending_view(
        &self,
        row: &PendingHostRow,
        waiting: &[PendingHostRow],
    ) -> Result<PendingHostView, AppError> {
        let name = name_of_machine(&row.facts);
        let key = |name: &DisplayName| name.as_str().to_lowercase();
        let namesakes = waiting
            .iter()
            .filter(|other| other.id != row.id && key(&name_of_machine(&other.facts)) == key(&name))
            .count();
        let namesake = self.store.host_by_name(&name).await?;
        Ok(PendingHostView {
            id: row.id,
            state: row.state,
            fingerprint: fingerprint(&row.key),
            name_taken_by: namesake.map(|host| host.id).filter(|id| Some(*id) != row.host_id),
            namesakes: u32::try_from(namesakes).unwrap_or(u32::MAX),
            address: row.address.clone(),
            machine_id: row.facts.machine_id.clone(),
            os: row.facts.os.clone(),
            arch: row.facts.arch.clone(),
            agent_version: row.facts.agent_version.clone(),
            announced_at: row.announced_at,
            expires_at: row.expires_at,
            host_id: row.host_id,
            name,
        })
    }
}

/// What people compare.
pub(super) fn fingerprint(key: &AgentKey) -> Fingerprint {
    Fingerprint::of_digest(Sha256::digest(key.0).into())
}

fn decided(name: &DisplayName, state: PendingState) -> AppError {
    let message = match state {
        PendingState::Approved => format!("`{name}` was approved before"),
        PendingState::Rejected => format!("`{name}` was rejected before"),
        PendingState::Waiting => format!("`{name}` still waits"),
    };
    AppError::new(ErrorKind::Conflict, "already_decided", message)
        .hint("list what waits with `rmctl host pending`; a rejected agent may announce itself again when its hour is over")
}
