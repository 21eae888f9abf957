//! The agent's program with the real restic and without a server, killed at each step of a backup of its own.
#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod alone_lab;
mod job_lab;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alone_lab::{Home, Target, enrolled, told};
use job_lab::{Lab, PASSWORD, Which, real_restic};
use restic_manager_core::id::JobId;
use restic_manager_core::model::FinalState;
use restic_manager_core::wire::AgentMessage;
use rustix::process::{Pid, Signal, kill_process};

/// Where a backup stands, seen from outside.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Claimed,
    WrittenDown,
    SupervisorCalled,
    ResticRuns,
    ResticEnded,
    EndKnown,
}

/// The agent's program; a test that fails leaves none behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that ended in order is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct House {
    lab: Lab,
    home: Home,
}

impl House {
    fn ledger(&self) -> String {
        std::fs::read_to_string(self.home.state.join("plan/ledger.log")).unwrap_or_default()
    }

    /// A file of the newest job's folder.
    fn of_newest_job(&self, file: &str) -> Option<PathBuf> {
        let jobs = std::fs::read_dir(self.home.state.join("jobs")).ok()?.flatten();
        let newest = jobs.map(|job| job.path()).max()?;
        Some(newest.join(file)).filter(|path| path.exists())
    }

    fn has_come(&self, moment: Moment) -> bool {
        match moment {
            Moment::Claimed => {
                let ledger = self.ledger();
                let count = |record: &str| ledger.matches(&format!(r#""record":"{record}""#)).count();
                count("claimed") > count("finished") + count("lost")
            }
            Moment::WrittenDown => self.of_newest_job("job.json").is_some(),
            Moment::SupervisorCalled => self.of_newest_job("spec.json").is_some(),
            Moment::ResticRuns => self.of_newest_job("child.json").is_some(),
            Moment::ResticEnded => self.of_newest_job("exit.json").is_some(),
            Moment::EndKnown => self.has_succeeded(),
        }
    }

    fn has_succeeded(&self) -> bool {
        self.ledger().contains(r#""state":"succeeded""#)
    }

    fn start(&self) -> Running {
        let path = |name: &str| self.lab.path(name);
        let log = std::fs::File::options().append(true).create(true).open(path("agent.log")).unwrap();
        let started = Command::new(env!("CARGO_BIN_EXE_restic-manager-agent"))
            .args(["run", "--offline-grace", "0", "--settle", "0", "--config"])
            .arg(path("agent.toml"))
            .arg("--state-dir")
            .arg(&self.home.state)
            .arg("--key-file")
            .arg(&self.home.key_file)
            .arg("--restic")
            .arg(real_restic(Which::Newest))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Running(started.unwrap())
    }

    fn until(&self, what: &str, is_it: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !is_it() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.lab.path("agent.log")).unwrap_or_default();
                panic!("{what} never came; the agent said:\n{log}\nits ledger:\n{}", self.ledger());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn end_in_order(mut agent: Running) {
    kill_process(Pid::from_child(&agent.0), Signal::TERM).unwrap();
    assert!(agent.0.wait().unwrap().success());
}

/// The ends that were told of each job, with the attempt.
fn ends(state: &Path) -> BTreeMap<JobId, Vec<(u32, FinalState)>> {
    let mut ends: BTreeMap<JobId, Vec<(u32, FinalState)>> = BTreeMap::new();
    for message in told(state) {
        if let AgentMessage::JobFinished(end) = message {
            let claim = end.run.expect("an own job says which run it is");
            ends.entry(end.job_id).or_default().push((claim.attempt, end.state));
        }
    }
    ends
}

#[tokio::test]
async fn an_agent_that_is_killed_at_each_step_does_the_slot_once_and_tells_all_of_it() {
    let lab = Lab::real(Which::Newest).await;
    lab.incompressible("source/big", 16);
    std::fs::write(lab.path("agent.toml"), "").unwrap();
    let source = lab.path("source");
    let home =
        enrolled(&lab.path("."), &Target { source: &source, repository: &lab.url, password: PASSWORD });
    let house = House { lab, home };
    for moment in [
        Moment::Claimed,
        Moment::WrittenDown,
        Moment::SupervisorCalled,
        Moment::ResticRuns,
        Moment::ResticRuns,
        Moment::ResticEnded,
        Moment::EndKnown,
    ] {
        let agent = house.start();
        house.until(&format!("{moment:?}"), || house.has_come(moment));
        // SIGKILL.
        drop(agent);
    }
    let agent = house.start();
    let nothing_is_left = || {
        let jobs = std::fs::read_dir(house.home.state.join("jobs")).unwrap();
        house.has_succeeded() && jobs.count() == 0
    };
    house.until("the end", nothing_is_left);
    end_in_order(agent);

    let ends = ends(&house.home.state);
    let ledger = house.ledger();
    assert_eq!(
        ends.len(),
        ledger.matches(r#""record":"claimed""#).count(),
        "each claimed job has its end: {ledger}"
    );
    let mut attempts: Vec<u32> = Vec::new();
    let mut succeeded = 0;
    for told in ends.values() {
        // It may be said twice, but not in two ways.
        assert!(told.iter().all(|end| *end == told[0]), "{ends:?}");
        attempts.push(told[0].0);
        succeeded += usize::from(told[0].1 == FinalState::Succeeded);
    }
    attempts.sort_unstable();
    assert_eq!(attempts, (1..=u32::try_from(ends.len()).unwrap()).collect::<Vec<_>>(), "{ends:?}");
    assert_eq!((succeeded, house.lab.snapshot_count(), house.lab.locks().len()), (1, 1, 0), "{ends:?}");
    let checked = house.lab.bare(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
