//! The binary against a server that answers with recorded bodies.

mod follow;
mod login;
mod output;
mod refusals;
mod secrets;
mod server;
mod terminal;
