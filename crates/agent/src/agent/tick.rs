//! What happens because time passed.

use std::time::Duration;

use restic_manager_core::time::{DAY, MINUTE, SECOND, Timestamp};
use restic_manager_core::wire::AgentMessage;
use tracing::{info, warn};

use super::{Agent, JobRunner, LONGEST_SLEEP, NextSlot, ResticSeen, Status, firing};
use crate::clock;

/// How often restic is looked for: a look at the file, unless it changed.
const LOOK_EVERY: i64 = MINUTE;

/// When what is to be done next, on the boot clock in milliseconds.
#[derive(Debug)]
pub(super) struct Timers {
    sync_at: Option<i64>,
    status_at: Option<i64>,
    status_written: i64,
    retry_at: Option<i64>,
    look_at: i64,
    prune_at: i64,
    /// The next slot on the wall clock; unknown after a change.
    next_slot: Option<Option<Timestamp>>,
}

impl Timers {
    pub(super) const fn new(now: i64) -> Self {
        Self {
            sync_at: None,
            status_at: Some(now),
            status_written: i64::MIN / 2,
            retry_at: None,
            look_at: now + LOOK_EVERY,
            prune_at: now + DAY,
            next_slot: None,
        }
    }

    /// `status` would say something else: it is written within a second.
    pub(super) fn status_changed(&mut self) {
        self.status_at = self.status_at.or(Some(self.status_written + SECOND));
    }

    /// The plan or the clock changed.
    pub(super) const fn slots_changed(&mut self) {
        self.next_slot = None;
    }
}

impl<R: JobRunner> Agent<R> {
    /// Does everything whose time has come.
    pub(super) fn tick(&mut self) {
        let (wall, now) = (clock::wall(), clock::boot());
        if let Some(step) = self.clock.look(wall, now) {
            warn!(
                seconds = step.by / SECOND,
                "the wall clock was set; slots it jumped over wait for the server's word"
            );
            self.timers.slots_changed();
        }
        self.fire(wall);
        self.store_what_waits(now);
        if now >= self.timers.look_at && self.looking.is_none() {
            self.timers.look_at = now + LOOK_EVERY;
            let runner = std::sync::Arc::clone(&self.runner);
            self.looking = Some(tokio::spawn(async move { runner.look().await }));
        }
        if now >= self.timers.prune_at {
            self.timers.prune_at = now + DAY;
            let pruned = self.ledger.prune(wall);
            self.noted(pruned);
        }
        if self.timers.status_at.is_some_and(|at| now >= at) {
            self.write_status();
        }
    }

    /// How long nothing needs to be done.
    pub(super) fn pause(&self) -> Duration {
        let now = clock::boot();
        let timers = &self.timers;
        let slot =
            timers.next_slot.flatten().map(|slot| now + slot.millis_since(clock::wall()).clamp(0, DAY));
        let next = [timers.sync_at, timers.status_at, timers.retry_at, Some(timers.look_at), slot];
        let next = next.into_iter().flatten().min().unwrap_or(i64::MAX);
        Duration::from_millis(next.saturating_sub(now).max(0).unsigned_abs()).min(LONGEST_SLEEP)
    }

    /// Says which schedules are due.
    ///
    /// A fire stays in the spool until the server acknowledged it, so a server that is away hears of it on its return.
    /// Doing the work without the server begins here: a slot whose fire was not answered for long enough would be
    /// claimed in the ledger and begun as an [`Assignment`](super::Assignment) of the agent's own.
    fn fire(&mut self, wall: Timestamp) {
        if self.timers.next_slot.is_some_and(|slot| slot.is_none_or(|slot| wall < slot)) {
            return;
        }
        if !self.unsaid.is_empty() {
            return;
        }
        for fire in firing::due_fires(&self.ledger, &self.clock, wall) {
            info!(schedule = %fire.schedule_id, slot = %fire.slot, missed = fire.missed, "a schedule fires");
            let (schedule, slot) = (fire.schedule_id, fire.slot);
            self.say(AgentMessage::ScheduleFire(fire));
            // Spool first: whoever crashes between the two fires again, and the server takes one slot once.
            let noted = self.ledger.fired(schedule, slot);
            self.noted(noted);
        }
        self.timers.next_slot = Some(firing::next_slots(&self.ledger, wall).first().map(|(slot, _)| *slot));
        self.timers.status_changed();
    }

    fn store_what_waits(&mut self, now: i64) {
        if self.timers.retry_at.is_some_and(|at| now >= at) {
            self.timers.retry_at = None;
            self.retry_unsaid();
            self.retry_unstored();
        }
        if !self.unsaid.is_empty() || self.told.waits() {
            self.timers.retry_at = self.timers.retry_at.or(Some(now + SECOND));
        }
        if self.timers.sync_at.is_some_and(|at| now >= at) {
            self.timers.sync_at = None;
            if let Err(error) = self.spool.sync() {
                self.trouble(format!("the spool cannot be synced: {error}"));
            }
        }
        if self.spool.is_dirty() {
            self.timers.sync_at = self.timers.sync_at.or(Some(now + SECOND));
        }
    }

    /// A restic that came, went or changed is told by a new hello.
    pub(super) fn saw_restic(&mut self, seen: ResticSeen) {
        if seen == self.restic {
            return;
        }
        match (&seen.version, &seen.problem) {
            (Some(version), _) => info!(version, "restic was found"),
            (None, problem) => warn!("{}", problem.as_deref().unwrap_or("there is no usable restic")),
        }
        self.restic = seen;
        self.timers.status_changed();
        if self.session.is_live() {
            self.connected = None;
            self.secrets.forget_passing();
            self.session.start_over(&self.spool);
        }
    }

    pub(super) fn write_status(&mut self) {
        self.timers.status_at = None;
        self.timers.status_written = clock::boot();
        let status = self.status();
        if let Err(error) = status.store(&self.state) {
            warn!(%error, "the status file cannot be written");
        }
    }

    fn status(&self) -> Status {
        let now = clock::wall();
        let next = firing::next_slots(&self.ledger, now);
        let next = next.into_iter().take(10);
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host_id: self.enrolment.host_id,
            server: self.server.to_string(),
            started_at: self.started_at,
            written_at: now,
            connected_since: self.connected.map(|(since, _)| since),
            epoch: self.connected.map(|(_, epoch)| epoch),
            schedule_version: self.schedule_version(),
            jobs: self.lanes.iter().map(super::jobs::ActiveJob::running_now).collect(),
            spooled_messages: self.spool.waiting(),
            spool_bytes: self.spool.bytes(),
            next_slots: next
                .map(|(at, schedule)| NextSlot { schedule_id: schedule.schedule_id, at })
                .collect(),
            restic_version: self.restic.version.clone(),
            restic_problem: self.restic.problem.clone(),
            last_error: self.last_error.clone(),
        }
    }
}
