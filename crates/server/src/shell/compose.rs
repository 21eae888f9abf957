//! Where the parts meet.

use std::sync::Arc;

use restic_manager_store::{Meta as _, SqliteStore, Store};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::{BootstrapToken, DataDir, Failure};
use crate::app::{Accounts, App};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::engine::{Connections, Engine, Sessions};
use crate::password::Passwords;
use crate::random::{OsRandom, Random};
use crate::rate::LoginLimits;
use crate::vault::{Vault, VaultError};
use crate::web::{Settings, WebState, routes};

/// The fact under which the database keeps the canary of its key.
const CANARY_FACT: &str = "vault.canary";

/// For how many milliseconds a look over the whole fleet is good.
const GLANCE_GOOD_FOR: i64 = 2_000;

/// The parts, put together and at work.
pub(super) struct Composed {
    /// What is kept.
    pub(super) store: Arc<SqliteStore>,
    /// What is answered.
    pub(super) routes: BoxedFilter<(Response,)>,
    /// The engine.
    pub(super) engine: Arc<Engine>,
    /// Its loop, which ends with `stop`.
    pub(super) engine_loop: JoinHandle<()>,
}

/// Opens the store and the vault, and puts engine, API and agents' sockets around them; all of them end with `stop`.
pub(super) async fn compose(
    config: &Config,
    data_dir: &DataDir,
    stop: &CancellationToken,
) -> Result<Composed, Failure> {
    let store = Arc::new(SqliteStore::open(&data_dir.database()).await?);
    let vault = Arc::new(open_vault(config, &store).await?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    let sessions = Arc::new(Sessions::default());
    let shared: Arc<dyn Store> = store.clone();
    let engine =
        Arc::new(Engine::new(shared.clone(), sessions.clone(), vault, clock.clone(), random.clone()));
    let app = App::new(shared, engine.clone(), clock.clone(), random);
    let app = Arc::new(app.with_glance_good_for(GLANCE_GOOD_FOR));
    let state = WebState {
        accounts: Accounts::new(app.clone(), Passwords::new(), config.session_lifetime.value.as_millis()),
        app,
        limits: LoginLimits::new(),
        bootstrap: BootstrapToken::of(data_dir),
        connections: Connections { engine: engine.clone(), sessions, clock, shutdown: stop.clone() },
        shutdown: stop.clone(),
        settings: Settings {
            listen: config.listen.value,
            public_url: config.public_url.value.clone(),
            trusted_proxies: config.behind_proxy.value.clone(),
        },
    };
    let engine_loop = tokio::spawn({
        let (engine, stop) = (engine.clone(), stop.clone());
        async move { engine.run(stop).await }
    });
    Ok(Composed { store, routes: routes(Arc::new(state)), engine, engine_loop })
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
