//! The main job on real processes: enrol, attach, run, cancel, and what goes wrong on the way.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;
use std::path::Path;

use restic_manager_e2e::{House, Restic, noise, restic_newest, restic_oldest, wait_for};

const REPO_PASSWORD: &str = "planted-repo-password";

fn source(house: &House) -> std::path::PathBuf {
    let folder = house.path("source");
    fs::create_dir_all(folder.join("deep")).unwrap();
    fs::write(folder.join("a.txt"), "alpha").unwrap();
    fs::write(folder.join("deep/b.txt"), "beta").unwrap();
    fs::write(folder.join("repository is already locked by PID 7 on x.txt"), "gamma").unwrap();
    fs::write(folder.join("emoji 🦀 \"quoted\"\nline"), "delta").unwrap();
    folder
}

fn create_group(house: &House, host: &str, name: &str, path: &Path) {
    house.rmctl(&["source", "create", host, name, "--include", path.to_str().unwrap()]);
}

fn backs_up_and_proves_it(restic: &Restic) {
    let house = House::open();
    let agent = house.enrol("web1", restic);
    let repository = house.path("repository");
    let url = repository.to_str().unwrap();
    house.attach(&agent, url, REPO_PASSWORD, &[]);
    let folder = source(&house);
    create_group(&house, "web1", "home", &folder);
    let job = house.run_group(&agent, "home");
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", agent.process.log());
    let snapshot = job["summary"]["snapshot_id"].as_str().unwrap();
    assert_eq!(job["summary"]["files_new"], 4);
    let told = restic.snapshots(url, REPO_PASSWORD);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["id"], snapshot, "the full id, as restic itself lists it");
    assert_eq!(told[0]["hostname"], "web1");
    assert_eq!(told[0]["tags"], serde_json::json!(["home"]));
    restic.run(url, REPO_PASSWORD, &["check"]);
    let listed = house.json(&["snapshot", "ls", "web1"]);
    assert_eq!(listed["items"][0]["id"], snapshot);
    let repo = house.json(&["repo", "ls"]);
    assert_eq!(repo["items"][0]["stats"]["snapshot_count"], 1);
    assert!(repo["items"][0]["restic_id"].as_str().is_some_and(|id| id.len() == 64));
    let log = house.rmctl(&["job", "log", job["id"].as_str().unwrap()]);
    assert!(log.contains("--host web1") || log.contains("web1"), "{log}");
}

#[test]
fn a_backup_with_the_newest_restic_is_what_restic_itself_says() {
    backs_up_and_proves_it(&restic_newest());
}

#[test]
fn a_backup_with_the_oldest_restic_is_what_restic_itself_says() {
    backs_up_and_proves_it(&restic_oldest());
}

fn cancels_mid_way(restic: &Restic) {
    let house = House::open();
    let agent = house.enrol("web1", restic);
    let repository = house.path("repository");
    let url = repository.to_str().unwrap();
    house.attach(&agent, url, REPO_PASSWORD, &[]);
    let folder = house.path("big");
    fs::create_dir(&folder).unwrap();
    noise(&folder.join("noise"), 64);
    create_group(&house, "web1", "big", &folder);
    house.rmctl(&["host", "limit", "web1", "--upload", "4000"]);
    let job_id = house.start_group(&agent, "big");
    wait_for("the job to run", || (house.job(&job_id)["state"] == "running").then_some(()));
    house.rmctl(&["job", "cancel", &job_id]);
    let job = house.wait_job(&job_id);
    assert_eq!(
        (job["state"].as_str(), job["class"].as_str()),
        (Some("cancelled"), Some("cancelled")),
        "{job:#}"
    );
    assert_eq!(restic.run(url, REPO_PASSWORD, &["list", "locks"]).trim(), "", "no lock is left");
    assert!(restic.snapshots(url, REPO_PASSWORD).is_empty());
}

#[test]
fn a_cancelled_backup_leaves_no_lock_newest() {
    cancels_mid_way(&restic_newest());
}

#[test]
fn a_cancelled_backup_leaves_no_lock_oldest() {
    cancels_mid_way(&restic_oldest());
}

#[test]
fn a_wrong_password_is_a_class_of_its_own_and_mended_by_setting_it_anew() {
    let house = House::open();
    let restic = restic_newest();
    let agent = house.enrol("web1", &restic);
    let repository = house.path("repository");
    let url = repository.to_str().unwrap();
    house.attach(&agent, url, REPO_PASSWORD, &[]);
    create_group(&house, "web1", "home", &source(&house));
    let wrong = house.secret("wrong", "planted-wrong-password");
    house.rmctl(&["creds", "set", "web1", "--url", url, "--password-file", wrong.to_str().unwrap()]);
    let job = house.run_group(&agent, "home");
    assert_eq!(
        (job["state"].as_str(), job["class"].as_str()),
        (Some("failed"), Some("wrong_password")),
        "{job:#}"
    );
    assert!(job["hint"].as_str().is_some());
    house.attach(&agent, url, REPO_PASSWORD, &[]);
    assert_eq!(house.run_group(&agent, "home")["state"], "succeeded");
}

#[test]
fn an_unreadable_file_is_a_warning_with_a_count_and_a_vanished_source_says_so() {
    let house = House::open();
    let restic = restic_newest();
    // As root nothing is unreadable: restic runs without the right to override permissions.
    let wrapper = house.path("restic-without-rights");
    let drop = "-dac_override,-dac_read_search";
    let script = format!(
        "#!/bin/sh\nexec setpriv --bounding-set {drop} --inh-caps {drop} -- {} \"$@\"\n",
        restic.program.display()
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let agent = house.enrol("web1", &Restic { program: wrapper });
    let repository = house.path("repository");
    house.attach(&agent, repository.to_str().unwrap(), REPO_PASSWORD, &[]);
    let folder = source(&house);
    fs::write(folder.join("closed"), "x").unwrap();
    fs::set_permissions(folder.join("closed"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    create_group(&house, "web1", "home", &folder);
    let job = house.run_group(&agent, "home");
    assert_eq!((job["state"].as_str(), job["exit_code"].as_i64()), (Some("warning"), Some(3)), "{job:#}");
    assert_eq!(job["summary"]["unreadable_items"], 1);
    let told = restic.snapshots(repository.to_str().unwrap(), REPO_PASSWORD);
    assert_eq!(told[0]["id"], job["summary"]["snapshot_id"], "the snapshot is kept");
    fs::remove_dir_all(&folder).unwrap();
    let job = house.run_group(&agent, "home");
    assert_eq!(
        (job["state"].as_str(), job["class"].as_str()),
        (Some("failed"), Some("source_missing")),
        "{job:#}"
    );
}

#[test]
fn a_host_without_restic_stays_connected_and_says_so() {
    let house = House::open();
    let agent = house.enrol("web1", &Restic { program: house.path("no-restic-here") });
    let host = house.json(&["host", "show", "web1"]);
    assert!(host["facts"]["restic_problem"].as_str().is_some(), "{host:#}");
    let password = house.secret("pw", REPO_PASSWORD);
    let repository = house.path("repository");
    house.rmctl(&[
        "creds",
        "set",
        "web1",
        "--url",
        repository.to_str().unwrap(),
        "--password-file",
        password.to_str().unwrap(),
    ]);
    create_group(&house, "web1", "home", &source(&house));
    let job = house.run_group(&agent, "home");
    assert_eq!(
        (job["state"].as_str(), job["class"].as_str()),
        (Some("failed"), Some("restic_missing")),
        "{job:#}"
    );
    let status = house.rmctl(&["status"]);
    assert!(status.contains("web1"), "{status}");
}

#[test]
fn an_existing_repository_is_adopted() {
    let house = House::open();
    let restic = restic_newest();
    let repository = house.path("repository");
    let url = repository.to_str().unwrap();
    restic.run(url, REPO_PASSWORD, &["init"]);
    let agent = house.enrol("web1", &restic);
    house.attach(&agent, url, REPO_PASSWORD, &[]);
    let jobs = house.json(&["job", "ls", "--host", "web1", "--kind", "init"]);
    assert_eq!(jobs["items"][0]["summary"]["adopted"], true);
}

#[test]
fn a_schedule_fires_on_the_agent_and_its_change_reaches_it_at_once() {
    let house = House::open();
    let agent = house.enrol("web1", &restic_newest());
    let repository = house.path("repository");
    house.attach(&agent, repository.to_str().unwrap(), REPO_PASSWORD, &[]);
    create_group(&house, "web1", "home", &source(&house));
    house.rmctl(&["schedule", "create", "web1", "each-minute", "--cron", "* * * * *", "--source", "home"]);
    wait_for("the plan's acknowledgement", || {
        let host = house.json(&["host", "show", "web1"]);
        (host["schedule_version"] == host["schedule_version_acked"]).then_some(())
    });
    // The next minute may be almost a minute away, and the backup takes its time.
    let job_id = wait_for("the next minute's slot", || first_scheduled(&house)).as_str().unwrap().to_owned();
    let job = house.wait_job(&job_id);
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert_eq!(job["slot"].as_i64().unwrap() % 60_000, 0);
    drop(agent);
}

fn first_scheduled(house: &House) -> Option<serde_json::Value> {
    let jobs = house.json(&["job", "ls", "--kind", "backup"]);
    let items = jobs["items"].as_array()?;
    items.iter().find(|job| job["actor"]["kind"] == "schedule").map(|job| job["id"].clone())
}

#[test]
fn the_server_ends_politely_and_the_agent_comes_back_by_itself() {
    let mut house = House::open();
    let agent = house.enrol("web1", &restic_newest());
    let (status, took) = house.server.stop();
    assert_eq!(status.code(), Some(0), "{}", house.server.log());
    assert!(took.as_secs() < 10, "it took {took:?}");
    house.restart_server();
    house.wait_presence(&agent, "online");
}

#[test]
fn a_backup_outlives_the_death_of_its_agent() {
    let house = House::open();
    let restic = restic_newest();
    let mut agent = house.enrol("web1", &restic);
    let repository = house.path("repository");
    let url = repository.to_str().unwrap();
    house.attach(&agent, url, REPO_PASSWORD, &[]);
    let folder = house.path("big");
    fs::create_dir(&folder).unwrap();
    noise(&folder.join("noise"), 24);
    create_group(&house, "web1", "big", &folder);
    house.rmctl(&["host", "limit", "web1", "--upload", "4000"]);
    let job_id = house.start_group(&agent, "big");
    wait_for("the job to run", || (house.job(&job_id)["state"] == "running").then_some(()));
    agent.process.kill();
    agent.restart();
    let job = house.wait_job(&job_id);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", agent.process.log());
    assert_eq!(restic.snapshots(url, REPO_PASSWORD).len(), 1, "restic ran once");
}

#[test]
fn no_planted_secret_lies_anywhere_in_the_clear() {
    let house = House::open();
    let restic = restic_newest();
    let agent = house.enrol("web1", &restic);
    let repository = house.path("repository");
    house.attach(&agent, repository.to_str().unwrap(), REPO_PASSWORD, &[]);
    create_group(&house, "web1", "home", &source(&house));
    house.run_group(&agent, "home");
    let rows = house.rmctl(&["audit", "--output", "json"]);
    assert!(!rows.contains("planted-"), "{rows}");
    let mut looked_at = 0;
    for name in ["data", "server.log", "web1", "rmctl"] {
        looked_at += grep(&house.path(name), b"planted-");
    }
    assert!(looked_at > 8, "only {looked_at} files were looked at");
}

/// Looks into every file below a path; answers how many there were.
fn grep(path: &Path, needle: &[u8]) -> usize {
    if path.is_dir() {
        let entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        return entries.iter().map(|path| grep(path, needle)).sum();
    }
    let Ok(bytes) = fs::read(path) else { return 0 };
    let found = bytes.windows(needle.len()).any(|window| window == needle);
    assert!(!found, "{} holds a planted secret", path.display());
    1
}
