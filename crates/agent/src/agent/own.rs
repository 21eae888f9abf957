//! Backups that the agent does by itself, because no server takes care of them.
//!
//! Which these are is decided by [`duty::own_runs`]. The slot is claimed in the ledger before restic starts, so that a server that comes
//! back and sends the same slot is told who has it; the story of such a job goes to the spool like any other, and its first and last
//! word carry the claim, by which the server adopts the job.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use restic_manager_core::duty::{self, OwnRun, Situation};
use restic_manager_core::id::{JobId, RepoId, ScheduleId};
use restic_manager_core::model::{CredentialKind, FinalState, JobKind, JobSummary};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::slots::Claimant;
use restic_manager_core::time::{DAY, MINUTE, Timestamp};
use restic_manager_core::wire::{
    AgentMessage, AutoUnlock, CommandRun, JobFinished, JobSpec, ScheduleSet, SlotClaim,
};
use tracing::{error, info, warn};

use super::contact::ALONE_FOR_TOO_LONG;
use super::{Agent, Assignment, JobRunner};
use crate::clock;
use crate::random;

/// The session of a job that belongs to none; those of a server begin with 1.
const NO_SESSION: i64 = 0;
/// How many own jobs a hello names at most.
const TOLD_IN_HELLO: usize = 1_000;
/// How long the agent waits when a slot cannot be claimed, in milliseconds.
const CLAIM_AGAIN: i64 = MINUTE;

/// How an agent is without its server.
#[derive(Debug)]
pub(super) struct Own {
    /// How long it waits for its server, in milliseconds.
    grace: i64,
    /// After how many milliseconds without a server it stops; none for never.
    stops_after: Option<i64>,
    /// Since when no session has stood, on the boot clock and the wall; none while one stands.
    away: Option<(i64, Timestamp)>,
    /// Since when fires wait to be acknowledged, on the boot clock.
    unanswered: BTreeMap<(ScheduleId, Timestamp), i64>,
    /// When there may be something to do, on the boot clock.
    look_at: Option<i64>,
    /// What is to be begun and cannot yet.
    waiting: Vec<OwnRun>,
    /// Of which slots, and of which repository where it is the one to blame, it was said why they wait.
    told: BTreeSet<(ScheduleId, Timestamp, Option<RepoId>)>,
}

impl Own {
    pub(super) fn new(grace: Duration, stops_after: Option<Duration>, wall: Timestamp, now: i64) -> Self {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Self {
            grace: millis(grace),
            stops_after: stops_after.map(millis),
            away: Some((now, wall)),
            unanswered: BTreeMap::new(),
            look_at: None,
            waiting: Vec::new(),
            told: BTreeSet::new(),
        }
    }

    /// When there may be something to do, on the boot clock.
    pub(super) const fn look_at(&self) -> Option<i64> {
        self.look_at
    }

    /// Since when no session has stood; none while one stands.
    pub(super) fn away_since(&self) -> Option<Timestamp> {
        self.away.map(|(_, wall)| wall)
    }

    /// What is to be begun and cannot yet.
    pub(super) fn waiting(&self) -> &[OwnRun] {
        &self.waiting
    }

    /// A session stands.
    pub(super) const fn session_stands(&mut self) {
        self.away = None;
    }

    /// No session stands.
    pub(super) fn session_gone(&mut self, wall: Timestamp, now: i64) {
        self.away = self.away.or(Some((now, wall)));
    }
}

/// Leaves the oldest own jobs out of what hello tells, for after months alone it must still fit a frame.
///
/// The server learns of those that are left out from their own first word; if it sends their slots before, it is told who has them.
/// Jobs that it sent are all told: it would take them for lost.
pub(super) fn leave_out_old(jobs: &mut Vec<JobId>, is_own: impl Fn(JobId) -> bool) {
    let mut surplus = jobs.iter().filter(|job| is_own(**job)).count().saturating_sub(TOLD_IN_HELLO);
    jobs.retain(|job| {
        let goes = surplus > 0 && is_own(*job);
        surplus -= usize::from(goes);
        !goes
    });
}

/// On whose word a job was begun, as its command shows where the ledger does not know.
pub(super) const fn claimant(command: &CommandRun) -> Claimant {
    if command.epoch == NO_SESSION { Claimant::Agent } else { Claimant::Server }
}

/// The end of an own job of which nobody can say how it ended.
pub(super) fn lost_end(claim: SlotClaim, now: Timestamp) -> JobFinished {
    JobFinished {
        job_id: claim.job_id,
        at: now,
        state: FinalState::Failed,
        class: OutcomeClass::Killed,
        exit_code: None,
        message: "the agent went down before restic was started, or lost what it knew of it".to_owned(),
        hint: Some(
            "look for a reboot or a lack of memory on the host; it is tried again by itself".to_owned(),
        ),
        summary: JobSummary::default(),
        run: Some(claim),
    }
}

impl<R: JobRunner> Agent<R> {
    /// Begins what nobody else does.
    pub(super) fn work_alone(&mut self, wall: Timestamp, now: i64) {
        let waited = std::mem::take(&mut self.own.waiting);
        self.own.look_at = None;
        let awake_since = self.clock.awake_since();
        let away_for = self.own.away.map(|(since, _)| now - since.max(awake_since));
        if away_for.is_some_and(|away| away >= self.own.grace) {
            self.complain_of_being_alone(wall, now);
        }
        // A server that deleted the host is not away, and an agent that stops begins nothing.
        if !self.stopping && !self.told.was_deleted() {
            self.look_for_own_runs(away_for, wall, now);
        }
        if self.own.waiting != waited {
            self.timers.status_changed();
        }
    }

    fn look_for_own_runs(&mut self, away_for: Option<i64>, wall: Timestamp, now: i64) {
        let unanswered = self.unanswered_fires(now);
        let Some(plan) = self.ledger.plan().filter(|_| away_for.is_some() || !unanswered.is_empty()) else {
            return;
        };
        let found = duty::own_runs(&Situation {
            plan,
            book: self.ledger.book(),
            away_for,
            unanswered: &unanswered,
            grace: self.own.grace,
            now: wall,
        });
        self.own.look_at = found.look_in.map(|wait| now.saturating_add(wait));
        let is_due = |slot: &(ScheduleId, Timestamp, Option<RepoId>)| {
            found.start.iter().any(|own| (own.run.schedule_id, own.run.slot) == (slot.0, slot.1))
        };
        self.own.told.retain(is_due);
        if found.start.is_empty() || self.has_stopped_alone(wall) {
            return;
        }
        self.own.waiting = found.start;
        self.begin_own_runs(wall, now);
    }

    /// For how long the newest fire of each schedule has not been acknowledged.
    fn unanswered_fires(&mut self, now: i64) -> BTreeMap<ScheduleId, i64> {
        let mut waits: BTreeSet<(ScheduleId, Timestamp)> = self.spool.unacknowledged_fires().collect();
        waits.extend(self.unsaid.iter().filter_map(|message| match message {
            AgentMessage::ScheduleFire(fire) => Some((fire.schedule_id, fire.slot)),
            AgentMessage::Hello(_)
            | AgentMessage::Heartbeat(_)
            | AgentMessage::ScheduleAck(_)
            | AgentMessage::JobRefused(_)
            | AgentMessage::JobStarted(_)
            | AgentMessage::JobProgress(_)
            | AgentMessage::LogStream(_)
            | AgentMessage::LogGap(_)
            | AgentMessage::RepoStats(_)
            | AgentMessage::SnapshotsReport(_)
            | AgentMessage::JobFinished(_) => None,
        }));
        self.own.unanswered.retain(|fire, _| waits.contains(fire));
        let mut newest = BTreeMap::new();
        for (schedule, slot) in waits {
            let since = *self.own.unanswered.entry((schedule, slot)).or_insert(now);
            if self.ledger.last_fired(schedule) == Some(slot) {
                newest.insert(schedule, now - since.max(self.clock.awake_since()));
            }
        }
        newest
    }

    fn begin_own_runs(&mut self, wall: Timestamp, now: i64) {
        // The hello that was just said knows nothing of them; what the disk has no room for comes first.
        if self.session.is_greeting() || !self.unsaid.is_empty() {
            return;
        }
        let mut waiting = Vec::new();
        for own in std::mem::take(&mut self.own.waiting) {
            if self.lanes.in_the_way(JobKind::Backup, own.run.repo_id).is_some()
                || !self.begin_own(own, wall, now)
            {
                waiting.push(own);
            }
        }
        self.own.waiting = waiting;
    }

    /// Whether it was begun; why not is said once.
    fn begin_own(&mut self, own: OwnRun, wall: Timestamp, now: i64) -> bool {
        let run = own.run;
        if self.restic.version.is_none() {
            let problem = self.restic.problem.as_deref().unwrap_or("there is no usable restic");
            let why = format!("the backup of {} cannot begin without the server: {problem}", run.slot);
            self.tell_once((run.schedule_id, run.slot, None), why);
            return false;
        }
        let Ok(credential) = self.secrets.credential(run.repo_id, CredentialKind::Repo) else {
            let why = format!(
                "the backup of {} cannot begin without the server: the credential of repository {} is not here",
                run.slot, run.repo_id
            );
            self.tell_once((run.schedule_id, run.slot, Some(run.repo_id)), why);
            return false;
        };
        let job_id = JobId::mint(wall, random::bytes());
        let Some(command) = self.ledger.plan().and_then(|plan| command(plan, own, job_id)) else {
            return false;
        };
        if let Err(error) = self.ledger.claim(job_id, Some(run), own.attempt, Claimant::Agent, wall) {
            self.noted(Err(error));
            let again = now + CLAIM_AGAIN;
            self.own.look_at = Some(self.own.look_at.map_or(again, |at| at.min(again)));
            return false;
        }
        info!(
            job = %job_id, repo = %run.repo_id, slot = %run.slot, attempt = own.attempt,
            "a backup begins without the server"
        );
        let dir = self.job_dir(job_id);
        self.begin(Assignment { command, credential, dir });
        true
    }

    fn tell_once(&mut self, slot: (ScheduleId, Timestamp, Option<RepoId>), why: String) {
        if self.own.told.insert(slot) {
            error!("{why}");
            self.trouble(why);
        }
    }

    /// Since when the agent has been alone, if it is; one that never had a session is since its enrolment.
    fn alone_since(&self) -> Option<Timestamp> {
        self.own.away?;
        Some(self.contact.at().unwrap_or(self.enrolment.enrolled_at))
    }

    /// Whether scheduled backups stopped because the server is away for so long, as an operator wished.
    pub(super) fn has_stopped_alone(&self, wall: Timestamp) -> bool {
        // A clock that was set says nothing about how long it is.
        if self.clock.is_doubtful() {
            return false;
        }
        match (self.own.stops_after, self.alone_since()) {
            (Some(after), Some(since)) => wall.millis_since(since) >= after,
            (_, _) => false,
        }
    }

    fn complain_of_being_alone(&mut self, wall: Timestamp, now: i64) {
        let Some(since) = self.alone_since() else { return };
        let has_stopped = self.has_stopped_alone(wall);
        if !has_stopped && wall.millis_since(since) < ALONE_FOR_TOO_LONG || !self.contact.shall_complain(now)
        {
            return;
        }
        let days = wall.millis_since(since) / DAY;
        let message = match has_stopped {
            true => format!(
                "no session with the server for {days} days, since {since}: scheduled backups have stopped, as \
                 --stop-without-server-after says; bring the server back, or start the agent with a higher number or without it"
            ),
            false => format!(
                "no session with the server for {days} days, since {since}: scheduled backups go on by the plan of that time; \
                 bring the server back, or enrol this host at another one"
            ),
        };
        error!("{message}");
        self.trouble(message);
    }

    /// A session stands from now on.
    pub(super) fn session_stands(&mut self, wall: Timestamp, epoch: i64) {
        self.connected = Some((wall, epoch));
        self.own.session_stands();
        self.contact.keep(&self.state, wall, clock::boot());
    }

    /// No session stands.
    pub(super) fn session_gone(&mut self) {
        let (wall, now) = (clock::wall(), clock::boot());
        if self.connected.take().is_some() {
            self.contact.session_gone(&self.state, now);
        }
        self.own.session_gone(wall, now);
    }

    /// An own job of an earlier agent left no trace: the server hears of its end like of any other.
    pub(super) fn own_job_is_lost(&mut self, claim: SlotClaim, wall: Timestamp) {
        warn!(job = %claim.job_id, slot = %claim.run.slot, "a backup without the server was lost with an earlier agent");
        self.say(AgentMessage::JobFinished(Box::new(lost_end(claim, wall))));
    }
}

/// What an own run asks for, by the plan.
fn command(plan: &ScheduleSet, own: OwnRun, job_id: JobId) -> Option<CommandRun> {
    let group = plan.groups.iter().find(|group| group.group_id == own.run.group_id)?;
    let repo = plan.repos.iter().find(|repo| repo.repo_id == own.run.repo_id)?;
    Some(CommandRun {
        job_id,
        epoch: NO_SESSION,
        repo_id: own.run.repo_id,
        restic_host: repo.restic_host.clone(),
        run: Some(own.run),
        attempt: own.attempt,
        requires_admin_creds: false,
        // Only the server knows whether another host of the repository goes by the same name, and keeps others off it meanwhile.
        auto_unlock: AutoUnlock::Off,
        limit_upload_kib: plan.limit_upload_kib,
        limit_download_kib: plan.limit_download_kib,
        spec: JobSpec::Backup(group.backup.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_names_all_jobs_of_the_server_and_the_newest_own_ones() {
        let job = |n: i64| JobId::mint(Timestamp::from_millis(n), [0; 10]);
        let is_own = |job: JobId| job.minted_at().as_millis() % 3 != 0;
        let all: Vec<JobId> = (0..3_000).map(job).collect();
        let mut told = all.clone();
        leave_out_old(&mut told, is_own);
        let (own, sent): (Vec<JobId>, Vec<JobId>) = told.iter().partition(|job| is_own(**job));
        assert_eq!((own.len(), sent.len()), (TOLD_IN_HELLO, 1_000));
        assert_eq!(own[0], job(1_500 + 1), "the newest stay");
        assert!(told.is_sorted());
        let mut few = all[..90].to_vec();
        leave_out_old(&mut few, is_own);
        assert_eq!(few, all[..90]);
    }
}
