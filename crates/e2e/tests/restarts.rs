//! Server and agent killed in the middle of a backup: restic goes on, and the job ends with its whole story.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;
use std::path::Path;

use restic_manager_e2e::{Agent, House, Ledger, Restic, noise, restic_newest, wait_for};
use serde_json::Value;

const REPO_PASSWORD: &str = "planted-repo-password";

/// A throttled backup that takes some seconds, under way.
struct UnderWay {
    house: House,
    agent: Agent,
    restic: Restic,
    job_id: String,
    /// The process that does it.
    pid: i64,
}

impl UnderWay {
    fn begin() -> Self {
        let house = House::open();
        let restic = restic_newest();
        let agent = house.enrol("web1", &restic);
        let repository = house.path("repository");
        house.attach(&agent, repository.to_str().unwrap(), REPO_PASSWORD, &[]);
        let folder = house.path("big");
        fs::create_dir(&folder).unwrap();
        noise(&folder.join("noise"), 40);
        house.rmctl(&["source", "create", "web1", "big", "--include", folder.to_str().unwrap()]);
        house.rmctl(&["host", "limit", "web1", "--upload", "4000"]);
        let job_id = house.start_group(&agent, "big");
        let pid = wait_for("restic", || restic_of(agent.folder(), &job_id));
        wait_for("the job to run", || (house.job(&job_id)["state"] == "running").then_some(()));
        Self { house, agent, restic, job_id, pid }
    }

    /// The restic of the job, if it is still the first one.
    fn still_runs(&self) -> bool {
        Path::new(&format!("/proc/{}", self.pid)).exists()
            && restic_of(self.agent.folder(), &self.job_id) == Some(self.pid)
    }

    /// It ends well, once, and with its whole log.
    fn ends_well(&self) {
        let job = self.house.wait_job(&self.job_id);
        assert_eq!(job["state"], "succeeded", "{job:#}\n{}", self.agent.process.log());
        let repository = self.house.path("repository");
        let told = self.restic.snapshots(repository.to_str().unwrap(), REPO_PASSWORD);
        assert_eq!(told.len(), 1, "restic ran once");
        assert_eq!(told[0]["id"], job["summary"]["snapshot_id"]);
        assert_eq!((job["attempt"].as_u64(), job["run_id"].is_null()), (Some(1), true), "{job:#}");
        let log = self.house.rmctl(&["job", "log", &self.job_id, "--format", "ndjson"]);
        let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap();
        let numbers: Vec<u64> = log.lines().map(number).collect();
        assert!(numbers.len() > 1, "{log}");
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no line is missing or twice: {log}");
        let ledger = Ledger::of(self.agent.folder());
        let claim = &ledger.claims[&self.job_id.parse().unwrap()];
        assert_eq!((claim.times, claim.ends.len()), (1, 1), "{claim:#?}");
        assert_eq!(
            self.restic.run(repository.to_str().unwrap(), REPO_PASSWORD, &["list", "locks"]).trim(),
            ""
        );
        self.restic.run(repository.to_str().unwrap(), REPO_PASSWORD, &["check"]);
    }
}

fn restic_of(agent: &Path, job_id: &str) -> Option<i64> {
    let text = fs::read_to_string(agent.join("state/jobs").join(job_id).join("child.json")).ok()?;
    serde_json::from_str::<Value>(&text).ok()?["pid"].as_i64()
}

#[test]
fn a_backup_outlives_the_death_of_its_server() {
    let mut under_way = UnderWay::begin();
    under_way.house.server.kill();
    assert!(under_way.still_runs());
    under_way.house.restart_server();
    under_way.house.wait_presence(&under_way.agent, "online");
    assert!(under_way.still_runs(), "it is the same restic");
    assert_eq!(under_way.house.job(&under_way.job_id)["state"], "running");
    under_way.ends_well();
}

#[test]
fn a_backup_that_ends_while_its_server_is_dead_is_told_afterwards() {
    let mut under_way = UnderWay::begin();
    under_way.house.server.kill();
    wait_for("the backup's end", || (Ledger::of(under_way.agent.folder()).open_jobs() == 0).then_some(()));
    under_way.house.restart_server();
    under_way.ends_well();
}

#[test]
fn a_restart_of_the_agent_during_a_long_backup_leaves_restic_alone() {
    let mut under_way = UnderWay::begin();
    let (status, _) = under_way.agent.process.stop();
    assert!(status.success(), "{status}: {}", under_way.agent.process.log());
    assert!(under_way.still_runs());
    under_way.agent.restart();
    under_way.house.wait_presence(&under_way.agent, "online");
    under_way.agent.process.kill();
    under_way.agent.restart();
    under_way.house.wait_presence(&under_way.agent, "online");
    assert!(under_way.still_runs(), "it is the same restic");
    assert_eq!(under_way.house.job(&under_way.job_id)["state"], "running");
    under_way.ends_well();
}

#[test]
fn a_backup_outlives_the_death_of_both() {
    let mut under_way = UnderWay::begin();
    under_way.agent.process.kill();
    under_way.house.server.kill();
    assert!(under_way.still_runs());
    under_way.agent.restart();
    under_way.house.restart_server();
    under_way.house.wait_presence(&under_way.agent, "online");
    assert!(under_way.still_runs(), "it is the same restic");
    under_way.ends_well();
}
