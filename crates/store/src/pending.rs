//! Announced agents that wait for a person.

use async_trait::async_trait;
use restic_manager_core::announce::{AgentKey, Challenge, PendingState};
use restic_manager_core::id::{HostId, PendingHostId};
use restic_manager_core::model::{AuditEntry, Host, HostFacts};
use restic_manager_core::time::Timestamp;

use crate::{Result, TokenHash};

/// An announced agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingHostRow {
    /// Its identifier.
    pub id: PendingHostId,
    /// Its public key; one row a key.
    pub key: AgentKey,
    /// What it signs to claim its token; each claim sets another.
    pub challenge: Challenge,
    /// What it says of its machine.
    pub facts: HostFacts,
    /// Where it came from.
    pub address: String,
    /// When it first announced itself.
    pub announced_at: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
    /// Waiting, approved or rejected.
    pub state: PendingState,
    /// The host it became, once approved.
    pub host_id: Option<HostId>,
}

/// What became of an announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnnounceOutcome {
    /// It waits from now on.
    New,
    /// The key was announced before; this is how it stands.
    Known(Box<PendingHostRow>),
    /// As many wait as may; nothing changed.
    Full,
}

/// What became of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApproveOutcome {
    /// The host is there; its agent may claim its token.
    Approved,
    /// No such announcement, or its time is over.
    NotFound,
    /// It was decided before: approved or rejected.
    Decided(PendingState),
    /// Another host has that name, in whatever case; it still waits.
    NameTaken,
}

/// What became of a rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectOutcome {
    /// It is sent away; also when it was before.
    Rejected,
    /// No such announcement, or its time is over.
    NotFound,
    /// It was approved before.
    Approved,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The token is that of this host; an earlier one of it is worth nothing any more.
    Claimed(Box<Host>),
    /// No such announcement, or its time is over.
    Unknown,
    /// It waits for a person, or was sent away.
    NotApproved(PendingState),
    /// Another claim took the challenge.
    Stale,
}

/// Announced agents.
#[async_trait]
pub trait PendingHosts: Send + Sync {
    /// Takes an announcement, and first forgets those whose time is over at its `announced_at`.
    ///
    /// A known key keeps its id, challenge, first announcement and decision; while it waits, it takes the facts, the address and the
    /// expiry of the new announcement. Only those that wait count towards `at_most`. The audit row is written for a new key alone.
    async fn announce(&self, row: PendingHostRow, at_most: u32, audit: AuditEntry)
    -> Result<AnnounceOutcome>;
    /// The announcement, in whatever state, unless its time is over at `now` (`now >= expires_at`).
    async fn pending_host(&self, id: PendingHostId, now: Timestamp) -> Result<Option<PendingHostRow>>;
    /// The announcement of this key, likewise.
    async fn pending_host_by_key(&self, key: &AgentKey, now: Timestamp) -> Result<Option<PendingHostRow>>;
    /// Those that wait at `now`, by id.
    async fn pending_hosts(&self, now: Timestamp) -> Result<Vec<PendingHostRow>>;
    /// Makes the host as it is given, and lets its agent claim its token until `expires_at`; of several at once exactly one succeeds.
    /// `nobody` is a hash of which nobody has the token: the host has it until it claims its own.
    async fn approve_pending(
        &self,
        id: PendingHostId,
        host: Host,
        nobody: TokenHash,
        now: Timestamp,
        expires_at: Timestamp,
        audit: AuditEntry,
    ) -> Result<ApproveOutcome>;
    /// Sends an agent away; it is told so until its time is over. Rejecting twice is fine, and only the first writes the audit row.
    async fn reject_pending(
        &self,
        id: PendingHostId,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<RejectOutcome>;
    /// Gives the host of an approved key this token, in place of whatever it had, and sets the next challenge; of several with the
    /// same challenge exactly one succeeds. When the host is deleted, its announcement is gone.
    async fn claim_pending(
        &self,
        key: &AgentKey,
        challenge: &Challenge,
        next: Challenge,
        token: TokenHash,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<ClaimOutcome>;
}
