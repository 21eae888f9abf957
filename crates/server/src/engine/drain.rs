//! Pending runs: their attempts are made when they are due, or when their host is back.

use std::sync::PoisonError;

use restic_manager_core::id::{HostId, RunId};
use restic_manager_core::model::{Actor, ActorKind, AuditEntry, JobKind};
use restic_manager_core::pending::{Decision, PendingView, Presence, Trigger, decide};
use restic_manager_core::time::{SECOND, Timestamp};
use restic_manager_store::{Becomes, PendingRow, Settled, Settlement};

use super::{Engine, EngineError};

/// The pause between two looks at what is due, in milliseconds.
pub(super) const DRAIN_EVERY: i64 = 30 * SECOND;
/// How long a session stands before the pending runs of its host are looked at, in milliseconds: one that flaps starts nothing.
const STEADY_AFTER: i64 = 5 * SECOND;
/// How many runs are settled in one commit.
const AT_ONCE: u32 = 2_000;
/// Of how many hosts that came back the runs are read at a time.
const HOSTS_AT_ONCE: usize = 500;

/// What one drain brought about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Runs that got an attempt.
    pub attempted: usize,
    /// Runs whose attempt was planned for later.
    pub planned: usize,
    /// Runs that were given up.
    pub abandoned: usize,
    /// Runs that somebody else settled meanwhile.
    pub stale: usize,
}

impl Engine {
    /// Settles all pending runs that are due and whose host is connected, and those whose schedule or group stands in the way.
    ///
    /// # Errors
    ///
    /// When the store fails; what was not settled is found by the next drain.
    pub async fn drain(&self) -> Result<DrainReport, EngineError> {
        let mut report = DrainReport::default();
        let online = self.dispatch.online();
        loop {
            let now = self.now();
            let due = self.store.pending_due(&online, now, AT_ONCE).await?;
            let before = report;
            self.settle_pending(&due, Trigger::Due, &mut report, now).await?;
            let settled = report.attempted + report.planned + report.abandoned;
            let any = settled > before.attempted + before.planned + before.abandoned;
            if due.len() < AT_ONCE as usize || !any {
                return Ok(report);
            }
        }
    }

    /// Settles the pending runs of hosts that are back: what was lost or never sent is released, what failed keeps its time.
    ///
    /// # Errors
    ///
    /// When the store fails; what was not settled is found when it is due.
    pub async fn drain_hosts(&self, host_ids: &[HostId]) -> Result<DrainReport, EngineError> {
        let mut report = DrainReport::default();
        for some in host_ids.chunks(HOSTS_AT_ONCE) {
            for rows in self.store.pending_of_hosts(some).await?.chunks(AT_ONCE as usize) {
                self.settle_pending(rows, Trigger::Hello, &mut report, self.now()).await?;
            }
        }
        Ok(report)
    }

    /// Makes the attempt that a run owes now; answers whether it owed one and its host is there.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn drain_run(&self, id: RunId) -> Result<DrainReport, EngineError> {
        let mut report = DrainReport::default();
        let row = self.store.pending_run(id).await?;
        self.settle_pending(row.as_slice(), Trigger::Asked, &mut report, self.now()).await?;
        Ok(report)
    }

    /// Drains the hosts whose sessions have become steady.
    pub(super) async fn drain_settled(&self) -> Result<(), EngineError> {
        self.drain_hosts(&self.take_steady()).await.map(|_| ())
    }

    /// A host said hello: its pending runs are looked at as soon as its session is steady.
    pub(super) fn settle_soon(&self, host_id: HostId, epoch: i64) {
        let steady_at = self.clock.monotonic_ms().saturating_add(STEADY_AFTER);
        self.settling.lock().unwrap_or_else(PoisonError::into_inner).insert(host_id, (epoch, steady_at));
    }

    fn take_steady(&self) -> Vec<HostId> {
        let now = self.clock.monotonic_ms();
        let mut settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let over: Vec<(HostId, i64)> = settling
            .iter()
            .filter(|(_, (_, steady_at))| now >= *steady_at)
            .map(|(host_id, (epoch, _))| (*host_id, *epoch))
            .collect();
        for (host_id, _) in &over {
            settling.remove(host_id);
        }
        let stands = |(host_id, epoch): &(HostId, i64)| self.dispatch.epoch(*host_id) == Some(*epoch);
        over.into_iter().filter(stands).map(|(host_id, _)| host_id).collect()
    }

    async fn settle_pending(
        &self,
        rows: &[PendingRow],
        trigger: Trigger,
        report: &mut DrainReport,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let settlements: Vec<Settlement> =
            rows.iter().filter_map(|row| self.settlement(row, trigger, now)).collect();
        if settlements.is_empty() {
            return Ok(());
        }
        let wanted: Vec<Kind> = settlements.iter().map(|settlement| Kind::of(&settlement.becomes)).collect();
        for (kind, settled) in wanted.into_iter().zip(self.store.settle(settlements, now).await?) {
            let count = match (settled, kind) {
                (Settled::Stale, _) => &mut report.stale,
                (Settled::Done, Kind::Attempted) => &mut report.attempted,
                (Settled::Done, Kind::Planned) => &mut report.planned,
                (Settled::Done, Kind::Abandoned) => &mut report.abandoned,
            };
            *count += 1;
        }
        if report.attempted > 0 {
            self.poke();
        }
        Ok(())
    }

    /// What becomes of a pending run; none where it stays as it is.
    fn settlement(&self, row: &PendingRow, trigger: Trigger, now: Timestamp) -> Option<Settlement> {
        let is_there = self.dispatch.epoch(row.run.host_id).is_some();
        let presence = if is_there { Presence::Online } else { Presence::Offline };
        let view = PendingView {
            attempt: row.run.attempt,
            pending: row.owed,
            schedule: row.schedule,
            retry: row.retry,
            target: row.target,
            presence,
        };
        let jitter = u32::try_from(self.random.number() % 1_001).unwrap_or(0);
        let becomes = match decide(&view, trigger, jitter, now) {
            Decision::WaitUntil(at) if at == row.owed.next_attempt_at => return None,
            Decision::WaitUntil(at) => Becomes::Planned(at),
            Decision::Dispatch => Becomes::Attempted(Box::new(self.attempt_of(row))),
            Decision::Abandon(why) => {
                let why = why.sentence();
                tracing::warn!(
                    host = %row.names.host, repo = %row.names.repo, group = %row.names.group, slot = %row.run.key.slot,
                    attempt = row.run.attempt, why, "a run is given up"
                );
                let audit = self.abandoned(row, Actor::system(), "pending_run.abandoned", why);
                Becomes::Abandoned { why: why.to_owned(), audit }
            }
        };
        Some(Settlement { run_id: row.run.id, owed: row.owed, becomes })
    }

    fn attempt_of(&self, row: &PendingRow) -> restic_manager_core::model::Job {
        let key = row.run.key;
        let actor = Actor { kind: ActorKind::Schedule, name: row.names.schedule.clone() };
        let mut job = self.new_job(JobKind::Backup, row.run.host_id, key.repo_id, actor);
        job.group_id = Some(key.group_id);
        job.run_id = Some(row.run.id);
        job.slot = Some(key.slot);
        job
    }

    /// What is written down when a run is given up.
    pub(crate) fn abandoned(
        &self,
        row: &PendingRow,
        actor: Actor,
        action: &'static str,
        why: &str,
    ) -> AuditEntry {
        let names = &row.names;
        self.audit(
            actor,
            action,
            ("run", row.run.id.to_string()),
            [
                ("why", why.into()),
                ("host", names.host.clone().into()),
                ("repo", names.repo.clone().into()),
                ("group", names.group.clone().into()),
                ("schedule", names.schedule.clone().into()),
                ("slot", row.run.key.slot.to_string().into()),
                ("attempt", row.run.attempt.into()),
            ],
        )
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Attempted,
    Planned,
    Abandoned,
}

impl Kind {
    const fn of(becomes: &Becomes) -> Self {
        match becomes {
            Becomes::Attempted(_) => Self::Attempted,
            Becomes::Planned(_) => Self::Planned,
            Becomes::Abandoned { .. } => Self::Abandoned,
        }
    }
}
