//! One connection to the server: two small tasks around a WebSocket.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use restic_manager_core::secret::Secret;
use restic_manager_core::wire::MAX_FRAME_BYTES;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::server_url::ServerUrl;

/// How long it may take until the server accepted the socket.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a polite goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const BUFFER: usize = 4096;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server does not know the agent's token.
    #[error("the server refuses this agent's token (HTTP {status})")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
    },
    /// The server answered something else than a socket.
    #[error("the server answers HTTP {status} instead of opening the agents' socket")]
    Status {
        /// What it answered.
        status: u16,
    },
    /// Nothing answered in time.
    #[error("the server did not answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    /// The network, TLS or the protocol failed.
    #[error("the server cannot be reached: {0}")]
    Network(String),
}

/// An open socket. Dropping it closes the socket without a goodbye.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) outgoing: mpsc::Sender<String>,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

/// What came in.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A text frame.
    Text(String),
    /// The connection is down.
    Down(String),
}

impl Connection {
    pub(super) async fn open(server: &ServerUrl, token: &Secret) -> Result<Self, ConnectError> {
        // Whoever embeds the agent may have chosen another provider; then that one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let network = |error: &dyn std::fmt::Display| ConnectError::Network(error.to_string());
        let mut request = server.socket().into_client_request().map_err(|error| network(&error))?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| ConnectError::Network("the agent's token is no header value".to_owned()))?;
        bearer.set_sensitive(true);
        let name = HeaderValue::from_static(concat!("restic-manager-agent/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request.headers_mut().insert(USER_AGENT, name);
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_write_buffer_size(2 * MAX_FRAME_BYTES)
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES));
        let connecting = connect_async_with_config(request, Some(config), true);
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Err(_) => Err(ConnectError::Timeout),
            Ok(Ok((socket, _))) => Ok(Self::over(socket)),
            Ok(Err(Error::Http(answer))) => Err(match answer.status().as_u16() {
                status @ (401 | 403) => ConnectError::Unauthorized { status },
                status => ConnectError::Status { status },
            }),
            Ok(Err(error)) => Err(network(&error)),
        }
    }

    fn over(socket: Socket) -> Self {
        let (sink, stream) = socket.split();
        // Room for one frame each way: what waits longer waits in the spool.
        let (outgoing, to_send) = mpsc::channel(1);
        let (received, incoming) = mpsc::channel(1);
        let reader = tokio::spawn(read(stream, received));
        let writer = tokio::spawn(write(sink, to_send));
        Self { outgoing, incoming, reader, writer }
    }

    /// Sends what is under way, says goodbye and closes; returns after two seconds at the latest.
    pub(super) async fn close(mut self) {
        let (nobody, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.outgoing, nobody));
        self.incoming.close();
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, &mut self.writer).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

async fn read(mut stream: SplitStream<Socket>, received: mpsc::Sender<Incoming>) {
    let why = loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => {
                if received.send(Incoming::Text(text.as_str().to_owned())).await.is_err() {
                    return;
                }
            }
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                break if reason.is_empty() {
                    "the server closed the connection".to_owned()
                } else {
                    format!("the server closed the connection: {reason}")
                };
            }
            // Pings are answered by the library; the protocol has no binary frames.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
            Some(Err(error)) => break format!("the connection broke: {error}"),
            None => break "the connection ended".to_owned(),
        }
    };
    let _ = received.send(Incoming::Down(why)).await;
}

async fn write(mut sink: SplitSink<Socket, Message>, mut to_send: mpsc::Receiver<String>) {
    while let Some(text) = to_send.recv().await {
        if sink.send(Message::text(text)).await.is_err() {
            // The reader notices as well and says why.
            return;
        }
    }
    let _ = sink.close().await;
}
