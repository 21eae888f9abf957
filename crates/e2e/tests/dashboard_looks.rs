//! Every page in every look: no finding of axe-core that keeps somebody out, no scrolling sideways, and the keyboard.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use restic_manager_e2e::fleet::{Seeded, Size};
use restic_manager_e2e::{Browser, House, Scheme};

const FLEET: Size = Size { hosts: 60, days: 20 };

/// A house with a fleet in it, and all of its pages.
fn furnished() -> (House, Vec<String>) {
    let mut house = House::open();
    let seeded = house.with_server_stopped(|database| Seeded::write(database, FLEET));
    let (host, repo, job) = (seeded.host_id(7), seeded.repo_id(7), seeded.job_id(7, 3));
    let (group, schedule) = (seeded.group_id(7), seeded.schedule_id(7));
    let pages = [
        "/".to_owned(),
        "/?state=offline&tag=prod&q=web".to_owned(),
        "/?tag=no+tag+at+all".to_owned(),
        "/hosts/new".to_owned(),
        "/pending".to_owned(),
        format!("/hosts/{host}"),
        format!("/hosts/{host}/sources"),
        format!("/hosts/{host}/sources/new"),
        format!("/hosts/{host}/sources/{group}"),
        format!("/hosts/{host}/schedules"),
        format!("/hosts/{host}/schedules/new"),
        format!("/hosts/{host}/schedules/{schedule}"),
        format!("/hosts/{host}/repo"),
        "/repos".to_owned(),
        format!("/repos/{repo}"),
        format!("/repos/{repo}/maintenance"),
        "/jobs".to_owned(),
        "/jobs?state=failed".to_owned(),
        format!("/jobs/{job}"),
        "/audit".to_owned(),
        "/settings".to_owned(),
    ];
    (house, pages.into())
}

#[test]
fn every_page_is_fit_for_everybody_in_light_and_dark() {
    let (house, pages) = furnished();
    let browser = Browser::logged_in(&house);
    let mut grounds = Vec::new();
    for scheme in [Scheme::Light, Scheme::Dark] {
        browser.scheme(scheme);
        for page in &pages {
            browser.go(page);
            browser.check_access();
        }
        grounds.push(browser.ground());
    }
    assert_ne!(grounds[0], grounds[1], "dark is not light");
    browser.close();
}

#[test]
fn no_page_has_to_be_moved_sideways() {
    let (house, pages) = furnished();
    let browser = Browser::logged_in(&house);
    for width in [360, 768, 1280, 3840] {
        browser.resize(width, 800);
        for page in &pages {
            browser.go(page);
            let wide = browser.too_wide();
            assert!(wide.is_empty(), "{page} at {width} pixels: {wide:#?}");
        }
    }
    browser.close();
}

/// Tab goes once through all that can be used, in view and with a ring around it, and begins with the way past the navigation.
#[test]
fn the_keyboard_reaches_everything_and_shows_where_it_is() {
    let (house, pages) = furnished();
    let browser = Browser::logged_in(&house);
    for page in pages.iter().filter(|page| !page.contains('?')) {
        browser.go(page);
        browser.focus_nothing();
        browser.keys("\u{e004}"); // Tab
        assert_eq!(browser.focused()["words"], "Skip to the content", "{page}");
        let wanted = browser.usable();
        for step in 1..wanted {
            browser.keys("\u{e004}");
            let focused = browser.focused();
            assert_eq!(focused["ring"], true, "{page}, step {step}: {focused}");
            assert_eq!(focused["seen"], true, "{page}, step {step}: {focused}");
        }
    }
    browser.close();
}
