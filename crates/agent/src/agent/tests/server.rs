//! A server that says what the test wants, and nothing else.

use futures_util::{SinkExt, StreamExt};
use restic_manager_core::id::HostId;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{
    AgentMessage, Decoded, Frame, Hello, PROTOCOL, ServerMessage, Welcome, decode_agent,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::world::{NOW, soon};
use crate::server_url::{PlainHttp, ServerUrl};

pub(super) struct Server {
    listener: TcpListener,
    pub(super) url: ServerUrl,
}

/// An agent that said hello.
pub(super) struct Peer {
    socket: WebSocketStream<TcpStream>,
    pub(super) authorization: String,
    pub(super) hello: Hello,
    pub(super) epoch: i64,
    /// The reliable message that came last.
    seen: Option<u64>,
}

impl Server {
    pub(super) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url: ServerUrl::parse(&url, PlainHttp::LoopbackOnly).unwrap() }
    }

    /// The next agent that says hello; callers that were gone before anybody answered are passed over.
    pub(super) async fn accept(&self) -> Peer {
        loop {
            let (stream, _) = soon(self.listener.accept()).await.unwrap();
            if let Some(peer) = greeted(stream).await {
                return peer;
            }
        }
    }

    /// Answers the next caller as a server that does not know its token.
    pub(super) async fn refuse_with_401(&self) {
        let (mut stream, _) = soon(self.listener.accept()).await.unwrap();
        let mut request = [0; 2048];
        assert!(soon(stream.read(&mut request)).await.unwrap() > 0);
        let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        soon(stream.write_all(answer)).await.unwrap();
    }

    /// Whether somebody waits to be accepted.
    pub(super) fn has_caller(&self) -> bool {
        let waker = std::task::Waker::noop();
        self.listener.poll_accept(&mut std::task::Context::from_waker(waker)).is_ready()
    }
}

async fn greeted(stream: TcpStream) -> Option<Peer> {
    let (mut path, mut authorization) = (String::new(), String::new());
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let look = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
        Ok(response)
    };
    let mut socket = soon(accept_hdr_async(stream, look)).await.ok()?;
    assert_eq!(path, "/ws/agent");
    let first = soon(socket.next()).await?.ok()?;
    let frame = message(first).expect("a text comes first");
    let AgentMessage::Hello(hello) = frame.message else { panic!("not hello first: {frame:?}") };
    Some(Peer { socket, authorization, hello: *hello, epoch: 5, seen: None })
}

impl Peer {
    pub(super) async fn welcome(&mut self, acked_seq: u64) {
        let welcome = Welcome {
            protocol: PROTOCOL,
            epoch: self.epoch,
            server_version: "test".into(),
            host_id: HostId::mint(NOW, [9; 10]),
            clock: Timestamp::from_millis(0),
            spool_id: self.hello.spool_id,
            acked_seq,
            heartbeat_every: 30_000,
        };
        self.say(ServerMessage::Welcome(welcome)).await;
    }

    pub(super) async fn say(&mut self, message: ServerMessage) {
        self.say_text(Frame::lossy(message).to_text()).await;
    }

    pub(super) async fn say_text(&mut self, text: String) {
        soon(self.socket.send(Message::text(text))).await.unwrap();
    }

    /// The next frame.
    pub(super) async fn next(&mut self) -> Frame<AgentMessage> {
        let frame = frame(&mut self.socket).await;
        assert_eq!(frame.after, self.seen, "{frame:?} does not name the reliable message sent before it");
        self.seen = frame.seq.or(self.seen);
        frame
    }

    /// The next reliable message.
    pub(super) async fn reliable(&mut self) -> (u64, AgentMessage) {
        loop {
            let frame = self.next().await;
            if let Some(seq) = frame.seq {
                return (seq, frame.message);
            }
        }
    }

    /// Breaks the connection and takes the hello of the next one, which is broken too.
    pub(super) async fn reconnect_hello(self, server: &Server) -> Hello {
        drop(self);
        server.accept().await.hello
    }
}

async fn frame(socket: &mut WebSocketStream<TcpStream>) -> Frame<AgentMessage> {
    loop {
        match soon(socket.next()).await {
            Some(Ok(received)) => {
                if let Some(frame) = message(received) {
                    return frame;
                }
            }
            other => panic!("the agent went away: {other:?}"),
        }
    }
}

/// What a text says; none for what the library sends by itself.
fn message(received: Message) -> Option<Frame<AgentMessage>> {
    let Message::Text(text) = received else { return None };
    match decode_agent(&text) {
        Ok(Decoded::Message(frame)) => Some(frame),
        other => panic!("no message: {other:?} in {text}"),
    }
}
