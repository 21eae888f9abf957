//! Stands before restic and writes down which calls ran at once: `restic-witness FOLDER RESTIC ARGS...`.
//!
//! A call holds a lock of the kernel's, shared or exclusive as restic's own lock of that command, from before restic starts until
//! restic's process is gone: the process becomes restic and takes the open file along. A call that finds the lock taken in a mode that
//! excludes its own is written down as one that overlaps, and goes on. Neither the server nor restic has a say in that.

#![allow(clippy::print_stderr, reason = "it has nobody else to tell")]

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use restic_manager_e2e::witness::{Call, Mode};
use rustix::fs::{FlockOperation, flock};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(folder), Some(restic)) = (args.next(), args.next()) else {
        eprintln!("restic-witness: FOLDER RESTIC ARGS...");
        return ExitCode::from(2);
    };
    let rest: Vec<_> = args.collect();
    let words: Vec<_> = rest.iter().map(|arg| arg.to_string_lossy()).collect();
    let error = match write_down(Path::new(&folder), &words) {
        // Not closed when this process becomes restic.
        Ok(lock) => {
            std::mem::forget(lock);
            Command::new(restic).args(&rest).exec()
        }
        Err(error) => error,
    };
    eprintln!("restic-witness: {error}");
    ExitCode::from(127)
}

fn write_down(folder: &Path, words: &[impl AsRef<str>]) -> io::Result<impl Sized> {
    let door = File::options().create(true).append(true).open(folder.join("door"))?;
    let (command, mode) = Mode::of(words);
    let overlaps = match mode {
        Mode::None => false,
        Mode::Shared => flock(&door, FlockOperation::NonBlockingLockShared).is_err(),
        Mode::Exclusive => flock(&door, FlockOperation::NonBlockingLockExclusive).is_err(),
    };
    // A duplicate stays open when the process becomes another program.
    let kept = rustix::io::dup(&door)?;
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let call =
        Call { at: u64::try_from(at).unwrap_or_default(), pid: std::process::id(), command, mode, overlaps };
    let mut line = serde_json::to_vec(&call)?;
    line.push(b'\n');
    let mut book = File::options().create(true).append(true).open(folder.join("calls"))?;
    flock(&book, FlockOperation::LockExclusive)?;
    book.write_all(&line)?;
    Ok(kept)
}
