//! What the server says, and what the agent does about it.

use restic_manager_core::id::JobId;
use restic_manager_core::model::CredentialKind;
use restic_manager_core::slots::{Claimant, Standing, Verdict};
use restic_manager_core::wire::{
    AgentMessage, CommandRun, JobRefused, JobStarted, RefusedReason, ServerMessage, Welcome, WireError,
};
use tracing::{error, info, warn};

use super::{Agent, Assignment, JobRunner};
use crate::clock;
use crate::session::in_words;

impl<R: JobRunner> Agent<R> {
    pub(super) fn server_said(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Welcome(welcome) => self.welcomed(&welcome),
            ServerMessage::Ack(ack) => {
                for (seq, why) in ack.rejected {
                    error!(seq, why, "the server could not use a message and set it aside");
                    self.trouble(format!("the server set message {seq} aside: {why}"));
                }
            }
            ServerMessage::ConfigUpdate(update) => self.take_credential(*update),
            ServerMessage::ScheduleSet(plan) => self.take_plan(*plan),
            ServerMessage::CommandRun(command) => self.asked_to_run(*command),
            ServerMessage::CommandCancel(cancel) => self.asked_to_cancel(cancel.job_id),
            ServerMessage::Error(error) => self.turned_away(&error),
        }
    }

    fn welcomed(&mut self, welcome: &Welcome) {
        let now = clock::wall();
        self.told_anew();
        info!(server = %self.server, version = welcome.server_version, epoch = welcome.epoch, "the session stands");
        if welcome.host_id != self.enrolment.host_id {
            warn!(host = %welcome.host_id, "the server knows this agent as another host than at its enrolment");
        }
        let skew = now.millis_since(welcome.clock);
        if skew.abs() > restic_manager_core::time::MINUTE {
            warn!(seconds = skew / 1_000, "this clock and the server's differ");
        }
        self.clock.compare(welcome.clock, now);
        if welcome.spool_id == self.spool.id() && welcome.acked_seq < self.spool.next_seq() {
            // Before anything is begun: a fire among them is the server's.
            self.acknowledged(welcome.acked_seq);
        }
        self.timers.slots_changed();
        self.session_stands(now, welcome.epoch);
        self.last_error = None;
        self.timers.status_changed();
        if welcome.acked_seq >= self.spool.next_seq() {
            error!(
                "the server knows of messages that this spool never wrote: its folder is an older copy; begun anew"
            );
            match self.spool.begin_new_life(now) {
                Ok(()) => {
                    self.session_gone();
                    self.session.start_over(&self.spool);
                }
                Err(error) => self.trouble(format!("the spool cannot be begun anew: {error}")),
            }
        }
    }

    fn asked_to_run(&mut self, command: CommandRun) {
        let job_id = command.job_id;
        match self.ledger.judge(job_id, command.run.as_ref(), command.attempt) {
            Verdict::Accept | Verdict::Repeat(Standing::Lost) => self.accept(command),
            Verdict::Repeat(standing) => self.repeat(job_id, standing),
            Verdict::SupersededBy(other) => {
                self.refuse(job_id, RefusedReason::SupersededBy { job_id: other });
            }
        }
    }

    fn accept(&mut self, command: CommandRun) {
        let job_id = command.job_id;
        if self.stopping {
            // Not answered: the server hands it out again when the next agent says hello.
            return info!(job = %job_id, "not taken, because the agent stops");
        }
        if let Some(other) = self.lanes.in_the_way(command.spec.kind(), command.repo_id) {
            if command.requires_admin_creds {
                // It comes again with the command.
                self.secrets.forget_passing_admin(command.repo_id);
            }
            return self.refuse(job_id, RefusedReason::Busy { job_id: other });
        }
        let (kind, missing) = match command.requires_admin_creds {
            true => (CredentialKind::Admin, RefusedReason::NoAdminCredential),
            false => (CredentialKind::Repo, RefusedReason::NoCredential),
        };
        let Ok(credential) = self.secrets.credential(command.repo_id, kind) else {
            return self.refuse(job_id, missing);
        };
        let dir = self.job_dir(job_id);
        // What an attempt left that never started must not be taken for this one.
        let _ = std::fs::remove_dir_all(&dir);
        if let Err(error) =
            self.ledger.claim(job_id, command.run, command.attempt, Claimant::Server, clock::wall())
        {
            let message = match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            error!(job = %job_id, message, "a job cannot be claimed and is refused");
            return self.refuse(job_id, RefusedReason::NoSpace { message });
        }
        info!(job = %job_id, kind = command.spec.kind().as_str(), repo = %command.repo_id, "a job is taken");
        self.begin(Assignment { command, credential, dir });
    }

    /// Says again what the server seems to have missed.
    fn repeat(&mut self, job_id: JobId, standing: Standing) {
        match standing {
            Standing::Claimed | Standing::Lost => {}
            Standing::Running => {
                if let Some(job) = self.lanes.get(job_id) {
                    let (at, run) = (job.since(), self.ledger.own_claim(job_id));
                    self.say(AgentMessage::JobStarted(JobStarted { job_id, at, run }));
                }
            }
            Standing::Ended(_) => match self.ledger.ending(job_id) {
                Ok(Some(finished)) => self.say(AgentMessage::JobFinished(Box::new(finished))),
                Ok(None) => warn!(job = %job_id, "the end of a job is not in the ledger"),
                Err(error) => self.trouble(format!("the ledger cannot be read: {error}")),
            },
        }
    }

    fn asked_to_cancel(&mut self, job_id: JobId) {
        if let Some(job) = self.lanes.get(job_id) {
            info!(job = %job_id, "the job is to be cancelled");
            return job.cancel();
        }
        match self.ledger.standing(job_id) {
            Some(standing) => self.repeat(job_id, standing),
            None => info!(job = %job_id, "a job that never came here is to be cancelled"),
        }
    }

    fn refuse(&mut self, job_id: JobId, reason: RefusedReason) {
        info!(job = %job_id, ?reason, "a job is refused");
        self.say(AgentMessage::JobRefused(JobRefused { job_id, reason }));
    }

    pub(super) fn refuse_unknown(&mut self, job_id: JobId) {
        self.refuse(job_id, RefusedReason::UnknownKind);
    }

    fn turned_away(&mut self, error: &WireError) {
        let said = in_words(error);
        match error.code.as_str() {
            "replaced" => warn!(
                code = "replaced",
                "another agent with the same credentials replaced this session; is this state directory copied?"
            ),
            code => error!(code, "{said}"),
        }
        self.coded_trouble(Some(error.code.clone()), said);
        if error.code != "host_deleted" {
            return;
        }
        self.drop_everything();
    }
}
