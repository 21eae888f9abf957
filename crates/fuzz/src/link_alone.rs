//! One end of a link against a peer and a shell that do what they like.

use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::link::{
    AgentAction, AgentLink, DownCause, LinkState, ServerAction, ServerLink, WINDOW,
};
use restic_manager_core::text::ResticHost;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{
    Ack, AgentMessage, AutoUnlock, CommandRun, Decoded, Frame, FrameError, Heartbeat, Hello, JobSpec,
    ServerMessage,
};

use crate::bytes::Bytes;
use crate::link::{hello, message, welcome};

/// Numbers near the edges more often than chance would have them.
fn any_seq(bytes: &mut Bytes<'_>) -> u64 {
    match bytes.below(6) {
        0 => u64::MAX,
        1 => bytes.within(0, i64::MAX) as u64,
        _ => bytes.within(0, 2_000) as u64,
    }
}

/// What the agent's end did.
struct Watched {
    link: AgentLink,
    now: i64,
    last_seq: u64,
    let_go: u64,
    /// The newest number sent on this connection.
    sent: u64,
    live: bool,
}

pub(crate) fn agent(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let last_seq = bytes.within(0, 1_500) as u64;
    let let_go = bytes.below(last_seq as usize + 1) as u64;
    let link = AgentLink::new(let_go, last_seq, 0);
    let mut world = Watched { link, now: 0, last_seq, let_go, sent: let_go, live: false };
    let mut was_live = false;
    while !bytes.is_empty() {
        world.event(&mut bytes);
        world.watch();
        was_live |= world.live;
    }
    was_live
}

impl Watched {
    fn event(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.below(8) {
            0 => self.link.connected(self.now),
            1 => {
                let cause = bytes.pick(&[DownCause::Network, DownCause::Refused]);
                self.link.disconnected(cause, bytes.below(2_000) as u32, self.now);
                self.live = false;
                self.sent = self.let_go;
            }
            2 => {
                self.last_seq = self.last_seq.max(any_seq(bytes) % 5_000);
                self.link.spooled(self.last_seq);
            }
            3 => self.link.retry_now(self.now),
            4 => self.now += bytes.within(0, 8_000_000),
            _ => {
                let message = said_by_a_server(bytes);
                self.link.received(message, self.now);
            }
        }
        self.link.handle_timeout(self.now);
    }

    fn watch(&mut self) {
        while let Some(action) = self.link.poll() {
            match action {
                AgentAction::SendSpooled(seq) => {
                    assert!(matches!(self.link.state(), LinkState::Live { .. }), "sent without a session");
                    assert!(seq > self.sent, "{seq} is sent after {} on one connection", self.sent);
                    assert!(seq > self.let_go && seq <= self.last_seq, "{seq} is not in the spool");
                    assert!(seq - self.let_go <= WINDOW, "more than a window is under way");
                    self.sent = seq;
                }
                AgentAction::Forget(seq) => {
                    assert!(seq > self.let_go, "{seq} is let go after {}", self.let_go);
                    assert!(seq <= self.last_seq, "{seq} is let go and was never spooled");
                    self.let_go = seq;
                    self.sent = self.sent.max(seq);
                }
                AgentAction::Deliver(ServerMessage::CommandRun(run)) => {
                    let LinkState::Live { epoch } = self.link.state() else { continue };
                    assert!(run.epoch == epoch, "a command of session {} in session {epoch}", run.epoch);
                }
                AgentAction::Connect
                | AgentAction::SendHello
                | AgentAction::SendHeartbeat
                | AgentAction::Close
                | AgentAction::Deliver(_) => {}
            }
        }
        self.live = self.link.epoch().is_some();
        assert!(
            self.link.timeout().is_none_or(|at| at > self.now),
            "{:?} wakes for nothing",
            self.link.state()
        );
    }
}

fn said_by_a_server(bytes: &mut Bytes<'_>) -> ServerMessage {
    match bytes.below(5) {
        0 | 1 => {
            let mut welcome = welcome(bytes.within(0, 3), any_seq(bytes));
            welcome.heartbeat_every = bytes.pick(&[i64::MIN, -1, 0, 1, 30_000, i64::MAX]);
            ServerMessage::Welcome(welcome)
        }
        2 | 3 => {
            let rejected = if bytes.flag() { vec![(any_seq(bytes), "no".to_owned())] } else { Vec::new() };
            ServerMessage::Ack(Ack { seq: any_seq(bytes), rejected })
        }
        _ => ServerMessage::CommandRun(Box::new(CommandRun {
            job_id: JobId::mint(Timestamp::default(), [0; 10]),
            epoch: bytes.within(0, 3),
            repo_id: RepoId::mint(Timestamp::default(), [0; 10]),
            restic_host: ResticHost::new("h").unwrap(),
            run: None,
            attempt: 1,
            requires_admin_creds: false,
            auto_unlock: AutoUnlock::Off,
            limit_upload_kib: None,
            limit_download_kib: None,
            spec: JobSpec::Init,
        })),
    }
}

pub(crate) fn server(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let mut link = ServerLink::new(0);
    let (mut now, mut taken, mut closed, mut handed, mut committed) = (0, false, false, 0, 0);
    let mut pending: Vec<u64> = Vec::new();
    while !bytes.is_empty() {
        match bytes.below(5) {
            0 => now += bytes.within(0, 200_000),
            1 if !pending.is_empty() => {
                committed = pending.remove(0);
                link.committed(committed);
            }
            _ => link.received(said_by_an_agent(&mut bytes), now),
        }
        link.handle_timeout(now);
        while let Some(action) = link.poll() {
            assert!(!closed, "{action:?} after the connection was closed");
            match action {
                ServerAction::Take(hello) => {
                    assert!(!taken, "one connection, one session");
                    assert!(hello.protocol >= 1);
                    taken = true;
                    (handed, committed) = (any_seq(&mut bytes) % 3_000, handed);
                    committed = committed.max(handed);
                    link.taken(handed, now);
                }
                ServerAction::Apply { seq, .. } | ServerAction::SetAside { seq, .. } => {
                    assert!(taken && seq > handed, "{seq} is handed out after {handed}");
                    handed = seq;
                    pending.push(seq);
                }
                ServerAction::Ack(seq) => {
                    assert!(taken && seq <= committed, "{seq} is acknowledged, {committed} is committed");
                }
                ServerAction::Show(_) => assert!(taken, "shown before hello"),
                ServerAction::Close(_) => closed = true,
            }
        }
        assert!(link.timeout().is_none_or(|at| at > now), "it wakes for nothing");
    }
    taken
}

fn said_by_an_agent(bytes: &mut Bytes<'_>) -> Result<Decoded<AgentMessage>, FrameError> {
    let seq = bytes.maybe(any_seq);
    let kind = "x".to_owned();
    match bytes.below(8) {
        0 | 1 => {
            let protocol = bytes.within(0, 2) as u16;
            let hello = Hello { protocol, ..hello(1, any_seq(bytes)) };
            Ok(Decoded::Message(Frame::lossy(AgentMessage::Hello(Box::new(hello)))))
        }
        2 => Ok(Decoded::Message(Frame::lossy(AgentMessage::Heartbeat(Heartbeat {
            clock: Timestamp::default(),
        })))),
        3 => Ok(Decoded::Unknown { kind, seq, after: bytes.maybe(any_seq) }),
        4 => Err(FrameError::Payload { kind, seq, after: bytes.maybe(any_seq), why: "no".to_owned() }),
        5 if bytes.below(8) == 0 => Err(FrameError::NotJson("no".to_owned())),
        _ => {
            let frame = match seq {
                Some(seq) => Frame::reliable(seq, message(seq)).following(bytes.maybe(any_seq)),
                None => Frame::lossy(message(0)),
            };
            Ok(Decoded::Message(frame))
        }
    }
}
