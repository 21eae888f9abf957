//! The control plane without any HTTP: it admits jobs, sends them to agents, and takes in what agents report.
//!
//! Read a view, let the pure core decide, commit at the revisions that were read, then send. Whoever changes something that may
//! let a job start calls [`Engine::poke`], which carries no data; a lost poke costs a few seconds, because the loop looks
//! by itself as well.

mod adopt;
mod attest;
mod clockwatch;
mod connection;
mod credentials;
mod drain;
mod feed;
mod ingest;
mod locks;
mod maintenance;
mod payload;
mod plan;
mod session;
mod sessions;
mod tick;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use restic_manager_core::id::{AuditId, HostId, JobId, RepoId};
use restic_manager_core::model::{Actor, AuditEntry, Hold};
use restic_manager_core::time::Timestamp;
use restic_manager_store::{Store, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::random::Random;
use crate::vault::{Vault, VaultError};
use clockwatch::ClockWatch;

pub use connection::Connections;
pub use drain::DrainReport;
pub use feed::{Feed, FeedEvent, FleetEvent};
pub use ingest::Incoming;
pub use maintenance::MaintainReport;
pub(crate) use maintenance::{forget_needs, keeps_admin, settings_of};
pub(crate) use payload::forget_needs_admin;
pub use session::{Greeting, HelloRefused};
pub use sessions::{Dispatch, Outgoing, SendError, SessionHandle, Sessions};
pub use tick::TickReport;

/// A fault of the engine: the same call may succeed later.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored credential could not be opened or written.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// A job that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    host_id: HostId,
    /// On the monotonic clock.
    heard_at: i64,
}

/// When the engine last did what it does now and then, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    flushed: i64,
    swept: i64,
    maintained: i64,
    drained: i64,
}

impl Default for Rounds {
    /// Nothing was done yet: all of it is due.
    fn default() -> Self {
        Self { flushed: i64::MIN, swept: i64::MIN, maintained: i64::MIN, drained: i64::MIN }
    }
}

/// The control plane: one per process, shared by reference.
pub struct Engine {
    store: Arc<dyn Store>,
    dispatch: Arc<dyn Dispatch>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    feed: Feed,
    holds: Mutex<BTreeMap<JobId, Hold>>,
    seen: Mutex<BTreeMap<HostId, Timestamp>>,
    /// Whether a sign of life is stored with the next round.
    flush_soon: AtomicBool,
    /// Jobs whose start was taken in, the hosts that run them, and when those last said something of them.
    running: Mutex<BTreeMap<JobId, Running>>,
    /// Hosts that said hello lately, with the number of the session and when it is steady, on the monotonic clock.
    settling: Mutex<BTreeMap<HostId, (i64, i64)>>,
    /// Jobs that found their repository known under another name.
    twins: Mutex<BTreeMap<JobId, String>>,
    /// Held from reading a plan or a credential until it is handed to the connection: two changes reach an agent in their order.
    pushes: tokio::sync::Mutex<()>,
    clocks: Mutex<ClockWatch>,
    /// Jobs that are not sent again before an instant of the monotonic clock.
    deferred: Mutex<BTreeMap<JobId, i64>>,
    /// Repositories whose admin credential could not be read, until an instant of the monotonic clock.
    unreadable: Mutex<BTreeMap<RepoId, i64>>,
    /// The locks on each repository that their owners were asked about.
    sightings: Mutex<BTreeMap<RepoId, BTreeSet<String>>>,
    poke: Notify,
}

impl Engine {
    /// Puts an engine together; nothing runs until [`Engine::run`].
    pub fn new(
        store: Arc<dyn Store>,
        dispatch: Arc<dyn Dispatch>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            store,
            dispatch,
            vault,
            clock,
            random,
            feed: Feed::default(),
            holds: Mutex::default(),
            seen: Mutex::default(),
            flush_soon: AtomicBool::default(),
            running: Mutex::default(),
            settling: Mutex::default(),
            twins: Mutex::default(),
            pushes: tokio::sync::Mutex::default(),
            clocks: Mutex::default(),
            deferred: Mutex::default(),
            unreadable: Mutex::default(),
            sightings: Mutex::default(),
            poke: Notify::new(),
        }
    }

    /// Something changed: look soon. Carries no data and never waits.
    pub fn poke(&self) {
        self.poke.notify_one();
    }

    /// Why a job waited when the engine last looked.
    pub fn hold(&self, job_id: JobId) -> Option<Hold> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).get(&job_id).cloned()
    }

    /// An agent gave a sign of life; it is stored with those of all others within a minute.
    pub fn seen(&self, host_id: HostId) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(host_id, self.now());
    }

    /// The connection of an agent ended: its last sign of life, stored with the next round, so that nobody is told an older one.
    pub fn departed(&self, host_id: HostId) {
        self.seen(host_id);
        self.flush_soon.store(true, Ordering::Relaxed);
        self.poke();
    }

    /// An agent gave a sign of life and said what its clock shows.
    pub fn heartbeat(&self, host_id: HostId, clock: Timestamp) {
        self.seen(host_id);
        let mark = self.clock.monotonic_ms();
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner).heard(host_id, clock, mark);
    }

    /// Stores the signs of life that were noted.
    ///
    /// # Errors
    ///
    /// When the store fails; they are noted again by the next heartbeats.
    pub async fn flush_seen(&self) -> Result<(), EngineError> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let seen: Vec<(HostId, Timestamp)> = seen.into_iter().collect();
        if !seen.is_empty() {
            self.store.touch_hosts(&seen).await?;
        }
        Ok(())
    }

    /// What followers of jobs are told.
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Where messages to agents go.
    pub fn dispatch(&self) -> &dyn Dispatch {
        &*self.dispatch
    }

    /// Works until `shutdown`: on every poke, and every few seconds without one.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut rounds = Rounds::default();
        let mut poked = false;
        loop {
            let report = self.round(&mut rounds, poked).await;
            if report.is_some_and(|report| report.stale > 0) {
                self.poke();
            }
            let pause = std::time::Duration::from_millis(tick::LOOK_EVERY);
            poked = tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.poke.notified() => true,
                () = tokio::time::sleep(pause) => false,
            }
        }
    }

    /// One round of [`Engine::run`]: everything whose time has come, then admission. What fails is logged, and tried again in a later round.
    ///
    /// For whoever brings a loop of their own; `rounds` is kept from one call to the next, and `poked` says that something changed.
    pub async fn round(&self, rounds: &mut Rounds, poked: bool) -> Option<TickReport> {
        let now = self.clock.monotonic_ms();
        let soon = self.flush_soon.swap(false, Ordering::Relaxed);
        if soon || now.saturating_sub(rounds.flushed) >= tick::FLUSH_SEEN_EVERY {
            rounds.flushed = now;
            logged(self.flush_seen().await, "signs of life were not stored");
        }
        if now.saturating_sub(rounds.swept) >= tick::SWEEP_EVERY {
            rounds.swept = now;
            logged(self.sweep().await, "the sweep failed; it is tried again");
        }
        if poked || now.saturating_sub(rounds.maintained) >= maintenance::MAINTAIN_EVERY {
            rounds.maintained = now;
            logged(self.maintain().await, "maintenance was not decided; it is tried again");
        }
        if now.saturating_sub(rounds.drained) >= drain::DRAIN_EVERY {
            rounds.drained = now;
            logged(self.drain().await, "pending runs were not drained; it is tried again");
        }
        logged(self.drain_settled().await, "pending runs of a host that came back were not drained");
        logged(self.tick().await, "admission failed; it is tried again")
    }

    /// Jobs of hosts in contact of which nothing was heard for so long, in milliseconds, each with how long that is. Whoever is out of
    /// contact is none of them: that is another matter.
    pub fn quiet_jobs(&self, for_ms: i64) -> Vec<(JobId, i64)> {
        let now = self.clock.monotonic_ms();
        let quiet = |(job_id, running): (&JobId, &Running)| {
            let silent = now.saturating_sub(running.heard_at);
            let in_contact = self.dispatch.epoch(running.host_id).is_some();
            (in_contact && silent >= for_ms).then_some((*job_id, silent))
        };
        self.running().iter().filter_map(quiet).collect()
    }

    fn runs(&self, job_id: JobId, host_id: HostId) {
        let heard_at = self.clock.monotonic_ms();
        self.running().insert(job_id, Running { host_id, heard_at });
    }

    /// An agent said something of a job; whether it is one that this host runs.
    fn heard_of(&self, job_id: JobId, host_id: HostId) -> bool {
        let now = self.clock.monotonic_ms();
        match self.running().get_mut(&job_id).filter(|running| running.host_id == host_id) {
            Some(running) => {
                running.heard_at = now;
                true
            }
            None => false,
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<JobId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn twins(&self) -> MutexGuard<'_, BTreeMap<JobId, String>> {
        self.twins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn id_bytes(&self) -> [u8; 10] {
        self.random.id_bytes()
    }

    pub(crate) fn audit(
        &self,
        actor: Actor,
        action: &str,
        subject: (&str, String),
        detail: impl IntoIterator<Item = (&'static str, serde_json::Value)>,
    ) -> AuditEntry {
        let at = self.now();
        AuditEntry {
            id: AuditId::mint(at, self.id_bytes()),
            at,
            actor,
            action: action.to_owned(),
            subject_kind: subject.0.to_owned(),
            subject_id: subject.1,
            detail: detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }
}

/// What came out; a failure is logged, because the next round tries again.
fn logged<T>(result: Result<T, EngineError>, what: &'static str) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(error = %chain(error), "{what}")).ok()
}

/// An error with all its causes on one line, for a log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
