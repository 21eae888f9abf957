//! Help, versions and completions.

use super::server::{done, rmctl};

#[test]
fn help_goes_to_stdout_with_the_exit_codes() {
    let done = done(rmctl().arg("--help"));
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    assert!(done.stdout.contains(restic_manager_cli::exit::HELP), "{}", done.stdout);
    assert!(!done.stdout.contains('\u{1b}'));
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = done(rmctl().args(["completions", shell]));
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{shell}");
        assert!(done.stdout.contains("enroll-token"), "{shell}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let done = done(rmctl().arg("--version"));
    assert_eq!(done.stdout, format!("rmctl {}\n", env!("CARGO_PKG_VERSION")));
}
