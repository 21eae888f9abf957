//! What a page costs follows the page: however many rows it shows, it asks the database the same number of times.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

mod house;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use house::House;
use restic_manager_core::api::{ScheduleWrite, TokenRequest};
use restic_manager_core::id::{AuditId, GroupId, HostId, JobId, RepoId, ScheduleId};
use restic_manager_core::model::{Actor, AuditEntry, Job, JobKind, Role};
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{DisplayName, LoginName};
use restic_manager_core::time::DAY;
use restic_manager_server::app::{Accounts, App};
use restic_manager_server::clock::Clock;
use restic_manager_server::engine::Connections;
use restic_manager_server::engine::Sessions;
use restic_manager_server::password::Passwords;
use restic_manager_server::random::Random;
use restic_manager_server::rate::LoginLimits;
use restic_manager_server::shell::{BootstrapToken, DataDir};
use restic_manager_server::web::{Settings, WebState, routes};
use restic_manager_store::{Meta as _, SqliteStore, Store};
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

const HOST: &str = "127.0.0.1:8080";
/// Every page that is made of rows; `{host}` and the others become those of a [`World`].
const PAGES: [&str; 33] = [
    "/",
    "/?q=web",
    "/?state=offline",
    "/?state=busy",
    "/?state=failing",
    "/?tag=prod",
    "/hosts/new",
    "/hosts/{host}",
    "/hosts/{host}/jobs",
    "/hosts/{host}/jobs?month=2026-11",
    "/hosts/{host}/repo",
    "/hosts/{host}/schedules",
    "/hosts/{host}/snapshots",
    "/hosts/{host}/schedules/new",
    "/hosts/{host}/schedules/{schedule}",
    "/hosts/{host}/sources",
    "/hosts/{host}/sources/new",
    "/hosts/{host}/sources/{group}",
    "/repos",
    "/repos/{repo}",
    "/repos/{repo}/jobs",
    "/repos/{repo}/jobs?month=2026-11",
    "/repos/{repo}/maintenance",
    "/jobs",
    "/jobs?state=active",
    "/jobs?host_id={host}",
    "/jobs?repo_id={repo}",
    "/jobs/{job}",
    "/jobs/{job}/cancel",
    "/pending",
    "/pending-runs",
    "/audit",
    "/settings",
];

/// The statements that were run since somebody last looked.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

impl Statements {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut summary = Summary(String::new());
            event.record(&mut summary);
            self.0.lock().unwrap().push(summary.0);
        }
    }
}

struct Summary(String);

impl Visit for Summary {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "summary" {
            self.0 = format!("{value:?}");
        }
    }
}

/// So many of everything, and a browser that is logged in.
struct World {
    store: Arc<SqliteStore>,
    web: warp::filters::BoxedFilter<(warp::reply::Response,)>,
    cookie: String,
    ids: BTreeMap<&'static str, String>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn of(many: usize) -> Self {
        let store = Arc::new(SqliteStore::in_memory().await.unwrap());
        let house = House::over(Arc::clone(&store) as Arc<dyn Store>);
        let ids = furnish(&house, many).await;
        let (clock, random) =
            (Arc::clone(&house.clock) as Arc<dyn Clock>, Arc::clone(&house.random) as Arc<dyn Random>);
        let app = App::new(Arc::clone(&house.store), Arc::clone(&house.engine), Arc::clone(&clock), random);
        let app = Arc::new(app);
        let accounts = Accounts::new(Arc::clone(&app), Passwords::new(), 30 * DAY);
        let password = Secret::new("correct horse battery");
        let session = accounts.bootstrap(LoginName::new("admin").unwrap(), &password).await.unwrap();
        let caller = accounts.session(&session.cookie).await.unwrap().unwrap().caller;
        for number in 0..many {
            let name = DisplayName::new(format!("token {number}")).unwrap();
            accounts.create_token(&caller, TokenRequest { name, expires_in_days: None }).await.unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let state = WebState {
            accounts,
            app,
            limits: LoginLimits::new(),
            bootstrap: BootstrapToken::of(&DataDir::open(folder.path()).unwrap()),
            connections: Connections {
                engine: Arc::clone(&house.engine),
                sessions: Arc::new(Sessions::default()),
                clock,
                shutdown: shutdown.clone(),
            },
            shutdown,
            settings: Settings {
                listen: HOST.parse().unwrap(),
                public_url: None,
                trusted_proxies: Vec::new(),
            },
        };
        let cookie = format!("rm_session={}", session.cookie.expose());
        Self { store, web: routes(Arc::new(state)), cookie, ids, _folder: folder }
    }

    /// What is asked for a page.
    async fn ask(&self, page: &str, statements: &Statements) -> Vec<String> {
        let path = self.ids.iter().fold(page.to_owned(), |path, (name, id)| path.replace(name, id));
        self.store.ping().await.unwrap();
        statements.take();
        let request = warp::test::request().path(&path).header("host", HOST).header("accept", "text/html");
        let answer = request.header("cookie", &self.cookie).reply(&self.web).await;
        assert_eq!(answer.status(), 200, "{path}");
        // There is one connection: behind this, all that was asked before is told.
        self.store.ping().await.unwrap();
        statements.take()
    }
}

/// So many hosts, and a first one that has so many of everything, on a repository that all of them share.
async fn furnish(house: &House, many: usize) -> BTreeMap<&'static str, String> {
    let shared = house.repo("shared").await;
    let first = house.host("web-first").await;
    house.attach(&first, shared, Role::Primary).await;
    let (mut groups, mut schedules) = (Vec::new(), Vec::new());
    for number in 0..many {
        let repo = house.repo(&format!("vault {number}")).await;
        house.attach(&first, repo, Role::Copy).await;
        let keep = KeepPolicy { daily: std::num::NonZeroU32::new(7), ..KeepPolicy::default() };
        groups.push(house.keeping_group(&first, &format!("group {number}"), keep).await);
        schedules.push(schedule(house, first.id, number, &groups).await);
        let host = house.host(&format!("web-{number}")).await;
        house.attach(&host, shared, Role::Copy).await;
        job(house, JobKind::Check, host.id, shared, None).await;
    }
    let mut last = None;
    for group in &groups {
        last = Some(job(house, JobKind::Backup, first.id, shared, Some(*group)).await);
    }
    BTreeMap::from([
        ("{host}", first.id.to_string()),
        ("{repo}", shared.to_string()),
        ("{group}", groups[0].to_string()),
        ("{schedule}", schedules[0].to_string()),
        ("{job}", last.unwrap().to_string()),
    ])
}

async fn schedule(house: &House, host: HostId, number: usize, groups: &[GroupId]) -> ScheduleId {
    let write = ScheduleWrite {
        name: DisplayName::new(format!("schedule {number}")).unwrap(),
        cron: "0 3 * * *".parse().unwrap(),
        timezone: "UTC".parse().unwrap(),
        enabled: true,
        group_ids: groups.to_vec(),
        repo_ids: None,
    };
    house.app.create_schedule(&house.caller, host, write).await.unwrap().schedule.id
}

async fn job(house: &House, kind: JobKind, host: HostId, repo: RepoId, group: Option<GroupId>) -> JobId {
    let now = house.clock.now();
    let id = JobId::mint(now, house.random.id_bytes());
    let mut job = Job::queued(id, kind, host, repo, Actor::system(), now);
    job.group_id = group;
    let audit = AuditEntry {
        id: AuditId::mint(now, house.random.id_bytes()),
        at: now,
        actor: Actor::system(),
        action: "job.asked".into(),
        subject_kind: "job".into(),
        subject_id: id.to_string(),
        detail: serde_json::Map::new(),
    };
    house.store.enqueue(job, audit).await.unwrap();
    id
}

#[tokio::test]
async fn no_page_asks_the_database_once_for_each_of_its_rows() {
    let statements = Statements::default();
    let subscriber = tracing_subscriber::registry().with(statements.clone());
    // Statements are told of on the threads of the connections.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let (few, many) = (World::of(1).await, World::of(7).await);
    for page in PAGES {
        let (of_few, of_many) = (few.ask(page, &statements).await, many.ask(page, &statements).await);
        assert!(!of_few.is_empty(), "{page}: statements are seen");
        assert_eq!(of_few.len(), of_many.len(), "{page}: {of_few:#?} became {of_many:#?}");
        assert!(of_many.len() <= 25, "{page} asks {} times: {of_many:#?}", of_many.len());
    }
}
