//! The network between agents and their server fails, in both directions and in one: backups go on, and their story is told afterwards.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use restic_manager_e2e::{
    Agent, Cable, Direction, House, Ledger, Way, noise, restic_newest, wait_for, wait_within,
};
use serde_json::Value;

const REPO_PASSWORD: &str = "planted-repo-password";
/// How many backups each host makes while it is alone.
const ALONE: usize = 2;

/// A host behind a cable of its own, with a repository of its own, that backs up every minute.
struct Site {
    name: &'static str,
    agent: Agent,
    cable: Cable,
    break_it: Break,
}

/// A way in which a network fails.
type Break = fn(&Cable);

impl Site {
    fn new(house: &House, name: &'static str, break_it: Break) -> Self {
        let cable = Cable::to(&house.url);
        let more = ["--offline-grace", "2", "--settle", "1"].map(str::to_owned).to_vec();
        let agent =
            house.enrol_over(name, &restic_newest(), Way { url: cable.url(), more, os_hostname: None });
        let site = Self { name, agent, cable, break_it };
        house.attach(&site.agent, &site.repository(house), REPO_PASSWORD, &[]);
        let source = house.path(&format!("{name}-source"));
        fs::create_dir(&source).unwrap();
        noise(&source.join("noise"), 1);
        house.rmctl(&["source", "create", name, "home", "--include", source.to_str().unwrap()]);
        house.rmctl(&["schedule", "create", name, "each-minute", "--cron", "* * * * *", "--source", "home"]);
        wait_for("the plan's acknowledgement", || {
            let host = house.json(&["host", "show", name]);
            (host["schedule_version"] == host["schedule_version_acked"]).then_some(())
        });
        site
    }

    fn repository(&self, house: &House) -> String {
        house.path(&format!("{}-repository", self.name)).to_str().unwrap().to_owned()
    }

    /// The ids of its snapshots as restic tells them.
    fn snapshots(&self, house: &House) -> BTreeSet<String> {
        let told = restic_newest().snapshots(&self.repository(house), REPO_PASSWORD);
        told.iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
    }

    /// How many backups it began on its own word and brought to a good end.
    fn own_backups(&self) -> usize {
        let ledger = Ledger::of(self.agent.folder());
        let own = |claim: &&restic_manager_e2e::Claim| {
            claim.by == restic_manager_core::slots::Claimant::Agent
                && claim.ends.iter().any(|end| end.summary.snapshot_id.is_some())
        };
        ledger.claims.values().filter(own).count()
    }

    fn jobs(&self, house: &House) -> Vec<Value> {
        let jobs = house.json(&["job", "ls", "--host", self.name, "--kind", "backup", "--all"]);
        jobs["items"].as_array().unwrap().clone()
    }

    fn is_calm(&self, house: &House) -> bool {
        let over =
            |job: &Value| !["queued", "dispatched", "running"].contains(&job["state"].as_str().unwrap());
        let told: BTreeSet<String> = self.jobs(house).iter().filter_map(snapshot_id).collect();
        Ledger::of(self.agent.folder()).open_jobs() == 0
            && self.jobs(house).iter().all(over)
            && told == self.snapshots(house)
    }
}

fn snapshot_id(job: &Value) -> Option<String> {
    job["summary"]["snapshot_id"].as_str().map(str::to_owned)
}

#[test]
fn a_network_that_fails_in_any_way_stops_no_backup_and_every_slot_is_told_once() {
    let house = House::open();
    let ways: [(&str, Break); 4] = [
        ("refused", Cable::cut),
        ("silent", |cable| {
            cable.deaden(Direction::ToServer);
            cable.deaden(Direction::ToAgent);
        }),
        ("mute", |cable| cable.deaden(Direction::ToServer)),
        ("deaf", |cable| cable.deaden(Direction::ToAgent)),
    ];
    let sites = ways.map(|(name, break_it)| Site::new(&house, name, break_it));
    for site in &sites {
        (site.break_it)(&site.cable);
    }
    // A silent network is only known as one after a while; then the slots are the agent's own.
    for site in &sites {
        let what = format!("{} to back up alone; its log:\n{}", site.name, site.agent.process.log());
        wait_within(Duration::from_secs(280), &what, || (site.own_backups() >= ALONE).then_some(()));
    }
    for site in &sites {
        site.cable.heal();
    }
    for site in &sites {
        house.wait_presence(&site.agent, "online");
        house.rmctl(&["schedule", "disable", site.name, "each-minute"]);
    }
    for site in &sites {
        let what =
            format!("the server to know all of {}; agent log:\n{}", site.name, site.agent.process.log());
        wait_for(&what, || site.is_calm(&house).then_some(()));
        is_told_once(&house, site);
    }
}

/// What the server says is what restic and the agent's ledger say.
fn is_told_once(house: &House, site: &Site) {
    let jobs = site.jobs(house);
    let snapshots = site.snapshots(house);
    let told: Vec<String> = jobs.iter().filter_map(snapshot_id).collect();
    assert_eq!(told.len(), snapshots.len(), "{}: a snapshot is told by one job: {jobs:#?}", site.name);
    let mut of_slot: BTreeMap<i64, usize> = BTreeMap::new();
    for job in jobs.iter().filter(|job| snapshot_id(job).is_some()) {
        assert_eq!(job["state"], "succeeded", "{job:#}");
        *of_slot.entry(job["slot"].as_i64().unwrap()).or_default() += 1;
        let log = house.rmctl(&["job", "log", job["id"].as_str().unwrap()]);
        assert!(log.contains("backup"), "{}: the log came along: {log}", site.name);
    }
    assert!(of_slot.values().all(|count| *count == 1), "{}: no slot twice: {of_slot:?}", site.name);
    let ledger = Ledger::of(site.agent.folder());
    let ids: BTreeSet<String> =
        ledger.claims.iter().filter(|(_, claim)| claim.run.is_some()).map(|(id, _)| id.to_string()).collect();
    let known: BTreeSet<String> = jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
    assert!(ids.is_subset(&known), "{}: every claimed job is known: {ids:?} of {known:?}", site.name);
    assert!(ledger.claims.values().all(|claim| claim.times == 1 && claim.ends.len() <= 1), "{ledger:#?}");
    restic_newest().run(&site.repository(house), REPO_PASSWORD, &["check"]);
}
