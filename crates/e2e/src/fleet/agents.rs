//! Agents of a fleet that say hello and stay: what makes hosts be online without ten thousand processes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use restic_manager_core::id::{JobId, SpoolId};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, AgentVersions, Frame, Heartbeat, Hello, PROTOCOL, RunningJob};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{Seeded, now_millis};

/// Handshakes at a time.
const AT_ONCE: usize = 64;
/// How often an agent shows that it lives; the server gives it 90 s.
const HEARTBEAT: Duration = Duration::from_secs(25);

/// Agents that are connected until this is dropped.
pub struct Connected {
    _runtime: Runtime,
}

impl Seeded {
    /// Connects the agents of these hosts and returns when the server welcomed each.
    ///
    /// # Panics
    ///
    /// When one is refused.
    pub fn connect(&self, url: &str, hosts: impl Iterator<Item = u32>) -> Connected {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let (welcomed, mut welcomes) = mpsc::channel(AT_ONCE);
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        let mut count = 0;
        for number in hosts {
            count += 1;
            let (url, gate, welcomed) = (url.to_owned(), Arc::clone(&gate), welcomed.clone());
            let hello = self.hello(number);
            runtime.spawn(agent(url, number, hello, gate, welcomed));
        }
        runtime.block_on(async {
            for _ in 0..count {
                let welcome = welcomes.recv().await.expect("the last one to tell is here");
                welcome.unwrap_or_else(|problem| panic!("{problem}"));
            }
        });
        Connected { _runtime: runtime }
    }

    fn hello(&self, number: u32) -> Hello {
        let now = Timestamp::from_millis(now_millis());
        let mut life = [0; 10];
        life[6..].copy_from_slice(&number.to_be_bytes());
        Hello {
            protocol: PROTOCOL,
            versions: AgentVersions {
                agent: "0.1.0".to_owned(),
                restic: Some(if number.is_multiple_of(6) { "0.16.4" } else { "0.18.0" }.to_owned()),
                restic_problem: None,
                os: "linux".to_owned(),
                arch: "x86_64".to_owned(),
            },
            machine_id: format!("machine-{number}"),
            boot_id: "boot".to_owned(),
            os_hostname: format!("box{number}"),
            clock: now,
            spool_id: SpoolId::mint(now, life),
            first_seq: 1,
            last_seq: 0,
            running_jobs: Vec::<RunningJob>::new(),
            spooled_jobs: Vec::<JobId>::new(),
            claims: Vec::new(),
            schedule_version: 1,
        }
    }
}

type Socket = WebSocketStream<TcpStream>;

async fn agent(
    url: String,
    number: u32,
    hello: Hello,
    gate: Arc<Semaphore>,
    welcomed: mpsc::Sender<Result<(), String>>,
) {
    let turn = gate.acquire().await;
    let socket = shake_hands(&url, number, hello).await;
    drop(turn);
    match socket {
        Ok(socket) => {
            // Whoever waited for it may have given up on another one.
            let _ = welcomed.send(Ok(())).await;
            stay(socket).await;
        }
        Err(problem) => {
            let _ = welcomed.send(Err(format!("agent {number}: {problem}"))).await;
        }
    }
}

async fn shake_hands(url: &str, number: u32, hello: Hello) -> Result<Socket, String> {
    fn told(problem: impl std::fmt::Display) -> String {
        problem.to_string()
    }
    let address = url.trim_start_matches("http://");
    let mut request = format!("ws://{address}/ws/agent").into_client_request().map_err(told)?;
    let bearer = format!("Bearer {}", Seeded::agent_token(number));
    request.headers_mut().insert("authorization", HeaderValue::try_from(bearer).map_err(told)?);
    let stream = TcpStream::connect(address).await.map_err(told)?;
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let opened = client_async_with_config(request, stream, Some(config)).await;
    let (mut socket, _) = opened.map_err(told)?;
    socket.send(text(AgentMessage::Hello(Box::new(hello)))).await.map_err(told)?;
    let first = socket.next().await.ok_or("the server hung up")?.map_err(told)?;
    let answer = first.to_text().map_err(told)?;
    if answer.contains("\"welcome\"") { Ok(socket) } else { Err(answer.to_owned()) }
}

/// Shows that it lives and hears whatever it is told, until the connection ends.
async fn stay(mut socket: Socket) {
    let mut beat = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                let heartbeat = Heartbeat { clock: Timestamp::from_millis(now_millis()) };
                if socket.send(text(AgentMessage::Heartbeat(heartbeat))).await.is_err() {
                    return;
                }
            }
            heard = socket.next() => if !matches!(heard, Some(Ok(_))) {
                return;
            },
        }
    }
}

fn text(message: AgentMessage) -> Message {
    Message::text(Frame::lossy(message).to_text())
}
