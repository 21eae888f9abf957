//! How a run of restic ended, as people are told.

use restic_manager_core::restic::{
    BackupSummary, Capabilities, Ended, Exit, Facts, Kind, Outcome, OutcomeClass, Sent, SnapshotId, Version,
    classify, parse_prune,
};

fn ended_on(version: Version, kind: Kind, code: i32, facts: &Facts) -> Outcome {
    let capabilities = Capabilities::of(version);
    classify(&Ended { kind, capabilities, exit: Exit::Code(code), sent: Sent::Nothing, facts })
}

fn ended(kind: Kind, code: i32, stderr: &str) -> Outcome {
    ended_on(Version::new(0, 19, 1), kind, code, &Facts::saying(stderr))
}

#[test]
fn of_several_missing_paths_one_is_named() {
    let mut facts = Facts::with_missing_includes(["/b".to_owned(), "/a".to_owned()]);
    let snapshot_id = SnapshotId::new("ab".repeat(32)).ok();
    facts.summary = Some(BackupSummary { snapshot_id, ..BackupSummary::default() });
    let outcome = ended_on(Version::new(0, 19, 1), Kind::Backup, 3, &facts);
    assert_eq!(outcome.message, "snapshot abababab was made, but 2 paths do not exist, `/a` among them");
    facts.unreadable_items = 4;
    let outcome = ended_on(Version::new(0, 19, 1), Kind::Backup, 3, &facts);
    assert_eq!(
        (outcome.unreadable_items, outcome.message.as_str()),
        (6, "snapshot abababab was made, but 4 items could not be read and `/a` does not exist")
    );
}

#[test]
fn a_list_that_lacks_damaged_snapshots_is_partial_and_says_what_to_do() {
    let outcome = ended(
        Kind::Snapshots,
        0,
        "Ignoring \"abababab\": failed to load snapshot abababab: ciphertext verification failed\n",
    );
    assert_eq!((outcome.class, outcome.unreadable_items), (OutcomeClass::Partial, 1));
    assert!(outcome.hint.is_some_and(|hint| hint.contains("check")), "{}", outcome.message);
}

#[test]
fn a_refused_login_is_no_refused_delete() {
    let refused = "unexpected HTTP response (403): 403 Forbidden";
    let outcome =
        ended(Kind::Prune, 1, &format!("Load(<index/5366d75a71>) failed: {refused}\nFatal: {refused}\n"));
    assert_eq!(outcome.class, OutcomeClass::WrongPassword);
    let outcome = ended(Kind::Prune, 1, "Remove(<data/5366d75a71>) failed: x\nFatal: connection refused\n");
    assert_eq!(outcome.class, OutcomeClass::Unreachable);
    let outcome =
        ended(Kind::Prune, 1, &format!("Remove(<data/5366d75a71>) failed: {refused}\nFatal: {refused}\n"));
    assert_eq!(outcome.class, OutcomeClass::AppendOnly);
}

#[test]
fn codes_mean_something_only_from_the_release_on_that_gave_them_a_meaning() {
    for (code, class) in [(10, OutcomeClass::NoRepository), (12, OutcomeClass::WrongPassword)] {
        let on = |version| ended_on(version, Kind::Prune, code, &Facts::default()).class;
        assert_eq!(on(Version::new(0, 19, 1)), class);
        assert_eq!(on(Version::OLDEST_SUPPORTED), OutcomeClass::Unknown);
    }
    let outcome = ended(Kind::Prune, 3, "");
    assert_eq!(outcome.message, "restic failed with exit code 3 and said nothing");
    assert_eq!(ended(Kind::Forget, 3, "").message, "0 snapshots could not be removed");
}

#[test]
fn damage_that_check_found_is_said_with_what_to_do() {
    let said = "pack 67de: not found in index\nFatal: repository contains errors\n";
    let outcome = ended(Kind::Check, 1, said);
    assert_eq!(outcome.message, "check found damage in the repository");
    assert!(outcome.hint.is_some_and(|hint| hint.starts_with("restore what matters")));
    assert_ne!(ended(Kind::Prune, 1, said).message, "check found damage in the repository");
}

#[test]
fn all_sources_are_missing_only_where_restic_says_that_they_do_not_exist() {
    let gone = "Fatal: all target directories/files do not exist\n";
    assert_eq!(ended(Kind::Backup, 1, gone).class, OutcomeClass::SourceMissing);
    for other in ["Fatal: all is lost\n", "Fatal: some directories/files do not exist\n"] {
        assert_eq!(ended(Kind::Backup, 1, other).class, OutcomeClass::Unknown, "{other}");
    }
}

#[test]
fn what_prune_says_of_very_large_repositories_is_read() {
    let remaining = |size: &str| parse_prune(&format!("remaining:  36 blobs / {size}\n")).remaining;
    assert_eq!(remaining("1.500 TiB"), Some(1_649_267_441_664));
    assert_eq!(remaining("2.000 PiB"), Some(2_251_799_813_685_248));
    assert_eq!(remaining("9000.000 PiB"), None, "more than can be");
}
