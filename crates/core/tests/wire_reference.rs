//! The reference of the wire in the book, made from the released messages.
//!
//! `RM_BLESS=1 cargo test -p restic-manager-core --test wire_reference` writes it anew.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test that cannot go on panics, and may ask the environment

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use restic_manager_core::link::{HEARTBEAT_EVERY, HELLO_TIMEOUT, SILENCE_TIMEOUT, WINDOW};
use restic_manager_core::wire::{MAX_FRAME_BYTES, OLDEST_PROTOCOL, PROTOCOL};
use serde_json::Value;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_reference_in_the_book_is_that_of_the_released_messages() {
    let place = project().join("docs/src/reference-wire.md");
    let written = written();
    if std::env::var_os("RM_BLESS").is_some() {
        std::fs::write(&place, &written).unwrap();
    }
    let kept = std::fs::read_to_string(&place).unwrap_or_default();
    assert!(
        written == kept,
        "docs/src/reference-wire.md is not current; write it anew with RM_BLESS=1 cargo test -p restic-manager-core --test \
         wire_reference"
    );
}

fn written() -> String {
    let mut text = String::from(
        "# Wire reference\n\n<!-- Written by `RM_BLESS=1 cargo test -p restic-manager-core --test wire_reference`; do not edit. \
         -->\n\n",
    );
    let _ = writeln!(
        text,
        "Agents dial out to `GET /ws/agent` with `Authorization: Bearer rma_...` and speak JSON text frames of at most {} MiB: \
         `{{\"v\", \"type\", \"seq\"?, \"after\"?, \"payload\"}}`. This build speaks protocol {OLDEST_PROTOCOL} to {PROTOCOL}. A type that is not \
         known is logged and ignored; one with a `seq` is acknowledged all the same.\n",
        MAX_FRAME_BYTES >> 20
    );
    let _ = writeln!(
        text,
        "The agent's first frame is `hello`, within {} s; the server answers with `welcome`. A frame with a `seq` is reliable: the agent \
         keeps it on disk until an `ack` names it or a later one, and sends it again after a reconnect; at most {WINDOW} are under way. A \
         frame without may get lost. `after` is the `seq` that was sent last before the frame on its connection (numbers may be missing): \
         where the server has not seen that one, it ends the connection, and the next one brings both. Heartbeats come every {} s; whoever is silent for {} s is gone. Times are milliseconds since 1970 \
         UTC.\n",
        HELLO_TIMEOUT / 1_000,
        HEARTBEAT_EVERY / 1_000,
        SILENCE_TIMEOUT / 1_000
    );
    text.push_str("Each message below is one that was released. Every later build must read it: the files are never rewritten.\n");
    for (side, title) in [("agent.", "From the agent"), ("server.", "From the server")] {
        let _ = writeln!(text, "\n## {title}");
        for file in released(side) {
            let name = file.file_stem().unwrap().to_str().unwrap().strip_prefix(side).unwrap();
            // What is about the envelope is said above.
            if name.ends_with(".after") {
                continue;
            }
            let frame: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            let kind = frame["type"].as_str().unwrap();
            let carried = if frame["seq"].is_u64() { "reliable" } else { "may get lost" };
            let carried =
                if side == "agent." { carried } else { "in order, as long as the connection stands" };
            let payload = serde_json::to_string_pretty(&frame["payload"]).unwrap();
            let _ = writeln!(text, "\n### {name}\n\nType `{kind}`, {carried}.\n\n```json\n{payload}\n```");
        }
    }
    text
}

fn released(side: &str) -> Vec<PathBuf> {
    let folder = project().join("crates/core/tests/golden").join(format!("v{PROTOCOL}"));
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(side)))
        .collect();
    files.sort();
    assert!(files.len() > 5, "released messages of `{side}` have moved");
    files
}
