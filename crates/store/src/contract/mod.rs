//! The contract of a store: one clause a sentence of the traits, for every backend.
//!
//! Whoever writes a backend proves it with [`contract_tests!`](crate::contract_tests), which makes one `#[test]` of each clause:
//!
//! ```
//! mod contract {
//!     use std::sync::Arc;
//!     use restic_manager_store::{MemoryStore, Store};
//!
//!     restic_manager_store::contract_tests!(async { (Arc::new(MemoryStore::new()) as Arc<dyn Store>, ()) });
//! }
//! ```
//!
//! The argument is a future that makes an empty store, with whatever it stands on: that is dropped after the clause. It is evaluated
//! anew for each. A clause that does not hold panics and says which sentence was broken.

#![allow(
    clippy::unwrap_used,
    reason = "the clauses are assertions: an error of the store is a broken clause"
)]

pub mod accounts;
pub mod adopting;
pub mod announcing;
pub mod attachments;
pub mod audit;
pub mod cancelling;
pub mod dispatching;
pub mod findings;
mod fixture;
pub mod glance;
pub mod history;
pub mod hosts;
pub mod logs;
pub mod maintenance;
mod nightly;
pub mod paging;
pub mod pending_runs;
pub mod plans;
pub mod preconditions;
pub mod queueing;
pub mod reports;
pub mod repos;
pub mod runs;
pub mod sessions;
pub mod snapshots;
pub mod waking;

use std::sync::Arc;

use crate::Store;

/// Makes a store and holds one clause against it, on a runtime of four threads of its own.
///
/// # Panics
///
/// When the clause does not hold.
pub fn prove<K>(made: impl Future<Output = (Arc<dyn Store>, K)>, clause: impl AsyncFnOnce(&Arc<dyn Store>)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let (store, stands_on) = made.await;
        clause(&store).await;
        drop(store);
        drop(stands_on);
    });
}

/// Makes one `#[test]` of each clause of the contract, for the store that the given future makes; see [`contract`](crate::contract).
#[macro_export]
macro_rules! contract_tests {
    ($factory:expr) => {
        $crate::contract_clauses! { contract_clauses_as_tests ($factory) }
    };
}

/// One `#[test]` a clause.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_clauses_as_tests {
    (($factory:expr) $($part:ident { $($clause:ident)* })*) => {$(
        mod $part {
            #[allow(unused_imports, reason = "what the factory names stands outside")]
            use super::*;
            $(
                #[test]
                fn $clause() {
                    $crate::contract::prove($factory, $crate::contract::$part::$clause);
                }
            )*
        }
    )*};
}

/// The clauses, by part.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_clauses {
    ($then:ident $arguments:tt) => {
        $crate::$then! {
            $arguments
            accounts {
                the_first_user_is_made_once_however_many_try
                a_user_is_found_by_exactly_its_name
                a_new_password_ends_all_sessions_and_no_token
                a_password_needs_its_user
                a_session_is_good_until_it_ends
                opening_a_session_forgets_those_that_ended
                a_session_needs_its_user
                a_session_may_be_ended_twice
                a_token_name_is_free_once_its_token_is_no_longer_good
                a_token_needs_its_user
                a_token_name_is_given_once_however_many_try
                a_token_is_found_whether_or_not_it_is_good
                revoking_a_token_twice_keeps_the_first_time
                the_last_use_of_a_token_never_goes_back
                tokens_are_listed_newest_first
                an_enrolment_token_makes_one_host_however_many_try
                an_enrolment_token_that_is_not_good_makes_no_host
                a_taken_host_name_leaves_the_enrolment_token_good
                old_enrolment_tokens_are_forgotten
            }
            announcing {
                an_announcement_is_read_until_its_time_is_over
                a_key_that_is_announced_again_keeps_its_place
                a_decision_stands_when_the_key_is_announced_again
                only_so_many_may_wait
                the_limit_holds_however_many_come
                an_approval_makes_one_host_however_many_press
                an_approval_that_cannot_be_makes_no_host
                a_rejection_is_written_down_once
                a_challenge_is_good_for_one_claim
                a_second_claim_replaces_the_token
                a_claim_needs_an_approval
                an_approval_goes_with_its_host
            }
            adopting {
                a_claim_makes_its_run_and_its_job_once
                a_claim_ends_what_the_server_had_for_its_slot
                a_claim_under_a_taken_number_gets_the_next
                a_start_or_an_end_adopts_its_own_job
                a_claim_takes_the_place_of_older_slots
                a_slot_that_ran_twice_is_audited
                a_host_claims_its_own_slots_only
                a_superseded_job_leaves_no_run_stuck
            }
            attachments {
                an_attachment_is_read_with_what_is_around_it
                an_attachment_needs_both_its_ends
                a_host_has_one_primary_repo
                a_primary_repo_is_given_once_however_many_try
                a_restic_host_name_is_unique_in_a_repo
                an_existing_attachment_keeps_its_identity
                an_attachment_raises_the_plan_version
                a_stale_credential_leaves_the_attachment_unwritten
                attachments_of_a_host_come_primary_first
                attachments_of_repos_come_by_repo_and_host_name
                an_attachment_in_use_is_not_deleted
                credentials_go_with_their_attachment
                a_credential_is_written_on_the_revision_that_was_seen
                one_writer_of_a_credential_wins
                a_credential_is_deleted_once
            }
            audit {
                every_change_of_accounts_is_written
                every_change_of_the_fleet_is_written
                every_change_of_plans_and_jobs_is_written
                a_refused_change_of_the_fleet_writes_nothing
                a_refused_change_of_plans_and_jobs_writes_nothing
                rows_come_newest_first
                rows_are_found_by_what_they_say
                a_fact_keeps_its_first_value
                a_fact_has_one_value_however_many_bring_one
                a_ping_changes_nothing
                changes_made_at_once_are_all_written
            }
            cancelling {
                a_job_that_waits_is_cancelled_at_once
                a_job_that_went_out_is_asked_to_stop
                a_job_that_is_over_stays_as_it_ended
                a_wish_to_cancel_is_delivered_at_hello
                a_cancelled_job_that_never_arrived_is_over
                a_cancelled_job_never_waits_again
                a_requeue_cancels_no_job_that_is_over
                a_job_is_cancelled_once_however_many_ask
            }
            dispatching {
                a_dispatched_job_comes_with_its_rows
                intents_of_one_view_do_not_make_each_other_stale
                an_intent_on_an_older_revision_is_stale
                one_dispatcher_wins
                only_a_job_that_waits_is_dispatched
                a_job_without_its_attachment_is_withdrawn
                a_backup_without_its_group_is_withdrawn
                unanswered_jobs_are_those_still_dispatched
                an_unanswered_job_outlives_its_group
                moves_follow_the_table
                a_moved_job_says_when_and_why
                a_job_ends_once_however_many_end_it
                a_requeued_job_goes_out_again
            }
            findings {
                errors_of_a_check_hold_the_prune
                a_check_lifts_the_hold_when_it_covered_as_much
                an_operator_lifts_the_hold
                what_a_check_found_is_known
                a_prune_says_what_it_left
                locks_in_the_way_are_known
                a_preview_says_nothing_of_locks
                a_refused_delete_is_noted
                a_repeated_end_says_nothing_new
                each_day_keeps_what_was_known_at_its_end
            }
            glance {
                the_primary_repository_of_each_host
                the_days_of_many_repositories
                the_newest_backup_of_each_group
                jobs_are_read_together
                what_hosts_are_doing
                hosts_without_restic_are_found
                schedules_that_back_up_nowhere_are_found
                hosts_besides_some_are_all_the_others
                what_ended_badly_counts_until_it_is_mended
                the_attempts_of_a_run
                the_jobs_of_days
            }
            history {
                jobs_keep_the_names_of_what_was_deleted
                a_group_that_went_with_its_host_keeps_its_name
                history_outlives_its_host
                the_last_backup_of_each_host
            }
            hosts {
                a_host_is_read_as_it_was_enrolled
                a_host_is_found_by_its_name
                hosts_are_sorted_by_name_without_regard_to_case
                hosts_are_found_by_a_part_of_their_name
                hosts_are_chosen_by_id_and_by_signs_of_life
                hosts_are_found_by_their_label
                a_host_name_is_unique_without_regard_to_case
                a_host_name_is_given_once_however_many_try
                what_a_change_of_a_host_leaves_out_stays
                only_a_limit_that_becomes_another_raises_the_plan_version
                a_host_with_unfinished_jobs_is_not_deleted
                a_host_that_is_a_runner_is_not_deleted
                deleting_a_host_takes_what_is_its_own
                a_deleted_host_reports_nothing
                signs_of_life_never_go_back
                facts_replace_what_was_said_before
            }
            logs {
                lines_come_back_as_they_were_said
                a_log_is_read_from_any_number_on
                known_lines_are_repeats
                a_log_goes_on_behind_a_gap
                a_log_may_begin_with_a_gap
                late_lines_are_kept
                every_job_has_its_own_log
                a_log_keeps_its_head_and_its_tail
                old_logs_are_forgotten
                a_log_ages_by_the_servers_clock
            }
            maintenance {
                a_new_repo_is_looked_at_at_once
                settings_come_back_as_they_were_written
                a_changed_cadence_begins_anew
                what_is_due_comes_longest_waiting_first
                views_come_in_the_order_asked
                the_runner_is_named_or_the_oldest
                a_runner_comes_with_what_is_around_it
                groups_with_a_policy_are_to_forget
                a_group_to_forget_knows_its_newest_snapshot
                the_newest_job_of_a_kind_is_its_anchor
                a_preview_anchors_nothing
                a_decision_is_committed_whole
                a_decision_on_an_older_view_is_stale
                a_slot_is_made_once
                a_slot_that_was_given_back_is_not_taken_again
                a_kind_waits_for_its_job_under_way
                a_decision_is_made_once_however_many_commit_it
                whether_a_credential_may_delete_is_noted
                maintenance_goes_with_its_repo
            }
            paging {
                pages_are_stable_while_rows_come_and_go
                newer_rows_do_not_move_a_list_that_is_being_read
                a_full_last_page_has_no_next
                a_limit_of_zero_counts_as_one
                pages_of_one_row_list_every_row
                a_text_that_is_no_cursor_is_refused
            }
            pending_runs {
                a_job_that_could_not_be_sent_is_put_off
                an_attempt_settles_what_is_owed
                an_attempt_is_planned_or_given_up
                a_settlement_on_an_old_state_is_stale
                one_settlement_wins_however_many_try
                what_is_due_is_found_by_time_and_host
                pending_runs_are_listed_and_counted
                hosts_out_of_reach_open_the_breaker
            }
            plans {
                a_group_has_its_name_and_tag_for_itself_on_its_host
                a_group_name_is_given_once_however_many_try
                a_replaced_group_keeps_host_tag_and_creation
                a_group_in_use_is_not_deleted
                a_schedule_names_groups_of_its_own_host
                a_schedule_name_is_unique_on_its_host
                a_replaced_schedule_keeps_host_and_creation
                a_schedule_is_deleted_by_its_own_host
                every_plan_write_raises_its_version
                a_plan_is_read_whole
                enabled_schedules_are_those_that_fire
            }
            preconditions {
                a_job_of_maintenance_comes_with_its_view
                the_intent_of_a_job_is_kept
                a_forget_needs_a_policy
                a_preview_needs_the_policy_of_its_group
                what_deletes_needs_the_admin_credential
                a_prune_needs_a_repo_without_errors
                maintenance_needs_the_runner
                what_the_system_asked_for_needs_its_cadence
            }
            queueing {
                a_job_that_was_asked_for_waits
                pressing_twice_gives_the_job_that_is_there
                a_job_that_is_to_stop_is_not_given_again
                jobs_that_differ_in_one_thing_are_their_own
                a_scheduled_job_is_found_by_pressing
                one_job_is_made_however_many_press
                a_job_needs_what_it_speaks_of
                admission_sees_the_oldest_first
                admission_sees_what_waits_and_what_runs
                a_wish_that_waited_too_long_is_withdrawn
                the_fleet_is_counted
                jobs_are_found_by_what_they_are
            }
            reports {
                a_batch_is_applied_in_order
                repeats_are_harmless_also_beside_new_ones
                an_ignored_effect_uses_its_number_up
                numbers_count_for_one_spool_of_one_host
                a_number_is_applied_once_however_many_bring_it
                a_report_needs_its_host
                a_host_reports_of_its_own_jobs_only
                the_end_of_a_job_is_stored_whole
                a_job_may_end_without_having_started
                reports_follow_the_table
                a_refusal_says_why
                a_message_set_aside_is_written_down
                an_acknowledged_plan_only_goes_forward
                a_partial_picture_never_blanks_what_is_known
                an_older_finding_never_hides_a_newer_one
                a_host_reports_of_its_own_repos_only
                an_id_that_does_not_fit_is_left_alone
                many_hosts_report_at_once
            }
            repos {
                a_repo_is_read_as_it_was_made
                repos_are_found_by_a_part_of_their_name
                repos_are_sorted_by_name_without_regard_to_case
                a_repo_name_is_unique_without_regard_to_case
                a_runner_is_an_attachment_of_the_repo
                a_repo_in_use_is_not_deleted
                restics_own_id_is_learned_once
                one_row_keeps_an_id_however_many_learn_it
                sizes_are_answered_in_the_order_asked
            }
            runs {
                a_fired_run_is_there_with_its_job
                a_missed_slot_is_a_run_without_a_job
                a_run_key_fires_once
                a_message_of_new_and_known_runs_makes_the_new_ones
                missed_slots_are_counted_once_whoever_told_of_the_run_first
                a_newer_slot_takes_the_place_of_older_ones_that_wait
                a_run_key_fires_once_however_many_bring_it
                a_later_attempt_joins_its_run
                runs_that_are_not_the_hosts_are_left_out
                a_run_whose_group_is_gone_is_abandoned
                a_run_follows_the_end_of_its_job
                a_run_follows_what_the_server_does_to_its_job
                a_run_fails_with_a_cancelled_job_and_goes_on_after_a_lost_one
                a_run_follows_late_evidence
            }
            sessions {
                the_epoch_strictly_rises
                a_spool_goes_on_where_it_stood
                a_session_stores_what_the_agent_says
                a_session_needs_its_host
                unknown_jobs_are_judged_by_where_they_stand
                known_jobs_stay_as_they_are
                a_hello_judges_its_own_jobs_only
                judged_jobs_come_by_id
                a_lost_job_is_over_as_its_agent_says
            }
            snapshots {
                snapshots_come_newest_first
                snapshots_of_one_instant_are_all_listed
                the_list_said_last_replaces_what_was_listed
                a_list_replaces_only_its_own_hosts
                a_snapshot_belongs_to_the_group_of_its_tag
                a_list_goes_with_its_attachment
                a_list_goes_with_its_host
            }
            waking {
                a_hello_of_the_runner_wakes
                attachments_and_credentials_wake
                a_host_that_leaves_wakes
                settings_and_overrides_wake
                source_groups_wake
                the_end_of_a_job_wakes
                a_sighting_of_locks_wakes
                an_earlier_wake_up_keeps_its_place
                a_wake_up_is_never_committed_over
            }
        }
    };
}

#[cfg(test)]
mod tests {
    const PARTS: [(&str, &str); 24] = [
        ("accounts", include_str!("accounts.rs")),
        ("adopting", include_str!("adopting.rs")),
        ("announcing", include_str!("announcing.rs")),
        ("attachments", include_str!("attachments.rs")),
        ("audit", include_str!("audit.rs")),
        ("cancelling", include_str!("cancelling.rs")),
        ("dispatching", include_str!("dispatching.rs")),
        ("findings", include_str!("findings.rs")),
        ("glance", include_str!("glance.rs")),
        ("history", include_str!("history.rs")),
        ("hosts", include_str!("hosts.rs")),
        ("logs", include_str!("logs.rs")),
        ("maintenance", include_str!("maintenance.rs")),
        ("paging", include_str!("paging.rs")),
        ("pending_runs", include_str!("pending_runs.rs")),
        ("plans", include_str!("plans.rs")),
        ("preconditions", include_str!("preconditions.rs")),
        ("queueing", include_str!("queueing.rs")),
        ("reports", include_str!("reports.rs")),
        ("repos", include_str!("repos.rs")),
        ("runs", include_str!("runs.rs")),
        ("sessions", include_str!("sessions.rs")),
        ("snapshots", include_str!("snapshots.rs")),
        ("waking", include_str!("waking.rs")),
    ];

    /// What stands between the first `begin` behind `of` and the `end` that follows.
    fn between<'a>(text: &'a str, of: &str, begin: &str, end: &str) -> &'a str {
        let (_, rest) = text.split_once(of).unwrap();
        let (_, rest) = rest.split_once(begin).unwrap();
        rest.split_once(end).unwrap().0
    }

    #[test]
    fn every_clause_is_in_the_list() {
        let list = between(
            include_str!("mod.rs"),
            "macro_rules! contract_clauses {",
            "$arguments\n",
            "        }\n    };",
        );
        for (part, source) in PARTS {
            let written: Vec<&str> = source
                .lines()
                .filter_map(|line| {
                    line.strip_prefix("pub async fn ")?.strip_suffix("(store: &Arc<dyn Store>) {")
                })
                .collect();
            let listed: Vec<&str> =
                between(list, &format!(" {part} "), "{", "}").split_whitespace().collect();
            assert_eq!(listed, written, "{part}");
            assert!(!written.is_empty(), "{part}");
        }
    }

    #[test]
    fn every_part_is_looked_at() {
        let parts: Vec<&str> = include_str!("mod.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
            .collect();
        assert_eq!(parts, PARTS.map(|(part, _)| part));
    }
}
