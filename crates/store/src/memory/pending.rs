//! Announced agents.

use async_trait::async_trait;
use restic_manager_core::announce::{AgentKey, Challenge, PendingState};
use restic_manager_core::id::PendingHostId;
use restic_manager_core::model::{AuditEntry, Host};
use restic_manager_core::time::Timestamp;

use super::{MemoryStore, State};
use crate::{
    AnnounceOutcome, ApproveOutcome, ClaimOutcome, PendingHostRow, PendingHosts, RejectOutcome, Result,
    TokenHash,
};

#[async_trait]
impl PendingHosts for MemoryStore {
    async fn announce(
        &self,
        row: PendingHostRow,
        at_most: u32,
        audit: AuditEntry,
    ) -> Result<AnnounceOutcome> {
        let mut state = self.state();
        let now = row.announced_at;
        state.pending_hosts.retain(|_, other| now < other.expires_at);
        if let Some(known) = state.pending_hosts.values_mut().find(|other| other.key == row.key) {
            if known.state == PendingState::Waiting {
                known.facts = row.facts;
                known.address = row.address;
                known.expires_at = row.expires_at;
            }
            return Ok(AnnounceOutcome::Known(Box::new(known.clone())));
        }
        let waiting =
            state.pending_hosts.values().filter(|other| other.state == PendingState::Waiting).count();
        if waiting >= at_most as usize {
            return Ok(AnnounceOutcome::Full);
        }
        state.pending_hosts.insert(row.id, row);
        state.write_audit(audit);
        Ok(AnnounceOutcome::New)
    }

    async fn pending_host(&self, id: PendingHostId, now: Timestamp) -> Result<Option<PendingHostRow>> {
        Ok(self.state().pending_hosts.get(&id).filter(|row| now < row.expires_at).cloned())
    }

    async fn pending_host_by_key(&self, key: &AgentKey, now: Timestamp) -> Result<Option<PendingHostRow>> {
        Ok(self.state().pending_of(key, now).map(|row| row.clone()))
    }

    async fn pending_hosts(&self, now: Timestamp) -> Result<Vec<PendingHostRow>> {
        let state = self.state();
        let waiting = state.pending_hosts.values().filter(|row| row.state == PendingState::Waiting);
        Ok(waiting.filter(|row| now < row.expires_at).cloned().collect())
    }

    async fn approve_pending(
        &self,
        id: PendingHostId,
        host: Host,
        nobody: TokenHash,
        now: Timestamp,
        expires_at: Timestamp,
        audit: AuditEntry,
    ) -> Result<ApproveOutcome> {
        let mut state = self.state();
        let name_taken = state.host_named(&host.name, None);
        let Some(row) = state.pending_hosts.get_mut(&id).filter(|row| now < row.expires_at) else {
            return Ok(ApproveOutcome::NotFound);
        };
        match row.state {
            PendingState::Waiting => {}
            decided @ (PendingState::Approved | PendingState::Rejected) => {
                return Ok(ApproveOutcome::Decided(decided));
            }
        }
        if name_taken {
            return Ok(ApproveOutcome::NameTaken);
        }
        row.state = PendingState::Approved;
        row.host_id = Some(host.id);
        row.expires_at = expires_at;
        state.agent_tokens.insert(nobody, host.id);
        state.hosts.insert(host.id, host);
        state.write_audit(audit);
        Ok(ApproveOutcome::Approved)
    }

    async fn reject_pending(
        &self,
        id: PendingHostId,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<RejectOutcome> {
        let mut state = self.state();
        let Some(row) = state.pending_hosts.get_mut(&id).filter(|row| now < row.expires_at) else {
            return Ok(RejectOutcome::NotFound);
        };
        match row.state {
            PendingState::Approved => return Ok(RejectOutcome::Approved),
            PendingState::Rejected => return Ok(RejectOutcome::Rejected),
            PendingState::Waiting => {}
        }
        row.state = PendingState::Rejected;
        state.write_audit(audit);
        Ok(RejectOutcome::Rejected)
    }

    async fn claim_pending(
        &self,
        key: &AgentKey,
        challenge: &Challenge,
        next: Challenge,
        token: TokenHash,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<ClaimOutcome> {
        let mut state = self.state();
        let Some(row) = state.pending_of(key, now) else { return Ok(ClaimOutcome::Unknown) };
        let host_id = match (row.state, row.host_id) {
            (PendingState::Approved, Some(host_id)) => host_id,
            (standing, _) => return Ok(ClaimOutcome::NotApproved(standing)),
        };
        if row.challenge != *challenge {
            return Ok(ClaimOutcome::Stale);
        }
        row.challenge = next;
        let Some(host) = state.hosts.get(&host_id).cloned() else { return Ok(ClaimOutcome::Unknown) };
        state.agent_tokens.retain(|_, other| *other != host_id);
        state.agent_tokens.insert(token, host_id);
        state.write_audit(audit);
        Ok(ClaimOutcome::Claimed(Box::new(host)))
    }
}

impl State {
    fn pending_of(&mut self, key: &AgentKey, now: Timestamp) -> Option<&mut PendingHostRow> {
        self.pending_hosts.values_mut().find(|row| row.key == *key && now < row.expires_at)
    }
}
