//! Backups that fail for a time are owed, shown, made good, given up or dropped.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;
use std::process::{Command, Stdio};

use restic_manager_e2e::{
    Agent, House, Process, RestServer, Restic, Rights, noise, restic_newest, restic_oldest, wait_for,
};
use serde_json::Value;

const REPO_PASSWORD: &str = "planted-repo-password";

/// A host whose group `home` is to be backed up every minute.
struct Owing {
    house: House,
    agent: Agent,
}

impl Owing {
    /// The schedule is made by [`Owing::schedule`].
    fn new(restic: &Restic, attach: impl FnOnce(&House, &Agent), group: &[&str]) -> Self {
        let house = House::open();
        let agent = house.enrol("web1", restic);
        attach(&house, &agent);
        let source = house.path("source");
        fs::create_dir(&source).unwrap();
        noise(&source.join("noise"), 24);
        let mut args = vec!["source", "create", "web1", "home", "--include", source.to_str().unwrap()];
        args.extend(group);
        house.rmctl(&args);
        Self { house, agent }
    }

    fn schedule(&self) {
        self.house.rmctl(&[
            "schedule",
            "create",
            "web1",
            "each-minute",
            "--cron",
            "* * * * *",
            "--source",
            "home",
        ]);
    }

    fn pending(&self) -> Vec<Value> {
        self.house.json(&["pending", "ls", "--host", "web1"])["items"].as_array().unwrap().clone()
    }

    /// The first run that owes an attempt.
    fn owed(&self) -> Value {
        wait_for(&format!("a pending run; agent log:\n{}", self.agent.process.log()), || {
            self.pending().first().cloned()
        })
    }

    fn run_pending(&self, id: &str) -> Value {
        let job_id = self.house.rmctl(&["pending", "run", id, "--field", "job_id"]);
        self.house.wait_job(job_id.trim())
    }

    /// What `rmctl` says when it refuses.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.house.try_rmctl(args);
        assert!(!output.status.success(), "rmctl {args:?} should fail");
        String::from_utf8(output.stderr).unwrap()
    }

    fn audited(&self, action: &str) -> Vec<Value> {
        self.house.json(&["audit", "--action", action])["items"].as_array().unwrap().clone()
    }
}

fn id_of(run: &Value) -> String {
    run["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_backup_whose_repository_is_out_of_reach_is_owed_until_it_is_back() {
    let mut rest = None;
    let attach = |house: &House, agent: &Agent| {
        let folder = house.path("rest");
        fs::create_dir(&folder).unwrap();
        let server = RestServer::start(&house.path(""), &folder, Rights::AppendOnly);
        house.attach_rest(agent, &server, "vault", REPO_PASSWORD);
        rest = Some(server);
    };
    let owing = Owing::new(&restic_oldest(), attach, &["--retry-max", "9", "--retry-backoff", "1800"]);
    let mut rest = rest.unwrap();
    rest.process.stop();
    owing.schedule();
    let run = owing.owed();
    let id = id_of(&run);
    assert_eq!(run["pending"]["cause"], "retryable", "{run:#}");
    let wait =
        run["pending"]["next_attempt_at"].as_i64().unwrap() - run["pending"]["since"].as_i64().unwrap();
    assert!((1_800_000..=2_250_000).contains(&wait) || wait == 0, "{run:#}");
    let table = owing.house.rmctl(&["pending", "ls"]);
    assert!(table.contains(&id) && table.contains("1 of 9"), "{table}");
    let planned = wait_for("the attempt's time", || {
        let card = owing.house.json(&["pending", "show", &id]);
        (card["hold"]["reason"] == "waiting_retry").then_some(card)
    });
    let said = planned["sentence"].as_str().unwrap();
    assert!(said.contains("failed in a way that may mend itself") && said.contains("it is due at"), "{said}");
    assert!(planned["last_message"].as_str().is_some_and(|message| !message.is_empty()), "{planned:#}");

    rest.restart();
    let job = owing.run_pending(&id);
    assert_eq!((job["state"].as_str(), job["attempt"].as_u64()), (Some("succeeded"), Some(2)), "{job:#}");
    assert_eq!(job["slot"], run["key"]["slot"], "it is the same slot: {run:#}");
    let done = owing.refused(&["pending", "run", &id]);
    assert!(done.contains("owes no attempt any more") && done.contains("rmctl pending ls"), "{done}");
    let listed = restic_newest().snapshots(&rest.url("vault"), REPO_PASSWORD);
    let snapshot = &job["summary"]["snapshot_id"];
    assert!(listed.iter().any(|told| told["id"] == *snapshot), "{snapshot} of {listed:#?}");
}

/// A restic of our own that holds an exclusive lock for a long time.
fn hold_lock(house: &House, restic: &Restic, repository: &str) -> Process {
    let mut command = Command::new(&restic.program);
    command
        .args(["check", "--read-data", "--limit-download", "50"])
        .env("RESTIC_REPOSITORY", repository)
        .env("RESTIC_PASSWORD", REPO_PASSWORD)
        .env("RESTIC_CACHE_DIR", house.path("other-cache"))
        .stdin(Stdio::null());
    let process = Process::start("the holder", &mut command, &house.path("holder.log"));
    wait_for("the lock", || {
        (fs::read_dir(house.path("repository/locks")).unwrap().count() > 0).then_some(())
    });
    process
}

/// A local repository that somebody else holds; the oldest restic does not wait for locks.
fn locked(group: &[&str]) -> (Owing, Process) {
    let restic = restic_oldest();
    let attach = |house: &House, agent: &Agent| {
        house.attach(agent, house.path("repository").to_str().unwrap(), REPO_PASSWORD, &[]);
    };
    let owing = Owing::new(&restic, attach, group);
    let first = owing.house.run_group(&owing.agent, "home");
    assert_eq!(first["state"], "succeeded", "{first:#}");
    let holder = hold_lock(&owing.house, &restic, owing.house.path("repository").to_str().unwrap());
    owing.schedule();
    (owing, holder)
}

#[test]
fn a_run_whose_attempts_are_used_up_is_abandoned_and_audited() {
    let (owing, _holder) = locked(&["--retry-max", "2", "--retry-backoff", "10"]);
    let id = id_of(&owing.owed());
    // The second attempt may come by itself just now; both ways it is the last.
    let asked = owing.house.try_rmctl(&["pending", "run", &id, "--field", "job_id"]);
    if asked.status.success() {
        let job = owing.house.wait_job(String::from_utf8(asked.stdout).unwrap().trim());
        assert_eq!(
            (job["state"].as_str(), job["class"].as_str()),
            (Some("failed"), Some("locked")),
            "{job:#}"
        );
    }
    let row = wait_for("the audit row", || {
        let rows = owing.audited("pending_run.abandoned");
        rows.into_iter().find(|row| row.to_string().contains(&id))
    });
    assert!(row.to_string().contains("attempts are used up"), "{row:#}");
    assert!(owing.pending().iter().all(|run| id_of(run) != id), "it is pending no more");
    let jobs = owing.house.json(&["job", "ls", "--kind", "backup", "--all"]);
    let attempts: Vec<&Value> =
        jobs["items"].as_array().unwrap().iter().filter(|job| job["run_id"] == id.as_str()).collect();
    assert_eq!(attempts.len(), 2, "as many as were allowed: {attempts:#?}");
}

#[test]
fn a_dropped_run_is_tried_no_more_and_mistakes_are_named() {
    let (owing, _holder) = locked(&["--retry-max", "9", "--retry-backoff", "1800"]);
    let id = id_of(&owing.owed());
    owing.house.rmctl(&["pending", "drop", &id]);
    assert!(owing.pending().iter().all(|run| id_of(run) != id));
    assert_eq!(owing.audited("pending_run.dropped").len(), 1);
    for command in ["drop", "run", "show"] {
        let said = owing.refused(&["pending", command, &id]);
        assert!(said.contains(&format!("run {id} owes no attempt any more")), "{command}: {said}");
    }
    let unknown = format!("{}0000", &id[..id.len() - 4]);
    for command in ["drop", "run", "show"] {
        let said = owing.refused(&["pending", command, &unknown]);
        assert!(said.contains(&format!("there is no pending run {unknown}")), "{command}: {said}");
        let said = owing.refused(&["pending", command, "nonsense"]);
        assert!(said.contains("nonsense") && said.contains("RUN"), "{command}: {said}");
    }
    let said = owing.refused(&["pending", "ls", "--host", "nobody"]);
    assert!(said.contains("nobody"), "{said}");
}

#[test]
fn a_run_of_a_host_that_is_away_cannot_be_made_at_once_and_says_so() {
    let (mut owing, _holder) = locked(&["--retry-max", "9", "--retry-backoff", "1800"]);
    let id = id_of(&owing.owed());
    owing.agent.process.kill();
    owing.house.wait_presence(&owing.agent, "offline");
    let said = owing.refused(&["pending", "run", &id]);
    assert!(said.contains("web1") && said.contains("not connected"), "{said}");
    let card = owing.house.json(&["pending", "show", &id]);
    assert_eq!(card["hold"]["reason"], "host_offline", "{card:#}");
}
