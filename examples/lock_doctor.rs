//! Reads the locks of a repository and explains each: who holds it, since when, and whether plain `unlock` removes it.
//!
//! ```text
//! RESTIC_REPOSITORY=... RESTIC_PASSWORD=... cargo run -p restic-manager-examples --example lock_doctor -- /usr/bin/restic
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::SystemTime;

use restic_manager_core::humane;
use restic_manager_core::restic::{
    Capabilities, Command, GlobalOptions, Holder, Version, parse_cat_lock, parse_list_locks,
};
use restic_manager_core::time::Timestamp;

fn main() -> Result<(), Box<dyn Error>> {
    let restic = std::env::args().nth(1).unwrap_or_else(|| "restic".to_owned());
    let oldest = Capabilities::of(Version::OLDEST_SUPPORTED);
    let version = Version::from_output(&ask(&restic, &Command::Version, oldest)?)?;
    let capabilities = Capabilities::of(version);
    let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let now = Timestamp::from(SystemTime::now());

    let ids = parse_list_locks(&ask(&restic, &Command::ListLocks, capabilities)?)?;
    println!("restic {version} sees {}", humane::count(ids.len() as u64, "lock"));
    let mut in_the_way = 0;
    for id in &ids {
        let Ok(text) = ask(&restic, &Command::CatLock(id.clone()), capabilities) else {
            println!(
                "{}: gone by now, or damaged: only `unlock --remove-all` removes a damaged one",
                id.short()
            );
            continue;
        };
        let lock = parse_cat_lock(&text)?;
        let verdict = lock.unlock(&here, holder, now);
        in_the_way += u64::from(!verdict.removes());
        let what = if lock.exclusive { "exclusive" } else { "shared" };
        println!(
            "{}: {what}, process {} of {} on {}, refreshed {}",
            id.short(),
            lock.pid,
            lock.username,
            lock.hostname,
            humane::ago(lock.time, now),
        );
        println!("  {}", verdict.sentence());
    }
    println!("{} would stay after `restic unlock` on this host", humane::count(in_the_way, "lock"));
    Ok(())
}

/// What restic answers to a question; its environment says which repository.
fn ask(restic: &str, command: &Command, capabilities: Capabilities) -> Result<String, Box<dyn Error>> {
    let output = Process::new(restic)
        .args(command.args(capabilities, &GlobalOptions::default()))
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("restic ended with {}: {said}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn holder(pid: i64) -> Holder {
    match Path::new(&format!("/proc/{pid}")).exists() {
        true => Holder::Running,
        false => Holder::Gone,
    }
}
