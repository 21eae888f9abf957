//! The main job by the browser: a host joins, its backups are watched, one fails, and the host goes away and comes back.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;

use restic_manager_e2e::{Agent, Browser, House, Scripts, noise, restic_newest};
use rustix::process::Signal;

const REPO_PASSWORD: &str = "planted-repo-password";

/// Makes a token on the page and enrols a host by it; the token is read off the page as a person reads it.
fn join(house: &House, browser: &Browser, name: &str) -> Agent {
    browser.go("/hosts/new");
    browser.fill("Name of the host", name);
    browser.press_button("Make a token");
    let command = browser.text(".once code.copy");
    let token = command.split("--token ").nth(1).expect("the command has a token").trim().to_owned();
    let agent = house.enrol_by(&token, name, &restic_newest());
    browser.go("/hosts/new");
    assert!(!browser.eval("return document.body.innerText", Vec::new()).to_string().contains(&token));
    agent
}

/// Waits until the state of the job says this, on the page as it was opened.
fn watch(browser: &Browser, state: &str) {
    browser.wait_xpath(&format!("//h1/following-sibling::span[normalize-space()='{state}']"));
    browser.check_mark();
}

/// Waits until the host's line in the fleet says this, on the page as it was opened.
fn watch_presence(browser: &Browser, presence: &str) {
    browser.wait_xpath(&format!("//tr[.//a[.='web1']]//small/span[normalize-space()='{presence}']"));
    browser.check_mark();
}

#[test]
fn a_host_joins_is_backed_up_fails_leaves_and_returns() {
    let house = House::open();
    let browser = Browser::logged_in(&house);
    browser.see("Add the first host");
    let mut agent = join(&house, &browser, "web1");
    let repository = house.path("repository");
    house.attach(&agent, repository.to_str().unwrap(), REPO_PASSWORD, &[]);
    let source = house.path("source");
    fs::create_dir(&source).unwrap();
    noise(&source.join("noise"), 12);
    house.rmctl(&["source", "create", "web1", "home", "--include", source.to_str().unwrap()]);
    house.rmctl(&["host", "limit", "web1", "--upload", "3000"]);

    // The first backup, begun and watched in the browser.
    browser.go("/");
    browser.see("online");
    browser.follow("web1");
    browser.wait_below("/hosts/");
    browser.click_at("//button[starts-with(normalize-space(), 'Run now')]");
    let job = browser.wait_below("/jobs/");
    browser.leave_mark();
    watch(&browser, "running");
    browser.check_access();
    watch(&browser, "succeeded");
    browser.see("snapshot");
    browser.check_access();
    assert_eq!(house.wait_job(&job)["state"], "succeeded");

    // A backup whose source is gone: the page says what and what to do, and so does the fleet.
    fs::remove_dir_all(&source).unwrap();
    browser.go(&format!("/hosts/{}", agent.host_id));
    browser.click_at("//button[starts-with(normalize-space(), 'Run now')]");
    browser.wait_below("/jobs/");
    browser.leave_mark();
    watch(&browser, "failed");
    browser.check_access();
    browser.follow("Fleet");
    browser.wait_path("/");
    browser.see("needs a person");
    browser.check_access();

    // Killed without a word, the agent is gone for the fleet; it returns, and the page says so.
    browser.leave_mark();
    agent.process.signal(Signal::KILL);
    agent.process.wait();
    watch_presence(&browser, "offline");
    agent.restart();
    watch_presence(&browser, "online");
    browser.close();
}

#[test]
fn a_backup_is_run_and_cancelled_without_scripts() {
    let house = House::open();
    let browser = Browser::open(&house.url);
    browser.scripts(Scripts::Off);
    browser.log_in();
    let agent = join(&house, &browser, "web1");
    let repository = house.path("repository");
    house.attach(&agent, repository.to_str().unwrap(), REPO_PASSWORD, &[]);
    let source = house.path("source");
    fs::create_dir(&source).unwrap();
    noise(&source.join("noise"), 48);
    house.rmctl(&["source", "create", "web1", "home", "--include", source.to_str().unwrap()]);
    house.rmctl(&["host", "limit", "web1", "--upload", "1000"]);
    browser.go(&format!("/hosts/{}", agent.host_id));
    browser.click_at("//button[starts-with(normalize-space(), 'Run now')]");
    let job = browser.wait_below("/jobs/");
    restic_manager_e2e::wait_for("the job to run", || (house.job(&job)["state"] == "running").then_some(()));
    browser.reload();
    browser.follow("Cancel");
    browser.see("Cancel this job?");
    browser.press_button("Cancel the job");
    assert_eq!(house.wait_job(&job)["state"], "cancelled");
    browser.go(&format!("/jobs/{job}"));
    browser.see("cancelled");
    browser.close();
}
