//! Who is connected, and how a message reaches an agent.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use restic_manager_core::id::HostId;
use restic_manager_core::wire::{ServerMessage, WireError};
use tokio::sync::mpsc;

/// A message could not be handed to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The host is not connected, or by another session than the one that was meant.
    #[error("the host is not connected")]
    Offline,
    /// The connection does not keep up.
    #[error("the agent's connection does not keep up")]
    Congested,
}

/// How the engine reaches agents. The server's own implementation is [`Sessions`]; an embedder may bring another one.
#[async_trait]
pub trait Dispatch: Send + Sync {
    /// The number of the session that stands with this host.
    fn epoch(&self, host_id: HostId) -> Option<i64>;
    /// How many hosts are connected.
    fn connected(&self) -> usize;
    /// The connected hosts.
    fn online(&self) -> Vec<HostId>;
    /// Hands a message to the session with this number, and does not wait for the peer: the engine awaits this one host after the other, so
    /// that whoever waits here holds up the fleet. Queue it, and answer [`SendError::Congested`] when the queue is full. A command may
    /// come twice.
    ///
    /// # Errors
    ///
    /// [`SendError`]; the message did not leave.
    async fn send(&self, host_id: HostId, epoch: i64, message: ServerMessage) -> Result<(), SendError>;
    /// Ends the session with this number, telling the agent why when there is something to tell.
    fn close(&self, host_id: HostId, epoch: i64, why: Option<WireError>);
}

/// What the task that owns a socket is asked to do.
#[derive(Debug)]
pub enum Outgoing {
    /// Send a message.
    Message(Box<ServerMessage>),
    /// Say this, then close.
    Close(Option<Box<WireError>>),
}

/// The way to the task that owns a socket.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    epoch: i64,
    outgoing: mpsc::Sender<Outgoing>,
    closing: mpsc::UnboundedSender<Outgoing>,
}

impl SessionHandle {
    /// A handle for a session; `outgoing` is bounded, `closing` carries at most a few words.
    pub const fn new(
        epoch: i64,
        outgoing: mpsc::Sender<Outgoing>,
        closing: mpsc::UnboundedSender<Outgoing>,
    ) -> Self {
        Self { epoch, outgoing, closing }
    }
}

/// The sessions of this process.
#[derive(Debug, Default)]
pub struct Sessions {
    hosts: RwLock<BTreeMap<HostId, SessionHandle>>,
}

impl Sessions {
    /// Puts a session in place; of two of one host the one with the higher number stays, the other is closed.
    pub fn insert(&self, host_id: HostId, handle: SessionHandle) {
        let mut hosts = self.write();
        let newer = hosts.get(&host_id).is_some_and(|there| there.epoch > handle.epoch);
        let old = if newer { Some(handle) } else { hosts.insert(host_id, handle) };
        if let Some(old) = old {
            let why = WireError {
                code: "replaced".into(),
                message: "another agent with the credentials of this host took its place".into(),
                hint: Some(
                    "if that goes on, two agents share one state directory: enrol each machine by itself"
                        .into(),
                ),
            };
            let _ = old.closing.send(Outgoing::Close(Some(Box::new(why))));
        }
    }

    /// Takes a session away when it is still the one with this number.
    pub fn remove(&self, host_id: HostId, epoch: i64) -> bool {
        let mut hosts = self.write();
        let ours = hosts.get(&host_id).is_some_and(|handle| handle.epoch == epoch);
        if ours {
            hosts.remove(&host_id);
        }
        ours
    }

    /// Asks every session to end.
    pub fn close_all(&self) {
        for handle in self.hosts.read().unwrap_or_else(PoisonError::into_inner).values() {
            let _ = handle.closing.send(Outgoing::Close(None));
        }
    }

    fn get(&self, host_id: HostId) -> Option<SessionHandle> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).get(&host_id).cloned()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<HostId, SessionHandle>> {
        self.hosts.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Dispatch for Sessions {
    fn epoch(&self, host_id: HostId) -> Option<i64> {
        self.get(host_id).map(|handle| handle.epoch)
    }

    fn connected(&self) -> usize {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn online(&self) -> Vec<HostId> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    async fn send(&self, host_id: HostId, epoch: i64, message: ServerMessage) -> Result<(), SendError> {
        let handle = self.get(host_id).filter(|handle| handle.epoch == epoch).ok_or(SendError::Offline)?;
        // Never waits: an agent that does not read must not hold up the others.
        handle.outgoing.try_send(Outgoing::Message(Box::new(message))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Congested,
            mpsc::error::TrySendError::Closed(_) => SendError::Offline,
        })
    }

    fn close(&self, host_id: HostId, epoch: i64, why: Option<WireError>) {
        if let Some(handle) = self.get(host_id).filter(|handle| handle.epoch == epoch) {
            let _ = handle.closing.send(Outgoing::Close(why.map(Box::new)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use restic_manager_core::time::Timestamp;
    use restic_manager_core::wire::Ack;

    fn session(
        epoch: i64,
        room: usize,
    ) -> (SessionHandle, mpsc::Receiver<Outgoing>, mpsc::UnboundedReceiver<Outgoing>) {
        let (outgoing, messages) = mpsc::channel(room);
        let (closing, ends) = mpsc::unbounded_channel();
        (SessionHandle::new(epoch, outgoing, closing), messages, ends)
    }

    #[tokio::test]
    async fn the_newer_session_wins_and_the_older_cannot_take_it_away() {
        let sessions = Sessions::default();
        let host_id = HostId::mint(Timestamp::from_millis(1), [1; 10]);
        let (first, _messages, mut ends) = session(1, 4);
        let (second, _messages2, _ends2) = session(2, 4);
        sessions.insert(host_id, first);
        sessions.insert(host_id, second);
        assert!(matches!(ends.try_recv(), Ok(Outgoing::Close(Some(why))) if why.code == "replaced"));
        let (late, _messages3, mut late_ends) = session(1, 4);
        sessions.insert(host_id, late);
        assert!(late_ends.try_recv().is_ok(), "an older one that comes late is turned away");
        assert!(!sessions.remove(host_id, 1));
        assert_eq!(sessions.epoch(host_id), Some(2));
        let message = ServerMessage::Ack(Ack { seq: 1, rejected: Vec::new() });
        assert_eq!(sessions.send(host_id, 1, message).await, Err(SendError::Offline));
    }

    #[tokio::test]
    async fn a_full_connection_is_an_error_and_no_wait() {
        let sessions = Sessions::default();
        let host_id = HostId::mint(Timestamp::from_millis(1), [1; 10]);
        let (handle, _messages, _ends) = session(1, 1);
        sessions.insert(host_id, handle);
        let ack = || ServerMessage::Ack(Ack { seq: 1, rejected: Vec::new() });
        assert_eq!(sessions.send(host_id, 1, ack()).await, Ok(()));
        assert_eq!(sessions.send(host_id, 1, ack()).await, Err(SendError::Congested));
    }
}
