//! The wiring: every request goes through the whole filter, over the memory store.

mod accounts;
mod announcing;
mod contract;
mod doors;
mod following;
mod maintenance;
mod reference;
mod requests;

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use restic_manager_core::api::{ErrorBody, SessionInfo};
use restic_manager_core::secret::Secret;
use restic_manager_core::time::{DAY, Timestamp};
use restic_manager_store::{MemoryStore, Store};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use warp::test::RequestBuilder;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::engine::{Connections, Dispatch, Engine, Sessions};
use crate::password::Passwords;
use crate::random::{OsRandom, Random, SeededRandom};
use crate::shell::DataDir;
use crate::vault::Vault;

const HOST: &str = "127.0.0.1:8080";
const ORIGIN: &str = "http://127.0.0.1:8080";
const PASSWORD: &str = "correct horse battery";

/// A server without a socket.
struct House {
    api: BoxedFilter<(warp::reply::Response,)>,
    state: Arc<WebState>,
    clock: Arc<ManualClock>,
    bootstrap_token: Secret,
    _folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self::with(Settings { listen: HOST.parse().unwrap(), public_url: None, trusted_proxies: Vec::new() })
    }

    fn with(settings: Settings) -> Self {
        Self::over(Arc::new(MemoryStore::new()), settings)
    }

    fn over(store: Arc<dyn Store>, settings: Settings) -> Self {
        let sessions = Arc::new(Sessions::default());
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_000_000_000)));
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(7));
        let engine = Arc::new(Engine::new(
            Arc::clone(&store),
            Arc::clone(&sessions) as Arc<dyn Dispatch>,
            Arc::new(Vault::in_memory()),
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&random),
        ));
        let shared_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let app = Arc::new(App::new(store, Arc::clone(&engine), Arc::clone(&shared_clock), random));
        let folder = tempfile::tempdir().unwrap();
        let bootstrap = BootstrapToken::of(&DataDir::open(folder.path()).unwrap());
        let bootstrap_token = bootstrap.ensure(&OsRandom).unwrap();
        let shutdown = CancellationToken::new();
        let state = Arc::new(WebState {
            accounts: Accounts::new(Arc::clone(&app), Passwords::new(), 30 * DAY),
            app,
            limits: LoginLimits::new(),
            bootstrap,
            connections: Connections { engine, sessions, clock: shared_clock, shutdown: shutdown.clone() },
            shutdown,
            settings,
        });
        Self { api: routes(Arc::clone(&state)), state, clock, bootstrap_token, _folder: folder }
    }

    async fn answer(&self, request: RequestBuilder) -> Response<Bytes> {
        request.reply(&self.api).await
    }

    /// Makes the first administrator.
    async fn admin(&self) -> Browser {
        let body = json!({"token": self.bootstrap_token.expose(), "username": "admin", "password": PASSWORD});
        let answer = self.answer(post("/api/bootstrap").json(&body)).await;
        assert_eq!(answer.status(), 201, "{:?}", answer.body());
        Browser::of(&answer)
    }

    /// Makes the first administrator and an API token for them.
    async fn token(&self) -> String {
        let browser = self.admin().await;
        let answer = self.answer(browser.write("POST", "/api/tokens").json(&json!({"name": "script"}))).await;
        assert_eq!(answer.status(), 201, "{:?}", answer.body());
        body::<Value>(&answer)["token"].as_str().unwrap().to_owned()
    }
}

fn settings() -> Settings {
    Settings { listen: HOST.parse().unwrap(), public_url: None, trusted_proxies: Vec::new() }
}

/// A browser that is logged in.
struct Browser {
    cookie: String,
    csrf: String,
}

impl Browser {
    fn of(answer: &Response<Bytes>) -> Self {
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let info: SessionInfo = body(answer);
        Self { cookie, csrf: info.csrf_token.expose().to_owned() }
    }

    fn read(&self, path: &str) -> RequestBuilder {
        get(path).header("cookie", &self.cookie)
    }

    fn write(&self, method: &str, path: &str) -> RequestBuilder {
        let request = ask(method, path).header("cookie", &self.cookie);
        request.header("x-csrf-token", &self.csrf).header("origin", ORIGIN)
    }
}

fn ask(method: &str, path: &str) -> RequestBuilder {
    warp::test::request().method(method).path(path).header("host", HOST)
}

fn get(path: &str) -> RequestBuilder {
    ask("GET", path)
}

fn post(path: &str) -> RequestBuilder {
    ask("POST", path)
}

fn bearer(request: RequestBuilder, token: &str) -> RequestBuilder {
    request.header("authorization", format!("Bearer {token}"))
}

fn body<T: DeserializeOwned>(answer: &Response<Bytes>) -> T {
    serde_json::from_slice(answer.body())
        .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(answer.body())))
}

/// The status and the code of a refusal.
fn refused(answer: &Response<Bytes>) -> (u16, String) {
    let error: ErrorBody = body(answer);
    assert!(!error.message.is_empty());
    (answer.status().as_u16(), error.code)
}
