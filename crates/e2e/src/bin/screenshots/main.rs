//! Pictures of every page: wide, narrow and dark, empty, of a few real hosts, and of a fleet of 500.
//!
//! ```text
//! cargo build --workspace --bins
//! cargo run -p restic-manager-e2e --bin screenshots [-- FOLDER]
//! ```
//!
//! Real servers, agents and restics, and real Chromium. The folder is `docs/screenshots` unless another is named; pictures there are
//! written over, others stay.

#![allow(clippy::print_stdout, reason = "the program says what it made")]

mod album;
mod png_file;
mod worlds;

use std::path::PathBuf;

use album::Album;

fn main() {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/screenshots");
    let folder = std::env::args_os().nth(1).map_or_else(default, PathBuf::from);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let mut album = Album::new(folder);
    worlds::empty(&mut album);
    worlds::few(&mut album);
    worlds::many(&mut album);
    album.tell();
}
