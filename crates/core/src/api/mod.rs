//! The shapes of the HTTP API, shared by the server that answers and the clients that ask.
//!
//! Every error is an [`ErrorBody`]; every list is a [`Page`]. Writes refuse unknown fields by name.

mod announce;
mod auth;
mod hosts;
mod jobs;
mod maintenance;
mod pending;
mod plans;
mod repos;
mod status;

use serde::{Deserialize, Serialize};

pub use announce::{
    AnnounceRequest, Announced, AnnouncedRequest, ApproveRepo, ApproveRequest, ApprovedView, ClaimRequest,
    EnrollmentView, PendingHostView,
};
pub use auth::{
    BootstrapRequest, EnrollRequest, EnrollResponse, EnrollmentTokenRequest, EnrollmentTokenResponse,
    LoginRequest, PasswordChange, SessionInfo, TokenInfo, TokenRequest, TokenResponse, VersionInfo,
};
pub use hosts::{HostPatch, HostView, Presence};
pub use jobs::{Accepted, JobEventView, JobView};
pub use maintenance::{AdminCredentialView, KindView, StatsDay, UnlockRequest, WhyView};
pub use pending::PendingRunView;
pub use plans::{ScheduleView, ScheduleWrite, SourceGroupWrite};
pub use repos::{
    AttachmentView, AttachmentWrite, CredentialWrite, PrimaryCredentialWrite, RepoPatch, RepoView, RepoWrite,
    SnapshotView,
};
pub use status::{Attention, FleetStatus};

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// For programs; stable.
    #[cfg_attr(feature = "openapi", schema(example = "host_offline"))]
    pub code: String,
    /// For people: what went wrong, naming the thing.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Hand it back as `?cursor=` for the next page; none means that this was the last.
    pub next_cursor: Option<String>,
}

/// The number of items of a page when `?limit=` is not given.
pub const DEFAULT_LIMIT: u32 = 100;
/// The most items a page can have.
pub const MAX_LIMIT: u32 = 500;
