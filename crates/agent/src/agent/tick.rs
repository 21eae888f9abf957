//! What happens because time passed.

use std::time::Duration;

use restic_manager_core::duty;
use restic_manager_core::time::{DAY, MINUTE, SECOND, Timestamp};
use restic_manager_core::wire::AgentMessage;
use tracing::{info, warn};

use super::{Agent, JobRunner, LONGEST_SLEEP, NextSlot, ResticSeen, Status, WaitingRun};
use crate::clock;
use crate::ledger::Ledger;
use crate::spool::Spool;

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
    /// When slots that the machine slept through may fire.
    settle_at: Option<i64>,
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
            settle_at: None,
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

/// Takes in the fires that an agent spooled and had no time to write into the ledger: the slots they counted as missed must not be
/// counted again by the next one.
pub(super) fn take_in_fires(spool: &Spool, ledger: &mut Ledger) {
    for (schedule, slot) in spool.unacknowledged_fires() {
        if ledger.last_fired(schedule) != Some(slot)
            && let Err(error) = ledger.fired(schedule, slot)
        {
            warn!(%error, %schedule, %slot, "that a slot fired is not written down yet");
        }
    }
}

impl<R: JobRunner> Agent<R> {
    /// Does everything whose time has come.
    pub(super) fn tick(&mut self) {
        let reading = clock::read();
        let (wall, now) = (reading.wall, reading.boot);
        let looked = self.clock.look(reading);
        if let Some(by) = looked.step {
            warn!(
                seconds = by / SECOND,
                "the wall clock was set; slots it jumped over wait for the server's word"
            );
            self.timers.slots_changed();
        }
        if let Some(slept_for) = looked.slept_for {
            info!(seconds = slept_for / SECOND, "the machine slept");
            self.timers.slots_changed();
        }
        if self.connected.is_some() {
            self.contact.keep(&self.state, wall, now);
        }
        self.fire(wall, now);
        self.work_alone(wall, now);
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
        // While the disk is full no slot fires, however late it is: the next try to store what was said comes first.
        let fires = [slot, timers.settle_at].map(|at| at.filter(|_| self.unsaid.is_empty()));
        let others =
            [timers.sync_at, timers.status_at, timers.retry_at, self.own.look_at(), Some(timers.look_at)];
        let next = fires.into_iter().chain(others);
        let next = next.flatten().min().unwrap_or(i64::MAX);
        Duration::from_millis(next.saturating_sub(now).max(0).unsigned_abs()).min(LONGEST_SLEEP)
    }

    /// Says which schedules are due.
    ///
    /// A fire stays in the spool until the server acknowledged it, so a server that is away hears of it on its return.
    fn fire(&mut self, wall: Timestamp, now: i64) {
        let settled = self.timers.settle_at.is_some_and(|at| now >= at);
        let waits = self.timers.next_slot.is_some_and(|slot| slot.is_none_or(|slot| wall < slot));
        if waits && !settled || !self.unsaid.is_empty() {
            return;
        }
        let none = duty::Fires::default();
        let due = |plan| duty::fires_settled(plan, self.ledger.book(), &self.clock.clocks(), self.settle);
        let fires = self.ledger.plan().map_or(none, due);
        for fire in fires.due {
            info!(schedule = %fire.schedule_id, slot = %fire.slot, missed = fire.missed, "a schedule fires");
            let (schedule, slot) = (fire.schedule_id, fire.slot);
            self.say(AgentMessage::ScheduleFire(fire));
            // Spool first: whoever crashes between the two fires again, and the server takes one slot once.
            let noted = self.ledger.fired(schedule, slot);
            self.noted(noted);
        }
        self.timers.settle_at = fires.settles_in.map(|wait| now.saturating_add(wait));
        let next = self.ledger.plan().and_then(|plan| Some(duty::next_slots(plan, wall).first()?.0));
        self.timers.next_slot = Some(next);
        self.timers.status_changed();
    }

    fn store_what_waits(&mut self, now: i64) {
        if self.timers.retry_at.is_some_and(|at| now >= at) {
            self.timers.retry_at = None;
            let written = self.ledger.write_what_waits();
            self.noted(written);
            self.retry_unsaid();
            self.retry_unstored();
        }
        if !self.unsaid.is_empty() || self.told.waits() || self.ledger.waits() {
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
            self.session_gone();
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
        let next = self.ledger.plan().map(|plan| duty::next_slots(plan, now)).unwrap_or_default();
        let next = next.into_iter().take(10);
        let waiting = self.own.waiting().iter().map(|own| WaitingRun { run: own.run, attempt: own.attempt });
        let wait = |at: i64| now + at.saturating_sub(clock::boot()).max(0);
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host_id: self.enrolment.host_id,
            server: self.server.to_string(),
            started_at: self.started_at,
            written_at: now,
            connected_since: self.connected.map(|(since, _)| since),
            epoch: self.connected.map(|(_, epoch)| epoch),
            last_contact: self.contact.at(),
            alone_since: self.own.away_since(),
            stopped_alone: self.own.away_since().is_some() && self.has_stopped_alone(now),
            waiting_runs: waiting.collect(),
            next_own_look: self.own.look_at().map(wait),
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
