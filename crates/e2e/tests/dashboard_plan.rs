//! What is backed up, when and where to, said by forms alone; wrong input is told at its field and nothing typed is lost.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;

use restic_manager_e2e::{Browser, House, Scripts, restic_newest, wait_for};

const REPO_PASSWORD: &str = "planted-repo-password";
const REFUSED: &str = "the server responded with a status of 4";

/// From a host with nothing to a backup in its repository, by clicks and typing.
fn plans_and_runs(scripts: Scripts) {
    let house = House::open();
    let agent = house.enrol("web1", &restic_newest());
    let repository = house.path("repository");
    let source = house.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a.txt"), "alpha").unwrap();
    let mut browser = Browser::open(&house.url);
    browser.scripts(scripts);
    browser.log_in();
    browser.expect_console(REFUSED);
    let host = format!("/hosts/{}", agent.host_id);

    // Where to. An empty address is refused where it is typed.
    browser.go(&format!("{host}/repo"));
    browser.see("Nowhere to back up to yet");
    browser.fill("Password of the repository", REPO_PASSWORD);
    browser.press_button("Connect");
    browser.wait_css("#everyday-url[aria-invalid=true]");
    browser.fill("Address of the repository", repository.to_str().unwrap());
    browser.fill("Password of the repository", REPO_PASSWORD);
    browser.press_button("Connect");
    house.wait_init(&agent);
    browser.go(&format!("{host}/repo"));
    browser.see(repository.to_str().unwrap());
    assert!(!browser.source().contains(REPO_PASSWORD), "the password is never shown again");

    // What. A path that is not absolute is refused; the rest of the form stays.
    browser.follow("Sources");
    browser.follow("Make the first one");
    browser.fill("Name", "home");
    browser.fill("Folders and files", "not/absolute");
    browser.fill("days", "7");
    browser.press_button("Save");
    browser.wait_css("#includes[aria-invalid=true]");
    assert_eq!((browser.value("Name"), browser.value("days")), ("home".into(), "7".into()));
    browser.fill("Folders and files", source.to_str().unwrap());
    browser.press_button("Say it in words");
    browser.see("7 daily");
    browser.press_button("Save");
    browser.wait_path(&format!("{host}/sources"));
    browser.see(source.to_str().unwrap());

    // When. A time that never comes is refused, the next five are shown before anything is saved.
    browser.follow("Schedules");
    browser.follow("Make the first one");
    browser.fill("Name", "nightly");
    browser.fill("Time zone", "Europe/Vienna");
    browser.fill("Cron expression", "every night");
    // The only group there is is meant, and the box carries its name.
    browser.wait_xpath("//label[normalize-space()='home']/input[@checked]");
    browser.press_button("Save");
    browser.wait_css("#cron[aria-invalid=true]");
    assert_eq!(browser.value("Time zone"), "Europe/Vienna");
    browser.fill("Cron expression", "30 2 * * *");
    browser.press_button("Show the next five times");
    browser.wait("five times", || {
        let times = browser.count("ol.slots li");
        if times == 5 { Ok(()) } else { Err(format!("{times} times")) }
    });
    browser.see("daily at 02:30");
    browser.press_button("Save");
    browser.wait_path(&format!("{host}/schedules"));
    wait_for("the agent to have the plan", || {
        let host = house.json(&["host", "show", "web1"]);
        (host["schedule_version_acked"] == host["schedule_version"]).then_some(())
    });
    browser.click_at("//button[starts-with(normalize-space(), 'Run now')]");
    let job = browser.wait_below("/jobs/");
    assert_eq!(house.wait_job(&job)["state"], "succeeded", "{}", agent.process.log());
    browser.go(&format!("/jobs/{job}"));
    browser.see("succeeded");
    browser.wait_xpath("//div[@class='log']//li[contains(., 'snapshot')]");

    // To delete asks for the name.
    browser.go(&format!("{host}/schedules"));
    browser.follow("nightly");
    browser.press_button("Delete this schedule");
    browser.fill("Type its name, nightly", "weekly");
    browser.press_button("Delete it");
    browser.see("nightly");
    assert_eq!(house.json(&["schedule", "ls", "web1"])["items"].as_array().unwrap().len(), 1);
    browser.close();
}

#[test]
fn a_host_is_given_a_repository_sources_and_a_schedule_by_forms() {
    plans_and_runs(Scripts::Run);
}

#[test]
fn the_same_without_scripts() {
    plans_and_runs(Scripts::Off);
}
