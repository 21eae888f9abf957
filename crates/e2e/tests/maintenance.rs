//! Maintenance on real repositories: append-only and admin credentials, stale locks, damage, and two hosts that share.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use restic_manager_e2e::{
    Agent, House, Process, RestServer, Restic, Rights, noise, restic_newest, restic_oldest, wait_for,
};
use serde_json::Value;

const REPO_PASSWORD: &str = "planted-repo-password";

/// A house with one host, a local repository `vault` and a group `home` of a folder with some noise.
struct Home {
    house: House,
    agent: Agent,
    restic: Restic,
    source: PathBuf,
}

impl Home {
    fn new(restic: Restic) -> Self {
        let house = House::open();
        let agent = house.enrol("web1", &restic);
        let repository = house.path("repository");
        house.attach(&agent, repository.to_str().unwrap(), REPO_PASSWORD, &[]);
        let source = house.path("source");
        fs::create_dir(&source).unwrap();
        noise(&source.join("noise"), 2);
        let include = source.to_str().unwrap();
        house.rmctl(&["source", "create", "web1", "home", "--include", include, "--keep-last", "1"]);
        Self { house, agent, restic, source }
    }

    fn repository(&self) -> String {
        self.house.path("repository").to_str().unwrap().to_owned()
    }

    fn back_up(&self) -> Value {
        let job = self.house.run_group(&self.agent, "home");
        assert_eq!(job["state"], "succeeded", "{job:#}\n{}", self.agent.process.log());
        job
    }

    /// Asks for a job on the repository and waits for its end.
    fn ask(&self, args: &[&str]) -> Value {
        let mut all = vec!["repo"];
        all.extend(args);
        all.extend(["--field", "job_id"]);
        let job_id = self.house.rmctl(&all).trim().to_owned();
        self.house.wait_job(&job_id)
    }

    fn give_admin(&self, url: &str) {
        let file = self.house.secret("admin-repo-password", REPO_PASSWORD);
        let file = file.to_str().unwrap();
        self.house.rmctl(&[
            "creds",
            "set",
            "--kind",
            "admin",
            "--repo",
            "web1",
            "--url",
            url,
            "--password-file",
            file,
        ]);
    }

    fn why(&self, kind: &str) -> Value {
        let why = self.house.json(&["repo", "why", "web1"]);
        let kinds = why["kinds"].as_array().unwrap();
        kinds.iter().find(|view| view["kind"] == kind).unwrap().clone()
    }
}

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let data = entry.metadata().unwrap();
            if data.is_dir() { size(&entry.path()) } else { data.len() }
        })
        .sum()
}

fn forgets_and_prunes_behind_an_append_only_server(restic: &Restic) {
    let house = House::open();
    let folder = house.path("rest");
    fs::create_dir(&folder).unwrap();
    let everyday = RestServer::start(house.path("").as_path(), &folder, Rights::AppendOnly);
    let admin = RestServer::start(house.path("").as_path(), &folder, Rights::Full);
    let agent = house.enrol("web1", restic);
    house.attach_rest(&agent, &everyday, "vault", REPO_PASSWORD);
    let source = house.path("source");
    fs::create_dir(&source).unwrap();
    let include = source.to_str().unwrap().to_owned();
    house.rmctl(&["source", "create", "web1", "home", "--include", &include, "--keep-last", "1"]);
    for round in 0..3 {
        noise(&source.join(format!("noise-{round}")), 2 + round);
        if round > 0 {
            fs::remove_file(source.join(format!("noise-{}", round - 1))).unwrap();
        }
        assert_eq!(house.run_group(&agent, "home")["state"], "succeeded");
    }
    // Without the admin credential the everyday one tries and is refused, in a plain sentence.
    let refused = house.wait_job(house.rmctl(&["repo", "forget", "web1", "--field", "job_id"]).trim());
    assert_eq!(
        (refused["state"].as_str(), refused["class"].as_str()),
        (Some("failed"), Some("append_only")),
        "{refused:#}"
    );
    assert!(refused["hint"].as_str().unwrap().contains("admin credential"), "{refused:#}");
    let prune = house.try_rmctl(&["repo", "prune", "web1"]);
    assert_eq!(prune.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&prune.stderr).contains("admin credential"));

    house.give_admin_rest("web1", &admin, "vault", REPO_PASSWORD);
    let before = size(&folder);
    let forget = house.wait_job(house.rmctl(&["repo", "forget", "web1", "--field", "job_id"]).trim());
    assert_eq!(forget["state"], "succeeded", "{forget:#}\n{}", agent.process.log());
    assert_eq!(
        (forget["summary"]["forget"][0]["removed"].as_u64(), forget["summary"]["forget"][0]["kept"].as_u64()),
        (Some(2), Some(1))
    );
    let prune = house.wait_job(house.rmctl(&["repo", "prune", "web1", "--field", "job_id"]).trim());
    assert_eq!(prune["state"], "succeeded", "{prune:#}\n{}", agent.process.log());
    assert!(size(&folder) < before, "the repository shrank");
    let told = restic.snapshots(&admin.url("vault"), REPO_PASSWORD);
    assert_eq!(told.len(), 1);
    let check = house
        .wait_job(house.rmctl(&["repo", "check", "web1", "--subset", "100", "--field", "job_id"]).trim());
    assert_eq!(
        (check["state"].as_str(), check["summary"]["check"].as_str()),
        (Some("succeeded"), Some("ok")),
        "{check:#}"
    );
    assert_eq!(house.run_group(&agent, "home")["state"], "succeeded", "and backups go on");
    let rows = house.rmctl(&["audit", "--output", "json"]);
    assert!(!rows.contains("planted-"), "{rows}");
}

#[test]
fn an_append_only_repository_is_kept_in_order_by_the_admin_credential_newest() {
    forgets_and_prunes_behind_an_append_only_server(&restic_newest());
}

#[test]
fn an_append_only_repository_is_kept_in_order_by_the_admin_credential_oldest() {
    forgets_and_prunes_behind_an_append_only_server(&restic_oldest());
}

/// Starts a restic of our own that holds an exclusive lock for a long time.
fn hold_lock(home: &Home, name: &str) -> Process {
    let mut command = Command::new(&home.restic.program);
    command
        .args(["check", "--read-data", "--limit-download", "50"])
        .env("RESTIC_REPOSITORY", home.repository())
        .env("RESTIC_PASSWORD", REPO_PASSWORD)
        .env("RESTIC_CACHE_DIR", home.house.path("other-cache"))
        .stdin(Stdio::null());
    let process = Process::start(name, &mut command, &home.house.path(&format!("{name}.log")));
    wait_for("the lock", || {
        let locks = fs::read_dir(home.house.path("repository/locks")).unwrap().count();
        (locks > 0).then_some(())
    });
    process
}

#[test]
fn a_lock_that_is_not_ours_holds_the_job_and_names_its_holder() {
    // The oldest restic does not wait for locks, which the newest does for a minute.
    let home = Home::new(restic_oldest());
    home.back_up();
    let mut holder = hold_lock(&home, "holder");
    let job = home.house.run_group(&home.agent, "home");
    assert_eq!((job["state"].as_str(), job["class"].as_str()), (Some("failed"), Some("locked")), "{job:#}");
    let lock = &job["summary"]["locks"][0];
    assert_eq!(
        (lock["pid"].as_i64(), lock["exclusive"].as_bool()),
        (Some(i64::from(holder.pid())), Some(true))
    );
    assert_eq!(lock["owner"], "unknown");
    holder.kill();
    // Its holder is dead, but it is not a run of ours: nothing removes it by itself.
    let job = home.house.run_group(&home.agent, "home");
    assert_eq!(job["class"], "locked", "{job:#}");
    let unlock = home.ask(&["unlock", "web1"]);
    assert_eq!(
        (unlock["state"].as_str(), unlock["summary"]["locks_removed"].as_u64()),
        (Some("succeeded"), Some(1)),
        "{unlock:#}"
    );
    home.back_up();
}

#[test]
fn a_stale_lock_of_our_own_ended_run_ends_by_itself_and_is_audited() {
    let mut home = Home::new(restic_newest());
    home.back_up();
    noise(&home.source.join("more"), 48);
    home.house.rmctl(&["host", "limit", "web1", "--upload", "3000"]);
    let job_id = home.house.start_group(&home.agent, "home");
    wait_for("restic's lock", || {
        let running = home.house.job(&job_id)["state"] == "running";
        (running && fs::read_dir(home.house.path("repository/locks")).unwrap().count() > 0).then_some(())
    });
    let pid = restic_pid(&home.agent);
    let _ = rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    );
    let job = home.house.wait_job(&job_id);
    assert_eq!(job["class"], "killed", "{job:#}");
    assert_eq!(fs::read_dir(home.house.path("repository/locks")).unwrap().count(), 1, "the lock is left");
    home.house.rmctl(&["host", "limit", "web1", "--upload", "0"]);
    let check = home.ask(&["check", "web1"]);
    assert_eq!(
        (check["state"].as_str(), check["summary"]["locks_removed"].as_u64()),
        (Some("succeeded"), Some(1)),
        "{check:#}\n{}",
        home.agent.process.log()
    );
    let audit = home.house.json(&["audit", "--action", "repo.unlocked"]);
    assert_eq!(audit["items"].as_array().unwrap().len(), 1);
    home.agent.process.stop();
}

/// The restic below the agent's supervisor.
fn restic_pid(agent: &Agent) -> i32 {
    let folder = agent.folder().join("state/jobs");
    wait_for("restic's pid", || {
        let job = fs::read_dir(&folder).ok()?.next()?.ok()?.path();
        let text = fs::read_to_string(job.join("child.json")).ok()?;
        let record: Value = serde_json::from_str(&text).ok()?;
        i32::try_from(record["pid"].as_i64()?).ok()
    })
}

#[test]
fn damage_is_found_by_the_check_and_holds_the_prune() {
    let home = Home::new(restic_newest());
    home.back_up();
    home.give_admin(&home.repository());
    damage_a_pack(&home.house.path("repository/data"));
    let check = home.ask(&["check", "web1", "--subset", "100"]);
    assert_eq!(
        (check["state"].as_str(), check["summary"]["check"].as_str()),
        (Some("failed"), Some("errors_found")),
        "{check:#}"
    );
    let repo = home.house.json(&["repo", "show", "web1"]);
    assert_eq!(repo["stats"]["last_check"], "errors_found");
    let prune = home.house.try_rmctl(&["repo", "prune", "web1"]);
    let said = String::from_utf8_lossy(&prune.stderr).into_owned();
    assert!(!prune.status.success() && said.contains("check"), "{said}");
    // The maintenance policy says the same when its time has come.
    home.house.rmctl(&["maintenance", "set", "web1", "--prune", "* * * * *", "--spread", "0"]);
    wait_for("the hold", || (home.why("prune")["hold"]["reason"] == "check_errors").then_some(()));
    assert!(home.why("prune")["sentence"].as_str().unwrap().contains("the last check found errors"));
}

fn damage_a_pack(data: &Path) {
    let mut packs: Vec<PathBuf> = fs::read_dir(data)
        .unwrap()
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    packs.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let largest = packs.pop().unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 64] {
        *byte ^= 0x55;
    }
    fs::set_permissions(&largest, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(&largest, bytes).unwrap();
}

#[test]
fn a_preview_says_what_goes_and_removes_nothing() {
    let home = Home::new(restic_newest());
    home.back_up();
    noise(&home.source.join("second"), 1);
    home.back_up();
    let preview = home.house.json(&["source", "preview", "web1", "home"]);
    let text = preview.to_string();
    assert!(text.contains("last snapshot"), "{preview:#}");
    assert_eq!(home.restic.snapshots(&home.repository(), REPO_PASSWORD).len(), 2, "nothing went");
    let forget = home.ask(&["forget", "web1"]);
    assert_eq!(forget["summary"]["forget"][0]["removed"], 1, "{forget:#}");
    assert_eq!(home.restic.snapshots(&home.repository(), REPO_PASSWORD).len(), 1);
}

#[test]
fn forget_touches_only_the_snapshots_of_its_own_host_and_tag() {
    let home = Home::new(restic_newest());
    let repository = home.repository();
    for (host, tag) in [("web2", "home"), ("web1", "other")] {
        let source = home.source.to_str().unwrap();
        home.restic.run(&repository, REPO_PASSWORD, &["backup", "--host", host, "--tag", tag, source]);
    }
    home.back_up();
    noise(&home.source.join("second"), 1);
    home.back_up();
    let forget = home.ask(&["forget", "web1"]);
    assert_eq!(forget["summary"]["forget"][0]["removed"], 1, "{forget:#}");
    let left = home.restic.snapshots(&repository, REPO_PASSWORD);
    let marks: Vec<String> = left.iter().map(|s| format!("{}/{}", s["hostname"], s["tags"][0])).collect();
    assert_eq!(marks.len(), 3, "{marks:?}");
}

#[test]
fn two_hosts_back_up_at_once_and_a_check_waits_for_both_then_runs_alone() {
    let home = Home::new(restic_newest());
    let house = &home.house;
    home.back_up();
    let second = house.enrol("web2", &home.restic);
    house.join(&second, "web1", &home.repository(), REPO_PASSWORD);
    let big = house.path("big");
    fs::create_dir(&big).unwrap();
    noise(&big.join("noise"), 40);
    for host in ["web1", "web2"] {
        house.rmctl(&["source", "create", host, "big", "--include", big.to_str().unwrap()]);
        house.rmctl(&["host", "limit", host, "--upload", "6000"]);
    }
    let first_job = house.start_group(&home.agent, "big");
    let second_job = house.start_group(&second, "big");
    wait_for("both to run", || {
        let both = [&first_job, &second_job].iter().all(|job| house.job(job)["state"] == "running");
        both.then_some(())
    });
    let check = house.rmctl(&["repo", "check", "web1", "--field", "job_id"]).trim().to_owned();
    let again = house.rmctl(&["repo", "check", "web1", "--field", "job_id"]);
    assert_eq!(again.trim(), check, "pressing twice gives the same job");
    wait_for("the hold", || (house.job(&check)["hold"]["reason"] == "repo_busy").then_some(()));
    let ended = house.wait_job(&check);
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    for job in [first_job, second_job] {
        let job = house.job(&job);
        assert_eq!(job["state"], "succeeded", "{job:#}");
        assert!(job["finished_at"].as_i64() <= ended["started_at"].as_i64(), "the check ran alone");
    }
}

#[test]
fn what_is_refused_leaves_no_job_behind() {
    let mut home = Home::new(restic_newest());
    let jobs = || home.house.json(&["job", "ls"])["items"].as_array().unwrap().len();
    let before = jobs();
    let prune = home.house.try_rmctl(&["repo", "prune", "web1", "--output", "json"]);
    assert_eq!(prune.status.code(), Some(4), "{}", String::from_utf8_lossy(&prune.stderr));
    assert_eq!(jobs(), before);
    home.agent.process.stop();
    home.house.wait_presence(&home.agent, "offline");
    for kind in ["check", "unlock", "forget"] {
        let output = home.house.try_rmctl(&["repo", kind, "web1"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("web1"), "{kind}: {said}");
    }
    let after = home.house.json(&["job", "ls"])["items"].as_array().unwrap().len();
    assert_eq!(after, before);
}
