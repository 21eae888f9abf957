//! Hosts, repositories, attachments, credentials.

use async_trait::async_trait;
use restic_manager_core::id::{AttachmentId, HostId, JobId, RepoId};
use restic_manager_core::model::{
    AppendOnly, Attachment, AuditEntry, CredentialInfo, CredentialKind, Host, HostFacts, Repo, RepoStats, ResticRepoId,
};
use restic_manager_core::text::{DisplayName, Tag};
use restic_manager_core::time::Timestamp;

use crate::{Listed, PageRequest, Result, TokenHash};

/// Which hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFilter {
    /// Part of the name, in any case.
    pub text: Option<String>,
    /// Carries this label.
    pub tag: Option<Tag>,
}

/// Changes of a host; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostChange {
    /// A new name.
    pub name: Option<DisplayName>,
    /// New labels.
    pub tags: Option<Vec<Tag>>,
    /// A new upload limit; `Some(None)` lifts it.
    pub limit_upload_kib: Option<Option<u32>>,
    /// A new download limit; `Some(None)` lifts it.
    pub limit_download_kib: Option<Option<u32>>,
}

/// Changes of a repository; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepoChange {
    /// A new name.
    pub name: Option<DisplayName>,
    /// A new runner.
    pub runner: Option<AttachmentId>,
}

/// Whether something could get its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renamed {
    /// Done.
    Done,
    /// There is no such thing.
    NotFound,
    /// Another one has that name.
    NameTaken,
}

/// Whether something could be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// Gone; its jobs stay readable.
    Done,
    /// There is no such thing.
    NotFound,
    /// It has jobs that are not final.
    HasJobs(Vec<JobId>),
    /// Its host is set as the runner of these repositories.
    IsRunner(Vec<RepoId>),
    /// Hosts are attached to it.
    HasAttachments(Vec<HostId>),
}

/// A credential as it is stored: the ciphertext and what may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCredential {
    /// What may be shown; `revision` is part of what the ciphertext is bound to.
    pub info: CredentialInfo,
    /// The ciphertext.
    pub blob: Vec<u8>,
}

/// An attachment with the names and credentials around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentRow {
    /// The attachment.
    pub attachment: Attachment,
    /// The host's name.
    pub host_name: DisplayName,
    /// The repository's name.
    pub repo_name: DisplayName,
    /// Restic's own id of the repository, once known.
    pub restic_id: Option<ResticRepoId>,
    /// What may be shown of its credentials.
    pub credentials: Vec<CredentialInfo>,
}

/// What is written of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentChange {
    /// The attachment; for an existing one only `role` and `append_only` are taken.
    pub attachment: Attachment,
    /// Whether `append_only` is to be set on an existing one.
    pub append_only: Option<AppendOnly>,
    /// Its everyday credential, when it is written too.
    pub credential: Option<SealedCredential>,
}

/// What became of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutAttachment {
    /// It is there as asked for; the plan version of the host was raised.
    Done,
    /// The host or the repository is gone.
    NotFound,
    /// The host has another primary repository.
    PrimaryTaken(RepoId),
    /// Another host's snapshots carry that name in the repository.
    ResticHostTaken(HostId),
    /// The credential's revision is not the stored one plus one: somebody else wrote meanwhile.
    Stale,
}

/// What became of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutCredential {
    /// Stored.
    Done,
    /// There is no such attachment.
    NotFound,
    /// The revision is not the stored one plus one: somebody else wrote meanwhile.
    Stale,
}

/// What became of a repository's own id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResticIdLearned {
    /// Stored now.
    Learned,
    /// It was known.
    Same,
    /// Another row has that id: it is the same repository.
    KnownAs(RepoId),
    /// This row has another id: the credential opens the wrong repository.
    Different(ResticRepoId),
    /// There is no such repository.
    NotFound,
}

/// Hosts, repositories, attachments, credentials.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// A host.
    async fn host(&self, id: HostId) -> Result<Option<Host>>;
    /// Hosts by name (without regard to case), then id.
    async fn hosts(&self, filter: &HostFilter, page: PageRequest) -> Result<Listed<Host>>;
    /// The host whose agent has this token.
    async fn host_by_agent_token(&self, hash: &TokenHash) -> Result<Option<Host>>;
    /// Changes a host. Names are unique without regard to case. A changed limit raises the plan version.
    async fn change_host(&self, id: HostId, change: HostChange, audit: AuditEntry) -> Result<Renamed>;
    /// Deletes a host with its attachments, credentials, groups, schedules and agent token; runs and jobs stay readable.
    async fn delete_host(&self, id: HostId, audit: AuditEntry) -> Result<Deleted>;
    /// Notes signs of life, in bulk.
    async fn touch_hosts(&self, seen: &[(HostId, Timestamp)]) -> Result<()>;
    /// Stores what an agent says of its machine.
    async fn record_facts(&self, id: HostId, facts: &HostFacts) -> Result<()>;

    /// Makes a repository. Names are unique without regard to case.
    async fn create_repo(&self, repo: Repo, audit: AuditEntry) -> Result<Renamed>;
    /// A repository.
    async fn repo(&self, id: RepoId) -> Result<Option<Repo>>;
    /// Repositories by name (without regard to case), then id.
    async fn repos(&self, page: PageRequest) -> Result<Listed<Repo>>;
    /// Changes a repository.
    async fn change_repo(&self, id: RepoId, change: RepoChange, audit: AuditEntry) -> Result<Renamed>;
    /// Forgets a repository that no host is attached to; what lies in it is not touched.
    async fn delete_repo(&self, id: RepoId, audit: AuditEntry) -> Result<Deleted>;
    /// Stores restic's own id of a repository, once.
    async fn learn_restic_id(&self, id: RepoId, restic_id: &ResticRepoId) -> Result<ResticIdLearned>;
    /// What is known of the size of these repositories, in the order of `ids`.
    async fn repo_stats(&self, ids: &[RepoId]) -> Result<Vec<RepoStats>>;

    /// The attachments of a host: primary first, then by repository name.
    async fn attachments_of_host(&self, id: HostId) -> Result<Vec<AttachmentRow>>;
    /// The attachments of these repositories, by repository, then host name.
    async fn attachments_of_repos(&self, ids: &[RepoId]) -> Result<Vec<AttachmentRow>>;
    /// The attachment of a host to a repository.
    async fn attachment(&self, host_id: HostId, repo_id: RepoId) -> Result<Option<AttachmentRow>>;
    /// Makes or changes an attachment, with its credential; raises the plan version of the host.
    async fn put_attachment(&self, change: AttachmentChange, audit: AuditEntry) -> Result<PutAttachment>;
    /// Removes an attachment and its credentials; raises the plan version of the host.
    async fn delete_attachment(&self, host_id: HostId, repo_id: RepoId, audit: AuditEntry) -> Result<Deleted>;

    /// A credential with its ciphertext.
    async fn credential(&self, id: AttachmentId, kind: CredentialKind) -> Result<Option<SealedCredential>>;
    /// Writes a credential whose revision is the stored one plus one (1 for a new one).
    async fn put_credential(
        &self,
        id: AttachmentId,
        credential: SealedCredential,
        audit: AuditEntry,
    ) -> Result<PutCredential>;
    /// Deletes a credential; false when there is none.
    async fn delete_credential(&self, id: AttachmentId, kind: CredentialKind, audit: AuditEntry) -> Result<bool>;
}
