//! Which schedules are due, by the plan in hand.

use restic_manager_core::schedule::{Cadence, due};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{PlanSchedule, ScheduleFire};

use super::clockwatch::ClockWatch;
use crate::ledger::Ledger;

/// The newest slot of each schedule that came and did not fire yet, oldest first; older ones are counted as missed.
///
/// Slots up to `since` of a schedule are none of it, and those that a clock jumped over are left alone for the time being.
/// A slot that fired in the future shows that the clock is wrong, or was: nothing fires until the server confirmed the
/// time, and from then on the future is forgotten.
pub(super) fn due_fires(ledger: &Ledger, clock: &ClockWatch, now: Timestamp) -> Vec<ScheduleFire> {
    let schedules = ledger.plan().map_or(&[][..], |plan| &plan.schedules);
    let mut fires: Vec<ScheduleFire> = schedules
        .iter()
        .filter_map(|schedule| {
            let last = match ledger.last_fired(schedule.schedule_id) {
                Some(last) if last > now => Some(clock.confirmed()?),
                last => last.max(clock.not_before()),
            };
            let last = last.filter(|last| *last > schedule.since);
            let due = due(&cadence(schedule), last, schedule.since, now);
            Some(ScheduleFire { schedule_id: schedule.schedule_id, slot: due.newest?, missed: due.missed })
        })
        .collect();
    fires.sort_by_key(|fire| (fire.slot, fire.schedule_id));
    fires
}

/// The next slot of each schedule, the earliest first.
pub(super) fn next_slots(ledger: &Ledger, now: Timestamp) -> Vec<(Timestamp, &PlanSchedule)> {
    let schedules = ledger.plan().map_or(&[][..], |plan| &plan.schedules);
    let mut next: Vec<_> = schedules
        .iter()
        .filter_map(|schedule| Some((cadence(schedule).next_after(now.max(schedule.since))?, schedule)))
        .collect();
    next.sort_by_key(|(slot, schedule)| (*slot, schedule.schedule_id));
    next
}

fn cadence(schedule: &PlanSchedule) -> Cadence {
    Cadence { cron: schedule.cron.clone(), zone: schedule.timezone.clone() }
}

#[cfg(test)]
mod tests {
    use restic_manager_core::id::ScheduleId;
    use restic_manager_core::schedule::Zone;
    use restic_manager_core::time::{DAY, HOUR, MINUTE};
    use restic_manager_core::wire::ScheduleSet;

    use super::*;

    // 2023-11-14T00:00:00Z
    const MIDNIGHT: Timestamp = Timestamp::from_millis(1_699_920_000_000);

    fn id() -> ScheduleId {
        ScheduleId::mint(MIDNIGHT, [1; 10])
    }

    fn ledger(folder: &std::path::Path, cron: &str, since: Timestamp) -> Ledger {
        let mut ledger = Ledger::open(folder, MIDNIGHT).unwrap();
        let schedule = PlanSchedule {
            schedule_id: id(),
            cron: cron.parse().unwrap(),
            timezone: Zone::UTC,
            since,
            group_ids: vec![],
            repo_ids: vec![],
        };
        let plan = ScheduleSet {
            schedule_version: 1,
            schedules: vec![schedule],
            groups: vec![],
            repos: vec![],
            limit_upload_kib: None,
            limit_download_kib: None,
        };
        ledger.set_plan(plan).unwrap();
        ledger
    }

    fn steady() -> ClockWatch {
        ClockWatch::new(MIDNIGHT, 0)
    }

    fn fire(slot: Timestamp, missed: u64) -> ScheduleFire {
        ScheduleFire { schedule_id: id(), slot, missed }
    }

    #[test]
    fn a_slot_fires_once_also_after_a_restart() {
        let temp = tempfile::tempdir().unwrap();
        let mut ledger = ledger(temp.path(), "0 * * * *", MIDNIGHT + MINUTE);
        assert_eq!(due_fires(&ledger, &steady(), MIDNIGHT + HOUR - 1), []);
        let found = due_fires(&ledger, &steady(), MIDNIGHT + HOUR);
        assert_eq!(found, [fire(MIDNIGHT + HOUR, 0)]);
        ledger.fired(id(), found[0].slot).unwrap();
        assert_eq!(due_fires(&ledger, &steady(), MIDNIGHT + HOUR + 1), []);
        drop(ledger);
        let again = Ledger::open(temp.path(), MIDNIGHT).unwrap();
        assert_eq!(due_fires(&again, &steady(), MIDNIGHT + 2 * HOUR - 1), []);
        assert_eq!(due_fires(&again, &steady(), MIDNIGHT + 5 * HOUR), [fire(MIDNIGHT + 5 * HOUR, 3)]);
    }

    #[test]
    fn slots_before_the_schedule_stood_like_this_are_none() {
        let temp = tempfile::tempdir().unwrap();
        let mut ledger = ledger(temp.path(), "0 3 * * *", MIDNIGHT + 5 * HOUR);
        assert_eq!(due_fires(&ledger, &steady(), MIDNIGHT + 6 * HOUR), []);
        // It fired before it was edited: what lies between is not made up for.
        ledger.fired(id(), MIDNIGHT - 2 * DAY).unwrap();
        assert_eq!(due_fires(&ledger, &steady(), MIDNIGHT + 6 * HOUR), []);
        assert_eq!(
            due_fires(&ledger, &steady(), MIDNIGHT + DAY + 3 * HOUR),
            [fire(MIDNIGHT + DAY + 3 * HOUR, 0)]
        );
    }

    #[test]
    fn a_doubtful_clock_catches_nothing_up_but_goes_on_from_there() {
        let temp = tempfile::tempdir().unwrap();
        let ledger = ledger(temp.path(), "0 * * * *", MIDNIGHT);
        let jumped = MIDNIGHT + 10 * HOUR + MINUTE;
        let mut clock = steady();
        clock.look(jumped, 1).unwrap();
        assert_eq!(due_fires(&ledger, &clock, jumped + 1), []);
        assert_eq!(due_fires(&ledger, &clock, MIDNIGHT + 11 * HOUR), [fire(MIDNIGHT + 11 * HOUR, 0)]);
        assert_eq!(due_fires(&ledger, &steady(), jumped), [fire(MIDNIGHT + 10 * HOUR, 9)]);
    }

    #[test]
    fn a_slot_that_fired_in_the_future_holds_until_the_time_is_confirmed() {
        let temp = tempfile::tempdir().unwrap();
        let mut ledger = ledger(temp.path(), "0 * * * *", MIDNIGHT);
        ledger.fired(id(), MIDNIGHT + 300 * DAY).unwrap();
        let mut clock = steady();
        assert_eq!(due_fires(&ledger, &clock, MIDNIGHT + 5 * HOUR), []);
        clock.compare(MIDNIGHT + 5 * HOUR, MIDNIGHT + 5 * HOUR);
        assert_eq!(due_fires(&ledger, &clock, MIDNIGHT + 5 * HOUR + MINUTE), []);
        assert_eq!(due_fires(&ledger, &clock, MIDNIGHT + 6 * HOUR), [fire(MIDNIGHT + 6 * HOUR, 0)]);
    }

    #[test]
    fn the_next_slots_are_told_in_order() {
        let temp = tempfile::tempdir().unwrap();
        let ledger = ledger(temp.path(), "0 3 * * *", MIDNIGHT);
        let next: Vec<Timestamp> =
            next_slots(&ledger, MIDNIGHT + 3 * HOUR).iter().map(|(slot, _)| *slot).collect();
        assert_eq!(next, [MIDNIGHT + DAY + 3 * HOUR]);
    }
}
