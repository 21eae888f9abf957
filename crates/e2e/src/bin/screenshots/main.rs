//! Pictures of every page: wide, narrow and dark, empty, of a few real hosts, and of a fleet of 500.
//!
//! ```text
//! cargo build --workspace --bins
//! cargo run -p restic-manager-e2e --bin screenshots
//! ```
//!
//! Real servers, agents and restics, and real Chromium. All of them go to `target/screenshots`, and those that the documentation
//! keeps to `docs/screenshots` too.

#![allow(clippy::print_stdout, reason = "the program says what it made")]

mod album;
mod png_file;
mod worlds;

use std::path::PathBuf;

use album::Album;

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut album = Album::new(root.join("target/screenshots"), root.join("docs/screenshots"));
    worlds::empty(&mut album);
    worlds::few(&mut album);
    worlds::many(&mut album);
    album.tell();
}
