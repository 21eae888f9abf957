//! What all parts of a history share: virtual time, what comes next, chance, the network, the repositories and the record.

use std::collections::BTreeMap;

use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, Frame, ServerMessage};

use crate::dice::Dice;
use crate::fates::Fate;
use crate::history::History;
use crate::network::Net;
use crate::repos::Repos;
use crate::when::BEGIN;

/// Something that happens.
#[derive(Debug)]
pub enum Event {
    /// An agent looks after what time brought; none but the newest of its timers counts.
    AgentTimer(usize, u64),
    /// A connection stands at its agent.
    Opened(usize, u64),
    /// It could not be made.
    Failed(usize, u64),
    /// The agent's side learns that it is over.
    LostByAgent(usize, u64),
    /// The server's side learns that it is over.
    LostByServer(u64),
    /// A frame reaches the server.
    Up(usize, u64, Box<Frame<AgentMessage>>),
    /// A message reaches an agent.
    Down(usize, u64, Box<ServerMessage>),
    /// A restic ends, if it is still the one that was started.
    ProcessEnds(usize, usize, u64),
    /// The server carries out what a connection brought.
    Work(u64),
    /// A connection's patience.
    Patience(u64),
    /// A line is played out again.
    Unparked(usize),
    /// The engine's loop turns; none but the newest of its timers counts.
    Round(u64),
    /// An agent begins.
    AgentStarts(usize),
    /// Fate strikes.
    Fate(Fate),
}

/// What all parts share.
#[derive(Debug)]
pub struct Fabric {
    /// Milliseconds since the beginning.
    pub now: i64,
    /// The only chance there is.
    pub dice: Dice,
    /// Each host's line to the server.
    pub nets: Vec<Net>,
    /// The repositories as they really are.
    pub repos: Repos,
    /// What really happened.
    pub history: History,
    /// Whether things still go wrong.
    pub troubled: bool,
    /// Whether a server process is there.
    pub server_up: bool,
    next: BTreeMap<(i64, u64), Event>,
    count: u64,
}

impl Fabric {
    /// Nothing happened yet.
    pub fn new(dice: Dice, history: History) -> Self {
        Self {
            now: 0,
            dice,
            nets: Vec::new(),
            repos: Repos::default(),
            history,
            troubled: true,
            server_up: true,
            next: BTreeMap::new(),
            count: 0,
        }
    }

    /// The wall clock, right everywhere.
    pub const fn wall(&self) -> Timestamp {
        Timestamp::from_millis(BEGIN + self.now)
    }

    /// Has something happen.
    pub fn after(&mut self, delay: i64, event: Event) {
        self.count += 1;
        self.next.insert((self.now + delay.max(0), self.count), event);
    }

    /// The next event up to an instant; time goes on to it.
    pub fn take(&mut self, until: i64) -> Option<Event> {
        let entry = self.next.first_entry()?;
        if entry.key().0 > until {
            return None;
        }
        self.now = entry.key().0;
        self.history.counts.events += 1;
        Some(entry.remove())
    }

    /// Writes an event down, if anybody wants to read it.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        self.history.note(self.now, what);
    }
}
