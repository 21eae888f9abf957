//! The program: from the command line to the exit code.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use restic_manager_store::Accounts;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::address::reachable;
use super::cli::{self, Task};
use super::compose::compose;
use super::{AddressFile, BootstrapToken, DataDir, Failure, Limits, admin, bind, exit, serve, start_logging};
use crate::config::Config;
use crate::random::OsRandom;

/// After the connections had their time, the engine's last commit has this much.
const ENGINE_STOPS_WITHIN: Duration = Duration::from_secs(1);
/// Threads that still block then are left to the end of the process.
const RUNTIME_STOPS_WITHIN: Duration = Duration::from_millis(500);

/// Runs the program; a failure is one line `error: ...` on stderr, with one line `hint: ...` where there is a remedy.
pub fn run() -> ExitCode {
    match cli::parse().map_err(Failure::from).and_then(|(task, config)| perform(&task, &config)) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(failure) => {
            say(&format!("error: {}\n", failure.told()));
            if let Some(hint) = failure.hint() {
                say(&format!("hint: {hint}\n"));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn perform(task: &Task, config: &Config) -> Result<(), Failure> {
    match task {
        Task::PrintConfig => print_config(config),
        Task::Serve => {
            start_logging(config.log_format.value, &config.log_level.value);
            on_runtime(serve_until_signal(config))
        }
        Task::Admin(command) => on_runtime(admin::admin(command, config)),
    }
}

fn print_config(config: &Config) -> Result<(), Failure> {
    io::stdout()
        .write_all(config.to_toml().as_bytes())
        .map_err(|source| Failure::System { doing: "write to standard output", source })
}

fn on_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|source| Failure::System { doing: "start the threads of the server", source })?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(RUNTIME_STOPS_WITHIN);
    done
}

async fn serve_until_signal(config: &Config) -> Result<(), Failure> {
    let data_dir = DataDir::open(&config.data_dir.value)?;
    let stop = stop_on_signal()?;
    let listen = config.listen.value;
    let listener = bind(listen).map_err(|source| Failure::Listen { address: listen, source })?;
    let address = listener.local_addr().map_err(|source| Failure::Listen { address: listen, source })?;
    let parts = compose(config, &data_dir, &stop).await?;
    offer_bootstrap(&*parts.store, &data_dir, &reachable(address)).await?;
    // Written last: whoever waits for this file finds a server that answers.
    let address_file = AddressFile::write(&data_dir, address)
        .map_err(|source| Failure::System { doing: "write the address file", source })?;
    tracing::info!(%address, data_dir = %data_dir.path().display(), version = env!("CARGO_PKG_VERSION"), "serving");
    serve(listener, parts.routes, Limits::default(), stop).await;
    drop(address_file);
    let finish = async {
        let _ended = parts.engine_loop.await;
        // The agents' connections ended after the engine's loop did.
        if let Err(error) = parts.engine.flush_seen().await {
            tracing::warn!(%error, "signs of life were not stored");
        }
        parts.store.close().await;
    };
    if tokio::time::timeout(ENGINE_STOPS_WITHIN, finish).await.is_err() {
        tracing::warn!(
            "the engine was cut off in the middle of its work; it goes on with it at the next start"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

/// While there is no user: keeps a bootstrap token ready, and shows it to whoever started the server by hand. It never
/// goes through the log.
async fn offer_bootstrap(store: &dyn Accounts, data_dir: &DataDir, url: &str) -> Result<(), Failure> {
    let file = BootstrapToken::of(data_dir);
    let failed = |source| Failure::System { doing: "keep the bootstrap token", source };
    if store.has_users().await? {
        // Left by a process that was killed between the two steps of its use.
        return file.remove().map_err(failed);
    }
    let token = file.ensure(&OsRandom).map_err(failed)?;
    tracing::info!(file = %file.path().display(), "there is no user yet: the bootstrap token makes the first one");
    if io::stderr().is_terminal() {
        say(&format!("\nOpen {url} and make the first user with this token:\n\n    {}\n\n", token.expose()));
    }
    Ok(())
}

/// A token that SIGTERM and SIGINT cancel.
fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let failed = |source| Failure::System { doing: "listen for signals", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping: open requests may finish");
        told.cancel();
    });
    Ok(stop)
}

/// Writes to stderr; when nobody can read it there is nobody to tell.
fn say(text: &str) {
    let _unheard = io::stderr().write_all(text.as_bytes());
}
