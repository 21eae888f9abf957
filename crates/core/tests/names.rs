//! What stands in SQL and in JSON under one name, and what a write means that leaves things out.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use restic_manager_core::announce::{Fingerprint, HexBytes, PendingState};
use restic_manager_core::api::{ScheduleWrite, SourceGroupWrite};
use restic_manager_core::id::GroupId;
use restic_manager_core::model::{
    ActorKind, CheckStatus, CredentialKind, JobIntent, JobState, PendingCause, RunAfter, RunState,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::secret::Secret;
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;
use serde_json::json;

fn in_json(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn a_name_is_the_same_in_sql_and_in_json() {
    for state in [PendingState::Waiting, PendingState::Approved, PendingState::Rejected] {
        assert_eq!(in_json(state), state.as_str());
    }
    for kind in [ActorKind::User, ActorKind::System, ActorKind::Schedule, ActorKind::Agent] {
        assert_eq!(in_json(kind), kind.as_str());
    }
    for kind in [CredentialKind::Repo, CredentialKind::Admin] {
        assert_eq!(in_json(kind), kind.as_str());
    }
    for state in RunState::ALL {
        assert_eq!(
            (in_json(state).as_str(), RunState::from_name(state.as_str())),
            (state.as_str(), Some(state))
        );
    }
    for cause in PendingCause::ALL {
        assert_eq!(
            (in_json(cause).as_str(), PendingCause::from_name(cause.as_str())),
            (cause.as_str(), Some(cause))
        );
        assert!(cause.sentence().starts_with("the last attempt "), "{cause:?}");
    }
    for status in [CheckStatus::Ok, CheckStatus::ErrorsFound] {
        assert_eq!(
            (in_json(status).as_str(), CheckStatus::from_name(status.as_str())),
            (status.as_str(), Some(status))
        );
    }
}

#[test]
fn a_run_owes_an_attempt_where_its_job_may_do_better_next_time() {
    let after = |class| RunAfter::job(JobState::Failed, class);
    assert_eq!(after(Some(OutcomeClass::Locked)), RunAfter::Owes(PendingCause::Retryable));
    for class in [None, Some(OutcomeClass::NoSpace)] {
        assert_eq!(after(class), RunAfter::Ends(RunState::Failed), "{class:?}");
    }
    assert_eq!(RunAfter::job(JobState::Lost, None), RunAfter::Owes(PendingCause::Lost));
    let good: Vec<RunState> = RunState::ALL.into_iter().filter(|state| state.is_success()).collect();
    assert_eq!(good, [RunState::Succeeded, RunState::Warning]);
    let inside: Vec<JobState> = JobState::ALL.into_iter().filter(|state| state.occupies()).collect();
    assert_eq!(inside, [JobState::Dispatched, JobState::Running]);
}

#[test]
fn bytes_and_fingerprints_are_written_as_people_compare_them() {
    let bytes = HexBytes([0x0a, 0xff]);
    assert_eq!((in_json(bytes), format!("{bytes:?}")), ("0aff".to_owned(), "0aff".to_owned()));
    let fingerprint: Fingerprint = "0123-4567-89ab-cdef-0123-4567-89ab-cdef".parse().unwrap();
    assert_eq!(in_json(fingerprint), fingerprint.to_string());
    assert_eq!(fingerprint.to_string().len(), 39);
}

#[test]
fn what_a_write_leaves_out_is_the_usual() {
    let group: SourceGroupWrite =
        serde_json::from_value(json!({"name": "n", "tag": "t", "includes": ["/"]})).unwrap();
    assert_eq!((group.retry_max, group.retry_backoff_seconds), (3, 60));
    let group_id = GroupId::mint(Timestamp::default(), [1; 10]);
    let schedule = json!({"name": "n", "cron": "0 3 * * *", "timezone": "UTC", "group_ids": [group_id]});
    assert!(serde_json::from_value::<ScheduleWrite>(schedule).unwrap().enabled);
}

#[test]
fn a_job_is_plain_that_wants_nothing_beyond_its_kind() {
    assert!(JobIntent::default().is_plain());
    assert!(!JobIntent { subset_pct: Some(5), ..JobIntent::default() }.is_plain());
}

#[test]
fn a_text_may_be_as_long_as_it_may_be() {
    let longest = (1..1_000).rev().find(|length| DisplayName::new("x".repeat(*length)).is_ok()).unwrap();
    let refused = DisplayName::new("x".repeat(longest + 1)).unwrap_err().to_string();
    assert!(refused.contains(&format!("at most {longest} are allowed")), "{refused}");
}

#[test]
fn a_secret_keeps_its_words() {
    assert_eq!(Secret::from("words".to_owned()).expose(), "words");
}
