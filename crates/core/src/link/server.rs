//! The server's end of the link: one value per connection.

use std::collections::VecDeque;

use crate::link::{HELLO_TIMEOUT, SILENCE_TIMEOUT};
use crate::wire::{AgentMessage, Decoded, FrameError, Hello, OLDEST_PROTOCOL};

/// What the shell shall do next.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerAction {
    /// Take the session (merge its claims, give it an epoch), then call [`ServerLink::taken`].
    Take(Box<Hello>),
    /// Commit the effect of a reliable message, then call [`ServerLink::committed`] with its number.
    Apply {
        /// Its number.
        seq: u64,
        /// The message.
        message: AgentMessage,
    },
    /// Set a message aside that cannot be understood, by name, then call [`ServerLink::committed`].
    SetAside {
        /// Its number.
        seq: u64,
        /// Why.
        why: String,
    },
    /// Show a lossy message.
    Show(AgentMessage),
    /// Acknowledge everything up to this number.
    Ack(u64),
    /// Close the connection, after telling the agent why.
    Close(CloseReason),
}

/// Why the server closes a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// No hello within [`HELLO_TIMEOUT`].
    NoHello,
    /// Nothing was heard for [`SILENCE_TIMEOUT`].
    Silent,
    /// The first frame was something else.
    HelloExpected,
    /// The agent speaks a protocol that is too old.
    ProtocolTooOld {
        /// What it speaks.
        theirs: u16,
    },
    /// A frame came before a reliable message that was sent before it: that one would be lost.
    OutOfOrder {
        /// The number of the message that is missing.
        missing: u64,
    },
    /// A frame that is none.
    BadFrame(FrameError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    AwaitingHello,
    Taking,
    Live,
    Closed,
}

/// The server's end of one connection: sans-IO.
#[derive(Debug)]
pub struct ServerLink {
    phase: Phase,
    actions: VecDeque<ServerAction>,
    deadline: i64,
    /// The newest number handed out for commit.
    seen: u64,
    committed: u64,
    acked: u64,
}

impl ServerLink {
    /// A connection that was just accepted.
    pub fn new(now: i64) -> Self {
        Self {
            phase: Phase::AwaitingHello,
            actions: VecDeque::new(),
            deadline: now + HELLO_TIMEOUT,
            seen: 0,
            committed: 0,
            acked: 0,
        }
    }

    /// The next action, if there is one.
    pub fn poll(&mut self) -> Option<ServerAction> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub const fn timeout(&self) -> Option<i64> {
        match self.phase {
            Phase::AwaitingHello | Phase::Live => Some(self.deadline),
            Phase::Taking | Phase::Closed => None,
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: i64) {
        match self.phase {
            Phase::AwaitingHello if now >= self.deadline => self.close(CloseReason::NoHello),
            Phase::Live if now >= self.deadline => self.close(CloseReason::Silent),
            Phase::AwaitingHello | Phase::Taking | Phase::Live | Phase::Closed => {}
        }
    }

    /// The session was taken; messages up to `committed` of the agent's spool are already applied.
    pub fn taken(&mut self, committed: u64, now: i64) {
        if self.phase != Phase::Taking {
            return;
        }
        self.phase = Phase::Live;
        self.deadline = now + SILENCE_TIMEOUT;
        self.seen = committed;
        self.committed = committed;
        self.acked = committed;
    }

    /// Everything up to `seq` is committed: it may be acknowledged.
    pub fn committed(&mut self, seq: u64) {
        self.committed = self.committed.max(seq);
        self.ack();
    }

    /// A frame came in.
    pub fn received(&mut self, frame: Result<Decoded<AgentMessage>, FrameError>, now: i64) {
        if self.phase == Phase::Closed {
            return;
        }
        if self.phase == Phase::Live {
            self.deadline = now + SILENCE_TIMEOUT;
            // An acknowledgement covers everything before it, so what was overtaken would be forgotten. The next connection brings both.
            if let Some(missing) = sent_before(&frame).filter(|before| *before > self.seen) {
                return self.close(CloseReason::OutOfOrder { missing });
            }
        }
        match frame {
            Err(FrameError::Payload { seq: Some(seq), kind, why, .. }) if self.phase == Phase::Live => {
                self.number(seq, |seq| ServerAction::SetAside { seq, why: format!("`{kind}`: {why}") });
            }
            Err(error) => self.close(CloseReason::BadFrame(error)),
            Ok(Decoded::Unknown { seq: Some(seq), kind, .. }) if self.phase == Phase::Live => {
                let why = format!("unknown type `{kind}`");
                self.number(seq, |seq| ServerAction::SetAside { seq, why });
            }
            Ok(Decoded::Unknown { .. }) => {}
            Ok(Decoded::Message(frame)) => self.message(frame.seq, frame.message),
        }
    }

    fn message(&mut self, seq: Option<u64>, message: AgentMessage) {
        match (self.phase, message) {
            (Phase::AwaitingHello, AgentMessage::Hello(hello)) => {
                if hello.protocol < OLDEST_PROTOCOL {
                    return self.close(CloseReason::ProtocolTooOld { theirs: hello.protocol });
                }
                self.phase = Phase::Taking;
                self.actions.push_back(ServerAction::Take(hello));
            }
            (Phase::AwaitingHello, _) => self.close(CloseReason::HelloExpected),
            (Phase::Live, AgentMessage::Heartbeat(beat)) => {
                self.actions.push_back(ServerAction::Show(AgentMessage::Heartbeat(beat)));
                // The answer is also the server's sign of life.
                self.actions.push_back(ServerAction::Ack(self.committed));
            }
            (Phase::Live, message) => match seq {
                Some(seq) if message.is_reliable() => {
                    self.number(seq, |seq| ServerAction::Apply { seq, message });
                }
                Some(_) | None => self.actions.push_back(ServerAction::Show(message)),
            },
            // Frames behind hello that come before the session is taken: the agent sends them again.
            (Phase::Taking | Phase::Closed, _) => {}
        }
    }

    /// Hands out a numbered message once; a repeat is only acknowledged again.
    fn number(&mut self, seq: u64, action: impl FnOnce(u64) -> ServerAction) {
        if seq > self.seen {
            self.seen = seq;
            self.actions.push_back(action(seq));
        } else if seq <= self.committed {
            self.actions.push_back(ServerAction::Ack(self.committed));
        }
    }

    fn ack(&mut self) {
        if self.committed > self.acked && self.phase == Phase::Live {
            self.acked = self.committed;
            self.actions.push_back(ServerAction::Ack(self.committed));
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.phase = Phase::Closed;
        self.actions.push_back(ServerAction::Close(reason));
    }
}

/// The reliable message that was sent before this frame on its connection, where the frame says so.
fn sent_before(frame: &Result<Decoded<AgentMessage>, FrameError>) -> Option<u64> {
    match frame {
        Ok(Decoded::Message(frame)) => frame.after,
        Ok(Decoded::Unknown { after, .. }) | Err(FrameError::Payload { after, .. }) => *after,
        Err(FrameError::TooLong { .. } | FrameError::NotJson(_)) => None,
    }
}
