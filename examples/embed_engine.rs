//! The engine inside another tokio program: axum in front of it, an agent in the same process behind it, nothing of warp or SQLite.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use restic_manager_core::api::{AttachmentWrite, CredentialWrite, RepoWrite};
use restic_manager_core::id::{RepoId, SpoolId, UserId};
use restic_manager_core::model::{Host, Role};
use restic_manager_core::restic::{Outcome, OutcomeClass};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{DisplayName, LoginName};
use restic_manager_core::wire::{AgentMessage, AgentVersions, Hello, JobFinished, JobStarted, ServerMessage};
use restic_manager_server::app::{App, AppError, Caller, MaintenanceAsk};
use restic_manager_server::clock::{Clock as _, SystemClock};
use restic_manager_server::engine::{Engine, Incoming, Outgoing, SessionHandle, Sessions};
use restic_manager_server::random::{OsRandom, Random as _};
use restic_manager_server::vault::Vault;
use restic_manager_store::MemoryStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (store, sessions) = (Arc::new(MemoryStore::new()), Arc::new(Sessions::default()));
    let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(OsRandom));
    let vault = Arc::new(Vault::in_memory());
    let engine = Arc::new(Engine::new(store.clone(), sessions.clone(), vault, clock.clone(), random.clone()));
    let app = Arc::new(App::new(store, engine.clone(), clock, random));
    let shutdown = CancellationToken::new();
    let working = tokio::spawn({
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        async move { engine.run(shutdown).await }
    });

    let us = caller(&app)?;
    let host = app.add_host(&us, DisplayName::new("web1")?).await?;
    let repo = app.create_repo(&us, RepoWrite { name: DisplayName::new("vault")? }).await?.repo.id;
    let credential = CredentialWrite::new("/srv/vault", Secret::new("of our own storage"));
    app.put_attachment(&us, host.id, repo, AttachmentWrite::new(Role::Primary, credential.clone())).await?;
    app.put_admin_credential(&us, repo, credential).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = Router::new()
        .route("/repos/{id}/why", get(why))
        .route("/repos/{id}/prune", post(prune))
        .with_state(app.clone());
    let serving = axum::serve(listener, routes).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let serving = tokio::spawn(async move { serving.await });

    println!("{}", ask(address, "POST", &format!("/repos/{repo}/prune")).await?);
    let agent = connect(&engine, &sessions, &host).await?;
    println!("{}", ask(address, "POST", &format!("/repos/{repo}/prune")).await?);
    println!("the agent did: {}", agent.await?.join(", "));
    println!("{}", ask(address, "GET", &format!("/repos/{repo}/why")).await?);
    shutdown.cancel();
    working.await?;
    Ok(serving.await??)
}

fn caller(app: &App) -> Result<Caller, Box<dyn Error>> {
    let user_id = UserId::mint(app.clock().now(), app.random().id_bytes());
    Ok(Caller { user_id, username: LoginName::new("embedder")? })
}

async fn why(State(app): State<Arc<App>>, Path(id): Path<RepoId>) -> Response {
    match app.why(id).await {
        Ok(why) => Json(why).into_response(),
        Err(error) => refused(&error),
    }
}

async fn prune(State(app): State<Arc<App>>, Path(id): Path<RepoId>) -> Response {
    let Ok(us) = caller(&app) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    match app.ask_maintenance(&us, id, MaintenanceAsk::Prune).await {
        Ok(accepted) => (StatusCode::ACCEPTED, Json(accepted)).into_response(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &AppError) -> Response {
    let status = StatusCode::from_u16(error.kind().http_status()).unwrap_or_default();
    (status, Json(error.body())).into_response()
}

/// An agent without a wire: it takes a session, and says of every job that it went well. It leaves after its first prune.
async fn connect(
    engine: &Arc<Engine>,
    sessions: &Sessions,
    host: &Host,
) -> Result<tokio::task::JoinHandle<Vec<&'static str>>, Box<dyn Error>> {
    let now = SystemClock::new().now();
    let spool_id = SpoolId::mint(now, OsRandom.id_bytes());
    let versions = AgentVersions {
        agent: "none".into(),
        restic: Some("0.19.1".into()),
        restic_problem: None,
        os: "linux".into(),
        arch: "x86_64".into(),
    };
    let hello = Hello::fresh("machine-of-web1", "web1", versions, spool_id, now);
    let (outgoing, mut orders) = mpsc::channel(64);
    let (closing, _closed) = mpsc::unbounded_channel();
    let taken = |epoch| sessions.insert(host.id, SessionHandle::new(epoch, outgoing, closing));
    engine.hello(host, &hello, taken).await.map_err(|refused| format!("{refused:?}"))?;
    engine.init_unopened(host.id).await?;
    let (engine, host_id) = (engine.clone(), host.id);
    Ok(tokio::spawn(async move {
        let (mut done, mut seq) = (Vec::new(), 0);
        while let Some(Outgoing::Message(message)) = orders.recv().await {
            let ServerMessage::CommandRun(run) = *message else { continue };
            let well =
                Outcome { class: OutcomeClass::Ok, message: "done".into(), hint: None, unreadable_items: 0 };
            let started = AgentMessage::JobStarted(JobStarted::new(run.job_id, now));
            let finished = AgentMessage::JobFinished(Box::new(JobFinished::of(run.job_id, &well, now)));
            let said = [started, finished].map(|message| {
                seq += 1;
                Incoming::Message { seq, message }
            });
            done.push(run.spec.kind().as_str());
            let stored = engine.ingest(host_id, spool_id, said.into()).await;
            if stored.is_err() || done.ends_with(&["prune"]) {
                break;
            }
        }
        done
    }))
}

async fn ask(address: std::net::SocketAddr, method: &str, path: &str) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
    Ok(format!("{method} {path}\n  {}\n  {body}", head.lines().next().unwrap_or_default()))
}
