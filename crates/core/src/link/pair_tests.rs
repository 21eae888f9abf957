//! Both ends in one test, on virtual time: whatever the network does, every reliable message is applied exactly once
//! and in order. Anything may be lost, late, repeated, overtaken, cut off or halved, and numbers may stand for nothing.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::id::{HostId, SpoolId};
use crate::time::Timestamp;
use crate::wire::{
    Ack, AgentMessage, AgentVersions, Decoded, Frame, Heartbeat, Hello, JobStarted, PROTOCOL, ServerMessage,
    Welcome,
};

fn spool_id() -> SpoolId {
    SpoolId::mint(Timestamp::from_millis(1), [1; 10])
}

pub(super) fn welcome(epoch: i64, acked_seq: u64) -> Welcome {
    Welcome {
        protocol: PROTOCOL,
        epoch,
        server_version: "0".into(),
        host_id: HostId::mint(Timestamp::default(), [0; 10]),
        clock: Timestamp::default(),
        spool_id: spool_id(),
        acked_seq,
        heartbeat_every: HEARTBEAT_EVERY,
    }
}

pub(super) fn hello(first_seq: u64, last_seq: u64) -> Hello {
    Hello {
        protocol: PROTOCOL,
        versions: AgentVersions {
            agent: "0".into(),
            restic: None,
            restic_problem: None,
            os: "linux".into(),
            arch: "x86_64".into(),
        },
        machine_id: "m".into(),
        boot_id: "b".into(),
        os_hostname: "h".into(),
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

pub(super) fn message(seq: u64) -> AgentMessage {
    let job_id = crate::id::JobId::mint(Timestamp::from_millis(seq as i64), [0; 10]);
    AgentMessage::JobStarted(JobStarted { job_id, at: Timestamp::from_millis(seq as i64), run: None })
}

/// The world around both ends: a spool, a database, and wires that deliver in order, late, or not at all.
struct World {
    now: i64,
    agent: AgentLink,
    spool_first: u64,
    spool_last: u64,
    /// Numbers that stand for nothing, as what the spool gave up for space does.
    given_up: BTreeSet<u64>,
    /// The reliable message sent last on the connection in hand.
    last_sent: Option<u64>,
    server: Option<ServerLink>,
    /// What the server has committed: the oracle reads only this.
    applied: Vec<u64>,
    to_server: VecDeque<Frame<AgentMessage>>,
    to_agent: VecDeque<ServerMessage>,
    epoch: i64,
    up: bool,
    connects: u32,
}

impl World {
    fn new() -> Self {
        Self {
            now: 0,
            agent: AgentLink::new(0, 0, 0),
            spool_first: 1,
            spool_last: 0,
            given_up: BTreeSet::new(),
            last_sent: None,
            server: None,
            applied: Vec::new(),
            to_server: VecDeque::new(),
            to_agent: VecDeque::new(),
            epoch: 0,
            up: true,
            connects: 0,
        }
    }

    fn produce(&mut self, count: u64) {
        self.spool_last += count;
        self.agent.spooled(self.spool_last);
    }

    /// The spool gives up so many of its oldest messages, never the newest.
    fn give_up(&mut self, count: u64) {
        let end = (self.spool_first + count).min(self.spool_last);
        let committed = self.applied.last().copied().unwrap_or(0);
        self.given_up.extend((self.spool_first..end).filter(|seq| *seq > committed));
    }

    /// What must be committed in the end.
    fn owed(&self) -> Vec<u64> {
        (1..=self.spool_last)
            .filter(|seq| !self.given_up.contains(seq) || self.applied.contains(seq))
            .collect()
    }

    fn cut(&mut self) {
        self.last_sent = None;
        self.server = None;
        self.to_server.clear();
        self.to_agent.clear();
    }

    fn run_agent(&mut self) {
        while let Some(action) = self.agent.poll() {
            match action {
                AgentAction::Connect if self.up => {
                    self.connects += 1;
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
                    assert!(
                        seq >= self.spool_first,
                        "message {seq} was forgotten before it was acknowledged"
                    );
                    if self.given_up.contains(&seq) {
                        self.agent.passed_over(seq);
                    } else {
                        let frame = Frame::reliable(seq, message(seq));
                        self.to_server.push_back(frame.following(self.last_sent.replace(seq)));
                    }
                }
                AgentAction::Forget(seq) => {
                    assert!(
                        self.applied.contains(&seq),
                        "{seq} is forgotten, but the server never committed it"
                    );
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
                ServerAction::Take(_) => {
                    self.epoch += 1;
                    let committed = self.applied.last().copied().unwrap_or(0);
                    self.to_agent.push_back(ServerMessage::Welcome(welcome(self.epoch, committed)));
                    server.taken(committed, self.now);
                }
                ServerAction::Apply { seq, .. } | ServerAction::SetAside { seq, .. } if commits => {
                    self.applied.push(seq);
                    server.committed(seq);
                }
                // A server that dies between taking a message in and committing it.
                ServerAction::Apply { .. } | ServerAction::SetAside { .. } => {
                    self.server = None;
                    self.to_agent.clear();
                    return;
                }
                ServerAction::Show(_) => {}
                ServerAction::Ack(seq) => {
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

    fn step(&mut self, deliver_up: usize, deliver_down: usize, commits: bool) {
        self.run_agent();
        for _ in 0..deliver_up {
            let Some(frame) = self.to_server.pop_front() else { break };
            if let Some(server) = &mut self.server {
                server.received(Ok(Decoded::Message(frame)), self.now);
            }
            self.run_server(commits);
        }
        for _ in 0..deliver_down {
            let Some(message) = self.to_agent.pop_front() else { break };
            self.agent.received(message, self.now);
            self.run_agent();
        }
        self.run_agent();
    }

    /// Half a frame arrives in the place of one: the connection is worth nothing after it.
    fn truncate(&mut self) {
        if let (Some(frame), Some(server)) = (self.to_server.pop_front(), &mut self.server) {
            let whole = frame.to_text();
            server.received(crate::wire::decode_agent(&whole[..whole.len() / 2]), self.now);
            self.run_server(true);
        }
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

    /// Lets everything through until nothing is left, within a bounded number of steps.
    fn settle(&mut self) {
        self.up = true;
        for _ in 0..2_000 {
            if self.spool_first > self.spool_last {
                return;
            }
            self.step(64, 64, true);
            self.pass(500);
        }
    }
}

fn overtake<F>(wire: &mut VecDeque<F>, one: u8, other: u8) {
    let (one, other) = (usize::from(one), usize::from(other));
    if one.max(other) < wire.len() {
        wire.swap(one, other);
    }
}

#[derive(Debug, Clone)]
enum Event {
    Produce(u8),
    Deliver(u8, u8),
    LoseCommit,
    Cut,
    Silence,
    Down(bool),
    RepeatUp,
    /// The frame with the first number comes after that of the second one.
    Overtake(u8, u8),
    /// One frame under way vanishes, and the connection stands.
    DropUp(u8),
    /// As [`Self::Overtake`], towards the agent.
    OvertakeDown(u8, u8),
    GiveUp(u16),
    Truncate,
    Storm(u8),
    Pass(u16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u8..30).prop_map(Event::Produce),
        8 => (0u8..40, 0u8..10).prop_map(|(up, down)| Event::Deliver(up, down)),
        1 => Just(Event::LoseCommit),
        1 => Just(Event::Cut),
        1 => Just(Event::Silence),
        1 => any::<bool>().prop_map(Event::Down),
        1 => Just(Event::RepeatUp),
        2 => (0u8..20, 0u8..20).prop_map(|(one, other)| Event::Overtake(one, other)),
        1 => (0u8..20).prop_map(Event::DropUp),
        1 => (0u8..4, 0u8..4).prop_map(|(one, other)| Event::OvertakeDown(one, other)),
        1 => (1u16..40).prop_map(Event::GiveUp),
        1 => Just(Event::Truncate),
        1 => (2u8..12).prop_map(Event::Storm),
        4 => (1u16..40_000).prop_map(Event::Pass),
    ]
}

proptest! {
    #[test]
    fn every_reliable_message_is_committed_exactly_once_and_in_order(
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut world = World::new();
        for event in events {
            match event {
                Event::Produce(count) => world.produce(u64::from(count)),
                Event::Deliver(up, down) => world.step(usize::from(up), usize::from(down), true),
                Event::LoseCommit => world.step(3, 0, false),
                Event::Cut => {
                    world.cut();
                    world.agent.disconnected(DownCause::Network, 300, world.now);
                }
                // The wire swallows what is under way, and neither end is told.
                Event::Silence => { world.to_server.clear(); world.to_agent.clear(); world.server = None; }
                Event::Down(down) => world.up = !down,
                Event::RepeatUp => if let Some(frame) = world.to_server.front().cloned() {
                    world.to_server.push_front(frame);
                },
                Event::Overtake(one, other) => overtake(&mut world.to_server, one, other),
                Event::DropUp(at) => drop(world.to_server.remove(usize::from(at))),
                Event::OvertakeDown(one, other) => overtake(&mut world.to_agent, one, other),
                Event::GiveUp(count) => world.give_up(u64::from(count)),
                Event::Truncate => world.truncate(),
                Event::Storm(times) => for n in 0..times {
                    world.cut();
                    world.agent.disconnected(DownCause::Network, u32::from(n) * 90, world.now);
                    world.agent.retry_now(world.now);
                    world.step(usize::from(n), usize::from(n % 3), n % 4 != 0);
                },
                Event::Pass(millis) => world.pass(i64::from(millis)),
            }
        }
        world.settle();
        prop_assert_eq!(&world.applied, &world.owed());
        prop_assert!(world.spool_first > world.spool_last, "the agent still waits for acknowledgements");
    }
}

#[test]
fn the_window_bounds_what_is_under_way() {
    let mut world = World::new();
    world.produce(WINDOW * 3);
    world.step(1, 1, true);
    world.run_agent();
    assert_eq!(world.to_server.len() as u64, WINDOW);
    world.settle();
    assert_eq!(world.applied.len() as u64, WINDOW * 3);
}

#[test]
fn numbers_that_stand_for_nothing_do_not_fill_the_window() {
    let mut world = World::new();
    world.produce(WINDOW * 3);
    world.given_up = (2..=WINDOW * 3 - 1).collect();
    world.settle();
    assert_eq!(world.applied, [1, WINDOW * 3]);
}

#[test]
fn a_frame_that_overtook_another_ends_the_connection_and_the_next_one_brings_both() {
    let mut world = World::new();
    world.step(9, 9, true);
    world.produce(3);
    world.run_agent();
    world.to_server.swap(1, 2);
    world.step(9, 9, true);
    assert_eq!((world.applied.as_slice(), world.agent.epoch()), ([1].as_slice(), None));
    world.settle();
    assert_eq!(world.applied, [1, 2, 3]);
}

#[test]
fn a_connection_that_stays_silent_is_given_up_and_made_anew() {
    let mut world = World::new();
    world.step(9, 9, true);
    assert!(world.agent.epoch().is_some());
    world.server = None;
    for _ in 0..40 {
        world.to_server.clear();
        world.pass(10_000);
    }
    world.settle();
    assert!(world.connects > 1);
}

#[test]
fn the_server_closes_on_a_first_frame_that_is_no_hello_and_on_none_at_all() {
    let mut link = ServerLink::new(0);
    let beat = AgentMessage::Heartbeat(Heartbeat { clock: Timestamp::default() });
    link.received(Ok(Decoded::Message(Frame::lossy(beat))), 5);
    assert_eq!(link.poll(), Some(ServerAction::Close(CloseReason::HelloExpected)));
    let mut link = ServerLink::new(0);
    link.handle_timeout(HELLO_TIMEOUT - 1);
    assert_eq!(link.poll(), None);
    link.handle_timeout(HELLO_TIMEOUT);
    assert_eq!(link.poll(), Some(ServerAction::Close(CloseReason::NoHello)));
}

#[test]
fn an_old_protocol_is_refused_by_name() {
    let mut link = ServerLink::new(0);
    let old = Hello { protocol: 0, ..hello(1, 0) };
    link.received(Ok(Decoded::Message(Frame::lossy(AgentMessage::Hello(Box::new(old))))), 1);
    assert_eq!(link.poll(), Some(ServerAction::Close(CloseReason::ProtocolTooOld { theirs: 0 })));
}

#[test]
fn a_message_that_makes_no_sense_is_set_aside_and_does_not_block_the_rest() {
    let mut link = ServerLink::new(0);
    let first = Frame::lossy(AgentMessage::Hello(Box::new(hello(1, 2))));
    link.received(Ok(Decoded::Message(first)), 1);
    assert!(matches!(link.poll(), Some(ServerAction::Take(_))));
    link.taken(0, 1);
    let error =
        crate::wire::FrameError::Payload { kind: "x".into(), seq: Some(1), after: None, why: "no".into() };
    link.received(Err(error), 2);
    assert!(matches!(link.poll(), Some(ServerAction::SetAside { seq: 1, .. })));
    link.received(Ok(Decoded::Message(Frame::reliable(2, message(2)))), 3);
    assert!(matches!(link.poll(), Some(ServerAction::Apply { seq: 2, .. })));
    link.committed(2);
    assert_eq!(link.poll(), Some(ServerAction::Ack(2)));
}

#[test]
fn a_refusal_for_good_reasons_waits_an_hour_and_a_broken_network_does_not() {
    let mut agent = AgentLink::new(0, 0, 0);
    assert_eq!(agent.poll(), Some(AgentAction::Connect));
    agent.disconnected(DownCause::Refused, 0, 10);
    assert_eq!(agent.timeout(), Some(10 + REFUSED_RETRY));
    agent.retry_now(20);
    assert_eq!(agent.poll(), Some(AgentAction::Connect));
    agent.disconnected(DownCause::Network, 1000, 30);
    assert!(agent.timeout().is_some_and(|at| at <= 30 + 60_000));
}

/// The longest pause after a session that stood for `lasted`, when three attempts before it came to nothing.
fn pause_after_a_session_of(lasted: i64) -> i64 {
    let mut agent = AgentLink::new(0, 0, 0);
    for _ in 0..3 {
        agent.disconnected(DownCause::Network, 1000, 0);
        agent.retry_now(0);
    }
    agent.connected(0);
    agent.received(ServerMessage::Welcome(welcome(1, 0)), 0);
    assert_eq!(agent.epoch(), Some(1));
    agent.disconnected(DownCause::Network, 1000, lasted);
    agent.timeout().unwrap() - lasted
}

#[test]
fn only_a_session_that_lasted_makes_the_pauses_short_again() {
    assert_eq!(pause_after_a_session_of(STEADY_AFTER), 1_000);
    assert_eq!(pause_after_a_session_of(STEADY_AFTER - 1), 8_000);
}

#[test]
fn a_command_of_another_session_is_dropped() {
    let mut world = World::new();
    world.step(9, 9, true);
    let epoch = world.agent.epoch().unwrap();
    let run = |epoch| {
        ServerMessage::CommandRun(Box::new(crate::wire::CommandRun {
            job_id: crate::id::JobId::mint(Timestamp::default(), [0; 10]),
            epoch,
            repo_id: crate::id::RepoId::mint(Timestamp::default(), [0; 10]),
            restic_host: crate::text::ResticHost::new("h").unwrap(),
            run: None,
            attempt: 1,
            requires_admin_creds: false,
            auto_unlock: crate::wire::AutoUnlock::Off,
            limit_upload_kib: None,
            limit_download_kib: None,
            spec: crate::wire::JobSpec::Init,
        }))
    };
    world.agent.received(run(epoch - 1), 1);
    assert_eq!(world.agent.poll(), None);
    world.agent.received(run(epoch), 1);
    assert!(matches!(world.agent.poll(), Some(AgentAction::Deliver(ServerMessage::CommandRun(_)))));
}
