//! One history: from a seed to its end.

use restic_manager_core::id::{RepoId, UserId};
use restic_manager_core::text::LoginName;
use restic_manager_core::time::HOUR;
use restic_manager_server::app::Caller;

use crate::agent::Host;
use crate::dice::Dice;
use crate::fabric::{Event, Fabric};
use crate::fleet::Size;
use crate::history::History;
use crate::server::Server;
use crate::when::BEGIN;

/// How long everything works before the end is judged.
pub const SETTLES: i64 = 12 * HOUR;

/// All there is.
pub struct World {
    /// What all parts share.
    pub fabric: Fabric,
    /// The machines.
    pub hosts: Vec<Host>,
    /// The server.
    pub server: Server,
    /// The repositories.
    pub repos: Vec<RepoId>,
    /// The operator.
    pub caller: Caller,
    /// How often fate strikes, in milliseconds on the average.
    pub gap: i64,
    /// When everything healed.
    pub healed_at: i64,
}

impl World {
    /// Plays the history of a seed to its end.
    pub fn play(seed: u64, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let size = Size::of(seed, &mut dice);
        let server = Server::new(seed, BEGIN);
        let Ok(username) = LoginName::new("ada") else { unreachable!("a name that is possible") };
        let user_id = UserId::mint(restic_manager_core::time::Timestamp::from_millis(BEGIN), dice.id_bytes());
        let mut world = Self {
            fabric: Fabric::new(dice, History::new(trace)),
            hosts: Vec::new(),
            server,
            repos: Vec::new(),
            caller: Caller { user_id, username },
            gap: size.gap,
            healed_at: size.lasts,
        };
        world.build(size);
        let until = size.lasts + SETTLES;
        let mut clock = 0;
        while let Some(event) = world.fabric.take(until) {
            world.server.clock.advance(world.fabric.now - clock);
            clock = world.fabric.now;
            world.happens(event);
        }
        world.server.clock.advance(until - clock);
        world.fabric.now = until;
        for host in &mut world.hosts {
            host.was_up(&mut world.fabric);
        }
        world
    }

    fn happens(&mut self, event: Event) {
        let stuck_for = self.server.stuck_until - self.fabric.now;
        match event {
            Event::Work(_) | Event::Patience(_) | Event::Round(_) if stuck_for > 0 => {
                self.fabric.after(stuck_for, event);
            }
            Event::AgentTimer(host, timer) => self.hosts[host].timer(timer, &mut self.fabric),
            Event::Opened(host, conn) => self.opened(host, conn),
            Event::Failed(host, conn) | Event::LostByAgent(host, conn) => self.down(host, conn),
            Event::LostByServer(conn) => self.server.lost(conn, &mut self.fabric),
            Event::Up(host, conn, frame) => {
                if self.fabric.arrives_up(host, conn) {
                    self.server.heard(conn, *frame, &mut self.fabric);
                }
            }
            Event::Down(host, conn, message) => self.told(host, conn, *message),
            Event::ProcessEnds(host, process, version) => {
                self.hosts[host].process_ends(process, version, &mut self.fabric);
            }
            Event::Work(conn) => {
                self.server.work(conn, &mut self.fabric);
                self.park(usize::try_from(conn >> 32).unwrap_or(0));
            }
            Event::Patience(conn) => self.server.patience(conn, &mut self.fabric),
            Event::Unparked(host) => {
                if let Some(conn) = self.conn_of(host) {
                    self.server.be_patient(conn, &mut self.fabric);
                }
                self.hosts[host].look(&mut self.fabric);
            }
            Event::Round(number) => self.server.round(number, &mut self.fabric),
            Event::AgentStarts(host) => self.hosts[host].start(&mut self.fabric),
            Event::Fate(fate) => self.fate(fate),
        }
    }

    fn opened(&mut self, host: usize, conn: u64) {
        let ours = self.hosts[host].is_up() && self.conn_of(host) == Some(conn);
        if !ours {
            return;
        }
        if !self.fabric.nets[host].is_up() || !self.server.opened(host, conn, &mut self.fabric) {
            return self.down(host, conn);
        }
        let now = self.fabric.link_now(host);
        if let Some(mind) = &mut self.hosts[host].mind {
            mind.link.connected(now);
        }
        self.hosts[host].look(&mut self.fabric);
    }

    fn conn_of(&self, host: usize) -> Option<u64> {
        self.hosts[host].mind.as_ref().map(|mind| mind.conn)
    }

    fn down(&mut self, host: usize, conn: u64) {
        if self.hosts[host].is_up() && self.conn_of(host) == Some(conn) {
            self.hosts[host].disconnected(&mut self.fabric);
            self.hosts[host].look(&mut self.fabric);
        }
    }

    fn told(&mut self, host: usize, conn: u64, message: restic_manager_core::wire::ServerMessage) {
        let there = self.hosts[host].is_up();
        if !self.fabric.arrives_down(host, conn, there) || self.conn_of(host) != Some(conn) {
            return;
        }
        let now = self.fabric.link_now(host);
        if let Some(mind) = &mut self.hosts[host].mind {
            mind.link.received(message, now);
        }
        self.hosts[host].look(&mut self.fabric);
        self.park(host);
    }

    /// A line on which only heartbeats would go is not played out.
    fn park(&mut self, host: usize) {
        let machine = &self.hosts[host];
        let Some(mind) = machine.mind.as_ref().filter(|_| machine.is_up()) else { return };
        let quiet = mind.link.epoch().is_some()
            && machine.disk.spool.is_empty()
            && self.fabric.nets[host].is_idle()
            && self.server.is_quiet(mind.conn);
        if quiet {
            self.fabric.park(host);
        }
    }
}
