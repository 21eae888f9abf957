//! The main job without a mouse: where the keyboard is can be seen at every step.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;

use restic_manager_e2e::{ADMIN_PASSWORD, Browser, House, noise, restic_newest};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
/// No page has more to use before what is looked for.
const STEPS: usize = 60;

/// Presses Tab until what begins with these words has the focus.
fn tab_to(browser: &Browser, words: &str) {
    let mut passed = Vec::new();
    for _ in 0..STEPS {
        browser.keys(TAB);
        let focused = browser.focused();
        assert_eq!(focused["ring"], true, "{}: {focused}", browser.path());
        assert_eq!(focused["seen"], true, "{}: {focused}", browser.path());
        let here = focused["words"].as_str().unwrap();
        if here.starts_with(words) {
            return;
        }
        passed.push(here.to_owned());
    }
    panic!("Tab does not reach `{words}` at {}: {passed:?}", browser.path());
}

#[test]
fn somebody_without_a_mouse_logs_in_runs_a_backup_and_cancels_it() {
    let house = House::open();
    let agent = house.enrol("web1", &restic_newest());
    house.attach(&agent, house.path("repository").to_str().unwrap(), "planted-repo-password", &[]);
    let source = house.path("source");
    fs::create_dir(&source).unwrap();
    // Long enough to be stopped on the way; restic ends once what it has begun to upload is there.
    noise(&source.join("noise"), 96);
    house.rmctl(&["source", "create", "web1", "home", "--include", source.to_str().unwrap()]);
    house.rmctl(&["host", "limit", "web1", "--upload", "2000"]);
    let browser = Browser::open(&house.url);
    browser.go("/login");
    assert_eq!(browser.focused()["words"], "User name", "one can begin at once");
    browser.keys("admin");
    tab_to(&browser, "Password");
    browser.keys(ADMIN_PASSWORD);
    browser.keys(ENTER);
    browser.wait_path("/");

    // Past the navigation in one step.
    tab_to(&browser, "Skip to the content");
    browser.keys(ENTER);
    tab_to(&browser, "web1");
    browser.keys(ENTER);
    browser.wait_below("/hosts/");
    tab_to(&browser, "Run now");
    browser.keys(ENTER);
    let job = browser.wait_below("/jobs/");
    browser.see("running");
    tab_to(&browser, "Cancel");
    browser.keys(ENTER);
    browser.see("Cancel this job?");
    tab_to(&browser, "Cancel the job");
    browser.keys(ENTER);
    browser.wait_path(&format!("/jobs/{job}"));
    browser.leave_mark();
    browser.see("cancelled");
    browser.check_mark();
    assert_eq!(house.wait_job(&job)["state"], "cancelled");

    // The menu opens, is walked through and closes by Escape, which brings the focus back to where it was opened.
    browser.focus_nothing();
    tab_to(&browser, "admin");
    browser.keys(ENTER);
    tab_to(&browser, "Dark");
    browser.keys("\u{e00c}"); // Escape
    assert_eq!(browser.focused()["words"], "admin");
    assert_eq!(browser.count("details.menu[open]"), 0);
    browser.close();
}
