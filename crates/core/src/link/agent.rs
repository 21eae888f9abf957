//! The agent's end of the link.

use std::collections::{BTreeSet, VecDeque};

use crate::backoff;
use crate::link::{HEARTBEAT_EVERY, HELLO_TIMEOUT, REFUSED_RETRY, SILENCE_TIMEOUT, STEADY_AFTER, WINDOW};
use crate::wire::{ServerMessage, Welcome};

/// What the shell shall do next.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentAction {
    /// Open a connection; then call [`AgentLink::connected`] or [`AgentLink::disconnected`].
    Connect,
    /// Send hello, made from the state of this moment.
    SendHello,
    /// Send a heartbeat.
    SendHeartbeat,
    /// Send the reliable message with this number from the spool; where the number stands for nothing, call
    /// [`AgentLink::passed_over`].
    ///
    /// It and every frame behind it name the reliable one sent before on this connection ([`crate::wire::following`]).
    SendSpooled(u64),
    /// Act on a message of the server.
    Deliver(ServerMessage),
    /// Everything up to this number is committed at the server: the spool may forget it.
    Forget(u64),
    /// Close the connection; then call [`AgentLink::disconnected`].
    Close,
}

/// Why a connection is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownCause {
    /// It could not be made, or it broke.
    Network,
    /// The server said that it will not talk to this agent as it is.
    Refused,
}

/// Where the link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Waits for the next attempt.
    Waiting {
        /// When that is.
        until: i64,
    },
    /// The shell opens a connection.
    Connecting,
    /// Hello is sent, welcome is awaited.
    Greeting,
    /// The session stands.
    Live {
        /// Its number.
        epoch: i64,
    },
}

/// The agent's end: sans-IO, one value for the life of the agent.
#[derive(Debug)]
pub struct AgentLink {
    state: LinkState,
    actions: VecDeque<AgentAction>,
    /// The newest reliable message in the spool.
    last_seq: u64,
    acked: u64,
    sent: u64,
    /// Numbers between `acked` and `sent` that stand for nothing: no acknowledgement comes for them.
    empty: BTreeSet<u64>,
    attempt: u32,
    welcomed_at: i64,
    refused: bool,
    deadline: i64,
    heartbeat_at: i64,
    heartbeat_every: i64,
}

impl AgentLink {
    /// A link that connects at once; the spool holds messages `acked + 1 ..= last_seq`.
    pub fn new(acked: u64, last_seq: u64, now: i64) -> Self {
        let mut link = Self {
            state: LinkState::Waiting { until: now },
            actions: VecDeque::new(),
            last_seq,
            acked,
            sent: acked,
            empty: BTreeSet::new(),
            attempt: 0,
            welcomed_at: now,
            refused: false,
            deadline: now,
            heartbeat_at: now,
            heartbeat_every: HEARTBEAT_EVERY,
        };
        link.handle_timeout(now);
        link
    }

    /// Where it stands.
    pub const fn state(&self) -> LinkState {
        self.state
    }

    /// The session's number while it stands.
    pub const fn epoch(&self) -> Option<i64> {
        match self.state {
            LinkState::Live { epoch } => Some(epoch),
            LinkState::Waiting { .. } | LinkState::Connecting | LinkState::Greeting => None,
        }
    }

    /// The next action, if there is one.
    pub fn poll(&mut self) -> Option<AgentAction> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn timeout(&self) -> Option<i64> {
        match self.state {
            LinkState::Waiting { until } => Some(until),
            LinkState::Connecting => None,
            LinkState::Greeting => Some(self.deadline),
            LinkState::Live { .. } => Some(self.deadline.min(self.heartbeat_at)),
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: i64) {
        match self.state {
            LinkState::Waiting { until } if now >= until => {
                self.state = LinkState::Connecting;
                self.actions.push_back(AgentAction::Connect);
            }
            LinkState::Greeting if now >= self.deadline => self.close(),
            LinkState::Live { .. } if now >= self.deadline => self.close(),
            LinkState::Live { .. } if now >= self.heartbeat_at => {
                self.heartbeat_at = now + self.heartbeat_every;
                self.actions.push_back(AgentAction::SendHeartbeat);
            }
            LinkState::Waiting { .. }
            | LinkState::Connecting
            | LinkState::Greeting
            | LinkState::Live { .. } => {}
        }
    }

    /// The connection is open.
    pub fn connected(&mut self, now: i64) {
        if self.state != LinkState::Connecting {
            return;
        }
        self.state = LinkState::Greeting;
        self.deadline = now + HELLO_TIMEOUT;
        self.actions.push_back(AgentAction::SendHello);
    }

    /// The connection is down, or could not be made. `jitter_permille` (0..=1000) spreads the next attempt.
    pub fn disconnected(&mut self, cause: DownCause, jitter_permille: u32, now: i64) {
        // What was queued belonged to the old connection; what the spool may forget stays true.
        self.actions.retain(|action| matches!(action, AgentAction::Forget(_) | AgentAction::Deliver(_)));
        if self.epoch().is_some() && now - self.welcomed_at >= STEADY_AFTER {
            self.attempt = 0;
        }
        let cause = if self.refused { DownCause::Refused } else { cause };
        self.refused = false;
        let wait = match cause {
            DownCause::Refused => {
                REFUSED_RETRY + REFUSED_RETRY / 10_000 * i64::from(jitter_permille.min(1000))
            }
            DownCause::Network => {
                i64::try_from(backoff::reconnect_delay(self.attempt, jitter_permille)).unwrap_or(i64::MAX)
            }
        };
        self.attempt = self.attempt.saturating_add(1);
        self.send_again();
        self.state = LinkState::Waiting { until: now + wait };
    }

    /// Somebody asked to try at once: a signal, a network that came up.
    pub fn retry_now(&mut self, now: i64) {
        if let LinkState::Waiting { .. } = self.state {
            self.state = LinkState::Waiting { until: now };
            self.handle_timeout(now);
        }
    }

    /// The spool holds reliable messages up to `last_seq`.
    pub fn spooled(&mut self, last_seq: u64) {
        self.last_seq = self.last_seq.max(last_seq);
        self.fill_window();
    }

    /// Nothing was sent for this number: it stands for nothing, as what was given up for space does.
    pub fn passed_over(&mut self, seq: u64) {
        if seq > self.acked && seq <= self.sent {
            self.empty.insert(seq);
            self.fill_window();
        }
    }

    /// The server said something.
    pub fn received(&mut self, message: ServerMessage, now: i64) {
        match (&self.state, message) {
            (LinkState::Greeting, ServerMessage::Welcome(welcome)) => self.welcomed(welcome, now),
            (LinkState::Greeting | LinkState::Live { .. }, ServerMessage::Error(error)) => {
                self.refused = error.ends_session();
                self.actions.push_back(AgentAction::Deliver(ServerMessage::Error(error)));
                if self.refused {
                    self.close();
                }
            }
            (LinkState::Live { .. }, ServerMessage::Ack(ack)) => {
                self.deadline = now + SILENCE_TIMEOUT;
                self.acknowledged(ack.seq);
                if !ack.rejected.is_empty() {
                    self.actions.push_back(AgentAction::Deliver(ServerMessage::Ack(ack)));
                }
            }
            (LinkState::Live { epoch }, message) => {
                self.deadline = now + SILENCE_TIMEOUT;
                let stale = matches!(&message, ServerMessage::CommandRun(run) if run.epoch != *epoch);
                if !stale {
                    self.actions.push_back(AgentAction::Deliver(message));
                }
            }
            // Before welcome the server has nothing else to say; what comes is of an old connection.
            (LinkState::Waiting { .. } | LinkState::Connecting | LinkState::Greeting, _) => {}
        }
    }

    fn welcomed(&mut self, welcome: Welcome, now: i64) {
        self.state = LinkState::Live { epoch: welcome.epoch };
        self.welcomed_at = now;
        self.heartbeat_every = welcome.heartbeat_every.clamp(1_000, SILENCE_TIMEOUT / 2);
        self.heartbeat_at = now + self.heartbeat_every;
        self.deadline = now + SILENCE_TIMEOUT;
        // A server restored from an older copy counts less than what this spool already forgot: go on where we are.
        let acked = welcome.acked_seq.min(self.last_seq);
        self.send_again();
        self.actions.push_back(AgentAction::Deliver(ServerMessage::Welcome(welcome)));
        self.acknowledged(acked);
        self.fill_window();
    }

    fn acknowledged(&mut self, seq: u64) {
        let seq = seq.min(self.last_seq);
        if seq > self.acked {
            self.acked = seq;
            self.sent = self.sent.max(seq);
            self.empty = self.empty.split_off(&(seq + 1));
            self.actions.push_back(AgentAction::Forget(seq));
        }
        self.fill_window();
    }

    /// A new connection begins behind what is acknowledged.
    fn send_again(&mut self) {
        self.sent = self.acked;
        self.empty.clear();
    }

    fn fill_window(&mut self) {
        let LinkState::Live { .. } = self.state else { return };
        while self.sent < self.last_seq && self.sent - self.acked - (self.empty.len() as u64) < WINDOW {
            self.sent += 1;
            self.actions.push_back(AgentAction::SendSpooled(self.sent));
        }
    }

    fn close(&mut self) {
        self.actions
            .retain(|action| !matches!(action, AgentAction::SendSpooled(_) | AgentAction::SendHeartbeat));
        if self.actions.back() != Some(&AgentAction::Close) {
            self.actions.push_back(AgentAction::Close);
        }
        // Asks once; the shell answers with `disconnected`.
        self.deadline = i64::MAX;
        self.heartbeat_at = i64::MAX;
    }
}
