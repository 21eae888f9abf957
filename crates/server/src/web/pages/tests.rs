//! The pages as a browser gets them: every request goes through the whole filter.

mod changes;
mod doors;
mod forms;
mod history;
mod live;
mod newcomers;
mod plans;
mod repos;
mod snapshots_page;
mod views;

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use restic_manager_core::secret::Secret;
use restic_manager_core::time::{DAY, Timestamp};
use restic_manager_store::{MemoryStore, Store};
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;
use warp::filters::BoxedFilter;
use warp::test::RequestBuilder;

use super::super::{Settings, routes};
use super::*;
use crate::app::{Accounts, App};
use crate::clock::{Clock, ManualClock};
use crate::engine::{Connections, Dispatch, Engine, Sessions};
use crate::password::Passwords;
use crate::random::{OsRandom, Random, SeededRandom};
use crate::rate::LoginLimits;
use crate::shell::{BootstrapToken, DataDir};
use crate::vault::Vault;

const HOST: &str = "127.0.0.1:8080";
const ORIGIN: &str = "http://127.0.0.1:8080";
const PASSWORD: &str = "correct horse battery";

/// A server without a socket.
struct House {
    web: BoxedFilter<(warp::reply::Response,)>,
    state: Arc<WebState>,
    clock: Arc<ManualClock>,
    bootstrap_token: Secret,
    _folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self::with_looks_good_for(0)
    }

    /// One whose looks over the fleet are good for so many milliseconds.
    fn with_looks_good_for(millis: i64) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
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
        let app = App::new(store, Arc::clone(&engine), Arc::clone(&shared_clock), random);
        let app = Arc::new(app.with_glance_good_for(millis));
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
            settings: Settings {
                listen: HOST.parse().unwrap(),
                public_url: None,
                trusted_proxies: Vec::new(),
            },
        });
        Self { web: routes(Arc::clone(&state)), state, clock, bootstrap_token, _folder: folder }
    }

    async fn answer(&self, request: RequestBuilder) -> Shown {
        Shown::of(&request.reply(&self.web).await)
    }

    /// A browser in which the first administrator was just made.
    async fn browser(&self) -> Browser<'_> {
        let fields =
            [("token", self.bootstrap_token.expose()), ("username", "admin"), ("password", PASSWORD)];
        let made = self.answer(sent("/bootstrap", &fields)).await;
        assert_eq!((made.status, made.to.as_deref()), (303, Some("/")), "{}", made.html);
        let cookie = made.cookie.clone().unwrap();
        let mut browser = Browser { house: self, cookie, csrf: String::new() };
        let page = browser.look("/settings").await;
        let marker = r#"name="csrf" value=""#;
        let from = page.html.find(marker).unwrap() + marker.len();
        browser.csrf = page.html[from..].split('"').next().unwrap().to_owned();
        browser
    }
}

/// A browser that is logged in.
struct Browser<'a> {
    house: &'a House,
    cookie: String,
    csrf: String,
}

impl Browser<'_> {
    async fn look(&self, path: &str) -> Shown {
        self.house.answer(get(path).header("cookie", &self.cookie)).await
    }

    /// Sends a form as a page of ours would.
    async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let mut all = vec![("csrf", self.csrf.as_str())];
        all.extend(fields);
        self.house.answer(sent(path, &all).header("cookie", &self.cookie)).await
    }
}

/// What a browser gets.
struct Shown {
    status: u16,
    to: Option<String>,
    cookie: Option<String>,
    headers: http::HeaderMap,
    html: String,
}

impl Shown {
    fn of(answer: &Response<Bytes>) -> Self {
        let text = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        Self {
            status: answer.status().as_u16(),
            to: text("location"),
            cookie: text("set-cookie").map(|line| line.split(';').next().unwrap().to_owned()),
            headers: answer.headers().clone(),
            html: String::from_utf8(answer.body().to_vec()).unwrap(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn get(path: &str) -> RequestBuilder {
    warp::test::request().path(path).header("host", HOST).header("accept", "text/html,*/*")
}

/// A form sent from a page of ours, without a cookie.
fn sent(path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    get(path)
        .method("POST")
        .header("origin", ORIGIN)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
}
