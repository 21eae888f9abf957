//! The session with the server: carries out what [`AgentLink`] decides, over a WebSocket.

mod connection;

use std::collections::VecDeque;
use std::time::Duration;

use restic_manager_core::id::JobId;
use restic_manager_core::link::{AgentAction, AgentLink, DownCause, LinkState};
use restic_manager_core::secret::Secret;
use restic_manager_core::time::SECOND;
use restic_manager_core::wire::{
    AgentMessage, Decoded, Frame, FrameError, Heartbeat, Hello, ServerMessage, WireError, decode_server,
    following,
};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::clock;
use crate::random;
use crate::server_url::ServerUrl;
use crate::spool::Spool;
pub use connection::ConnectError;
use connection::{Connection, Incoming};

/// The longest sleep: the machine may have slept meanwhile, which a timer does not notice.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// How often a message of the spool is tried to be read, each time on a new connection, before it is given up.
const UNREADABLE_TRIES: u32 = 3;

/// What a person does about a token that is refused.
pub(crate) const REFUSED_HINT: &str =
    "if the host was deleted or its token replaced, enrol it again with a new token";

/// The code of a token that is refused.
pub const UNAUTHORIZED: &str = "unauthorized";

/// Whether the server takes this agent's token: opens its socket and closes it again, without a word.
///
/// # Errors
///
/// [`ConnectError::Unauthorized`] when it does not; the others say nothing about the token.
pub(crate) async fn knock(server: &ServerUrl, token: &Secret) -> Result<(), ConnectError> {
    Connection::open(server, token).await?.close().await;
    Ok(())
}

/// What happened to the session.
#[derive(Debug)]
pub enum SessionEvent {
    /// The connection is open: answer with [`Session::say_hello`].
    HelloWanted,
    /// The server said something.
    Delivered(ServerMessage),
    /// The server sent a command for a job that this agent does not understand.
    NotUnderstood(JobId),
    /// Everything up to this number is committed at the server.
    Acknowledged(u64),
    /// The connection is down, or could not be made; the next attempt comes by itself.
    Down {
        /// Why.
        why: String,
        /// For programs: the server's own code, or [`UNAUTHORIZED`]; none where the network is at fault.
        code: Option<String>,
    },
}

#[derive(Debug)]
enum Outgoing {
    Text(String),
    Spooled(u64),
}

enum Turn {
    Opened(Result<Connection, ConnectError>),
    Received(Incoming),
    Room,
    Time,
}

/// The session of one agent with its server, through all its connections.
#[derive(Debug)]
pub struct Session {
    server: ServerUrl,
    token: Secret,
    link: AgentLink,
    connecting: Option<JoinHandle<Result<Connection, ConnectError>>>,
    connection: Option<Connection>,
    queue: VecDeque<Outgoing>,
    /// The reliable message sent last on this connection.
    last_sent: Option<u64>,
    /// The message that the spool could not read, and how often it tried.
    unreadable: Option<(u64, u32)>,
    /// The newest lossy message; an older one that was not sent yet is not worth sending.
    progress: Option<String>,
    events: VecDeque<SessionEvent>,
    /// What the server gave as the reason, while the connection still stands.
    said: Option<WireError>,
}

impl Session {
    /// A session that connects as soon as [`Self::next`] is called.
    pub fn new(server: ServerUrl, token: Secret, spool: &Spool) -> Self {
        Self {
            server,
            token,
            link: AgentLink::new(spool.forgotten(), spool.last_seq(), clock::boot()),
            connecting: None,
            connection: None,
            queue: VecDeque::new(),
            last_sent: None,
            unreadable: None,
            progress: None,
            events: VecDeque::new(),
            said: None,
        }
    }

    /// Whether the server welcomed this agent, and the connection stands.
    pub fn is_live(&self) -> bool {
        matches!(self.link.state(), LinkState::Live { .. })
    }

    /// Whether hello was asked for, and the welcome is awaited.
    pub fn is_greeting(&self) -> bool {
        matches!(self.link.state(), LinkState::Greeting)
    }

    /// Answers [`SessionEvent::HelloWanted`].
    pub fn say_hello(&mut self, hello: Hello) {
        self.queue.push_front(Outgoing::Text(Frame::lossy(AgentMessage::Hello(Box::new(hello))).to_text()));
    }

    /// The spool holds messages up to this number.
    pub fn spooled(&mut self, last_seq: u64) {
        self.link.spooled(last_seq);
    }

    /// Sends a lossy message while the session stands; a newer one takes its place.
    pub fn show(&mut self, message: &AgentMessage) {
        if self.is_live() {
            self.progress = Some(Frame::lossy(message).to_text());
        }
    }

    /// Closes the connection and connects again at once, with a new hello.
    ///
    /// What the server said and was not handled yet is dropped: it says it again.
    pub fn start_over(&mut self, spool: &Spool) {
        *self = Self::new(self.server.clone(), std::mem::take(&mut self.token), spool);
    }

    /// Hands everything that may be sent to the connection: what was said last shall be heard before the goodbye.
    pub async fn flush(&mut self, spool: &mut Spool) {
        self.carry_out();
        while self.is_live() && !self.queue.is_empty() {
            let Some(connection) = &self.connection else { return };
            if connection.outgoing.reserve().await.is_err() {
                return;
            }
            self.send_next(spool);
            self.carry_out();
        }
    }

    /// Says goodbye and closes; returns within a few seconds.
    pub async fn close(mut self) {
        if let Some(connecting) = self.connecting.take() {
            connecting.abort();
        }
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// The next event. Cancel-safe: what was begun goes on at the next call.
    pub async fn next(&mut self, spool: &mut Spool) -> SessionEvent {
        loop {
            self.carry_out();
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let pause = self.link.timeout().map(|at| at.saturating_sub(clock::boot()).max(0));
            let pause = pause.map_or(LONGEST_SLEEP, |millis| Duration::from_millis(millis.unsigned_abs()));
            let wants_to_send = !self.queue.is_empty() || self.progress.is_some();
            let connection = self.connection.as_mut();
            let (outgoing, incoming) = connection.map(|open| (&open.outgoing, &mut open.incoming)).unzip();
            let turn = tokio::select! {
                opened = opened(&mut self.connecting) => Turn::Opened(opened),
                received = received(incoming) => Turn::Received(received),
                () = room(outgoing.filter(|_| wants_to_send)) => Turn::Room,
                () = tokio::time::sleep(pause.min(LONGEST_SLEEP)) => Turn::Time,
            };
            match turn {
                Turn::Opened(opened) => self.opened(opened),
                Turn::Received(received) => self.received(received),
                Turn::Room => self.send_next(spool),
                Turn::Time => self.link.handle_timeout(clock::boot()),
            }
        }
    }

    fn send_next(&mut self, spool: &mut Spool) {
        let text = match self.next_text(spool) {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(why) => return self.down(DownCause::Network, why),
        };
        let Some(connection) = &self.connection else { return };
        // There is room, and nobody else sends. When the writer is gone, the reader says why.
        let _ = connection.outgoing.try_send(text);
    }

    /// The next frame to send; numbers that stand for nothing are passed over.
    ///
    /// What cannot be read now may be readable later, and nothing behind it may be sent before: an acknowledgement covers all that
    /// came before it. Only what stays unreadable is given up, so that it does not hold up the rest for ever.
    fn next_text(&mut self, spool: &mut Spool) -> Result<Option<String>, String> {
        while let Some(next) = self.queue.pop_front() {
            let seq = match next {
                Outgoing::Text(text) => return Ok(Some(following(text, self.last_sent))),
                Outgoing::Spooled(seq) => seq,
            };
            match spool.read(seq) {
                Ok(Some(text)) => return Ok(Some(following(text, self.last_sent.replace(seq)))),
                Ok(None) => self.link.passed_over(seq),
                Err(error) => {
                    let tries =
                        self.unreadable.filter(|(of, _)| *of == seq).map_or(1, |(_, tries)| tries + 1);
                    self.unreadable = Some((seq, tries));
                    if tries < UNREADABLE_TRIES {
                        return Err(format!("message {seq} cannot be read from the spool: {error}"));
                    }
                    error!(%error, seq, tries, "a message cannot be read from the spool; it is given up");
                    self.link.passed_over(seq);
                }
            }
        }
        Ok(self.progress.take())
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.link.poll() {
            match action {
                AgentAction::Connect => {
                    let (server, token) = (self.server.clone(), self.token.clone());
                    self.connecting =
                        Some(tokio::spawn(async move { Connection::open(&server, &token).await }));
                }
                AgentAction::SendHello => self.events.push_back(SessionEvent::HelloWanted),
                AgentAction::SendHeartbeat => {
                    let beat = AgentMessage::Heartbeat(Heartbeat { clock: clock::wall() });
                    self.queue.push_back(Outgoing::Text(Frame::lossy(beat).to_text()));
                }
                AgentAction::SendSpooled(seq) => self.queue.push_back(Outgoing::Spooled(seq)),
                AgentAction::Deliver(message) => {
                    if let ServerMessage::Error(error) = &message {
                        self.said = Some(error.clone());
                    }
                    self.events.push_back(SessionEvent::Delivered(message));
                }
                AgentAction::Forget(seq) => self.events.push_back(SessionEvent::Acknowledged(seq)),
                AgentAction::Close => self.down(DownCause::Network, "the session is over".to_owned()),
            }
        }
    }

    fn opened(&mut self, opened: Result<Connection, ConnectError>) {
        match opened {
            Ok(connection) => {
                self.connection = Some(connection);
                self.link.connected(clock::boot());
            }
            Err(refused @ ConnectError::Unauthorized { .. }) => {
                error!(server = %self.server, "{refused}; the next attempt is in an hour, scheduled backups go on; {REFUSED_HINT}");
                self.down(DownCause::Refused, format!("{refused}; {REFUSED_HINT}"));
            }
            Err(error) => self.down(DownCause::Network, error.to_string()),
        }
    }

    fn received(&mut self, received: Incoming) {
        let text = match received {
            Incoming::Text(text) => text,
            Incoming::Down(why) => return self.down(DownCause::Network, why),
        };
        match decode_server(&text) {
            Ok(Decoded::Message(frame)) => self.link.received(frame.message, clock::boot()),
            Ok(Decoded::Unknown { kind, .. }) => {
                info!(kind, "the server sent a message of a newer type; ignored");
            }
            Err(error) => {
                warn!(%error, "the server sent a frame that cannot be understood");
                if let FrameError::Payload { kind, .. } = error
                    && kind == "command.run"
                    && let Some(job_id) = named_job(&text)
                {
                    self.events.push_back(SessionEvent::NotUnderstood(job_id));
                }
            }
        }
    }

    fn down(&mut self, cause: DownCause, why: String) {
        // The server's own word on it is worth more than that the connection is down.
        let said = self.said.take();
        let why = said.as_ref().map_or(why, in_words);
        let code = match cause {
            DownCause::Refused => Some(UNAUTHORIZED.to_owned()),
            DownCause::Network => said.map(|error| error.code),
        };
        let was_open = self.connection.take().is_some();
        self.connecting = None;
        self.queue.clear();
        self.last_sent = None;
        self.progress = None;
        // A hello that was asked for belonged to that connection.
        self.events.retain(|event| !matches!(event, SessionEvent::HelloWanted));
        let now = clock::boot();
        self.link.disconnected(cause, random::permille(), now);
        let wait_ms = self.link.timeout().map_or(0, |at| at - now);
        if was_open {
            warn!(server = %self.server, seconds = wait_ms / SECOND, "{why}; connecting again");
        } else {
            info!(server = %self.server, seconds = wait_ms / SECOND, "{why}; trying again");
        }
        self.events.push_back(SessionEvent::Down { why, code });
    }
}

/// What the server said against this agent, with its code and its advice.
pub(crate) fn in_words(error: &WireError) -> String {
    let hint = error.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("the server says: {} ({}){hint}", error.message, error.code)
}

async fn opened(
    connecting: &mut Option<JoinHandle<Result<Connection, ConnectError>>>,
) -> Result<Connection, ConnectError> {
    let Some(task) = connecting else { return std::future::pending().await };
    let done = task.await;
    *connecting = None;
    done.unwrap_or_else(|error| Err(ConnectError::Network(error.to_string())))
}

async fn received(incoming: Option<&mut tokio::sync::mpsc::Receiver<Incoming>>) -> Incoming {
    match incoming {
        Some(incoming) => {
            incoming.recv().await.unwrap_or_else(|| Incoming::Down("the connection ended".to_owned()))
        }
        None => std::future::pending().await,
    }
}

async fn room(outgoing: Option<&tokio::sync::mpsc::Sender<String>>) {
    if let Some(outgoing) = outgoing
        && outgoing.reserve().await.is_ok()
    {
        return;
    }
    // Without a writer the reader says why.
    std::future::pending::<()>().await;
}

fn named_job(text: &str) -> Option<JobId> {
    #[derive(Deserialize)]
    struct Command {
        payload: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        job_id: JobId,
    }
    serde_json::from_str::<Command>(text).ok().map(|command| command.payload.job_id)
}

#[cfg(test)]
mod tests {
    use restic_manager_core::time::Timestamp;
    use restic_manager_core::wire::{JobStarted, decode_agent};

    use super::*;
    use crate::server_url::PlainHttp;
    use crate::spool::DEFAULT_LIMIT;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// A session and a spool with three messages that wait to be sent.
    fn session(folder: &std::path::Path) -> (Session, Spool) {
        let mut spool = Spool::open(folder, DEFAULT_LIMIT, NOW).unwrap();
        for n in 1..=3 {
            let job_id = JobId::mint(NOW, [n; 10]);
            spool.append(&AgentMessage::JobStarted(JobStarted { job_id, at: NOW, run: None })).unwrap();
        }
        let server = ServerUrl::parse("http://127.0.0.1:1", PlainHttp::LoopbackOnly).unwrap();
        let mut session = Session::new(server, Secret::new("token"), &spool);
        session.queue.extend((1..=3).map(Outgoing::Spooled));
        (session, spool)
    }

    fn numbers(text: Result<Option<String>, String>) -> (Option<u64>, Option<u64>) {
        match decode_agent(&text.unwrap().unwrap()) {
            Ok(Decoded::Message(frame)) => (frame.seq, frame.after),
            other => panic!("{other:?}"),
        }
    }

    /// The one file of the spool that holds messages.
    fn segment(folder: &std::path::Path) -> std::path::PathBuf {
        let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files
            .find(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("job.started")))
            .unwrap()
    }

    #[test]
    fn every_frame_names_the_reliable_one_sent_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut session, mut spool) = session(folder.path());
        session.queue.insert(1, Outgoing::Spooled(99));
        session.queue.push_back(Outgoing::Text(
            Frame::lossy(AgentMessage::Heartbeat(Heartbeat { clock: NOW })).to_text(),
        ));
        let sent: Vec<_> = (0..4).map(|_| numbers(session.next_text(&mut spool))).collect();
        assert_eq!(sent, [(Some(1), None), (Some(2), Some(1)), (Some(3), Some(2)), (None, Some(3))]);
    }

    #[test]
    fn what_cannot_be_read_ends_the_connection_and_is_sent_when_it_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut session, mut spool) = session(folder.path());
        let (file, aside) = (segment(folder.path()), folder.path().join("aside"));
        std::fs::rename(&file, &aside).unwrap();
        std::fs::create_dir(&file).unwrap();
        let why = session.next_text(&mut spool).unwrap_err();
        assert!(why.contains("message 1 cannot be read from the spool"), "{why}");
        std::fs::remove_dir(&file).unwrap();
        std::fs::rename(&aside, &file).unwrap();
        session.queue.push_front(Outgoing::Spooled(1));
        assert_eq!(numbers(session.next_text(&mut spool)), (Some(1), None));
    }

    #[test]
    fn what_stays_unreadable_is_given_up_and_does_not_hold_up_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (mut session, mut spool) = session(folder.path());
        let file = segment(folder.path());
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        for _ in 1..UNREADABLE_TRIES {
            session.next_text(&mut spool).unwrap_err();
            session.queue.push_front(Outgoing::Spooled(1));
        }
        session.queue.truncate(1);
        assert_eq!(session.next_text(&mut spool), Ok(None));
    }
}
