//! What was done, by restic's word and the ledgers'; the server's rows are compared with it last.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use restic_manager_core::id::JobId;
use restic_manager_core::model::{FinalState, RunKey};
use restic_manager_e2e::witness::Mode;
use restic_manager_e2e::{Claim, restic_newest};
use serde_json::Value;

use crate::slots::{self, Slots};
use crate::storm::{REPO_PASSWORD, Storm};

/// What the audit counted.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) claims: usize,
    pub(crate) slots: usize,
    pub(crate) snapshots: usize,
    /// Snapshots of a restic that was killed with its machine after it had written them.
    pub(crate) of_killed_machines: usize,
    pub(crate) ended_badly: usize,
    pub(crate) calls: usize,
    pub(crate) exclusive_calls: usize,
    pub(crate) server_jobs: usize,
    pub(crate) log_lines: usize,
    /// Slots without a success whose place a newer one took.
    pub(crate) superseded: usize,
    pub(crate) accounted: Slots,
}

/// Jobs of all hosts: the host's place, and what its ledger says.
type Claims = BTreeMap<JobId, (usize, Claim)>;

pub(crate) fn audit(storm: &mut Storm) -> Figures {
    let mut figures = Figures::default();
    let mut claims = Claims::new();
    for (place, host) in storm.hosts.iter().enumerate() {
        for (job, claim) in host.ledger().claims {
            assert!(claims.insert(job, (place, claim)).is_none(), "job {job} was claimed by two hosts");
        }
    }
    figures.claims = claims.len();
    each_claim_has_one_end(&claims);
    let snapshots = restic_newest().snapshots(&storm.repository(), REPO_PASSWORD);
    each_success_is_a_snapshot(storm, &claims, &snapshots, &mut figures);
    each_slot_is_done_once(&claims, &mut figures);
    the_repository_is_sound(storm);
    nobody_worked_where_another_was_alone(storm, &mut figures);
    the_server_says_the_same(storm, &claims, &mut figures);
    figures.accounted = slots::account(storm);
    figures
}

fn each_claim_has_one_end(claims: &Claims) {
    for (job, (_, claim)) in claims {
        assert_eq!(claim.times, 1, "{job} was claimed once: {claim:#?}");
        let ends: BTreeSet<String> = claim.ends.iter().map(|end| format!("{end:?}")).collect();
        assert!(ends.len() <= 1, "{job} ended in one way: {claim:#?}");
        assert!(claim.lost == ends.is_empty(), "{job} either ended or was lost: {claim:#?}");
    }
}

fn snapshot_of(claim: &Claim) -> Option<String> {
    claim.ends.first()?.summary.snapshot_id.as_ref().map(ToString::to_string)
}

fn is_good(claim: &Claim) -> bool {
    claim.ends.first().is_some_and(|end| matches!(end.state, FinalState::Succeeded | FinalState::Warning))
}

fn each_success_is_a_snapshot(storm: &Storm, claims: &Claims, snapshots: &[Value], figures: &mut Figures) {
    figures.snapshots = snapshots.len();
    let there: BTreeSet<&str> = snapshots.iter().map(|snapshot| snapshot["id"].as_str().unwrap()).collect();
    let mut of = BTreeMap::new();
    for (job, (_, claim)) in claims.iter().filter(|(_, (_, claim))| is_good(claim)) {
        let Some(snapshot) = snapshot_of(claim) else {
            assert!(claim.run.is_none(), "{job} did a slot without a snapshot: {claim:#?}");
            continue;
        };
        assert!(there.contains(snapshot.as_str()), "the snapshot of {job} is lost: {claim:#?}");
        let twice = of.insert(snapshot, job);
        assert!(twice.is_none(), "two jobs made one snapshot: {job}, {twice:?}");
    }
    for snapshot in snapshots.iter().filter(|snapshot| !of.contains_key(snapshot["id"].as_str().unwrap())) {
        figures.of_killed_machines += 1;
        let begun: Timestamp = snapshot["time"].as_str().unwrap().parse().unwrap();
        let made_by = claims.values().find(|(place, claim)| {
            let end = claim.ends.first().map_or(i64::MAX, |end| end.at.as_millis());
            storm.hosts[*place].name == snapshot["hostname"]
                && !is_good(claim)
                && (claim.at.as_millis()..=end).contains(&begun.as_millisecond())
        });
        assert!(made_by.is_some(), "no ledger knows of this snapshot: {snapshot:#}");
    }
    let allowed = usize::try_from(storm.tally.machine).unwrap();
    assert!(
        figures.of_killed_machines <= allowed,
        "{} snapshots, {allowed} killed",
        figures.of_killed_machines
    );
}

fn each_slot_is_done_once(claims: &Claims, figures: &mut Figures) {
    let mut slots: BTreeMap<RunKey, Vec<&Claim>> = BTreeMap::new();
    for (_, claim) in claims.values() {
        if let Some(run) = claim.run {
            slots.entry(run).or_default().push(claim);
        }
    }
    figures.slots = slots.len();
    figures.ended_badly = claims.values().filter(|(_, claim)| !is_good(claim)).count();
    assert!(!slots.is_empty(), "no slot came");
    let done = |tries: &[&Claim]| tries.iter().filter(|claim| is_good(claim)).count();
    let line = |run: &RunKey| (run.schedule_id, run.group_id, run.repo_id);
    for (run, tries) in &slots {
        assert!(done(tries) <= 1, "{run:?} is done once: {tries:#?}");
        if done(tries) == 0 {
            let newer = slots
                .iter()
                .any(|(other, tries)| line(other) == line(run) && other.slot > run.slot && done(tries) == 1);
            assert!(newer, "{run:?} is lost: {tries:#?}");
            figures.superseded += 1;
        }
        let attempts: BTreeSet<u32> = tries.iter().map(|claim| claim.attempt).collect();
        assert_eq!(attempts.len(), tries.len(), "{run:?}: each attempt is made once: {tries:#?}");
    }
}

fn the_repository_is_sound(storm: &Storm) {
    let restic = restic_newest();
    let locks = restic.run(&storm.repository(), REPO_PASSWORD, &["list", "locks", "--no-lock"]);
    assert_eq!(locks.trim(), "", "a lock is left");
    restic.run(&storm.repository(), REPO_PASSWORD, &["check", "--read-data"]);
}

fn nobody_worked_where_another_was_alone(storm: &Storm, figures: &mut Figures) {
    let calls = storm.witness.calls();
    figures.calls = calls.len();
    figures.exclusive_calls = calls.iter().filter(|call| call.mode == Mode::Exclusive).count();
    assert!(figures.exclusive_calls > 0, "nothing ran alone");
    let overlaps: Vec<_> = calls.iter().filter(|call| call.overlaps).collect();
    assert!(overlaps.is_empty(), "{overlaps:#?}");
}

fn the_server_says_the_same(storm: &Storm, claims: &Claims, figures: &mut Figures) {
    let jobs = storm.jobs();
    figures.server_jobs = jobs.len();
    let rows: BTreeMap<JobId, &Value> =
        jobs.iter().map(|job| (job["id"].as_str().unwrap().parse().unwrap(), job)).collect();
    for (job, (place, claim)) in claims {
        let row = rows.get(job).unwrap_or_else(|| panic!("the server never heard of {job}: {claim:#?}"));
        let state = claim.ends.first().map_or("lost", |end| match end.state {
            FinalState::Succeeded => "succeeded",
            FinalState::Warning => "warning",
            FinalState::Failed => "failed",
            FinalState::Cancelled => "cancelled",
        });
        assert_eq!(row["state"], state, "{row:#}\n{claim:#?}");
        assert_eq!(row["host_name"], storm.hosts[*place].name, "{row:#}");
        // The server keeps slots of maintenance too, which the agent does not.
        let slot = row["slot"].as_i64().filter(|_| !row["run_id"].is_null());
        assert_eq!(slot, claim.run.map(|run| run.slot.as_millis()), "{row:#}\n{claim:#?}");
        assert_eq!(row["summary"]["snapshot_id"].as_str(), snapshot_of(claim).as_deref(), "{row:#}");
    }
    for (job, row) in &rows {
        let good = ["succeeded", "warning"].contains(&row["state"].as_str().unwrap());
        assert!(!good || claims.contains_key(job), "no ledger knows of {row:#}");
        if good && row["kind"] == "backup" {
            figures.log_lines += whole_log(storm, *job);
        }
    }
}

/// How many lines the log has; none is missing.
fn whole_log(storm: &Storm, job: JobId) -> usize {
    let log = storm.house.rmctl(&["job", "log", &job.to_string(), "--format", "ndjson"]);
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap();
    let numbers: Vec<u64> = log.lines().map(number).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "the log of {job} has a hole: {log}");
    numbers.len()
}
