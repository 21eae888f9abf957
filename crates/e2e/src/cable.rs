//! The network between an agent and its server: it can be cut, and go dead in either direction.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the agent.
    ToServer,
    /// From the server.
    ToAgent,
}

/// A proxy between an agent and its server.
///
/// What goes in a dead direction arrives nowhere and is not refused, as behind a firewall that drops packets; what TCP still had to
/// deliver is delivered when the direction works again, if both ends still want it.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cut: bool,
    dead: [bool; 2],
    over: bool,
    streams: Vec<TcpStream>,
}

impl Cable {
    /// Lays a cable to a server.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    pub fn to(server_url: &str) -> Self {
        let server: SocketAddr = server_url.trim_start_matches("http://").parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        thread::spawn(move || {
            for agent in listener.incoming().map_while(Result::ok) {
                if its.state().over {
                    return;
                }
                // A server that is not there, or a cable that is cut: the agent sees its connection end.
                let _ = its.join(&agent, server);
            }
        });
        Self { address, shared }
    }

    /// The server's address through the cable.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts it: connections end, and new ones end at once.
    pub fn cut(&self) {
        let mut state = self.shared.state();
        state.cut = true;
        state.hang_up();
    }

    /// Nothing goes in this direction from here on, and nobody is told.
    pub fn deaden(&self, direction: Direction) {
        self.shared.state().dead[direction as usize] = true;
    }

    /// A dead direction works again.
    pub fn revive(&self, direction: Direction) {
        self.shared.state().dead[direction as usize] = false;
        self.shared.changed.notify_all();
    }

    /// Everything works again.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        (state.cut, state.dead) = (false, [false; 2]);
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.over = true;
        state.hang_up();
        drop(state);
        self.shared.changed.notify_all();
        // The listener wakes up and sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn hang_up(&mut self) {
        for stream in self.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, agent: &TcpStream, server: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(server)?;
        let mut state = self.state();
        if state.cut {
            return Ok(());
        }
        state.streams.extend([agent.try_clone()?, server.try_clone()?]);
        drop(state);
        for (direction, from, to) in
            [(Direction::ToServer, agent, &server), (Direction::ToAgent, &server, agent)]
        {
            let (from, to, shared) = (from.try_clone()?, to.try_clone()?, Arc::clone(self));
            thread::spawn(move || {
                let _ = shared.carry(direction, &from, &to);
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
        Ok(())
    }

    fn carry(&self, direction: Direction, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer);
            self.wait_until_alive(direction);
            match read? {
                0 => return Ok(()),
                length => to.write_all(&buffer[..length])?,
            }
        }
    }

    /// The end of a connection does not get through a dead direction either.
    fn wait_until_alive(&self, direction: Direction) {
        let mut state = self.state();
        while state.dead[direction as usize] && !state.cut && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
