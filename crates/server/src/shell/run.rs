//! The program: from the command line to the exit code.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use restic_manager_store::{Accounts as _, Meta as _, SqliteStore};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::cli::{self, Task};
use super::{AddressFile, BootstrapToken, DataDir, Failure, Limits, address, admin, bind, exit, serve, start_logging};
use crate::config::Config;
use crate::random::OsRandom;
use crate::vault::{Vault, VaultError};

/// The fact under which the database keeps the canary of its key.
const CANARY_FACT: &str = "vault.canary";
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
    let composed = compose(config, &data_dir).await?;
    let listen = config.listen.value;
    let listener = bind(listen).map_err(|source| Failure::Listen { address: listen, source })?;
    let address = listener.local_addr().map_err(|source| Failure::Listen { address: listen, source })?;
    let address_file = AddressFile::write(&data_dir, address)
        .map_err(|source| Failure::System { doing: "write the address file", source })?;
    tracing::info!(%address, data_dir = %data_dir.path().display(), version = env!("CARGO_PKG_VERSION"), "serving");
    offer_bootstrap(&composed.store, &data_dir, &address::reachable(address)).await?;
    serve(listener, composed.routes, Limits::default(), stop).await;
    drop(address_file);
    tracing::info!("stopped");
    Ok(())
}

/// What the process serves.
struct Composed {
    store: Arc<SqliteStore>,
    routes: BoxedFilter<(Response,)>,
}

/// Opens the parts and puts them together.
async fn compose(config: &Config, data_dir: &DataDir) -> Result<Composed, Failure> {
    let store = Arc::new(SqliteStore::open(&data_dir.database()).await?);
    let _vault = Arc::new(open_vault(config, &store).await?);
    let routes = warp::path!("healthz").map(|| Response::new("ok\n".into())).boxed();
    Ok(Composed { store, routes })
}

/// The vault, if its key belongs to this database.
async fn open_vault(config: &Config, store: &SqliteStore) -> Result<Vault, Failure> {
    let canary = store.fact(CANARY_FACT).await?;
    let vault = Vault::open_or_create(&config.key_file.value, canary.is_some())?;
    let canary = match canary {
        Some(canary) => canary,
        None => store.fact_or_insert(CANARY_FACT, &vault.canary()?).await?,
    };
    match vault.check_canary(&canary) {
        Ok(()) => Ok(vault),
        Err(VaultError::WrongKey) => Err(Failure::KeyOfAnother { path: config.key_file.value.clone() }),
        Err(error) => Err(error.into()),
    }
}

/// While there is no user: keeps a bootstrap token ready, and shows it to whoever started the server by hand. It never
/// goes through the log.
async fn offer_bootstrap(store: &SqliteStore, data_dir: &DataDir, url: &str) -> Result<(), Failure> {
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
