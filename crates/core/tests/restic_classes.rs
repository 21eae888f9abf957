//! Every recorded backup, init, snapshots, stats, check, forget, prune and unlock is judged as a person would.
//!
//! `fixtures/restic/expected.tsv` was written from what each case is, not from what the code says: one row a case,
//! one column a release, `-` where there is no recording (of 19 runs against a dead server or under a signal only the
//! exit code is known). A check stands as `class/check outcome`. `unknown` is a failure
//! without a class of its own, and for a backup that exits with 0 it means that nothing proves a snapshot (text
//! instead of JSON, a dry run, nothing changed).

#![allow(clippy::unwrap_used, reason = "a broken recording should fail the test")]

mod restic_recorded;

use std::collections::BTreeSet;

use restic_manager_core::restic::{Ended, Kind, OutcomeClass, Sent, StopReason, check_outcome, classify};
use restic_recorded::{Run, VERSIONS, capabilities, kind, runs};

const EXPECTED: &str = include_str!("fixtures/restic/expected.tsv");

fn judged(run: &Run, version: &str, kind: Kind, sent: Sent) -> String {
    let facts = run.facts();
    let ended = Ended { kind, capabilities: capabilities(version), exit: run.exit(), sent, facts: &facts };
    let class = classify(&ended).class.as_str();
    if kind != Kind::Check {
        return class.to_owned();
    }
    let found = serde_json::to_value(check_outcome(&ended)).unwrap();
    format!("{class}/{}", found.as_str().unwrap())
}

fn sent(name: &str) -> Sent {
    match name {
        "nothing" => Sent::Nothing,
        "cancel" => Sent::SigInt(StopReason::Cancel),
        other => panic!("{other}"),
    }
}

#[test]
fn every_recorded_run_has_the_class_it_should_have() {
    let mut wrong = Vec::new();
    for (column, (version, _)) in VERSIONS.iter().enumerate() {
        let mut runs = runs(version);
        for row in EXPECTED.lines().skip(1) {
            let cells: Vec<&str> = row.split('\t').collect();
            let (case, expected) = (cells[0], cells[3 + column]);
            let Some(run) = runs.remove(case) else {
                assert_eq!(expected, "-", "{case} was not recorded with {version}");
                continue;
            };
            let judged = judged(&run, version, kind(cells[1]), sent(cells[2]));
            if judged != expected {
                wrong.push(format!("{case} {version}: expected {expected}, judged {judged}\n{}", run.stderr));
            }
        }
        assert!(runs.is_empty(), "cases without a row: {:?}", runs.keys());
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_knows_every_class_that_restic_can_cause_and_enough_runs() {
    let cells = EXPECTED.lines().skip(1).flat_map(|row| row.split('\t').skip(3)).filter(|cell| *cell != "-");
    let cells: Vec<&str> = cells.collect();
    assert!(cells.len() > 1_600, "{}", cells.len());
    let classes: BTreeSet<&str> = cells.iter().filter_map(|cell| cell.split('/').next()).collect();
    for class in [
        OutcomeClass::Ok,
        OutcomeClass::Partial,
        OutcomeClass::Locked,
        OutcomeClass::Unreachable,
        OutcomeClass::NoRepository,
        OutcomeClass::WrongPassword,
        OutcomeClass::AppendOnly,
        OutcomeClass::NoSpace,
        OutcomeClass::SourceMissing,
        OutcomeClass::Cancelled,
        OutcomeClass::Killed,
        OutcomeClass::Unknown,
    ] {
        assert!(classes.contains(class.as_str()), "{class:?}");
    }
}

#[test]
fn every_message_is_one_plain_sentence_with_a_hint_where_a_person_can_act() {
    for (version, _) in VERSIONS {
        for run in runs(version).values() {
            let facts = run.facts();
            for kind in [Kind::Backup, Kind::Check, Kind::Forget] {
                let capabilities = capabilities(version);
                let ended =
                    Ended { kind, capabilities, exit: run.exit(), sent: Sent::Nothing, facts: &facts };
                let outcome = classify(&ended);
                let message = &outcome.message;
                assert!(
                    !message.is_empty() && !message.chars().any(char::is_control),
                    "{}: {message:?}",
                    run.case
                );
                assert!(message.chars().count() < 400, "{}: {message}", run.case);
                assert_eq!(
                    outcome.hint.is_none(),
                    outcome.class == OutcomeClass::Ok,
                    "{}: {outcome:?}",
                    run.case
                );
            }
        }
    }
}
