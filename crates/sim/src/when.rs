//! Firing times as plain arithmetic: what a cadence means, told without the code that is judged.
//!
//! Every history lies between two changes of summer time in all of the zones, so that a zone is a fixed offset.

use restic_manager_core::time::{DAY, HOUR, MINUTE};

/// 2026-11-18T00:00:00Z: the first instant of every history.
pub const BEGIN: i64 = 1_794_960_000_000;

/// The zones of the fleet, with their offset in minutes between November and February.
pub const ZONES: [(&str, i64); 5] = [
    ("UTC", 0),
    ("Europe/Berlin", 60),
    ("America/New_York", -300),
    ("Asia/Kolkata", 330),
    ("Australia/Lord_Howe", 660),
];

/// When something fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Every so many hours of the day, at this minute.
    Hours(i64, i64),
    /// Every day at this hour and minute.
    Daily(i64, i64),
    /// Every week on this day (0 is Sunday), at this hour and minute.
    Weekly(i64, i64, i64),
}

/// A cadence: when, and in which zone of [`ZONES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// When.
    pub when: When,
    /// The index of its zone.
    pub zone: usize,
}

impl Cadence {
    /// The five fields for the code that is judged.
    pub fn cron(&self) -> String {
        match self.when {
            When::Hours(1, minute) => format!("{minute} * * * *"),
            When::Hours(step, minute) => format!("{minute} */{step} * * *"),
            When::Daily(hour, minute) => format!("{minute} {hour} * * *"),
            When::Weekly(day, hour, minute) => format!("{minute} {hour} * * {day}"),
        }
    }

    /// The name of its zone.
    pub const fn zone_name(&self) -> &'static str {
        ZONES[self.zone].0
    }

    /// Whether it fires at this instant, in milliseconds since 1970.
    pub const fn fires_at(&self, at: i64) -> bool {
        let local = at + ZONES[self.zone].1 * MINUTE;
        if local % MINUTE != 0 {
            return false;
        }
        let (day, hour, minute) = (local / DAY, local / HOUR % 24, local / MINUTE % 60);
        match self.when {
            When::Hours(step, m) => hour % step == 0 && minute == m,
            When::Daily(h, m) => hour == h && minute == m,
            // 1970-01-01 was a Thursday.
            When::Weekly(d, h, m) => (day + 4) % 7 == d && hour == h && minute == m,
        }
    }

    /// All firing times after `from` and up to `until`.
    pub fn slots(&self, from: i64, until: i64) -> Vec<i64> {
        // Every offset is a multiple of half an hour, every minute of a cadence one of five.
        let grid = 5 * MINUTE;
        let first = from - from.rem_euclid(grid) + grid;
        let mut slots = Vec::new();
        let mut at = first;
        while at <= until {
            if self.fires_at(at) {
                slots.push(at);
            }
            at += grid;
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use restic_manager_core::schedule::{Cadence as Judged, CronExpr, Zone};
    use restic_manager_core::time::Timestamp;

    use super::*;

    #[test]
    fn both_ways_of_counting_agree_on_a_quarter_of_a_year() {
        for zone in 0..ZONES.len() {
            for when in [When::Hours(1, 35), When::Hours(6, 0), When::Daily(23, 55), When::Weekly(0, 4, 10)] {
                let plain = Cadence { when, zone };
                let cron: CronExpr = plain.cron().parse().expect("five fields");
                let judged = Judged { cron, zone: plain.zone_name().parse::<Zone>().expect("a zone") };
                let until = BEGIN + 88 * DAY;
                let ours = plain.slots(BEGIN, until);
                let theirs: Vec<i64> = judged
                    .slots_after(Timestamp::from_millis(BEGIN))
                    .map(Timestamp::as_millis)
                    .take_while(|at| *at <= until)
                    .collect();
                assert_eq!(ours, theirs, "{plain:?}");
                assert!(ours.len() > 11);
            }
        }
    }
}
