//! What an operator can do, one method a deed, the same for the JSON API, the pages and an embedder.
//!
//! A method parses nothing and renders nothing: it takes checked values and the caller, changes the store in one commit with its audit
//! row, tells the engine, and answers with the API's own types or an [`AppError`].

#[cfg(feature = "web")]
mod accounts;
mod admin_credentials;
mod attachments;
mod audit;
mod away;
mod credentials;
mod enrolment;
mod error;
mod glance;
mod hosts;
mod idle;
mod jobs;
mod maintenance;
mod newcomer;
mod overview;
mod page;
mod pending_hosts;
mod pending_runs;
mod plans;
mod repos;
mod status;

use std::sync::Arc;

use restic_manager_core::id::UserId;
use restic_manager_core::model::{Actor, AuditEntry};
use restic_manager_core::text::LoginName;
use restic_manager_store::Store;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::random::Random;

#[cfg(feature = "web")]
pub use accounts::{Accounts, NewSession, Session, TOKEN_PREFIX, TokenCaller};
pub use admin_credentials::AdminCredentialWritten;
pub use error::{AppError, ErrorKind};
pub use glance::{FleetGlance, FleetQuery, FleetRepo, FleetRow, SIZE_DAYS, Standing};
pub use hosts::HostQuery;
pub use jobs::JobQuery;
pub use maintenance::{CheckHoldLifted, MaintenanceAsk};
pub use overview::{HostOverview, HostSeen, RepoOverview, RunnerSeen};
pub use page::ListQuery;
pub use repos::RepoQuery;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: UserId,
    /// The login name.
    pub username: LoginName,
}

impl Caller {
    /// The caller as the audit log names it.
    pub fn actor(&self) -> Actor {
        Actor::user(&self.username)
    }
}

/// Everything an operator can do.
pub struct App {
    store: Arc<dyn Store>,
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    last_glance: glance::LastGlance,
    last_away: away::LastAway,
    last_idle: idle::LastIdle,
}

impl App {
    /// Puts the façade in front of a store and an engine.
    pub fn new(
        store: Arc<dyn Store>,
        engine: Arc<Engine>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let last_glance = glance::LastGlance::default();
        let (last_away, last_idle) = (away::LastAway::default(), idle::LastIdle::default());
        Self { store, engine, clock, random, last_glance, last_away, last_idle }
    }

    /// Lets a look over the whole fleet be good for so many milliseconds: pages that many people watch then cost one look for all of
    /// them. Without this each look is a new one.
    #[must_use]
    pub fn with_glance_good_for(self, millis: i64) -> Self {
        Self { last_glance: glance::LastGlance::good_for(millis), ..self }
    }

    /// The store behind it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The clock it goes by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Its source of randomness.
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.random
    }

    pub(crate) fn audit_of(
        &self,
        caller: &Caller,
        action: &str,
        subject: (&str, String),
        detail: impl IntoIterator<Item = (&'static str, serde_json::Value)>,
    ) -> AuditEntry {
        self.engine.audit(caller.actor(), action, subject, detail)
    }
}
