//! Hosts, repositories, and what ties them together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{AttachmentId, HostId, RepoId};
use crate::restic::{Access, Environment, EnvironmentError, RepoUrl, RepoUrlError};
use crate::secret::{Secret, exposed};
use crate::text::{DisplayName, ResticHost, ResticRepoId, Tag};
use crate::time::Timestamp;

/// An enrolled machine with one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Host {
    /// Its identifier.
    pub id: HostId,
    /// The name people see; renaming it changes nothing in any repository.
    pub name: DisplayName,
    /// Labels to filter by.
    pub tags: Vec<Tag>,
    /// What the agent said of the machine at its last hello.
    pub facts: HostFacts,
    /// Upload limit of every restic process on this host in KiB/s; none means unlimited.
    pub limit_upload_kib: Option<u32>,
    /// Download limit in KiB/s; none means unlimited.
    pub limit_download_kib: Option<u32>,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// The last sign of life, recorded at most once a minute.
    pub last_seen_at: Option<Timestamp>,
    /// Counts every change of what the agent must know: schedules, groups, attachments, limits.
    pub schedule_version: i64,
    /// The newest version the agent says it has stored.
    pub schedule_version_acked: i64,
    /// Counts every commit that touches the host's jobs; the store's compare-and-set.
    pub revision: i64,
}

/// What an agent says of its machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostFacts {
    /// The id of the operating system installation (`/etc/machine-id`), hashed by the agent.
    pub machine_id: Option<String>,
    /// The name the operating system goes by; restic's locks carry it.
    pub os_hostname: Option<String>,
    /// Operating system, such as `linux`.
    pub os: Option<String>,
    /// Processor architecture, such as `x86_64`.
    pub arch: Option<String>,
    /// The agent's version.
    pub agent_version: Option<String>,
    /// Restic's version, when the agent found a usable one.
    pub restic_version: Option<String>,
    /// Why there is no usable restic, in one sentence with the remedy.
    pub restic_problem: Option<String>,
}

/// A restic repository: exclusion, maintenance and statistics belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Repo {
    /// Its identifier in the fleet.
    pub id: RepoId,
    /// The name people see.
    pub name: DisplayName,
    /// Restic's own id, known since the first contact.
    pub restic_id: Option<ResticRepoId>,
    /// The attachment whose host does the maintenance; none means that of the primary attachment.
    pub runner: Option<AttachmentId>,
    /// When it was made here.
    pub created_at: Timestamp,
    /// Counts every commit that touches the repository's jobs or what its maintenance is decided on; the store's compare-and-set.
    pub revision: i64,
}

/// What an attached host may do with the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// The host's main repository; a host has at most one.
    Primary,
    /// A further copy of its backups.
    Copy,
    /// Maintenance only: this host backs up nothing into it.
    Maintenance,
}

/// Whether the everyday credential may delete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AppendOnly {
    /// A delete was refused, or an operator said so.
    Yes,
    /// An operator said that it may delete.
    No,
    /// Not known yet.
    #[default]
    Unknown,
}

/// A host's right to use a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attachment {
    /// Its identifier.
    pub id: AttachmentId,
    /// The host.
    pub host_id: HostId,
    /// The repository.
    pub repo_id: RepoId,
    /// What the host may do.
    pub role: Role,
    /// The name its snapshots carry in the repository: fixed when the attachment is made, unique in the repository.
    pub restic_host: ResticHost,
    /// Whether the everyday credential may delete.
    pub append_only: AppendOnly,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which of the two credentials of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CredentialKind {
    /// The everyday one, ideally append-only.
    Repo,
    /// The one that may delete; often another URL.
    Admin,
}

impl CredentialKind {
    /// Its name in SQL, wire and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repo => "repo",
            Self::Admin => "admin",
        }
    }
}

/// What may be shown of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CredentialInfo {
    /// Everyday or admin.
    pub kind: CredentialKind,
    /// The repository's address without any user, password or key.
    pub url: String,
    /// The user name for a REST server, when there is one.
    pub rest_user: Option<String>,
    /// Whether a password for the REST server is stored.
    pub has_rest_password: bool,
    /// The names of the environment variables stored with it; never their values.
    pub env_names: Vec<String>,
    /// Counts every change.
    pub revision: i64,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// All that restic needs to open a repository.
///
/// `Serialize` writes the secrets in the clear: it is meant for the encrypted envelope and the agent's socket only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialSecret {
    /// The address as restic takes it, without user and password.
    pub url: String,
    /// The repository's password.
    #[serde(with = "exposed")]
    pub password: Secret,
    /// The user of a REST server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_user: Option<String>,
    /// The password of a REST server.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "exposed")]
    pub rest_password: Option<Secret>,
    /// Environment variables of the storage, such as `AWS_ACCESS_KEY_ID`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "exposed")]
    pub env: BTreeMap<String, Secret>,
}

impl CredentialSecret {
    /// An address and a password; nothing of a REST server, no variables.
    pub fn new(url: impl Into<String>, password: Secret) -> Self {
        Self { url: url.into(), password, rest_user: None, rest_password: None, env: BTreeMap::new() }
    }

    /// The environment in which restic opens the repository, with its cache in this folder.
    ///
    /// # Errors
    ///
    /// The address is none, or the rest makes no environment.
    pub fn environment(&self, cache_dir: &str) -> Result<Environment, CredentialError> {
        let url: RepoUrl = self.url.parse()?;
        let access = Access {
            url: &url,
            password: &self.password,
            rest_user: self.rest_user.as_deref(),
            rest_password: self.rest_password.as_ref(),
            variables: &self.env,
            cache_dir,
        };
        Ok(access.environment()?)
    }
}

/// A credential that opens nothing. No variant holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Its address.
    #[error(transparent)]
    Url(#[from] RepoUrlError),
    /// The rest of it.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
}
