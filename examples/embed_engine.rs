//! The control plane inside another tokio program: axum in front of it, with the agents' WebSocket, nothing of warp or SQLite; and a real agent
//! that enrols there, with something else in restic's place.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use futures_util::{SinkExt as _, StreamExt as _};
use restic_manager_agent::agent::{Agent, AgentConfig, Assignment, JobRunner, ResticSeen};
use restic_manager_agent::enrolment::{Existing, enrol};
use restic_manager_agent::server_url::{PlainHttp, ServerUrl};
use restic_manager_core::api::{self, AttachmentWrite, CredentialWrite, EnrollRequest, RepoWrite};
use restic_manager_core::id::UserId;
use restic_manager_core::model::Role;
use restic_manager_core::restic::{Outcome, OutcomeClass};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{DisplayName, LoginName};
use restic_manager_core::wire::{AgentMessage, JobFinished, JobStarted, MAX_FRAME_BYTES};
use restic_manager_server::app::{App, AppError, Caller, MaintenanceAsk};
use restic_manager_server::clock::{Clock as _, SystemClock};
use restic_manager_server::engine::{Connections, Engine, Sessions};
use restic_manager_server::random::OsRandom;
use restic_manager_server::vault::Vault;
use restic_manager_store::MemoryStore;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct House(Arc<App>, Connections);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (store, sessions) = (Arc::new(MemoryStore::new()), Arc::new(Sessions::default()));
    let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(OsRandom));
    let vault = Arc::new(Vault::in_memory());
    let engine = Arc::new(Engine::new(store.clone(), sessions.clone(), vault, clock.clone(), random.clone()));
    let app = Arc::new(App::new(store, engine.clone(), clock.clone(), random));
    let shutdown = CancellationToken::new();
    let agents = Connections { engine: engine.clone(), sessions, clock, shutdown: shutdown.clone() };
    let stop = shutdown.clone();
    let working = tokio::spawn(async move { engine.run(stop).await });

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = Router::new()
        .route("/api/agents/enroll", post(enroll))
        .route("/ws/agent", any(agent_socket))
        .with_state(House(app.clone(), agents));
    let serving = axum::serve(listener, routes).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let serving = tokio::spawn(async move { serving.await });

    let user_id = UserId::mint(app.clock().now(), app.random().id_bytes());
    let us = Caller { user_id, username: LoginName::new("embedder")? };
    let request = api::EnrollmentTokenRequest { host_name: Some(DisplayName::new("web1")?) };
    let token = app.create_enrollment_token(&us, request, "").await?.token;
    let server = ServerUrl::parse(&format!("http://{address}"), PlainHttp::LoopbackOnly)?;
    let home = tempfile::tempdir()?;
    let config = AgentConfig::new(home.path().join("state"), home.path().join("key"));
    let place = config.clone();
    let enrolled = move || enrol(&place.state_dir, &place.key_file, &server, token, Existing::Keep);
    let host = tokio::task::spawn_blocking(enrolled).await??.host_id;
    let repo = app.create_repo(&us, RepoWrite { name: DisplayName::new("vault")? }).await?.repo.id;
    let credential = CredentialWrite::new("/srv/vault", Secret::new("of our own storage"));
    app.put_attachment(&us, host, repo, AttachmentWrite::new(Role::Primary, credential)).await?;
    let check = || app.ask_maintenance(&us, repo, MaintenanceAsk::Check { subset_pct: None });
    if let Err(refused) = check().await {
        println!("refused: {refused}");
    }

    let (done, mut did) = mpsc::channel(8);
    let agent = Agent::open(config, AllGoesWell(done))?;
    let at_work = tokio::spawn(agent.run(shutdown.clone()));
    println!("the agent did: {}", did.recv().await.unwrap_or_default());
    println!("accepted: a check, {}", check().await?.state.as_str());
    println!("the agent did: {}", did.recv().await.unwrap_or_default());
    shutdown.cancel();
    at_work.await?;
    working.await?;
    Ok(serving.await??)
}

async fn enroll(State(House(app, _)): State<House>, Json(request): Json<EnrollRequest>) -> Response {
    match app.enroll(request).await {
        Ok(made) => (StatusCode::CREATED, Json(made)).into_response(),
        Err(error) => refused(&error),
    }
}

async fn agent_socket(house: State<House>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let State(House(app, agents)) = house;
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let host = match app.agent(&Secret::new(token.unwrap_or_default())).await {
        Ok(host) => host,
        Err(error) => return refused(&error),
    };
    upgrade.max_message_size(MAX_FRAME_BYTES).on_upgrade(|socket| {
        let texts = socket.filter_map(|frame| ready(frame.ok().and_then(text).map(Ok)));
        agents.serve(host, texts.with(|text: String| ready(Ok::<_, axum::Error>(Message::Text(text.into())))))
    })
}

fn text(frame: Message) -> Option<String> {
    if let Message::Text(text) = frame { Some(text.to_string()) } else { None }
}

fn refused(error: &AppError) -> Response {
    let status = StatusCode::from_u16(error.kind().http_status()).unwrap_or_default();
    (status, Json(error.body())).into_response()
}

/// Does nothing, and says of every job that it went well.
struct AllGoesWell(mpsc::Sender<&'static str>);

#[async_trait]
impl JobRunner for AllGoesWell {
    async fn look(&self) -> ResticSeen {
        ResticSeen { version: Some("0.19.1".into()), problem: None }
    }

    async fn run(&self, job: Assignment, out: mpsc::Sender<AgentMessage>, _: CancellationToken) {
        let (id, now) = (job.command.job_id, SystemClock::new().now());
        let well =
            Outcome { class: OutcomeClass::Ok, message: "well".into(), hint: None, unreadable_items: 0 };
        let _ = out.send(AgentMessage::JobStarted(JobStarted::new(id, now))).await;
        let _ = out.send(AgentMessage::JobFinished(Box::new(JobFinished::of(id, &well, now)))).await;
        let _ = self.0.send(job.command.spec.kind().as_str()).await;
    }

    async fn resume(
        &self,
        job: Assignment,
        _: Option<u64>,
        out: mpsc::Sender<AgentMessage>,
        cancel: CancellationToken,
    ) {
        self.run(job, out, cancel).await;
    }
}
