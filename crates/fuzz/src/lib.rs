//! What the fuzzer runs, as plain functions of bytes: it calls them with what it breeds, the tests with what is committed.
//!
//! Each reads its input, calls a part of the product, and judges the answer by rules written down here and nowhere else; it panics
//! where one is broken. It answers whether the input got past the first door, so that a test can see that seeds are more than noise.
//!
//! `scripts/fuzz` runs them all for a given time. What is found becomes a file `fuzz/seeds/TARGET/found-*` before it is mended.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "to panic is how a fuzzed function says that a rule is broken"
)]

mod admit;
mod bytes;
mod cron;
mod decide;
mod duty;
mod duty_rules;
mod link;
mod link_alone;
mod lock_text;
mod owed;
mod restic_lines;
mod secrets_bundle;
mod wire_frame;

/// A fuzzed function.
pub type Body = fn(&[u8]) -> bool;

/// All of them by the names of their folders of seeds.
pub const TARGETS: [(&str, Body); 8] = [
    ("wire_frame", wire_frame::run),
    ("restic_lines", restic_lines::run),
    ("lock_text", lock_text::run),
    ("cron", cron::run),
    ("secrets_bundle", secrets_bundle::run),
    ("link_trace", link_trace),
    ("decide_trace", decide_trace),
    ("duty_trace", duty_trace),
];

/// The function of that name.
///
/// # Panics
///
/// When there is none.
pub fn body(name: &str) -> Body {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("there is no fuzz target `{name}`")).1
}

/// Both ends of a link over bad wires, and each end alone against a peer that says what it likes.
fn link_trace(data: &[u8]) -> bool {
    let Some((choice, rest)) = data.split_first() else { return false };
    match choice % 3 {
        0 => link_alone::agent(rest),
        1 => link_alone::server(rest),
        _ => link::run(rest),
    }
}

/// Decisions over the life of a repository, and admission to a fleet.
fn decide_trace(data: &[u8]) -> bool {
    let Some((choice, rest)) = data.split_first() else { return false };
    match choice % 3 {
        0 => decide::once(rest),
        1 => decide::life(rest),
        _ => admit::run(rest),
    }
}

/// The attempts that a run is owed, and an agent whose server comes and goes.
fn duty_trace(data: &[u8]) -> bool {
    let Some((choice, rest)) = data.split_first() else { return false };
    match choice % 2 {
        0 => owed::run(rest),
        _ => duty::run(rest),
    }
}
