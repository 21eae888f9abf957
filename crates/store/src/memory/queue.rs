//! From the wish for a job to its dispatch, or to its end without one.

use restic_manager_core::admission::BREAKER_HOSTS;
use restic_manager_core::id::JobId;
use restic_manager_core::model::{ActorKind, AuditEntry, Job, JobEvent, JobState, PendingCause};
use restic_manager_core::time::Timestamp;

use super::State;
use super::jobs::Word;
use crate::preconditions::{needs_view, obstacle};
use crate::{
    AdmissionView, CancelOutcome, DispatchIntent, DispatchOutcome, DispatchRow, Enqueued, JobMove,
    MaintenanceView, QueuedJob,
};

impl State {
    pub(super) fn enqueue(&mut self, job: Job, audit: AuditEntry) -> Enqueued {
        let group_there = job
            .group_id
            .is_none_or(|id| self.groups.get(&id).is_some_and(|group| group.host_id == job.host_id));
        if !group_there || !self.hosts.contains_key(&job.host_id) || !self.repos.contains_key(&job.repo_id) {
            return Enqueued::NotFound;
        }
        let what = |job: &Job| (job.kind, job.host_id, job.repo_id, job.group_id, job.intent.preview_group);
        let is_like = |other: &&Job| other.cancel_requested_at.is_none() && what(other) == what(&job);
        if let Some(existing) = self.jobs.unfinished().find(is_like) {
            return Enqueued::Existing(existing.clone());
        }
        if let Some(existing) = self.jobs.of_slot(&job) {
            return Enqueued::Existing(existing.clone());
        }
        self.jobs.put(job.clone());
        self.write_audit(audit);
        Enqueued::Created(job)
    }

    pub(super) fn admission_view(&self) -> AdmissionView {
        let mut view = AdmissionView::default();
        for job in self.jobs.unfinished() {
            if job.state.occupies() {
                view.occupying.push(job.clone());
                continue;
            }
            let (host_revision, repo_revision) = self.revisions(job);
            view.queued.push(QueuedJob { job: job.clone(), host_revision, repo_revision });
        }
        let many = self.unreachable.iter().filter(|(_, hosts)| hosts.len() >= BREAKER_HOSTS);
        view.breakers = many.map(|(repo_id, _)| *repo_id).collect();
        view.queued.sort_by_key(|queued| (queued.job.created_at, queued.job.id));
        view
    }

    fn revisions(&self, job: &Job) -> (i64, i64) {
        let host = self.hosts.get(&job.host_id).map_or(0, |host| host.revision);
        let repo = self.repos.get(&job.repo_id).map_or(0, |repo| repo.revision);
        (host, repo)
    }

    pub(super) fn dispatch(&mut self, intents: &[DispatchIntent], now: Timestamp) -> Vec<DispatchOutcome> {
        // Judged before anything moves: what this call itself raises makes none of its intents stale.
        let fresh: Vec<bool> = intents
            .iter()
            .map(|intent| {
                let job = self.jobs.get(intent.job_id);
                job.is_some_and(|job| self.revisions(job) == (intent.host_revision, intent.repo_revision))
            })
            .collect();
        intents
            .iter()
            .zip(fresh)
            .map(|(intent, fresh)| self.dispatch_one(intent.job_id, fresh, now))
            .collect()
    }

    fn dispatch_one(&mut self, id: JobId, fresh: bool, now: Timestamp) -> DispatchOutcome {
        let Some(job) = self.jobs.get(id).filter(|job| job.state == JobState::Queued).cloned() else {
            return DispatchOutcome::NotQueued;
        };
        if !fresh {
            return DispatchOutcome::Stale;
        }
        if let Some(why) = self.what_is_gone(&job) {
            return match self.advance(&job, JobEvent::Withdraw, Word::new(now, why)) {
                Ok(_) => DispatchOutcome::Withdrawn(id),
                Err(_) => DispatchOutcome::NotQueued,
            };
        }
        if self.advance(&job, JobEvent::Dispatch, Word::at(now)).is_err() {
            return DispatchOutcome::NotQueued;
        }
        let row = self.jobs.get(id).and_then(|job| self.dispatch_row(job));
        row.map_or(DispatchOutcome::NotQueued, |row| DispatchOutcome::Dispatched(Box::new(row)))
    }

    fn what_is_gone(&self, job: &Job) -> Option<&'static str> {
        if self.attachment_between(job.host_id, job.repo_id).is_none() {
            return Some("the host is no longer attached to the repository");
        }
        if job.group_id.is_some_and(|id| !self.groups.contains_key(&id)) {
            return Some("its source group was deleted");
        }
        obstacle(job, &*self.view_for(job)?)
    }

    fn view_for(&self, job: &Job) -> Option<Box<MaintenanceView>> {
        self.maintenance_view(job.repo_id).filter(|_| needs_view(job.kind)).map(Box::new)
    }

    /// What the payload of a job is made of; none when its attachment is gone.
    pub(super) fn dispatch_row(&self, job: &Job) -> Option<DispatchRow> {
        Some(DispatchRow {
            job: job.clone(),
            run: job.run_id.and_then(|id| self.runs.get(&id)).cloned(),
            host: self.hosts.get(&job.host_id)?.clone(),
            repo: self.repos.get(&job.repo_id)?.clone(),
            attachment: self.attachment_between(job.host_id, job.repo_id)?.clone(),
            group: job.group_id.and_then(|id| self.groups.get(&id)).cloned(),
            maintenance: self.view_for(job),
        })
    }

    pub(super) fn move_job(
        &mut self,
        id: JobId,
        event: JobEvent,
        message: &str,
        now: Timestamp,
        audit: Option<AuditEntry>,
    ) -> JobMove {
        let Some(job) = self.jobs.get(id).cloned() else { return JobMove::NotFound };
        match self.advance(&job, event, Word::new(now, message)) {
            Err(illegal) => JobMove::Refused(illegal.from),
            Ok(state) => {
                if let Some(audit) = audit {
                    self.write_audit(audit);
                }
                JobMove::Moved(state)
            }
        }
    }

    pub(super) fn put_off(&mut self, id: JobId, message: &str, now: Timestamp) -> JobMove {
        let Some(job) = self.jobs.get(id).cloned() else { return JobMove::NotFound };
        // Cancelled in its stead where somebody asked for that.
        if job.run_id.is_none() || job.cancel_requested_at.is_some() {
            return self.move_job(id, JobEvent::Requeue, message, now, None);
        }
        let word = Word { owes: Some(PendingCause::DispatchFailed), ..Word::new(now, message) };
        match self.advance(&job, JobEvent::Withdraw, word) {
            Ok(state) => JobMove::Moved(state),
            Err(illegal) => JobMove::Refused(illegal.from),
        }
    }

    pub(super) fn request_cancel(&mut self, id: JobId, now: Timestamp, audit: AuditEntry) -> CancelOutcome {
        let Some(mut job) = self.jobs.get(id).cloned() else { return CancelOutcome::NotFound };
        if job.state.is_final() {
            return CancelOutcome::AlreadyFinal(job.state);
        }
        if job.cancel_requested_at.is_none() {
            job.cancel_requested_at = Some(now);
            self.jobs.put(job.clone());
            self.write_audit(audit);
        }
        let word = Word::new(now, "it was cancelled while it waited");
        match self.advance(&job, JobEvent::CancelQueued, word) {
            Ok(_) => CancelOutcome::Cancelled,
            Err(_) => CancelOutcome::Requested(Box::new(job)),
        }
    }

    pub(super) fn withdraw_stale(&mut self, created_before: Timestamp, now: Timestamp) -> Vec<JobId> {
        let stale: Vec<Job> =
            self.jobs.unfinished().filter(|job| is_stale(job, created_before)).cloned().collect();
        let why = "it waited too long to be started";
        let withdraw =
            |job: &Job| self.advance(job, JobEvent::Withdraw, Word::new(now, why)).ok().map(|_| job.id);
        stale.iter().filter_map(withdraw).collect()
    }
}

fn is_stale(job: &Job, created_before: Timestamp) -> bool {
    let asked_for_by_a_person = job.actor.kind == ActorKind::User && job.run_id.is_none();
    asked_for_by_a_person && job.state == JobState::Queued && job.created_at < created_before
}
