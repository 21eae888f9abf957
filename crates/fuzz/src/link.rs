//! Both ends of a link over wires that hold back, cut, repeat and reorder, with a server that dies between taking and committing, and one that is
//! put back from an older copy.

use std::collections::VecDeque;

use restic_manager_core::id::{HostId, JobId, SpoolId};
use restic_manager_core::link::{AgentAction, AgentLink, DownCause, ServerAction, ServerLink, WINDOW};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{
    Ack, AgentMessage, AgentVersions, Decoded, Frame, Heartbeat, Hello, JobStarted, PROTOCOL, ServerMessage,
    Welcome,
};

use crate::bytes::Bytes;

pub(crate) fn run(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let mut world = World::new();
    while !bytes.is_empty() {
        world.event(&mut bytes);
    }
    world.settle();
    world.judge();
    world.spool_last > 0
}

/// The world around both ends.
struct World {
    now: i64,
    agent: AgentLink,
    spool_first: u64,
    spool_last: u64,
    server: Option<ServerLink>,
    /// What the server has committed, as its database says.
    committed: Vec<u64>,
    /// How far the spool was let go on the word of a database that was put back since: nobody has these any more.
    lost_before: u64,
    /// The reliable message sent last on the connection in hand.
    last_sent: Option<u64>,
    to_server: VecDeque<Frame<AgentMessage>>,
    to_agent: VecDeque<ServerMessage>,
    epoch: i64,
    up: bool,
}

impl World {
    fn new() -> Self {
        Self {
            now: 0,
            agent: AgentLink::new(0, 0, 0),
            spool_first: 1,
            spool_last: 0,
            server: None,
            committed: Vec::new(),
            lost_before: 1,
            last_sent: None,
            to_server: VecDeque::new(),
            to_agent: VecDeque::new(),
            epoch: 0,
            up: true,
        }
    }

    fn event(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.below(11) {
            0 | 1 => self.produce(bytes.within(1, 40) as u64),
            2..=4 => self.step(bytes.below(60), bytes.below(12), true),
            5 => self.step(bytes.below(4), 0, false),
            6 => self.pass(bytes.within(1, 60_000)),
            7 => match bytes.below(4) {
                0 => {
                    self.cut();
                    self.agent.disconnected(DownCause::Network, 300, self.now);
                }
                1 => self.cut(),
                2 => self.up = !self.up,
                _ => self.agent.retry_now(self.now),
            },
            8 => {
                if let Some(frame) = self.to_server.front().cloned() {
                    self.to_server.push_front(frame);
                }
            }
            9 => {
                let (one, other) = (bytes.below(20), bytes.below(20));
                if one.max(other) < self.to_server.len() {
                    self.to_server.swap(one, other);
                }
            }
            _ => self.put_back(bytes.below(self.committed.len() + 1)),
        }
        self.look();
    }

    fn produce(&mut self, count: u64) {
        self.spool_last += count;
        self.agent.spooled(self.spool_last);
    }

    /// Wires and connection are gone, and neither end is told.
    fn cut(&mut self) {
        self.server = None;
        self.last_sent = None;
        self.to_server.clear();
        self.to_agent.clear();
    }

    /// The server starts again on a copy of its database that holds fewer messages.
    fn put_back(&mut self, keep: usize) {
        self.cut();
        self.committed.truncate(keep);
        self.lost_before = self.lost_before.max(self.spool_first);
    }

    fn run_agent(&mut self) {
        while let Some(action) = self.agent.poll() {
            match action {
                AgentAction::Connect if self.up => {
                    self.cut();
                    self.server = Some(ServerLink::new(self.now));
                    self.agent.connected(self.now);
                }
                AgentAction::Connect | AgentAction::Close => {
                    self.cut();
                    self.agent.disconnected(DownCause::Network, 500, self.now);
                }
                AgentAction::SendHello => {
                    let hello = hello(self.spool_first, self.spool_last);
                    self.to_server.push_back(Frame::lossy(AgentMessage::Hello(Box::new(hello))));
                }
                AgentAction::SendHeartbeat => {
                    let beat = Heartbeat { clock: Timestamp::from_millis(self.now) };
                    let frame = Frame::lossy(AgentMessage::Heartbeat(beat));
                    self.to_server.push_back(frame.following(self.last_sent));
                }
                AgentAction::SendSpooled(seq) => {
                    assert!(seq >= self.spool_first, "message {seq} is to be sent and was let go before");
                    assert!(seq <= self.spool_last, "message {seq} was never spooled");
                    assert!(seq < self.spool_first + WINDOW, "more than a window is under way");
                    let frame = Frame::reliable(seq, message(seq));
                    self.to_server.push_back(frame.following(self.last_sent.replace(seq)));
                }
                AgentAction::Forget(seq) => {
                    let known = self.committed.last().copied().unwrap_or(0);
                    assert!(seq <= known || seq < self.lost_before, "{seq} is let go, and not committed");
                    assert!(seq >= self.spool_first, "{seq} is let go twice");
                    self.spool_first = seq + 1;
                }
                AgentAction::Deliver(_) => {}
            }
        }
    }

    fn run_server(&mut self, commits: bool) {
        let Some(server) = &mut self.server else { return };
        while let Some(action) = server.poll() {
            match action {
                ServerAction::Take(hello) => {
                    assert_eq!(
                        (hello.first_seq, hello.last_seq <= self.spool_last),
                        (self.spool_first, true)
                    );
                    self.epoch += 1;
                    let committed = self.committed.last().copied().unwrap_or(0);
                    self.to_agent.push_back(ServerMessage::Welcome(welcome(self.epoch, committed)));
                    server.taken(committed, self.now);
                }
                ServerAction::Apply { seq, .. } | ServerAction::SetAside { seq, .. } if commits => {
                    let before = self.committed.last().copied().unwrap_or(0);
                    assert!(seq > before, "message {seq} is applied after {before}");
                    let next = (before + 1).max(self.lost_before);
                    assert_eq!(seq, next, "a message between {before} and {seq} is skipped");
                    self.committed.push(seq);
                    server.committed(seq);
                }
                // It dies between taking a message in and committing it.
                ServerAction::Apply { .. } | ServerAction::SetAside { .. } => {
                    self.server = None;
                    self.to_agent.clear();
                    return;
                }
                ServerAction::Show(_) => {}
                ServerAction::Ack(seq) => {
                    assert!(seq <= self.committed.last().copied().unwrap_or(0), "{seq} is not committed");
                    self.to_agent.push_back(ServerMessage::Ack(Ack { seq, rejected: Vec::new() }));
                }
                ServerAction::Close(_) => {
                    self.cut();
                    self.agent.disconnected(DownCause::Network, 500, self.now);
                    return;
                }
            }
        }
    }

    fn step(&mut self, up: usize, down: usize, commits: bool) {
        self.run_agent();
        for _ in 0..up {
            let Some(frame) = self.to_server.pop_front() else { break };
            if let Some(server) = &mut self.server {
                server.received(Ok(Decoded::Message(frame)), self.now);
            }
            self.run_server(commits);
        }
        for _ in 0..down {
            let Some(message) = self.to_agent.pop_front() else { break };
            self.agent.received(message, self.now);
            self.run_agent();
        }
        self.run_agent();
    }

    fn pass(&mut self, millis: i64) {
        self.now += millis;
        self.agent.handle_timeout(self.now);
        if let Some(server) = &mut self.server {
            server.handle_timeout(self.now);
        }
        self.run_agent();
        self.run_server(true);
    }

    /// Nobody asks to be woken at a time that has passed: that would be a loop without a pause.
    fn look(&mut self) {
        self.agent.handle_timeout(self.now);
        self.run_agent();
        assert!(self.agent.timeout().is_none_or(|at| at > self.now), "{:?}", self.agent.state());
    }

    /// Good wires from here on: all that was said arrives, in a bounded time.
    fn settle(&mut self) {
        self.up = true;
        for _ in 0..3_000 {
            if self.spool_first > self.spool_last {
                return;
            }
            self.step(64, 64, true);
            self.pass(500);
        }
        panic!("the agent still waits for {}..={}", self.spool_first, self.spool_last);
    }

    fn judge(&self) {
        assert!(self.committed.is_sorted_by(|a, b| a < b), "a message is applied twice or out of order");
        let kept = self.committed.iter().filter(|seq| **seq >= self.lost_before).count() as u64;
        assert_eq!(
            kept,
            self.spool_last + 1 - self.lost_before.min(self.spool_last + 1),
            "a message is missing"
        );
    }
}

pub(crate) fn spool_id() -> SpoolId {
    SpoolId::mint(Timestamp::from_millis(1), [1; 10])
}

pub(crate) fn welcome(epoch: i64, acked_seq: u64) -> Welcome {
    Welcome {
        protocol: PROTOCOL,
        epoch,
        server_version: "0".to_owned(),
        host_id: HostId::mint(Timestamp::default(), [0; 10]),
        clock: Timestamp::default(),
        spool_id: spool_id(),
        acked_seq,
        heartbeat_every: 30_000,
    }
}

pub(crate) fn hello(first_seq: u64, last_seq: u64) -> Hello {
    Hello {
        protocol: PROTOCOL,
        versions: AgentVersions {
            agent: "0".to_owned(),
            restic: None,
            restic_problem: None,
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
        },
        machine_id: "m".to_owned(),
        boot_id: "b".to_owned(),
        os_hostname: "h".to_owned(),
        clock: Timestamp::default(),
        spool_id: spool_id(),
        first_seq,
        last_seq,
        running_jobs: Vec::new(),
        spooled_jobs: Vec::new(),
        claims: Vec::new(),
        schedule_version: 0,
    }
}

pub(crate) fn message(seq: u64) -> AgentMessage {
    let at = Timestamp::from_millis((seq % 1_000_000) as i64);
    AgentMessage::JobStarted(JobStarted { job_id: JobId::mint(at, [0; 10]), at, run: None })
}
