//! The agents' socket.

pub mod agent;
