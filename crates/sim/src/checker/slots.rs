//! Every slot of every schedule was run, or counted as missed.

use std::collections::{BTreeMap, BTreeSet};

use restic_manager_core::id::ScheduleId;
use restic_manager_core::time::{HOUR, MINUTE, SECOND};

use super::facts::Facts;
use crate::history::{Counts, Life};
use crate::when::BEGIN;

/// Whoever was up for so long after a slot has fired it.
const TIME_TO_FIRE: i64 = MINUTE + 5 * SECOND;

pub(super) fn judge(facts: &Facts<'_>, counts: &mut Counts, wrong: &mut Vec<String>) {
    let mut fired: BTreeMap<ScheduleId, BTreeMap<i64, usize>> = BTreeMap::new();
    for key in facts.keys.keys() {
        *fired.entry(key.schedule_id).or_default().entry(key.slot.as_millis()).or_insert(0) += 1;
    }
    let none = BTreeMap::new();
    for (id, life) in &facts.history.schedules {
        counts.missed += facts.missed[id];
        let fired = fired.get(id).unwrap_or(&none);
        if let Some(what) = what_is_wrong(facts, *id, life, fired) {
            wrong.push(format!("schedule {id} of host {}: {what}", life.host));
        }
    }
}

fn what_is_wrong(
    facts: &Facts<'_>,
    id: ScheduleId,
    life: &Life,
    fired: &BTreeMap<i64, usize>,
) -> Option<String> {
    let ends = life.versions.iter().skip(1).map(|version| version.since).chain([facts.end]);
    let mut expected: BTreeSet<i64> = BTreeSet::new();
    let mut unexplained = Vec::new();
    for (at, (version, until)) in life.versions.iter().zip(ends).enumerate() {
        let Some(cadence) = &version.cadence else { continue };
        let slots = cadence.slots(version.since, until);
        let last = slots.iter().rev().find(|slot| fired.contains_key(slot)).copied();
        // Nothing was owed yet for what came after the last that fired, unless there was time to.
        let explained = |slot: &&i64| {
            let after_the_last = last.is_none_or(|last| **slot > last);
            after_the_last && !had_time(facts, life, version.since, **slot, until)
                || at > 0 && by_an_older_plan(facts, life, version.since, **slot, fired)
        };
        let missing = slots.iter().filter(|slot| !fired.contains_key(slot));
        unexplained.extend(missing.filter(|slot| !explained(slot)).copied());
        expected.extend(slots);
    }
    let counted = facts.missed[&id];
    let edited = life.versions.len() > 1;
    let list = |slots: &[i64]| {
        let slots =
            slots.iter().take(5).map(|at| restic_manager_core::time::Timestamp::from_millis(*at).to_string());
        slots.collect::<Vec<String>>().join(", ")
    };
    if !edited {
        if let Some((slot, runs)) =
            fired.iter().find(|(slot, runs)| **runs != life.targets && **slot < facts.over)
        {
            return Some(format!("slot {} has {runs} runs in place of {}", list(&[*slot]), life.targets));
        }
        if let Some(slot) = fired.keys().find(|slot| !expected.contains(slot)) {
            return Some(format!("slot {} fired, but is none", list(&[*slot])));
        }
        if unexplained.len() as u64 != counted {
            return Some(format!(
                "{} slots did not run, {counted} are counted as missed: {}",
                unexplained.len(),
                list(&unexplained)
            ));
        }
    }
    let aside = facts.audited("message.set_aside", &facts.world.server.hosts[life.host].to_string());
    (unexplained.len() as u64 > counted && !aside).then(|| {
        format!(
            "{} slots are lost, {counted} are counted as missed: {}",
            unexplained.len(),
            list(&unexplained)
        )
    })
}

/// Whether the agent knew the plan and was up for long enough, between the slot and the end of that plan.
fn had_time(facts: &Facts<'_>, life: &Life, since: i64, slot: i64, until: i64) -> bool {
    let taken = facts.history.taken.get(&life.host);
    let knew = taken.and_then(|taken| taken.iter().find(|at| **at >= since && **at < until));
    let Some(knew) = knew else { return false };
    // At the end a fire may still be on its way.
    let until = if until == facts.end { until - HOUR } else { until };
    let from = slot.max(*knew);
    let up = facts.history.awake.get(&life.host).map_or(&[][..], Vec::as_slice);
    up.iter().any(|(start, end)| {
        let (start, end) = ((start + BEGIN).max(from), (end + BEGIN).min(until));
        end - start >= TIME_TO_FIRE
    })
}

/// Whether the agent did not know this plan yet, and worked by the one before.
fn by_an_older_plan(
    facts: &Facts<'_>,
    life: &Life,
    since: i64,
    slot: i64,
    fired: &BTreeMap<i64, usize>,
) -> bool {
    let taken = facts.history.taken.get(&life.host);
    let knew = taken.and_then(|taken| taken.iter().find(|at| **at >= since)).copied().unwrap_or(i64::MAX);
    slot <= knew && fired.range(slot..).any(|(other, _)| *other > since && *other <= knew)
}
