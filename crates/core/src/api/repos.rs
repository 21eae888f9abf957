//! Repositories, attachments, credentials, snapshots.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::id::{AttachmentId, GroupId, RepoId};
use crate::model::{AppendOnly, Attachment, CredentialInfo, Repo, RepoStats, Role, Snapshot};
use crate::secret::{Secret, exposed};
use crate::text::{DisplayName, ResticHost};

/// Makes a repository known; restic makes it when the first host is attached.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepoWrite {
    /// Its name, unique.
    pub name: DisplayName,
}

/// Changes of a repository; what is not given stays.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepoPatch {
    /// A new name, unique.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<DisplayName>,
    /// The attachment whose host shall do the maintenance; null for the oldest with the role `primary`, else the oldest.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<AttachmentId>))]
    pub runner: Option<Option<AttachmentId>>,
}

/// Tells null from a field that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A repository as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepoView {
    /// The repository.
    #[serde(flatten)]
    pub repo: Repo,
    /// What is known of its size.
    pub stats: RepoStats,
    /// The hosts that use it.
    pub attachments: Vec<Attachment>,
}

/// A credential as it is written: all of it, replacing what was there.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CredentialWrite {
    /// The repository's address as restic takes it; user and password in it are taken apart and stored encrypted.
    #[cfg_attr(feature = "openapi", schema(example = "rest:https://backup.example.net/web1/"))]
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

impl CredentialWrite {
    /// An address and a password; a REST login may stand in the address.
    pub fn new(url: impl Into<String>, password: Secret) -> Self {
        Self { url: url.into(), password, rest_user: None, rest_password: None, env: BTreeMap::new() }
    }
}

/// Attaches a host to a repository, or changes how it is attached.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttachmentWrite {
    /// What the host may do.
    pub role: Role,
    /// The name its snapshots carry; the host's own name when not given. It cannot be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restic_host: Option<ResticHost>,
    /// Whether the everyday credential may delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append_only: Option<AppendOnly>,
    /// The everyday credential; needed for a new attachment, kept when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialWrite>,
}

impl AttachmentWrite {
    /// With this everyday credential; snapshots carry the host's own name.
    pub const fn new(role: Role, credential: CredentialWrite) -> Self {
        Self { role, restic_host: None, append_only: None, credential: Some(credential) }
    }
}

/// Sets the everyday credential of a host's primary repository, which is made when there is none.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PrimaryCredentialWrite {
    /// The name of the repository if it is made; the host's name when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_name: Option<DisplayName>,
    /// The credential.
    pub credential: CredentialWrite,
}

/// An attachment as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttachmentView {
    /// The attachment.
    #[serde(flatten)]
    pub attachment: Attachment,
    /// The repository's name.
    pub repo_name: DisplayName,
    /// What may be shown of its credentials.
    pub credentials: Vec<CredentialInfo>,
}

/// A snapshot as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotView {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// The repository it lies in.
    pub repo_id: RepoId,
    /// The source group whose tag it carries, when there is one.
    pub group_id: Option<GroupId>,
}
