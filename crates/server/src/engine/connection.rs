//! One agent's connection, whatever carries it: a task that carries out what [`ServerLink`] says.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use restic_manager_core::id::SpoolId;
use restic_manager_core::link::{CloseReason, ServerAction, ServerLink};
use restic_manager_core::model::Host;
use restic_manager_core::wire::{
    Ack, AgentMessage, Frame, FrameError, Hello, OLDEST_PROTOCOL, PROTOCOL, ServerMessage, WireError,
    decode_agent,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Engine, HelloRefused, Incoming, Outgoing, SessionHandle, Sessions, chain};
use crate::clock::Clock;

/// Messages to an agent that may wait for its socket.
const OUTGOING: usize = 64;
/// An agent that does not take a message for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How many frames are applied in one commit at most.
const BATCH: usize = 256;
/// How many bytes of frames are gathered for one commit at most.
const BATCH_BYTES: usize = 1 << 20;

/// What every connection of an agent needs; an embedder has one, and a clone of it for each connection.
#[derive(Clone)]
pub struct Connections {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Who is connected.
    pub sessions: Arc<Sessions>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Ends every connection.
    pub shutdown: CancellationToken,
}

impl Connections {
    /// Serves the connection of a host, as [`App::agent`](crate::app::App::agent) knows it by its token, until it ends.
    ///
    /// `wire` carries text frames: its stream yields those of the agent, or why what came is none, and ends when the other side left or the
    /// network did; its sink takes those of the server, and closes. A WebSocket of any framework becomes one by `map` and `with`. Frames
    /// have at most [`MAX_FRAME_BYTES`](restic_manager_core::wire::MAX_FRAME_BYTES): a transport that can refuse longer ones early does so with
    /// [`FrameError::TooLong`].
    pub async fn serve<W, T>(self, host: Host, wire: W)
    where
        W: Stream<Item = Result<T, FrameError>> + Sink<String> + Send + Unpin,
        T: AsRef<str> + Send,
    {
        Connection::new(self, host, wire).run().await;
    }
}

/// Why a connection is over.
enum Over {
    /// The other side left, or the network did.
    Gone,
    /// The server has a reason, which the agent is told.
    Told(Option<Box<WireError>>),
}

struct Connection<W> {
    shared: Connections,
    host: Host,
    wire: W,
    link: ServerLink,
    outgoing: mpsc::Receiver<Outgoing>,
    closing: mpsc::UnboundedReceiver<Outgoing>,
    handle: Option<(mpsc::Sender<Outgoing>, mpsc::UnboundedSender<Outgoing>)>,
    session: Option<(i64, SpoolId)>,
    batch: Vec<Incoming>,
}

impl<W, T> Connection<W>
where
    W: Stream<Item = Result<T, FrameError>> + Sink<String> + Send + Unpin,
    T: AsRef<str> + Send,
{
    fn new(shared: Connections, host: Host, wire: W) -> Self {
        let (outgoing_tx, outgoing) = mpsc::channel(OUTGOING);
        let (closing_tx, closing) = mpsc::unbounded_channel();
        let link = ServerLink::new(shared.clock.monotonic_ms());
        Self {
            shared,
            host,
            wire,
            link,
            outgoing,
            closing,
            handle: Some((outgoing_tx, closing_tx)),
            session: None,
            batch: Vec::new(),
        }
    }

    async fn run(mut self) {
        let over = loop {
            if let Err(over) = self.carry_out().await {
                break over;
            }
            if let Err(over) = self.wait().await {
                break over;
            }
        };
        if let Some((epoch, _)) = self.session
            && self.shared.sessions.remove(self.host.id, epoch)
        {
            self.shared.engine.departed(self.host.id);
            self.shared.engine.feed().contact(self.host.id);
            tracing::info!(host = %self.host.name, epoch, "the agent is disconnected");
        }
        if let Over::Told(why) = over {
            self.part(why.map(|why| *why)).await;
        }
    }

    /// Waits for whatever comes next: a frame, a message to send, a wish to end, time.
    async fn wait(&mut self) -> Result<(), Over> {
        let deadline = match self.link.timeout() {
            Some(at) => at.saturating_sub(self.shared.clock.monotonic_ms()).max(0),
            None => i64::from(u32::MAX),
        };
        let deadline = Duration::from_millis(u64::try_from(deadline).unwrap_or(0));
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => return Err(Over::Told(None)),
            ending = self.closing.recv() => {
                return match ending {
                    Some(Outgoing::Close(why)) => Err(Over::Told(why)),
                    Some(Outgoing::Message(_)) | None => Err(Over::Gone),
                };
            }
            Some(outgoing) = self.outgoing.recv() => match outgoing {
                Outgoing::Message(message) => self.send(*message).await?,
                Outgoing::Close(why) => return Err(Over::Told(why)),
            },
            frame = self.wire.next() => {
                self.take_in(frame)?;
                self.take_in_ready()?;
            }
            () = tokio::time::sleep(deadline) => {
                self.link.handle_timeout(self.shared.clock.monotonic_ms());
            }
        }
        Ok(())
    }

    /// Frames that have come already go into the same commit.
    fn take_in_ready(&mut self) -> Result<(), Over> {
        let mut bytes = 0;
        for _ in 1..BATCH {
            let Some(frame) = self.wire.next().now_or_never() else { return Ok(()) };
            bytes += match &frame {
                Some(Ok(text)) => text.as_ref().len(),
                Some(Err(_)) | None => 0,
            };
            self.take_in(frame)?;
            if bytes >= BATCH_BYTES {
                return Ok(());
            }
        }
        Ok(())
    }

    fn take_in(&mut self, frame: Option<Result<T, FrameError>>) -> Result<(), Over> {
        let Some(frame) = frame else { return Err(Over::Gone) };
        let now = self.shared.clock.monotonic_ms();
        self.link.received(frame.and_then(|text| decode_agent(text.as_ref())), now);
        Ok(())
    }

    async fn carry_out(&mut self) -> Result<(), Over> {
        loop {
            while let Some(action) = self.link.poll() {
                match action {
                    ServerAction::Take(hello) => self.take(*hello).await?,
                    ServerAction::Apply { seq, message } => {
                        self.batch.push(Incoming::Message { seq, message });
                    }
                    ServerAction::SetAside { seq, why } => self.batch.push(Incoming::SetAside { seq, why }),
                    ServerAction::Show(AgentMessage::Heartbeat(beat)) => {
                        self.shared.engine.heartbeat(self.host.id, beat.clock);
                    }
                    ServerAction::Show(message) => self.shared.engine.show(self.host.id, message),
                    ServerAction::Ack(seq) => self.ack(seq, Vec::new()).await?,
                    ServerAction::Close(reason) => {
                        tracing::warn!(host = %self.host.name, ?reason, "an agent's connection is closed");
                        return Err(Over::Told(Some(Box::new(close_error(&reason)))));
                    }
                }
            }
            if self.batch.is_empty() {
                return Ok(());
            }
            self.apply().await?;
        }
    }

    async fn apply(&mut self) -> Result<(), Over> {
        let Some((_, spool_id)) = self.session else { return Err(Over::Gone) };
        let batch = std::mem::take(&mut self.batch);
        let last = batch.iter().map(Incoming::seq).max().unwrap_or(0);
        match self.shared.engine.ingest(self.host.id, spool_id, batch).await {
            Ok(rejected) => {
                if !rejected.is_empty() {
                    self.ack(last, rejected).await?;
                }
                self.link.committed(last);
                Ok(())
            }
            // Nothing was applied and nothing is acknowledged: the agent sends it all again.
            Err(error) => {
                tracing::error!(host = %self.host.name, error = %chain(&error), "reports could not be stored; the agent will send them again");
                Err(Over::Told(None))
            }
        }
    }

    async fn take(&mut self, hello: Hello) -> Result<(), Over> {
        let Some((outgoing, closing)) = self.handle.take() else { return Err(Over::Gone) };
        let spool_id = hello.spool_id;
        let host_id = self.host.id;
        let sessions = Arc::clone(&self.shared.sessions);
        let mut session = None;
        let engine = Arc::clone(&self.shared.engine);
        let greeting = engine
            .hello(&self.host, &hello, |epoch| {
                session = Some((epoch, spool_id));
                sessions.insert(host_id, SessionHandle::new(epoch, outgoing, closing));
            })
            .await;
        self.session = session;
        match greeting {
            Ok(greeting) => {
                for message in greeting.messages {
                    self.send(message).await?;
                }
                engine.feed().contact(host_id);
                self.link.taken(greeting.committed_seq, self.shared.clock.monotonic_ms());
                tracing::info!(
                    host = %self.host.name, epoch = greeting.epoch, agent = %hello.versions.agent,
                    restic = hello.versions.restic.as_deref().unwrap_or("none"), "the agent is connected"
                );
                if let Err(error) = engine.init_unopened(host_id).await {
                    tracing::warn!(host = %self.host.name, error = %chain(&error), "new repositories were not asked for; the next hello does");
                }
                Ok(())
            }
            Err(HelloRefused::Told(error)) => Err(Over::Told(Some(Box::new(error)))),
            Err(HelloRefused::Fault(error)) => {
                tracing::error!(host = %self.host.name, error = %chain(&error), "a hello could not be taken; the agent tries again");
                Err(Over::Told(None))
            }
        }
    }

    async fn ack(&mut self, seq: u64, rejected: Vec<(u64, String)>) -> Result<(), Over> {
        self.send(ServerMessage::Ack(Ack { seq, rejected })).await
    }

    async fn send(&mut self, message: ServerMessage) -> Result<(), Over> {
        let text = Frame::lossy(message).to_text();
        match tokio::time::timeout(SEND_TIMEOUT, self.wire.send(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over::Gone),
        }
    }

    /// Says the last words and closes politely, within a bounded time.
    async fn part(&mut self, why: Option<WireError>) {
        let farewell = async {
            if let Some(error) = why {
                self.wire.send(Frame::lossy(ServerMessage::Error(error)).to_text()).await?;
            }
            self.wire.close().await?;
            // What the other side still says until it has closed as well, so that the last words are not cut off by a reset.
            while self.wire.next().await.is_some() {}
            Ok::<(), W::Error>(())
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), farewell).await;
    }
}

fn close_error(reason: &CloseReason) -> WireError {
    let (code, message, hint) = match reason {
        CloseReason::NoHello => ("hello_expected", "no hello came within 10 seconds".to_owned(), None),
        CloseReason::Silent => ("silent", "nothing was heard for 90 seconds".to_owned(), None),
        CloseReason::HelloExpected => {
            ("hello_expected", "the first frame of a connection is `hello`".to_owned(), None)
        }
        CloseReason::ProtocolTooOld { theirs } => (
            "protocol_too_old",
            format!("the agent speaks protocol {theirs}, the server {OLDEST_PROTOCOL} to {PROTOCOL}"),
            Some("update the agent on the host; its scheduled backups go on meanwhile"),
        ),
        CloseReason::OutOfOrder { missing } => (
            "out_of_order",
            format!("message {missing} did not come, and one that was sent after it did"),
            Some(
                "something between agent and server loses or reorders what it passes on; the agent sends both again",
            ),
        ),
        CloseReason::BadFrame(error) => ("bad_frame", error.to_string(), None),
    };
    WireError { code: code.into(), message, hint: hint.map(str::to_owned) }
}
