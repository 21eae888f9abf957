//! Every slot that a schedule had is accounted for in the server's rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row as _};

use crate::storm::Storm;

const MINUTE: i64 = 60_000;

/// A run as its row says.
struct Run {
    group_id: String,
    slot: i64,
    state: String,
}

/// What became of the slots: how many runs there are in each state, and how many slots were counted as missed without one.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pub(crate) runs: BTreeMap<String, usize>,
    pub(crate) counted_missed: u64,
}

/// Minute for minute from a schedule's creation to its last run, each group has one run or a place in the count of what was missed.
pub(crate) fn account(storm: &mut Storm) -> Slots {
    let mut slots = Slots::default();
    let names: Vec<&str> = storm.hosts.iter().map(|host| host.name).collect();
    for name in names {
        let schedule = storm.house.json(&["schedule", "show", name, "each-minute"]);
        let created = schedule["created_at"].as_i64().unwrap();
        let missed = schedule["missed"]["count"].as_u64().unwrap();
        let id = schedule["id"].as_str().unwrap().to_owned();
        let runs = storm.house.with_server_stopped(|database| runs_of(database, &id));
        let last = runs.iter().map(|run| run.slot).max().unwrap();
        let had = u64::try_from(last / MINUTE - created / MINUTE).unwrap();
        let mut of_group: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
        for run in &runs {
            assert!(of_group.entry(&run.group_id).or_default().insert(run.slot), "two runs of {}", run.slot);
            *slots.runs.entry(run.state.clone()).or_default() += 1;
        }
        for (group, ran) in of_group {
            assert_eq!(
                ran.len() as u64 + missed,
                had,
                "{name}, group {group}: slots with a run {ran:?}, missed {missed}, created {created}"
            );
        }
        slots.counted_missed += missed;
    }
    let all_over = slots.runs.keys().all(|state| ["succeeded", "missed"].contains(&state.as_str()));
    assert!(all_over, "a slot is open or was given up: {slots:?}");
    slots
}

fn runs_of(database: &Path, schedule_id: &str) -> Vec<Run> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = SqliteConnectOptions::new().filename(database).connect().await.unwrap();
        let rows = sqlx::query("select group_id, slot, state from runs where schedule_id = ?1")
            .bind(schedule_id)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let run = |row: &sqlx::sqlite::SqliteRow| Run {
            group_id: row.get("group_id"),
            slot: row.get("slot"),
            state: row.get("state"),
        };
        rows.iter().map(run).collect()
    })
}
