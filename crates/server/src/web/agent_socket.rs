//! An agent's WebSocket, as the engine takes it.
//!
//! The upgrade is done here and not by warp: its own websocket keeps more than 100 KiB a connection, this one a few.

use std::future::ready;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use restic_manager_core::model::Host;
use restic_manager_core::wire::{FrameError, MAX_FRAME_BYTES};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use crate::engine::Connections;

/// Serves the connection of an authenticated host once its upgrade is through; returns at its end.
pub(super) async fn serve(connections: Connections, host: Host, upgrade: OnUpgrade) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            return tracing::info!(host = %host.name, %error, "an agent left before its connection stood");
        }
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let wire = socket
        .map(Came::from)
        .take_while(|came| ready(!matches!(came, Came::End)))
        .filter_map(|came| ready(came.frame()))
        .with(|text: String| ready(Ok::<_, WsError>(Message::text(text))));
    connections.serve(host, wire).await;
}

/// What came over the socket.
enum Came {
    Frame(Result<Utf8Bytes, FrameError>),
    /// What the protocol of the socket says to itself.
    Besides,
    End,
}

impl Came {
    fn frame(self) -> Option<Result<Utf8Bytes, FrameError>> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::Besides | Self::End => None,
        }
    }
}

impl From<Result<Message, WsError>> for Came {
    fn from(came: Result<Message, WsError>) -> Self {
        match came {
            Ok(Message::Text(text)) => Self::Frame(Ok(text)),
            Ok(Message::Binary(bytes)) => {
                Self::Frame(Err(FrameError::NotJson(format!("a binary frame of {} bytes", bytes.len()))))
            }
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Self::Besides,
            Err(WsError::Capacity(CapacityError::MessageTooLong { size, .. })) => {
                Self::Frame(Err(FrameError::TooLong { bytes: size }))
            }
            Ok(Message::Close(_)) => Self::End,
            Err(error) => {
                tracing::debug!(%error, "a connection broke");
                Self::End
            }
        }
    }
}
