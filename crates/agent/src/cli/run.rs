//! `run`: the agent at work.

use std::process::ExitCode;

use clap::Args;
use restic_manager_agent::agent::{Agent, AgentConfig, AgentError, OnStop, ResticRunner};
use restic_manager_agent::job::Supervisor;
use restic_manager_agent::restic::ResticFinder;
use restic_manager_agent::server_url::ServerUrl;
use restic_manager_agent::state::StateError;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use super::{exit, logging, ui};

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The server's address, in place of the one the agent was enrolled at
    #[arg(long, env = "RM_SERVER", value_name = "URL")]
    server: Option<String>,
    /// On SIGTERM and SIGINT, ends a running restic gently and waits for it; without this it runs on, and the next agent
    /// takes it over
    #[arg(long)]
    stop_jobs: bool,
    /// How long the agent waits for a server that is away before it begins a scheduled backup by itself [default: 60]
    #[arg(long, env = "RM_AGENT_OFFLINE_GRACE", value_name = "SECONDS")]
    offline_grace: Option<u64>,
    /// How long a machine that woke up or was switched on waits before it makes up for a slot that came meanwhile; the
    /// network comes up first [default: 60]
    #[arg(long, env = "RM_AGENT_SETTLE", value_name = "SECONDS")]
    settle: Option<u64>,
    /// Stops scheduled backups after so many days without any session with the server [default: never]
    #[arg(long, env = "RM_AGENT_STOP_WITHOUT_SERVER_AFTER", value_name = "DAYS")]
    stop_without_server_after: Option<u32>,
}

impl Run {
    pub(crate) fn execute(self, settings: Settings) -> ExitCode {
        logging::begin(&settings);
        let server = match self.server.as_deref().map(|server| ServerUrl::parse(server, settings.plain_http))
        {
            None => settings.server.clone(),
            Some(Ok(server)) => Some(server),
            Some(Err(error)) => return ui::fail(&error, error.hint(), exit::USAGE),
        };
        let alone = match settings.alone.with(self.offline_grace, self.settle, self.stop_without_server_after)
        {
            Ok(alone) => alone,
            Err(error) => return ui::fail(&error, error.hint(), exit::USAGE),
        };
        let supervisor = match std::env::current_exe() {
            Ok(program) => Supervisor::Program(program),
            Err(error) => return ui::fail(&error, None, exit::FAILED),
        };
        let config = AgentConfig {
            server,
            plain_http: settings.plain_http,
            on_stop: if self.stop_jobs { OnStop::EndJob } else { OnStop::LeaveJob },
            offline_grace: alone.offline_grace,
            settle: alone.settle,
            stop_without_server_after: alone.stop_after,
            ..AgentConfig::new(settings.state_dir.clone(), settings.key_file)
        };
        let runner = ResticRunner {
            finder: ResticFinder::new(settings.restic),
            cache_dir: settings.cache_dir,
            state_dir: settings.state_dir,
            supervisor,
            times: settings.times,
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return ui::fail(&error, None, exit::FAILED),
        };
        let ran = runtime.block_on(work(config, runner));
        // Whatever still blocks in a thread must not hold the end up.
        runtime.shutdown_background();
        match ran {
            Ok(()) => ExitCode::from(exit::DONE),
            Err(error) => {
                let not_there = matches!(error, AgentError::State(StateError::NotEnrolled { .. }));
                ui::fail(&error, error.hint(), if not_there { exit::NOT_THERE } else { exit::FAILED })
            }
        }
    }
}

async fn work(config: AgentConfig, runner: ResticRunner) -> Result<(), AgentError> {
    let stop = CancellationToken::new();
    // Before anything is opened, so that a signal at any time ends it in order.
    let watch = |kind: SignalKind| signal(kind).map_err(StateError::signals);
    let (mut term, mut int) = (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        told.cancel();
    });
    Agent::open(config, runner)?.run(stop).await;
    Ok(())
}
