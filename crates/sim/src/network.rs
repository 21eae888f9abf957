//! Each host's line to the server: frames come in order, late, or not at all.
//!
//! A line that only exchanges heartbeats is not played out: while nothing is under way on it, the clock of its two link ends stands still.

use restic_manager_core::wire::{AgentMessage, Frame, ServerMessage};

use crate::fabric::{Event, Fabric};

/// One host's line.
#[derive(Debug, Default)]
pub struct Net {
    /// Whether frames get through.
    down: u32,
    /// The connection that lost a frame upwards: nothing more comes through on it.
    hole_up: u64,
    hole_down: u64,
    /// When the last frame of each direction comes in.
    last_up: i64,
    last_down: i64,
    /// Frames under way.
    under_way: u32,
    parked_at: Option<i64>,
    frozen: i64,
}

impl Net {
    /// Whether frames get through.
    pub const fn is_up(&self) -> bool {
        self.down == 0
    }

    /// Whether nothing is under way.
    pub const fn is_idle(&self) -> bool {
        self.under_way == 0 && self.down == 0
    }

    /// Whether its heartbeats are not played out at present.
    pub const fn is_parked(&self) -> bool {
        self.parked_at.is_some()
    }
}

impl Fabric {
    /// The clock of a line's two link ends.
    pub fn link_now(&self, host: usize) -> i64 {
        let net = &self.nets[host];
        net.parked_at.unwrap_or(self.now) - net.frozen
    }

    /// From here on only heartbeats would go over the line.
    pub fn park(&mut self, host: usize) {
        let now = self.now;
        let net = &mut self.nets[host];
        net.parked_at = net.parked_at.or(Some(now));
    }

    /// Something is to happen on the line.
    pub fn unpark(&mut self, host: usize) {
        let now = self.now;
        let net = &mut self.nets[host];
        if let Some(at) = net.parked_at.take() {
            net.frozen += now - at;
            self.after(0, Event::Unparked(host));
        }
    }

    /// The line breaks, without a word to either side.
    pub fn cut(&mut self, host: usize) {
        self.unpark(host);
        self.nets[host].down += 1;
    }

    /// The line is mended.
    pub fn mend(&mut self, host: usize) {
        self.nets[host].down = self.nets[host].down.saturating_sub(1);
    }

    /// The line works from here on, whatever was broken.
    pub fn is_whole(&mut self, host: usize) {
        self.nets[host].down = 0;
    }

    fn delay(&mut self) -> i64 {
        match self.dice.chance(20) {
            true => self.dice.between(200, 20_000),
            false => self.dice.between(2, 120),
        }
    }

    /// An agent asks for a connection with this number.
    pub fn connect(&mut self, host: usize, conn: u64) {
        self.unpark(host);
        if !self.nets[host].is_up() {
            self.after(10_000, Event::Failed(host, conn));
        } else if self.server_up {
            let delay = self.delay();
            self.after(delay, Event::Opened(host, conn));
        } else {
            self.after(60, Event::Failed(host, conn));
        }
    }

    /// A frame leaves for the server.
    pub fn send_up(&mut self, host: usize, conn: u64, frame: Frame<AgentMessage>) {
        self.unpark(host);
        let delay = self.delay();
        let at = (self.now + delay).max(self.nets[host].last_up);
        let net = &mut self.nets[host];
        if net.down > 0 || net.hole_up == conn {
            net.hole_up = conn;
            return;
        }
        (net.last_up, net.under_way) = (at, net.under_way + 1);
        self.after(at - self.now, Event::Up(host, conn, Box::new(frame)));
    }

    /// A message leaves for an agent.
    pub fn send_down(&mut self, host: usize, conn: u64, message: ServerMessage) {
        self.unpark(host);
        let delay = self.delay();
        let at = (self.now + delay).max(self.nets[host].last_down);
        let net = &mut self.nets[host];
        if net.down > 0 || net.hole_down == conn {
            net.hole_down = conn;
            return;
        }
        (net.last_down, net.under_way) = (at, net.under_way + 1);
        self.after(at - self.now, Event::Down(host, conn, Box::new(message)));
    }

    /// A frame would come in: whether the line is whole.
    pub fn arrives_up(&mut self, host: usize, conn: u64) -> bool {
        let net = &mut self.nets[host];
        net.under_way -= 1;
        if net.down > 0 {
            net.hole_up = conn;
        }
        net.hole_up != conn
    }

    /// A message would come in: whether the line is whole and somebody is there to hear it.
    pub fn arrives_down(&mut self, host: usize, conn: u64, awake: bool) -> bool {
        let net = &mut self.nets[host];
        net.under_way -= 1;
        if net.down > 0 || !awake {
            net.hole_down = conn;
        }
        net.hole_down != conn
    }

    /// The server's side of a connection ended: the agent hears of it, if anything gets through.
    pub fn tell_agent_over(&mut self, host: usize, conn: u64) {
        self.unpark(host);
        let delay = self.delay();
        let net = &self.nets[host];
        if net.down == 0 && net.hole_down != conn {
            let at = (self.now + delay).max(net.last_down);
            self.after(at - self.now, Event::LostByAgent(host, conn));
        }
    }

    /// The agent's side of a connection ended: the server hears of it, if anything gets through.
    pub fn tell_server_over(&mut self, host: usize, conn: u64) {
        self.unpark(host);
        let delay = self.delay();
        let net = &self.nets[host];
        if net.down == 0 && net.hole_up != conn {
            let at = (self.now + delay).max(net.last_up);
            self.after(at - self.now, Event::LostByServer(conn));
        }
    }
}
