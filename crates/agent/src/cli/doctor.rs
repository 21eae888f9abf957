//! `doctor`: what is wrong, and what to do about it.

use std::process::ExitCode;

use clap::Args;
use restic_manager_agent::doctor::{Checkup, Finding, Verdict, examine};
use restic_manager_agent::restic::ResticFinder;

use super::settings::Settings;
use super::{exit, ui};

#[derive(Debug, Args)]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) fn execute(self, settings: Settings) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return ui::fail(&error, None, exit::FAILED),
        };
        let checkup = Checkup {
            state_dir: settings.state_dir,
            key_file: settings.key_file,
            server: settings.server,
            plain_http: settings.plain_http,
            finder: ResticFinder::new(settings.restic),
            cache_dir: settings.cache_dir,
        };
        let findings = runtime.block_on(examine(checkup));
        for finding in &findings {
            print(finding);
        }
        let sick = findings.iter().any(Finding::is_problem);
        ExitCode::from(if sick { exit::FAILED } else { exit::DONE })
    }
}

fn print(finding: &Finding) {
    match &finding.verdict {
        Verdict::Ok { seen } => ui::say(format!("ok       {}: {seen}", finding.subject)),
        Verdict::Problem { what, remedy } => {
            ui::say(format!("problem  {}: {what}", finding.subject));
            if let Some(remedy) = remedy {
                ui::say(format!("         remedy: {remedy}"));
            }
        }
    }
}
