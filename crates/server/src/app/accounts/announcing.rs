//! The door for agents without a token: announce, wait for a person, claim.

use std::net::IpAddr;

use ed25519_dalek::VerifyingKey;
use restic_manager_core::announce::{AgentKey, HexBytes, PendingState, Signature, announcement, claim};
use restic_manager_core::api::{AnnounceRequest, Announced, ClaimRequest, EnrollResponse};
use restic_manager_core::id::PendingHostId;
use restic_manager_core::model::{Actor, ActorKind};
use restic_manager_core::time::HOUR;
use restic_manager_store::{AnnounceOutcome, ClaimOutcome, PendingHostRow};

use super::Accounts;
use crate::app::enrolment::AGENT_PREFIX;
use crate::app::newcomer::{Said, name_of_machine};
use crate::app::pending_hosts::fingerprint;
use crate::app::{AppError, ErrorKind};
use crate::random::token_hash;

/// How many may wait at once: more than a person would look through.
const AT_MOST: u32 = 100;
const LIFETIME: i64 = HOUR;

impl Accounts {
    /// Takes an announcement, which waits for a person; the same key again renews its hour and says how it stands.
    ///
    /// # Errors
    ///
    /// When the signature is not that of the key, a text is too long, as many wait as may, or the store fails.
    pub async fn announce(&self, request: AnnounceRequest, address: IpAddr) -> Result<Announced, AppError> {
        check(&request.public_key, &request.signature, &announcement(&request))?;
        let AnnounceRequest { public_key: key, machine_id, os_hostname, agent_version, os, arch, .. } =
            &request;
        let facts = Said { machine_id, os_hostname, agent_version, os, arch }.facts()?;
        let now = self.app.clock.now();
        let row = PendingHostRow {
            id: PendingHostId::mint(now, self.app.random.id_bytes()),
            key: *key,
            challenge: self.challenge(),
            facts,
            address: address.to_string(),
            announced_at: now,
            expires_at: now + LIFETIME,
            state: PendingState::Waiting,
            host_id: None,
        };
        let print = fingerprint(key);
        let audit = self.app.engine.audit(
            Actor { kind: ActorKind::Agent, name: print.to_string() },
            "host.announced",
            ("pending_host", row.id.to_string()),
            [
                ("name", name_of_machine(&row.facts).to_string().into()),
                ("fingerprint", print.to_string().into()),
                ("address", row.address.clone().into()),
            ],
        );
        match self.app.store.announce(row.clone(), AT_MOST, audit).await? {
            AnnounceOutcome::New => {
                tracing::info!(fingerprint = %print, address = row.address, "a host announced itself and waits to be approved");
                Ok(standing(&row))
            }
            AnnounceOutcome::Known(known) => Ok(standing(&known)),
            AnnounceOutcome::Full => Err(AppError::new(
                ErrorKind::Unavailable,
                "too_many_pending",
                format!("{AT_MOST} announced hosts wait already"),
            )
            .hint("ask the operator to approve or reject some (`rmctl host pending`), or to make an enrolment token")),
        }
    }

    /// How the announcement of a key stands.
    ///
    /// # Errors
    ///
    /// When there is none or its time is over, or the store fails.
    pub async fn announced(&self, key: &AgentKey) -> Result<Announced, AppError> {
        let row = self.app.store.pending_host_by_key(key, self.app.clock.now()).await?;
        Ok(standing(&row.ok_or_else(|| not_announced(key))?))
    }

    /// Gives an approved agent its token, for a signature over the challenge; an earlier token of it is worth nothing from then on.
    ///
    /// # Errors
    ///
    /// When the key is not announced or not approved, the signature is not that of the key over the present challenge, or the store
    /// fails.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<EnrollResponse, AppError> {
        let key = &request.public_key;
        let now = self.app.clock.now();
        let Some(row) = self.app.store.pending_host_by_key(key, now).await? else {
            return Err(not_announced(key));
        };
        check(key, &request.signature, &claim(key, &row.challenge))?;
        let print = fingerprint(key);
        let audit = self.app.engine.audit(
            Actor { kind: ActorKind::Agent, name: row.host_id.map(|id| id.to_string()).unwrap_or_default() },
            "host.enrolled",
            ("host", row.host_id.map(|id| id.to_string()).unwrap_or_default()),
            [
                ("fingerprint", print.to_string().into()),
                ("os_hostname", row.facts.os_hostname.clone().into()),
                ("pending_host_id", row.id.to_string().into()),
            ],
        );
        let token = self.app.random.mint_token(AGENT_PREFIX);
        let (next, hash) = (self.challenge(), token_hash(&token));
        match self.app.store.claim_pending(key, &row.challenge, next, hash, now, audit).await? {
            ClaimOutcome::Claimed(host) => {
                Ok(EnrollResponse { host_id: host.id, name: host.name, agent_token: token })
            }
            ClaimOutcome::Unknown => Err(not_announced(key)),
            ClaimOutcome::NotApproved(state) => Err(not_approved(key, state)),
            ClaimOutcome::Stale => Err(wrong_signature()),
        }
    }

    fn challenge(&self) -> HexBytes<32> {
        let mut bytes = [0; 32];
        self.app.random.fill(&mut bytes);
        HexBytes(bytes)
    }
}

fn standing(row: &PendingHostRow) -> Announced {
    Announced {
        state: row.state,
        fingerprint: fingerprint(&row.key),
        challenge: row.challenge,
        expires_at: row.expires_at,
    }
}

/// Strict: of a weak key, and of signatures that other keys would fit too, nothing follows.
fn check(key: &AgentKey, signature: &Signature, signed: &[u8]) -> Result<(), AppError> {
    let key = VerifyingKey::from_bytes(&key.0).ok().filter(|key| !key.is_weak()).ok_or_else(|| {
        AppError::invalid("public_key", "it is no Ed25519 public key")
            .hint("remove `secrets.age` of an agent that was never enrolled, and announce it anew")
    })?;
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(signed, &signature).map_err(|_| wrong_signature())
}

fn wrong_signature() -> AppError {
    AppError::new(
        ErrorKind::Unauthenticated,
        "wrong_signature",
        "the signature is not that of the key over what is expected",
    )
    .hint("a challenge is good once: ask for the present one with POST /api/agents/announce/state")
}

fn not_announced(key: &AgentKey) -> AppError {
    let message = format!("no announcement waits under the fingerprint {}", fingerprint(key));
    AppError::new(ErrorKind::NotFound, "not_announced", message)
        .hint("announcements are forgotten after an hour, and with their host: announce again")
}

fn not_approved(key: &AgentKey, state: PendingState) -> AppError {
    let print = fingerprint(key);
    match state {
        PendingState::Waiting | PendingState::Approved => AppError::new(
            ErrorKind::Forbidden,
            "not_approved",
            format!("the agent with the fingerprint {print} waits to be approved"),
        )
        .hint("compare the fingerprint on the server's dashboard, or with `rmctl host pending`, and approve it there"),
        PendingState::Rejected => AppError::new(
            ErrorKind::Forbidden,
            "rejected",
            format!("the agent with the fingerprint {print} was rejected by an operator"),
        )
        .hint("ask the operator; the same key is refused until an hour after its announcement"),
    }
}
