//! A machine joins by the browser: by announcing itself, compared and approved with its repository, or rejected.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::fs;

use restic_manager_e2e::{Browser, House, Scripts, restic_newest};

const REPO_PASSWORD: &str = "planted-repo-password";

#[test]
fn a_machine_announces_itself_and_is_compared_approved_and_backed_up() {
    let house = House::open();
    let mut browser = Browser::logged_in(&house);
    browser.go("/pending");
    browser.see("Nobody waits");
    browser.check_access();
    // It appears on the open page by itself, with the fingerprint that the machine shows.
    let (mut waiting, shown) = house.announce("box");
    browser.see(&shown);
    browser.check_access();
    browser.click_at("//a[starts-with(normalize-space(), 'Compare')]");
    browser.wait_below("/pending/");
    browser.see(&shown);
    browser.check_access();

    // Not compared, and no address for the new repository: refused at the fields, and nothing that was typed is lost but the secret.
    browser.expect_console("the server responded with a status of 4");
    browser.fill("Name of the host", "web1");
    browser.choose("Repository", "make a new one, or adopt what lies at the address");
    browser.fill("Name of a new one", "nas");
    browser.fill("Password of the repository", REPO_PASSWORD);
    browser.click_at("//button[starts-with(normalize-space(), 'Approve')]");
    browser.wait_css("[aria-invalid=true]");
    browser.check_access();
    assert_eq!(browser.value("Name of the host"), "web1");
    assert_eq!(browser.value("Name of a new one"), "nas");
    assert_eq!(browser.value("Password of the repository"), "", "a secret is typed again");
    assert!(waiting.ended().is_none(), "{}", waiting.log());

    let repository = house.path("repository");
    browser.tick("The machine shows the same fingerprint");
    browser.fill("Address of the repository", repository.to_str().unwrap());
    browser.fill("Password of the repository", REPO_PASSWORD);
    browser.click_at("//button[starts-with(normalize-space(), 'Approve')]");
    assert!(waiting.wait().success(), "{}", waiting.log());
    let agent = house.run_enrolled("box", "web1", &restic_newest());
    house.wait_init(&agent);
    let folder = house.path("source");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.txt"), "alpha").unwrap();
    house.rmctl(&["source", "create", "web1", "home", "--include", folder.to_str().unwrap()]);
    assert_eq!(house.run_group(&agent, "home")["state"], "succeeded");
    browser.go("/");
    browser.see("web1");
    browser.close();
}

#[test]
fn a_machine_is_rejected_without_scripts() {
    let house = House::open();
    let (mut waiting, shown) = house.announce("box");
    let browser = Browser::open(&house.url);
    browser.scripts(Scripts::Off);
    browser.log_in();
    browser.go("/pending");
    browser.see(&shown);
    browser.click_at("//a[starts-with(normalize-space(), 'Compare')]");
    browser.click_at("//button[starts-with(normalize-space(), 'Reject')]");
    assert_eq!(waiting.wait().code(), Some(4), "{}", waiting.log());
    assert!(waiting.log().contains("rejected"), "{}", waiting.log());
    browser.go("/pending");
    browser.see_no_more("Compare");
    browser.close();
}
