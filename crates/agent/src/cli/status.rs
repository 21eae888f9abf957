//! `status`: what the running agent does.

use std::process::ExitCode;

use clap::Args;
use restic_manager_agent::agent::{ALONE_FOR_TOO_LONG, LastError, RunningNow, Status};
use restic_manager_agent::state::{StateDir, StateError};

use super::settings::Settings;
use super::{exit, ui};

#[derive(Debug, Args)]
pub(crate) struct StatusOf {
    /// Prints it as JSON
    #[arg(long)]
    json: bool,
}

impl StatusOf {
    pub(crate) fn execute(self, settings: &Settings) -> ExitCode {
        match look(settings) {
            Ok((status, running)) => self.print(status.as_ref(), running),
            Err(error) => ui::fail(&error, error.hint(), exit::FAILED),
        }
    }

    fn print(&self, status: Option<&Status>, running: bool) -> ExitCode {
        if self.json {
            ui::say(serde_json::json!({ "running": running, "status": status }).to_string());
        } else {
            for line in lines(status, running) {
                ui::say(line);
            }
        }
        ExitCode::from(exit_code(status, running))
    }
}

fn look(settings: &Settings) -> Result<(Option<Status>, bool), StateError> {
    let state = StateDir::existing(&settings.state_dir)?;
    let running = match state.lock() {
        Ok(_lock) => false,
        Err(StateError::InUse { .. }) => true,
        Err(error) => return Err(error),
    };
    Ok((Status::load(&state)?, running))
}

/// An agent that runs, but is not wanted by its server, does not do its work.
fn exit_code(status: Option<&Status>, running: bool) -> u8 {
    let refused = status.and_then(|status| status.last_error.as_ref()).is_some_and(LastError::is_refusal);
    match (running, refused) {
        (true, false) => exit::DONE,
        (true, true) => exit::FAILED,
        (false, _) => exit::NOT_THERE,
    }
}

fn lines(status: Option<&Status>, running: bool) -> Vec<String> {
    let mut lines = vec![if running { "agent      runs" } else { "agent      does not run" }.to_owned()];
    let Some(status) = status else { return lines };
    if !running {
        lines.push(format!("stopped    it last spoke at {}", status.written_at));
    }
    let session = match (running, status.connected_since, status.epoch) {
        (true, Some(since), Some(epoch)) => format!("connected since {since}, session {epoch}"),
        (_, _, _) => "not connected".to_owned(),
    };
    lines.push(format!("server     {}, {session}", status.server));
    lines.extend(alone(status, running));
    lines.push(format!("host       {}", status.host_id));
    if status.jobs.is_empty() {
        lines.push("job        none".to_owned());
    }
    let shown =
        |job: &RunningNow| format!("job        {} {} since {}", job.kind.as_str(), job.job_id, job.since);
    lines.extend(status.jobs.iter().map(shown));
    lines.push(format!("spool      {} messages wait for the server", status.spooled_messages));
    lines.push(match (&status.restic_version, &status.restic_problem) {
        (Some(version), _) => format!("restic     {version}"),
        (None, problem) => format!("restic     {}", problem.as_deref().unwrap_or("none")),
    });
    lines.push(format!("plan       version {}", status.schedule_version));
    lines.extend(
        status.next_slots.iter().map(|next| format!("next       {} schedule {}", next.at, next.schedule_id)),
    );
    if let Some(error) = &status.last_error {
        lines.push(format!("trouble    {}: {}", error.at, error.message));
    }
    lines
}

/// How it works without the server.
fn alone(status: &Status, running: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if status.connected_since.is_none() {
        lines.push(match status.last_contact {
            Some(at) => format!("contact    the last session stood at {at}"),
            None => "contact    there never was a session".to_owned(),
        });
    }
    if !running {
        return lines;
    }
    if let Some(since) = status.alone_since {
        let backups = match (status.stopped_alone, status.schedule_version) {
            (true, _) => "scheduled backups have stopped, as --stop-without-server-after says",
            // A host that was deleted on the server, or that never had one.
            (false, 0) => "no backups run: there is no plan",
            (false, _) => "scheduled backups go on by the stored plan",
        };
        lines.push(format!("alone      since {since}; {backups}"));
        let contact = status.last_contact;
        if contact.is_some_and(|contact| status.written_at.millis_since(contact) >= ALONE_FOR_TOO_LONG) {
            lines.push("alone      for more than 30 days: look for the server".to_owned());
        }
    }
    lines.extend(status.waiting_runs.iter().map(|waiting| {
        let run = waiting.run;
        format!("waiting    the backup of {} to {}, attempt {}", run.slot, run.repo_id, waiting.attempt)
    }));
    if let Some(at) = status.next_own_look {
        lines.push(format!("waiting    until {at} for the server, or for a backup to be tried again"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use restic_manager_core::time::Timestamp;

    use super::*;

    fn status(code: Option<&str>) -> Status {
        let last_error =
            serde_json::json!({ "at": 0, "code": code, "message": "the server says: it was deleted" });
        serde_json::from_value(serde_json::json!({
            "pid": 1, "version": "1", "host_id": "01900000-0000-7000-8000-000000000009", "server": "https://a.example",
            "started_at": 0, "written_at": 0, "connected_since": null, "epoch": null, "schedule_version": 0,
            "spooled_messages": 0, "spool_bytes": 0, "next_slots": [], "restic_version": null,
            "restic_problem": null, "last_error": last_error
        }))
        .unwrap()
    }

    #[test]
    fn an_agent_alone_says_since_when_what_waits_and_until_when() {
        let id = |n: u8| format!("01900000-0000-7000-8000-00000000000{n}");
        let mut status = status(None);
        assert!(lines(Some(&status), true).contains(&"contact    there never was a session".to_owned()));
        let at = |seconds: i64| Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000);
        status.last_contact = Some(at(0));
        status.alone_since = Some(at(10));
        let without_plan = format!("alone      since {}; no backups run: there is no plan", at(10));
        assert!(alone(&status, true).contains(&without_plan));
        status.schedule_version = 3;
        status.written_at = at(100);
        status.next_own_look = Some(at(160));
        status.waiting_runs = vec![
            serde_json::from_value(serde_json::json!({
                "schedule_id": id(1), "group_id": id(2), "repo_id": id(3), "slot": at(60), "attempt": 2
            }))
            .unwrap(),
        ];
        let expected = [
            format!("contact    the last session stood at {}", at(0)),
            format!("alone      since {}; scheduled backups go on by the stored plan", at(10)),
            format!("waiting    the backup of {} to {}, attempt 2", at(60), id(3)),
            format!("waiting    until {} for the server, or for a backup to be tried again", at(160)),
        ];
        assert_eq!(alone(&status, true), expected);
        assert_eq!(alone(&status, false), expected[..1], "it does nothing at all");
        status.stopped_alone = true;
        status.written_at = at(31 * 86_400);
        let said = alone(&status, true).join("\n");
        assert!(said.contains("--stop-without-server-after") && said.contains("more than 30 days"), "{said}");
    }

    #[test]
    fn an_agent_that_runs_but_is_deleted_or_refused_is_a_failure_that_is_said() {
        for code in ["host_deleted", "unauthorized"] {
            let status = status(Some(code));
            assert_eq!(exit_code(Some(&status), true), exit::FAILED, "{code}");
            assert!(lines(Some(&status), true).iter().any(|line| line.contains("it was deleted")));
        }
        assert_eq!(exit_code(Some(&status(None)), true), exit::DONE);
        assert_eq!(exit_code(Some(&status(Some("replaced"))), true), exit::DONE);
        assert_eq!(exit_code(Some(&status(Some("host_deleted"))), false), exit::NOT_THERE);
    }
}
