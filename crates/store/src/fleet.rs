//! Hosts, repositories, attachments, credentials.

use async_trait::async_trait;
use restic_manager_core::id::{AttachmentId, HostId, JobId, RepoId};
use restic_manager_core::model::{
    AppendOnly, Attachment, AuditEntry, CredentialInfo, CredentialKind, Host, HostFacts, Repo, RepoStats,
    ResticRepoId,
};
use restic_manager_core::text::{DisplayName, Tag};
use restic_manager_core::time::Timestamp;

use crate::{Listed, PageRequest, Result, TokenHash};

/// Which hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFilter {
    /// Part of the name, in any case; no character has a meaning of its own.
    pub text: Option<String>,
    /// Carries this label.
    pub tag: Option<Tag>,
    /// One of these.
    pub among: Option<Vec<HostId>>,
    /// Whether its agent ever gave a sign of life.
    pub seen: Option<Seen>,
}

/// Whether an agent ever gave a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// At least once.
    Once,
    /// Never.
    Never,
}

/// Which repositories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepoFilter {
    /// Part of the name, in any case; no character has a meaning of its own.
    pub text: Option<String>,
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
    /// A new runner: an attachment of this repository; `Some(None)` for the oldest primary one, else the oldest.
    pub runner: Option<Option<AttachmentId>>,
}

/// Whether something could get its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renamed {
    /// Done.
    Done,
    /// There is no such thing, or the runner named is no attachment of the repository.
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
    /// An attachment of it is set as the runner of these repositories.
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
    /// The attachment, taken whole when it is new; of an existing one only `role` is taken.
    pub attachment: Attachment,
    /// What `append_only` of an existing one becomes; none leaves it.
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
    /// Hosts by name (without regard to case: by its Unicode lowercase), then id.
    async fn hosts(&self, filter: &HostFilter, page: PageRequest) -> Result<Listed<Host>>;
    /// The host of that name, without regard to case.
    async fn host_by_name(&self, name: &DisplayName) -> Result<Option<Host>>;
    /// The host whose agent has this token.
    async fn host_by_agent_token(&self, hash: &TokenHash) -> Result<Option<Host>>;
    /// Changes a host. Names are unique without regard to case. A limit that becomes another raises the plan version.
    async fn change_host(&self, id: HostId, change: HostChange, audit: AuditEntry) -> Result<Renamed>;
    /// Deletes a host with its attachments, credentials, groups, schedules, snapshot lists and agent token; runs, jobs and logs stay
    /// readable. Refused while it has jobs that are not final, then while it is set as a runner.
    async fn delete_host(&self, id: HostId, audit: AuditEntry) -> Result<Deleted>;
    /// Notes signs of life, in bulk. One that is earlier than what is known, or of a host that is gone, changes nothing.
    async fn touch_hosts(&self, seen: &[(HostId, Timestamp)]) -> Result<()>;
    /// Stores what an agent says of its machine, in place of what it said before; nothing happens when the host is gone.
    async fn record_facts(&self, id: HostId, facts: &HostFacts) -> Result<()>;

    /// Makes a repository. Names are unique without regard to case.
    async fn create_repo(&self, repo: Repo, audit: AuditEntry) -> Result<Renamed>;
    /// A repository.
    async fn repo(&self, id: RepoId) -> Result<Option<Repo>>;
    /// Repositories by name (without regard to case), then id.
    async fn repos(&self, filter: &RepoFilter, page: PageRequest) -> Result<Listed<Repo>>;
    /// Changes a repository. Names are unique without regard to case.
    async fn change_repo(&self, id: RepoId, change: RepoChange, audit: AuditEntry) -> Result<Renamed>;
    /// Forgets a repository that no host is attached to; what lies in it is not touched, and its jobs stay readable. Refused while it
    /// has jobs that are not final, then while hosts are attached.
    async fn delete_repo(&self, id: RepoId, audit: AuditEntry) -> Result<Deleted>;
    /// Stores restic's own id of a repository, once. What the row itself has is looked at first.
    async fn learn_restic_id(&self, id: RepoId, restic_id: &ResticRepoId) -> Result<ResticIdLearned>;
    /// What is known of the size of these repositories, one for each of `ids` in their order; nothing is known of one that is gone.
    async fn repo_stats(&self, ids: &[RepoId]) -> Result<Vec<RepoStats>>;

    /// The attachments of a host: primary first, then by repository name (without regard to case).
    async fn attachments_of_host(&self, id: HostId) -> Result<Vec<AttachmentRow>>;
    /// The attachments of these repositories, by repository id, then host name (without regard to case).
    async fn attachments_of_repos(&self, ids: &[RepoId]) -> Result<Vec<AttachmentRow>>;
    /// The attachment of a host to a repository.
    async fn attachment(&self, host_id: HostId, repo_id: RepoId) -> Result<Option<AttachmentRow>>;
    /// Makes or changes the attachment of that host to that repository, with its credential; raises the plan version of the host. What
    /// is refused changes nothing.
    async fn put_attachment(&self, change: AttachmentChange, audit: AuditEntry) -> Result<PutAttachment>;
    /// Removes an attachment, its credentials and the host's snapshot list of that repository; raises the plan version of the host.
    /// Refused while the host has jobs on the repository that are not final, then while it is the repository's runner.
    async fn delete_attachment(&self, host_id: HostId, repo_id: RepoId, audit: AuditEntry)
    -> Result<Deleted>;

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
    async fn delete_credential(
        &self,
        id: AttachmentId,
        kind: CredentialKind,
        audit: AuditEntry,
    ) -> Result<bool>;
}
