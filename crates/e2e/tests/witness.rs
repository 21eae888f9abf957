//! The witness sees what it is there for, and does not stand in the way.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use restic_manager_e2e::witness::{Mode, Witness};
use restic_manager_e2e::{Restic, wait_for};

/// Ends when its standard input does, whatever it is asked.
fn patient(folder: &Path) -> Restic {
    let program = folder.join("patient");
    fs::write(&program, "#!/bin/sh\nexec cat\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Restic { program }
}

/// Starts a call and returns when it is written down.
fn call(witness: &Witness, args: &[&str]) -> Child {
    let before = witness.calls().len();
    let child = Command::new(&witness.restic().program).args(args).stdin(Stdio::piped()).spawn().unwrap();
    wait_for("the call", || (witness.calls().len() > before).then_some(()));
    assert_eq!(witness.calls().last().unwrap().pid, child.id(), "it becomes restic");
    child
}

#[test]
fn a_call_that_excludes_a_running_one_is_noticed_until_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::before(&patient(folder.path()), &folder.path().join("witness"));
    let overlaps = || witness.calls().last().unwrap().overlaps;
    let mut first = call(&witness, &["backup", "--json", "/home"]);
    let mut second = call(&witness, &["backup", "--json", "/srv"]);
    assert!(!overlaps(), "both share");
    let mut free = call(&witness, &["list", "locks", "--no-lock"]);
    assert!(!overlaps(), "it takes no lock");
    let mut alone = call(&witness, &["prune", "--json"]);
    assert!(overlaps(), "two run");
    for child in [&mut alone, &mut first] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut alone = call(&witness, &["check"]);
    assert!(overlaps(), "one still runs");
    for child in [&mut alone, &mut second] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut alone = call(&witness, &["forget"]);
    assert!(!overlaps(), "nobody runs who locks");
    let mut late = call(&witness, &["backup"]);
    assert!(overlaps(), "one runs alone");
    for child in [&mut alone, &mut late, &mut free] {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
    let modes: Vec<Mode> = witness.calls().iter().map(|call| call.mode).collect();
    use Mode::{Exclusive, None, Shared};
    assert_eq!(modes, [Shared, Shared, None, Exclusive, Exclusive, Exclusive, Shared]);
}
