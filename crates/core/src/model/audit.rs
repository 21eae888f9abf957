//! Who did what.

use serde::{Deserialize, Serialize};

use crate::id::AuditId;
use crate::text::LoginName;
use crate::time::Timestamp;

/// What kind of actor stands behind a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ActorKind {
    /// A person, by browser or token.
    User,
    /// The server itself: maintenance, retries.
    System,
    /// A schedule that fired.
    Schedule,
    /// An agent that acted on its own.
    Agent,
}

impl ActorKind {
    /// Its name in SQL and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
            Self::Schedule => "schedule",
            Self::Agent => "agent",
        }
    }
}

/// Who stands behind a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Actor {
    /// What kind.
    pub kind: ActorKind,
    /// Its name: the login name of a user, the id of a host or a schedule; empty for the system.
    pub name: String,
}

impl Actor {
    /// A person.
    pub fn user(name: &LoginName) -> Self {
        Self { kind: ActorKind::User, name: name.to_string() }
    }

    /// The server itself.
    pub fn system() -> Self {
        Self { kind: ActorKind::System, name: String::new() }
    }
}

/// What is written down about a change, in the same commit as the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its identifier.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What happened, as `noun.verb` in the past: `host.enrolled`, `schedule.changed`.
    pub action: String,
    /// What it happened to: `host`, `repo`, `job`...
    pub subject_kind: String,
    /// The subject's id.
    pub subject_id: String,
    /// The subject's name and whatever else helps a reader; never a secret.
    pub detail: serde_json::Map<String, serde_json::Value>,
}

/// A row of the audit log as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditRow {
    /// Its identifier.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// What kind of actor.
    pub actor_kind: ActorKind,
    /// Who.
    pub actor: String,
    /// What happened, as `noun.verb`.
    pub action: String,
    /// What it happened to.
    pub subject_kind: String,
    /// The subject's id.
    pub subject_id: String,
    /// Further facts; never a secret.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub detail: serde_json::Map<String, serde_json::Value>,
}
