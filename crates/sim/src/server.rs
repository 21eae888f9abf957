//! The server: the real engine over the memory store, and one real link end a connection, driven as the real shell drives them.
//!
//! The store is its disk: it outlives every engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use restic_manager_core::id::{HostId, SpoolId};
use restic_manager_core::link::{ServerAction, ServerLink};
use restic_manager_core::wire::{Ack, AgentMessage, Decoded, Frame, Hello, ServerMessage, WireError};
use restic_manager_server::app::App;
use restic_manager_server::clock::{Clock, ManualClock};
use restic_manager_server::engine::{Dispatch, Engine, Incoming, Rounds, SendError};
use restic_manager_server::random::{Random, SeededRandom};
use restic_manager_server::vault::Vault;
use restic_manager_store::{MemoryStore, Store};

use crate::fabric::{Event, Fabric};
use crate::now_or_never;

/// The pause of the engine's loop while anything goes on.
const LOOK_EVERY: i64 = 5_000;
/// So long after the last event something may still be owed at that pace.
const BUSY_FOR: i64 = 45_000;
/// The pause within that time once what must come at once has come.
const CALM_LOOK: i64 = 15_000;
/// The pause while jobs wait for something.
const HELD_LOOK: i64 = 60_000;
/// The pause while nothing goes on: shorter ones would find the same.
const IDLE_LOOK: i64 = 300_000;

/// Where the server dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// Between taking frames in and committing them.
    BeforeCommit,
    /// Between the commit and its acknowledgement.
    AfterCommit,
    /// Between a dispatch and the message to the agent.
    InSend,
    /// Right after a session was taken, before anything was said.
    AfterHello,
}

#[derive(Debug, Default)]
struct Lines {
    hosts: BTreeMap<HostId, (i64, u64)>,
    out: Vec<(u64, ServerMessage)>,
    closing: Vec<u64>,
    /// The process is dead: nothing leaves it.
    mute: bool,
    dies_at_send: bool,
}

/// The engine's way to the agents.
#[derive(Debug, Default)]
pub struct Wires(Mutex<Lines>);

impl Wires {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, host: HostId, epoch: i64, conn: u64) {
        let mut lines = self.lines();
        if let Some((_, old)) = lines.hosts.insert(host, (epoch, conn)) {
            lines.closing.push(old);
        }
    }
}

#[async_trait]
impl Dispatch for Wires {
    fn epoch(&self, host_id: HostId) -> Option<i64> {
        self.lines().hosts.get(&host_id).map(|(epoch, _)| *epoch)
    }

    fn connected(&self) -> usize {
        self.lines().hosts.len()
    }

    fn online(&self) -> Vec<HostId> {
        self.lines().hosts.keys().copied().collect()
    }

    async fn send(&self, host_id: HostId, epoch: i64, message: ServerMessage) -> Result<(), SendError> {
        let mut lines = self.lines();
        let Some((_, conn)) = lines.hosts.get(&host_id).copied().filter(|(there, _)| *there == epoch) else {
            return Err(SendError::Offline);
        };
        if lines.dies_at_send {
            lines.mute = true;
        }
        if !lines.mute {
            lines.out.push((conn, message));
        }
        Ok(())
    }

    fn close(&self, host_id: HostId, epoch: i64, _why: Option<WireError>) {
        let mut lines = self.lines();
        if let Some((_, conn)) = lines.hosts.get(&host_id).copied().filter(|(there, _)| *there == epoch) {
            lines.closing.push(conn);
        }
    }
}

struct Conn {
    host: usize,
    link: ServerLink,
    session: Option<(i64, SpoolId)>,
    batch: Vec<Incoming>,
    working: bool,
}

/// A server process.
pub struct House {
    /// Its engine.
    pub engine: Arc<Engine>,
    /// Its façade.
    pub app: Arc<App>,
    wires: Arc<Wires>,
    conns: BTreeMap<u64, Conn>,
    rounds: Rounds,
    busy_until: i64,
    round: u64,
}

/// The server machine.
pub struct Server {
    /// Its disk.
    pub store: Arc<MemoryStore>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// Its chance, from the seed.
    pub random: Arc<SeededRandom>,
    vault: Arc<Vault>,
    /// The process, while there is one.
    pub house: Option<House>,
    /// The ids of the hosts.
    pub hosts: Vec<HostId>,
    /// Where it dies next.
    pub crash_at: Option<CrashPoint>,
    /// Until when it does nothing, though its connections stand.
    pub stuck_until: i64,
    rounds_asked: u64,
}

impl Server {
    /// A machine without a process.
    pub fn new(seed: u64, begin: i64) -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            clock: Arc::new(ManualClock::new(restic_manager_core::time::Timestamp::from_millis(begin))),
            random: Arc::new(SeededRandom::new(seed)),
            vault: Arc::new(Vault::in_memory()),
            house: None,
            hosts: Vec::new(),
            crash_at: None,
            stuck_until: 0,
            rounds_asked: 0,
        }
    }

    /// Its disk, as everybody else sees it.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// A process begins.
    pub fn start(&mut self, fabric: &mut Fabric) {
        if self.house.is_some() {
            return;
        }
        fabric.note(|| "the server starts".into());
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let (clock, random) =
            (Arc::clone(&self.clock) as Arc<dyn Clock>, Arc::clone(&self.random) as Arc<dyn Random>);
        let wires = Arc::new(Wires::default());
        let engine = Arc::new(Engine::new(
            Arc::clone(&store),
            Arc::clone(&wires) as Arc<dyn Dispatch>,
            Arc::clone(&self.vault),
            Arc::clone(&clock),
            Arc::clone(&random),
        ));
        let app = Arc::new(App::new(store, Arc::clone(&engine), clock, random));
        let rounds = Rounds::default();
        self.house =
            Some(House { engine, app, wires, conns: BTreeMap::new(), rounds, busy_until: 0, round: 0 });
        fabric.server_up = true;
        self.poke(fabric);
    }

    /// The process is gone at once.
    pub fn crash(&mut self, fabric: &mut Fabric) {
        self.crash_at = None;
        let Some(house) = self.house.take() else { return };
        fabric.note(|| "the server dies".into());
        fabric.history.counts.server_crashes += 1;
        fabric.server_up = false;
        for (number, conn) in house.conns {
            fabric.tell_agent_over(conn.host, number);
        }
        let wait = match fabric.dice.chance(250) {
            true => fabric.dice.between(600_000, 4 * 3_600_000),
            false => fabric.dice.between(500, 120_000),
        };
        fabric
            .after(if fabric.troubled { wait } else { 1_000 }, Event::Fate(crate::fates::Fate::ServerStarts));
    }

    fn dies(&mut self, point: CrashPoint, fabric: &mut Fabric) -> bool {
        let dies = self.crash_at == Some(point);
        if dies {
            fabric.note(|| format!("the server dies: {point:?}"));
            self.crash(fabric);
        }
        dies
    }

    /// Something changed: the loop turns soon, or a little later when the poke is lost.
    pub fn poke(&mut self, fabric: &mut Fabric) {
        let delay = if fabric.dice.chance(30) { LOOK_EVERY } else { 3 };
        let Some(house) = &mut self.house else { return };
        house.busy_until = fabric.now + BUSY_FOR;
        self.ask_round(delay, fabric);
    }

    fn ask_round(&mut self, delay: i64, fabric: &mut Fabric) {
        self.rounds_asked += 1;
        if let Some(house) = &mut self.house {
            house.round = self.rounds_asked;
        }
        fabric.after(delay, Event::Round(self.rounds_asked));
    }

    /// The loop turns.
    pub fn round(&mut self, number: u64, fabric: &mut Fabric) {
        let Some(house) = self.house.as_mut().filter(|house| house.round == number) else { return };
        house.wires.lines().dies_at_send = self.crash_at == Some(CrashPoint::InSend);
        let poked = fabric.now < house.busy_until;
        let report = now_or_never(house.engine.round(&mut house.rounds, poked)).unwrap_or_default();
        if house.wires.lines().mute {
            return self.flush(fabric);
        }
        let pause = match (fabric.now < house.busy_until, report.stale, report.held) {
            (_, 1.., _) => 3,
            (true, 0, _) if house.busy_until - fabric.now > BUSY_FOR - 16_000 => LOOK_EVERY,
            (true, 0, _) => CALM_LOOK,
            (false, 0, 1..) => HELD_LOOK,
            (false, 0, 0) => IDLE_LOOK,
        };
        if report.sent > 0 {
            house.busy_until = fabric.now + BUSY_FOR;
        }
        self.flush(fabric);
        self.ask_round(pause, fabric);
    }

    /// What the engine said leaves, and what it wants closed is closed.
    pub fn flush(&mut self, fabric: &mut Fabric) {
        let Some(house) = &mut self.house else { return };
        if house.wires.lines().mute {
            fabric.note(|| format!("the server dies: {:?}", CrashPoint::InSend));
            return self.crash(fabric);
        }
        let (out, closing) = {
            let mut lines = house.wires.lines();
            (std::mem::take(&mut lines.out), std::mem::take(&mut lines.closing))
        };
        for (conn, message) in out {
            if let Some(there) = house.conns.get(&conn) {
                fabric.send_down(there.host, conn, message);
            }
        }
        for conn in closing {
            self.part(conn, fabric);
        }
    }

    /// The server ends a connection.
    fn part(&mut self, conn: u64, fabric: &mut Fabric) {
        let host = self.house.as_ref().and_then(|house| house.conns.get(&conn)).map(|conn| conn.host);
        if let Some(host) = host {
            fabric.tell_agent_over(host, conn);
            self.lost(conn, fabric);
        }
    }

    /// A connection is over.
    pub fn lost(&mut self, conn: u64, fabric: &mut Fabric) {
        let Some(house) = &mut self.house else { return };
        let Some(there) = house.conns.remove(&conn) else { return };
        fabric.unpark(there.host);
        let host_id = self.hosts[there.host];
        let Some((epoch, _)) = there.session else { return };
        let mut lines = house.wires.lines();
        let ours = lines.hosts.get(&host_id).is_some_and(|(standing, _)| *standing == epoch);
        if ours {
            lines.hosts.remove(&host_id);
            drop(lines);
            house.engine.departed(host_id);
            self.poke(fabric);
        }
    }

    /// A connection comes in.
    pub fn opened(&mut self, host: usize, conn: u64, fabric: &mut Fabric) -> bool {
        let now = fabric.link_now(host);
        let Some(house) = &mut self.house else { return false };
        let link = ServerLink::new(now);
        house.conns.insert(conn, Conn { host, link, session: None, batch: Vec::new(), working: false });
        self.be_patient(conn, fabric);
        true
    }

    /// Looks again when a connection of which nothing is heard is given up.
    pub fn be_patient(&mut self, conn: u64, fabric: &mut Fabric) {
        let there = self.house.as_ref().and_then(|house| house.conns.get(&conn));
        let Some(there) = there.filter(|there| !fabric.nets[there.host].is_parked()) else { return };
        if let Some(at) = there.link.timeout() {
            let wait = at - fabric.link_now(there.host);
            fabric.after(wait.max(1), Event::Patience(conn));
        }
    }

    /// Time passed on a connection.
    pub fn patience(&mut self, conn: u64, fabric: &mut Fabric) {
        let there = self.house.as_mut().and_then(|house| house.conns.get_mut(&conn));
        let Some(there) = there.filter(|there| !fabric.nets[there.host].is_parked()) else { return };
        let now = fabric.link_now(there.host);
        if there.link.timeout().is_some_and(|at| now >= at) {
            there.link.handle_timeout(now);
            self.work(conn, fabric);
        }
        self.be_patient(conn, fabric);
    }

    /// A frame came in; it is worked off a moment later, with whatever came meanwhile.
    pub fn heard(&mut self, conn: u64, frame: Frame<AgentMessage>, fabric: &mut Fabric) {
        let there = self.house.as_mut().and_then(|house| house.conns.get_mut(&conn));
        let Some(there) = there else { return };
        let now = fabric.link_now(there.host);
        there.link.received(Ok(Decoded::Message(frame)), now);
        if !there.working {
            there.working = true;
            let delay = fabric.dice.between(1, 15);
            fabric.after(delay, Event::Work(conn));
        }
    }

    /// Carries out what a connection brought.
    pub fn work(&mut self, conn: u64, fabric: &mut Fabric) {
        loop {
            while let Some(action) = self.conn(conn).and_then(|there| there.link.poll()) {
                match action {
                    ServerAction::Take(hello) => self.take(conn, &hello, fabric),
                    ServerAction::Apply { seq, message } => {
                        self.gather(conn, Incoming::Message { seq, message });
                    }
                    ServerAction::SetAside { seq, why } => {
                        self.gather(conn, Incoming::SetAside { seq, why });
                    }
                    ServerAction::Show(AgentMessage::Heartbeat(beat)) => {
                        if let Some(house) = &self.house
                            && let Some(there) = house.conns.get(&conn)
                        {
                            house.engine.heartbeat(self.hosts[there.host], beat.clock);
                        }
                    }
                    ServerAction::Show(_) => {}
                    ServerAction::Ack(seq) => self.ack(conn, seq, Vec::new(), fabric),
                    ServerAction::Close(_) => self.part(conn, fabric),
                }
            }
            match self.conn(conn) {
                Some(there) if !there.batch.is_empty() => self.apply(conn, fabric),
                Some(there) => {
                    there.working = false;
                    return;
                }
                None => return,
            }
        }
    }

    fn conn(&mut self, conn: u64) -> Option<&mut Conn> {
        self.house.as_mut()?.conns.get_mut(&conn)
    }

    fn gather(&mut self, conn: u64, incoming: Incoming) {
        if let Some(there) = self.conn(conn) {
            there.batch.push(incoming);
        }
    }

    fn ack(&mut self, conn: u64, seq: u64, rejected: Vec<(u64, String)>, fabric: &mut Fabric) {
        if let Some(there) = self.conn(conn) {
            let host = there.host;
            fabric.send_down(host, conn, ServerMessage::Ack(Ack { seq, rejected }));
        }
    }

    fn apply(&mut self, conn: u64, fabric: &mut Fabric) {
        let Some(there) = self.conn(conn) else { return };
        let (host, batch) = (there.host, std::mem::take(&mut there.batch));
        let Some((_, spool)) = there.session else { return self.part(conn, fabric) };
        if self.dies(CrashPoint::BeforeCommit, fabric) {
            return;
        }
        let host_id = self.hosts[host];
        let numbers: Vec<u64> = batch.iter().map(Incoming::seq).collect();
        let last = numbers.iter().copied().max().unwrap_or(0);
        let Some(house) = &self.house else { return };
        match now_or_never(house.engine.ingest(host_id, spool, batch)) {
            Ok(rejected) => {
                numbers.iter().for_each(|seq| fabric.history.commit(host_id, spool, *seq));
                if self.dies(CrashPoint::AfterCommit, fabric) {
                    return;
                }
                if !rejected.is_empty() {
                    fabric.note(|| format!("rejected: {rejected:?}"));
                    self.ack(conn, last, rejected, fabric);
                }
                if let Some(there) = self.conn(conn) {
                    there.link.committed(last);
                }
            }
            Err(error) => {
                fabric.history.wrong.push(format!("a report could not be stored: {error}"));
                self.part(conn, fabric);
            }
        }
        self.flush(fabric);
        self.poke(fabric);
    }

    fn take(&mut self, conn: u64, hello: &Hello, fabric: &mut Fabric) {
        let Some(host) = self.conn(conn).map(|there| there.host) else { return };
        let host_id = self.hosts[host];
        let Ok(Some(row)) = now_or_never(self.store().host(host_id)) else { return self.part(conn, fabric) };
        let Some(house) = &mut self.house else { return };
        let (engine, wires) = (Arc::clone(&house.engine), Arc::clone(&house.wires));
        let greeting = now_or_never(engine.hello(&row, hello, |epoch| wires.insert(host_id, epoch, conn)));
        match greeting {
            Ok(greeting) => {
                fabric.note(|| format!("{}: hello, session {}", row.name, greeting.epoch));
                if self.dies(CrashPoint::AfterHello, fabric) {
                    return;
                }
                let now = fabric.link_now(host);
                if let Some(there) = self.conn(conn) {
                    there.session = Some((greeting.epoch, hello.spool_id));
                    there.link.taken(greeting.committed_seq, now);
                }
                for message in greeting.messages {
                    fabric.send_down(host, conn, message);
                }
                if let Err(error) = now_or_never(engine.init_unopened(host_id)) {
                    fabric.history.wrong.push(format!("new repositories were not asked for: {error}"));
                }
                self.flush(fabric);
                self.be_patient(conn, fabric);
                self.poke(fabric);
            }
            Err(refused) => {
                fabric.history.wrong.push(format!("{}: a hello was refused: {refused:?}", row.name));
                self.part(conn, fabric);
            }
        }
    }

    /// Whether a session stands on this connection, with nothing left to do.
    pub fn is_quiet(&self, conn: u64) -> bool {
        let there = self.house.as_ref().and_then(|house| house.conns.get(&conn));
        there.is_some_and(|there| there.session.is_some() && there.batch.is_empty() && !there.working)
    }
}
