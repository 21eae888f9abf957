//! Logging in, tokens, enrolment.

use serde::{Deserialize, Serialize};

use crate::id::{EnrollmentId, HostId, TokenId, UserId};
use crate::secret::{Secret, exposed};
use crate::text::{DisplayName, LoginName};
use crate::time::Timestamp;

/// Makes the first administrator.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BootstrapRequest {
    /// The one-time token the server wrote at its first start.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// The name to log in with.
    pub username: LoginName,
    /// 12 to 1024 characters.
    #[serde(with = "exposed")]
    pub password: Secret,
}

/// Opens a session.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginRequest {
    /// Who.
    pub username: LoginName,
    /// The password.
    #[serde(with = "exposed")]
    pub password: Secret,
}

/// Changes one's own password.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PasswordChange {
    /// The password as it is.
    #[serde(with = "exposed")]
    pub current: Secret,
    /// The password as it shall be: 12 to 1024 characters.
    #[serde(with = "exposed")]
    pub new: Secret,
}

/// An open session.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// Who.
    pub user_id: UserId,
    /// The login name.
    pub username: LoginName,
    /// Goes into the header `x-csrf-token` of every write that comes with the session's cookie.
    #[serde(with = "exposed")]
    pub csrf_token: Secret,
    /// When the session ends.
    pub expires_at: Timestamp,
}

/// Makes an API token.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenRequest {
    /// What it is for; unique among the user's tokens that are not revoked.
    pub name: DisplayName,
    /// Days until it expires: 1 to 3650, 90 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_days: Option<u32>,
}

/// A token that was just made.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenResponse {
    /// The token, shown this once; it starts with `rmt_`.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// What is kept of it.
    pub info: TokenInfo,
}

/// What is kept of an API token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenInfo {
    /// Its identifier.
    pub id: TokenId,
    /// What it is for.
    pub name: DisplayName,
    /// Whose it is.
    pub username: LoginName,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Makes a one-time enrolment token.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollmentTokenRequest {
    /// The name the host will have; the machine's own when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<DisplayName>,
}

/// An enrolment token that was just made.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollmentTokenResponse {
    /// Its identifier, to ask later what became of it.
    pub id: EnrollmentId,
    /// The token, shown this once; it starts with `rme_`.
    #[serde(with = "exposed")]
    pub token: Secret,
    /// When it expires: one hour after it was made.
    pub expires_at: Timestamp,
    /// The command to paste on the host.
    pub command: String,
}

/// An agent introduces its host.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollRequest {
    /// The one-time token.
    #[serde(with = "exposed")]
    pub token: Secret,
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

/// The agent is enrolled.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollResponse {
    /// The host it is.
    pub host_id: HostId,
    /// The host's name.
    pub name: DisplayName,
    /// The token for its socket, shown this once; it starts with `rma_`.
    #[serde(with = "exposed")]
    pub agent_token: Secret,
}

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionInfo {
    /// The server's version.
    pub version: String,
    /// The newest agent protocol it speaks.
    pub protocol: u16,
    /// The oldest.
    pub oldest_protocol: u16,
    /// Whether the first administrator is still to be made.
    pub needs_bootstrap: bool,
}
