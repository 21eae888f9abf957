//! Maintenance over ssh, without any agent: behind the engine's `Dispatch` stands a shell that runs restic on the storage itself.
//!
//! ```text
//! RESTIC_PASSWORD=... cargo run -p restic-manager-examples --example custom_dispatch -- /srv/repository ssh -T storage sh
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::process::Stdio;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use restic_manager_core::api::{AttachmentWrite, CredentialWrite, RepoWrite};
use restic_manager_core::id::{HostId, SpoolId, UserId};
use restic_manager_core::model::{CredentialSecret, Role};
use restic_manager_core::restic::*;
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{DisplayName, LoginName};
use restic_manager_core::wire::*;
use restic_manager_server::app::{App, Caller, MaintenanceAsk};
use restic_manager_server::clock::{Clock, SystemClock};
use restic_manager_server::engine::{Dispatch, Engine, Incoming, SendError};
use restic_manager_server::random::{OsRandom, Random as _};
use restic_manager_server::vault::Vault;
use restic_manager_store::MemoryStore;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command as Process;
use tokio::sync::mpsc;

/// One host, with the number of its session, is in reach always; what is sent to it goes into a queue.
struct Shell(mpsc::Sender<ServerMessage>, OnceLock<(HostId, i64)>);

#[async_trait]
impl Dispatch for Shell {
    fn epoch(&self, host_id: HostId) -> Option<i64> {
        self.1.get().filter(|(host, _)| *host == host_id).map(|(_, epoch)| *epoch)
    }
    fn connected(&self) -> usize {
        self.online().len()
    }
    fn online(&self) -> Vec<HostId> {
        self.1.get().map(|(host, _)| *host).into_iter().collect()
    }
    async fn send(&self, _host: HostId, _epoch: i64, message: ServerMessage) -> Result<(), SendError> {
        self.0.try_send(message).map_err(|_| SendError::Congested)
    }
    fn close(&self, _host: HostId, _epoch: i64, _why: Option<WireError>) {}
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let repository = arguments.next().ok_or("give a repository, then the words that start a shell there")?;
    let shell: Vec<String> = arguments.collect();
    let (orders, mut queue) = mpsc::channel(64);
    let hosts = Arc::new(Shell(orders, OnceLock::new()));
    let (store, clock, random) =
        (Arc::new(MemoryStore::new()), Arc::new(SystemClock::new()), Arc::new(OsRandom));
    let vault = Arc::new(Vault::in_memory());
    let engine = Arc::new(Engine::new(store.clone(), hosts.clone(), vault, clock.clone(), random.clone()));
    let app = App::new(store, engine.clone(), clock.clone(), random);

    // One host, one repository, its admin credential; the session is opened by ourselves.
    let us =
        Caller { user_id: UserId::mint(clock.now(), OsRandom.id_bytes()), username: LoginName::new("ops")? };
    let host = app.add_host(&us, DisplayName::new("storage")?).await?;
    let repo = app.create_repo(&us, RepoWrite { name: DisplayName::new("vault")? }).await?.repo.id;
    let credential = CredentialWrite::new(repository, Secret::new(std::env::var("RESTIC_PASSWORD")?));
    app.put_attachment(&us, host.id, repo, AttachmentWrite::new(Role::Maintenance, credential.clone()))
        .await?;
    app.put_admin_credential(&us, repo, credential).await?;
    let spool_id = SpoolId::mint(clock.now(), OsRandom.id_bytes());
    let versions = AgentVersions {
        agent: "ssh".into(),
        restic: Some("0.19.1".into()),
        restic_problem: None,
        os: "linux".into(),
        arch: "x86_64".into(),
    };
    let hello = Hello::fresh("storage", "storage", versions, spool_id, clock.now());
    let taken = |epoch| hosts.1.set((host.id, epoch)).unwrap_or_default();
    let greeting = engine.hello(&host, &hello, taken).await.map_err(|refused| format!("{refused:?}"))?;

    // Credentials come in the greeting and before a job; the admin one replaces the everyday one here.
    let (mut secret, mut seq, mut messages) = (None, 0, greeting.messages);
    for ask in [MaintenanceAsk::Check { subset_pct: Some(100) }, MaintenanceAsk::Prune] {
        let job_id = app.ask_maintenance(&us, repo, ask).await?.job_id;
        engine.tick().await?;
        while let Ok(message) = queue.try_recv() {
            messages.push(message);
        }
        for message in messages.drain(..) {
            match message {
                ServerMessage::ConfigUpdate(update) => secret = update.credential.or(secret),
                ServerMessage::CommandRun(run) => {
                    let credential = secret.as_ref().ok_or("a job came before any credential")?;
                    let at = clock.now();
                    let outcome = carry_out(&shell, &run.spec, credential).await?;
                    let started = AgentMessage::JobStarted(JobStarted::new(run.job_id, at));
                    let finished = JobFinished::of(run.job_id, &outcome, clock.now());
                    for message in [started, AgentMessage::JobFinished(Box::new(finished))] {
                        seq += 1;
                        engine.ingest(host.id, spool_id, vec![Incoming::Message { seq, message }]).await?;
                    }
                }
                // A welcome, plans and cancellations are nothing to a shell.
                ServerMessage::Welcome(_)
                | ServerMessage::Ack(_)
                | ServerMessage::ScheduleSet(_)
                | ServerMessage::CommandCancel(_)
                | ServerMessage::Error(_) => {}
            }
        }
        let job = app.job(job_id).await?.job;
        println!("{} {}: {}", job.kind.as_str(), job.state.as_str(), job.message.unwrap_or_default());
    }
    Ok(())
}

/// Runs restic in the shell. Secrets go in by standard input, as everything else: no argument list shows them.
async fn carry_out(
    shell: &[String],
    spec: &JobSpec,
    credential: &CredentialSecret,
) -> Result<Outcome, Box<dyn Error>> {
    let (command, kind) = match spec {
        JobSpec::Check(check) => (Command::Check(ReadData::percent(check.subset_pct)), Kind::Check),
        JobSpec::Prune => (Command::Prune, Kind::Prune),
        other => return Err(format!("{} is not done over ssh", other.kind().as_str()).into()),
    };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let capabilities = Capabilities::of(Version::new(0, 19, 1));
    let args: Vec<String> =
        command.args(capabilities, &GlobalOptions::default()).iter().map(|arg| quoted(arg)).collect();
    let mut script = String::from("exec 2>&1\n");
    for (name, value) in credential.environment("/tmp/restic-cache")?.variables() {
        script += &format!("export {name}={}\n", quoted(value.expose()));
    }
    script += &format!("exec \"${{RESTIC:-restic}}\" {} </dev/null\n", args.join(" "));
    let mut process =
        Process::new(&shell[0]).args(&shell[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    process.stdin.take().ok_or("no way in")?.write_all(script.as_bytes()).await?;
    let output = process.wait_with_output().await?;
    let mut facts = Facts::default();
    output.stdout.split(|byte| *byte == b'\n').for_each(|line| drop(facts.observe(Stream::Stderr, line)));
    let exit = output.status.code().map_or(Exit::Signal(9), Exit::Code);
    Ok(classify(&Ended { kind, capabilities, exit, sent: Sent::Nothing, facts: &facts }))
}
