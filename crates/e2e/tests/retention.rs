//! What the core says that `forget` would do is what `restic forget --dry-run --json` says.

#![allow(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use restic_manager_core::restic::{ForgetGroup, Snapshot, Version, parse_forget, parse_snapshots};
use restic_manager_core::retention::{KeepPolicy, Machine, preview};
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::Timestamp;
use restic_manager_e2e::{Restic, SealedFiles, restic_newest, restic_oldest};

const PASSWORD: &str = "retention";
/// Each is a host of the repository: one call of restic judges them all.
const HOSTS: usize = 8;
/// Where calendars are hard: clocks change, months of different length meet, years and ISO years begin.
const DATES: [&str; 8] = [
    "2023-12-31T22:00:00Z",
    "2024-02-29T12:00:00Z",
    "2025-01-01T00:30:00Z",
    "2025-03-30T00:30:00Z",
    "2025-03-31T10:00:00Z",
    "2025-10-26T00:30:00Z",
    "2025-11-02T05:30:00Z",
    "2026-01-03T12:00:00Z",
];
const FUTURE: &str = "2062-05-31T12:00:00Z";
/// Zones of the machine, with a spring and an autumn in which its clock changes.
const ZONES: [(&str, [&str; 2]); 4] = [
    ("UTC", ["2025-03-30T01:00:00Z", "2025-10-26T01:00:00Z"]),
    ("Europe/Berlin", ["2025-03-30T01:00:00Z", "2025-10-26T01:00:00Z"]),
    ("Europe/London", ["2025-03-30T01:00:00Z", "2025-10-26T01:00:00Z"]),
    ("America/New_York", ["2025-03-09T07:00:00Z", "2025-11-02T06:00:00Z"]),
];
/// What another clock than the machine's is ahead of UTC, in minutes.
const OFFSETS: [i32; 4] = [0, 345, -570, 780];

#[test]
fn a_preview_is_what_the_newest_restic_would_do() {
    Lab::new(restic_newest()).compare(30);
}

#[test]
fn a_preview_is_what_the_oldest_restic_would_do() {
    Lab::new(restic_oldest()).compare(10);
}

/// A repository with generated snapshots.
struct Lab {
    restic: Restic,
    folder: tempfile::TempDir,
    tree: String,
    version: Version,
}

/// Snapshots to write, by host, and what is asked of them.
#[derive(Debug)]
struct Case {
    snapshots: Vec<Vec<String>>,
    keep: KeepPolicy,
    zone: Zone,
}

impl Lab {
    fn new(restic: Restic) -> Self {
        assert!(Path::new("/usr/share/zoneinfo/Europe/Berlin").exists(), "restic needs the package tzdata");
        let folder = tempfile::tempdir().unwrap();
        let lab = Self { restic, folder, tree: String::new(), version: Version::OLDEST_SUPPORTED };
        lab.run(&["init"]);
        std::fs::write(lab.folder.path().join("file"), "some data").unwrap();
        lab.run(&["backup", lab.folder.path().join("file").to_str().unwrap()]);
        let snapshots = lab.run(&["snapshots", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&snapshots).unwrap();
        let version = Version::from_output(&lab.run(&["version"])).unwrap();
        Self { version, tree: listed[0]["tree"].as_str().unwrap().to_owned(), ..lab }
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn run(&self, args: &[&str]) -> String {
        self.restic.run(self.repository().to_str().unwrap(), PASSWORD, args)
    }

    fn compare(&self, cases: u32) {
        let mut files = SealedFiles::open(&self.restic, &self.repository(), PASSWORD);
        let config = Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
        let files = std::cell::RefCell::new(&mut files);
        let outcome =
            TestRunner::new(config).run(&any_case(), |case| self.compare_one(&case, *files.borrow_mut()));
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }

    fn compare_one(&self, case: &Case, files: &mut SealedFiles) -> Result<(), TestCaseError> {
        files.clear("snapshots");
        let mut written = Vec::new();
        for (host, times) in case.snapshots.iter().enumerate() {
            written.extend(times.iter().map(|time| self.write(files, host, time)));
        }
        let listed = parse_snapshots(&format!("[{}]", written.join(","))).unwrap();
        let now = Timestamp::from_millis(
            i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap(),
        );
        let said = parse_forget(&self.forget(case)).unwrap();
        let machine = Machine { restic: self.version, zone: case.zone.clone() };
        let ours: BTreeMap<String, Vec<String>> = (0..HOSTS)
            .flat_map(|host| {
                let of_host: Vec<Snapshot> =
                    listed.iter().filter(|one| one.hostname == name(host)).cloned().collect();
                let verdicts = preview(&case.keep, &of_host, &machine, now);
                let told = verdicts.iter().map(|verdict| {
                    let reasons = verdict.kept_by.iter().map(ToString::to_string);
                    (verdict.snapshot.id.to_string(), reasons.collect())
                });
                told.collect::<Vec<(String, Vec<String>)>>()
            })
            .collect();
        let theirs = theirs(&said);
        let time =
            |id: &String| listed.iter().find(|one| one.id.as_str() == id).map(|one| one.time.to_string());
        let differ = listed.iter().map(|one| one.id.to_string()).filter(|id| theirs.get(id) != ours.get(id));
        let differ: Vec<String> = differ
            .map(|id| format!("{:?}: restic {:?}, we {:?}", time(&id), theirs.get(&id), ours.get(&id)))
            .collect();
        prop_assert!(differ.is_empty(), "{}", differ.join("\n"));
        prop_assert_eq!(theirs.len(), ours.len());
        Ok(())
    }

    /// A snapshot as `snapshots --json` lists it.
    fn write(&self, files: &mut SealedFiles, host: usize, time: &str) -> String {
        let mut snapshot = serde_json::json!({
            "time": time, "tree": self.tree, "paths": ["/file"], "hostname": name(host), "username": "root",
        });
        let id = files.write("snapshots", &snapshot);
        snapshot["short_id"] = id[..8].into();
        snapshot["id"] = id.into();
        snapshot.to_string()
    }

    fn forget(&self, case: &Case) -> String {
        let output = Command::new(&self.restic.program)
            .args(["forget", "--dry-run", "--json", "--no-lock", "--no-cache", "--group-by", "host"])
            .args(case.keep.to_args())
            .env("RESTIC_REPOSITORY", self.repository())
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("TZ", case.zone.name())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "restic forget: {}: {stderr}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }
}

fn name(host: usize) -> String {
    format!("host-{host}")
}

/// What restic says of each snapshot; no reasons for one that goes.
fn theirs(groups: &[ForgetGroup]) -> BTreeMap<String, Vec<String>> {
    let of_group = |group: &ForgetGroup| {
        let kept = group.keep.iter().map(|one| (one.id.to_string(), group.reasons_of(&one.id).to_vec()));
        let gone = group.remove.iter().map(|one| (one.id.to_string(), Vec::new()));
        kept.chain(gone).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of_group).collect()
}

fn any_case() -> impl Strategy<Value = Case> {
    (proptest::sample::select(&ZONES[..]), any_policy()).prop_flat_map(|((zone, changes), keep)| {
        let zone: Zone = zone.parse().unwrap();
        let others = proptest::collection::vec(any_snapshots(zone.clone()), HOSTS - 1);
        (any_ladder(zone.clone(), changes), others).prop_map(move |(ladder, mut snapshots)| {
            snapshots.push(ladder);
            Case { snapshots, keep, zone: zone.clone() }
        })
    })
}

/// A snapshot every half hour up to a few hours after a change of the machine's clock.
fn any_ladder(zone: Zone, changes: [&'static str; 2]) -> impl Strategy<Value = Vec<String>> {
    (proptest::sample::select(changes.to_vec()), 0_i64..60).prop_map(move |(change, newest)| {
        let change: jiff::Timestamp = change.parse().unwrap();
        let steps = newest - 120..=newest;
        steps
            .map(|step| as_restic_writes(change + SignedDuration::from_mins(step * 30), None, &zone))
            .collect()
    })
}

/// The times of one host's snapshots around one of the dates and perhaps in the future, each instant once: restic has no order for
/// those of the very same.
fn any_snapshots(zone: Zone) -> impl Strategy<Value = Vec<String>> {
    let step = proptest::sample::select(vec![1, 1_000, 1_800_000, 1_800_000, 3_600_000, 86_400_000]);
    let offset = prop_oneof![3 => Just(None), 1 => proptest::sample::select(&OFFSETS[..]).prop_map(Some)];
    let one = (prop::bool::weighted(0.03), step, -60_i64..60, 0_i64..3, offset);
    let date = proptest::sample::select(&DATES[..]);
    (date, proptest::collection::vec(one, 0..24)).prop_map(move |(date, all)| {
        let place = |(future, step, steps, nanos, offset): (bool, i64, i64, i64, Option<i32>)| {
            let date: jiff::Timestamp = if future { FUTURE } else { date }.parse().unwrap();
            let span = SignedDuration::from_millis(step * steps) + SignedDuration::from_nanos(nanos);
            (date + span, offset)
        };
        let by_instant: BTreeMap<_, _> = all.into_iter().map(place).collect();
        by_instant.into_iter().map(|(instant, offset)| as_restic_writes(instant, offset, &zone)).collect()
    })
}

/// Restic writes UTC as `Z`.
fn as_restic_writes(instant: jiff::Timestamp, offset: Option<i32>, zone: &Zone) -> String {
    let here = zone.as_jiff().to_offset(instant);
    let offset = offset.map_or(here, |minutes| jiff::tz::Offset::from_seconds(minutes * 60).unwrap());
    match offset.seconds() {
        0 => instant.to_string(),
        _ => instant.display_with_offset(offset).to_string(),
    }
}

fn any_policy() -> impl Strategy<Value = KeepPolicy> {
    let rule = || proptest::option::of(1_u32..6);
    let within = proptest::option::of("[12]d|[12]d[1-9]h|[1-9]h|[12]m|[1-3]y[1-9]m|1[0-9]m30d");
    let numbers = (rule(), rule(), rule(), rule(), rule(), rule());
    (numbers, within).prop_filter_map(
        "an empty policy",
        |((last, hourly, daily, weekly, monthly, yearly), within)| {
            let json = serde_json::json!({
                "last": last, "hourly": hourly, "daily": daily, "weekly": weekly, "monthly": monthly,
                "yearly": yearly, "within": within,
            });
            serde_json::from_value(json).ok().filter(|keep: &KeepPolicy| !keep.is_empty())
        },
    )
}
