//! Agents that announce themselves, and what becomes of them.

use serde::{Deserialize, Serialize};

use crate::announce::{AgentKey, Challenge, Fingerprint, PendingState, Signature};
use crate::api::{AttachmentView, CredentialWrite, ErrorBody, HostView};
use crate::id::{HostId, PendingHostId, RepoId};
use crate::text::DisplayName;
use crate::time::Timestamp;

/// An agent without a token announces its machine.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AnnounceRequest {
    /// Its Ed25519 public key.
    pub public_key: AgentKey,
    /// Its signature over all that it says; see `restic_manager_core::announce::announcement`.
    pub signature: Signature,
    /// The operating system installation, hashed.
    pub machine_id: String,
    /// The name the operating system goes by.
    pub os_hostname: String,
    /// The agent's version.
    pub agent_version: String,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub arch: String,
}

/// Asks how an announcement stands.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AnnouncedRequest {
    /// The key that was announced.
    pub public_key: AgentKey,
}

/// How an announcement stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Announced {
    /// Waiting, approved or rejected.
    pub state: PendingState,
    /// What the operator compares with what the agent shows.
    pub fingerprint: Fingerprint,
    /// What the agent signs to claim its token; good once.
    pub challenge: Challenge,
    /// When it is forgotten: an hour after the announcement, a day after the approval.
    pub expires_at: Timestamp,
}

/// An approved agent claims its token.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClaimRequest {
    /// The key that was announced.
    pub public_key: AgentKey,
    /// Its signature over the challenge; see `restic_manager_core::announce::claim`.
    pub signature: Signature,
}

/// An announced host that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PendingHostView {
    /// Its identifier.
    pub id: PendingHostId,
    /// Waiting, approved or rejected.
    pub state: PendingState,
    /// To be compared with what the agent shows on the machine.
    pub fingerprint: Fingerprint,
    /// The name it will have unless another is given: that of the operating system.
    pub name: DisplayName,
    /// The host that has that name; another name must be given then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_taken_by: Option<HostId>,
    /// How many others wait under the same name with another key: one of them may not be what it says.
    pub namesakes: u32,
    /// Where the announcement came from.
    pub address: String,
    /// The operating system installation, hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Processor architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The agent's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// When it first announced itself.
    pub announced_at: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
    /// The host it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
}

/// Lets an announced agent in.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApproveRequest {
    /// The fingerprint that was seen on the machine; it must be that of the announcement.
    pub fingerprint: Fingerprint,
    /// The host's name; the announced one when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<DisplayName>,
    /// The repository it backs up to, when it is to have one at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<ApproveRepo>,
}

/// The primary repository of a host that is approved.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApproveRepo {
    /// A repository that is known; a new one is made when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// The name of a new one; the host's name when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_name: Option<DisplayName>,
    /// The host's everyday credential.
    pub credential: CredentialWrite,
}

/// What an approval came to.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApprovedView {
    /// The host; its agent claims its token within seconds when it still waits.
    pub host: HostView,
    /// Its repository, when one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<AttachmentView>,
    /// Why the repository could not be attached; the host is approved all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment_error: Option<ErrorBody>,
}

/// How an enrolment token stands.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollmentView {
    /// The name the host will have; the machine's own when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<DisplayName>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    /// The host that came of it, unless that was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostView>,
}
