//! The rules of maintenance, written apart from the code: slots come from plain arithmetic in UTC, not from the cron search.

use proptest::prelude::*;

use super::*;
use crate::id::{JobId, RepoId};
use crate::model::{AppendOnly, Hold, JobState};
use crate::restic::OutcomeClass;
use crate::schedule::Zone;
use crate::time::{DAY, HOUR, MINUTE, Timestamp};

/// Monday 2026-01-05 00:00 UTC.
const MONDAY: i64 = 1_767_571_200_000;

fn at(day: i64, hour: i64, minute: i64) -> Timestamp {
    Timestamp::from_millis(MONDAY + day * DAY + hour * HOUR + minute * MINUTE)
}

fn view() -> RepoView {
    let mut policy = MaintenancePolicy::standard(Zone::UTC);
    policy.spread_minutes = 0;
    RepoView {
        repo_id: RepoId::mint(at(0, 0, 0), [3; 10]),
        policy,
        policy_since: [None; 3],
        last: [None; 3],
        runner: RunnerState::Ready,
        forget: ForgetNeeds::Policies,
        has_admin_creds: true,
        append_only: AppendOnly::Unknown,
        check_errors: false,
        foreign_lock: false,
        clock_suspect: false,
    }
}

fn job(created_at: Timestamp, slot: Option<Timestamp>, state: JobState) -> LastJob {
    LastJob {
        job_id: JobId::mint(created_at, [1; 10]),
        created_at,
        finished_at: state.is_final().then_some(created_at + MINUTE),
        state,
        class: None,
        slot,
        attempt: 1,
    }
}

fn due(decision: &Decision) -> Vec<(&'static str, Timestamp)> {
    decision.due.iter().map(|due| (due.kind.as_str(), due.slot)).collect()
}

#[test]
fn a_repository_without_any_job_is_anchored_a_day_back() {
    // Tuesday 03:30: forget of 03:00 is due; last Sunday's prune and the first's check are older than a day.
    assert_eq!(due(&decide(&view(), at(1, 3, 30))), [("forget", at(1, 3, 0))]);
}

#[test]
fn a_new_repository_owes_what_came_since_its_beginning_and_nothing_before() {
    let mut policy = MaintenancePolicy::standard(Zone::UTC);
    policy.spread_minutes = 0;
    let begun_at = at(0, 12, 0);
    let mut view = RepoView::new(RepoId::mint(begun_at, [3; 10]), policy, begun_at);
    assert!(decide(&view, begun_at).due.is_empty());
    // First looked at eight days later: Sunday's prune is two days old by then, and owed all the same.
    let late = decide(&view, at(8, 12, 0));
    assert!(due(&late).iter().any(|(kind, slot)| *kind == "prune" && *slot < at(7, 12, 0)), "{late:?}");

    view.set_since(MaintenanceKind::Prune, at(8, 0, 0));
    assert_eq!(view.since(MaintenanceKind::Prune), Some(at(8, 0, 0)));
    assert_eq!(view.since(MaintenanceKind::Forget), Some(begun_at));
    assert!(!due(&decide(&view, at(8, 12, 0))).iter().any(|(kind, _)| *kind == "prune"));
}

#[test]
fn a_view_can_be_kept_as_json() {
    let mut kept = view();
    kept.policy_since[1] = Some(at(0, 0, 0));
    let running = job(at(1, 3, 0), Some(at(1, 3, 0)), JobState::Running);
    kept.set_last(MaintenanceKind::Check, running);
    assert_eq!(kept.last(MaintenanceKind::Check), Some(&running));
    assert_eq!(kept.last(MaintenanceKind::Prune), None);
    let json = serde_json::to_value(&kept).unwrap();
    assert_eq!((json["runner"].as_str(), json["forget"].as_str()), (Some("ready"), Some("policies")));
    assert_eq!(json["last"][2]["state"], "running");
    assert_eq!(serde_json::from_value::<RepoView>(json.clone()).unwrap(), kept);
    let mut unknown = json;
    unknown["mood"] = "good".into();
    assert!(serde_json::from_value::<RepoView>(unknown).is_err());
}

#[test]
fn a_job_that_a_crash_left_running_is_under_way_until_it_is_set_to_lost() {
    let mut crashed = view();
    let mut last = job(at(0, 3, 0), Some(at(0, 3, 0)), JobState::Running);
    crashed.set_last(MaintenanceKind::Forget, last);
    assert_eq!(
        due(&decide(&crashed, at(400, 3, 30))).iter().filter(|(kind, _)| *kind == "forget").count(),
        0
    );
    last.state = JobState::Lost;
    crashed.set_last(MaintenanceKind::Forget, last);
    assert!(due(&decide(&crashed, at(400, 3, 30))).contains(&("forget", at(400, 3, 0))));
}

#[test]
fn a_cadence_that_was_just_edited_fires_nothing_of_the_past() {
    let mut edited = view();
    edited.policy_since = [Some(at(1, 3, 10)); 3];
    assert!(decide(&edited, at(1, 3, 30)).due.is_empty());
    assert_eq!(due(&decide(&edited, at(2, 3, 0))), [("forget", at(2, 3, 0))]);
}

#[test]
fn after_any_downtime_one_slot_of_a_kind_is_due_the_newest_and_in_the_order_forget_prune_check() {
    let mut asleep = view();
    let old = Some(job(at(0, 0, 0), None, JobState::Succeeded));
    asleep.last = [old, old, old];
    let decision = decide(&asleep, at(40, 12, 0));
    // Day 40 is a Saturday; the Sunday before is day 34, the first of February is day 27.
    assert_eq!(due(&decision), [("forget", at(40, 3, 0)), ("prune", at(34, 4, 0)), ("check", at(27, 5, 0))]);
}

#[test]
fn a_job_in_flight_suppresses_its_kind_however_long_it_takes() {
    for state in [JobState::Queued, JobState::Dispatched, JobState::Running] {
        let mut busy = view();
        busy.last[1] = Some(job(at(0, 4, 0), Some(at(-1, 4, 0)), state));
        let decision = decide(&busy, at(30, 5, 0));
        assert!(decision.due.iter().all(|due| due.kind != MaintenanceKind::Prune));
        assert_eq!(decision.reports[1].sentence, "prune is under way");
    }
}

#[test]
fn the_newest_job_of_a_kind_is_noted_by_its_kind() {
    for kind in [MaintenanceKind::Forget, MaintenanceKind::Prune, MaintenanceKind::Check] {
        let mut view = view();
        view.set_last(kind, job(at(5, 0, 0), None, JobState::Running));
        let under_way: Vec<MaintenanceKind> = decide(&view, at(5, 0, 1))
            .reports
            .iter()
            .filter(|report| report.sentence.ends_with("is under way"))
            .map(|report| report.kind)
            .collect();
        assert_eq!(under_way, [kind]);
    }
}

#[test]
fn every_hold_names_its_reason_and_a_missing_credential_never_becomes_a_failed_job() {
    let prune = |change: fn(&mut RepoView)| {
        let mut view = view();
        view.last[1] = Some(job(at(0, 0, 0), None, JobState::Succeeded));
        change(&mut view);
        let decision = decide(&view, at(6, 4, 0));
        assert!(decision.due.iter().all(|due| due.kind != MaintenanceKind::Prune));
        decision.reports[1].hold.clone()
    };
    assert_eq!(prune(|view| view.has_admin_creds = false), Some(Hold::AdminCredsRequired));
    assert_eq!(prune(|view| view.check_errors = true), Some(Hold::CheckErrors));
    assert_eq!(prune(|view| view.runner = RunnerState::Away), Some(Hold::HostOffline));
    assert_eq!(prune(|view| view.runner = RunnerState::None), Some(Hold::NoRunner));
    assert_eq!(prune(|view| view.runner = RunnerState::WithoutRestic), Some(Hold::ResticMissing));
    assert_eq!(prune(|view| view.clock_suspect = true), Some(Hold::ClockSuspect));
    assert_eq!(prune(|view| view.foreign_lock = true), Some(Hold::ForeignLock));
}

#[test]
fn forget_needs_the_admin_credential_only_where_the_everyday_one_cannot_delete() {
    let mut append_only = view();
    append_only.has_admin_creds = false;
    assert_eq!(due(&decide(&append_only, at(1, 3, 0))), [("forget", at(1, 3, 0))]);
    append_only.append_only = AppendOnly::Yes;
    let decision = decide(&append_only, at(1, 3, 0));
    assert_eq!((decision.due.len(), &decision.reports[0].hold), (0, &Some(Hold::AdminCredsRequired)));
}

#[test]
fn forget_without_policies_is_never_due_and_with_a_snapshot_of_the_future_it_waits() {
    let mut none = view();
    none.forget = ForgetNeeds::NoPolicies;
    let decision = decide(&none, at(1, 3, 0));
    assert!(decision.due.is_empty() && decision.reports[0].hold.is_none());
    none.forget = ForgetNeeds::FutureSnapshots;
    assert_eq!(decide(&none, at(1, 3, 0)).reports[0].hold, Some(Hold::ClockSuspect));
}

#[test]
fn a_passing_failure_owes_its_slot_again_three_times_and_then_waits_for_the_cadence() {
    let slot = at(6, 4, 0);
    let mut created = slot;
    for (attempt, pause) in [(1, 15 * MINUTE), (2, HOUR), (3, 4 * HOUR)] {
        let mut view = view();
        let failed = LastJob {
            class: Some(OutcomeClass::Locked),
            attempt,
            ..job(created, Some(slot), JobState::Failed)
        };
        view.last[1] = Some(failed);
        let again = failed.finished_at.unwrap() + pause;
        assert!(decide(&view, again - 1).due.iter().all(|due| due.kind != MaintenanceKind::Prune));
        let decision = decide(&view, again);
        let found = decision.due.iter().find(|due| due.kind == MaintenanceKind::Prune).unwrap();
        assert_eq!((found.slot, found.attempt), (slot, attempt + 1));
        created = again;
    }
    let mut view = view();
    view.last[1] = Some(LastJob {
        class: Some(OutcomeClass::Locked),
        attempt: 4,
        ..job(created, Some(slot), JobState::Failed)
    });
    assert!(decide(&view, at(12, 0, 0)).due.iter().all(|due| due.kind != MaintenanceKind::Prune));
    assert!(decide(&view, at(13, 4, 0)).due.iter().any(|due| due.slot == at(13, 4, 0) && due.attempt == 1));
}

#[test]
fn a_failure_that_no_retry_mends_waits_for_the_cadence() {
    for (state, class) in [
        (JobState::Failed, Some(OutcomeClass::WrongPassword)),
        (JobState::Failed, None),
        (JobState::Cancelled, Some(OutcomeClass::Cancelled)),
    ] {
        let mut view = view();
        view.last[1] = Some(LastJob { class, ..job(at(6, 4, 0), Some(at(6, 4, 0)), state) });
        assert!(decide(&view, at(12, 23, 0)).due.iter().all(|due| due.kind != MaintenanceKind::Prune));
    }
}

#[test]
fn a_job_from_a_future_that_cannot_be_is_ignored_and_named() {
    let mut view = view();
    view.last[0] = Some(job(at(400, 0, 0), None, JobState::Succeeded));
    let decision = decide(&view, at(1, 3, 30));
    assert_eq!(due(&decision), [("forget", at(1, 3, 0))]);
    assert!(decision.reports[0].sentence.contains("which cannot be"), "{}", decision.reports[0].sentence);
}

#[test]
fn a_host_that_is_away_is_not_looked_for() {
    let mut away = view();
    away.runner = RunnerState::Away;
    away.policy.check.enabled = false;
    away.policy.prune.enabled = false;
    assert_eq!(decide(&away, at(1, 3, 0)).wake_at, None);
}

#[test]
fn what_is_held_or_due_is_looked_at_again_after_a_quarter_of_an_hour_or_at_the_next_start() {
    let mut held = view();
    held.policy.forget.enabled = false;
    held.policy.check.enabled = false;
    held.last[1] = Some(job(at(0, 0, 0), None, JobState::Succeeded));
    held.has_admin_creds = false;
    assert_eq!(decide(&held, at(6, 4, 0)).wake_at, Some(at(6, 4, 15)));
    assert_eq!(decide(&held, at(13, 3, 50)).wake_at, Some(at(13, 4, 0)));
    held.has_admin_creds = true;
    assert_eq!(decide(&held, at(6, 4, 0)).wake_at, Some(at(6, 4, 15)));
    assert_eq!(decide(&held, at(13, 3, 50)).wake_at, Some(at(13, 4, 0)));
    held.last[1] = Some(job(at(6, 4, 0), Some(at(6, 4, 0)), JobState::Succeeded));
    assert_eq!(decide(&held, at(7, 0, 0)).wake_at, Some(at(13, 4, 0)));
}

#[test]
fn each_situation_is_said_in_one_sentence() {
    let mut view = view();
    view.policy.forget.enabled = false;
    view.forget = ForgetNeeds::NoPolicies;
    view.last[1] = Some(job(at(0, 0, 0), None, JobState::Succeeded));
    view.has_admin_creds = false;
    let say = |view: &RepoView, kind: usize, now| decide(view, now).reports[kind].sentence.clone();
    assert_eq!(say(&view, 0, at(1, 0, 0)), "forget is disabled");
    assert_eq!(
        say(&view, 1, at(1, 0, 0)),
        "prune starts at 2026-01-11T04:00:00Z; as things stand it will be held: the admin credential of the repository \
         is missing; set it with `rmctl creds set --kind admin`"
    );
    view.has_admin_creds = true;
    assert_eq!(say(&view, 1, at(1, 0, 0)), "prune starts at 2026-01-11T04:00:00Z");
    view.runner = RunnerState::Away;
    assert_eq!(say(&view, 1, at(1, 0, 0)), "prune starts at 2026-01-11T04:00:00Z", "it may be back by then");
    view.runner = RunnerState::Ready;
    view.has_admin_creds = false;
    assert_eq!(
        say(&view, 1, at(6, 4, 0)),
        "prune is due since 2026-01-11T04:00:00Z, but the admin credential of the repository is missing; set it with \
         `rmctl creds set --kind admin`"
    );
    view.has_admin_creds = true;
    assert_eq!(say(&view, 1, at(6, 4, 0)), "prune is due since 2026-01-11T04:00:00Z");
    view.policy.forget.enabled = true;
    assert_eq!(
        say(&view, 0, at(1, 3, 0)),
        "forget has nothing to do: no source group has a retention policy"
    );
    view.last[1] = Some(LastJob {
        class: Some(OutcomeClass::Locked),
        ..job(at(6, 4, 0), Some(at(6, 4, 0)), JobState::Failed)
    });
    assert_eq!(say(&view, 1, at(6, 5, 0)), "prune is due again for 2026-01-11T04:00:00Z, attempt 2");
}

#[test]
fn a_repository_starts_by_its_own_delay_after_the_slot_and_catches_up_by_it() {
    let mut spread = view();
    spread.policy.spread_minutes = 60;
    spread.policy.prune.enabled = false;
    spread.policy.check.enabled = false;
    spread.last[0] = Some(job(at(0, 12, 0), None, JobState::Succeeded));
    let slot = at(1, 3, 0);
    let start = decide(&spread, at(1, 2, 0)).wake_at.unwrap();
    let delay = start.millis_since(slot);
    assert!(0 < delay && delay <= HOUR, "{delay} ms");
    assert!(decide(&spread, start - 1).due.is_empty());
    assert_eq!(due(&decide(&spread, start)), [("forget", slot)]);
    // Another repository has another delay; without a spread there is none.
    spread.repo_id = RepoId::mint(at(0, 0, 0), [4; 10]);
    assert_ne!(decide(&spread, at(1, 2, 0)).wake_at, Some(start));
    spread.policy.spread_minutes = 0;
    assert_eq!(decide(&spread, at(1, 2, 0)).wake_at, Some(slot));
}

#[test]
fn an_embedder_without_policy_since_and_without_jobs_looks_back_one_day_and_no_further() {
    let mut fresh = view();
    fresh.policy.forget.enabled = false;
    fresh.policy.check.enabled = false;
    // Sunday is day 6; a day later its slot is still within a day, a minute more and it is not.
    assert_eq!(due(&decide(&fresh, at(7, 3, 59))), [("prune", at(6, 4, 0))]);
    assert_eq!(due(&decide(&fresh, at(7, 4, 0))), []);
    // Whoever keeps track looks back as far as the policy stands.
    fresh.policy_since = [Some(at(5, 0, 0)); 3];
    assert_eq!(due(&decide(&fresh, at(9, 0, 0))), [("prune", at(6, 4, 0))]);
}

#[test]
fn a_retry_gives_way_to_the_next_slot_even_at_the_same_instant() {
    let mut view = view();
    view.policy.forget.cron = "*/15 * * * *".parse().unwrap();
    let mut failed = job(at(1, 3, 0), Some(at(1, 3, 0)), JobState::Failed);
    failed.class = Some(OutcomeClass::Locked);
    failed.finished_at = Some(at(1, 3, 0));
    view.last[0] = Some(failed);
    let decision = decide(&view, at(1, 3, 15));
    assert_eq!((decision.due[0].slot, decision.due[0].attempt), (at(1, 3, 15), 1));
    assert_eq!(decide(&view, at(1, 3, 5)).reports[0].next_at, Some(at(1, 3, 15)));
}

#[test]
fn a_date_is_trusted_up_to_25_hours_ahead() {
    let mut view = view();
    view.last[0] = Some(job(at(2, 4, 0), None, JobState::Succeeded));
    assert!(decide(&view, at(1, 3, 0)).due.is_empty(), "25 hours ahead still anchors");
    view.last[0] = Some(job(at(2, 4, 1), None, JobState::Succeeded));
    assert_eq!(due(&decide(&view, at(1, 3, 0))), [("forget", at(1, 3, 0))]);
}

#[test]
fn a_job_that_is_ignored_for_its_date_is_looked_at_again_when_that_date_can_be() {
    let mut view = view();
    view.policy.forget.enabled = false;
    view.policy.check.enabled = false;
    view.last[1] = Some(job(at(3, 0, 0), Some(at(1, 22, 0)), JobState::Lost));
    let counts = at(1, 23, 0);
    assert_eq!(decide(&view, counts - 1).wake_at, Some(counts));
    assert_eq!(decide(&view, counts).wake_at, Some(at(3, 0, 16)), "its slot is owed again");
}

/// Slots of the standard policy by arithmetic: forget daily 03:00, prune Sunday 04:00.
fn slots_between(kind: MaintenanceKind, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    (0..400)
        .filter(|day| kind == MaintenanceKind::Forget || day % 7 == 6)
        .map(|day| at(day, if kind == MaintenanceKind::Forget { 3 } else { 4 }, 0))
        .filter(|slot| *slot > from && *slot <= until)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A year that is woken only by `wake_at`: every cadence fires exactly as often as the calendar says.
    #[test]
    fn a_year_of_wake_ups_fires_each_slot_exactly_once(
        spread in 0u16..=720,
        id in any::<[u8; 10]>(),
        start in 0i64..(7 * DAY),
        takes in 1i64..(90 * MINUTE),
    ) {
        let mut view = view();
        view.policy.spread_minutes = spread;
        view.policy.check.enabled = false;
        view.repo_id = RepoId::mint(at(0, 0, 0), id);
        let begin = Timestamp::from_millis(MONDAY + start);
        view.policy_since = [Some(begin); 3];
        let end = at(365, 0, 0);
        let mut now = begin;
        let mut fired: [Vec<Timestamp>; 2] = [Vec::new(), Vec::new()];
        let mut steps = 0;
        while now < end {
            let decision = decide(&view, now);
            for due in &decision.due {
                let place = usize::from(due.kind == MaintenanceKind::Prune);
                fired[place].push(due.slot);
                let mut done = job(now, Some(due.slot), JobState::Succeeded);
                done.finished_at = Some(now + takes);
                view.last[place] = Some(done);
            }
            let next = if decision.due.is_empty() { decision.wake_at } else { Some(now + takes) };
            now = next.expect("something is always to come").max(now + 1);
            steps += 1;
            prop_assert!(steps < 3_000, "the engine is woken for nothing");
        }
        // What started before the end: its slot is at least the jitter before it.
        for (place, kind) in [(0, MaintenanceKind::Forget), (1, MaintenanceKind::Prune)] {
            let calendar = slots_between(kind, begin, end);
            let tail = calendar.len() - fired[place].len();
            prop_assert!(tail <= 1, "{kind:?}: {} of {}", fired[place].len(), calendar.len());
            prop_assert_eq!(&fired[place], &calendar[..calendar.len() - tail]);
        }
    }

    /// Nothing becomes due before the wake-up that was promised.
    #[test]
    fn the_wake_up_is_never_late(
        now in 0i64..(60 * DAY),
        ago in prop::array::uniform3(prop::option::of(0i64..(40 * DAY))),
        ended in 0usize..4,
        spread in 0u16..=720,
        admin in any::<bool>(),
        probe in 0.0f64..1.0,
    ) {
        let now = Timestamp::from_millis(MONDAY + now);
        let mut view = view();
        view.policy.spread_minutes = spread;
        view.has_admin_creds = admin;
        for (place, ago) in ago.into_iter().enumerate() {
            view.last[place] = ago.map(|ago| {
                let created = now - ago;
                let (state, class) = [
                    (JobState::Succeeded, None),
                    (JobState::Failed, Some(OutcomeClass::Unreachable)),
                    (JobState::Lost, None),
                    (JobState::Failed, Some(OutcomeClass::NoSpace)),
                ][ended];
                LastJob { class, ..job(created, Some(created - spread as i64 * MINUTE), state) }
            });
        }
        let decision = decide(&view, now);
        prop_assert!(decision.wake_at.is_none_or(|wake| wake > now));
        if decision.due.is_empty() {
            let wake = decision.wake_at.expect("a ready runner is always looked at again");
            let between = now + ((wake.millis_since(now) - 1) as f64 * probe) as i64;
            prop_assert_eq!(decide(&view, between).due, Vec::new());
        }
    }
}
