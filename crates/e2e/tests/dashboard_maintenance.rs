//! Maintenance by the browser on real REST servers: prune refused without the admin credential and done with it, check, and unlock.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;
use std::process::{Command, Stdio};

use restic_manager_e2e::{Browser, House, Process, RestServer, Rights, noise, restic_oldest, wait_for};
use rustix::process::Signal;

const REPO_PASSWORD: &str = "planted-repo-password";

fn run_now(browser: &Browser, what: &str) -> String {
    browser.press_button(&format!("Run now {what}"));
    browser.wait_below("/jobs/")
}

#[test]
fn prune_waits_for_the_admin_credential_check_looks_and_unlock_frees() {
    let house = House::open();
    let folder = house.path("rest");
    fs::create_dir(&folder).unwrap();
    let everyday = RestServer::start(&house.path(""), &folder, Rights::AppendOnly);
    let admin = RestServer::start(&house.path(""), &folder, Rights::Full);
    // The oldest one does not wait for a lock before it says that there is one.
    let restic = restic_oldest();
    let agent = house.enrol("web1", &restic);
    house.attach_rest(&agent, &everyday, "vault", REPO_PASSWORD);
    let source = house.path("source");
    fs::create_dir(&source).unwrap();
    noise(&source.join("noise"), 2);
    house.rmctl(&[
        "source",
        "create",
        "web1",
        "home",
        "--include",
        source.to_str().unwrap(),
        "--keep-last",
        "1",
    ]);
    for _ in 0..2 {
        assert_eq!(house.run_group(&agent, "home")["state"], "succeeded");
    }

    // Without the credential prune cannot be pressed, and the page says why.
    let browser = Browser::logged_in(&house);
    browser.go(&format!("/hosts/{}/repo", agent.host_id));
    let disabled = "//button[normalize-space()='Run now Prune'][@disabled]";
    browser.wait_xpath(disabled);
    browser.see("admin credential");
    browser.check_access();

    // Stored by the form beside it, it is never shown again; then it can.
    let repo = house.rmctl(&["repo", "show", "web1", "--field", "id"]).trim().to_owned();
    browser.go(&format!("/repos/{repo}"));
    browser.fill("Address of the repository", &admin.plain_url("vault"));
    browser.fill("Password of the repository", REPO_PASSWORD);
    browser.press_button("Login of the storage");
    browser.fill("User of the REST server", admin.user());
    browser.fill("Password of the REST server", RestServer::PASSWORD);
    browser.press_button("Store it");
    browser.see(&admin.plain_url("vault"));
    assert!(!browser.source().contains("planted-"), "no secret is shown");
    browser.check_access();
    for what in ["Forget", "Prune", "Check"] {
        browser.go(&format!("/repos/{repo}"));
        let job = run_now(&browser, what);
        assert_eq!(house.wait_job(&job)["state"], "succeeded", "{what}: {}", agent.process.log());
        browser.go(&format!("/jobs/{job}"));
        browser.see("succeeded");
        browser.check_access();
    }
    assert_eq!(restic.snapshots(&admin.url("vault"), REPO_PASSWORD).len(), 1);

    // Somebody's restic was killed and left its lock: the check says so, the page names the holder, and Unlock removes it.
    leave_a_lock(&house, &admin);
    browser.go(&format!("/repos/{repo}"));
    let job = run_now(&browser, "Check");
    assert_eq!(house.wait_job(&job)["class"], "locked");
    browser.go(&format!("/repos/{repo}"));
    browser.see("Unlock what is stale");
    browser.check_access();
    browser.press_button("Unlock what is stale");
    let job = browser.wait_below("/jobs/");
    assert_eq!(house.wait_job(&job)["state"], "succeeded", "{}", agent.process.log());
    browser.go(&format!("/repos/{repo}"));
    browser.see_no_more("Unlock what is stale");
    let job = run_now(&browser, "Check");
    assert_eq!(house.wait_job(&job)["state"], "succeeded", "{}", agent.process.log());
    browser.close();
}

/// A restic that holds a lock is killed: its process is over, so that restic's own rule calls the lock stale.
fn leave_a_lock(house: &House, server: &RestServer) {
    let stuck = house.path("stuck");
    fs::create_dir(&stuck).unwrap();
    noise(&stuck.join("noise"), 64);
    let mut command = Command::new(&restic_oldest().program);
    command
        .args(["backup", "--limit-upload", "200", stuck.to_str().unwrap()])
        .env("RESTIC_REPOSITORY", server.url("vault"))
        .env("RESTIC_PASSWORD", REPO_PASSWORD)
        .env("RESTIC_CACHE_DIR", house.path("foreign-cache"))
        .stdin(Stdio::null());
    let mut process = Process::start("a foreign restic", &mut command, &house.path("foreign.log"));
    let locks = house.path("rest/vault/locks");
    wait_for("the foreign lock", || fs::read_dir(&locks).unwrap().next().map(drop));
    process.signal(Signal::KILL);
    process.wait();
}
