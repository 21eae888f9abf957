//! Whole jobs with the real restic, oldest and newest supported.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod job_lab;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use job_lab::{Lab, PASSWORD, Which, check_folder, executable, supervise_if_asked};
use restic_manager_agent::process::supervise_main;
use restic_manager_agent::restic::ResticBinary;
use restic_manager_core::model::{FinalState, JobSummary, LogStream, ResticRepoId, StatsKind};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::wire::JobSpec;

with_both_restics!(
    a_backup_names_its_snapshot_and_leaves_out_the_agents_own_folders,
    unreadable_files_make_a_warning_whatever_their_names_are,
    one_missing_path_makes_a_warning_that_names_it,
    a_wrong_password_is_told_as_such,
    a_repository_is_made_and_then_adopted,
    another_repository_than_expected_is_refused_before_anything_is_written,
    measuring_and_listing_is_a_job_of_its_own,
);

#[test]
fn supervise_needs_a_folder_with_something_to_run() {
    supervise_if_asked();
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(supervise_main(temp.path()), std::process::ExitCode::FAILURE);
}

async fn a_backup_names_its_snapshot_and_leaves_out_the_agents_own_folders(which: Which) {
    let mut lab = Lab::real(which).await;
    // The agent's own folder is asked for, and still nothing in it is read.
    let spec = lab.backup_of(&["source", "state"]);
    let told = lab.run(spec.clone()).await;
    told.check_secrets();
    check_folder(&lab.path("state"));
    let finished = told.finished();
    assert_eq!((finished.state, finished.class), (FinalState::Succeeded, OutcomeClass::Ok), "{finished:?}");
    assert_eq!(finished.exit_code, Some(0));
    let JobSummary { snapshot_id, files_new, files_processed, bytes_processed, seconds, .. } =
        finished.summary.clone();
    assert_eq!((files_new, files_processed, bytes_processed), (Some(1), Some(1), Some(9)));
    assert!(seconds.is_some_and(|seconds| seconds > 0.0));

    let report = told.snapshots().unwrap();
    assert_eq!((report.total, report.snapshots.len()), (1, 1));
    assert_eq!(Some(report.snapshots[0].id.as_str()), snapshot_id.as_deref());
    assert!(report.snapshots[0].id.is_full(), "{:?}", report.snapshots[0].id);
    assert_eq!(
        (report.snapshots[0].hostname.as_str(), &report.snapshots[0].tags[..]),
        ("lab-host", &["lab-tag".to_owned()][..])
    );
    let stats = told.stats().unwrap();
    assert_eq!(stats.restic_id, told.end.restic_id);
    assert_eq!(
        (stats.stats.snapshot_count, stats.stats.size_kind),
        (Some(1), Some(StatsKind::ReferencedData))
    );

    let listed = lab.bare_stdout(&["ls", "--json", "--no-lock", &snapshot_id.unwrap()]);
    assert!(listed.contains("/source/plain.txt"), "{listed}");
    // The first line is the snapshot itself, which names what was excluded.
    assert!(!listed.lines().skip(1).any(|node| node.contains("/state/")), "{listed}");

    // The second run of the same day knows the repository and its size.
    let again = lab.run(spec).await;
    let agent = again.text_of(LogStream::Agent);
    assert!(!agent.contains(" cat config") && !agent.contains(" stats "), "{agent}");
    assert_eq!(again.stats().unwrap().stats.snapshot_count, None);
    assert_eq!(again.stats().unwrap().restic_id, told.end.restic_id);
    assert_eq!(again.snapshots().unwrap().total, 2);
}

async fn unreadable_files_make_a_warning_whatever_their_names_are(which: Which) {
    let mut lab = Lab::real(which).await;
    let names: [&[u8]; 4] = [
        b"line\nbreak",
        "crab \u{1f980}".as_bytes(),
        b"bad \xff byte",
        b"unable to create lock in backend: repository is already locked by PID 7 on x by root (UID 0, GID 0)",
    ];
    for name in names {
        let path = lab.path("source").join(OsStr::from_bytes(name));
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    }
    lab.restic = without_root_rights(&lab).await;
    let spec = lab.backup_of(&["source"]);
    let told = lab.run(spec).await;
    let finished = told.finished();
    assert_eq!(
        (finished.state, finished.class),
        (FinalState::Warning, OutcomeClass::Partial),
        "{finished:?}"
    );
    assert_eq!((finished.exit_code, finished.summary.unreadable_items), (Some(3), Some(4)));
    assert!(finished.summary.snapshot_id.as_ref().is_some_and(|id| id.len() == 64), "{finished:?}");
    let stderr = told.text_of(LogStream::Stderr);
    for shown in ["line\\nbreak", "crab \u{1f980}", "bad \\ufffd byte"] {
        assert!(stderr.contains(shown), "{shown}: {stderr}");
    }
}

/// Root reads everything; without these capabilities it does not. Another user needs no help.
async fn without_root_rights(lab: &Lab) -> ResticBinary {
    if !rustix::process::geteuid().is_root() {
        return lab.restic.clone();
    }
    let wrapper = lab.path("restic-without-rights");
    let capabilities = "-dac_override,-dac_read_search";
    let script = format!(
        "#!/bin/sh\nexec setpriv --bounding-set {capabilities} --inh-caps {capabilities} -- '{}' \"$@\"\n",
        lab.restic.path.display()
    );
    executable(&wrapper, &script);
    job_lab::binary(&wrapper).await
}

async fn one_missing_path_makes_a_warning_that_names_it(which: Which) {
    let mut lab = Lab::real(which).await;
    let gone = lab.path("gone").to_str().unwrap().to_owned();
    let spec = lab.backup_of(&["source", "gone"]);
    let told = lab.run(spec).await;
    let finished = told.finished();
    assert_eq!(
        (finished.state, finished.class),
        (FinalState::Warning, OutcomeClass::Partial),
        "{finished:?}"
    );
    assert_eq!(finished.summary.missing_paths, std::slice::from_ref(&gone));
    assert!(finished.message.contains(&gone), "{}", finished.message);
    assert!(finished.summary.snapshot_id.is_some());

    // With the other one gone too, restic is not even started.
    std::fs::remove_dir_all(lab.path("source")).unwrap();
    let spec = lab.backup_of(&["source", "gone"]);
    let told = lab.run(spec).await;
    let finished = told.finished();
    assert_eq!((finished.state, finished.class), (FinalState::Failed, OutcomeClass::SourceMissing));
    assert_eq!((finished.summary.missing_paths.len(), finished.exit_code), (2, None));
    assert!(!lab.job_dir().join("spec.json").exists());
    assert_eq!(lab.snapshot_count(), 1);
}

async fn a_wrong_password_is_told_as_such(which: Which) {
    let mut lab = Lab::real(which).await;
    lab.password = "not-the-password".into();
    for spec in [lab.backup_of(&["source"]), JobSpec::Init] {
        let told = lab.run(spec).await;
        let finished = told.finished();
        assert_eq!((finished.state, finished.class), (FinalState::Failed, OutcomeClass::WrongPassword));
        assert!(finished.hint.is_some());
        let text = serde_json::to_string(&told.messages).unwrap();
        assert!(!text.contains("not-the-password"), "{text}");
    }
    // The repository is as it was.
    assert_eq!(lab.snapshot_count(), 0);
}

async fn a_repository_is_made_and_then_adopted(which: Which) {
    let mut lab = Lab::without_repository(which).await;
    let made = lab.run(JobSpec::Init).await;
    made.check_secrets();
    let finished = made.finished();
    assert_eq!(
        (finished.state, finished.summary.adopted),
        (FinalState::Succeeded, Some(false)),
        "{finished:?}"
    );
    assert_eq!(made.stats().unwrap().stats.snapshot_count, Some(0));
    assert_eq!(made.snapshots().unwrap().total, 0);
    let config: serde_json::Value = serde_json::from_str(&lab.bare_stdout(&["cat", "config"])).unwrap();
    assert_eq!(made.end.restic_id.as_ref().map(ResticRepoId::as_str), config["id"].as_str());

    let adopted = lab.run(JobSpec::Init).await;
    let finished = adopted.finished();
    assert_eq!(
        (finished.state, finished.summary.adopted),
        (FinalState::Succeeded, Some(true)),
        "{finished:?}"
    );
    assert_eq!(adopted.end.restic_id, made.end.restic_id);
    assert_eq!(adopted.stats().unwrap().restic_id, made.end.restic_id);

    // A repository the fleet knows is not made anew where it vanished.
    std::fs::remove_dir_all(lab.path("repo")).unwrap();
    lab.restic_id = made.end.restic_id;
    let told = lab.run(JobSpec::Init).await;
    assert_eq!(told.finished().class, OutcomeClass::NoRepository);
    assert!(!lab.path("repo").exists());
}

async fn another_repository_than_expected_is_refused_before_anything_is_written(which: Which) {
    let mut lab = Lab::real(which).await;
    lab.restic_id = Some(ResticRepoId::new("cd".repeat(32)).unwrap());
    for spec in [lab.backup_of(&["source"]), JobSpec::Init, JobSpec::Stats] {
        let told = lab.run(spec).await;
        let finished = told.finished();
        assert_eq!((finished.state, finished.class), (FinalState::Failed, OutcomeClass::Unknown));
        let begin = "wrong_repository: this credential opens another repository (id ";
        assert!(finished.message.starts_with(begin), "{}", finished.message);
        assert_eq!(told.end.restic_id, None);
    }
    assert_eq!(lab.snapshot_count(), 0);
}

async fn measuring_and_listing_is_a_job_of_its_own(which: Which) {
    let mut lab = Lab::real(which).await;
    let source = lab.path("source");
    let other = |host| ["backup", "--host", host, "--tag", "x", source.to_str().unwrap()].map(str::to_owned);
    for host in ["lab-host", "another-host"] {
        let args = other(host);
        lab.bare_stdout(&args.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let told = lab.run(JobSpec::Stats).await;
    told.check_secrets();
    assert_eq!(told.finished().state, FinalState::Succeeded, "{:?}", told.finished());
    assert_eq!(told.stats().unwrap().stats.snapshot_count, Some(2), "the whole repository");
    assert!(told.stats().unwrap().stats.total_size_bytes.unwrap() > 0);
    assert_eq!(told.snapshots().unwrap().total, 1, "this host's");
}

#[tokio::test]
async fn the_environment_of_a_shell_does_not_get_in_the_way() {
    let mut lab = Lab::real(Which::Newest).await;
    // What stands in the environment of the agent is inherited, but restic's own variables are not.
    let wrapper = lab.path("restic-with-leftovers");
    let script = format!(
        "#!/bin/sh\nenv > '{}'\nexec '{}' \"$@\"\n",
        lab.path("environment").display(),
        lab.restic.path.display()
    );
    executable(&wrapper, &script);
    lab.restic = job_lab::binary(&wrapper).await;
    let spec = lab.backup_of(&["source"]);
    let told = lab.run(spec).await;
    assert_eq!(told.finished().state, FinalState::Succeeded, "{:?}", told.finished());
    let environment = std::fs::read_to_string(lab.path("environment")).unwrap();
    let cache = format!("RESTIC_CACHE_DIR={}", lab.path("cache").display());
    for expected in [&cache, "RESTIC_PROGRESS_FPS=1", &format!("RESTIC_PASSWORD={PASSWORD}")] {
        assert!(environment.lines().any(|line| line == expected), "{expected}");
    }
    assert!(Path::new(&lab.path("cache")).is_dir());
}
