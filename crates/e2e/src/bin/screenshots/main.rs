//! Pictures of every page: wide, narrow and dark, empty, of a few real hosts, and of a fleet of 500.
//!
//! ```text
//! cargo build --workspace --bins
//! cargo run -p restic-manager-e2e --bin screenshots
//! ```
//!
//! Behind `--`, `empty`, `few` and `many` take some of them only.
//!
//! Real servers, agents and restics, and real Chromium. All of them go to `target/screenshots`, and those that the documentation
//! keeps to `docs/screenshots` too.

#![allow(clippy::print_stdout, reason = "the program says what it made")]

mod album;
mod png_file;
mod worlds;

use std::path::PathBuf;

use album::Album;

/// What takes the pictures of a world.
type Takes = fn(&mut Album);

/// Each may be asked for by its name.
const WORLDS: [(&str, Takes); 3] = [("empty", worlds::empty), ("few", worlds::few), ("many", worlds::many)];

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut album = Album::new(root.join("target/screenshots"), root.join("docs/screenshots"));
    let asked: Vec<String> = std::env::args().skip(1).collect();
    for (name, take) in WORLDS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            take(&mut album);
        }
    }
    album.tell();
}
